//! The words between a direction of an HTTP/1 connection and what pairs its messages. Data only.

use bytes::Bytes;

use crate::http::pair::Stamp;
use crate::model::exchange::Incomplete;

/// What a direction carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

/// What comes into a direction.
#[derive(Debug)]
pub(in crate::http) enum Input {
    /// Bytes.
    Bytes(Bytes, Stamp),
    /// A hole of so many bytes, already counted.
    Hole(u64, Stamp),
}

/// What is found in it.
pub(super) enum Token {
    /// Nothing more until more bytes come.
    More,
    /// A head, whole, and when its first byte came. To be answered by the lane's `begin` or `reject`.
    Head(Bytes, Stamp),
    /// The next bytes of the body.
    Piece(Bytes),
    /// The message is whole; its trailer section, where it had one.
    End(Bytes),
    /// The message can't be followed any further.
    Broken(Incomplete),
}

/// What a hole means.
pub(super) enum Hole {
    /// So many bytes of the body are missing, and the message goes on.
    InBody(u64),
    /// So many bytes of the body are missing, and what comes after the hole is not known.
    Through(u64),
}
