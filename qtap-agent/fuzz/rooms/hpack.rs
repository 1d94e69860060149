//! Header blocks. In: blocks, each of which becomes a request's HEADERS frame. Out: nothing, or the promise that was broken: what another decoder
//! (the `h2` crate's) reads of a block, up to the first that it refuses, qtap reads too, field by field.
//!
//! ```text
//! script = flags block*    flags: 1 the table may grow to 64 KiB · 2 small limits, nothing compared
//! block  = len:u8 bytes    255: as long as the next two bytes say
//! ```

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;
use h2::frame::{Frame, Headers};
use qtap_agent::http::Settings;
use qtap_agent::model::conn::Direction;
use qtap_agent::model::exchange::HttpExchange;
use qtap_agent::model::message::Request;

use super::Gauge;
use super::channel::{Script, Step};
use super::h2::PREFACE;
use super::script::{Input, small};

/// `:method: GET`, `:path: /`, `:scheme: http`: what makes a request of any block.
const REQUEST: [u8; 3] = [0x82, 0x84, 0x86];

/// Length of an integer with a five-bit prefix at the front (RFC 7541 §5.1).
fn update_len(block: &[u8]) -> usize {
    match block.first() {
        Some(first) if first & 0x1f == 0x1f => {
            let more = block[1..].iter().take_while(|octet| **octet & 0x80 != 0).count();
            (2 + more).min(block.len())
        }
        _ => 1,
    }
}

/// The block as a request's: table size updates stay at its front (RFC 7541 §4.2).
fn as_request(block: &[u8]) -> Vec<u8> {
    let mut at = 0;
    while block.get(at).is_some_and(|octet| octet & 0xe0 == 0x20) {
        at += update_len(&block[at..]);
    }
    [&block[..at], &REQUEST, &block[at..]].concat()
}

/// A frame; of a length that the other decoder takes.
fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    let mut bytes = (block.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([1, 5]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(block);
    bytes
}

/// What the other decoder reads, up to what it refuses.
fn read_by_other(wire: Vec<u8>, table: usize) -> Vec<Headers> {
    let mut codec = pin!(h2::Codec::<_, Bytes>::new(std::io::Cursor::new(wire)));
    codec.set_max_recv_header_list_size(1 << 26);
    codec.set_recv_header_table_size(table);
    let mut context = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    while let Poll::Ready(Some(Ok(Frame::Headers(read)))) = codec.as_mut().poll_next(&mut context) {
        all.push(read);
    }
    all
}

fn compare(request: &Request, other: Headers) {
    let (pseudo, fields) = other.into_parts();
    assert_eq!(request.method.as_deref(), pseudo.method.as_ref().map(http::Method::as_str));
    assert_eq!(request.target.as_deref(), pseudo.path.as_deref());
    let known = |field: &qtap_agent::model::message::Field| {
        let text = |text: &qtap_agent::model::message::FieldText| text.bytes().expect("nothing is unknown").clone();
        (text(&field.name), text(&field.value))
    };
    let ours: Vec<_> = request.fields.0.iter().map(known).collect();
    assert_eq!(ours.len(), fields.len(), "{ours:?} {fields:?}");
    for name in fields.keys() {
        let theirs: Vec<_> =
            fields.get_all(name).iter().map(|value| Bytes::copy_from_slice(value.as_bytes())).collect();
        let ours: Vec<_> =
            ours.iter().filter(|(own, _)| own == name.as_str()).map(|(_, value)| value.clone()).collect();
        assert_eq!(ours, theirs, "{name}");
    }
}

/// Reads the blocks with both.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    let mut input = Input(data);
    let flags = input.u8().unwrap_or(0);
    let settings = if flags & 2 != 0 { small() } else { Settings { head_limit: 16 << 20, ..Settings::default() } };
    let (mut wire, mut stream) = (Vec::new(), 1);
    while let Some(len) = input.u8() {
        let len = if len == 255 { input.number::<2>().min(16_000) as usize } else { usize::from(len) };
        wire.extend(headers(stream, &as_request(input.bytes(len))));
        stream += 2;
    }
    let steps = vec![Step::Bytes(Direction::Sent, [PREFACE, &wire].concat())];
    let script = Script { steps, joined_late: false, still_open: false, settings: Arc::new(settings) };
    if flags & 2 != 0 {
        return script.check(gauge);
    }
    let mut ours: Vec<HttpExchange> = Vec::new();
    script.play(usize::MAX, &|| 0, &mut |exchange| ours.push(exchange));
    ours.sort_by_key(|exchange| exchange.ordinal);
    let theirs = read_by_other(wire, if flags & 1 != 0 { 65_536 } else { 4096 });
    assert!(ours.len() >= theirs.len());
    for (own, other) in ours.iter().zip(theirs) {
        compare(own.request.as_ref().expect("a request"), other);
    }
}
