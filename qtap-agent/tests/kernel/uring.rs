//! io_uring, which transfers bytes without a system call for each transfer.

use std::collections::BTreeMap;
use std::process::Command;

use super::lab::{Lab, digest};
use super::python::script;
use super::qtap::{run_exec, text};
use super::records::{Record, Records, parse};

const BODY: usize = 400_000;

/// Exit code of `uring.c` where io_uring is not available.
const SKIPPED: i32 = 77;

/// One exchange of `uring.c` with itself, with the server's end done in this `way`. The client's end uses the way `plain`, and is whole.
fn told_of(way: &str) -> Option<Records> {
    let lab = Lab::open()?;
    let program = lab.path("uring").display().to_string();
    let built = Command::new("cc").args(["-O1", "-w", "-pthread", "-o", &program]).arg(script("uring.c")).output();
    if !built.is_ok_and(|built| built.status.success()) {
        println!("skipped: no compiler of C, or headers without io_uring");
        return None;
    }
    let told = lab.path("records.jsonl");
    let captured = run_exec(&lab, [] as [&str; 0], &told, [program.as_str(), way]);
    if captured.code == Some(SKIPPED) {
        println!("skipped: no io_uring here");
        return None;
    }
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let (records, port) = (parse(&text(&told)), captured.stdout.trim().parse::<i64>().unwrap());
    assert_eq!(end(&records, "egress-internal").losses(), BTreeMap::new(), "{}", records.told());
    for connection in records.closed() {
        assert_eq!(connection.number("client.port"), port, "{connection:?}");
        assert_eq!(connection.text("client.address"), "127.0.0.1");
        assert_ne!(connection.number("server.port"), 0);
    }
    let client: Vec<_> = records.exchanges().into_iter().filter(|one| is_of(one, "egress-internal")).collect();
    assert_eq!(client.len(), 1, "{}", records.told());
    assert_body(&records, client[0]);
    Some(records)
}

fn is_of(record: &Record, direction: &str) -> bool {
    record.text("connection.direction") == direction
}

/// The connection as reported by the end with this direction.
fn end<'a>(records: &'a Records, direction: &str) -> &'a Record {
    let mut ends = records.closed().into_iter().filter(|one| is_of(one, direction));
    let end = ends.next().unwrap_or_else(|| panic!("{direction}: {}", records.told()));
    assert!(ends.next().is_none(), "{}", records.told());
    end
}

fn assert_body(records: &Records, exchange: &Record) {
    let body: Vec<u8> = (0..BODY).map(|at| (at * 7 + at / 251) as u8).collect();
    assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&body), "{exchange:?}");
}

/// Both ends report all of it.
fn assert_both_whole(records: &Records) {
    records.assert_conserved();
    records.assert_whole();
    let exchanges = records.exchanges();
    assert_eq!(exchanges.len(), 2, "{}", records.told());
    for exchange in exchanges {
        assert_eq!(exchange.text("url.path"), "/ring");
        assert_body(records, exchange);
    }
    assert_eq!(end(records, "ingress").losses(), BTreeMap::new(), "{}", records.told());
}

/// Requests with one buffer (connect, accept, send, receive, read and write), among them a send that takes several tries.
#[test]
fn requests_with_one_buffer_are_whole() {
    if let Some(records) = told_of("plain") {
        assert_both_whole(&records);
    }
}

/// The same where a kernel thread takes the requests, and the program makes no system call at all.
#[test]
fn requests_that_the_kernel_takes_by_itself_are_whole() {
    if let Some(records) = told_of("polled") {
        assert_both_whole(&records);
    }
}

/// A request's list of buffers may be gone by the time the request is done. Such requests are counted and the list is not read.
#[test]
fn requests_with_lists_of_buffers_are_counted() {
    let Some(records) = told_of("listed") else { return };
    records.assert_conserved();
    let server = end(&records, "ingress");
    assert!(server.carried() > BODY as i64, "{server:?}");
    assert_eq!(server.losses(), [("uncaptured_call", server.carried())].into());
}

/// A request with several completions is not captured: its bytes are reported as unaccounted, and the exchange says that bytes were lost.
#[test]
fn requests_with_several_answers_are_missed_by_number() {
    let Some(records) = told_of("several") else { return };
    let server = end(&records, "ingress");
    let received = server.number("connection.bytes_received");
    assert!(received > 0, "{server:?}");
    assert_eq!(server.losses(), [("unaccounted", received)].into());
    let answered: Vec<_> = records.exchanges().into_iter().filter(|one| !is_of(one, "egress-internal")).collect();
    assert_eq!(answered.len(), 1, "{}", records.told());
    assert_eq!(answered[0].text("qtap.incomplete"), "bytes_lost");
    assert_body(&records, answered[0]);
}
