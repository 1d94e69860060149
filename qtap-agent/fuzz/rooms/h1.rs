//! HTTP/1, and what decides that it is. In: a script. Out: nothing, or the promise that was broken.

use super::{Gauge, script};

/// Plays the script that `data` stands for.
pub(crate) fn run(data: &[u8], gauge: Gauge<'_>) {
    script::read(data, Vec::new()).check(gauge);
}
