//! `gen_ai` in a stack: which data ends up in which record at which level, and that redaction applies to all of it.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use std::io::Write as _;

use super::*;
use crate::model::exchange::Part;
use crate::pipeline::settings::{GenAiStep, Ready, SecretForm};

fn call(answer: Body, content_type: &str, coding: &[(&str, &str)], part: Option<Part>) -> HttpExchange {
    let asked = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"my card is 4111 1111 1111 1111"}],"password":"c4n4ry"}"#;
    let mut head = fields(&[("Content-Type", content_type)]);
    head.0.extend(fields(coding).0);
    let later = part.is_some_and(|part| part.number > 0);
    let request = Request {
        target: Some("/v1/chat/completions".to_owned()),
        authority: Some("api.openai.com".to_owned()),
        body: if later { Body::default() } else { body(asked) },
        ..request()
    };
    let ended = part.is_none_or(|part| part.last).then_some(ms(130));
    HttpExchange {
        request: Some(request),
        response: Some(Response { fields: head, body: answer, ended, ..response() }),
        part,
        ..http()
    }
}

fn stack_of(level: Level, conversations: bool) -> Settings {
    let mut settings = settings(level, Format::Json, Artifacts::Split);
    let steps = &mut settings.http_stack.as_mut().unwrap().steps;
    steps[1] = Step::Redact(Redact { patterns: vec![SecretForm::Ready(Ready::Card)], ..Redact::default() });
    steps.push(Step::GenAi(GenAiStep { conversations }));
    settings
}

const STREAM: &str = "data: {\"id\":\"c1\",\"model\":\"gpt-4o-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"4111 1111 \"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"1111 1111 ok\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";

fn types(records: &[Record]) -> Vec<&str> {
    let name = |record: &Record| match &record.kind {
        RecordKind::Object(object) => object.artifact_type,
        RecordKind::Artifact(_) => "artifact_record",
        _ => "other",
    };
    records.iter().map(name).collect()
}

#[test]
fn facts_are_told_at_every_level_and_the_conversation_with_bodies() {
    for (level, conversations, wanted) in [
        (Level::None, true, &[][..]),
        (Level::Summary, true, &["artifact_record"]),
        (Level::Details, true, &["artifact_record", "http_request", "http_response"]),
        (Level::Full, true, &["artifact_record", "http_request", "http_response", "gen_ai_conversation"]),
        (Level::Full, false, &["artifact_record", "http_request", "http_response"]),
    ] {
        let records =
            apply(stack_of(level, conversations), seen(call(body(STREAM.as_bytes()), "text/event-stream", &[], None)));
        assert_eq!(types(&records), wanted, "{level:?}");
        let Some(record) = records.first() else { continue };
        let facts = artifact(record).gen_ai.as_ref().unwrap();
        assert_eq!(
            (facts.provider, facts.request_model.as_deref(), facts.input_tokens),
            ("openai", Some("gpt-4o"), Some(3))
        );
        assert_eq!((facts.output_tokens, facts.finish_reasons.as_slice()), (Some(4), &["stop".to_owned()][..]));
    }
}

#[test]
fn a_conversation_is_redacted_once_it_is_put_together() {
    let records =
        apply(stack_of(Level::Full, true), seen(call(body(STREAM.as_bytes()), "text/event-stream", &[], None)));
    let conversation = data(&records[3]);
    assert!(!conversation.contains("1111") && !conversation.contains("c4n4ry"), "{conversation}");
    let read: serde_json::Value = serde_json::from_str(conversation).unwrap();
    assert_eq!(read["input_messages"][0]["parts"][0]["content"], "my card is [redacted]");
    assert_eq!(read["output_messages"][0]["parts"][0]["content"], "[redacted] ok", "of two events");
    assert_eq!(object(&records[3]).content_type, "application/json");
    let uids: std::collections::HashSet<_> = records.iter().map(|record| &record.uid).collect();
    assert_eq!(uids.len(), records.len());
}

#[test]
fn parts_and_codings_make_no_difference() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(STREAM.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    for (level, bytes, coding) in [
        (Level::Summary, STREAM.as_bytes(), &[][..]),
        (Level::Full, STREAM.as_bytes(), &[]),
        (Level::Summary, &packed, &[("Content-Encoding", "gzip")]),
        (Level::Full, &packed, &[("Content-Encoding", "gzip")]),
    ] {
        let mut pipeline = Pipeline::new(stack_of(level, true), &RedactionKey([9; 32]));
        let (mut records, mut offset) = (Vec::new(), 0);
        let pieces: Vec<&[u8]> = bytes.chunks(50).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let told = Body { offset, size: offset + piece.len() as u64, ..body(piece) };
            offset = told.size;
            let part = Part { number: n as u32, last: n + 1 == pieces.len(), large: false };
            pipeline.apply(seen(call(told, "text/event-stream", coding, Some(part))), &mut records);
        }
        let artifacts: Vec<_> =
            records.iter().filter(|record| matches!(record.kind, RecordKind::Artifact(_))).collect();
        assert_eq!(artifacts.len(), 1);
        let facts = artifact(artifacts[0]).gen_ai.as_ref().unwrap();
        assert_eq!((facts.output_tokens, facts.response_id.as_deref()), (Some(4), Some("c1")), "{level:?} {coding:?}");
        assert_eq!(types(&records).contains(&"gen_ai_conversation"), level == Level::Full);
        assert_eq!(records.len() == 1, level == Level::Summary);
    }
}

#[test]
fn without_the_step_or_for_anything_else_there_are_none() {
    let told = call(body(STREAM.as_bytes()), "text/event-stream", &[], None);
    let without = apply(settings(Level::Summary, Format::Json, Artifacts::Split), seen(told));
    assert_eq!(artifact(&without[0]).gen_ai, None);
    assert_eq!(artifact(&apply(stack_of(Level::Summary, true), seen(http()))[0]).gen_ai, None);
    let keeps = |settings: &Settings| settings.keeps_bodies();
    assert!(
        keeps(&stack_of(Level::Summary, true)) && !keeps(&settings(Level::Summary, Format::Json, Artifacts::Split))
    );
}

/// The pieces of a call whose bodies are too large for memory.
fn large(asked: &[u8], answer: &[u8], content_type: &str, coding: &[(&str, &str)]) -> Vec<HttpExchange> {
    const PIECE: usize = 100_000;
    let whole = call(body(answer), content_type, coding, None);
    let numbers = asked.len().max(answer.len()).div_ceil(PIECE);
    let piece = |bytes: &[u8], number: usize| {
        let (from, to) = ((number * PIECE).min(bytes.len()), ((number + 1) * PIECE).min(bytes.len()));
        Body { offset: from as u64, size: to as u64, ..body(&bytes[from..to]) }
    };
    let of = |number: usize| {
        let mut http = whole.clone();
        let last = number + 1 == numbers;
        http.part = Some(Part { number: number as u32, last, large: true });
        let (request, response) = (http.request.as_mut().unwrap(), http.response.as_mut().unwrap());
        (request.body, response.body) = (piece(asked, number), piece(answer, number));
        request.fields.0.extend(fields(coding).0);
        response.ended = last.then_some(ms(130));
        http
    };
    (0..numbers).map(of).collect()
}

/// The records of these pieces.
fn told_of_large(settings: Settings, pieces: Vec<HttpExchange>) -> Vec<Record> {
    let folder = tempfile::tempdir().unwrap();
    let spool = crate::pipeline::spool::Folder::open(folder.path(), 1 << 30, 64 << 20).unwrap();
    let mut pipeline = Pipeline::new(settings, &RedactionKey([9; 32])).spooling(spool);
    let mut records = Vec::new();
    pieces.into_iter().for_each(|piece| pipeline.apply(seen(piece), &mut records));
    assert!(pipeline.take_lost().is_empty());
    records
}

/// A request with this many images of 800 KB each. (With patterns configured, redaction does not show larger values.)
fn with_images(count: usize) -> Vec<u8> {
    let image = format!("data:image/png;base64,{}", "iVBORw0K".repeat(100_000));
    let image = serde_json::json!({"type": "image_url", "image_url": {"url": image}});
    let mut parts = vec![image; count];
    parts.push(serde_json::json!({"type": "text", "text": "card 4111 1111 1111 1111"}));
    serde_json::json!({"model": "gpt-4o", "messages": [{"role": "user", "content": parts}], "max_tokens": 9})
        .to_string()
        .into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const ANSWER: &str = r#"{"id":"c9","model":"gpt-4o-1","choices":[{"index":0,"message":{"role":"assistant","content":"A card."},"finish_reason":"stop"}],"usage":{"prompt_tokens":900,"completion_tokens":4}}"#;

#[test]
fn bodies_on_disk_are_read() {
    let coded = [("Content-Encoding", "gzip")];
    for (level, coding) in
        [(Level::Summary, &[][..]), (Level::Full, &[]), (Level::Summary, &coded), (Level::Full, &coded)]
    {
        let code = |bytes: &[u8]| if coding.is_empty() { bytes.to_vec() } else { gzip(bytes) };
        let pieces = large(&code(&with_images(6)), &code(ANSWER.as_bytes()), "application/json", coding);
        let records = told_of_large(stack_of(level, true), pieces);
        let facts = artifact(&records[0]).gen_ai.as_ref().unwrap();
        let asked = (facts.request_model.as_deref(), facts.max_tokens, facts.response_id.as_deref());
        assert_eq!(asked, (Some("gpt-4o"), Some(9), Some("c9")), "{level:?} {coding:?}");
        assert_eq!((facts.input_tokens, facts.output_tokens), (Some(900), Some(4)));
        assert_eq!(types(&records).contains(&"gen_ai_conversation"), level == Level::Full);
        if level == Level::Full {
            let conversation: serde_json::Value = serde_json::from_str(data(records.last().unwrap())).unwrap();
            let said = &conversation["input_messages"][0]["parts"];
            assert_eq!((&said[0]["type"], &said[6]["content"]), (&"image_url".into(), &"card [redacted]".into()));
            assert_eq!(conversation["output_messages"][0]["parts"][0]["content"], "A card.");
        }
    }
}

#[test]
fn of_bodies_on_disk_no_more_is_read_than_may_be() {
    let facts = |asked: &[u8], answer: &[u8], content_type: &str| {
        let records = told_of_large(stack_of(Level::Summary, true), large(asked, answer, content_type, &[]));
        (**artifact(&records[0]).gen_ai.as_ref().unwrap()).clone()
    };
    let too_large = facts(&with_images(22), ANSWER.as_bytes(), "application/json");
    assert_eq!((too_large.request_model, too_large.input_tokens), (None, Some(900)), "the answer is read all the same");
    // Events are redacted one by one, until there are too many.
    let event =
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(9_000));
    let streamed =
        |events: usize| facts(&with_images(0), (event.repeat(events) + STREAM).as_bytes(), "text/event-stream");
    assert_eq!((streamed(600).output_tokens, streamed(2_000).output_tokens), (Some(4), None));
}
