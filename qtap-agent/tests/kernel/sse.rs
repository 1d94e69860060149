//! A long response (`text/event-stream`): it is reported in parts while it runs, and the parts together are what was sent.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::lab::{Guarded, Lab};
use super::python::Script;
use super::qtap::Agent;

const EVENTS: usize = 28;
const EVERY: f64 = 0.5;
/// Size of the third event's data: more than a part holds.
const LARGE: usize = 1_200_000;

fn events() -> String {
    let data = |number| if number == 2 { "x".repeat(LARGE) } else { format!("grüße {number}") };
    (0..EVENTS).map(|number| format!("id: {number}\nevent: tick\ndata: {}\n\n", data(number))).collect()
}

#[test]
fn events_are_told_while_they_come() {
    let Some(lab) = Lab::open() else { return };
    let Some(mut server) = Script::start("sse.py", &[]) else { return };
    let url = format!("http://127.0.0.1:{}/events?count={EVENTS}&every={EVERY}&large={LARGE}", server.line());
    let config = lab.write("full.yaml", super::scope::config("level: full", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &config, "--pid", &server.child.pid().to_string()]);
    let got = lab.path("events.txt");
    let mut curl = Command::new("curl");
    curl.args(["-sN", "-o"]).arg(&got).arg(&url).stdin(Stdio::null());
    let mut curl = Guarded(curl.spawn().unwrap());
    // One part by size within the first seconds, one by time ten seconds later. Both must arrive while the response still runs.
    for part in [0, 1] {
        agent.wait_for("\"http_response\"", part + 1);
        assert!(curl.0.try_wait().unwrap().is_none(), "part {part}, and it still runs");
    }
    assert!(!agent.printed().contains("\"artifact_record\""), "that is for the end");
    assert!(curl.end_within(Duration::from_secs(30)).is_some_and(|status| status.success()));
    assert!(std::fs::read(&got).unwrap() == events().as_bytes(), "what curl got");
    agent.wait_for("\"artifact_record\"", 1);
    let records = agent.stop().records;
    records.assert_whole();
    let exchange = records.exchange_of("/events");
    assert_eq!(exchange.number("http.response.body.size"), events().len() as i64);
    let mut parts: Vec<_> =
        records.objects().into_iter().filter(|object| object.text("artifact.type") == "http_response").collect();
    parts.sort_by_key(|part| part.number("artifact.part"));
    assert_eq!(exchange.number("artifact.parts"), parts.len() as i64, "{}", records.told());
    let mut together = String::new();
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(part.number("artifact.part"), number as i64);
        assert_eq!(part.text("connection.request_id"), exchange.text("connection.request_id"));
        let body = &part.artifact()["body"];
        assert_eq!(body["offset"].as_u64().unwrap_or(0), together.len() as u64, "part {number}");
        together += body["data"].as_str().unwrap();
        println!("part {number}: {} bytes, of {} so far", body["kept"], body["size"]);
    }
    assert!(together == events(), "all events, put together");
    let last = parts.last().unwrap();
    assert_eq!(exchange.text("artifact.response.digest"), last.text("artifact.digest"));
}
