//! The table of containers: what a process is reported with, and what is reported later.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::fake::{self, A, B, answer};
use super::*;
use crate::capture::runtimes::table::Containers;
use crate::model::event::ContainerSeen;
use crate::model::process::{Container, Pod, Process};
use crate::model::time::KernelTime;

fn process(id: &str, uid: Option<&str>) -> Process {
    let container = Some(Arc::new(Container { id: id.to_owned(), ..Container::default() }));
    let pod = uid.map(|uid| Arc::new(Pod { uid: Some(uid.to_owned()), ..Pod::default() }));
    Process { pid: 7, container, pod, ..Process::default() }
}

fn completed(containers: &mut Containers, id: &str, uid: Option<&str>) -> Process {
    let mut process = process(id, uid);
    containers.complete(&mut process);
    process
}

/// Waits until this many pieces of news have arrived.
fn news_of(containers: &mut Containers, now: u64, count: usize) -> Vec<ContainerSeen> {
    let (start, mut all) = (Instant::now(), Vec::new());
    while all.len() < count {
        assert!(start.elapsed() < PATIENCE, "no news");
        std::thread::sleep(Duration::from_millis(5));
        all.extend(containers.news(KernelTime(now), HashSet::new));
    }
    assert_eq!(all.len(), count);
    all
}

fn news(containers: &mut Containers, now: u64) -> ContainerSeen {
    news_of(containers, now, 1).remove(0)
}

#[test]
fn without_runtimes_nothing_is_awaited() {
    let mut containers = Containers::default();
    let process = completed(&mut containers, A, Some("u-1"));
    assert!(!process.is_awaited());
    assert_eq!(process.pod.as_ref().and_then(|pod| pod.uid.as_deref()), Some("u-1"));
    assert_eq!(containers.news(KernelTime(1 << 50), HashSet::new), []);
    let mut none = Process { pid: 1, ..Process::default() };
    containers.complete(&mut none);
    assert_eq!(none, Process { pid: 1, ..Process::default() });
}

#[test]
fn a_container_is_asked_for_once_and_told_to_all() {
    let dir = fake::dir();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let says: fake::Says = Arc::new(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        let id = request.split('/').nth(2).unwrap_or_default();
        let labels = r#"{"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop"}"#;
        answer("200 OK", &format!(r#"{{"Id":"{id}","Name":"/web","Config":{{"Image":"nginx:1","Labels":{labels}}}}}"#))
    });
    let server = fake::http(&dir.path().join("d"), says);
    let settings = Settings { docker: Some(server.socket.clone()), ..Settings::default() };
    let mut containers = Containers::new(Runtimes::start(&settings).unwrap_or_default());
    let first = completed(&mut containers, A, Some("u-1"));
    assert!(first.is_awaited() && completed(&mut containers, A, None).is_awaited());
    let seen = news(&mut containers, 5);
    assert!(seen.told && !seen.container.awaited && seen.time == KernelTime(5));
    let pod = seen.pod.clone().unwrap_or_default();
    assert_eq!((pod.name.as_str(), pod.uid.as_deref()), ("web-0", Some("u-1")), "the uid is that of the control group");
    let later = completed(&mut containers, A, None);
    assert!(later.container.as_ref().is_some_and(|container| Arc::ptr_eq(container, &seen.container)));
    assert_eq!(later.pod, seen.pod);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn what_nobody_knew_is_asked_for_again_while_it_runs() {
    let dir = fake::dir();
    let known = Arc::new(AtomicUsize::new(0));
    let is_known = Arc::clone(&known);
    let says: fake::Says = Arc::new(move |_| match is_known.load(Ordering::SeqCst) {
        0 => answer("404 Not Found", "{}"),
        _ => answer("200 OK", &format!(r#"{{"Id":"{A}","Name":"/web"}}"#)),
    });
    let server = fake::http(&dir.path().join("d"), says);
    let settings = Settings { docker: Some(server.socket.clone()), ..Settings::default() };
    let mut containers = Containers::new(Runtimes::start(&settings).unwrap_or_default());
    completed(&mut containers, A, None);
    completed(&mut containers, B, None);
    let gone = news_of(&mut containers, 1, 2);
    assert!(gone.iter().all(|seen| !seen.told && !seen.container.awaited));
    assert!(!completed(&mut containers, A, None).is_awaited(), "nobody waits a second time");
    known.store(1, Ordering::SeqCst);
    let again = KernelTime(31_000_000_000);
    assert_eq!(containers.news(again, || HashSet::from([A.to_owned()])), []);
    let seen = news(&mut containers, again.0 + 1);
    assert!(seen.told && seen.container.id == A && seen.container.name.as_deref() == Some("web"));
    // The other one no longer runs and is forgotten; when it is seen again, it is asked about anew.
    assert!(completed(&mut containers, B, None).is_awaited());
}

#[test]
fn the_table_has_a_bound() {
    let mut containers = Containers::default();
    for number in 0..5000 {
        completed(&mut containers, &format!("{number:064x}"), None);
        completed(&mut containers, A, Some("u-1"));
    }
    assert_eq!(
        completed(&mut containers, A, None).pod.and_then(|pod| pod.uid.clone()).as_deref(),
        Some("u-1"),
        "met all the while"
    );
    assert!(containers.len() <= 4096);
}
