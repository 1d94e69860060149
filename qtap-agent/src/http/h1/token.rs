//! The types passed between one direction of an HTTP/1 connection and the code that pairs its messages. Data only.

use bytes::Bytes;

use crate::http::pair::Stamp;
use crate::model::exchange::Incomplete;

/// What a direction carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// The input of a direction.
#[derive(Debug)]
pub(in crate::http) enum Input {
    /// Bytes.
    Bytes(Bytes, Stamp),
    /// A hole of this many bytes, already counted.
    Hole(u64, Stamp),
}

/// The output of a direction's tokenizer.
pub(super) enum Token {
    /// Nothing until more bytes arrive.
    More,
    /// A whole head, and when its first byte arrived. Must be answered by the lane's `begin` or `reject`.
    Head(Bytes, Stamp),
    /// The next bytes of the body.
    Piece(Bytes),
    /// The message has ended; the bytes are its trailer section, if it had one.
    End(Bytes),
    /// The message cannot be followed any further.
    Broken(Incomplete),
}

/// The effect of a hole.
pub(super) enum Hole {
    /// This many bytes of the body are missing, and the message continues.
    InBody(u64),
    /// This many bytes of the body are missing, and what follows the hole is unknown.
    Through(u64),
}
