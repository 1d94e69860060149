//! A collector on the watched host: what qtap exports to it is not captured at its other end, nor what it sends on. Each case is run without the guard
//! too, where one request to the collector comes back again and again.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::lab::{Lab, output_of, wait_until};
use super::namespace::Namespace;
use super::python::Script;
use super::qtap::{Agent, command, get};
use super::scope::config;

/// How long exports are counted, at ten a second.
const WINDOW: Duration = Duration::from_secs(3);

/// The scripts of a case, the store of the file, and the processes that are watched.
pub struct Case {
    collector: Script,
    app: String,
    sink: Script,
    relay: Option<Script>,
    pub store: String,
    /// Where the collector's other port is.
    pub namespace: Option<String>,
    /// Variables of qtap's, and processes that are watched besides.
    pub variables: Vec<(&'static str, String)>,
    pub watched: Vec<u32>,
}

fn part(arguments: &[&str]) -> Option<(Script, String)> {
    let mut script = Script::start("collector.py", arguments)?;
    let said = script.line();
    Some((script, said))
}

/// A free port below those that clients are given (`ip_local_port_range`): of a connection that was there before, the ports tell which end is the client's.
pub fn server_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..32_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// A loopback address of this test's own, for ports that are given.
pub fn own_address() -> String {
    format!("127.77.{}.{}", std::process::id() / 250 % 250, std::process::id() % 250 + 1)
}

/// A collector that speaks `how` at an address, what it sends to, and in front of it a relay where asked for.
pub fn case(lab: &Lab, how: &str, address: &str, port: &str, behind_relay: bool) -> Option<Case> {
    let (sink, to) = part(&["sink", "127.0.0.1", &server_port().to_string()])?;
    let upstream = format!("http://127.0.0.1:{to}/sent-on");
    let collector = part(&["collect", address, port, how, &upstream, &lab.dir().display().to_string()])?;
    joined(how, address, collector, (sink, behind_relay))
}

/// The same, of parts that run.
pub fn joined(
    how: &str,
    address: &str,
    (collector, ports): (Script, String),
    (sink, behind_relay): (Script, bool),
) -> Option<Case> {
    let (port, app) = ports.split_once(' ').unwrap();
    let (mut relay, mut at) = (None, format!("{address}:{port}"));
    if behind_relay {
        let (script, port) = part(&["relay", address, port])?;
        (relay, at) = (Some(script), format!("127.0.0.1:{port}"));
    }
    let (protocol, scheme) = if how == "grpc" { ("grpc", "http") } else { ("http", "http") };
    let scheme = if how == "tls" { "https" } else { scheme };
    let tls = if how == "tls" { "tls: {insecure_skip_verify: true}, " } else { "" };
    let store =
        format!("{{type: otel, endpoint: '{scheme}://{at}', protocol: {protocol}, {tls}batch: {{interval: 100ms}}}}");
    Some(Case {
        app: format!("http://127.0.0.1:{app}/app"),
        collector,
        sink,
        relay,
        store,
        namespace: None,
        variables: Vec::new(),
        watched: Vec::new(),
    })
}

impl Case {
    /// An agent that watches all of it.
    fn agent(&self, lab: &Lab, guard: &str) -> Agent {
        let (head, tail) =
            config("level: full", "").split_once("  event_stores").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let tail = tail.split_once("stacks:").unwrap().1;
        let store = &self.store;
        let text = format!("{head}  event_stores: [{store}]\n  object_stores: [{store}]\nstacks:{tail}");
        let file = lab.write("qtap.yaml", text.as_bytes()).display().to_string();
        let mut arguments = vec!["--config".to_owned(), file, "--feedback-guard".to_owned(), guard.to_owned()];
        let scripts = [Some(&self.collector), Some(&self.sink), self.relay.as_ref()];
        for script in scripts.into_iter().flatten() {
            arguments.extend(["--pid".to_owned(), script.child.pid().to_string()]);
        }
        for pid in &self.watched {
            arguments.extend(["--pid".to_owned(), pid.to_string()]);
        }
        let mut qtap = command();
        qtap.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Agent::start_by(lab, qtap, arguments)
    }

    fn ask(&self) {
        let words = ["ip", "netns", "exec"].into_iter().chain(self.namespace.as_deref());
        let mut words = words.filter(|_| self.namespace.is_some()).chain(["curl", "-s", &self.app]);
        assert_eq!(output_of(Command::new(words.next().unwrap()).args(words)), "app\n");
    }

    /// What the collector got until now: requests, and paths of exchanges.
    fn got(&mut self) -> (u64, Vec<String>) {
        let told: Value = serde_json::from_str(&self.collector.ask("?")).unwrap();
        let paths = told["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned());
        (told["requests"].as_u64().unwrap(), paths.collect())
    }

    /// Requests that came while nobody asked for anything.
    fn unasked(&mut self) -> u64 {
        let before = self.got().0;
        std::thread::sleep(WINDOW);
        self.got().0 - before
    }
}

fn apps(paths: &[String]) -> usize {
    paths.iter().filter(|path| *path == "/app").count()
}

fn feedback(agent: &Agent) -> Value {
    let answer = get(agent.port, "/status").unwrap();
    let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    status["feedback"].clone()
}

/// With the guard one request is one exchange, and it is silent then; without, exports tell of exports.
pub fn guarded(lab: &Lab, case: Case) {
    guarded_after(lab, case, 0);
}

/// The same, when so many exports may have been told of before a connection was known for what it is.
fn guarded_after(lab: &Lab, mut case: Case, early: usize) {
    let agent = case.agent(lab, "all");
    // The first export makes the collector known, the second is what would come back.
    for asked in 1..=3 {
        case.ask();
        wait_until("the exchange is exported", || apps(&case.got().1) >= asked);
        std::thread::sleep(if early > 0 { Duration::from_millis(1500) } else { Duration::ZERO });
    }
    // Reports of connections that stay open are due at their times, whatever happens.
    let unasked = case.unasked();
    let (_, paths) = case.got();
    assert!(apps(&paths) == 3 && paths.len() <= 3 + early, "{paths:?}");
    assert!(unasked <= 3, "{unasked} exports in {WINDOW:?}");
    let told = feedback(&agent);
    let pid = case.collector.child.pid();
    let is_collector =
        |process: &Value| process["pid"] == pid && process["executable"].as_str().unwrap().contains("python");
    assert!(told["store_processes"].as_array().unwrap().iter().any(is_collector), "{told}");
    for figure in ["qtap_connections", "qtap_bytes", "store_connections", "store_bytes"] {
        assert!(told[figure].as_u64().unwrap() > 0, "{figure}: {told}");
    }
    let metrics = get(agent.port, "/metrics").unwrap();
    assert!(metrics.contains("qtap_feedback_connections_total{made_by=\"store\"} "), "{metrics}");
    let ended = agent.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    println!("guarded: {unasked} exports in {WINDOW:?}; {told}");
}

pub fn unguarded(lab: &Lab, mut case: Case, comes_back: &str) {
    let agent = case.agent(lab, "off");
    case.ask();
    wait_until("exports tell of exports", || case.got().1.iter().any(|path| path == comes_back));
    let before = case.got().0;
    // How fast they come is the machine's affair; that they go on is not.
    wait_until("more than five exports that nobody asked for, and told of", || {
        let (requests, paths) = case.got();
        requests - before > 5 && paths.iter().filter(|path| *path == "/sent-on").count() > 5
    });
    assert_eq!(feedback(&agent)["qtap_connections"], 0);
    agent.end();
}

pub const LOGS: &str = "/v1/logs";
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

#[test]
fn over_http() {
    let Some(lab) = Lab::open() else { return };
    let Some(one) = case(&lab, "plain", "127.0.0.1", "0", false) else { return };
    guarded(&lab, one);
    unguarded(&lab, case(&lab, "plain", "127.0.0.1", "0", false).unwrap(), LOGS);
}

#[test]
fn over_tls() {
    let Some(lab) = Lab::open() else { return };
    let Some(one) = case(&lab, "tls", "127.0.0.1", "0", false) else { return };
    guarded(&lab, one);
    unguarded(&lab, case(&lab, "tls", "127.0.0.1", "0", false).unwrap(), LOGS);
}

#[test]
fn over_grpc() {
    let Some(lab) = Lab::open() else { return };
    let Some(one) = case(&lab, "grpc", "127.0.0.1", "0", false) else { return };
    guarded(&lab, one);
    unguarded(&lab, case(&lab, "grpc", "127.0.0.1", "0", false).unwrap(), EXPORT);
}

/// Something between, as a published port of a container is, or another collector: who accepts at OTLP's port from a store is one too.
#[test]
fn behind_a_relay() {
    let Some(lab) = Lab::open() else { return };
    let Some(one) = case(&lab, "plain", &own_address(), "4318", true) else { return };
    guarded(&lab, one);
}

/// The other ends alone: what the collector sends on is seen, and exported, and sent on.
#[test]
fn its_own_ends_alone() {
    let Some(lab) = Lab::open() else { return };
    let Some(mut one) = case(&lab, "plain", "127.0.0.1", "0", false) else { return };
    let agent = one.agent(&lab, "own");
    one.ask();
    wait_until("what is sent on is seen", || one.got().1.iter().any(|path| path == "/sent-on"));
    assert!(one.got().1.iter().all(|path| path != LOGS), "{:?}", one.got());
    let told = feedback(&agent);
    assert_eq!((&told["store_connections"], told["store_processes"].as_array().unwrap().len()), (&Value::from(0), 0));
    agent.end();
}

/// A connection that the collector had before qtap came is looked at again once a second, at both ends: what comes back meanwhile comes to an end.
#[test]
fn sent_on_over_a_connection_that_was_there_before() {
    let Some(lab) = Lab::open() else { return };
    let Some(one) = case(&lab, "kept", "127.0.0.1", "0", false) else { return };
    guarded_after(&lab, one, 25);
}

/// A collector in a network of its own, as in a container: both ends have the same addresses, and are told by the same kernel.
#[test]
fn to_another_namespace() {
    let Some(lab) = Lab::open() else { return };
    if super::python::interpreter().is_none() {
        return;
    }
    let namespace = Namespace::with(&[]);
    namespace.join("10.251.77.1/30", "10.251.77.2/30");
    let run = |arguments: &[&str]| {
        let mut script = Script::run_in(&namespace.name, "collector.py", arguments).unwrap();
        let said = script.line();
        (script, said)
    };
    let (sink, to) = run(&["sink", "127.0.0.1", "0"]);
    let upstream = format!("http://127.0.0.1:{to}/sent-on");
    let address = "10.251.77.2";
    let collector = run(&["collect", address, "0", "plain", &upstream]);
    let mut one = joined("plain", address, collector, (sink, false)).unwrap();
    // Its own port of the other kind is not to be reached from here.
    one.namespace = Some(namespace.name.clone());
    guarded(&lab, one);
}

/// Whoever is asked for, it is never qtap: not even where it is a child of a process that is.
#[test]
fn never_itself() {
    let Some(lab) = Lab::open() else { return };
    let file = lab.write("qtap.yaml", config("level: summary", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &file, "--pid", &std::process::id().to_string()]);
    // This process asks it for its page, which is seen from this end.
    for _ in 0..3 {
        get(agent.port, "/metrics").unwrap();
    }
    agent.wait_for("/metrics", 3);
    let records = agent.stop().records;
    assert!(records.exchanges().len() >= 3, "{}", records.told());
    for record in &records.all {
        assert_ne!(record.text("process.executable.name"), "qtap", "{record:?}");
    }
}
