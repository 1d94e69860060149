//! Messages that a body carries one after another: gRPC (length-prefixed) or WebSocket (RFC 6455).

use bytes::Bytes;

use super::time::KernelTime;

/// The messages of one direction of an exchange. The totals count from the beginning of the body, however much of it is kept;
/// `kept` holds those that are reported here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// The framing, with the counts specific to it.
    pub framing: Framing,
    /// Complete messages so far. For WebSocket: data messages, each counted once however many frames it took.
    pub count: u64,
    /// Bytes of all payloads as carried: without prefixes and frame headers, and compressed if they were sent compressed.
    pub bytes: u64,
    /// Messages among `count` that were sent compressed.
    pub compressed: u64,
    /// The messages reported here, in order: those of this part only.
    pub kept: Vec<Message>,
    /// Complete messages that belong here but were left out at a limit, or have a hole in them.
    pub left_out: u64,
    /// True when the framing could not be followed to the end of what was carried, because bytes were lost or violate the protocol. The counts
    /// cover what came before.
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

/// Counts of one direction of a WebSocket connection (RFC 6455 §5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebSocket {
    /// Frames by type.
    pub frames: Frames,
    /// The Close frame, once seen.
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

/// The content of a Close frame (RFC 6455 §5.5.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Close {
    /// Status code; none when the frame was empty.
    pub code: Option<u16>,
    /// Reason; empty when none was given or it is not UTF-8.
    pub reason: String,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub kind: MessageKind,
    /// When its last byte was seen.
    pub time: KernelTime,
    /// Bytes of its payload as carried.
    pub size: u64,
    /// True when it was sent compressed (permessage-deflate; the gRPC flag).
    pub compressed: bool,
    /// Its content, decompressed. For gRPC the payload as carried: the HTTP head names its coding.
    pub data: Bytes,
    /// True when `data` is already decoded although the message was sent `compressed`.
    pub undone: bool,
    /// True when `data` is a prefix: the message exceeded a limit, or could not be decompressed to its end.
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
