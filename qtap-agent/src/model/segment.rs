//! Bytes of one direction in order, and the gaps between them.

use bytes::Bytes;

use super::conn::Direction;
use super::loss::Loss;
use super::time::KernelTime;

/// Bytes of one direction, in order. Any hole before them has already been reported as a [`Gap`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Which way they went.
    pub direction: Direction,
    /// Offset of the first byte in this direction's stream, counted from when the probes first saw it.
    pub offset: u64,
    /// When the call that carried them ended.
    pub time: KernelTime,
    /// The process that made the call (thread-group id).
    pub pid: u32,
    /// The bytes.
    pub payload: Bytes,
}

/// Bytes that were carried but were not captured and will not arrive.
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
    /// When the gap became known.
    pub time: KernelTime,
}
