//! gRPC calls of every kind between a server and a client by grpcio, both of them captured, over a plain channel.

use super::lab::Lab;
use super::python::{interpreter, script};
use super::qtap::exec_script;

/// Method, status, messages and their bytes: of the requests, of the responses.
const CALLS: [(&str, &str, (i64, i64), (i64, i64)); 7] = [
    ("Unary", "OK", (3, 1 + 10 + 1000), (3, 2 * (1 + 10 + 1000))),
    ("ServerStream", "OK", (1, 4), (5, 100 + 101 + 102 + 103 + 104)),
    ("ClientStream", "OK", (3, 7 + 70 + 70_000), (1, 5)),
    ("Both", "OK", (3, 5), (3, 5)),
    ("Fail", "NOT_FOUND", (1, 0), (0, 0)),
    ("FailLate", "RESOURCE_EXHAUSTED", (1, 0), (1, 3)),
    ("NotThere", "UNIMPLEMENTED", (1, 1), (0, 0)),
];

#[test]
fn calls_of_every_kind() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let line = format!("{} {}", python.display(), script("grpc_talk.py").display());
    let captured = exec_script(&lab, &[], &line);
    let records = captured.records;
    records.assert_whole();
    for (method, status, _, _) in CALLS {
        let name = format!("lab.v1.Talk/{method}");
        let ends: Vec<_> = records.exchanges().into_iter().filter(|one| one.text("rpc.method") == name).collect();
        assert_eq!(ends.len(), if method == "Unary" { 6 } else { 2 }, "{name}: {}", records.told());
        for end in ends {
            assert_eq!(end.text("rpc.system.name"), "grpc");
            assert_eq!(end.text("rpc.status_code"), status, "{end:?}");
            assert_eq!(end.text("connection.protocol"), "grpc");
            println!("{end:?}");
        }
    }
}
