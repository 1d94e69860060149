//! A collector on the watched host: qtap's exports are not captured at the collector's end, nor is what the collector forwards. Each case also
//! runs without the guard, where one request to the collector leads to exports without end.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::lab::{Lab, output_of, wait_until};
use super::namespace::Namespace;
use super::python::Script;
use super::qtap::{Agent, command, get};
use super::scope::config;

/// How long exports are counted, at up to ten a second.
const WINDOW: Duration = Duration::from_secs(3);

/// The scripts of a case, the `store` entry of its config, and the processes to watch.
pub struct Case {
    collector: Script,
    app: String,
    sink: Script,
    relay: Option<Script>,
    pub store: String,
    /// The network namespace of the collector's second port.
    pub namespace: Option<String>,
    /// Environment variables for qtap, and further processes to watch.
    pub variables: Vec<(&'static str, String)>,
    pub watched: Vec<u32>,
}

fn part(arguments: &[&str]) -> Option<(Script, String)> {
    let mut script = Script::start("collector.py", arguments)?;
    let said = script.line();
    Some((script, said))
}

/// A free port below the ephemeral range (`ip_local_port_range`): for a connection older than the agent, the ports show which end is the client.
pub fn server_port() -> u16 {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (first..32_000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// A loopback address of this test's own, for fixed ports.
pub fn own_address() -> String {
    format!("127.77.{}.{}", std::process::id() / 250 % 250, std::process::id() % 250 + 1)
}

/// A collector that speaks `how` at an address, the sink that it forwards to and, on request, a relay in front of it.
pub fn case(lab: &Lab, how: &str, address: &str, port: &str, behind_relay: bool) -> Option<Case> {
    let (sink, to) = part(&["sink", "127.0.0.1", &server_port().to_string()])?;
    let upstream = format!("http://127.0.0.1:{to}/sent-on");
    let collector = part(&["collect", address, port, how, &upstream, &lab.dir().display().to_string()])?;
    joined(how, address, collector, (sink, behind_relay))
}

/// The same from parts that already run.
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
    /// An agent that watches all processes of the case.
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

    /// What the collector has received so far: the number of requests, and the paths of exchanges.
    fn got(&mut self) -> (u64, Vec<String>) {
        let told: Value = serde_json::from_str(&self.collector.ask("?")).unwrap();
        let paths = told["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned());
        (told["requests"].as_u64().unwrap(), paths.collect())
    }

    /// Requests that arrive while the test sends none.
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

/// With the guard, one request gives one exchange and then silence. Without it, exports lead to further exports.
pub fn guarded(lab: &Lab, case: Case) {
    guarded_after(lab, case, 0);
}

/// The same, allowing `early` extra exchanges exported before a connection was recognized as an export.
fn guarded_after(lab: &Lab, mut case: Case, early: usize) {
    let agent = case.agent(lab, "all");
    // The first export makes the collector known; the second would come back.
    for asked in 1..=3 {
        case.ask();
        wait_until("the exchange is exported", || apps(&case.got().1) >= asked);
        std::thread::sleep(if early > 0 { Duration::from_millis(1500) } else { Duration::ZERO });
    }
    // Reports of open connections are still due on schedule.
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

/// A relay in between, such as a published container port or another collector: who accepts a store's connection on the OTLP port is one too.
#[test]
fn behind_a_relay() {
    let Some(lab) = Lab::open() else { return };
    let Some(one) = case(&lab, "plain", &own_address(), "4318", true) else { return };
    guarded(&lab, one);
}

/// Only the collector's own ends of the exports are guarded: what it forwards is captured, exported and forwarded again.
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

/// A connection that the collector opened before qtap started is checked again once a second, at both ends, so that any feedback stops.
#[test]
fn sent_on_over_a_connection_that_was_there_before() {
    let Some(lab) = Lab::open() else { return };
    let Some(one) = case(&lab, "kept", "127.0.0.1", "0", false) else { return };
    guarded_after(&lab, one, 25);
}

/// A collector in its own network namespace, as in a container: both ends have the same addresses, and the same kernel reports them.
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
    // Its second port can't be reached from this namespace.
    one.namespace = Some(namespace.name.clone());
    guarded(&lab, one);
}

/// qtap never captures itself, not even as a child of a process in the scope.
#[test]
fn never_itself() {
    let Some(lab) = Lab::open() else { return };
    let file = lab.write("qtap.yaml", config("level: summary", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &file, "--pid", &std::process::id().to_string()]);
    // This process requests the agent's page; the exchange is captured at this end.
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
