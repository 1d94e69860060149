//! Crowds: many connections, requests and processes at once, and more than the ring can hold.

use super::lab::Lab;
use super::nginx::Nginx;
use super::python::{interpreter, script};
use super::qtap::exec_script;

fn wrk_count(said: &str) -> usize {
    let line = said.lines().find(|line| line.contains(" requests in ")).unwrap_or_else(|| panic!("{said}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn wrk_with_64_connections() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", &[b'a'; 1024]);
    let config = lab.write("qtap.yaml", super::scope::config("level: summary", "").as_bytes()).display().to_string();
    for url in [nginx.https("/slow/a.txt"), nginx.http("/slow/a.txt")] {
        let captured = exec_script(&lab, &["--config", &config], &format!("wrk -c64 -t1 -d2s '{url}'"));
        let (made, records) = (wrk_count(&captured.stdout), captured.records);
        assert!(made > 200, "{}", captured.stdout);
        assert_eq!(records.complete().len(), made, "{url}: {}", captured.stdout);
        // wrk exits while each of its connections waits for one more response.
        let left = records.exchanges().len() - made;
        assert!(left <= 64, "{left} more: {}", records.told());
        for record in records.closed() {
            assert_eq!(record.number("connection.lost_bytes"), 0, "{record:?}");
        }
        println!("{url}: {made} requests, {left} cut off by wrk's end");
    }
}

#[test]
fn ten_thousand_connections_at_once() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let config = lab.write("qtap.yaml", super::scope::config("level: summary", "").as_bytes()).display().to_string();
    let line = format!("{} {} crowd {} /a.txt 10000", python.display(), script("client.py").display(), nginx.http);
    let captured = exec_script(&lab, &["--config", &config], &line);
    assert_eq!(captured.stdout.trim(), "10000");
    let records = captured.records;
    records.assert_whole();
    assert_eq!((records.exchanges().len(), records.closed().len()), (10_000, 10_000));
}

#[test]
fn a_thousand_children() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let line = format!("{} {} forks {} /a.txt?last 1000", python.display(), script("client.py").display(), nginx.http);
    let records = exec_script(&lab, &[], &line).records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 1, "{}", records.told());
    assert!(records.exchanges()[0].text("process.executable.name").starts_with("python"));
}

#[test]
fn a_ring_too_small_loses_by_name() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", &[b'a'; 30_000]);
    for url in [nginx.http("/a.txt"), nginx.https("/a.txt")] {
        // Connections that follow reuse sockets of the crowd, whose end events may still wait to be read.
        let after = format!("for i in $(seq 20); do curl -sk '{url}?after' > /dev/null; done");
        let script = format!("wrk -c64 -t2 -d2s '{url}'; {after}");
        let captured = exec_script(&lab, &["--ring-size", "64kb"], &script);
        let records = captured.records;
        let made = wrk_count(&captured.stdout);
        let lost = records.closed().iter().filter(|record| record.losses().contains_key("ring_full")).count();
        assert!(lost > 0, "64 KiB are not enough: {}", records.told());
        assert!(records.complete().len() <= made + 64 + 20);
        println!("{url}: {made} requests, {} told whole", records.complete().len());
    }
}
