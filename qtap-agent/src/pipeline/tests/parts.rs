//! Exchanges that are reported in parts: which records they yield, and which state continues from one part to the next.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use std::io::Write;

use super::*;
use crate::model::exchange::Part;

/// Applies parts one after the other to one pipeline.
fn apply_parts(settings: Settings, parts: Vec<HttpExchange>) -> Vec<Vec<Record>> {
    let mut pipeline = Pipeline::new(settings, &RedactionKey([9; 32]));
    let apply = |http| {
        let mut out = Vec::new();
        pipeline.apply(seen(http), &mut out);
        out
    };
    parts.into_iter().map(apply).collect()
}

fn stream(number: u32, last: bool, offset: u64, piece: &[u8]) -> HttpExchange {
    let response = Response {
        fields: fields(&[("Content-Type", "text/event-stream")]),
        body: Body { offset, size: offset + piece.len() as u64, ..body(piece) },
        ended: last.then(|| ms(130)),
        ..response()
    };
    let request = Request { body: Body { offset: if number == 0 { 0 } else { 15 }, ..request().body }, ..request() };
    let request =
        if number == 0 { request } else { Request { body: Body { chunks: Vec::new(), ..request.body }, ..request } };
    HttpExchange {
        request: Some(request),
        response: Some(response),
        part: Some(Part { number, last, large: false }),
        ..http()
    }
}

fn three() -> Vec<HttpExchange> {
    vec![stream(0, false, 0, b"data: 1\n\n"), stream(1, false, 9, b"data: 2\n\n"), stream(2, true, 18, b"data: 3\n\n")]
}

fn read(record: &Record) -> serde_json::Value {
    serde_json::from_slice(&object(record).data).unwrap()
}

fn types(records: &[Record]) -> Vec<&'static str> {
    let name = |record: &Record| match &record.kind {
        RecordKind::Artifact(_) => "artifact_record",
        RecordKind::Object(object) => object.artifact_type,
        RecordKind::Connection(_) => "connection",
        RecordKind::Request(_) => "request",
        RecordKind::Issue(_) => "issue",
    };
    records.iter().map(name).collect()
}

#[test]
fn parts_make_objects_and_the_last_one_the_artifact_record() {
    let parts = apply_parts(settings(Level::Full, Format::Json, Artifacts::Split), three());
    assert_eq!(types(&parts[0]), ["http_request", "http_response"]);
    assert_eq!(types(&parts[1]), ["http_response"], "the request brought nothing more");
    assert_eq!(types(&parts[2]), ["artifact_record", "http_request", "http_response"]);
    let about = artifact(&parts[2][0]);
    assert_eq!((about.parts, about.response_body_size, about.timing.duration_ms), (Some(3), Some(27), Some(30.0)));
    for (link, object) in [(&about.request_artifact, 1), (&about.response_artifact, 2)] {
        assert_eq!(link.as_ref().unwrap().digest, self::object(&parts[2][object]).digest);
    }
    let all: Vec<&Record> = parts.iter().flatten().collect();
    let uids: std::collections::HashSet<&str> = all.iter().map(|record| record.uid.as_str()).collect();
    assert_eq!(uids.len(), all.len());
    assert!(all.iter().all(|record| record.request_id == all[0].request_id));
    for (records, part) in parts.iter().zip(0..) {
        for record in records.iter().filter(|record| matches!(record.kind, RecordKind::Object(_))) {
            assert_eq!((object(record).part, read(record)["part"].as_u64()), (Some(part), Some(u64::from(part))));
            assert_eq!(object(record).summary.path.as_deref(), Some("/pay"));
        }
    }
    let second = read(&parts[1][0]);
    assert_eq!(second["body"]["offset"], 9);
    assert_eq!((second["body"]["size"].as_u64(), second["body"]["kept"].as_u64()), (Some(18), Some(9)));
    assert_eq!((&second["body"]["data"], &second["ended_at"]), (&"data: 2\n\n".into(), &serde_json::Value::Null));
    assert_eq!(parts[1][0].line, "http_response of POST https://shop.example:8443/pay?id=7 → 200, part 1: 368 B");
    assert_eq!(parts[0][0].time_unix_ns, BOOT + 100_000_000);
    assert_eq!(parts[1][0].time_unix_ns, BOOT + 131_000_000, "when it was told");
}

#[test]
fn below_details_only_the_end_is_told() {
    for (level, wanted) in [(Level::None, 0), (Level::Summary, 1)] {
        let records = apply_parts(settings(level, Format::Json, Artifacts::Split), three());
        assert_eq!(records.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, wanted]);
    }
    let records = apply_parts(settings(Level::Details, Format::Json, Artifacts::Split), three());
    assert_eq!(records.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 3]);
    assert!(records.iter().flatten().all(|record| !format!("{record:?}").contains("data: 1")));
}

#[test]
fn a_part_whose_bytes_were_not_kept_is_told_too() {
    let mut parts = three();
    let body = &mut parts[1].response.as_mut().unwrap().body;
    (body.chunks, body.truncated) = (Vec::new(), true);
    let records = apply_parts(settings(Level::Full, Format::Json, Artifacts::Split), parts);
    assert_eq!(types(&records[1]), ["http_response"]);
    let body = &read(&records[1][0])["body"];
    assert_eq!((&body["kept"], &body["truncated"], &body["digest"]), (&0.into(), &true.into(), &().into()));
}

#[test]
fn a_transaction_is_one_object_a_part() {
    for format in FORMATS {
        let parts = apply_parts(settings(Level::Full, format, Artifacts::Transaction), three());
        assert_eq!(types(&parts[1]), ["http_transaction"]);
        assert_eq!(types(&parts[2]), ["artifact_record", "http_transaction"]);
    }
    let parts = apply_parts(settings(Level::Full, Format::Json, Artifacts::Transaction), three());
    assert_eq!((read(&parts[1][0])["part"].as_u64(), &read(&parts[1][0])["request"]["part"]), (Some(1), &().into()));
}

#[test]
fn parts_of_other_formats_say_where_they_begin() {
    let parts = apply_parts(settings(Level::Full, Format::Text, Artifacts::Split), three());
    assert!(data(&parts[1][0]).ends_with("\n\n[from byte 9 on]\ndata: 2\n\n[part 1]\n"), "{}", data(&parts[1][0]));
    let parts = apply_parts(settings(Level::Full, Format::Http, Artifacts::Split), three());
    let wanted = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 2\n\n";
    assert_eq!(data(&parts[1][0]), wanted);
}

#[test]
fn a_character_that_is_cut_stands_beside_the_text() {
    let all = "data: 日本\n\n".as_bytes();
    let (first, later) = all.split_at(8);
    let parts = vec![stream(0, false, 0, first), stream(1, true, 8, later)];
    let records = apply_parts(bare(full()), parts.clone());
    let bodies = [&records[0][1], &records[1][2]].map(|record| read(record)["body"].clone());
    assert_eq!((&bodies[0]["data"], &bodies[0]["tail"]), (&"data: ".into(), &"5pc=".into()));
    assert_eq!((&bodies[1]["head"], &bodies[1]["data"]), (&"pQ==".into(), &"本\n\n".into()));
    let records = apply_parts(bare(settings(Level::Full, Format::Text, Artifacts::Split)), parts);
    assert!(
        data(&records[1][2]).ends_with("[from byte 8 on]\n本\n\n[1 bytes of characters that were cut]\n[part 1]\n")
    );
}

/// Three events as a server sends them: compressed as one stream, flushed after each.
fn coded(coding: &'static str) -> Vec<HttpExchange> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let (mut offset, mut parts) = (0, Vec::new());
    for number in 0..3 {
        write!(encoder, "data: {}\n\n", number + 1).unwrap();
        encoder.flush().unwrap();
        if number == 2 {
            encoder.try_finish().unwrap();
        }
        let piece = std::mem::take(encoder.get_mut());
        let mut part = stream(number, number == 2, offset, &piece);
        part.response.as_mut().unwrap().fields = fields(&[("content-encoding", coding)]);
        offset += piece.len() as u64;
        parts.push(part);
    }
    parts
}

fn full() -> Settings {
    settings(Level::Full, Format::Json, Artifacts::Split)
}

fn decoded(records: &[Record]) -> serde_json::Value {
    read(records.last().unwrap())["body"]["decoded"].clone()
}

#[test]
fn content_codings_are_undone_from_part_to_part() {
    let parts = apply_parts(full(), coded("gzip"));
    for (records, text) in parts.iter().zip(["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]) {
        let decoded = decoded(records);
        assert_eq!((&decoded["data"], &decoded["encoding"]), (&text.into(), &"text".into()));
        assert_eq!((&decoded["truncated"], &decoded["failed"]), (&().into(), &().into()));
    }
}

#[test]
fn the_two_directions_and_other_exchanges_do_not_disturb_it() {
    let mut pipeline = Pipeline::new(full(), &RedactionKey([9; 32]));
    let (mut out, mut texts) = (Vec::new(), Vec::new());
    for part in coded("gzip") {
        for number in [3, 4] {
            let mut http = part.clone();
            http.request.as_mut().unwrap().fields = fields(&[("content-encoding", "gzip")]);
            http.request.as_mut().unwrap().body = http.response.as_ref().unwrap().body.clone();
            let mut observation = seen(http);
            if let Observation::Exchange(seen) = &mut observation {
                seen.number = number;
            }
            pipeline.apply(observation, &mut out);
        }
    }
    for record in out.iter().filter(|record| matches!(record.kind, RecordKind::Object(_))) {
        texts.push(read(record)["body"]["decoded"]["data"].as_str().unwrap().to_owned());
    }
    let wanted: Vec<String> = (1..=3).flat_map(|n| vec![format!("data: {n}\n\n"); 4]).collect();
    assert_eq!(texts, wanted);
}

#[test]
fn after_a_hole_or_without_its_beginning_a_part_is_shown_as_carried() {
    let mut parts = coded("gzip");
    let first = parts[0].response.as_mut().unwrap();
    first.body.missing = std::iter::once(3..5).collect();
    let records = apply_parts(bare(full()), parts);
    assert_eq!((&decoded(&records[0])["truncated"], &decoded(&records[0])["failed"]), (&true.into(), &().into()));
    for later in &records[1..] {
        let body = &read(later.last().unwrap())["body"];
        assert_eq!((&body["decoded"]["failed"], &body["decoded"]["size"]), (&"gzip".into(), &0.into()));
        assert_eq!(body["encoding"], "base64");
    }
    let records = apply_parts(bare(full()), coded("gzip").split_off(1));
    assert_eq!(decoded(&records[0])["failed"], "gzip");
    let records = apply_parts(bare(full()), coded("compress"));
    assert!(records.iter().all(|part| decoded(part)["failed"] == "compress"));
}

#[test]
fn a_stream_that_ends_in_the_middle_of_its_coding_says_so() {
    let mut parts = coded("gzip");
    parts.truncate(2);
    parts[1].part = Some(Part { number: 1, last: true, large: false });
    let cut = apply_parts(full(), parts.clone());
    let told = decoded(&cut[1]);
    assert_eq!((&told["data"], &told["truncated"], &told["failed"]), (&"data: 2\n\n".into(), &true.into(), &().into()));
    parts[1].response.as_mut().unwrap().ended = Some(ms(130));
    let ended = apply_parts(full(), parts);
    let told = decoded(&ended[1]);
    assert_eq!((&told["data"], &told["failed"]), (&"data: 2\n\n".into(), &"gzip".into()));
}

#[test]
fn secrets_are_taken_out_of_every_part() {
    let mut parts = three();
    for part in &mut parts {
        part.request.as_mut().unwrap().fields = fields(&[("authorization", "Bearer c4n4ry")]);
        part.response.as_mut().unwrap().fields = fields(&[("set-cookie", "c4n4ry")]);
    }
    for (level, format) in LEVELS.into_iter().flat_map(|level| FORMATS.map(|format| (level, format))) {
        for record in apply_parts(settings(level, format, Artifacts::Split), parts.clone()).iter().flatten() {
            assert!(!format!("{record:?}").contains("c4n4ry"), "{level:?} {format:?}");
        }
    }
}
