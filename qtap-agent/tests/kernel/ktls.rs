//! TLS in the kernel (kTLS): the process hands its keys to the kernel and writes plaintext to the socket. The tests are skipped where the kernel
//! lacks it, or where no OpenSSL is there that uses it (Debian's does since release 13).

use std::path::Path;
use std::process::Command;

use super::lab::{Lab, noise, output_of};
use super::nginx::Nginx;
use super::python::{Script, interpreter, script, tools};
use super::qtap::{Agent, exec_script};

/// OpenSSL configuration that makes every program that reads it use kernel TLS.
const SETTINGS: &str = "openssl_conf = first
[first]
ssl_conf = ssl
[ssl]
system_default = all
[all]
Options = KTLS
";

/// A lab on a kernel that has TLS.
fn open() -> Option<Lab> {
    let lab = Lab::open()?;
    if !Path::new("/proc/net/tls_stat").exists() {
        println!("skipped: this kernel does no TLS (CONFIG_TLS, the module tls)");
        return None;
    }
    Some(lab)
}

/// The command line that runs a Debian 13 program here, with its own libraries.
fn of_debian_13(program: &str) -> Option<Vec<String>> {
    let root = tools().join("debian-13/root");
    if !root.join(program).exists() {
        println!("skipped: no programs of Debian 13");
        return None;
    }
    let within = |path: &str| root.join(path).display().to_string();
    let libraries = within("usr/lib/x86_64-linux-gnu");
    Some(vec![within("usr/lib64/ld-linux-x86-64.so.2"), "--library-path".into(), libraries, within(program)])
}

/// The server of these tests, with kTLS enabled.
fn nginx(lab: &Lab) -> Option<Nginx> {
    let words = of_debian_13("usr/sbin/nginx")?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("OPENSSL_CONF", lab.write("ktls.cnf", SETTINGS.as_bytes()));
    let nginx = Nginx::start_by(lab, 9, command);
    nginx.serve("sent.bin", &noise(50_000));
    nginx.serve("hello.txt", b"hello\n");
    Some(nginx)
}

/// Connections whose sending keys the kernel was given since boot.
fn given() -> u64 {
    let counts = std::fs::read_to_string("/proc/net/tls_stat").unwrap();
    let sent = counts.lines().find_map(|line| line.strip_prefix("TlsTxSw")).unwrap();
    sent.trim().parse().unwrap()
}

#[test]
fn a_server_that_sends_files_by_it_is_told_once_and_what_it_sent_unseen_is_said() {
    let Some(lab) = open() else { return };
    let Some(nginx) = nginx(&lab) else { return };
    let agent = Agent::start(&lab, ["--pid", &nginx.pid().to_string()]);
    let before = given();
    let [first, second] = [nginx.https("/sendfile/sent.bin"), nginx.https("/hello.txt")];
    let one = ["-s", "-k", "--http1.1", "-o", "/dev/null", &first, "-o", "/dev/null", &second];
    output_of(Command::new("curl").args(one));
    assert!(given() > before, "nginx did not use it");
    agent.wait_for("artifact_record", 2);
    let records = agent.stop().records;
    assert_eq!(records.exchanges().len(), 2, "{}", records.told());
    for (path, size) in [("/sendfile/sent.bin", 50_000), ("/hello.txt", 6)] {
        let exchange = records.exchange_of(path);
        assert_eq!((exchange.text("url.scheme"), exchange.number("http.response.status_code")), ("https", 200));
        assert_eq!(exchange.number("http.response.body.size"), size);
    }
    let closed = records.closed()[0];
    assert_eq!(closed.text("connection.tls.kernel"), "both", "{closed:?}");
    assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
    assert_eq!(closed.losses().get("sendfile"), Some(&50_000), "{closed:?}");
    assert_eq!(closed.losses().len(), 1, "{closed:?}");
}

#[test]
fn a_connection_that_was_open_before_is_not_told_twice() {
    let Some(lab) = open() else { return };
    let Some(nginx) = nginx(&lab) else { return };
    let before = given();
    let Some(mut client) = Script::start("ktls.py", &["ask", &nginx.https.to_string()]) else { return };
    assert_eq!(client.ask("/hello.txt"), "200 6");
    assert!(given() > before, "nginx did not use it");
    let agent = Agent::start(&lab, ["--pid", &nginx.pid().to_string()]);
    assert_eq!(client.ask("/sendfile/sent.bin"), "200 50000");
    assert_eq!(client.ask("/hello.txt"), "200 6");
    drop(client);
    agent.wait_for("artifact_record", 2);
    let records = agent.stop().records;
    assert_eq!(records.exchanges().len(), 2, "{}", records.told());
    for exchange in records.exchanges() {
        assert_eq!((exchange.text("url.scheme"), exchange.number("http.response.status_code")), ("https", 200));
    }
    let closed = records.closed()[0];
    assert_eq!(closed.text("connection.tls.kernel"), "unknown", "{closed:?}");
    assert_eq!(closed.losses().get("sendfile"), Some(&50_000), "{closed:?}");
    assert_eq!(closed.losses().len(), 1, "{closed:?}");
}

#[test]
fn a_client_that_sends_and_receives_by_it_is_whole() {
    let Some(lab) = open() else { return };
    let Some(openssl) = of_debian_13("usr/bin/openssl") else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("long.bin", &noise(200_000));
    for version in ["-tls1_2", "-tls1_3"] {
        let before = given();
        let line = format!(
            "printf 'GET /long.bin HTTP/1.1\\r\\nHost: here\\r\\nConnection: close\\r\\n\\r\\n' |
'{}' s_client -quiet -ktls {version} -connect 127.0.0.1:{} | tail -c 200000 | cmp - '{}'",
            openssl.join("' '"),
            nginx.https,
            lab.path("nginx/www/long.bin").display()
        );
        let records = exec_script(&lab, &[], &line).records.over_tcp();
        assert!(given() > before, "openssl did not use it");
        assert_eq!(records.exchanges().len(), 1, "{}", records.told());
        assert_eq!(records.exchange_of("/long.bin").number("http.response.body.size"), 200_000);
        records.assert_whole();
        let closed = records.closed()[0];
        assert_eq!(closed.text("connection.tls.kernel"), "both", "{closed:?}");
        assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
    }
}

/// Both ends give the kernel keys themselves, with no TLS library: no byte of it is reported as if it had been in the clear.
#[test]
fn a_program_that_gives_the_kernel_keys_itself_is_said_to_be_not_seen() {
    let Some(lab) = open() else { return };
    let Some(python) = interpreter() else { return };
    let before = given();
    let line = format!("'{}' '{}' itself", python.display(), script("ktls.py").display());
    let records = exec_script(&lab, &[], &line).records.over_tcp();
    assert_eq!(given() - before, 2);
    assert_eq!(records.exchanges().len(), 0, "{}", records.told());
    assert_eq!(records.closed().len(), 2, "{}", records.told());
    for closed in records.closed() {
        assert_eq!(closed.text("connection.protocol"), "tls", "{closed:?}");
        assert_eq!(closed.text("connection.tls.kernel"), "both", "{closed:?}");
        assert!(!closed.flag("connection.tls.inspected"), "{closed:?}");
        assert!(closed.text("connection.tls.uninspected_reason").starts_with("kTLS: "), "{closed:?}");
        assert!(closed.losses().is_empty(), "{closed:?}");
    }
}
