//! HTTP/2. In: a script; unless it is of a channel joined late, the client's preface is sent before it. Out: nothing, or the promise that was
//! broken.

use qtap_agent::model::conn::Direction;

use super::channel::Step;
use super::{Gauge, script};

/// What a client sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Plays the script that `data` stands for.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    let late = data.first().is_some_and(|flags| flags & 1 != 0);
    let before = if late { Vec::new() } else { vec![Step::Bytes(Direction::Sent, PREFACE.to_vec())] };
    script::read(data, before).check(gauge);
}
