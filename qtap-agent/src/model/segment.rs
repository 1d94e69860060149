//! Bytes of one direction in order, and the holes where they should be.

use bytes::Bytes;

use super::conn::Direction;
use super::loss::Loss;
use super::time::KernelTime;

/// Bytes of one direction, in order, without a hole before them that was not told as a [`Gap`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Which way they went.
    pub direction: Direction,
    /// Offset of the first byte in the direction's stream, from where the probes began to look.
    pub offset: u64,
    /// When the call that carried them ended.
    pub time: KernelTime,
    /// The process that made the call (thread-group id).
    pub pid: u32,
    /// The bytes.
    pub payload: Bytes,
}

/// Bytes that were carried but are not here and will not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Which way they went.
    pub direction: Direction,
    /// Offset of the first missing byte.
    pub offset: u64,
    /// How many; never 0.
    pub len: u64,
    /// Why.
    pub reason: Loss,
    /// When it was known.
    pub time: KernelTime,
}
