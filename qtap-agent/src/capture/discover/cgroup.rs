//! Which container a process runs in, and which pod that container belongs to, according to the path of its control group.
//!
//! In: the content of `/proc/PID/cgroup` (cgroups(7)): one line per hierarchy, `number:controllers:path`. Out: the id of the innermost container, and
//! the uid of the pod around it. That needs no query to a runtime; a path holds nothing else about a container.
//!
//! ```text
//! /docker/ID                                                                   Docker, podman's own form beside it: libpod-ID
//! /system.slice/docker-ID.scope                                                the same, by systemd: RUNTIME-ID.scope
//! /kubepods/burstable/podUID/ID                                                a pod, by the kubelet
//! /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-ID.scope      and by systemd, `_` for `-`
//! /…/kubepods-burstable-podUID.slice:cri-containerd:ID                         systemd's naming scheme, without systemd as the driver
//! /../../podUID/ID                                                             seen from inside another cgroup namespace
//! ```
//!
//! Paths may be nested: a node of kind is a container, and runs containers itself. Names that no runtime generates are skipped, so that a process in
//! a group of its own inside a container (`/docker/ID/init.scope`) counts as in that container. A monitor (`crio-conmon-ID.scope`) runs beside its
//! container, never in it.

/// Length of a container id: SHA-256 in hexadecimal, as every runtime generates it.
const ID_LEN: usize = 64;
/// Length of the first part of a container id on ECS with Fargate: the task id.
const TASK_LEN: usize = 32;
/// Maximum length of the number after it.
const TASK_NUMBER_LEN: usize = 20;
/// Most lines that are read: a host has one, or one per version-1 controller, of which there are 14.
const LINES: usize = 64;
/// Most path components that are read: pods in nodes that are containers have about ten.
const PARTS: usize = 128;

/// Where a process runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Id of the container.
    pub container: String,
    /// Uid of the pod, as Kubernetes writes it.
    pub pod: Option<String>,
}

/// Parses `/proc/PID/cgroup`; none when it names no container. Where the lines differ, the one that passes through the most containers
/// wins: a nested container may have been given only some of the controllers.
#[must_use]
pub fn place(cgroup: &[u8]) -> Option<Place> {
    let text = String::from_utf8_lossy(cgroup);
    let mut best: Option<(usize, Place)> = None;
    for line in text.lines().take(LINES) {
        let Some(path) = line.splitn(3, ':').nth(2) else { continue };
        // The kernel marks the group of a process that ended as deleted.
        if let Some((depth, place)) = of_path(path.strip_suffix(" (deleted)").unwrap_or(path))
            && best.as_ref().is_none_or(|(deepest, known)| {
                depth > *deepest || (depth == *deepest && known.pod.is_none() && place.pod.is_some())
            })
        {
            best = Some((depth, place));
        }
    }
    best.map(|(_, place)| place)
}

/// The innermost container of a path, and its nesting depth, counted from 1.
fn of_path(path: &str) -> Option<(usize, Place)> {
    // Colons separate the names where systemd's naming scheme is used without systemd.
    let parts = path.split(['/', ':']).take(PARTS);
    let (mut depth, mut pod, mut container) = (0, None, None);
    for part in parts {
        if let Some(uid) = pod_uid(part) {
            pod = Some(uid);
        } else if is_monitor(part) {
            // A monitor runs beside its container.
            container = None;
        } else if let Some(id) = container_id(part) {
            depth += 1;
            container = Some((id, pod.clone()));
        }
    }
    let (id, pod) = container?;
    Some((depth, Place { container: id.to_owned(), pod }))
}

/// `ID`, `RUNTIME-ID` or either with `.scope`.
fn container_id(part: &str) -> Option<&str> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    if is_hexadecimal(name, ID_LEN) || is_task(name) {
        return Some(name);
    }
    let (runtime, id) = name.rsplit_once('-')?;
    let named = runtime.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
    (named && is_hexadecimal(id, ID_LEN)).then_some(id)
}

/// `RUNTIME-conmon-ID`, with `.scope` or without.
fn is_monitor(part: &str) -> bool {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    name.rsplit_once('-').is_some_and(|(runtime, id)| {
        (runtime == "conmon" || runtime.ends_with("-conmon")) && is_hexadecimal(id, ID_LEN)
    })
}

/// A container id on ECS with Fargate: the task id and a number.
fn is_task(name: &str) -> bool {
    name.split_once('-').is_some_and(|(task, number)| {
        is_hexadecimal(task, TASK_LEN)
            && (1..=TASK_NUMBER_LEN).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// `podUID`, or `…-podUID.slice` with `_` for `-`. The uid is a UUID or, for a static pod (one that the kubelet reads from a file), a digest.
fn pod_uid(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let uid = match name.strip_prefix("pod") {
        Some(uid) => uid,
        None => name.rsplit_once("-pod")?.1,
    };
    let uid = uid.replace('_', "-");
    (is_uuid(&uid) || is_hexadecimal(&uid, 32)).then_some(uid)
}

/// RFC 9562 §4: 8, 4, 4, 4 and 12 digits.
fn is_uuid(text: &str) -> bool {
    let mut parts = text.split('-');
    [8, 4, 4, 4, 12].into_iter().all(|len| parts.next().is_some_and(|part| is_hexadecimal(part, len)))
        && parts.next().is_none()
}

fn is_hexadecimal(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests;
