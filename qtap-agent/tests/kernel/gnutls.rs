//! GnuTLS, on both sides: wget and git as clients, its own server, its own client that corks.

use std::path::PathBuf;

use super::lab::{Lab, digest, free_ports, noise};
use super::nginx::{Nginx, certificate};
use super::qtap::exec_script;
use super::records::{Record, Records};

/// A program that uses GnuTLS. None: the test is skipped, and says so.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: no {name} (cargo xtask setup --for check)");
    }
    found
}

/// The exchange belongs to a connection that GnuTLS carried, with the right peer.
fn assert_peer(records: &Records, exchange: &Record, port: u16) {
    assert_eq!(exchange.text("server.address"), "127.0.0.1", "{}", records.told());
    assert_eq!(exchange.number("server.port"), i64::from(port));
    let closed = records.closed().into_iter().find(|one| one.connection() == exchange.connection()).unwrap();
    assert!(closed.text("connection.tls.library").starts_with("libgnutls.so"), "{}", records.told());
    assert!(closed.flag("connection.tls.inspected"), "{}", records.told());
    assert!(["nested", "set_fd"].contains(&closed.text("connection.binding")), "{}", records.told());
}

#[test]
fn wget_downloads_and_uploads() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("down.bin", &noise(3_000_000));
    let up = lab.write("up.bin", &noise(200_000)).display().to_string();
    let script = format!(
        "cd '{}'; wget -q --no-check-certificate -O down.bin '{}'
wget -q --no-check-certificate -O /dev/null --method PUT --body-file '{up}' '{}'
wget -q --no-check-certificate -O /dev/null '{}' '{}'",
        lab.dir().display(),
        nginx.https("/down.bin"),
        nginx.https("/put/up.bin"),
        nginx.https("/down.bin?1"),
        nginx.https("/down.bin?2"),
    );
    let records = exec_script(&lab, &["--http-buffer-size", "8mb"], &script).records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 4, "{}", records.told());
    for query in ["", "1", "2"] {
        let down = records.exchanges().into_iter().find(|one| {
            one.text("url.path") == "/down.bin"
                && (if one.has("url.query") { one.text("url.query") } else { "" }) == query
        });
        let down = down.unwrap_or_else(|| panic!("{query}: {}", records.told()));
        assert_eq!(records.artifact_of(down, "response")["body"]["digest"], digest(&noise(3_000_000)));
        assert_peer(&records, down, nginx.https);
    }
    let put = records.exchange_of("/put/up.bin");
    assert_eq!(put.number("http.response.status_code"), 201);
    assert_eq!(records.artifact_of(put, "request")["body"]["digest"], digest(&noise(200_000)));
    assert_peer(&records, put, nginx.https);
}

/// git's HTTPS is libcurl over GnuTLS in Debian's build. Elsewhere it may be OpenSSL, which is captured as well.
#[test]
fn git_asks_for_a_repository() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    if installed("git").is_none() {
        return;
    }
    let url = nginx.https("/repository");
    let script = format!("GIT_TERMINAL_PROMPT=0 git -c http.sslVerify=false ls-remote '{url}' 2>/dev/null || true");
    let records = exec_script(&lab, &[], &script).records;
    let asked = records.exchange_of("/repository/info/refs");
    assert_eq!(asked.number("http.response.status_code"), 404);
    assert!(asked.text("user_agent.original").starts_with("git/"));
    records.assert_whole();
}

#[test]
fn its_own_server_and_client() {
    let Some(lab) = Lab::open() else { return };
    let (Some(server), Some(client)) = (installed("gnutls-serv"), installed("gnutls-cli")) else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let script = format!(
        "cd '{dir}'
timeout 60 {server} --http --disable-client-cert -p {port} --x509certfile cert.pem --x509keyfile key.pem >/dev/null 2>&1 &
i=0; while [ $i -lt 100 ] && ! curl -sk --http1.1 -o /dev/null 'https://127.0.0.1:{port}/up'; do sleep 0.1; i=$((i+1)); done
curl -sk --http1.1 -o /dev/null 'https://127.0.0.1:{port}/by-curl'
(printf 'GET /by-cli HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n'; sleep 1) | {client} --insecure -p {port} 127.0.0.1 >/dev/null 2>&1
kill %1",
        dir = lab.dir().display(),
        server = server.display(),
        client = client.display(),
    );
    let records = exec_script(&lab, &[], &script).records;
    // Each exchange is captured twice: at its client and at the server.
    for (path, client) in [("/by-curl", "curl"), ("/by-cli", "gnutls-cli")] {
        let both: Vec<&Record> = records.exchanges().into_iter().filter(|one| one.text("url.path") == path).collect();
        let by = |name: &str| both.iter().find(|one| one.text("process.executable.name") == name).copied();
        let (at_client, at_server) = (by(client), by("gnutls-serv"));
        let (Some(at_client), Some(at_server)) = (at_client, at_server) else {
            panic!("{path}: {both:?}\n{}", records.told())
        };
        assert_eq!(both.len(), 2, "{}", records.told());
        assert_eq!(
            (at_client.text("connection.direction").starts_with("egress"), at_server.text("connection.direction")),
            (true, "ingress")
        );
        for one in [at_client, at_server] {
            assert_eq!(one.number("server.port"), i64::from(port));
            assert_eq!(one.number("http.response.status_code"), 200);
        }
        assert_eq!(at_client.number("client.port"), at_server.number("client.port"));
        assert_peer(&records, at_server, port);
    }
}
