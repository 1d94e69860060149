//! Unwanted bodies: the judge is given the connection of the exchange, and what was not kept is counted.

use super::*;
use crate::model::judge::{Judge, Scene, Wanted};

/// Wanted is what goes to port 443, decided when the judge is first asked.
fn bench() -> Bench {
    let judge = Judge::new(|_: &HttpExchange, scene: Option<&Scene>| match scene {
        None => Wanted::Open,
        Some(scene) if scene.process.is_none() => Wanted::Open,
        Some(scene) if scene.conn.server().port() == Some(443) && scene.conn.tls.is_some() => Wanted::Yes,
        Some(_) => Wanted::No,
    });
    let http = http::Settings { judge: Some(judge), ..http::Settings::default() };
    let mut bench = Bench::new();
    bench.tap = Tap::new(Settings { http, ..Settings::default() });
    let curl = Process { pid: PID, executable_path: "/usr/bin/curl".into(), ..Process::default() };
    bench.event(Event::ProcessSeen(Arc::new(curl)));
    bench
}

/// Kept bytes of the bodies of responses.
fn kept(bench: &Bench) -> Vec<u64> {
    let exchanges = bench.out.iter().filter_map(|seen| match seen {
        Observation::Exchange(seen) => Some(&seen.exchange),
        Observation::Connection(_) => None,
    });
    exchanges.map(|Exchange::Http(http)| http.response.as_ref().unwrap().body.kept()).collect()
}

#[test]
fn a_plain_connection_is_known_from_its_first_request_on() {
    let mut bench = bench();
    bench.open(1);
    bench.pass(socket(1), Sent, REQUEST);
    bench.pass(socket(1), Received, RESPONSE);
    assert_eq!((kept(&bench), bench.tap.counters().body_bytes_unwanted), (vec![0], 5));
}

#[test]
fn a_session_is_known_once_it_is_bound() {
    let mut bench = bench();
    bench.open(1);
    bench.open_session(7);
    bench.pass(session(7), Sent, REQUEST);
    bench.bind(7, 1);
    bench.pass(session(7), Received, RESPONSE);
    bench.pass(session(7), Sent, REQUEST);
    bench.pass(session(7), Received, RESPONSE);
    assert_eq!((kept(&bench), bench.tap.counters().body_bytes_unwanted), (vec![5, 5], 0));
    // Never bound: while the judge cannot decide, bodies are kept.
    bench.open_session(8);
    bench.pass(session(8), Sent, REQUEST);
    bench.pass(session(8), Received, RESPONSE);
    let now = bench.time();
    bench.tap.finish(now, &mut bench.out);
    assert_eq!((kept(&bench), bench.tap.counters().body_bytes_unwanted), (vec![5, 5, 5], 0));
}
