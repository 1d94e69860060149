//! Writes WebSocket messages as frames (RFC 6455 §5.2): unmasked, uncompressed, one frame per message. A truncated message has no
//! FIN bit, because more was to follow.

use crate::model::messages::{Close, Framing, Message, MessageKind, Messages};

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
/// Maximum length of a close reason: a control frame holds 125 bytes, two of them the status code (§5.5).
const REASON: usize = 123;

/// Appends the kept messages of a WebSocket direction and its Close frame; does nothing for any other framing, whose bytes are in
/// the body.
pub(super) fn write(out: &mut Vec<u8>, messages: &Messages) {
    let Framing::WebSocket(websocket) = &messages.framing else { return };
    messages.kept.iter().for_each(|message| data(out, message));
    if let Some(close) = &websocket.close {
        self::close(out, close);
    }
}

fn data(out: &mut Vec<u8>, message: &Message) {
    let opcode = match message.kind {
        MessageKind::Text => TEXT,
        MessageKind::Binary | MessageKind::Grpc => BINARY,
    };
    let fin = if message.truncated { 0 } else { FIN };
    frame(out, fin | opcode, &message.data);
}

fn close(out: &mut Vec<u8>, close: &Close) {
    let mut payload = Vec::new();
    if let Some(code) = close.code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(close.reason.as_bytes().get(..REASON).unwrap_or(close.reason.as_bytes()));
    }
    frame(out, FIN | CLOSE, &payload);
}

fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::messages::WebSocket;
    use crate::model::time::KernelTime;

    fn message(kind: MessageKind, data: &[u8], truncated: bool) -> Message {
        let data = bytes::Bytes::copy_from_slice(data);
        Message {
            kind,
            time: KernelTime(0),
            size: data.len() as u64,
            compressed: false,
            undone: false,
            data,
            truncated,
        }
    }

    /// The examples of RFC 6455 §5.7: "Hello" unmasked, 256 bytes and 64 KiB of binary data; and a Close frame (§5.5.1).
    #[test]
    fn frames_are_those_of_rfc_6455() {
        let mut out = Vec::new();
        data(&mut out, &message(MessageKind::Text, b"Hello", false));
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        for (len, head) in [(256, &[0x82, 0x7e, 0x01, 0x00][..]), (65_536, &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0])] {
            out.clear();
            data(&mut out, &message(MessageKind::Binary, &vec![7; len], false));
            assert!(out.starts_with(head) && out.len() == head.len() + len);
        }
        out.clear();
        data(&mut out, &message(MessageKind::Text, b"Hel", true));
        assert_eq!(out, [0x01, 0x03, 0x48, 0x65, 0x6c], "more was to come");
        out.clear();
        let close = Some(Close { code: Some(1000), reason: "bye".to_owned() });
        write(&mut out, &Messages::new(Framing::WebSocket(WebSocket { close, ..WebSocket::default() })));
        assert_eq!(out, [0x88, 0x05, 0x03, 0xe8, b'b', b'y', b'e']);
        out.clear();
        write(&mut out, &Messages::new(Framing::Grpc));
        assert!(out.is_empty());
    }
}
