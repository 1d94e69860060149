//! Several stacks at once: each exchange goes through its own. Also tests tags, which depend on the same facts.

use super::*;
use crate::model::process::{Container, Pod};
use crate::model::route::STACK_LABEL;
use crate::pipeline::settings::{Endpoint, Fact, FactTag};

fn stack(name: &str, level: Level, redact: bool) -> Stack {
    let mut steps = vec![Step::HttpCapture(HttpCapture { level, ..HttpCapture::default() })];
    if redact {
        steps.push(Step::Redact(Redact { query_keys: vec!["id".to_owned()], ..Redact::default() }));
    }
    Stack { name: name.to_owned(), steps }
}

/// Summaries by default; `full` and `other` for the endpoints that name them.
fn several(endpoints: &[(&str, Option<&str>)]) -> Settings {
    let endpoint = |(domain, stack): &(&str, Option<&str>)| Endpoint {
        domain: (*domain).to_owned(),
        stack: stack.map(str::to_owned),
    };
    Settings {
        http_stack: Some(stack("all", Level::Summary, true)),
        routing: Routing {
            stacks: vec![stack("full", Level::Full, false), stack("other", Level::Details, true)],
            endpoints: endpoints.iter().map(endpoint).collect(),
        },
        ..settings(Level::None, Format::Json, Artifacts::Split)
    }
}

fn to(authority: &str) -> HttpExchange {
    let request = Request { authority: Some(authority.to_owned()), ..request() };
    HttpExchange { request: Some(request), ..http() }
}

fn with(conn: ConnFacts, process: Process, http: HttpExchange) -> Observation {
    let Observation::Exchange(exchange) = seen(http) else { panic!("an exchange") };
    Observation::Exchange(Box::new(ExchangeSeen {
        conn: Arc::new(conn),
        process: Some(Arc::new(process)),
        ..*exchange
    }))
}

fn labelled(stack: &str) -> Process {
    let labels = [(STACK_LABEL.to_owned(), stack.to_owned())].into_iter().collect();
    Process { pid: 42, pod: Some(Arc::new(Pod { labels, ..Pod::default() })), ..Process::default() }
}

fn plain() -> ConnFacts {
    ConnFacts { tls: None, ..conn() }
}

#[test]
fn each_exchange_of_a_connection_goes_through_its_own_stack() {
    let all = several(&[("api.example.com", Some("full")), ("*.quiet.org", None)]);
    let mut pipeline = Pipeline::new(all, &RedactionKey([9; 32]));
    let mut records = |authority: &str| {
        let mut out = Vec::new();
        pipeline.apply(with(plain(), Process::default(), to(authority)), &mut out);
        out
    };
    let first = records("api.example.com:8443");
    assert_eq!(first.len(), 3, "bodies too");
    assert!(data(&first[1]).contains("1 000") && first[0].line.contains("id=7"), "{}", first[0].line);
    let second = records("www.example.com");
    assert_eq!(second.len(), 1, "a summary");
    assert!(second[0].line.contains("id=[redacted]"), "{}", second[0].line);
    assert_eq!(records("a.quiet.org").len(), 0, "no record");
    assert_eq!(records("API.example.com").len(), 3);
}

#[test]
fn the_server_name_and_the_name_in_dns_route_too() {
    let all = || several(&[("shop.example", Some("full")), ("db.internal", None)]);
    let apply_to = |conn: ConnFacts, authority: &str| apply(all(), with(conn, Process::default(), to(authority))).len();
    assert_eq!(apply_to(conn(), "10.0.0.9"), 3, "the server name");
    assert_eq!(apply_to(plain(), "10.0.0.9"), 1, "neither");
    let named = ConnFacts { domain: Some("db.internal".to_owned()), ..plain() };
    assert_eq!(apply_to(named.clone(), "10.0.0.9"), 0, "the name in DNS");
    assert_eq!(apply_to(named, "shop.example"), 3, "the authority is asked first");
}

#[test]
fn a_pod_chooses_by_its_label() {
    let all = || several(&[("api.example.com", None)]);
    let records = |label: &str, authority: &str| apply(all(), with(plain(), labelled(label), to(authority)));
    assert_eq!(records("full", "x.org").len(), 3);
    assert_eq!(records("other", "x.org").len(), 3);
    assert!(!data(&records("other", "x.org")[1]).contains("1 000"), "heads alone");
    assert_eq!(records("none", "x.org").len(), 0);
    assert_eq!(records("no-such-stack", "x.org").len(), 1, "the one for all");
    assert_eq!(records("full", "api.example.com").len(), 0, "the endpoint decides before the label");
}

#[test]
fn a_connection_without_a_stack_is_told_and_redacted() {
    let all = several(&[("shop.example", None)]);
    let command = "curl -H 'Authorization: Bearer canary' shop".to_owned();
    let process = Arc::new(Process { command, ..Process::default() });
    let told = ConnectionSeen { process: Some(process), ..report(ConnState::Closed, 0) };
    let records = apply(all, Observation::Connection(Box::new(told)));
    assert_eq!(records.len(), 1);
    let process = records[0].origin.process.as_ref().unwrap();
    assert!(!process.command.contains("canary"), "{}", process.command);
}

#[test]
fn what_two_stacks_say_of_one_connection_is_redacted_by_each() {
    let mut all = several(&[("api.example.com", Some("full"))]);
    all.http_stack = Some(stack("all", Level::Summary, true));
    let mut pipeline = Pipeline::new(all, &RedactionKey([9; 32]));
    let process = Process { command: "curl -H 'Authorization: Bearer canary'".to_owned(), ..Process::default() };
    let (conn, process) = (Arc::new(plain()), Arc::new(process));
    let mut command = |authority: &str| {
        let Observation::Exchange(seen) = seen(to(authority)) else { panic!("an exchange") };
        let seen = ExchangeSeen { conn: Arc::clone(&conn), process: Some(Arc::clone(&process)), ..*seen };
        let mut out = Vec::new();
        pipeline.apply(Observation::Exchange(Box::new(seen)), &mut out);
        out[0].origin.process.as_ref().unwrap().command.clone()
    };
    assert!(command("api.example.com").contains("canary"), "nothing is redacted in that stack");
    assert!(!command("x.org").contains("canary"), "nor is the origin of the one before taken");
}

#[test]
fn tags_are_those_of_the_process() {
    let map = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into_iter().collect();
    let pod = Pod { labels: map("app", "shop"), annotations: map("owner", "ann"), ..Pod::default() };
    let container = Container { labels: map("app", "web"), ..Container::default() };
    let process = Process { pod: Some(Arc::new(pod)), container: Some(Arc::new(container)), ..Process::default() };
    let tag = |key: &str, fact, name: &str| FactTag { key: key.to_owned(), fact, name: name.to_owned() };
    let fact_tags = vec![
        tag("a", Fact::PodLabel, "app"),
        tag("b", Fact::PodAnnotation, "owner"),
        tag("c", Fact::ContainerLabel, "app"),
        tag("d", Fact::PodLabel, "owner"),
    ];
    let all = || Settings { fact_tags: fact_tags.clone(), ..several(&[]) };
    let tags = |process| apply(all(), with(plain(), process, http()))[0].origin.tags.clone();
    assert_eq!(tags(process), ["team:a", "a:shop", "b:ann", "c:web"]);
    assert_eq!(tags(Process::default()), ["team:a"]);
}
