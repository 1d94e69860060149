//! Calls with several buffers: all of them are captured, and small ones share one ring record.

use std::collections::HashMap;
use std::time::Duration;

use qtap_agent::capture::replay::Replay;
use qtap_agent::capture::source::{Flow, Source as _};
use qtap_agent::model::event::Event;

use super::lab::Lab;
use super::python::{Script, interpreter, script};
use super::qtap;

/// Buffer sizes of a body, after a head of some sixty bytes: none, one byte, around the size that is gathered (4096) and the size of a piece
/// (32 KiB), many small ones.
const SHAPES: [&str; 9] = [
    "0",
    "1",
    "1000,0,24",
    "4036,60,1",
    "4096,4096,4096",
    "3000,32768,3000",
    "40000,1,70000",
    "1,32767,1,32767,1",
    "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40",
];

fn line(upstream: &mut Script) -> Option<Vec<String>> {
    let start = [interpreter()?.display().to_string(), script("client.py").display().to_string()];
    let rest = ["vectored".to_owned(), upstream.line(), "/shape".to_owned()];
    Some(start.into_iter().chain(rest).chain(SHAPES.map(str::to_owned)).collect())
}

#[test]
fn bodies_of_several_buffers_are_whole() {
    let (Some(lab), Some(mut upstream)) = (Lab::open(), Script::start("upstream.py", &[])) else { return };
    let Some(line) = line(&mut upstream) else { return };
    let captured = qtap::exec(&lab, [] as [&str; 0], line);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let answers: Vec<_> = captured.stdout.lines().collect();
    assert_eq!(answers.len(), SHAPES.len(), "{}", captured.stdout);
    captured.records.assert_whole();
    for (number, answer) in answers.iter().enumerate() {
        let (sha256, size) = answer.split_once(' ').unwrap();
        let exchange = captured.records.exchange_of(&format!("/shape/{number}"));
        assert_eq!(exchange.number("http.request.body.size").to_string(), size);
        if size != "0" {
            let body = &captured.records.artifact_of(exchange, "request")["body"];
            assert_eq!(body["digest"], format!("sha256:{sha256}"), "{number}");
        }
        // The response was sent in buffers of seven bytes.
        assert_eq!(captured.records.artifact_of(exchange, "response")["body"]["data"], format!("{answer}\n"));
    }
}

/// A record costs the target more than its bytes do, so the head and a short body sent by one call share one.
#[test]
fn small_buffers_of_one_call_come_in_one_record() {
    let (Some(lab), Some(mut upstream)) = (Lab::open(), Script::start("upstream.py", &[])) else { return };
    let Some(line) = line(&mut upstream) else { return };
    let file = lab.path("vectors.qtap");
    let arguments = ["record", "-o", file.to_str().unwrap(), "--"].map(str::to_owned);
    let captured = qtap::run(&lab, arguments.into_iter().chain(line));
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let mut replay = Replay::open(std::fs::File::open(&file).unwrap()).unwrap();
    let mut events = Vec::new();
    while replay.poll(Duration::ZERO, &mut events).unwrap() == Flow::Open {}
    // Number of records by the path of the request, up to the next request.
    let (mut records, mut last) = (HashMap::<usize, usize>::new(), None);
    for event in &events {
        let Event::Passed(passed) = event else { continue };
        if let Some(rest) = passed.payload.strip_prefix(b"POST /shape/") {
            last = Some(usize::from(rest[0] - b'0'));
        } else if passed.payload.starts_with(b"HTTP/1.1 200") {
            last = None;
        }
        if let Some(number) = last {
            *records.entry(number).or_default() += 1;
        }
    }
    let found: Vec<_> = (0..SHAPES.len()).map(|number| records[&number]).collect();
    assert_eq!(found[..3], [1, 1, 1], "{found:?}");
    assert_eq!(found[8], 1, "{found:?}");
}
