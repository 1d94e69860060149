//! Bytes that nobody chose: whatever an exchange holds, records are made of it, and a JSON artifact is JSON that gives the body
//! back.
#![allow(clippy::unwrap_used)] // an artifact that can't be read is what these tests look for

use base64::engine::{Engine, general_purpose::STANDARD};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::RngSeed;

use super::*;

fn text() -> impl Strategy<Value = FieldText> {
    let bytes = vec(any::<u8>(), 0..40).prop_map(|bytes| FieldText::Known(bytes.into()));
    let names = ["content-encoding", "gzip", "br, zstd", "deflate", "transfer-encoding", "chunked", "host", "cookie"];
    let names = proptest::sample::select(names.to_vec()).prop_map(known);
    prop_oneof![bytes, names, Just(FieldText::Unknown)]
}

fn any_fields() -> impl Strategy<Value = Fields> {
    let field = (text(), text()).prop_map(|(name, value)| Field { name, value });
    vec(field, 0..6).prop_map(Fields)
}

fn any_body() -> impl Strategy<Value = Body> {
    let chunks = vec(vec(any::<u8>(), 0..60), 0..4);
    (chunks, any::<bool>(), option::of(0_u64..100)).prop_map(|(chunks, truncated, hole)| {
        let chunks: Vec<Bytes> = chunks.into_iter().map(Bytes::from).collect();
        let size = 1000;
        Body { chunks, size, truncated, missing: hole.map(|at| at..at + 10).into_iter().collect(), ..Body::default() }
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
        version in proptest::sample::select(vec![Version::Http10, Version::Http11, Version::Http2]),
    ) {
        let (request, response) = (request(), response());
        let protocol = if grpc { Protocol::Grpc } else { Protocol::Http2 };
        let request = Request { target, authority, fields: fields.clone(), trailers: trailers.clone(), body: body.clone(), version, ..request };
        let response = Response { status, fields, trailers, body, version, ..response };
        let http = HttpExchange { request: Some(request), response: Some(response), protocol, ..http() };
        for (format, artifacts) in FORMATS.into_iter().flat_map(|f| [(f, Artifacts::Split), (f, Artifacts::Transaction)]) {
            let records = apply(settings(Level::Full, format, artifacts), seen(http.clone()));
            assert_eq!(records.len(), if artifacts == Artifacts::Split { 3 } else { 2 });
            if format == Format::Json && artifacts == Artifacts::Split {
                let read: serde_json::Value = serde_json::from_slice(&object(&records[2]).data).unwrap();
                body_is_given_back(&read["body"], &http.response.as_ref().unwrap().body.to_bytes());
            }
        }
    }
}

fn body_is_given_back(read: &serde_json::Value, kept: &[u8]) {
    let data = read["data"].as_str().unwrap_or_default();
    let bytes = if read["encoding"] == "base64" { STANDARD.decode(data).unwrap() } else { data.as_bytes().to_vec() };
    assert!(kept.starts_with(&bytes) && kept.len() - bytes.len() <= 3);
    assert_eq!(read["kept"], bytes.len());
}
