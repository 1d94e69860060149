//! From bytes as the probes saw them to bytes in order.
//!
//! In: pieces of one direction of one channel, with their offsets, and the ranges that were not copied. Out:
//! [`Segment`](crate::model::segment::Segment)s in order and the [`Gap`](crate::model::segment::Gap)s between them; and
//! what TLS reveals in the clear at the start of a connection. Nothing here knows a protocol above TLS, or reads a clock.

pub mod hello;
pub mod reassembly;
