//! WebSocket conversations between a server and a client that nobody here wrote, both of them captured.

use super::lab::Lab;
use super::python::{interpreter, script};
use super::qtap::exec_script;

/// Both ends of plain and TLS, with and without permessage-deflate.
#[test]
fn both_ends_of_a_conversation() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    super::nginx::certificate(lab.dir());
    let (cert, key) = (lab.path("cert.pem"), lab.path("key.pem"));
    let line =
        format!("{} {} {} {}", python.display(), script("websocket.py").display(), cert.display(), key.display());
    let captured = exec_script(&lab, &[], &line);
    let records = captured.records;
    records.assert_whole();
    println!("{}", records.told());
    for path in ["/plain", "/plain/deflate", "/tls", "/tls/deflate"] {
        assert!(captured.stdout.contains(&format!("said {path}\n")), "{}", captured.stdout);
        let ends: Vec<_> = records.exchanges().into_iter().filter(|one| one.text("url.path") == path).collect();
        assert_eq!(ends.len(), 2, "{path}: {}", records.told());
        for end in ends {
            assert_eq!(end.number("http.response.status_code"), 101);
            println!("{end:?}");
            println!("{:?}", records.artifact_of(end, "request"));
            println!("{:?}", records.artifact_of(end, "response"));
        }
    }
}
