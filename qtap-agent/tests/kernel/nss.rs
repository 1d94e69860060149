//! NSS, on both sides: libcurl over NSS and NSS tools as clients, lighttpd and an NSS socket as servers, and a browser that adds a layer of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::lab::{Lab, PATIENCE, digest, free_ports, noise, output_of, slowed};
use super::nginx::{Nginx, certificate};
use super::python::{interpreter, script};
use super::qtap::{exec_script, run_exec, text};
use super::records::{Record, Records, parse};

/// Checks that the host has these libraries. None: the test is skipped, and says so.
fn libraries(names: &[&str]) -> Option<()> {
    let listed = output_of(Command::new("ldconfig").arg("-p"));
    let missing = names.iter().find(|name| !listed.contains(&format!("{name} ")));
    if let Some(name) = missing {
        println!("skipped: no {name} (cargo xtask setup --for check, where Debian has it)");
    }
    missing.is_none().then_some(())
}

/// A program, or a part of one.
fn installed(path: &str) -> Option<PathBuf> {
    let found = Some(PathBuf::from(path)).filter(|path| path.is_file());
    if found.is_none() {
        println!(
            "skipped: no {path} (cargo xtask setup --for check, where Debian has it; Firefox: apt-get install firefox-esr)"
        );
    }
    found
}

/// The shell command that runs the script of these tests.
fn talks() -> Option<String> {
    Some(format!("{} {}", interpreter()?.display(), script("nss.py").display()))
}

/// An NSS database with a certificate named `server`.
fn database(lab: &Lab) -> Option<PathBuf> {
    installed("/usr/bin/pk12util")?;
    certificate(lab.dir());
    let database = lab.path("database");
    std::fs::create_dir(&database).unwrap();
    let make = "openssl pkcs12 -export -inkey key.pem -in cert.pem -name server -passout pass: -out server.p12
certutil -N -d sql:database --empty-password
pk12util -i server.p12 -d sql:database -W ''";
    output_of(Command::new("sh").args(["-ec", make]).current_dir(lab.dir()));
    Some(database)
}

/// The exchange belongs to a connection that NSS carried, with the right peer.
fn assert_peer(records: &Records, exchange: &Record, port: u16) {
    assert_eq!(exchange.text("server.address"), "127.0.0.1", "{}", records.told());
    assert_eq!(exchange.number("server.port"), i64::from(port));
    let closed = records.closed().into_iter().find(|one| one.connection() == exchange.connection()).unwrap();
    assert_eq!(closed.text("connection.tls.library"), "libssl3.so", "{}", records.told());
    assert_eq!(closed.text("connection.binding"), "nested", "{}", records.told());
    assert!(closed.flag("connection.tls.inspected"), "{}", records.told());
}

/// The only exchange with this query.
fn of_query<'a>(records: &'a Records, query: &str) -> &'a Record {
    let found: Vec<&Record> =
        records.exchanges().into_iter().filter(|one| one.has("url.query") && one.text("url.query") == query).collect();
    assert_eq!(found.len(), 1, "{query}: {}", records.told());
    found[0]
}

#[test]
fn libcurl_downloads_and_uploads() {
    let Some(lab) = Lab::open() else { return };
    let (Some(talks), Some(())) = (talks(), libraries(&["libcurl-nss.so.4"])) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("down.bin", &noise(3_000_000));
    let up = lab.write("up.bin", &noise(200_000)).display().to_string();
    let mut script = String::from("set -e\n");
    for version in ["1.1", "2"] {
        let plan = format!(
            "GET {}\nPUT {} {up}\nGET {}\n",
            nginx.https(&format!("/down.bin?down-{version}")),
            nginx.https(&format!("/put/up.bin?up-{version}")),
            nginx.https(&format!("/down.bin?again-{version}")).replace("127.0.0.1", "localhost"),
        );
        let plan = lab.write(&format!("plan-{version}"), plan.as_bytes());
        script += &format!("{talks} curl {version} {}\n", plan.display());
    }
    let records = exec_script(&lab, &["--http-buffer-size", "8mb"], &script).records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 6, "{}", records.told());
    for version in ["1.1", "2"] {
        for name in ["down", "again"] {
            let down = of_query(&records, &format!("{name}-{version}"));
            assert_eq!(records.artifact_of(down, "response")["body"]["digest"], digest(&noise(3_000_000)));
            assert_eq!(down.text("network.protocol.version"), version);
            assert_peer(&records, down, nginx.https);
        }
        let named = of_query(&records, &format!("again-{version}"));
        let closed = records.closed().into_iter().find(|one| one.connection() == named.connection()).unwrap();
        assert_eq!(closed.text("connection.tls.sni"), "localhost", "{}", records.told());
        let put = of_query(&records, &format!("up-{version}"));
        assert!([201, 204].contains(&put.number("http.response.status_code")), "{}", records.told());
        assert_eq!(records.artifact_of(put, "request")["body"]["digest"], digest(&noise(200_000)));
        assert_peer(&records, put, nginx.https);
    }
}

/// Responses peeked at before they are read, requests in several buffers, a layer above NSS, files read by the same function, an unused session.
#[test]
fn what_it_reads_is_told_once_by_whatever_way() {
    let Some(lab) = Lab::open() else { return };
    let (Some(talks), Some(())) = (talks(), libraries(&["libssl3.so", "libnspr4.so"])) else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.bin", &noise(300_000));
    let records = exec_script(&lab, &[], &format!("{talks} client {}", nginx.https)).records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 6, "{}", records.told());
    for query in ["plain-0", "plain-1", "plain-2", "layered-0", "layered-1", "layered-2"] {
        let exchange = of_query(&records, query);
        assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(300_000)));
        assert_peer(&records, exchange, nginx.https);
    }
    assert_eq!(records.closed().len(), 2, "{}", records.told());
}

/// A session that was seen from its beginning and carries another protocol is not searched for HTTP later.
#[test]
fn a_session_is_known_from_its_beginning() {
    let Some(lab) = Lab::open() else { return };
    let (Some(talks), Some(())) = (talks(), libraries(&["libssl3.so", "libnspr4.so"])) else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let script = format!(
        "cd '{}'
mkfifo nothing
timeout 60 openssl s_server -quiet -accept {port} -cert cert.pem -key key.pem -naccept 1 > received 2>&1 < nothing &
exec 9> nothing
for try in $(seq 100); do ss -Hltn 'sport = {port}' | grep -q . && break; sleep 0.1; done
{talks} other {port}
wait",
        lab.dir().display()
    );
    let records = exec_script(&lab, &["--tls-probes", "nss"], &script).records;
    assert!(std::fs::read_to_string(lab.path("received")).unwrap().contains("GET /not-asked"));
    let by_nss =
        |one: &&Record| one.has("connection.tls.library") && one.text("connection.tls.library") == "libssl3.so";
    assert_eq!(records.closed().into_iter().filter(by_nss).count(), 1, "{}", records.told());
    assert!(records.exchanges().is_empty(), "{}", records.told());
}

/// Firefox brings its own NSS, which gets its probes when it is mapped, and puts a layer of its own above.
#[test]
fn firefox_asks() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(firefox)) = (interpreter(), installed("/usr/lib/firefox-esr/firefox-esr")) else { return };
    if slowed(PATIENCE) > PATIENCE {
        println!("skipped: a browser takes minutes to start here");
        return;
    }
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("down.bin", &noise(300_000));
    nginx.serve("page.txt", b"page\n");
    let up = lab.write("up.bin", &noise(50_000)).display().to_string();
    let mut lines = String::from("set -e\n");
    for version in ["1.1", "2"] {
        let plan = format!(
            "GET {}\nGET {}\nPUT {} {up}\n",
            nginx.https(&format!("/seen/page.txt?page-{version}")),
            nginx.https(&format!("/down.bin?down-{version}")),
            nginx.https(&format!("/put/up.bin?up-{version}")),
        );
        let plan = lab.write(&format!("plan-{version}"), plan.as_bytes());
        let (program, firefox) = (script("firefox.py"), firefox.display());
        lines += &format!("{} {} {firefox} {version} {}\n", python.display(), program.display(), plan.display());
    }
    // Its internal traffic over UNIX sockets is left out.
    let out = lab.path("records.jsonl");
    let captured = run_exec(&lab, [] as [&str; 0], &out, ["sh", "-c", &lines]);
    assert_eq!(captured.code, Some(0), "{}\n{}", captured.stderr, captured.stdout);
    let records = parse(&text(&out)).over_tcp();
    records.assert_conserved();
    for version in ["1.1", "2"] {
        let page = of_query(&records, &format!("page-{version}"));
        assert_eq!(records.artifact_of(page, "response")["body"]["digest"], digest(b"page\n"));
        let down = of_query(&records, &format!("down-{version}"));
        assert_eq!(records.artifact_of(down, "response")["body"]["digest"], digest(&noise(300_000)));
        let put = of_query(&records, &format!("up-{version}"));
        assert_eq!(records.artifact_of(put, "request")["body"]["digest"], digest(&noise(50_000)));
        for exchange in [page, down, put] {
            assert_eq!(exchange.text("network.protocol.version"), version, "{}", records.told());
            assert_peer(&records, exchange, nginx.https);
        }
    }
}

/// Both ends of each exchange are reported, with the same ports and bodies.
fn assert_both_ends(records: &Records, path: &str, server: &str, port: u16, body: &[u8]) {
    let both: Vec<&Record> = records.exchanges().into_iter().filter(|one| one.text("url.path") == path).collect();
    let by = |direction: &str| both.iter().find(|one| one.text("connection.direction").starts_with(direction)).copied();
    let (Some(at_client), Some(at_server)) = (by("egress"), by("ingress")) else {
        panic!("{path}: {}", records.told())
    };
    assert_eq!(both.len(), 2, "{}", records.told());
    assert!(at_server.text("process.executable.name").starts_with(server), "{}", records.told());
    assert_eq!(at_client.number("client.port"), at_server.number("client.port"));
    for one in both {
        assert_eq!(one.number("http.response.status_code"), 200);
        assert_eq!(records.artifact_of(one, "response")["body"]["digest"], digest(body), "{}", records.told());
    }
    assert_peer(records, at_server, port);
}

#[test]
fn lighttpd_serves() {
    let Some(lab) = Lab::open() else { return };
    let (Some(_), Some(lighttpd)) = (installed("/usr/lib/lighttpd/mod_nss.so"), installed("/usr/sbin/lighttpd")) else {
        return;
    };
    certificate(lab.dir());
    let [port] = free_ports();
    lab.write("one.bin", &noise(500_000));
    lab.write("two.bin", &noise(100_000));
    let script = format!(
        "cd '{dir}'
cat key.pem cert.pem > both.pem
timeout 60 {} -D -f lighttpd.conf 2>/dev/null & server=$!
for try in $(seq 100); do ss -Hltn 'sport = {port}' | grep -q . && break; sleep 0.1; done
curl -sfk --http1.1 -o one 'https://127.0.0.1:{port}/one.bin' && curl -sfk --http2 -o two 'https://127.0.0.1:{port}/two.bin'
asked=$?
kill $server; wait; exit $asked",
        lighttpd.display(),
        dir = lab.dir().display(),
    );
    lab.write("lighttpd.conf", configuration(lab.dir(), port).as_bytes());
    let records = exec_script(&lab, &[], &script).records;
    assert_both_ends(&records, "/one.bin", "lighttpd", port, &noise(500_000));
    assert_both_ends(&records, "/two.bin", "lighttpd", port, &noise(100_000));
    records.assert_whole();
}

fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "server.modules = (\"mod_nss\")
server.document-root = \"{dir}\"
server.bind = \"127.0.0.1\"
server.port = {port}
server.errorlog = \"{dir}/lighttpd.log\"
ssl.engine = \"enable\"
ssl.pemfile = \"{dir}/both.pem\"
"
    )
}

/// NSS creates the session of a connection itself when the listening socket is an NSS socket.
#[test]
fn a_socket_accepts_by_it() {
    let Some(lab) = Lab::open() else { return };
    let (Some(talks), Some(())) = (talks(), libraries(&["libssl3.so", "libnspr4.so"])) else { return };
    let Some(database) = database(&lab) else { return };
    let [port] = free_ports();
    let script = format!(
        "timeout 60 {talks} server {port} 'sql:{}' &
for try in $(seq 100); do ss -Hltn 'sport = {port}' | grep -q . && break; sleep 0.1; done
curl -sfk -o /dev/null 'https://127.0.0.1:{port}/some' && curl -sfk -o /dev/null 'https://127.0.0.1:{port}/end' && wait",
        database.display(),
    );
    let records = exec_script(&lab, &[], &script).records;
    let body: Vec<u8> = (0..=255).cycle().take(102_400).collect();
    assert_both_ends(&records, "/some", "python", port, &body);
    assert_both_ends(&records, "/end", "python", port, &body);
    records.assert_whole();
}
