//! WebSocket (RFC 6455), with and without permessage-deflate (RFC 7692). In: a script; an upgrade that was accepted is said before it. Out: nothing, or the
//! promise that was broken. Bit 16 of the script's flags: messages may be compressed.

use qtap_agent::model::conn::Direction;

use super::channel::Step;
use super::{Gauge, script};

const COMPRESSED: u8 = 16;

/// Plays the script that `data` stands for.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    let compressed = data.first().is_some_and(|flags| flags & COMPRESSED != 0);
    let extension = if compressed { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
    let ask = format!(
        "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \
         dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extension}\r\n"
    );
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extension}\r\n"
    );
    let before = vec![Step::Bytes(Direction::Sent, ask.into()), Step::Bytes(Direction::Received, answer.into())];
    script::read(data, before).check(gauge);
}
