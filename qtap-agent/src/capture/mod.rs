//! Where events come from.

pub mod recording;
