//! Lines of `/proc/PID/cgroup` as runtimes produce them, each with its source and the expected result.

use proptest::prelude::*;

use super::*;

const A: &str = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988";
const B: &str = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789";
const UID: &str = "4a1f8a34-d7a5-4f4e-9f5b-1c2d3e4f5a6b";
/// Uid of a static pod, which the kubelet reads from a file.
const STATIC: &str = "8f7e6d5c4b3a29181f2e3d4c5b6a7988";

/// `{A}`, `{B}`: ids. `{U}`: a uid; `{V}`: the same as in systemd's names; `{S}`: that of a static pod.
fn filled(form: &str) -> String {
    let escaped = UID.replace('-', "_");
    [("{A}", A), ("{B}", B), ("{U}", UID), ("{V}", &escaped), ("{S}", STATIC)]
        .iter()
        .fold(form.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Source of the form; the lines; the expected container and pod, `-` for none.
const FORMS: [(&str, &str, &str, &str); 67] = [
    // Docker
    ("Docker, cgroupfs, v1, a controller", "11:memory:/docker/{A}", "{A}", "-"),
    ("Docker, cgroupfs, v1, several controllers", "4:cpu,cpuacct:/docker/{A}", "{A}", "-"),
    ("Docker, cgroupfs, v1, the named hierarchy", "1:name=systemd:/docker/{A}", "{A}", "-"),
    ("Docker, cgroupfs, v2", "0::/docker/{A}", "{A}", "-"),
    ("Docker, systemd, v2", "0::/system.slice/docker-{A}.scope", "{A}", "-"),
    ("Docker, systemd, v1", "9:cpuset:/system.slice/docker-{A}.scope", "{A}", "-"),
    ("Docker, systemd, with --cgroup-parent", "0::/batch.slice/docker-{A}.scope", "{A}", "-"),
    ("Docker, cgroupfs, with --cgroup-parent", "0::/jobs/nightly/{A}", "{A}", "-"),
    ("rootless Docker", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", "{A}", "-"),
    ("Docker, a container that runs systemd", "0::/docker/{A}/init.scope", "{A}", "-"),
    ("the same, a service in it", "0::/system.slice/docker-{A}.scope/system.slice/nginx.service", "{A}", "-"),
    ("Docker, a container that was removed", "0::/docker/{A} (deleted)", "{A}", "-"),
    ("Docker itself", "0::/system.slice/docker.service", "-", "-"),
    ("Docker in Docker, cgroupfs", "0::/docker/{A}/docker/{B}", "{B}", "-"),
    ("Docker in Docker, the outer by systemd", "0::/system.slice/docker-{A}.scope/docker/{B}", "{B}", "-"),
    ("Compose, on a host without systemd", "12:pids:/docker-compose/{A}", "{A}", "-"),
    // Kubernetes with Docker
    ("cri-dockerd, cgroupfs", "5:cpu:/kubepods/burstable/pod{U}/{A}", "{A}", "{U}"),
    (
        "cri-dockerd, systemd",
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{V}.slice/docker-{A}.scope",
        "{A}",
        "{U}",
    ),
    // Kubernetes with containerd
    (
        "containerd, systemd, v2, burstable",
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{V}.slice/cri-containerd-{A}.scope",
        "{A}",
        "{U}",
    ),
    (
        "containerd, systemd, best effort",
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{V}.slice/cri-containerd-{A}.scope",
        "{A}",
        "{U}",
    ),
    (
        "containerd, systemd, guaranteed",
        "0::/kubepods.slice/kubepods-pod{V}.slice/cri-containerd-{A}.scope",
        "{A}",
        "{U}",
    ),
    (
        "containerd, systemd, v1",
        "7:memory:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{V}.slice/cri-containerd-{A}.scope",
        "{A}",
        "{U}",
    ),
    ("containerd, cgroupfs, guaranteed", "0::/kubepods/pod{U}/{A}", "{A}", "{U}"),
    ("containerd, cgroupfs, best effort", "3:blkio:/kubepods/besteffort/pod{U}/{A}", "{A}", "{U}"),
    (
        "containerd told systemd's names without SystemdCgroup",
        "0::/system.slice/containerd.service/kubepods-burstable-pod{V}.slice:cri-containerd:{A}",
        "{A}",
        "{U}",
    ),
    ("the same on v1", "6:devices:/kubepods-besteffort-pod{V}.slice:cri-containerd:{A}", "{A}", "{U}"),
    (
        "a static pod, systemd",
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{S}.slice/cri-containerd-{A}.scope",
        "{A}",
        "{S}",
    ),
    ("a static pod, cgroupfs", "0::/kubepods/burstable/pod{S}/{A}", "{A}", "{S}"),
    ("the kubelet", "0::/system.slice/kubelet.service", "-", "-"),
    ("a pod's own group", "0::/kubepods/burstable/pod{U}", "-", "-"),
    ("containerd and its shims", "0::/system.slice/containerd.service", "-", "-"),
    // containerd alone
    ("nerdctl, systemd", "0::/system.slice/nerdctl-{A}.scope", "{A}", "-"),
    ("nerdctl, cgroupfs, its namespace before it", "0::/default/{A}", "{A}", "-"),
    ("ctr, a namespace before a name of one's own", "0::/k8s.io/web", "-", "-"),
    // CRI-O
    (
        "CRI-O, systemd",
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{V}.slice/crio-{A}.scope",
        "{A}",
        "{U}",
    ),
    (
        "CRI-O with crun, a group in the scope",
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{V}.slice/crio-{A}.scope/container",
        "{A}",
        "{U}",
    ),
    ("CRI-O, cgroupfs", "0::/kubepods/burstable/pod{U}/crio-{A}", "{A}", "{U}"),
    (
        "CRI-O's monitor, in the pod",
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{V}.slice/crio-conmon-{A}.scope",
        "-",
        "-",
    ),
    ("CRI-O's monitor, with conmon_cgroup", "0::/system.slice/crio-conmon-{A}.scope", "-", "-"),
    ("CRI-O's monitor, cgroupfs", "4:cpu:/kubepods/burstable/pod{U}/crio-conmon-{A}", "-", "-"),
    ("CRI-O itself", "0::/system.slice/crio.service", "-", "-"),
    // podman
    ("podman, systemd", "0::/machine.slice/libpod-{A}.scope", "{A}", "-"),
    ("podman with crun", "0::/machine.slice/libpod-{A}.scope/container", "{A}", "-"),
    ("podman, cgroupfs", "0::/libpod_parent/libpod-{A}", "{A}", "-"),
    ("podman, v1", "2:freezer:/machine.slice/libpod-{A}.scope", "{A}", "-"),
    ("podman's monitor", "0::/machine.slice/libpod-conmon-{A}.scope", "-", "-"),
    ("podman's monitor, cgroupfs", "0::/libpod_parent/conmon-{A}", "-", "-"),
    (
        "rootless podman",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container",
        "{A}",
        "-",
    ),
    ("podman in a unit, --cgroups=split", "0::/system.slice/web.service/libpod-payload-{A}", "{A}", "-"),
    ("its monitor", "0::/system.slice/web.service/supervisor", "-", "-"),
    ("podman, a pod of its own", "0::/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", "{A}", "-"),
    // kind, k3s, minikube: nodes that are containers
    ("kind on Docker, cgroupfs", "0::/docker/{A}/kubelet/kubepods/burstable/pod{U}/{B}", "{B}", "{U}"),
    (
        "kind on Docker, systemd inside and outside",
        "0::/system.slice/docker-{A}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{V}.slice/cri-containerd-{B}.scope",
        "{B}",
        "{U}",
    ),
    ("kind, the node's kubelet", "0::/system.slice/docker-{A}.scope/system.slice/kubelet.service", "{A}", "-"),
    (
        "kind on podman",
        "0::/machine.slice/libpod-{A}.scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{V}.slice/cri-containerd-{B}.scope",
        "{B}",
        "{U}",
    ),
    ("k3d: k3s in Docker", "0::/docker/{A}/kubepods/besteffort/pod{U}/{B}", "{B}", "{U}"),
    (
        "k3s on a host",
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{V}.slice/cri-containerd-{B}.scope",
        "{B}",
        "{U}",
    ),
    ("k3s itself", "0::/system.slice/k3s.service", "-", "-"),
    ("Docker in a pod", "0::/kubepods/burstable/pod{U}/{A}/docker/{B}", "{B}", "{U}"),
    // seen from inside a cgroup namespace
    (
        "a neighbour, from a pod's namespace",
        "0::/../../kubepods-besteffort-pod{V}.slice/cri-containerd-{A}.scope",
        "{A}",
        "{U}",
    ),
    ("another container of one's own pod", "0::/../cri-containerd-{A}.scope", "{A}", "-"),
    ("Docker's neighbour", "0::/../{A}", "{A}", "-"),
    ("one's own group", "0::/", "-", "-"),
    ("a service of the host, from a container's namespace", "0::/../../../system.slice/cron.service", "-", "-"),
    // others
    ("ECS on EC2", "9:memory:/ecs/0123456789abcdef0123456789abcdef/{A}", "{A}", "-"),
    (
        "ECS with Fargate",
        "2:cpu:/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890",
        "0123456789abcdef0123456789abcdef-1234567890",
        "-",
    ),
    ("GitHub's runners", "5:net_cls,net_prio:/actions_job/{A}", "{A}", "-"),
];

#[test]
fn every_form_is_told_apart() {
    for (source, form, container, pod) in FORMS {
        let found = place(filled(form).as_bytes());
        let wanted =
            (container != "-").then(|| Place { container: filled(container), pod: (pod != "-").then(|| filled(pod)) });
        assert_eq!(found, wanted, "{source}: {form}");
    }
}

/// Whole files: a cgroup v1 host, a hybrid one, and controllers that differ.
#[test]
fn the_deepest_of_all_lines_is_taken() {
    let of = |text: &str| place(filled(text).as_bytes()).map(|place| (place.container, place.pod));
    let hybrid =
        "12:pids:/docker/{A}\n11:memory:/docker/{A}\n1:name=systemd:/docker/{A}\n0::/system.slice/containerd.service\n";
    assert_eq!(of(hybrid), Some((A.to_owned(), None)), "Docker on a hybrid host");
    let some = "3:cpu:/docker/{A}\n2:memory:/docker/{A}/docker/{B}\n1:name=systemd:/docker/{A}\n";
    assert_eq!(of(some), Some((B.to_owned(), None)), "a controller that the inner daemon was given");
    let rootless = "9:devices:/user.slice\n1:name=systemd:/user.slice/user-0.slice/session-1.scope\n0::/user.slice\n";
    assert_eq!(of(rootless), None);
    let partly = "2:cpu:/{A}\n1:memory:/kubepods/pod{U}/{A}\n";
    assert_eq!(
        of(partly),
        Some((A.to_owned(), Some(UID.to_owned()))),
        "of two that are as deep the one that tells more"
    );
}

#[test]
fn what_only_looks_like_an_id_is_none() {
    let short = A.get(..63).unwrap_or_default();
    for path in [
        format!("/docker/{short}"),
        format!("/docker/{A}0"),
        format!("/docker/{}", A.to_uppercase()),
        format!("/docker/{}g", short),
        format!("/system.slice/-{A}.scope"),
        format!("/system.slice/docker-{A}.service"),
        format!("/ecs/{STATIC}-"),
        format!("/ecs/{STATIC}-12x"),
        format!("/ecs/{STATIC}-{}", "1".repeat(21)),
        format!("/{STATIC}"),
        String::new(),
        "//////".to_owned(),
    ] {
        assert_eq!(place(format!("0::{path}\n").as_bytes()), None, "{path}");
    }
    for uid in ["pod", "pod-", "pod1234", "kubepods-burstable.slice", "podinfo", "my-pod-of-mine"] {
        assert_eq!(pod_uid(uid), None, "{uid}");
    }
    assert_eq!(pod_uid(&format!("pod{UID}-1")), None);
}

#[test]
fn what_is_looked_at_has_a_bound() {
    let deep = format!("0::{}/{A}", "/x".repeat(PARTS));
    assert_eq!(place(deep.as_bytes()), None);
    let long = format!("{}0::/docker/{A}\n", "0::/\n".repeat(LINES));
    assert_eq!(place(long.as_bytes()), None);
}

proptest! {
    #[test]
    fn no_bytes_are_too_wild(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = place(&bytes);
    }

    /// Parts of real paths in any order: whatever id comes out was in the input.
    #[test]
    fn what_is_told_was_there(parts in proptest::collection::vec(
        prop_oneof![
            Just("docker"), Just("{A}"), Just("docker-{B}.scope"), Just("pod{U}"), Just("kubepods-pod{V}.slice"),
            Just("crio-conmon-{A}.scope"), Just(".."), Just(""), Just("container"), Just("-"), Just(":"), Just("é{A}"),
        ],
        0..12,
    )) {
        let path = filled(&format!("0::/{}\n", parts.join("/")));
        if let Some(place) = place(path.as_bytes()) {
            prop_assert!(place.container == A || place.container == B);
            prop_assert!(place.pod.is_none_or(|uid| uid == UID));
        }
    }
}
