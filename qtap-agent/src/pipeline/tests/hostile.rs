//! Arbitrary bytes: whatever an exchange contains, it yields records, and a JSON artifact is valid JSON from which the body can be
//! recovered.
#![allow(clippy::unwrap_used)] // the tests unwrap artifacts that are expected to be readable

use base64::engine::{Engine, general_purpose::STANDARD};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::exchange::Part;
use crate::model::messages::{Close, Framing, Message, MessageKind, Messages, WebSocket};

fn text() -> impl Strategy<Value = FieldText> {
    let bytes = vec(any::<u8>(), 0..40).prop_map(|bytes| FieldText::Known(bytes.into()));
    let names = [
        "content-type",
        "text/plain; charset=utf-16",
        "a/b; charset=big5",
        "grpc-encoding",
        "b3",
        "tracestate",
        "content-encoding",
        "gzip",
        "br, zstd",
        "deflate",
        "transfer-encoding",
        "chunked",
        "host",
        "cookie",
    ];
    let names = proptest::sample::select(names.to_vec()).prop_map(known);
    prop_oneof![bytes, names, Just(FieldText::Unknown)]
}

fn any_fields() -> impl Strategy<Value = Fields> {
    let field = (text(), text()).prop_map(|(name, value)| Field { name, value });
    vec(field, 0..6).prop_map(Fields)
}

fn any_body() -> impl Strategy<Value = Body> {
    let chunks = vec(vec(any::<u8>(), 0..60), 0..4);
    let messages = option::of(any_messages().prop_map(Box::new));
    (chunks, any::<bool>(), option::of(0_u64..100), messages).prop_map(|(chunks, truncated, hole, messages)| {
        let chunks: Vec<Bytes> = chunks.into_iter().map(Bytes::from).collect();
        let missing = hole.map(|at| at..at + 10).into_iter().collect();
        Body { chunks, size: 1000, truncated, missing, messages, ..Body::default() }
    })
}

fn any_messages() -> impl Strategy<Value = Messages> {
    let kinds = proptest::sample::select(vec![MessageKind::Grpc, MessageKind::Text, MessageKind::Binary]);
    let message = (kinds, vec(any::<u8>(), 0..40), any::<bool>(), any::<bool>()).prop_map(
        |(kind, data, compressed, truncated)| {
            let (time, size) = (ms(1), data.len() as u64);
            Message { kind, time, size, compressed, undone: false, data: data.into(), truncated }
        },
    );
    let close = option::of((option::of(any::<u16>()), ".{0,200}").prop_map(|(code, reason)| Close { code, reason }));
    let framing = prop_oneof![
        Just(Framing::Grpc),
        close.prop_map(|close| Framing::WebSocket(WebSocket { close, ..WebSocket::default() })),
    ];
    (framing, vec(message, 0..4), any::<u64>()).prop_map(|(framing, kept, count)| Messages {
        count,
        kept,
        ..Messages::new(framing)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_exchange_makes_records_that_can_be_read(
        target in option::of(any::<String>()),
        authority in option::of(any::<String>()),
        status in option::of(any::<u16>()),
        fields in any_fields(),
        trailers in any_fields(),
        body in any_body(),
        grpc in any::<bool>(),
        part in option::of((0_u32..3, any::<bool>()).prop_map(|(number, last)| Part { number, last, large: false })),
        version in proptest::sample::select(vec![Version::Http10, Version::Http11, Version::Http2]),
    ) {
        let (request, response) = (request(), response());
        let protocol = if grpc { Protocol::Grpc } else { Protocol::Http2 };
        let request = Request { target, authority, fields: fields.clone(), trailers: trailers.clone(), body: body.clone(), version, ..request };
        let response = Response { status, fields, trailers, body, version, ..response };
        let http = HttpExchange { request: Some(request), response: Some(response), protocol, part, ..http() };
        let told = part.is_none_or(|part| part.last);
        every_plugin_bears(&http, told);
        for (format, artifacts) in FORMATS.into_iter().flat_map(|f| [(f, Artifacts::Split), (f, Artifacts::Transaction)]) {
            let records = apply(settings(Level::Full, format, artifacts), seen(http.clone()));
            let artifacts_told = records.iter().filter(|record| matches!(record.kind, RecordKind::Artifact(_))).count();
            assert_eq!(artifacts_told, usize::from(told));
            if told {
                assert_eq!(records.len(), if artifacts == Artifacts::Split { 3 } else { 2 });
            }
            if format == Format::Json && artifacts == Artifacts::Split && told {
                let records = apply(bare(settings(Level::Full, format, artifacts)), seen(http.clone()));
                let read: serde_json::Value = serde_json::from_slice(&object(&records[2]).data).unwrap();
                body_is_given_back(&read["body"], &http.response.as_ref().unwrap().body.to_bytes());
            }
        }
    }
}

/// Every plugin, whatever an exchange contains: the expected numbers of lines, uses and issues.
fn every_plugin_bears(http: &HttpExchange, told: bool) {
    use crate::pipeline::settings::{
        AccessLogs, DetectErrors, IssueRule, LogFormat, Pattern, Recorded, ReportUsage, UrlPattern,
    };
    let rule = IssueRule {
        name: "all".to_owned(),
        body: Pattern::regex("").into_iter().collect(),
        urls: UrlPattern::read("~").into_iter().collect(),
        request: Recorded::Head,
        response: Recorded::Body,
        ..IssueRule::default()
    };
    for format in [LogFormat::Console, LogFormat::Json] {
        let steps = vec![
            Step::AccessLogs(AccessLogs { mode: Level::Full, format, rules: Vec::new() }),
            Step::ReportUsage(ReportUsage { claims: vec!["iss".to_owned()], ..ReportUsage::default() }),
            Step::DetectErrors(DetectErrors { rules: vec![rule.clone()] }),
        ];
        let mut pipeline = Pipeline::new(stack(steps), &RedactionKey([9; 32]));
        let mut out = Vec::new();
        pipeline.apply(seen(http.clone()), &mut out);
        let lines = pipeline.take_lines();
        assert_eq!(lines.matches('\n').count(), usize::from(told), "{lines:?}");
        if format == LogFormat::Json && told {
            drop(serde_json::from_str::<serde_json::Value>(&lines).unwrap());
        }
        let count = |is: fn(&RecordKind) -> bool| out.iter().filter(|record| is(&record.kind)).count();
        let counts =
            [count(|kind| matches!(kind, RecordKind::Request(_))), count(|kind| matches!(kind, RecordKind::Issue(_)))];
        assert_eq!(counts, [usize::from(told); 2]);
    }
}

fn body_is_given_back(read: &serde_json::Value, kept: &[u8]) {
    if read.get("charset").is_some() {
        return;
    }
    let base64 = |data: &serde_json::Value| STANDARD.decode(data.as_str().unwrap_or_default()).unwrap();
    let data = read["data"].as_str().unwrap_or_default();
    let data = if read["encoding"] == "base64" { STANDARD.decode(data).unwrap() } else { data.as_bytes().to_vec() };
    let bytes = [base64(&read["head"]), data, base64(&read["tail"])].concat();
    assert!(kept.starts_with(&bytes) && kept.len() - bytes.len() <= 3);
    assert_eq!(read["kept"], bytes.len());
}
