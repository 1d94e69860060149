//! CRI and containerd: the calls that are made, and what becomes of the answers.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use super::fake::{self, A, Asked, B, Method, Reply, field, map};
use super::*;

const LIST: &str = "/runtime.v1.RuntimeService/ListContainers";
const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const LIST_SANDBOX: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const SANDBOX_STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";
const GET: &str = "/containerd.services.containers.v1.Containers/Get";

fn says(message: Vec<u8>) -> Method {
    Box::new(move |_, _| Reply::Message(message.clone()))
}

/// `api.proto`: Container has id 1, pod_sandbox_id 2, metadata 3, image 4, image_ref 5, state 6 (a number), labels 8, annotations 9.
fn listed(id: &str) -> Vec<u8> {
    let labels = map(8, &[("io.kubernetes.container.name", "app"), ("tier", "front")]);
    let container = [
        field(1, id),
        field(2, B),
        field(3, [field(1, "app"), vec![0x10, 3]].concat()),
        field(4, field(1, "sha256:0011")),
        field(5, "sha256:0011"),
        vec![0x30, 1],
        vec![0x38, 0x80, 0x80, 0x01],
        labels,
        map(9, &[("io.kubernetes.container.hash", "x")]),
    ];
    field(1, container.concat())
}

/// ContainerStatus: id 1, metadata 2, image 8, image_ref 9, labels 12.
fn stated() -> Vec<u8> {
    field(
        1,
        [
            field(1, A),
            field(8, field(1, "docker.io/library/nginx:1.27")),
            field(9, "docker.io/library/nginx@sha256:00"),
        ]
        .concat(),
    )
}

/// PodSandboxStatus: id 1, metadata 2 (name 1, uid 2, namespace 3), network 5, labels 7, annotations 8.
fn sandbox() -> Vec<u8> {
    let metadata = [field(1, "web-0"), field(2, "u-1"), field(3, "shop"), vec![0x20, 1]].concat();
    let status = [
        field(1, B),
        field(2, metadata),
        field(5, field(1, "10.1.2.3")),
        map(7, &[("app", "web"), ("tap.qtap.dev/stack", "full")]),
        map(8, &[("owner", "ann")]),
    ];
    field(1, status.concat())
}

fn cri(methods: Vec<(&'static str, Method)>) -> (tempfile::TempDir, fake::Server, Asked, Settings) {
    let dir = fake::dir();
    let (server, asked) = fake::grpc(&dir.path().join("cri.sock"), methods.into_iter().collect());
    let settings = Settings { cri: Some(server.socket.clone()), ..Settings::default() };
    (dir, server, asked, settings)
}

fn paths(asked: &Asked) -> Vec<String> {
    asked.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(path, _, _)| path.clone()).collect()
}

#[test]
fn a_container_is_told_with_its_pod() {
    let methods = vec![(LIST, says(listed(A))), (STATUS, says(stated())), (SANDBOX_STATUS, says(sandbox()))];
    let (_dir, _server, asked, settings) = cri(methods);
    let facts = ask(&settings, A).0.facts.unwrap_or_default();
    let (container, pod) = (facts.container, facts.pod.unwrap_or_default());
    assert_eq!((container.id.as_str(), container.name.as_deref()), (A, Some("app")));
    assert_eq!(container.image_name.as_deref(), Some("docker.io/library/nginx:1.27"), "by name, not by digest");
    assert_eq!(container.labels.get("tier").map(String::as_str), Some("front"));
    assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_deref()), ("web-0", "shop", Some("u-1")));
    assert_eq!(pod.container_name.as_deref(), Some("app"));
    assert_eq!(pod.labels.get("tap.qtap.dev/stack").map(String::as_str), Some("full"));
    assert_eq!(pod.annotations.get("owner").map(String::as_str), Some("ann"));
    assert_eq!(paths(&asked), [LIST, STATUS, SANDBOX_STATUS]);
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(asked[0].2, field(1, field(1, A)), "the filter names it, so that no more is told");
    assert_eq!((&asked[1].2, &asked[2].2), (&field(1, A), &field(1, B)));
}

/// The process that holds a pod's namespaces runs in the sandbox itself.
#[test]
fn a_sandbox_is_told_as_its_pod() {
    let nothing = || says(Vec::new());
    let methods = vec![
        (LIST, nothing()),
        (LIST_SANDBOX, says(field(1, [field(1, B), field(2, field(1, "web-0"))].concat()))),
        (SANDBOX_STATUS, says(sandbox())),
    ];
    let (_dir, _server, asked, settings) = cri(methods);
    let facts = ask(&settings, B).0.facts.unwrap_or_default();
    assert_eq!((facts.container.id.as_str(), facts.container.name), (B, None));
    assert_eq!(facts.pod.map(|pod| (pod.name, pod.container_name)), Some(("web-0".to_owned(), None)));
    assert_eq!(paths(&asked), [LIST, LIST_SANDBOX, SANDBOX_STATUS]);
}

#[test]
fn a_container_whose_sandbox_is_gone_tells_what_its_labels_do() {
    let labels = map(8, &[("io.kubernetes.pod.name", "web-0"), ("io.kubernetes.pod.namespace", "shop")]);
    let container = field(1, [field(1, A), field(2, B), field(3, field(1, "app")), labels].concat());
    let missing = |_: &str, _: &[u8]| Reply::Status(5);
    let (_dir, _server, _, settings) =
        cri(vec![(LIST, says(container)), (STATUS, Box::new(missing)), (SANDBOX_STATUS, Box::new(missing))]);
    let pod = ask(&settings, A).0.facts.unwrap_or_default().pod.unwrap_or_default();
    assert_eq!((pod.name.as_str(), pod.container_name.as_deref(), pod.uid), ("web-0", Some("app"), None));
}

/// The id must match even if a runtime ignores the filter, or lies.
#[test]
fn another_container_is_not_taken_for_it() {
    let (_dir, _server, _, settings) =
        cri(vec![(LIST, says(listed(B))), (LIST_SANDBOX, says(field(1, field(1, A.to_uppercase()))))]);
    assert_eq!(ask(&settings, A).0.facts, None);
}

#[test]
fn what_a_runtime_may_do_instead() {
    let garbage = || says(vec![0xff; 40]);
    let huge = || says(field(1, vec![b'x'; super::super::ANSWER_BYTES]));
    let slow = |_: &str, _: &[u8]| Reply::After(Duration::from_secs(3), Vec::new());
    let refuses = |_: &str, _: &[u8]| Reply::Status(7);
    type Case = (&'static str, Vec<(&'static str, Method)>, &'static str);
    let cases: Vec<Case> = vec![
        ("an older interface", Vec::new(), "Unimplemented"),
        ("refused", vec![(LIST, Box::new(refuses) as Method)], "PermissionDenied"),
        ("no message", vec![(LIST, garbage())], "gRPC"),
        ("too much", vec![(LIST, huge())], "OutOfRange"),
        ("too late", vec![(LIST, Box::new(slow) as Method)], "no answer within"),
    ];
    for (what, methods, why) in cases {
        let (_dir, _server, _, settings) = cri(methods);
        let (told, took, runtimes) = ask(&settings, A);
        assert_eq!(told.facts, None, "{what}");
        assert!(took < Duration::from_secs(4), "{what}: {took:?}");
        let error = runtimes.fared().statuses().remove(0).error.unwrap_or_default();
        assert!(error.contains(why), "{what}: {error}");
    }
}

#[test]
fn who_does_not_speak_grpc_is_no_runtime() {
    let dir = fake::dir();
    for server in [fake::hung(&dir.path().join("h")), fake::endless(&dir.path().join("e"))] {
        let settings = Settings { cri: Some(server.socket.clone()), ..Settings::default() };
        let (told, took, runtimes) = ask(&settings, A);
        assert_eq!(told.facts, None);
        assert!(took < Duration::from_secs(4) && runtimes.fared().statuses().remove(0).failed > 0, "{took:?}");
    }
}

/// containerd's own: id 1, labels 2, image 3, spec 5, snapshotter 6, sandbox 11.
fn of_containerd(id: &str, image: &str, labels: &[(&str, &str)], sandbox: &str) -> Vec<u8> {
    let all = [field(1, id), map(2, labels), field(3, image), field(5, field(2, vec![0; 5000])), field(6, "overlayfs")];
    field(1, [all.concat(), field(11, sandbox)].concat())
}

fn containerd(
    get: impl Fn(&str, &str) -> Reply + Send + Sync + 'static,
) -> (tempfile::TempDir, fake::Server, Asked, Settings) {
    let dir = fake::dir();
    let method: Method = Box::new(move |namespace, request| {
        get(namespace, &String::from_utf8_lossy(request.get(2..).unwrap_or_default()))
    });
    let (server, asked) = fake::grpc(&dir.path().join("c.sock"), HashMap::from([(GET, method)]));
    let settings = Settings { containerd: Some(server.socket.clone()), ..Settings::default() };
    (dir, server, asked, settings)
}

#[test]
fn containerd_tells_of_kubernetes() {
    let (_dir, _server, asked, settings) = containerd(|namespace, id| match (namespace, id) {
        ("k8s.io", A) => Reply::Message(of_containerd(
            A,
            "docker.io/library/nginx:1.27",
            &[
                ("io.kubernetes.pod.name", "web-0"),
                ("io.kubernetes.pod.namespace", "shop"),
                ("io.kubernetes.pod.uid", "u-1"),
                ("io.kubernetes.container.name", "app"),
            ],
            B,
        )),
        ("k8s.io", B) => Reply::Message(of_containerd(B, "pause", &[("app", "web")], "")),
        _ => Reply::Status(5),
    });
    let facts = ask(&settings, A).0.facts.unwrap_or_default();
    let pod = facts.pod.unwrap_or_default();
    assert_eq!(facts.container.image_name.as_deref(), Some("docker.io/library/nginx:1.27"));
    assert_eq!(facts.container.name.as_deref(), Some("app"));
    assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_deref()), ("web-0", "shop", Some("u-1")));
    assert_eq!(pod.labels.get("app").map(String::as_str), Some("web"), "those of the sandbox");
    assert_eq!(paths(&asked), [GET, GET]);
}

#[test]
fn containerd_is_asked_in_each_namespace() {
    let (_dir, _server, asked, settings) = containerd(|namespace, _| match namespace {
        "default" => Reply::Message(of_containerd(A, "docker.io/library/redis:7", &[("nerdctl/name", "cache")], "")),
        _ => Reply::Status(5),
    });
    let facts = ask(&settings, A).0.facts.unwrap_or_default();
    assert_eq!((facts.container.name.as_deref(), facts.pod), (Some("cache"), None));
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(
        asked.iter().map(|(_, namespace, _)| namespace.as_str()).collect::<Vec<_>>(),
        ["k8s.io", "moby", "default"]
    );
}

#[test]
fn containerd_that_tells_of_another_is_not_believed() {
    let (_dir, _server, _, settings) = containerd(|_, _| Reply::Message(of_containerd(B, "x", &[], "")));
    let (told, _, runtimes) = ask(&settings, A);
    assert_eq!(told.facts, None);
    assert!(runtimes.fared().statuses().remove(0).error.is_some_and(|error| error.contains("another container")));
}

/// The runtime that knows the pod is asked before one that knows only the container.
#[test]
fn of_two_that_know_it_the_one_that_knows_more_is_heard() {
    let methods = vec![(LIST, says(listed(A))), (STATUS, says(stated())), (SANDBOX_STATUS, says(sandbox()))];
    let (_dir, _server, _, cri) = cri(methods);
    let (_dir2, _server2, asked, both) = containerd(|_, _| Reply::Message(of_containerd(A, "x", &[], "")));
    let both = Settings { cri: cri.cri, ..both };
    assert_eq!(ask(&both, A).0.facts.and_then(|facts| facts.pod).map(|pod| pod.name).as_deref(), Some("web-0"));
    assert!(paths(&asked).is_empty());
}
