//! Docker: what it answers, and how it may misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::fake::{self, A, B, answer};
use super::*;

fn settings(server: &fake::Server) -> Settings {
    Settings { docker: Some(server.socket.clone()), ..Settings::default() }
}

fn inspected(id: &str) -> String {
    serde_json::json!({
        "Id": id, "Created": "2026-01-01T00:00:00Z", "Path": "nginx", "Args": [], "State": {"Status": "running", "Pid": 7},
        "Image": "sha256:00", "Name": "/shop-web-1", "HostConfig": {"Binds": null},
        "Config": {
            "Image": "nginx:1.27",
            "Env": ["SECRET=1"],
            "Labels": {"com.docker.compose.service": "web", "tap.qtap.dev/stack": "full"},
        },
        "NetworkSettings": {"Networks": {}},
    })
    .to_string()
}

#[test]
fn a_container_is_told_with_name_image_and_labels() {
    let dir = fake::dir();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let server = fake::http(
        &dir.path().join("docker.sock"),
        Arc::new(move |request| {
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(request.lines().next().unwrap_or_default().to_owned());
            answer("200 OK", &inspected(A))
        }),
    );
    let (told, _, runtimes) = ask(&settings(&server), A);
    let facts = told.facts.unwrap_or_default();
    assert_eq!(facts.container.id, A);
    assert_eq!(facts.container.name.as_deref(), Some("shop-web-1"));
    assert_eq!(facts.container.image_name.as_deref(), Some("nginx:1.27"));
    assert_eq!(facts.container.labels.get("com.docker.compose.service").map(String::as_str), Some("web"));
    assert!(!facts.container.awaited);
    assert_eq!(facts.pod, None);
    assert_eq!(
        *requests.lock().unwrap_or_else(PoisonError::into_inner),
        [format!("GET /containers/{A}/json HTTP/1.1")]
    );
    let status = runtimes.fared().statuses().remove(0);
    assert_eq!((status.told, status.failed, status.error), (1, 0, None));
}

/// The labels that every kubelet sets are enough to know the pod.
#[test]
fn a_container_of_a_pod_tells_of_the_pod() {
    let dir = fake::dir();
    let labels = serde_json::json!({
        "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "u-1",
        "io.kubernetes.container.name": "app", "io.kubernetes.docker.type": "container",
    });
    let body =
        serde_json::json!({"Id": A, "Name": "/k8s_app_web-0_shop_u-1_0", "Config": {"Image": "x", "Labels": labels}});
    let server = fake::http(&dir.path().join("d"), Arc::new(move |_| answer("200 OK", &body.to_string())));
    let pod = ask(&settings(&server), A).0.facts.and_then(|facts| facts.pod).unwrap_or_default();
    assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_deref()), ("web-0", "shop", Some("u-1")));
    assert_eq!(pod.container_name.as_deref(), Some("app"));
}

/// A container without labels, as Docker writes it; podman leaves out what is empty.
#[test]
fn what_is_not_there_is_none() {
    let dir = fake::dir();
    for body in [
        format!(r#"{{"Id":"{A}","Name":"/x","Config":{{"Image":"","Labels":null}}}}"#),
        format!(r#"{{"Id":"{A}","Name":"x","Config":{{}}}}"#),
        format!(r#"{{"Id":"{A}","Name":"/x"}}"#),
    ] {
        let sent = body.clone();
        let server = fake::http(&dir.path().join("d"), Arc::new(move |_| answer("200 OK", &sent)));
        let container = ask(&settings(&server), A).0.facts.unwrap_or_default().container;
        assert_eq!(
            (container.name.as_deref(), container.image_name, container.labels.len()),
            (Some("x"), None, 0),
            "{body}"
        );
    }
}

/// A container may start before it is in the runtime's table.
#[test]
fn what_is_not_known_yet_is_asked_for_again() {
    let dir = fake::dir();
    let asked = AtomicUsize::new(0);
    let server = fake::http(
        &dir.path().join("d"),
        Arc::new(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0..=1 => answer("404 Not Found", r#"{"message":"No such container"}"#),
            _ => answer("200 OK", &inspected(A)),
        }),
    );
    let (told, took, runtimes) = ask(&settings(&server), A);
    assert!(told.facts.is_some());
    assert!(took >= Duration::from_millis(250), "{took:?}");
    let status = runtimes.fared().statuses().remove(0);
    assert_eq!((status.not_found, status.told, status.failed), (2, 1, 0));
}

#[test]
fn one_that_nobody_knows_is_answered_all_the_same() {
    let dir = fake::dir();
    let server = fake::http(&dir.path().join("d"), Arc::new(|_| answer("404 Not Found", "{}")));
    let (told, took, _) = ask(&settings(&server), A);
    assert_eq!(told.facts, None);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn what_hangs_costs_a_bounded_time() {
    let dir = fake::dir();
    let server = fake::hung(&dir.path().join("d"));
    let (told, took, runtimes) = ask(&settings(&server), A);
    assert_eq!(told.facts, None);
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(runtimes.fared().statuses().remove(0).error.is_some_and(|error| error.contains("no answer within")));
}

#[test]
fn what_is_slow_but_in_time_is_heard() {
    let dir = fake::dir();
    let says: fake::Says = Arc::new(|_| {
        std::thread::sleep(Duration::from_millis(400));
        answer("200 OK", &inspected(A))
    });
    let server = fake::http(&dir.path().join("d"), says);
    assert!(ask(&settings(&server), A).0.facts.is_some());
}

#[test]
fn what_makes_no_sense_is_not_believed() {
    let dir = fake::dir();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        ("an error", answer("500 Internal Server Error", "{}"), "status 500"),
        ("no JSON", answer("200 OK", "<html>"), "not what was asked for"),
        ("deep JSON", answer("200 OK", &deep), "not what was asked for"),
        ("a list", answer("200 OK", "[]"), "not what was asked for"),
        ("another container", answer("200 OK", &inspected(B)), "another container"),
        (
            "labels that are numbers",
            answer("200 OK", &format!(r#"{{"Id":"{A}","Config":{{"Labels":{{"a":1}}}}}}"#)),
            "not what",
        ),
        ("no HTTP", b"hello\r\n\r\n".to_vec(), "HTTP"),
        ("nothing", Vec::new(), "HTTP"),
        ("half an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec(), "can't be read"),
        ("too much", answer("200 OK", &format!("\"{}\"", "x".repeat(super::super::ANSWER_BYTES))), "can't be read"),
    ];
    for (what, said, why) in cases {
        let server = fake::http(&dir.path().join("d"), Arc::new(move |_| said.clone()));
        let runtimes = super::super::runtime::all(&settings(&server));
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let facts = executor.unwrap_or_else(|error| panic!("{error}")).block_on(runtimes[0].ask(A));
        assert_eq!(facts, None, "{what}");
        let error = runtimes[0].status().error.unwrap_or_default();
        assert!(error.contains(why), "{what}: {error}");
    }
}

#[test]
fn an_answer_without_an_end_is_given_up() {
    let dir = fake::dir();
    let server = fake::endless(&dir.path().join("d"));
    let (told, took, runtimes) = ask(&settings(&server), A);
    assert_eq!(told.facts, None);
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(runtimes.fared().statuses().remove(0).failed > 0);
}

#[test]
fn one_that_is_restarted_is_asked_again() {
    let dir = fake::dir();
    let socket = dir.path().join("d");
    let serve = || {
        fake::http(
            &socket,
            Arc::new(|request| {
                let id = if request.contains(A) { A } else { B };
                answer("200 OK", &inspected(id))
            }),
        )
    };
    let server = serve();
    let (told, _, mut runtimes) = ask(&settings(&server), A);
    assert!(told.facts.is_some());
    drop(server);
    assert!(runtimes.ask(B));
    std::thread::sleep(Duration::from_millis(400));
    let _server = serve();
    let (told, _) = answer_of(&mut runtimes);
    assert!(told.facts.is_some(), "it came back within the time of the question");
    let status = runtimes.fared().statuses().remove(0);
    assert_eq!((status.told, status.error), (2, None));
    assert!(status.failed > 0);
}

fn answer_of(runtimes: &mut Runtimes) -> (Told, Duration) {
    super::answer(runtimes)
}

/// Many at once: only a few requests are in progress at any time, and each container gets its answer.
#[test]
fn a_storm_of_containers_is_weathered() {
    let dir = fake::dir();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (under_way, peak) = (Arc::clone(&now), Arc::clone(&most));
    let server = fake::http(
        &dir.path().join("d"),
        Arc::new(move |request| {
            peak.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let id = request.split('/').nth(2).unwrap_or_default().to_owned();
            under_way.fetch_sub(1, Ordering::SeqCst);
            answer("200 OK", &inspected(&id))
        }),
    );
    let Ok(Some(mut runtimes)) = Runtimes::start(&settings(&server)) else { panic!("nobody is asked") };
    let ids: Vec<String> = (0..200).map(|number| format!("{number:064x}")).collect();
    assert!(ids.iter().all(|id| runtimes.ask(id)));
    let mut told: Vec<String> = Vec::new();
    for _ in &ids {
        let answer = answer_of(&mut runtimes).0;
        assert!(answer.facts.is_some());
        told.push(answer.id);
    }
    told.sort();
    assert_eq!(told, ids);
    assert!(most.load(Ordering::SeqCst) <= 8);
}

/// A runtime that hangs is asked before one that knows the container.
#[test]
fn who_hangs_does_not_hold_up_who_knows() {
    let dir = fake::dir();
    let hung = fake::hung(&dir.path().join("cri"));
    let knows = fake::http(
        &dir.path().join("d"),
        Arc::new(|request| {
            let id = request.split('/').nth(2).unwrap_or_default().to_owned();
            answer("200 OK", &inspected(&id))
        }),
    );
    let both = Settings { cri: Some(hung.socket.clone()), ..settings(&knows) };
    let (told, took, mut runtimes) = ask(&both, A);
    assert!(told.facts.is_some() && took < Duration::from_secs(2), "{took:?}");
    assert!(runtimes.ask(B));
    let (told, took) = answer_of(&mut runtimes);
    assert!(told.facts.is_some() && took < Duration::from_millis(700), "it is left alone meanwhile: {took:?}");
}
