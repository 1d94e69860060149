//! gRPC calls of every kind between a grpcio server and client, both captured, in the clear and over TLS; and the same with grpc-go.

use super::lab::Lab;
use super::nginx::certificate;
use super::python::{go_program_with, interpreter, script, tools};
use super::qtap::{exec, exec_script, until_attached};
use super::records::Records;

/// Method, number of calls, status, status message, and the count and bytes of messages: of the requests, then of the responses.
type Calls = (&'static str, usize, &'static str, &'static str, (i64, i64), (i64, i64));

const CALLS: [Calls; 7] = [
    ("Unary", 3, "OK", "", (3, 1 + 10 + 1000), (3, 2 * (1 + 10 + 1000))),
    ("ServerStream", 1, "OK", "", (1, 4), (5, 100 + 101 + 102 + 103 + 104)),
    ("ClientStream", 1, "OK", "", (3, 7 + 70 + 70_000), (1, 5)),
    ("Both", 1, "OK", "", (3, 5), (3, 5)),
    ("Fail", 1, "NOT_FOUND", "no such thing: grüße, 100 %", (1, 0), (0, 0)),
    ("FailLate", 1, "RESOURCE_EXHAUSTED", "that was all", (1, 0), (1, 3)),
    ("NotThere", 1, "UNIMPLEMENTED", NOT_THERE, (1, 1), (0, 0)),
];
/// Placeholder for the server's own message.
const NOT_THERE: &str = "not there";

#[test]
fn calls_of_every_kind() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    talk(&lab, &format!("{} {}", python.display(), script("grpc_talk.py").display()), BY_PYTHON);
}

/// With the BoringSSL inside grpcio's module, which has no function names and gives its sessions memory instead of a socket.
#[test]
fn calls_of_every_kind_over_tls() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    certificate(lab.dir());
    // The module is examined when it is first mapped.
    let line = format!(
        "{python} -c 'import time, grpc; time.sleep(60)' & first=$!\n{}kill $first; {python} {} tls '{}'",
        until_attached(&lab, "cygrpc"),
        script("grpc_talk.py").display(),
        lab.dir().display(),
        python = python.display(),
    );
    assert_ends(&talk(&lab, &line, BY_PYTHON), "cygrpc.", "ciphertext");
}

/// grpc-go over Go's own TLS, stripped and not.
#[test]
#[ignore = "by cargo xtask kernel coverage: its sources are there, and building them takes minutes"]
fn calls_of_every_kind_by_go_over_tls() {
    let Some(lab) = Lab::open() else { return };
    certificate(lab.dir());
    let sources = tools().join("grpc-go");
    if !sources.join("src").exists() {
        println!("skipped: no grpc-go (cargo xtask kernel coverage)");
        return;
    }
    let sources = format!("gopath={}", sources.display());
    for (name, flags) in [("grpc_talk", ""), ("grpc_talk_stripped", "-ldflags=-s -w")] {
        let flags: Vec<&str> = [sources.as_str(), flags].into_iter().filter(|flag| !flag.is_empty()).collect();
        let Some(program) = go_program_with(&lab, "grpc_talk.go", name, &flags) else { return };
        let captured = exec::<&str, _>(&lab, [], [program.as_os_str(), lab.dir().as_os_str()]);
        assert_eq!(captured.code, Some(0), "{}", captured.stderr);
        assert_told(&captured.records, "unknown method NotThere for service lab.v1.Talk");
        assert_ends(&captured.records, "crypto/tls", "nested");
    }
}

/// Both ends of the one connection use this library.
fn assert_ends(records: &Records, library: &str, binding: &str) {
    let closed: Vec<_> = records.closed().into_iter().filter(|one| one.text("connection.protocol") == "grpc").collect();
    assert_eq!(closed.len(), 2, "both ends of it: {}", records.told());
    for end in closed {
        assert!(end.text("connection.tls.library").starts_with(library), "{end:?}");
        assert_eq!(end.text("connection.binding"), binding, "{end:?}");
    }
}

/// The message of grpcio for a method that does not exist.
const BY_PYTHON: &str = "Method not found!";

/// The records of a server and its client, started by `line`, after checking that they match the calls.
fn talk(lab: &Lab, line: &str, not_there: &str) -> Records {
    let records = exec_script(lab, &["--log-level", "info"], line).records;
    assert_told(&records, not_there);
    println!("gRPC: {} calls, each from both ends", records.exchanges().len() / 2);
    records
}

/// The records have all calls, and no others.
fn assert_told(records: &Records, not_there: &str) {
    records.assert_whole();
    for (method, times, status, said, requests, responses) in CALLS {
        let name = format!("lab.v1.Talk/{method}");
        let ends: Vec<_> = records.exchanges().into_iter().filter(|one| one.text("rpc.method") == name).collect();
        assert_eq!(ends.len(), 2 * times, "{name}: {}", records.told());
        let sum = |side: &str, what: &str| {
            ends.iter().map(|end| end.int(&format!("rpc.{side}.message_{what}")).unwrap_or(0)).sum::<i64>()
        };
        // Captured by the client and by the server.
        for (side, (count, bytes)) in [("request", requests), ("response", responses)] {
            assert_eq!((sum(side, "count"), sum(side, "bytes")), (2 * count, 2 * bytes), "{name}, {side}: {ends:?}");
        }
        for end in ends {
            assert_eq!(end.text("rpc.system.name"), "grpc");
            assert_eq!(end.text("connection.protocol"), "grpc");
            let said = if said == NOT_THERE { not_there } else { said };
            assert_eq!((end.text("rpc.status_code"), end.text("rpc.status_message")), (status, said), "{end:?}");
        }
    }
}
