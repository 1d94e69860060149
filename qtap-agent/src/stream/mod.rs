//! From bytes as the probes saw them to bytes in order.
//!
//! Comes in: pieces of one direction of one channel, with their offsets, and the ranges that were not copied. Goes out:
//! [`Segment`](crate::model::segment::Segment)s in order and the [`Gap`](crate::model::segment::Gap)s between them; and
//! what TLS says in the clear at the start of a connection. Nothing here knows a protocol above TLS, or asks for the time.

pub mod hello;
pub mod reassembly;
