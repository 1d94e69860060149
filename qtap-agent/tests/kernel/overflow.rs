//! A ring so small that it overflows: every exchange is reported whole, reported as incomplete with the right ranges, or its bytes are
//! counted as lost on its connection. The client and the server know how many exchanges there were.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::lab::{Lab, output_of};
use super::nginx::Nginx;
use super::qtap::run_exec;
use super::records::{Record, parse};

const SMALL: usize = 20_000;
const MILLION: usize = 1_000_000;

/// A body of that many lines, each of which is its own number.
fn body(lines: usize) -> String {
    (0..lines).map(|number| format!("{number:06}\n")).collect()
}

/// The requests to make.
struct Load {
    url: String,
    count: usize,
    /// The capture level.
    level: &'static str,
    body: String,
    /// Bytes of a request and of a response, where TLS hides them.
    known: Option<(i64, i64)>,
}

/// Totals of the records, added while they are read: a million exchanges are too many to hold in memory.
#[derive(Debug, Default)]
struct Sums {
    whole: i64,
    incomplete: i64,
    /// Requests and responses that were reported, alone or paired.
    requests: i64,
    responses: i64,
    /// Exchange ids reported as incomplete; and ids of exchanges with a part of the body missing.
    said: HashSet<String>,
    holed: HashSet<String>,
    /// Bodies dropped because the pipeline was behind: the exchange itself was captured whole.
    shed: usize,
    connections: usize,
    /// Bytes that the sockets carried.
    sent: i64,
    received: i64,
    captured: i64,
    lost: i64,
}

impl Sums {
    fn of(records: &Path, body: &str) -> Sums {
        let mut sums = Sums::default();
        for line in BufReader::new(std::fs::File::open(records).unwrap()).lines() {
            for record in parse(&line.unwrap()).all {
                sums.add(&record, body);
            }
        }
        sums
    }

    fn add(&mut self, record: &Record, body: &str) {
        match record.kind() {
            "artifact_record" => {
                let (asked, answered) = (record.has("http.request.method"), record.has("http.response.status_code"));
                self.requests += i64::from(asked);
                self.responses += i64::from(answered);
                if record.has("qtap.incomplete") {
                    self.incomplete += 1;
                    self.said.insert(record.text("connection.request_id").to_owned());
                } else {
                    self.whole += 1;
                    assert!(asked && answered, "{record:?}");
                }
            }
            "object" => self.add_object(record, body),
            _ if record.text("connection.state") == "closed" => {
                record.assert_conserved();
                self.connections += 1;
                self.sent += record.number("connection.bytes_sent");
                self.received += record.number("connection.bytes_received");
                self.captured += record.number("connection.captured_bytes");
                self.lost += record.number("connection.lost_bytes");
            }
            _ => {}
        }
    }

    /// The reported data and the ranges reported as missing must together make up the body.
    fn add_object(&mut self, record: &Record, body: &str) {
        if record.text("artifact.type") != "http_response" {
            return;
        }
        let artifact = record.artifact();
        let told = &artifact["body"];
        let missing: Vec<(usize, usize)> = serde_json::from_value(told["missing"].clone()).unwrap_or_default();
        assert_eq!(record.has("artifact.missing"), !missing.is_empty(), "{record:?}");
        // A body that was cut off ends there, in its data and in its missing ranges.
        let size = told["size"].as_u64().unwrap_or_default() as usize;
        let (mut wanted, mut at) = (String::new(), 0);
        for (from, to) in &missing {
            wanted.push_str(&body[at..*from]);
            at = *to;
        }
        wanted.push_str(&body[at..size]);
        let data = told["data"].as_str().unwrap_or_default();
        assert!(data == wanted, "{size} bytes, without {missing:?}: {record:?}");
        if missing == [(0, size)] {
            self.shed += 1;
        } else if !missing.is_empty() {
            self.holed.insert(record.text("connection.request_id").to_owned());
        }
    }
}

/// Number of requests that nginx has answered.
fn answered(nginx: &Nginx) -> usize {
    let page = output_of(std::process::Command::new("curl").args(["-s", &nginx.http("/status")]));
    page.lines().nth(2).unwrap().split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// Makes identical requests over 64 connections, with identical responses. Returns the bytes of a request and of a response.
fn overflow(lab: &Lab, nginx: &Nginx, load: &Load) -> (i64, i64) {
    let Load { url, count, level, body, known } = load;
    nginx.serve("k.txt", body.as_bytes());
    let config =
        lab.write("qtap.yaml", super::scope::config(&format!("level: {level}"), "").as_bytes()).display().to_string();
    let records = lab.path("overflow.jsonl");
    let before = answered(nginx);
    let line = ["h2load", "--h1", "-c64", "-t1", "-n", &count.to_string(), url.as_str()].map(str::to_owned);
    let captured = run_exec(lab, ["--config", &config, "--ring-size", "64kb"], &records, line);
    assert!(captured.stdout.contains(&format!("{count} succeeded")), "{}", captured.stdout);
    assert_eq!(answered(nginx) - before, *count + 1, "and the question itself");
    assert!(!captured.stderr.contains("not delivered"), "what was told was written: {}", captured.stderr);
    let sums = Sums::of(&records, body);
    std::fs::remove_file(&records).unwrap();
    let made = *count as i64;
    let (request, response) = known.unwrap_or((sums.sent / made, sums.received / made));
    println!(
        "{url}: {made} exchanges of {request} + {response} bytes made; told whole {}, incomplete {} ({} with a hole in the body, \
         {} bodies left out); not told: {} requests, {} answers; captured {} + lost {} bytes = {}",
        sums.whole,
        sums.incomplete,
        sums.holed.len(),
        sums.shed,
        made - sums.requests,
        made - sums.responses,
        sums.captured,
        sums.lost,
        sums.captured + sums.lost,
    );
    assert_eq!(sums.connections, 64);
    assert!(sums.lost > 0 && sums.incomplete > 0, "64 KiB are not enough");
    assert_eq!(sums.captured + sums.lost, made * (request + response), "byte for byte");
    assert!(known.is_some() || sums.sent + sums.received == made * (request + response), "all are alike: {sums:?}");
    assert!(sums.requests <= made && sums.responses <= made, "more than were made");
    let untold = (made - sums.requests) * request + (made - sums.responses) * response;
    assert!(untold <= sums.lost, "what was not told has {untold} bytes");
    assert!(sums.holed.is_subset(&sums.said), "one with a hole is told as whole");
    (request, response)
}

fn small_answers(count: usize, level: &'static str) {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    let mut load = Load { url: nginx.http("/k.txt"), count, level, body: body(143), known: None };
    load.known = Some(overflow(&lab, &nginx, &load));
    load.url = nginx.https("/k.txt");
    overflow(&lab, &nginx, &load);
}

#[test]
fn whole_incomplete_or_lost_by_name() {
    small_answers(SMALL, "full");
}

#[test]
#[ignore = "minutes: cargo xtask check --long"]
fn a_million_whole_incomplete_or_lost_by_name() {
    // Without the artifacts: nothing writes three million lines of JSON as fast as they come.
    small_answers(MILLION, "summary");
}

/// Responses of many ring records each, of which some fit the ring and some do not.
#[test]
fn holes_have_the_right_ranges() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    let mut load = Load { url: nginx.http("/k.txt"), count: 2000, level: "full", body: body(9_000), known: None };
    load.known = Some(overflow(&lab, &nginx, &load));
    load.url = nginx.https("/k.txt");
    overflow(&lab, &nginx, &load);
}
