//! gRPC over HTTP/2. In: a script; the heads of a call on stream 1 are said before it. Out: nothing, or the promise that was broken. Bit 16 of the script's flags:
//! the messages are WebSocket's, by an extended CONNECT (RFC 8441).

use qtap_agent::model::conn::Direction;

use super::channel::Step;
use super::h2::PREFACE;
use super::{Gauge, script};

const WEBSOCKET: u8 = 16;

fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let literal = |(name, value): &(&str, &str)| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let block: Vec<u8> = fields.iter().flat_map(literal).collect();
    [&[0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1][..], &block].concat()
}

/// Plays the script that `data` stands for.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    let call = [(":method", "POST"), (":path", "/a.B/C"), ("content-type", "application/grpc"), ("te", "trailers")];
    let answer = [(":status", "200"), ("content-type", "application/grpc")];
    let connect = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/chat")];
    let (up, down) = if data.first().is_some_and(|flags| flags & WEBSOCKET != 0) {
        (headers(&connect), headers(&answer[..1]))
    } else {
        (headers(&call), headers(&answer))
    };
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let before = vec![
        Step::Bytes(Direction::Sent, [PREFACE, &settings, &up].concat()),
        Step::Bytes(Direction::Received, [&settings[..], &down].concat()),
    ];
    script::read(data, before).check(gauge);
}
