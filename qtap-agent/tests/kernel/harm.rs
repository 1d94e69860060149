//! Programs that a probe may break, held to what they come to by themselves: under a filter of system calls, under a tracer, that become themselves again, that fork in
//! the middle of a session, of 32 bits.

use std::io::Read as _;
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, output_of};
use super::nginx::{Nginx, certificate};
use super::python::{Script, interpreter, script};
use super::qtap::{Agent, Captured, exec, get};
use super::records::{Record, Records};

const BODY: &[u8] = b"what the program is to receive, watched or not\n";

/// Runs the script by itself and watched: it comes to the same. None without a Python.
fn twice(lab: &Lab, name: &str, words: &[String]) -> Option<Records> {
    let line = || {
        let head = [interpreter()?.display().to_string(), script(name).display().to_string()];
        Some(head.into_iter().chain(words.iter().cloned()).collect::<Vec<_>>())
    };
    let line = line()?;
    let (program, arguments) = line.split_first().unwrap();
    let bare = output_of(Command::new(program).args(arguments));
    Some(assert_same(&bare, exec(lab, ["--ring-size", "128mb"], &line)))
}

fn assert_same(bare: &str, captured: Captured) -> Records {
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    assert_eq!(captured.stdout, bare, "{}", captured.stderr);
    captured.records
}

/// Each query of `0..times` was asked as often as it should, whole, of that port.
fn assert_asked(records: &Records, direction: &str, port: Option<u16>, times: usize) {
    let exchanges = records.exchanges();
    let mut queries: Vec<i64> = Vec::new();
    for exchange in exchanges.iter().filter(|one| one.text("connection.direction").starts_with(direction)) {
        assert!(exchange.number("http.response.status_code") == 200, "{exchange:?}");
        assert!(port.is_none_or(|port| exchange.number("server.port") == i64::from(port)), "{exchange:?}");
        queries.push(exchange.text("url.query").parse().unwrap());
    }
    queries.sort_unstable();
    assert_eq!(queries, (0..times as i64).collect::<Vec<_>>(), "{}", records.told());
}

fn ask(what: &str, times: usize) -> Option<(Records, u16)> {
    let lab = Lab::open()?;
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("harm", BODY);
    let records = twice(&lab, "harm.py", &[what.to_owned(), nginx.https.to_string(), times.to_string()])?;
    records.over_tcp().assert_whole();
    Some((records, nginx.https))
}

/// From Linux 6.11 on, a return probe is a system call of the program, and one that its filter does not know.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_program_that_dies_of_any_system_call_but_its_own() {
    const TIMES: usize = 5_000;
    let Some((records, port)) = ask("seccomp", TIMES) else { return };
    // One was asked before the filter stood.
    assert_asked(&records, "egress", Some(port), TIMES + 1);
}

#[test]
fn a_program_that_is_stopped_at_every_system_call() {
    let Some((records, port)) = ask("traced", 300) else { return };
    assert_asked(&records, "egress", Some(port), 300);
}

#[test]
fn a_program_that_becomes_itself_again() {
    let Some((records, port)) = ask("exec", 20) else { return };
    assert_asked(&records, "egress", Some(port), 20);
}

/// The session was made in one process and is used in another, at the same address in memory, connection after connection.
#[test]
fn a_server_that_forks_when_the_handshake_is_over() {
    const TIMES: usize = 100;
    let Some(lab) = Lab::open() else { return };
    certificate(lab.dir());
    let files = ["cert.pem", "key.pem"].map(|name| lab.path(name).display().to_string());
    let words = [&["fork".to_owned(), TIMES.to_string()][..], &files].concat();
    let Some(records) = twice(&lab, "harm.py", &words) else { return };
    assert_asked(&records, "egress", None, TIMES);
    assert_asked(&records, "ingress", None, TIMES);
}

#[test]
fn a_program_of_32_bits() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("harm", BODY);
    of_32_bits(&lab, nginx.http, &[], std::str::from_utf8(BODY).unwrap());
}

/// The program; none where nothing makes one.
fn program_of_32_bits(lab: &Lab) -> Option<String> {
    const COMPILER: [&str; 2] =
        if cfg!(target_arch = "aarch64") { ["arm-linux-gnueabihf-gcc", "-marm"] } else { ["gcc", "-m32"] };
    let program = lab.path("harm32").display().to_string();
    let [compiler, mode] = COMPILER;
    let built = Command::new(compiler)
        .args([mode, "-O1", "-static", "-nostdlib", "-fno-stack-protector", "-fno-pie", "-no-pie", "-o", &program])
        .arg(script("harm32.c"))
        .status();
    if !built.is_ok_and(|status| status.success()) {
        println!("skipped: {compiler} makes no program of 32 bits here");
        return None;
    }
    Some(program)
}

/// Its system calls have other numbers, and are not read: the connection is told, and that all of it went unseen.
fn of_32_bits(lab: &Lab, port: u16, words: &[String], received: &str) {
    let Some(program) = program_of_32_bits(lab) else { return };
    let line = [&[program, port.to_string()], words].concat();
    let without_date =
        |text: &str| text.lines().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("\n");
    let bare = output_of(Command::new(&line[0]).args(&line[1..]));
    assert!(bare.ends_with(received), "{bare}");
    let captured = exec(lab, ["--ring-size", "128mb"], &line);
    assert_eq!((captured.code, without_date(&captured.stdout)), (Some(0), without_date(&bare)), "{}", captured.stderr);
    let records = captured.records;
    assert!(records.exchanges().is_empty(), "nothing is told that was not understood: {}", records.told());
    let closed = records.closed();
    assert_eq!(closed.len(), 1, "{}", records.told());
    assert_eq!(closed[0].number("server.port"), i64::from(port));
    assert!(closed[0].carried() > received.len() as i64, "{closed:?}");
    assert_eq!(closed[0].losses(), [("compat_call", closed[0].carried())].into());
}

/// More waits in the ring then than is read in the seconds that `qtap exec` gives to what comes later: it stood still meanwhile.
#[test]
fn what_waits_when_the_command_ends_is_reported() {
    const CALLS: usize = 400_000;
    let Some(lab) = Lab::open() else { return };
    certificate(lab.dir());
    let files = ["cert.pem", "key.pem"].map(|name| lab.path(name).display().to_string());
    let Some(mut server) = Script::start("harm_bytes.py", &["serve", &files[0], &files[1]]) else { return };
    let Some(program) = program_of_32_bits(&lab) else { return };
    let ports = server.line();
    let plain = ports.split_once(' ').unwrap().1;
    let script = format!("kill -STOP $PPID; '{program}' {plain} {CALLS} > /dev/null; (sleep 0.2; kill -CONT $PPID) &");
    let captured = exec(&lab, ["--ring-size", "128mb"], ["sh", "-c", &script]);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let records = captured.records.over_tcp();
    let closed = records.closed();
    assert_eq!(closed.len(), 1, "{}", records.told());
    assert_eq!(closed[0].losses(), [("compat_call", closed[0].carried())].into());
    assert!(closed[0].carried() > 2 * CALLS as i64, "{closed:?}");
}

#[test]
fn calls_of_one_byte_come_to_the_same() {
    calls_of_one_byte(20_000);
}

#[test]
#[ignore = "minutes: cargo xtask check --long"]
fn a_million_calls_of_one_byte_come_to_the_same() {
    calls_of_one_byte(1_000_000);
}

/// Each of these programs, and so many calls: what it receives is what it receives unwatched, and what is told is what it said.
fn calls_of_one_byte(calls: usize) {
    let Some(lab) = Lab::open() else { return };
    certificate(lab.dir());
    let files = ["cert.pem", "key.pem"].map(|name| lab.path(name).display().to_string());
    let Some(mut server) = Script::start("harm_bytes.py", &["serve", &files[0], &files[1]]) else { return };
    let ports = server.line();
    let (secret, plain) = ports.split_once(' ').unwrap();
    let parts = vec![calls / PARTS; PARTS];
    let programs = [("seccomp", vec![10, calls]), ("traced", vec![calls]), ("exec", parts.clone()), ("fork", parts)];
    // The filter names system calls by this processor's numbers.
    for (what, sizes) in programs.into_iter().skip(usize::from(!cfg!(target_arch = "x86_64"))) {
        let (what, count, port) = (what.to_owned(), calls.to_string(), secret.to_owned());
        let words = if what == "fork" { [&[what, count][..], &files].concat() } else { vec![what, port, count] };
        let Some(records) = twice(&lab, "harm_bytes.py", &words) else { return };
        records.over_tcp().assert_whole();
        assert_said(&records, "egress", &sizes);
        assert_said(&records, "ingress", if words[0] == "fork" { &sizes } else { &[] });
    }
    let answer = "y".repeat(calls);
    of_32_bits(&lab, plain.parse().unwrap(), &[calls.to_string()], &answer);
}

/// Parts of one that becomes itself again, or forks.
const PARTS: usize = 20;

/// Bodies of these sizes went both ways, each letter of the answers the next of that of the question.
fn assert_said(records: &Records, direction: &str, sizes: &[usize]) {
    let of = |one: &&&Record| one.text("connection.direction").starts_with(direction);
    let exchanges = records.exchanges();
    let exchanges: Vec<&&Record> = exchanges.iter().filter(of).collect();
    assert_eq!(exchanges.len(), sizes.len(), "{}", records.told());
    for (seed, size) in sizes.iter().enumerate() {
        let exchange = exchanges.iter().find(|one| one.text("url.query") == seed.to_string()).expect("each is told");
        for (side, first) in [("request", b'a'), ("response", b'b')] {
            let letter = |number: usize| char::from(first + ((number * 7 + (number >> 8) + seed) % 25) as u8);
            let said: String = (0..*size).map(letter).collect();
            let told = records.artifact_of(exchange, side);
            assert!(told["body"]["data"] == said.as_str(), "{direction} {side} {seed}: {exchange:?}");
        }
    }
}

/// SSL_connect jumps to SSL_do_handshake, a child ends without a word: none of that is a call whose return was missed.
#[test]
fn calls_that_return_are_not_counted_as_unfinished() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("harm", BODY);
    let url = nginx.https("/harm");
    let (said, agent) = watched(&lab, &format!("curl -sk --http1.1 '{url}' && curl -sk --http2 '{url}' '{url}'"));
    assert_eq!(said.as_bytes(), BODY.repeat(3));
    agent.wait_for("\"artifact_record\"", 3);
    // What the probes count is published a moment later: looked at too early, nothing would be there whatever they counted.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let seen = get(agent.port, "/metrics").unwrap();
    assert_eq!(lost(&seen, "call_unfinished"), Some(0.0), "{seen}");
    agent.stop().records.assert_whole();
}

/// What a shell says that runs `line` once qtap watches it, and that qtap.
fn watched(lab: &Lab, line: &str) -> (String, Agent) {
    let script = format!("read -r go; {line}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = Guarded(shell.spawn().unwrap());
    let agent = Agent::start(lab, ["--pid", &shell.pid().to_string()]);
    drop(shell.0.stdin.take());
    let mut said = String::new();
    shell.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    (said, agent)
}

fn lost(metrics: &str, reason: &str) -> Option<f64> {
    let name = format!("qtap_loss_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map(|value| value.parse().unwrap())
}
