//! The bad input of contract §5, and input that is merely odd and must disturb nobody.

use super::lab::{Guarded, Lab, output_of};
use super::nginx::Nginx;
use super::python::{interpreter, script};
use super::qtap::{Agent, command, exec_script, get, run, run_command};
use super::records::Record;

#[test]
fn what_is_wrong_is_said() {
    let Some(lab) = Lab::open() else { return };
    let bad = lab.write("bad.yaml", b"version: 2\ntap:\n  direktion: all\nstacks: 7\n").display().to_string();
    let gone = {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id().to_string()
    };
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let own = std::process::id().to_string();
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (&["fly"], 2, &["fly"]),
        (&["exec"], 2, &["CMD"]),
        (&["exec", "--config", &bad, "--", "true"], 2, &["bad.yaml:3:3", "direktion", "direction", "bad.yaml:4"]),
        (&["run", "--config", "/none/there.yaml"], 2, &["/none/there.yaml"]),
        (&["run", "--pid", &gone], 1, &["--pid", &gone, "no such process"]),
        (&["exec", "-o", "/dev/null", "--", "/none/program"], 127, &["/none/program"]),
        (&["run", "--pid", &own, "--httpd-listen", &taken], 1, &[&taken]),
    ];
    for (arguments, code, words) in cases {
        let ended = run(&lab, arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{arguments:?} does not say {word}: {}", ended.stderr);
        }
    }
    let ended = run(&lab, ["exec", "-o", "/none/there/out", "--", "touch", &lab.path("ran").display().to_string()]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(!lab.path("ran").exists(), "the command is not run when its records have nowhere to go");
}

#[test]
fn without_privilege() {
    let Some(lab) = Lab::open() else { return };
    // `nobody` can't read the build's directory.
    let program = lab.path("qtap");
    std::fs::copy(env!("CARGO_BIN_EXE_qtap"), &program).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(lab.dir(), mode).unwrap();
    let mut qtap = std::process::Command::new("setpriv");
    qtap.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program).args(["exec", "--", "true"]);
    let ended = run_command(&lab, &mut qtap);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("root"), "{}", ended.stderr);
}

#[test]
fn noise_on_sockets_and_inside_tls() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    // Both ends are captured: a server that reads noise and a client that writes it. One good exchange follows.
    let line = format!(
        "{} {} noise {} {}; curl -sk '{}'",
        python.display(),
        script("client.py").display(),
        nginx.http,
        nginx.https,
        nginx.https("/a.txt?good")
    );
    let agent = Agent::start(&lab, ["--pid", &nginx.pid().to_string()]);
    let captured = exec_script(&lab, &[], &line);
    agent.wait_for("?good", 1);
    let server = agent.stop().records;
    for records in [&captured.records, &server] {
        let good: Vec<_> = records.complete().into_iter().filter(|record| record.text("url.query") == "good").collect();
        assert_eq!(good.len(), 1, "{}", records.told());
    }
}

#[test]
fn odd_programs() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let curl = lab.path("curl-of-its-own").display().to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reader = std::thread::spawn(move || {
        use std::io::Read as _;
        let mut got = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
        got
    });
    let elf32 = thirty_two_bits(&lab, port);
    // An executable that is deleted while it runs, and a program of the 32-bit ABI.
    let script = format!(
        "set -e; cp /usr/bin/curl {curl}; (sleep 0.5; rm {curl}) & {curl} -sk --retry 3 --retry-delay 1 --retry-connrefused \
         'http://127.0.0.1:1/' || :; wait
cp /usr/bin/curl {curl}; {curl} -sk '{}'; rm {curl}; {elf32}",
        nginx.https("/a.txt?deleted")
    );
    let records = exec_script(&lab, &[], &script).records;
    assert_eq!(reader.join().unwrap(), b"GET /32 HTTP/1.1\r\nHost: x\r\n\r\n");
    let deleted: Vec<_> =
        records.exchanges().into_iter().filter(|record| record.text("url.query") == "deleted").collect();
    assert_eq!(deleted.len(), 1, "{}", records.told());
    assert_eq!(deleted[0].text("process.executable.name"), "curl-of-its-own");
    // Calls of the 32-bit ABI are counted, not captured: the connection is reported, with all its bytes lost, and the program is undisturbed.
    let of_32_bits = |record: &&Record| record.text("process.executable.name") == "thirty-two";
    let told: Vec<_> = records.all.iter().filter(of_32_bits).collect();
    assert!(told.len() == 1 && told[0].kind() == "connection", "{told:?}");
    assert_eq!((told[0].carried(), told[0].losses()), (29, [("compat_call", 29)].into()), "{told:?}");
}

#[test]
fn refused_and_reset_connections_end() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let line = format!("{} {} refused_and_reset; sleep 1", python.display(), script("client.py").display());
    let records = exec_script(&lab, &[], &line).records;
    assert_eq!(records.connections().len(), records.closed().len(), "{}", records.told());
    // Eight refused; eight that are reset before the client has read, and the servers' ends of those eight.
    assert_eq!(records.closed().len(), 24, "{}", records.told());
}

#[test]
fn a_peer_that_ended_before_it_was_accepted() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let line = format!("{} {} last_word_first", python.display(), script("client.py").display());
    let records = exec_script(&lab, &[], &line).records;
    records.assert_whole();
    assert_eq!((records.exchanges().len(), records.closed().len()), (2, 2), "{}", records.told());
}

/// A program of the 32-bit ABI that connects to the port and sends 29 bytes, made with binutils alone.
fn thirty_two_bits(lab: &Lab, port: u16) -> String {
    let source = format!(
        ".globl _start
_start:
  movl $102, %eax; movl $1, %ebx; movl $socket, %ecx; int $0x80
  movl %eax, %esi; movl %eax, connect
  movl $102, %eax; movl $3, %ebx; movl $connect, %ecx; int $0x80
  movl $4, %eax; movl %esi, %ebx; movl $said, %ecx; movl $29, %edx; int $0x80
  movl $1, %eax; xorl %ebx, %ebx; int $0x80
.data
socket: .long 2, 1, 0
connect: .long 0, address, 16
address: .word 2; .byte {}, {}, 127, 0, 0, 1; .long 0, 0
said: .ascii \"GET /32 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n\"
",
        port >> 8,
        port & 255
    );
    let (source, object, program) = (lab.write("32.s", source.as_bytes()), lab.path("32.o"), lab.path("thirty-two"));
    output_of(std::process::Command::new("as").arg("--32").arg(&source).arg("-o").arg(&object));
    output_of(std::process::Command::new("ld").args(["-m", "elf_i386"]).arg(&object).arg("-o").arg(&program));
    program.display().to_string()
}

#[test]
fn a_target_whose_executable_is_gone() {
    let Some(lab) = Lab::open() else { return };
    let copy = lab.path("sleeper");
    std::fs::copy("/bin/sleep", &copy).unwrap();
    let sleeper = Guarded(std::process::Command::new(&copy).arg("60").spawn().unwrap());
    std::fs::remove_file(&copy).unwrap();
    let agent = Agent::start(&lab, ["--pid", &sleeper.pid().to_string()]);
    assert!(get(agent.port, "/status").unwrap().starts_with("HTTP/1.1 200"));
    let captured = agent.stop();
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
}

#[test]
fn sigterm_flushes() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    // The command gets the signal too, and what it did until then is reported.
    let line = format!(
        "curl -s '{}' > /dev/null; touch {}; exec sleep 60",
        nginx.http("/a.txt?told"),
        lab.path("said").display()
    );
    let out = lab.path("told.jsonl");
    let mut qtap = command();
    qtap.arg("exec").arg("-o").arg(&out).args(["--", "sh", "-c", &line]);
    let mut qtap = Guarded(qtap.spawn().unwrap());
    super::lab::wait_until("curl is done", || lab.path("said").exists());
    qtap.signal(rustix::process::Signal::TERM);
    let status = qtap.end_within(std::time::Duration::from_secs(30)).expect("an end");
    assert_eq!(status.code(), Some(128 + 15), "as a shell would say it");
    let records = super::records::parse(&super::qtap::text(&out));
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 1, "{}", records.told());
}
