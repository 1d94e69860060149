//! What the fuzz targets drive, and what `tests/corpora.rs` replays: each room that reads hostile bytes behind one function. In: the
//! bytes of a fuzzer, and a gauge that says how much memory is in use. Out: nothing; a promise that does not hold is a panic.
#![allow(dead_code, reason = "each target uses one of them")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what cannot be is what is looked for")]

pub(crate) mod body;
pub(crate) mod channel;
pub(crate) mod decode;
pub(crate) mod dns;
pub(crate) mod grpc;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod hpack;
pub(crate) mod reassembly;
pub(crate) mod redact;
pub(crate) mod rule;
pub(crate) mod script;
pub(crate) mod websocket;

/// Bytes of memory in use; always the same where nobody measures.
pub(crate) type Gauge<'a> = &'a dyn Fn() -> usize;
