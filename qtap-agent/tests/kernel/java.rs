//! Java's own TLS, with an agent inside the JVM: only where it was asked for, whole, and gone when qtap is.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::lab::{Guarded, Lab, PATIENCE, digest, noise, output_of, slowed, wait_until};
use super::nginx::{Nginx, certificate};
use super::python::script;
use super::qtap::{Agent, command, exec, get, text};
use super::records::Records;
use super::scope::config;

/// A lab with Talks.java, compiled, and the keys of its server. None: the test is skipped, and says so.
fn prepared() -> Option<(Lab, PathBuf, PathBuf)> {
    let lab = Lab::open()?;
    if slowed(PATIENCE) > PATIENCE {
        println!("skipped: a JVM compiles as it runs, for which an emulated processor takes many minutes");
        return None;
    }
    let (classes, keys) = (lab.path("classes"), lab.path("keys.p12"));
    let mut compiler = Command::new("javac");
    let built = compiler.args(["--release", "11", "-d"]).arg(&classes).arg(script("java/Talks.java")).status();
    if !built.is_ok_and(|status| status.success()) {
        println!("skipped: no JDK");
        return None;
    }
    certificate(lab.dir());
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "pass:secret", "-in", "cert.pem", "-inkey", "key.pem", "-out"]);
    output_of(openssl.arg(&keys).current_dir(lab.dir()));
    // Another user reads them.
    output_of(Command::new("chmod").args(["-R", "a+rX"]).arg(lab.dir()));
    Some((lab, classes, keys))
}

fn words(classes: &Path, talk: &[&str]) -> Vec<String> {
    let java =
        ["java", "-Djdk.internal.httpclient.disableHostnameVerification", "-cp", classes.to_str().unwrap(), "Talks"];
    java.iter().chain(talk).map(|word| (*word).to_owned()).collect()
}

/// Talks as a server, until the test ends it.
struct Server {
    child: Guarded,
    port: String,
}

impl Server {
    /// A JVM with these options.
    fn answering(classes: &Path, keys: &Path, options: &[&str]) -> Server {
        let words = words(classes, &["answer", keys.to_str().unwrap()]);
        let mut java = Command::new(&words[0]);
        java.args(options).args(&words[1..]);
        Server::start(java)
    }

    fn start(mut java: Command) -> Server {
        let mut child = java.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Server { child: Guarded(child), port: port.trim().to_owned() }
    }

    /// Sends it a body, and asserts that it comes back.
    fn ask(&self, lab: &Lab, path: &str) {
        let (sent, got) = (lab.write("sent.bin", &noise(SENT)), lab.path("got.bin"));
        let mut curl = Command::new("curl");
        curl.args(["-sk", "-w", "%{http_code}", "--data-binary", &format!("@{}", sent.display()), "-o"]).arg(&got);
        assert_eq!(output_of(curl.arg(format!("https://127.0.0.1:{}{path}", self.port))), "200", "{path}");
        assert!(std::fs::read(got).unwrap() == noise(SENT), "{path}");
    }

    /// Whether a thread of qtap's is in it.
    fn has_agent(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.jvm())).unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.into_iter().any(|name| name.trim() == "qtap")
    }

    /// The JVM's process: the last of those that lead to it.
    fn jvm(&self) -> u32 {
        let mut pid = self.child.pid();
        while let Ok(children) = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            && let Some(child) = children.split_whitespace().next()
        {
            pid = child.parse().unwrap();
        }
        pid
    }
}

/// Bytes of a body that goes to a server and back.
const SENT: usize = 50_000;
/// Sizes of the files that clients ask for.
const SIZES: [usize; 5] = [1, 1000, 16_384, 16_385, 100_000];

fn assert_are_whole(records: &Records, port: u16, binding: &str, version: &str, rounds: usize) {
    records.assert_whole();
    assert_eq!(records.exchanges().len(), SIZES.len() * rounds, "{}", records.told());
    for size in SIZES {
        let path = format!("/{size}.bin");
        let exchanges = records.exchanges();
        let of_size: Vec<_> = exchanges.into_iter().filter(|exchange| exchange.text("url.path") == path).collect();
        assert_eq!(of_size.len(), rounds, "{path}");
        for exchange in of_size {
            assert_eq!(records.artifact_of(exchange, "response")["body"]["digest"], digest(&noise(size)));
            assert_eq!(exchange.text("network.protocol.version"), version);
            assert_eq!(exchange.number("server.port"), i64::from(port));
            assert!(exchange.text("connection.direction").starts_with("egress"), "{exchange:?}");
        }
    }
    for closed in records.closed() {
        assert_eq!(closed.text("connection.tls.library"), "JSSE", "{closed:?}");
        assert_eq!(closed.text("connection.binding"), binding, "{closed:?}");
        assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
    }
}

#[test]
fn clients_by_socket_and_by_engine() {
    let Some((lab, classes, _)) = prepared() else { return };
    let nginx = Nginx::start(&lab, 9);
    let urls = SIZES.map(|size| {
        nginx.serve(&format!("{size}.bin"), &noise(size));
        nginx.https(&format!("/{size}.bin"))
    });
    for (style, binding, version) in
        [("socket", "set_fd", "1.1"), ("http1", "ciphertext", "1.1"), ("http2", "ciphertext", "2")]
    {
        let talk: Vec<&str> = ["ask", style, "2"].into_iter().chain(urls.iter().map(String::as_str)).collect();
        let captured = exec(&lab, ["--java-agent"], words(&classes, &talk));
        assert_eq!(captured.code, Some(0), "{style}: {}", captured.stderr);
        assert_are_whole(&captured.records.over_tcp(), nginx.https, binding, version, 2);
    }
}

/// qtap comes and goes: what is captured is what was said meanwhile, and the JVM is what it was.
fn assert_is_captured(lab: &Lab, server: &Server, rounds: &[&str]) {
    server.ask(lab, "/before");
    let settings = lab.write("qtap.yaml", config("level: full", "").as_bytes()).display().to_string();
    for round in rounds {
        let agent = Agent::start(lab, ["--java-agent", "--config", &settings, "--pid", &server.jvm().to_string()]);
        wait_until("qtap's agent is there", || agent.logged().contains("agent loaded into a JVM"));
        // A thread takes its name once it runs.
        wait_until("its thread has its name", || server.has_agent());
        for number in 0..5 {
            server.ask(lab, &format!("{round}/{number}"));
        }
        agent.wait_for("\"artifact_record\"", 5);
        let records = agent.stop().records.over_tcp();
        records.assert_whole();
        assert_eq!(records.exchanges().len(), 5, "{}", records.told());
        for exchange in records.exchanges() {
            assert!(exchange.text("url.path").starts_with(round), "{exchange:?}");
            assert_eq!(exchange.number("server.port").to_string(), server.port);
            for side in ["request", "response"] {
                let body = &records.artifact_of(exchange, side)["body"];
                assert_eq!(body["digest"], digest(&noise(SENT)), "{side} of {exchange:?}");
            }
        }
        wait_until("qtap's agent is gone", || !server.has_agent());
        server.ask(lab, "/between");
    }
}

#[test]
fn a_server_that_runs_already() {
    let Some((lab, classes, keys)) = prepared() else { return };
    assert_is_captured(&lab, &Server::answering(&classes, &keys, &[]), &["/first", "/second"]);
}

/// As in a container: another user, in namespaces of processes and mounts of its own, with a `/tmp` of its own.
#[test]
fn a_server_of_another_user_in_namespaces_of_its_own() {
    let Some((lab, classes, keys)) = prepared() else { return };
    let home = lab.dir().display().to_string();
    let words = words(&classes, &["answer", keys.to_str().unwrap()]);
    let inside = format!(
        "mount --bind '{home}' /mnt && mount -t tmpfs -o mode=1777 none /tmp && mount -t proc none /proc && \
         exec setpriv --reuid 65534 --regid 65534 --clear-groups {}",
        words.join(" ").replace(&home, "/mnt"),
    );
    let mut java = Command::new("unshare");
    java.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", &inside]);
    let server = Server::start(java);
    assert_is_captured(&lab, &server, &["/first"]);
}

#[test]
fn jvms_that_take_no_agent_are_named_with_the_reason() {
    let Some((lab, classes, keys)) = prepared() else { return };
    for (option, reason) in [
        ("-XX:+DisableAttachMechanism", "its options forbid it (-XX:+DisableAttachMechanism)"),
        ("-Xrs", "its options forbid it (-Xrs)"),
    ] {
        let server = Server::answering(&classes, &keys, &[option]);
        let agent = Agent::start(&lab, ["--java-agent", "--pid", &server.jvm().to_string()]);
        let says = format!("qtap's agent was not loaded: {reason}");
        wait_until(&says, || {
            server.ask(&lab, "/unseen");
            get(agent.port, "/processes").is_some_and(|page| page.contains(&says))
        });
        let records = agent.stop().records;
        assert_eq!(records.exchanges().len(), 0, "{option}: {}", records.told());
    }
}

#[test]
fn nothing_is_put_into_a_jvm_that_was_not_asked_for() {
    let Some((lab, classes, keys)) = prepared() else { return };
    let server = Server::answering(&classes, &keys, &[]);
    let agent = Agent::start(&lab, ["--pid", &server.jvm().to_string()]);
    let says = "only an agent inside it can tell what it says (--java-agent)";
    wait_until(says, || {
        server.ask(&lab, "/unseen");
        get(agent.port, "/processes").is_some_and(|page| page.contains(says))
    });
    assert!(!server.has_agent());
    assert_eq!(agent.stop().records.exchanges().len(), 0);
}

/// Wholly, or for its TLS.
#[test]
fn nothing_is_put_into_a_jvm_that_is_left_out() {
    let Some((lab, classes, keys)) = prepared() else { return };
    let server = Server::answering(&classes, &keys, &[]);
    let java = std::fs::read_link(format!("/proc/{}/exe", server.jvm())).unwrap();
    for only in ["", ", only: [tls]"] {
        let tap = format!("  filters:\n    custom: [{{exe: '{}', strategy: exact{only}}}]\n", java.display());
        let settings = lab.write("qtap.yaml", config("level: full", &tap).as_bytes()).display().to_string();
        let agent = Agent::start(&lab, ["--java-agent", "--config", &settings, "--pid", &server.jvm().to_string()]);
        for _ in 0..10 {
            server.ask(&lab, "/unseen");
            std::thread::sleep(Duration::from_millis(200));
            assert!(!server.has_agent(), "{only}");
        }
        assert!(!agent.logged().contains("agent loaded"), "{only}: {}", agent.logged());
        assert_eq!(agent.stop().records.exchanges().len(), 0, "{only}");
    }
}

/// What catches SIGQUIT and maps a JVM's library may be a program that has not started its JVM yet, or never lets it handle signals: a database ends by that signal.
#[test]
fn a_program_that_is_no_jvm_is_not_signalled() {
    let Some((lab, ..)) = prepared() else { return };
    let java = std::fs::canonicalize(output_of(Command::new("sh").args(["-c", "command -v java"])).trim()).unwrap();
    let library = java.parent().unwrap().parent().unwrap().join("lib/server/libjvm.so");
    let program = format!(
        "import ctypes, signal, time\n\
         signal.signal(signal.SIGQUIT, lambda *of: print('signalled', flush=True))\n\
         ctypes.CDLL('{}')\n\
         for step in range(30): time.sleep(0.1)\n\
         print('alone', flush=True)",
        library.display()
    );
    let captured = exec(&lab, ["--java-agent"], ["python3", "-c", &program]);
    assert!(captured.stdout.contains("alone") && !captured.stdout.contains("signalled"), "{}", captured.stdout);
}

/// Two at a time would take each other's words: the second one says that it is too late.
#[test]
fn a_second_qtap_finds_the_place_taken() {
    let Some((lab, classes, keys)) = prepared() else { return };
    let server = Server::answering(&classes, &keys, &[]);
    let pid = server.jvm().to_string();
    let first = Agent::start(&lab, ["--java-agent", "--pid", &pid]);
    wait_until("qtap's agent is there", || first.logged().contains("agent loaded into a JVM"));
    let log = lab.path("second.err");
    let mut second = command();
    second.args(["run", "--java-agent", "--pid", &pid, "--httpd-listen", "127.0.0.1:0", "--data-dir"]);
    second.arg(lab.path("second")).stdin(Stdio::null()).stdout(Stdio::null());
    let mut second = Guarded(second.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap());
    wait_until("it says so", || text(&log).contains("the agent of another qtap is in it"));
    server.ask(&lab, "/told");
    first.wait_for("\"artifact_record\"", 1);
    second.signal(rustix::process::Signal::TERM);
    second.end_within(PATIENCE).expect("it ends when told");
    server.ask(&lab, "/told");
    first.wait_for("\"artifact_record\"", 2);
    assert_eq!(first.stop().records.over_tcp().exchanges().len(), 2);
}

/// The classes that a qtap put into a JVM stay there. Those of another version are not used: this one says that they are there.
#[test]
fn what_another_version_left_is_not_used() {
    let Some((lab, classes, keys)) = prepared() else { return };
    let server = Server::answering(&classes, &keys, &[]);
    let pid = server.jvm().to_string();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/agent.jar").display().to_string();
    // As if that qtap had ended while it loaded: its pipe is gone. The agent has put its classes there, and leaves nothing else.
    let pipe = lab.path("none");
    let options = format!("{archive},{},00,another", pipe.display());
    output_of(Command::new("jcmd").args([&pid, "JVMTI.agent_load", &archive, &options]));
    assert!(!pipe.exists());
    let agent = Agent::start(&lab, ["--java-agent", "--pid", &pid]);
    wait_until("it says so", || agent.logged().contains("another version of qtap left"));
    server.ask(&lab, "/unseen");
    assert!(!server.has_agent());
    assert_eq!(agent.stop().records.exchanges().len(), 0);
}

/// Results of all calls, refused ones among them, are those that they are without qtap. (QTAP_CALLS: how many.)
#[test]
fn what_the_methods_do_is_what_they_did() {
    let Some((lab, classes, keys)) = prepared() else { return };
    let count = std::env::var("QTAP_CALLS").unwrap_or_else(|_| "50000".to_owned());
    let words = words(&classes, &["engines", keys.to_str().unwrap(), &count]);
    let bare = output_of(Command::new(&words[0]).args(&words[1..]));
    assert_eq!(bare.trim().len(), 64, "{bare}");
    let captured = exec(&lab, ["--java-agent", "--log-level", "info"], &words);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    assert!(captured.stdout.contains(bare.trim()), "{bare}\n{}", captured.stdout);
    assert!(captured.stderr.contains("agent loaded into a JVM"), "{}", captured.stderr);
}
