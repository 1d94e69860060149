//! What triggers a reload, and how it is reported.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::calls::{Call, Calls, Told};
use super::bench::{Bench, Receiver, config, settings};
use crate::admin::view::ReloadView;
use crate::config::Source;

fn last(told: &Told) -> ReloadView {
    told.get().last_reload.unwrap()
}

fn counts(told: &Told) -> (u64, u64, u64) {
    let reloads = told.get().reloads;
    (reloads.accepted, reloads.unchanged, reloads.refused)
}

/// A bench whose config is a file.
fn bench(text: &str) -> (Bench, PathBuf) {
    let bench = Bench::start(text);
    let file = bench.folder().join("qtap.yaml");
    std::fs::write(&file, text).unwrap();
    (bench, file)
}

#[test]
fn what_is_not_valid_changes_nothing_and_every_fault_is_told() {
    let receiver = Receiver::start();
    let good = config(&[receiver.store("a", "")], "summary");
    let (mut bench, file) = bench(&good);
    let load = bench.load();
    let mut calls = bench.calls(Some(Source::Path(file.clone())), None);
    let told = calls.told.clone();
    assert!(told.get().source.is_some_and(|source| source.ends_with("qtap.yaml")) && !told.get().watched);

    let bad = good.replace("type: otel", "type: otel, headers: {A: hunter2}, timeuot: 1s").replace("summary", "sumary");
    std::fs::write(&file, bad).unwrap();
    calls.reload();
    let refused = last(&told);
    assert_eq!((refused.outcome, refused.asked_by, counts(&told)), ("refused", "signal", (0, 0, 1)));
    let faults = refused.faults.join("\n");
    assert!(faults.contains("qtap.yaml:2:") && faults.contains("did you mean `timeout`?"), "{faults}");
    assert!(faults.contains("did you mean `summary`?") && !faults.contains("hunter2"), "{faults}");
    assert_eq!(calls.running.settings, settings(&good));
    let since = told.get().since_unix_ns;

    std::fs::write(&file, &good).unwrap();
    calls.reload();
    assert_eq!((last(&told).outcome, counts(&told)), ("unchanged", (0, 1, 1)));
    assert_eq!(told.get().since_unix_ns, since);
    assert!(told.get().last_success_unix_ns > since);

    let next = good.replace("{type: redact}", "{type: redact}, {type: http_metrics, config: {max_hosts: 7}}");
    std::fs::write(&file, next).unwrap();
    calls.reload();
    let accepted = last(&told);
    assert_eq!((accepted.outcome, counts(&told)), ("accepted", (1, 1, 1)));
    assert_eq!(accepted.needs_restart, ["http_metrics.max_hosts"]);
    assert!(told.get().since_unix_ns > since);

    std::fs::remove_file(&file).unwrap();
    calls.reload();
    assert!(last(&told).faults.join("").contains("cannot be read"), "{:?}", last(&told));
    load.end();
    bench.end();
}

#[test]
fn what_cannot_be_read_again_is_told() {
    let mut bench = Bench::start("version: 2\nservices: {event_stores: [{type: stdout}]}\n");
    let mut calls = bench.calls(Some(Source::Stdin), Some(Duration::from_secs(1)));
    calls.reload();
    assert!(last(&calls.told).faults.join("").contains("standard input"));
    calls.look();
    calls.origin.source = None;
    calls.reload();
    assert_eq!((last(&calls.told).outcome, counts(&calls.told)), ("unchanged", (0, 1, 1)));
}

/// A watched source on a thread of its own, and the state of its config.
fn watched(calls: Calls) -> (mpsc::Sender<Call>, std::thread::JoinHandle<Calls>, Told) {
    let (call, called) = mpsc::channel();
    let told = calls.told.clone();
    (call, calls.spawn(called).unwrap(), told)
}

fn wait(told: &Told, what: &str, done: impl Fn((u64, u64, u64)) -> bool) {
    let since = Instant::now();
    while !done(counts(told)) {
        assert!(since.elapsed() < Duration::from_secs(20), "{what}: {:?}", told.get());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// As Kubernetes replaces a mounted ConfigMap: `qtap.yaml` → `..data/qtap.yaml`, `..data` → another folder, by one rename.
#[test]
fn a_watched_file_is_followed_through_links() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let (mut bench, file) = bench(&config(&[first.store("a", "")], "summary"));
    let home = bench.folder().join("mount");
    let version = |name: &str, text: &str| {
        std::fs::create_dir_all(home.join(name)).unwrap();
        std::fs::write(home.join(name).join("qtap.yaml"), text).unwrap();
        std::os::unix::fs::symlink(name, home.join("..data_tmp")).unwrap();
        std::fs::rename(home.join("..data_tmp"), home.join("..data")).unwrap();
    };
    version("..1", &std::fs::read_to_string(file).unwrap());
    std::os::unix::fs::symlink("..data/qtap.yaml", home.join("qtap.yaml")).unwrap();
    let load = bench.load();
    let calls = bench.calls(Some(Source::Path(home.join("qtap.yaml"))), Some(Duration::from_millis(50)));
    let (call, thread, told) = watched(calls);
    version("..2", &config(&[first.store("a", ""), second.store("b", "")], "summary"));
    wait(&told, "another version", |(accepted, ..)| accepted == 1);
    assert_eq!((last(&told).asked_by, last(&told).stores_added), ("watch", vec!["b".to_owned()]));
    version("..3", "version: 2\nservces: {}\n");
    wait(&told, "a bad version", |(.., refused)| refused == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(counts(&told), (1, 0, 1), "the same fault is told once");
    version("..4", &config(&[second.store("b", "")], "summary"));
    wait(&told, "mended", |(accepted, ..)| accepted == 2);
    call.send(Call::Reload).unwrap();
    wait(&told, "asked for", |(_, unchanged, _)| unchanged == 1);
    call.send(Call::End).unwrap();
    let stores = thread.join().unwrap().running.stores;
    assert_eq!(stores.statuses().iter().map(|status| status.id.as_str()).collect::<Vec<_>>(), ["b"]);
    load.end();
    bench.end();
}

#[test]
fn a_file_is_not_taken_while_it_is_written() {
    let receiver = Receiver::start();
    let good = config(&[receiver.store("a", "")], "summary");
    let (mut bench, file) = bench(&good);
    let load = bench.load();
    let mut calls = bench.calls(Some(Source::Path(file.clone())), Some(Duration::from_secs(1)));
    calls.look();
    assert_eq!(counts(&calls.told), (0, 0, 0), "it says what holds already");
    let next = good.replace("summary", "none");
    let writer = std::thread::spawn(move || {
        // Valid already, but incomplete.
        std::fs::write(&file, "version: 2\n").unwrap();
        std::thread::sleep(Duration::from_millis(250));
        std::fs::write(&file, next).unwrap();
    });
    std::thread::sleep(Duration::from_millis(100));
    calls.look();
    writer.join().unwrap();
    assert_eq!(counts(&calls.told), (1, 0, 0));
    assert_eq!(calls.running.settings.stores.len(), 1);
    load.end();
    bench.end();
}
