//! Redaction of bodies. In: what stands around a secret in a JSON body, where the body is cut into parts, what becomes of the secret. Out: nothing, or
//! the promise that was broken: no record says the secret, whatever stands around it.
//!
//! ```text
//! script = flags cut before 0 after    flags: 1, 2 the action · 4 patterns are looked for · 8 lines of JSON
//!                                       cut: so many bytes in each part; 0: one whole
//! ```

use qtap_agent::config::{self, Source};
use qtap_agent::model::exchange::{Exchange, Part};
use qtap_agent::model::message::Body;
use qtap_agent::model::observation::Observation;
use qtap_agent::model::record::{Record, RecordKind};
use qtap_agent::pipeline::{Pipeline, RedactionKey};

use super::Gauge;
use super::body::{exchange, seen};
use super::script::Input;

const SECRET: &str = "c4n4ry";

fn pipeline(flags: u8) -> Pipeline {
    let action = ["mask", "hash", "drop", "mask"][usize::from(flags & 3)];
    let patterns = if flags & 4 != 0 { "card, email" } else { "" };
    let text = format!(
        "version: 2\nservices: {{event_stores: [{{type: stdout}}], object_stores: [{{type: stdout}}]}}\nstacks:\n  a:\n    plugins:\n      - {{type: http_capture, config: {{level: full}}}}\n      - {{type: redact, config: {{action: {action}, patterns: [{patterns}]}}}}\n"
    );
    let (settings, _) = config::load(Source::Text { name: "fuzz".to_owned(), text }, &|_| None).unwrap();
    Pipeline::new(settings.pipeline, &RedactionKey([7; 32]))
}

/// Makes records of the body that `data` stands for.
pub(crate) fn run(data: &[u8], _: Gauge<'_>) {
    let mut input = Input(data);
    let (flags, cut) = (input.u8().unwrap_or(0), usize::from(input.u8().unwrap_or(0)));
    let mut around = input.0.splitn(2, |byte| *byte == 0);
    let (before, after) = (around.next().unwrap_or_default(), around.next().unwrap_or_default());
    if [before, after].iter().any(|side| side.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())) {
        return;
    }
    let body = [before, format!("\"password\":\"{SECRET}\"").as_bytes(), after].concat();
    let content_type = if flags & 8 != 0 { "application/x-ndjson" } else { "application/json" };
    let pieces: Vec<&[u8]> = if cut == 0 { vec![&body] } else { body.chunks(cut).collect() };
    let (mut pipeline, mut records, mut offset) = (pipeline(flags), Vec::new(), 0);
    for (number, piece) in pieces.iter().enumerate() {
        let Observation::Exchange(mut told) = seen(exchange(&format!("Content-Type: {content_type}\r\n"))) else {
            return;
        };
        let Exchange::Http(http) = &mut told.exchange;
        let last = number + 1 == pieces.len();
        let size = offset + piece.len() as u64;
        let response = http.response.as_mut().unwrap();
        response.body = Body { offset, chunks: vec![piece.to_vec().into()], size, ..Body::default() };
        response.ended = response.ended.filter(|_| last);
        http.part = (cut > 0).then_some(Part { number: number as u32, last, large: false });
        offset = size;
        pipeline.apply(Observation::Exchange(told), &mut records);
    }
    let shown: Vec<u8> = records.iter().flat_map(shown).collect();
    assert!(
        !shown.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()),
        "{}",
        String::from_utf8_lossy(&shown)
    );
}

/// What the response of a document shows.
fn shown(record: &Record) -> Vec<u8> {
    use base64::Engine as _;
    let RecordKind::Object(object) = &record.kind else { return Vec::new() };
    let document: serde_json::Value = serde_json::from_slice(&object.data).unwrap();
    let data = document["body"]["data"].as_str().unwrap_or_default();
    let plain = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    match document["body"]["encoding"].as_str() {
        Some("base64") => plain(data),
        _ => data.as_bytes().to_vec(),
    }
}
