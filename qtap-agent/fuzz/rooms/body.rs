//! Content codings, and the artifacts that are made of bodies. In: codings and a body. Out: nothing, or the promise that was broken: whatever a
//! body holds, records are made of it, no artifact is larger than the bound on expansion allows, and no more memory is used.
//!
//! ```text
//! script = flags codings body    flags: 1 the body is a prefix · 2 a range of it is missing · 4 it is the request's, too
//!                                · the bits above choose a content type
//! codings: two numbers of four bits: 0 none
//! ```

use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::config::Settings;
use qtap_agent::model::conn::{ConnFacts, ConnectionUid, Direction, Endpoint, Protocol, Role, Transport};
use qtap_agent::model::event::Host;
use qtap_agent::model::exchange::{Exchange, HttpExchange};
use qtap_agent::model::message::Body;
use qtap_agent::model::observation::{ExchangeSeen, Observation};
use qtap_agent::model::record::RecordKind;
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::settings::Level;
use qtap_agent::pipeline::{Pipeline, RedactionKey};

use super::Gauge;
use super::channel::{Script, Step};
use super::script::Input;

const CODINGS: [&str; 8] = ["gzip", "deflate", "br", "zstd", "x-gzip", "identity", "compress", "GZIP"];
const TYPES: [&str; 8] = [
    "application/json",
    "text/plain; charset=iso-8859-1",
    "application/x-www-form-urlencoded",
    "text/event-stream",
    "image/png",
    "application/grpc",
    "text/html; charset=utf-16",
    "multipart/form-data; boundary=x",
];

/// What a body is decoded to at most, times what its bytes cost as escaped JSON, and room for the rest.
const ARTIFACT: usize = (16 << 20) * 6 + (1 << 20);
/// Several copies of it may be there while it is made.
const MEMORY: usize = 5 * ARTIFACT;

/// An exchange with these response fields; its bodies are put in afterwards.
fn exchange(fields: &str) -> HttpExchange {
    let request = b"POST / HTTP/1.1\r\n".iter().chain(fields.as_bytes()).chain(b"\r\n");
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".iter().chain(fields.as_bytes()).chain(b"\r\n");
    let steps = vec![
        Step::Bytes(Direction::Sent, request.copied().collect()),
        Step::Bytes(Direction::Received, response.copied().collect()),
    ];
    let script = Script { steps, joined_late: false, still_open: false, settings: Arc::default() };
    let mut all = Vec::new();
    script.play(usize::MAX, &|| 0, &mut |exchange| all.push(exchange));
    all.pop().expect("one exchange")
}

fn seen(http: HttpExchange) -> Observation {
    let conn = ConnFacts {
        uid: ConnectionUid([0; 16]),
        opened: KernelTime(0),
        pid: 1,
        transport: Transport::Tcp,
        local: Endpoint::Unknown,
        peer: Endpoint::Unknown,
        role: Role::Client,
        tls: None,
        protocol: Protocol::Http1,
        binding: None,
        joined_late: false,
        domain: None,
    };
    Observation::Exchange(Box::new(ExchangeSeen {
        host: Arc::new(Host::default()),
        conn: Arc::new(conn),
        process: None,
        number: 0,
        exchange: Exchange::Http(Box::new(http)),
        observed: KernelTime(5),
    }))
}

/// Makes records of the exchange that `data` stands for.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    let mut input = Input(data);
    let (flags, codings) = (input.u8().unwrap_or(0), input.u8().unwrap_or(0));
    let named = [codings & 15, codings >> 4].into_iter().filter(|number| *number > 0);
    let named: Vec<_> = named.map(|number| CODINGS[usize::from(number) % CODINGS.len()]).collect();
    let content_type = TYPES[usize::from(flags >> 3) % TYPES.len()];
    let mut fields = format!("Content-Type: {content_type}\r\n");
    if !named.is_empty() {
        fields += &format!("Content-Encoding: {}\r\n", named.join(", "));
    }
    let carried = Bytes::copy_from_slice(input.0);
    let size = carried.len() as u64;
    let mut body = Body { chunks: vec![carried], size, truncated: flags & 1 != 0, ..Body::default() };
    if flags & 2 != 0 {
        body.missing = std::iter::once(size / 2..size / 2 + 10).collect();
        body.size += 10;
    }
    let mut http = exchange(&fields);
    http.request.as_mut().unwrap().body = if flags & 4 != 0 { body.clone() } else { Body::default() };
    http.response.as_mut().unwrap().body = body.clone();
    let base = gauge();
    let mut pipeline = Pipeline::new(Settings::built_in(Level::Full).pipeline, &RedactionKey([7; 32]));
    let mut records = Vec::new();
    pipeline.apply(seen(http), &mut records);
    assert_eq!(records.len(), 3, "an artifact record and two objects");
    for record in &records {
        if let RecordKind::Object(object) = &record.kind {
            assert!(object.data.len() <= ARTIFACT, "an artifact of {} bytes", object.data.len());
            let whole = body.is_whole() || object.artifact_type == "http_request" && flags & 4 == 0;
            assert!(whole || object.truncated || !object.missing.is_empty(), "what is missing is said");
        }
    }
    assert!(gauge().saturating_sub(base) <= MEMORY);
}
