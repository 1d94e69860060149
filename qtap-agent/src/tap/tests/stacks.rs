//! Bodies are kept if the stack of the exchange wants them, and only measured if not.

use super::*;
use crate::model::process::Pod;
use crate::model::route::{Appetite, Routes, STACK_LABEL, StackId, Wants};

/// `full` keeps bodies and is the stack of `api.example.com`; all else goes through one that does not keep them.
fn bench() -> Bench {
    let mut routes = Routes::new(Some(StackId(0)));
    routes.stack("full", StackId(1));
    routes.endpoint("api.example.com", Some(StackId(1)));
    routes.endpoint("quiet.example.com", None);
    let appetite = |bodies| Appetite { exchanges: true, bodies };
    let wants = Arc::new(Wants { routes, appetites: vec![appetite(false), appetite(true)] });
    let mut bench = Bench::new();
    bench.tap =
        Tap::new(Settings { http: http::Settings { wants, ..http::Settings::default() }, ..Settings::default() });
    bench
}

/// Kept bytes of the two bodies of each exchange; their sizes are known in any case.
fn kept(bench: &Bench) -> Vec<(u64, u64)> {
    let kept = |seen: &&ExchangeSeen| {
        let (request, response) = (http(seen).request.as_ref().unwrap(), http(seen).response.as_ref().unwrap());
        assert_eq!((request.body.size, response.body.size), (2, 5), "measured");
        (request.body.kept(), response.body.kept())
    };
    bench.exchanges().iter().map(kept).collect()
}

fn exchange(bench: &mut Bench, channel: Channel, host: &str) {
    bench.pass(channel, Sent, format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi"));
    bench.pass(channel, Received, RESPONSE);
}

#[test]
fn the_host_of_each_request_decides() {
    let mut bench = bench();
    bench.open(1);
    for host in ["x.org", "api.example.com:8080", "quiet.example.com", "API.example.com"] {
        exchange(&mut bench, socket(1), host);
    }
    bench.close(1);
    assert_eq!(kept(&bench), [(0, 0), (2, 5), (0, 0), (2, 5)]);
    let report = bench.reports()[0];
    assert!(report.losses.is_empty(), "{:?}", report.losses);
}

#[test]
fn the_server_name_decides_where_the_host_does_not() {
    let mut bench = bench();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.bind(9, 1);
    for host in ["10.0.0.2", "quiet.example.com"] {
        exchange(&mut bench, session(9), host);
    }
    assert_eq!(kept(&bench), [(2, 5), (0, 0)]);
}

#[test]
fn what_is_not_known_yet_is_kept() {
    let mut bench = bench();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    exchange(&mut bench, session(9), "10.0.0.2");
    bench.bind(9, 1);
    assert_eq!(kept(&bench), [(2, 5)]);
}

#[test]
fn the_label_of_a_pod_decides_where_no_name_does() {
    let mut bench = bench();
    let labels = [(STACK_LABEL.to_owned(), "full".to_owned())].into_iter().collect();
    let pod = Some(Arc::new(Pod { labels, ..Pod::default() }));
    bench.event(Event::ProcessSeen(Arc::new(Process { pid: PID, pod, ..Process::default() })));
    bench.open(1);
    for host in ["x.org", "quiet.example.com"] {
        exchange(&mut bench, socket(1), host);
    }
    assert_eq!(kept(&bench), [(2, 5), (0, 0)]);
}
