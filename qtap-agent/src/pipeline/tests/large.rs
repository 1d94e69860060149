//! Bodies that are too large for memory: assembled from pieces, on disk, they yield the same records, byte for byte, as the exchange
//! reported whole; and bytes that could not be stored are left out and reported as missing.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use std::io::Write as _;
use std::ops::Range;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::exchange::Part;
use crate::pipeline::spool::Folder;

/// The decoding bound for memory, so that both variants have the same.
const DECODED: u64 = 16 << 20;

/// A body, and where it is split into pieces.
#[derive(Debug, Clone)]
struct Cut {
    bytes: Vec<u8>,
    /// Bytes that were lost on the way.
    hole: Option<Range<u64>>,
    truncated: bool,
    cuts: Vec<usize>,
    content_type: &'static str,
    coding: &'static str,
}

impl Cut {
    fn fields(&self) -> Fields {
        let all = [
            ("Content-Type", self.content_type),
            ("Content-Encoding", self.coding),
            ("Authorization", "Bearer hunter2"),
            ("Referer", "https://a.example/?token=hunter2"),
        ];
        fields(&all.into_iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>())
    }

    /// The body from `from` to `to`.
    fn piece(&self, from: u64, to: u64) -> Body {
        let hole = self.hole.clone().unwrap_or(0..0);
        let keep = |range: Range<u64>| {
            let range = range.start as usize..range.end as usize;
            (!range.is_empty()).then(|| Bytes::copy_from_slice(&self.bytes[range]))
        };
        let before = from..to.min(hole.start.max(from));
        let after = from.max(hole.end).min(to)..to;
        let missing = hole.start.max(from)..hole.end.min(to);
        let chunks = if missing.is_empty() { [keep(from..to), None] } else { [keep(before), keep(after)] };
        Body {
            offset: from,
            chunks: chunks.into_iter().flatten().collect(),
            size: to,
            truncated: self.truncated && to == self.bytes.len() as u64,
            missing: (!missing.is_empty()).then_some(missing).into_iter().collect(),
            messages: None,
            ..Body::default()
        }
    }

    fn ends(&self) -> Vec<u64> {
        let mut ends: Vec<u64> = self.cuts.iter().map(|cut| (*cut % (self.bytes.len() + 1)) as u64).collect();
        ends.sort_unstable();
        ends.push(self.bytes.len() as u64);
        ends
    }
}

/// The exchange with these bodies, whole or one of its pieces.
fn exchange(request_body: (Body, &Cut), response_body: (Body, &Cut), part: Option<Part>) -> HttpExchange {
    let ended = part.is_none_or(|part| part.last);
    let request = Request { body: request_body.0, fields: request_body.1.fields(), ..request() };
    let ended = ended.then(|| ms(130));
    let response = Response { body: response_body.0, fields: response_body.1.fields(), ended, ..response() };
    HttpExchange { request: Some(request), response: Some(response), part, ..http() }
}

/// The pieces: first those of the request, then those of the response.
fn pieces(request: &Cut, response: &Cut) -> Vec<HttpExchange> {
    let (up, down) = (request.ends(), response.ends());
    let total = up.len() + down.len();
    let part = |number: usize| Part { number: number as u32, last: number + 1 == total, large: true };
    let mut all = Vec::new();
    let mut from = 0;
    for (number, to) in up.iter().enumerate() {
        let bodies = ((request.piece(from, *to), request), (response.piece(0, 0), response));
        all.push(exchange(bodies.0, bodies.1, Some(part(number))));
        from = *to;
    }
    let whole = request.bytes.len() as u64;
    from = 0;
    for (number, to) in down.iter().enumerate() {
        let bodies = ((request.piece(whole, whole), request), (response.piece(from, *to), response));
        all.push(exchange(bodies.0, bodies.1, Some(part(up.len() + number))));
        from = *to;
    }
    all
}

fn apply_all(pipeline: &mut Pipeline, exchanges: Vec<HttpExchange>) -> Vec<Record> {
    let mut out = Vec::new();
    exchanges.into_iter().for_each(|http| pipeline.apply(seen(http), &mut out));
    out
}

/// What must be the same for the whole exchange and for its pieces, including the data of objects.
fn told(record: &Record) -> (String, Vec<u8>) {
    let mut record = record.clone();
    let mut data = Vec::new();
    if let RecordKind::Object(object) = &mut record.kind {
        data = object.spooled.take().map_or_else(|| object.data.to_vec(), |file| std::fs::read(file.path()).unwrap());
        object.data = Bytes::new();
        let hex = crate::pipeline::digest::sha256_hex(&data);
        assert_eq!(object.digest, format!("sha256:{hex}"), "the digest is that of the data");
    }
    let shown = format!("{record:?}");
    let head = data.windows(7).any(|seven| seven == b"hunter2");
    assert!(!shown.contains("hunter2") && !head, "what must not be seen");
    (shown, data)
}

fn agree(request: &Cut, response: &Cut, format: Format, artifacts: Artifacts, level: Level) {
    agree_at_end(request, response, format, artifacts, level, false);
}

/// `lost`: the connection ended before the response did.
fn agree_at_end(request: &Cut, response: &Cut, format: Format, artifacts: Artifacts, level: Level, lost: bool) {
    let end = |mut http: HttpExchange| {
        if lost && http.part.is_none_or(|part| part.last) {
            http.incomplete = Some(Incomplete::ClosedEarly);
            http.response.iter_mut().for_each(|response| response.ended = None);
        }
        http
    };
    let folder = tempfile::tempdir().unwrap();
    let spool = Folder::open(folder.path(), 1 << 30, DECODED).unwrap();
    let settings = settings(level, format, artifacts);
    let whole = |cut: &Cut| cut.piece(0, cut.bytes.len() as u64);
    let at_once = exchange((whole(request), request), (whole(response), response), None);
    let key = RedactionKey([9; 32]);
    let want = apply_all(&mut Pipeline::new(settings.clone(), &key), vec![end(at_once)]);
    let mut pipeline = Pipeline::new(settings, &key).spooling(spool.clone());
    let got = apply_all(&mut pipeline, pieces(request, response).into_iter().map(end).collect());
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(&want) {
        let ((got, got_data), (want, want_data)) = (told(got), told(want));
        assert_eq!(got, want);
        assert!(got_data == want_data, "{}\n{}", text(&got_data), text(&want_data));
    }
    assert!(pipeline.take_lost().is_empty());
    drop((got, pipeline));
    assert_eq!((std::fs::read_dir(folder.path()).unwrap().count(), spool.used()), (0, 0), "nothing is left");
}

/// The beginning and the end of a document.
fn text(data: &[u8]) -> String {
    let ends = [&data[..data.len().min(400)], &data[data.len().saturating_sub(300)..]];
    ends.map(|end| String::from_utf8_lossy(end).into_owned()).join(" … ")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn repeated(pattern: &[u8], len: usize) -> Vec<u8> {
    pattern.iter().copied().cycle().take(len).collect()
}

fn cut(bytes: Vec<u8>, content_type: &'static str, coding: &'static str) -> Cut {
    Cut { bytes, hole: None, truncated: false, cuts: vec![70_000, 70_001, 150_000], content_type, coding }
}

fn small() -> Cut {
    Cut { cuts: vec![1], ..cut(b"{\"a\":1}".to_vec(), "application/json", "") }
}

#[test]
fn every_kind_of_body_in_every_form() {
    let words = "Käse \"und\" Brot\n日本\u{1}".as_bytes();
    let latin = encoding_rs::WINDOWS_1252.encode("Käse und Brot\n").0.into_owned();
    let japanese = encoding_rs::SHIFT_JIS.encode("日本語 text\n").0.into_owned();
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain("Käse😀\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let wide = [&utf16[..2], &repeated(&utf16[2..], 200_006)].concat();
    let cases = [
        cut(repeated(words, 300_000), "text/plain", ""),
        cut(repeated(&latin, 300_001), "text/html; charset=iso-8859-1", ""),
        cut(repeated(&japanese, 200_003), "text/plain; charset=shift_jis", ""),
        cut(wide, "text/plain", ""),
        cut(repeated(b"\xff\x00\x80abc", 290_001), "image/png", ""),
        cut(gzip(&repeated(words, 300_000)), "application/json", "gzip"),
        cut(
            gzip(&(0..90_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>()),
            "",
            "gzip",
        ),
        cut(gzip(&gzip(&repeated(b"x", 5_000_000))), "text/plain", "gzip, gzip"),
        cut(repeated(b"not gzip", 200_000), "text/plain", "gzip"),
        cut(repeated(b"unknown", 200_000), "text/plain", "compress"),
        cut(Vec::new(), "text/plain", "gzip"),
    ];
    for case in &cases {
        for format in FORMATS {
            agree(&small(), case, format, Artifacts::Split, Level::Full);
        }
        agree(case, &small(), Format::Json, Artifacts::Transaction, Level::Full);
        agree(case, case, Format::Text, Artifacts::Transaction, Level::Full);
        agree(&small(), case, Format::Json, Artifacts::Split, Level::Details);
    }
}

#[test]
fn with_holes_and_cut_off() {
    let words = repeated("日本語 \"x\" ".as_bytes(), 250_000);
    for coding in ["", "gzip"] {
        let bytes = if coding.is_empty() {
            words.clone()
        } else {
            gzip(&(0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())
        };
        for (hole, truncated) in
            [(Some(100_000..130_000), false), (None, true), (Some(5..6), true), (Some(0..80_000), false)]
        {
            let case = Cut { hole, truncated, ..cut(bytes.clone(), "text/plain", coding) };
            for format in FORMATS {
                agree(&small(), &case, format, Artifacts::Split, Level::Full);
            }
        }
    }
}

#[test]
fn a_connection_that_is_lost_leaves_what_came() {
    let words = repeated("日本語 \"x\" ".as_bytes(), 250_000);
    let coded = gzip(&(0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let half = coded.len() / 2;
    for case in [cut(words, "text/plain", ""), cut(coded[..half].to_vec(), "text/plain", "gzip")] {
        for format in FORMATS {
            agree_at_end(&small(), &case, format, Artifacts::Split, Level::Full, true);
            agree_at_end(&small(), &case, format, Artifacts::Transaction, Level::Full, true);
        }
    }
}

fn bodies() -> impl Strategy<Value = Cut> {
    let pattern = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        "\\PC{1,20}".prop_map(String::into_bytes),
        Just(b"plain ascii \"quoted\"\n".to_vec()),
    ];
    let content_type =
        prop_oneof![Just("text/plain"), Just("text/plain; charset=utf-16le"), Just("image/png"), Just("")];
    let coding = prop_oneof![3 => Just(""), 1 => Just("gzip"), 1 => Just("deflate")];
    let hole = prop::option::of((0_u64..300_000, 1_u64..50_000));
    let cuts = prop::collection::vec(any::<usize>(), 0..8);
    let len = prop_oneof![0_usize..200, 60_000_usize..70_000, 90_000_usize..300_000];
    (pattern, len, content_type, coding, hole, any::<bool>(), cuts).prop_map(
        |(pattern, len, content_type, coding, hole, truncated, cuts)| {
            let mut bytes = repeated(&pattern, len);
            if coding == "gzip" {
                bytes = gzip(&bytes);
            }
            let size = bytes.len() as u64;
            let hole = hole.map(|(start, len)| start..(start + len).min(size)).filter(|hole| hole.start < hole.end);
            Cut { bytes, hole, truncated, cuts, content_type, coding }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_in_any_pieces(
        request in bodies(),
        response in bodies(),
        format in prop_oneof![Just(Format::Json), Just(Format::Http), Just(Format::Text)],
        split in any::<bool>(),
    ) {
        let artifacts = if split { Artifacts::Split } else { Artifacts::Transaction };
        agree(&request, &response, format, artifacts, Level::Full);
    }
}

/// Applies the pieces with a spool of `most` bytes; returns the records, and what was lost.
fn within(most: u64, exchanges: Vec<HttpExchange>) -> (Vec<Record>, Tally) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Folder::open(folder.path(), most, DECODED).unwrap();
    let mut pipeline = Pipeline::new(settings(Level::Full, Format::Json, Artifacts::Split), &RedactionKey([9; 32]))
        .spooling(spool.clone());
    let records = apply_all(&mut pipeline, exchanges);
    let lost = pipeline.take_lost();
    drop(pipeline);
    // Read documents while the folder exists.
    let in_memory = |mut record: Record| {
        if let RecordKind::Object(object) = &mut record.kind
            && let Some(file) = object.spooled.take()
        {
            object.data = std::fs::read(file.path()).unwrap().into();
        }
        record
    };
    let records = records.into_iter().map(in_memory).collect();
    assert_eq!(spool.used(), 0);
    (records, lost)
}

#[test]
fn what_has_no_place_is_left_out_and_said() {
    let response = Cut { cuts: vec![70_000], ..cut(repeated(b"0123456789", 300_000), "text/plain", "") };
    // Space for the first piece, and for its document.
    let (records, lost) = within(200_000, pieces(&small(), &response));
    assert_eq!((lost.count(Loss::SpoolFull), lost.bytes(Loss::SpoolFull)), (1, 230_000));
    let response = records
        .iter()
        .find(|record| matches!(&record.kind, RecordKind::Object(o) if o.artifact_type == "http_response"));
    let RecordKind::Object(object) = &response.unwrap().kind else { panic!("no object") };
    let read: serde_json::Value = serde_json::from_slice(&object.data).unwrap();
    assert_eq!(read["body"]["missing"], serde_json::json!([[70_000, 300_000]]));
    assert_eq!((&read["body"]["size"], &read["body"]["kept"]), (&300_000.into(), &70_000.into()));
    assert_eq!(object.missing, std::slice::from_ref(&(70_000..300_000)));
    let (whole, lost) = within(700_000, pieces(&small(), &cut(repeated(b"0123456789", 300_000), "text/plain", "")));
    assert_eq!((whole.len(), lost.is_empty()), (3, true), "with room for both nothing is left out");
}

/// Only the document finds no space: the exchange is reported without it.
#[test]
fn a_document_that_has_no_place_is_counted() {
    let response = cut(repeated(b"0123456789", 300_000), "text/plain", "");
    let (records, lost) = within(400_000, pieces(&small(), &response));
    assert_eq!((lost.count(Loss::SpoolFull), lost.bytes(Loss::SpoolFull)), (1, 300_000));
    let kinds: Vec<_> = records.iter().map(|record| matches!(record.kind, RecordKind::Artifact(_))).collect();
    assert_eq!(kinds, [true, false], "the artifact record, and the request");
    let RecordKind::Artifact(about) = &records[0].kind else { panic!("no artifact record") };
    assert!(about.request_artifact.is_some() && about.response_artifact.is_none());
}

/// A disk that accepts nothing, here because the folder is gone: the exchange is still reported.
#[test]
fn a_disk_that_takes_nothing_costs_the_body_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Folder::open(&folder.path().join("spool"), 1 << 30, DECODED).unwrap();
    let mut pipeline =
        Pipeline::new(settings(Level::Full, Format::Json, Artifacts::Split), &RedactionKey([9; 32])).spooling(spool);
    let response = cut(repeated(b"0123456789", 300_000), "text/plain", "");
    let mut all = pieces(&small(), &response);
    let last = all.pop().unwrap();
    // The body is stored, and then there is no space for its document.
    let mut records = apply_all(&mut pipeline, all);
    std::fs::remove_dir_all(folder.path().join("spool")).unwrap();
    records.extend(apply_all(&mut pipeline, vec![last]));
    assert_eq!(records.len(), 2, "the artifact record, and the request");
    assert_eq!(pipeline.take_lost().bytes(Loss::SpoolFull), 300_000);
    // And then there is no space for a body either.
    let records = apply_all(&mut pipeline, pieces(&small(), &response));
    let RecordKind::Object(object) = &records[2].kind else { panic!("no object") };
    assert_eq!(records.len(), 3);
    assert_eq!(
        object.missing.iter().map(|hole| hole.end - hole.start).sum::<u64>(),
        299_999,
        "but for a piece of one byte"
    );
    assert!(pipeline.take_lost().bytes(Loss::SpoolFull) > 299_000);
}

/// Without a folder only small bodies are stored.
#[test]
fn without_a_folder_bodies_are_left_out() {
    let mut pipeline = Pipeline::new(settings(Level::Full, Format::Json, Artifacts::Split), &RedactionKey([9; 32]));
    let response = cut(repeated(b"0123456789", 300_000), "text/plain", "");
    let records = apply_all(&mut pipeline, pieces(&small(), &response));
    assert_eq!(records.len(), 3);
    assert_eq!(pipeline.take_lost().bytes(Loss::SpoolFull), 299_999, "but for a piece of one byte");
}

/// Pieces whose bodies the host dropped on the way are holes.
#[test]
fn pieces_that_were_shed_are_holes() {
    let response = cut(repeated(b"0123456789", 300_000), "text/plain", "");
    let mut all = pieces(&small(), &response);
    let shed = &mut all[3].response.as_mut().unwrap().body;
    shed.chunks = Vec::new();
    let hole = shed.offset..shed.size;
    shed.missing.push(hole.clone());
    let (records, lost) = within(1 << 20, all);
    let RecordKind::Object(object) = &records[2].kind else { panic!("no object") };
    assert_eq!((object.missing.as_slice(), lost.is_empty()), (std::slice::from_ref(&hole), true));
}

#[test]
fn more_bodies_at_once_than_there_are_files_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Folder::open(folder.path(), 1 << 30, DECODED).unwrap();
    let mut pipeline =
        Pipeline::new(settings(Level::Full, Format::Json, Artifacts::Split), &RedactionKey([9; 32])).spooling(spool);
    let response = Cut { cuts: vec![70_000], ..cut(repeated(b"x", 80_000), "text/plain", "") };
    let mut out = Vec::new();
    let all = pieces(&small(), &response);
    for piece in all {
        for number in 0..70 {
            let Observation::Exchange(seen) = seen(piece.clone()) else { panic!("no exchange") };
            pipeline.apply(Observation::Exchange(Box::new(ExchangeSeen { number, ..*seen })), &mut out);
        }
    }
    let whole =
        |record: &&Record| matches!(&record.kind, RecordKind::Object(o) if o.spooled.is_some() && o.missing.is_empty());
    assert_eq!(out.iter().filter(whole).count(), 64);
    assert_eq!(pipeline.take_lost().bytes(Loss::SpoolFull), 6 * 70_000);
}

/// Steps that inspect bodies read those on disk too, and record them whole; a log line leaves them out.
#[test]
fn a_body_on_disk_is_looked_into_and_recorded() {
    use crate::pipeline::settings::{AccessLogs, DetectErrors, IssueRule, LogFormat, Pattern, Recorded};
    let steps = vec![
        Step::AccessLogs(AccessLogs { mode: Level::Full, format: LogFormat::Json, rules: Vec::new() }),
        Step::DetectErrors(DetectErrors {
            rules: vec![IssueRule {
                name: "needle".to_owned(),
                body: Pattern::text("needle").into_iter().collect(),
                response: Recorded::Body,
                ..IssueRule::default()
            }],
        }),
        Step::Redact(Redact::default()),
    ];
    for (coding, found) in [("", true), ("gzip", true), ("", false)] {
        let folder = tempfile::tempdir().unwrap();
        let spool = Folder::open(folder.path(), 1 << 30, DECODED).unwrap();
        let mut pipeline = Pipeline::new(stack(steps.clone()), &RedactionKey([9; 32])).spooling(spool);
        let mut bytes = vec![0; 300_000];
        fastrand::Rng::with_seed(3).fill(&mut bytes);
        if found {
            bytes[200_000..200_006].copy_from_slice(b"needle");
        }
        if coding == "gzip" {
            bytes = gzip(&bytes);
        }
        let response = Cut { cuts: vec![70_000, 200_003], ..cut(bytes, "text/plain", coding) };
        let records = apply_all(&mut pipeline, pieces(&small(), &response));
        let issues = records.iter().filter(|record| matches!(record.kind, RecordKind::Issue(_))).count();
        let sizes: Vec<usize> = records.iter().map(|record| told(record).1.len()).collect();
        assert_eq!((issues, records.len()), (usize::from(found), if found { 2 } else { 0 }), "{coding} {found}");
        assert!(!found || sizes[0] > 300_000, "recorded whole");
        let lines = pipeline.take_lines();
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert!(line["response"]["body"].get("data").is_none() && !lines.contains("hunter2"), "{lines}");
    }
}
