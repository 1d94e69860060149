//! Less usual ways to use OpenSSL: with a BIO of the program's own, and without a separate call for the handshake.

use super::lab::{Lab, digest, free_ports, libssl, noise};
use super::nginx::{Nginx, certificate};
use super::python::{interpreter, script};
use super::qtap::exec_script;
use super::records::Records;

/// The program `name` reported one whole exchange on the connection of its end, and that connection's TLS was inspected.
fn assert_told(records: &Records, name: &str, body: &[u8], bound: &[&str]) {
    let told = records.exchanges().into_iter().filter(|one| one.text("process.executable.name").starts_with(name));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{name}: {}", records.told());
    assert_eq!(records.artifact_of(told[0], "response")["body"]["digest"], digest(body), "{name}");
    let closed = records.closed().into_iter().find(|one| one.connection() == told[0].connection()).unwrap();
    assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
    assert!(!closed.has("connection.tls.joined_late"), "{closed:?}");
    assert!(bound.contains(&closed.text("connection.binding")), "{closed:?}");
}

#[test]
fn a_server_and_a_client_by_openssls_own_bio() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let body = noise(100_000);
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("served.bin", &body);
    certificate(lab.dir());
    lab.write("own.bin", &body);
    let [port] = free_ports();
    let (dir, out) = (lab.dir().display(), lab.path("got").display().to_string());
    let (python, program) = (python.display(), script("openssl.py"));
    let lines = format!(
        "cd '{dir}'
openssl s_server -quiet -WWW -naccept 1 -accept 127.0.0.1:{port} -cert cert.pem -key key.pem </dev/null >/dev/null 2>&1 &
for try in $(seq 50); do
  curl -sk --http1.1 -o '{out}' https://127.0.0.1:{port}/own.bin && break
  sleep 0.1
done
wait
cmp '{out}' own.bin
'{python}' '{}' bio '{}' {} /served.bin > '{out}'
cmp '{out}' own.bin",
        program.display(),
        libssl().display(),
        nginx.https,
    );
    let records = exec_script(&lab, &[], &lines).records.over_tcp();
    assert_told(&records, "openssl", &body, &["nested"]);
    assert_told(&records, "python", &body, &["nested"]);
    records.assert_conserved();
}

#[test]
fn a_session_whose_first_write_is_its_handshake_was_not_joined_late() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let dir = lab.dir().display();
    let lines = format!(
        "cd '{dir}'
'{}' '{}' first {port} . > said &
for try in $(seq 100); do grep -q listening said && break; sleep 0.1; done
curl -sk --http2 -o got https://127.0.0.1:{port}/
wait",
        python.display(),
        script("openssl.py").display(),
    );
    let records = exec_script(&lab, &[], &lines).records.over_tcp();
    // Its first bytes are certainly a server's SETTINGS only if the session was captured from the start; the client's preface is then understood.
    assert_told(&records, "python", b"spoke first", &["set_fd", "nested"]);
    records.assert_whole();
}

#[test]
fn a_session_that_gets_its_socket_before_that_is_connected() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let body = noise(20_000);
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("served.bin", &body);
    let program = script("openssl.py").display().to_string();
    let lines = format!("'{}' '{program}' unconnected {} /served.bin", python.display(), nginx.https);
    let records = exec_script(&lab, &[], &lines).records.over_tcp();
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 2, "{}", records.told());
    // No connection but the two: none to an address of zeros.
    assert_eq!(records.closed().len(), 2, "{}", records.told());
    for closed in records.closed() {
        assert_eq!(closed.int("server.port"), Some(i64::from(nginx.https)), "{closed:?}");
        assert!(!closed.has("connection.tls.joined_late"), "{closed:?}");
    }
}

/// The end of a handshake is not seen, but that there was one is.
#[test]
fn a_connection_on_which_only_hands_were_shaken_says_so() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    let line = format!("! curl -s '{}'", nginx.https("/not-trusted"));
    let records = exec_script(&lab, &[], &line).records.over_tcp();
    let [closed] = records.closed()[..] else { panic!("{}", records.told()) };
    assert!(!closed.flag("connection.tls.inspected"), "{closed:?}");
    let why = closed.text("connection.tls.uninspected_reason");
    assert_eq!(why, "no plaintext of the TLS session of this connection was seen", "{closed:?}");
    assert_eq!(closed.text("connection.binding"), "nested", "{closed:?}");
}

#[test]
fn a_session_that_was_fed_before_it_was_called_has_its_library() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let dir = lab.dir().display();
    let lines = format!(
        "cd '{dir}'
'{}' '{}' fed {port} . > said &
for try in $(seq 100); do grep -q listening said && break; sleep 0.1; done
curl -sk --http1.1 -o got https://127.0.0.1:{port}/
wait",
        python.display(),
        script("openssl.py").display(),
    );
    let records = exec_script(&lab, &[], &lines).records.over_tcp();
    assert_told(&records, "python", b"fed", &["ciphertext"]);
    let of_server = records.closed().into_iter().find(|one| one.text("connection.direction") == "ingress").unwrap();
    assert!(of_server.text("connection.tls.library").starts_with("libssl"), "{of_server:?}");
}
