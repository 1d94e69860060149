//! Connections that end at an odd moment.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::lab::{Guarded, Lab, free_ports, noise, output_of, wait_for_port};
use super::nginx::Nginx;
use super::python::{interpreter, script};
use super::qtap::{Agent, exec};

/// The peer is gone when the last request is sent: the kernel resets the connection while the call that sends it is under way.
#[test]
fn a_last_word_to_a_peer_that_left_is_of_its_connection() {
    let Some(lab) = Lab::open() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let line = format!(
        r"say() {{ printf 'GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' $1 | dd iflag=fullblock bs=4096 status=none >&3; }}
exec 3<>/dev/tcp/127.0.0.1/{port}; say first; cat <&3; say last; exit 0"
    );
    let captured = exec(&lab, [] as [&str; 0], ["bash", "-c", &line]);
    server.join().unwrap();
    assert!(captured.code == Some(0) && captured.stdout.ends_with("ok"), "{}", captured.stderr);
    let records = captured.records;
    // On a slow machine the connection was also reported while it was open.
    let is_last = |one: &&super::records::Record| one.flag("connection.finalized");
    let connections: Vec<_> = records.connections().into_iter().filter(is_last).collect();
    assert_eq!(connections.len(), 1, "{}", records.told());
    assert_eq!(connections[0].number("connection.lost_bytes"), 0);
    assert_eq!(connections[0].number("connection.bytes_sent"), 32 + 31);
    let told: Vec<_> =
        records.exchanges().iter().map(|one| (one.text("url.path"), one.text("qtap.incomplete"))).collect();
    assert_eq!(told, [("/first", ""), ("/last", "no_response")]);
}

/// A reset by the process itself is the only kind of end where the kernel drops its byte counts before the `sock` is freed.
#[test]
fn a_close_that_does_not_linger() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("large.bin", &noise(100_000));
    let (client, port) = (script("client.py").display().to_string(), nginx.http.to_string());
    let line = [&python.display().to_string(), &client, "without_lingering", &port];
    let captured = exec(&lab, [] as [&str; 0], line);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let records = captured.records;
    records.assert_whole();
    assert_eq!(records.exchange_of("/large.bin").number("http.response.body.size"), 100_000);
    let closed = records.closed();
    assert_eq!(closed.len(), 1, "{}", records.told());
    assert!(closed[0].number("connection.bytes_received") > 100_000, "{:?}", closed[0]);
}

/// Two connections over one socket: each has its own peer and its own counts.
#[test]
fn a_socket_that_is_used_for_another_connection() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("small.txt", b"small\n");
    let other = lab.path("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("small.txt"), b"another\n").unwrap();
    let [port] = free_ports();
    let mut server = Command::new(&python);
    server.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(&other).arg(port.to_string());
    let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _server = Guarded(server);
    wait_for_port(port);
    let ports = [nginx.http, port, nginx.http];
    let words = ports.iter().map(ToString::to_string);
    let line = [python.display().to_string(), script("client.py").display().to_string(), "used_again".to_owned()];
    let captured = exec(&lab, [] as [&str; 0], line.into_iter().chain(words));
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let records = captured.records;
    records.assert_whole();
    let told: Vec<_> = records.exchanges().iter().map(|one| one.number("server.port")).collect();
    assert_eq!(told, ports.map(i64::from), "{}", records.told());
    for exchange in records.exchanges() {
        assert_eq!(exchange.text("url.query"), format!("to-{}", exchange.number("server.port")));
    }
    assert_eq!(records.closed().len(), 3, "{}", records.told());
}

/// A process shuts its sending side, reads the response and closes, while the peer stays open. The kernel ends the connection without the peer's
/// FIN, which it would count as a byte.
#[test]
fn a_peer_that_stays_says_no_last_byte() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (gone, stay) = std::sync::mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        stream.read_to_end(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        stay.recv_timeout(Duration::from_secs(20)).unwrap();
    });
    let script = format!(
        "import socket\ns = socket.create_connection(('127.0.0.1', {port}))\ns.sendall(b'GET /stays HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
s.shutdown(socket.SHUT_WR)\nassert s.recv(100).endswith(b'ok')\ns.close()\n"
    );
    let captured = exec(&lab, [] as [&str; 0], [python.as_os_str(), "-c".as_ref(), script.as_ref()]);
    gone.send(()).unwrap();
    server.join().unwrap();
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let closed = captured.records.closed();
    assert_eq!(closed.len(), 1, "{}", captured.records.told());
    assert_eq!((closed[0].carried(), closed[0].number("connection.lost_bytes")), (32 + 40, 0));
}

/// A process that shuts both directions can still read what had arrived: it belongs to the same connection.
#[test]
fn an_answer_that_is_read_after_both_ways_are_shut() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let script = format!(
        "import select, socket\ns = socket.create_connection(('127.0.0.1', {port}))\ns.sendall(b'GET /shut HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
select.select([s], [], [], 20)\ns.shutdown(socket.SHUT_RDWR)\nassert s.recv(100).endswith(b'ok')\ns.close()\n"
    );
    let captured = exec(&lab, [] as [&str; 0], [python.as_os_str(), "-c".as_ref(), script.as_ref()]);
    server.join().unwrap();
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let records = captured.records;
    records.assert_whole();
    assert_eq!(records.exchange_of("/shut").number("http.response.body.size"), 2);
    let closed = records.closed();
    assert_eq!(closed.len(), 1, "{}", records.told());
    assert_eq!((closed[0].carried(), closed[0].number("connection.lost_bytes")), (31 + 40, 0));
}

/// A command that the kernel kills, as it does when memory runs out: qtap exits as a shell would, and what was captured is reported.
#[test]
fn a_command_that_is_killed() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let script = format!("curl -s '{}'; kill -9 $$", nginx.http("/a.txt"));
    let captured = exec(&lab, [] as [&str; 0], ["sh", "-c", &script]);
    assert_eq!((captured.code, captured.stdout.as_str()), (Some(128 + 9), "a\n"), "{}", captured.stderr);
    captured.records.assert_whole();
    assert_eq!(captured.records.exchanges().len(), 1, "{}", captured.records.told());
}

/// Grandchildren of this process that run a helper command of qtap.
fn errands(parent: u32) -> Vec<rustix::process::Pid> {
    let stat = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent_of = |pid| stat(pid).rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok();
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_errand = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1).is_some_and(|first| first.starts_with(b"__"))
            && parent_of(*pid).and_then(parent_of) == Some(parent)
    };
    pids.filter(is_errand).filter_map(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).unwrap())).collect()
}

/// The helper children of qtap are killed as soon as they start: qtap starts, captures and ends all the same.
#[test]
fn children_that_are_killed() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let ended = AtomicBool::new(false);
    let (killed, captured) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut killed = 0;
            while !ended.load(Ordering::Relaxed) {
                for pid in errands(std::process::id()) {
                    killed += usize::from(rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            killed
        });
        let agent = Agent::start(&lab, ["--pid", &nginx.pid().to_string()]);
        assert_eq!(output_of(Command::new("curl").args(["-sk", &nginx.https("/a.txt")])), "a\n");
        agent.wait_for("\"artifact_record\"", 1);
        let captured = agent.stop();
        ended.store(true, Ordering::Relaxed);
        (killer.join().unwrap(), captured)
    });
    assert!(killed >= 1, "nothing was killed");
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    // On other architectures return probes kill no process, whatever became of the trial.
    if cfg!(target_arch = "x86_64") {
        assert!(captured.stderr.contains("return probes could not be tried under seccomp"), "{}", captured.stderr);
    }
    println!("{killed} children killed");
}
