//! Exchanges to evaluate rules on, each with a name. In: a name. Out: the facts known about it.

use std::collections::BTreeMap;

use bytes::Bytes;
use qtap_agent::model::conn::{ConnFacts, ConnectionUid, Endpoint, Protocol, Role, TlsFacts, Transport};
use qtap_agent::model::event::Host;
use qtap_agent::model::exchange::HttpExchange;
use qtap_agent::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use qtap_agent::model::process::{Container, Pod, Process};
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::rule::Facts;

/// An exchange and where it happened.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) http: HttpExchange,
    pub(crate) scene: Option<(ConnFacts, Option<Process>, Host)>,
    pub(crate) tags: Vec<String>,
    pub(crate) so_far: bool,
}

impl Case {
    pub(crate) fn facts(&self) -> Facts<'_> {
        let facts = Facts::of(&self.http).tagged(&self.tags);
        let facts = match &self.scene {
            Some((conn, process, host)) => facts.on(conn, process.as_ref(), host),
            None => facts,
        };
        if self.so_far { facts.so_far() } else { facts }
    }
}

fn text(text: &str) -> FieldText {
    FieldText::Known(Bytes::copy_from_slice(text.as_bytes()))
}

pub(crate) fn fields(list: &[(&str, &str)]) -> Fields {
    Fields(list.iter().map(|(name, value)| Field { name: text(name), value: text(value) }).collect())
}

fn map(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn request(method: &str, target: &str, authority: Option<&str>, fields: Fields) -> Request {
    Request {
        method: Some(method.to_owned()),
        target: Some(target.to_owned()),
        scheme: None,
        authority: authority.map(str::to_owned),
        protocol: None,
        version: Version::Http11,
        fields,
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(1_000_000),
        ended: Some(KernelTime(2_000_000)),
    }
}

fn response(status: u16, fields: Fields, ended_ms: f64) -> Response {
    Response {
        status: Some(status),
        reason: Bytes::new(),
        informational: Vec::new(),
        version: Version::Http11,
        fields,
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(3_000_000),
        ended: Some(KernelTime(1_000_000 + (ended_ms * 1e6) as u64)),
    }
}

fn exchange(outgoing: bool, request: Option<Request>, response: Option<Response>) -> HttpExchange {
    HttpExchange {
        protocol: Protocol::Http1,
        ordinal: 0,
        outgoing,
        pid: 42,
        request,
        response,
        incomplete: None,
        part: None,
    }
}

fn conn(role: Role, local: &str, peer: &str, tls: Option<TlsFacts>) -> ConnFacts {
    ConnFacts {
        uid: ConnectionUid([7; 16]),
        opened: KernelTime(0),
        pid: 42,
        transport: Transport::Tcp,
        local: Endpoint::Inet(local.parse().unwrap()),
        peer: Endpoint::Inet(peer.parse().unwrap()),
        role,
        tls,
        protocol: Protocol::Http1,
        binding: None,
        joined_late: false,
        domain: None,
    }
}

/// A request that was sent to another host over TLS, from a container in a pod.
fn get() -> Case {
    let asked = fields(&[
        ("Accept", "text/html"),
        ("X-Id", "7"),
        ("x-id", "8"),
        ("X-Forwarded-For", "10.1.2.3"),
        ("X-Mac", "00-1A-2B-3C-4D-5E"),
        ("X-Odd~Name", "odd"),
        ("X-Empty", ""),
    ]);
    let answered = fields(&[("Content-Type", "application/json; charset=utf-8"), ("Content-Length", "1500")]);
    let tls = TlsFacts {
        version: Some("1.3".to_owned()),
        alpn: Some("http/1.1".to_owned()),
        sni: Some("shop.example".to_owned()),
        ..TlsFacts::default()
    };
    let container = Container {
        id: "abc123".to_owned(),
        name: Some("web".to_owned()),
        image_name: Some("registry/web:1".to_owned()),
        labels: map(&[("tier", "front")]),
        ..Container::default()
    };
    let pod = Pod {
        name: "web-0".to_owned(),
        namespace: "shop".to_owned(),
        labels: map(&[("app.kubernetes.io/name", "web"), ("app", "web")]),
        annotations: map(&[("team", "blue")]),
        ..Pod::default()
    };
    let process = Process {
        pid: 42,
        executable_path: "/usr/bin/curl".to_owned(),
        user_id: 1000,
        user_name: Some("ann".to_owned()),
        env: map(&[("TEAM", "blue"), ("SIZE", "12")]),
        container: Some(container.into()),
        pod: Some(pod.into()),
        ..Process::default()
    };
    let host = Host { name: "node-1".to_owned(), ..Host::default() };
    Case {
        http: exchange(
            true,
            Some(request("GET", "/a/b?x=1#f", Some("shop.example:8443"), asked)),
            Some(response(200, answered, 120.5)),
        ),
        scene: Some((conn(Role::Client, "10.0.0.2:50000", "93.184.216.34:8443", Some(tls)), Some(process), host)),
        tags: vec!["team:core".to_owned(), "env:prod".to_owned()],
        so_far: false,
    }
}

/// A request that came in over IPv6, without TLS, and failed.
fn post() -> Case {
    let process = Process { pid: 7, executable_path: "/usr/sbin/nginx".to_owned(), ..Process::default() };
    let host = Host { name: "node-2".to_owned(), ..Host::default() };
    Case {
        http: exchange(
            false,
            Some(request("POST", "/pay", Some("[2001:db8::1]:80"), fields(&[("Content-Length", "many")]))),
            Some(response(502, fields(&[]), 2000.0)),
        ),
        scene: Some((conn(Role::Server, "[2001:db8::1]:80", "[fd00::7]:4000", None), Some(process), host)),
        tags: Vec::new(),
        so_far: false,
    }
}

/// The exchange of that name.
pub(crate) fn named(name: &str) -> Case {
    let of = |case: Case, change: fn(&mut Case)| {
        let mut case = case;
        change(&mut case);
        case
    };
    match name {
        "get" => get(),
        "post" => post(),
        // No response was seen.
        "unanswered" => of(get(), |case| case.http.response = None),
        // A response that no request was seen for.
        "orphan" => of(get(), |case| case.http.request = None),
        // Nothing is known at all.
        "nothing" => of(get(), |case| {
            (case.http.request, case.http.response, case.scene) = (None, None, None);
            (case.http.protocol, case.tags) = (Protocol::Unknown, Vec::new());
        }),
        "grpc" => of(get(), |case| case.http.protocol = Protocol::Grpc),
        "http2" => of(get(), |case| {
            case.http.protocol = Protocol::Http2;
            case.http.request.as_mut().unwrap().scheme = Some("https".to_owned());
        }),
        // Absolute form, as sent to a proxy.
        "proxied" => of(get(), |case| {
            case.http.request.as_mut().unwrap().target = Some("http://other.example/p/q?r".to_owned());
        }),
        "connect" => of(get(), |case| {
            let request = case.http.request.as_mut().unwrap();
            (request.method, request.target) = (Some("CONNECT".to_owned()), Some("other.example:443".to_owned()));
        }),
        // In progress: the request's head is known, and nothing about the connection.
        "head" => of(get(), |case| {
            (case.http.response, case.scene, case.so_far) = (None, None, true);
        }),
        // In progress: the request's head and the connection are known.
        "met" => of(get(), |case| (case.http.response, case.so_far) = (None, true)),
        // In progress: both heads are known.
        "heads" => of(get(), |case| {
            case.http.response.as_mut().unwrap().ended = None;
            case.so_far = true;
        }),
        other => panic!("no facts are called {other}"),
    }
}
