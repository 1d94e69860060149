//! Messages that a body carries one after the other: of gRPC (length-prefixed), or of WebSocket (RFC 6455).

use bytes::Bytes;

use super::time::KernelTime;

/// The messages of one direction of an exchange. The sums count from the beginning of the body, however much of it is kept;
/// `kept` holds those that are told here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// How they are framed, and what only that framing has.
    pub framing: Framing,
    /// Whole messages so far; of WebSocket the data messages, each counted once however many frames it took.
    pub count: u64,
    /// Bytes of all payloads as carried: without prefixes and frame heads, compressed where they were sent so.
    pub bytes: u64,
    /// Messages among `count` that were sent compressed.
    pub compressed: u64,
    /// The messages told here, in order; those of this part only.
    pub kept: Vec<Message>,
    /// Whole messages that would have been told here and were left out at a limit, or have a hole in them.
    pub left_out: u64,
    /// True when the framing could not be followed to the end of what was carried: bytes were lost, or break the rules. What is
    /// counted came before.
    pub broken: bool,
}

/// How messages are framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// gRPC over HTTP/2: a flag and a length before each message.
    Grpc,
    /// WebSocket.
    WebSocket(WebSocket),
}

/// What a direction of a WebSocket connection counted (RFC 6455 §5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebSocket {
    /// Frames of each type.
    pub frames: Frames,
    /// The Close frame, once it was seen.
    pub close: Option<Close>,
}

/// Frames by opcode (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frames {
    /// 0x0.
    pub continuation: u64,
    /// 0x1.
    pub text: u64,
    /// 0x2.
    pub binary: u64,
    /// 0x8.
    pub close: u64,
    /// 0x9.
    pub ping: u64,
    /// 0xA.
    pub pong: u64,
}

/// What a Close frame says (RFC 6455 §5.5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Close {
    /// Status code; none when the frame was empty.
    pub code: Option<u16>,
    /// Reason; empty when none was given or it is no UTF-8.
    pub reason: String,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// When its last byte was seen.
    pub time: KernelTime,
    /// Bytes of its payload as carried.
    pub size: u64,
    /// True when it was sent compressed (permessage-deflate; the gRPC flag).
    pub compressed: bool,
    /// What it says, decompressed. For gRPC the payload as carried: what undoes its coding is named in the head.
    pub data: Bytes,
    /// True when the coding of `data` is undone already, though it was sent `compressed`.
    pub undone: bool,
    /// True when `data` is a prefix: the message went beyond a limit, or could not be decompressed to its end.
    pub truncated: bool,
}

/// Kinds of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// A gRPC message.
    Grpc,
    /// WebSocket text.
    Text,
    /// WebSocket binary data.
    Binary,
}

impl Messages {
    /// None seen yet.
    #[must_use]
    pub fn new(framing: Framing) -> Messages {
        Messages { framing, count: 0, bytes: 0, compressed: 0, kept: Vec::new(), left_out: 0, broken: false }
    }
}
