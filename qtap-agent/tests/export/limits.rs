//! Stores with small limits: a strict receiver refuses what exceeds them, and with the same limits in the settings nothing is refused,
//! no part of an artifact is lost, and what is missing is reported.

use std::sync::Arc;

use base64::Engine as _;
use qtap_agent::export::settings::{Limits, OtlpProtocol, OtlpSettings};
use qtap_agent::model::loss::Loss;
use qtap_agent::model::record::{Origin, Record, RecordKind};
use serde_json::{Value, json};

use super::otlp::{PROTOCOLS, attribute, bodies, finish, port, settings, start, taken};
use super::python::Receiver;
use super::records::{artifact, connection, digest, object};

fn limited(protocol: OtlpProtocol, receiver: &Receiver, limits: Limits) -> OtlpSettings {
    let mut settings = settings(protocol, port(receiver, protocol));
    settings.batch.max_bytes = settings.batch.max_bytes.min(limits.batch_bytes);
    OtlpSettings { limits, ..settings }
}

fn find<'v>(record: &'v Value, key: &str) -> Option<&'v Value> {
    record["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|attribute| attribute["key"] == key)
        .map(|found| &found["value"])
}

/// The data of the chunks, joined as a reader would join them.
fn whole(records: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if records.len() > 1 {
            assert_eq!(attribute(record, "artifact.chunk"), &json!({"intValue": index.to_string()}));
            assert_eq!(attribute(record, "artifact.chunks"), &json!({"intValue": records.len().to_string()}));
            assert_eq!(attribute(record, "artifact.chunk_offset"), &json!({"intValue": out.len().to_string()}));
        }
        let data = attribute(record, "artifact.data");
        match data["stringValue"].as_str() {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => {
                let text = data["bytesValue"].as_str().unwrap();
                out.extend(base64::engine::general_purpose::STANDARD.decode(text).unwrap());
            }
        }
    }
    out
}

/// Bodies: plain text, characters that JSON escapes, multi-byte characters, and bytes that are not text.
fn data() -> Vec<Vec<u8>> {
    vec![
        b"0123456789abcdef".repeat(20_000),
        "\u{0}\"\\\n".repeat(40_000).into_bytes(),
        "é😀a".repeat(30_000).into_bytes(),
        (0..=255u8).cycle().take(300_000).collect(),
    ]
}

#[tokio::test]
async fn a_body_longer_than_a_value_is_sent_in_chunks() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        for value_bytes in [4095, 65_536] {
            for data in data() {
                receiver.plan(&json!({"max_value_bytes": value_bytes}));
                let limits = Limits { attribute_value_bytes: value_bytes, ..Limits::default() };
                let store = start(limited(protocol, &receiver, limits));
                store.offer(&[object(1, &data)]);
                let status = finish(store).await;
                assert!(status.losses.is_empty() && status.last_error.is_none(), "{protocol:?}: {status:?}");
                let records = taken(&receiver.said());
                assert_eq!(records.len() as u64, status.exported_records);
                assert!(records.len() >= data.len() / value_bytes);
                assert!(whole(&records) == data, "{protocol:?} {value_bytes}");
                for record in &records {
                    assert_eq!(attribute(record, "artifact.digest"), &json!({"stringValue": digest(&data)}));
                    assert_eq!(attribute(record, "artifact.size_bytes"), &json!({"intValue": data.len().to_string()}));
                }
                let mut ids: Vec<&Value> = records.iter().map(|record| attribute(record, "log.record.uid")).collect();
                assert_eq!(ids[0], &json!({"stringValue": format!("{:032x}", 1)}));
                ids.sort_by_key(|id| id.to_string());
                ids.dedup();
                assert_eq!(ids.len(), records.len(), "each has an id of its own");
            }
        }
    }
}

/// Sizes are of the encoded request, decompressed, envelope included: a server that accepts exactly that many bytes refuses none for its size.
#[tokio::test]
async fn no_request_is_larger_than_the_store_takes() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        for data in data() {
            receiver.plan(&json!({"max_bytes": 65_536}));
            let limits = Limits { batch_bytes: 65_536, ..Limits::default() };
            let store = start(limited(protocol, &receiver, limits));
            let mut records: Vec<Arc<Record>> = (10..200).map(connection).collect();
            records.push(object(1, &data));
            store.offer(&records);
            let status = finish(store).await;
            assert!(status.losses.is_empty(), "{protocol:?}: {status:?}");
            let lines = receiver.said();
            assert!(lines.iter().all(|line| line["answer"] == "OK"), "{protocol:?}");
            let objects: Vec<Value> =
                taken(&lines).into_iter().filter(|record| find(record, "artifact.data").is_some()).collect();
            assert!(whole(&objects) == data, "{protocol:?}");
            assert_eq!(bodies(&lines).len() - objects.len(), 190);
            // No more chunks than needed.
            assert!(objects.len() <= data.len() * 6 / 60_000 + 2, "{}", objects.len());
        }
    }
}

#[tokio::test]
async fn no_request_has_more_records_than_the_store_takes() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        receiver.plan(&json!({"max_records": 7}));
        let limits = Limits { batch_records: 7, ..Limits::default() };
        let store = start(limited(protocol, &receiver, limits));
        store.offer(&(0..100).map(connection).collect::<Vec<_>>());
        let status = finish(store).await;
        assert_eq!((status.exported_records, status.losses.is_empty()), (100, true), "{protocol:?}");
        let lines = receiver.said();
        assert!(lines.iter().all(|line| line["answer"] == "OK"), "{protocol:?}");
        assert_eq!(bodies(&lines), (0..100).map(|n| format!("record {n}")).collect::<Vec<_>>());
    }
}

/// A record with long values in every field.
fn wordy() -> Arc<Record> {
    let mut record = (*artifact(1)).clone();
    let mut origin: Origin = (*record.origin).clone();
    origin.tags = vec!["é".repeat(1000), "short".into()];
    record.origin = Arc::new(origin);
    if let RecordKind::Artifact(artifact) = &mut record.kind {
        artifact.url_full = Some(format!("https://example.com/{}", "x".repeat(5000)));
    }
    Arc::new(record)
}

#[tokio::test]
async fn values_are_cut_and_it_is_said_and_counted() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        receiver.plan(&json!({"max_value_bytes": 255}));
        let limits = Limits { attribute_value_bytes: 255, ..Limits::default() };
        let store = start(limited(protocol, &receiver, limits));
        store.offer(&[wordy(), connection(2)]);
        let status = finish(store).await;
        assert_eq!((status.exported_records, status.last_error), (2, None), "{protocol:?}");
        let cut = (5020 - 255) + (2000 - 254);
        assert_eq!((status.losses.count(Loss::AttributeLimit), status.losses.bytes(Loss::AttributeLimit)), (2, cut));
        let records = taken(&receiver.said());
        let names = json!({"arrayValue": {"values": [{"stringValue": "url.full"}, {"stringValue": "tags"}]}});
        assert_eq!(attribute(&records[0], "qtap.truncated_attributes"), &names);
        let tags = json!({"arrayValue": {"values": [{"stringValue": "é".repeat(127)}, {"stringValue": "short"}]}});
        assert_eq!(attribute(&records[0], "tags"), &tags);
        assert_eq!(attribute(&records[0], "url.full")["stringValue"].as_str().unwrap().len(), 255);
        assert_eq!(find(&records[1], "qtap.truncated_attributes"), None);
    }
}

#[tokio::test]
async fn the_least_important_attributes_are_left_out() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        receiver.plan(&json!({"max_attributes": 16}));
        let limits = Limits { record_attributes: 16, ..Limits::default() };
        let data = b"0123456789".repeat(1000);
        for (limits, record, kept) in [
            (limits, artifact(1), ["http.request.method", "url.full", "http.response.status_code"]),
            (limits, connection(1), ["connection.id", "connection.bytes_sent", "server.address"]),
            (limits, object(1, &data), ["artifact.data", "artifact.digest", "connection.id"]),
            (
                Limits { attribute_value_bytes: 4096, ..limits },
                object(1, &data),
                ["artifact.chunk", "artifact.chunks", "artifact.chunk_offset"],
            ),
        ] {
            let store = start(limited(protocol, &receiver, limits));
            store.offer(&[record]);
            let status = finish(store).await;
            assert_eq!(status.last_error, None, "{protocol:?}");
            let records = taken(&receiver.said());
            let dropped = records[0]["droppedAttributesCount"].as_u64().unwrap();
            assert_eq!(status.losses.count(Loss::AttributeLimit), dropped);
            assert!(dropped > 0 && records[0]["attributes"].as_array().unwrap().len() <= 16);
            for name in ["log.record.uid", "event.type"].iter().chain(&kept) {
                assert!(find(&records[0], name).is_some(), "{protocol:?}: {name} of {}", records[0]);
            }
        }
    }
}

/// A record too large in every part: all of it is cut, and it still arrives.
#[tokio::test]
async fn a_record_that_does_not_fit_without_its_data_is_cut_until_it_does() {
    let Some(mut receiver) = Receiver::start(&json!({})) else { return };
    for protocol in PROTOCOLS {
        receiver.plan(&json!({"max_bytes": 65_536}));
        let mut record = (*wordy()).clone();
        record.line = "\u{1}".repeat(200_000);
        if let RecordKind::Artifact(artifact) = &mut record.kind {
            artifact.url_full = Some("\u{1}".repeat(200_000));
        }
        let limits = Limits { batch_bytes: 65_536, ..Limits::default() };
        let store = start(limited(protocol, &receiver, limits));
        store.offer(&[Arc::new(record)]);
        let status = finish(store).await;
        assert_eq!((status.exported_records, status.last_error), (1, None), "{protocol:?}");
        let records = taken(&receiver.said());
        assert!(find(&records[0], "qtap.truncated_attributes").is_some());
        assert_eq!(attribute(&records[0], "log.record.uid"), &json!({"stringValue": format!("{:032x}", 1)}));
    }
}
