//! What the agent says of a connection or session once it knows more of it than the probes do: that nobody wants it.

use qtap_common::globals::option;

use crate::globals::wanted;
use crate::maps::LEFT_ALONE;

/// True when the agent has said so of `id` since this was asked last. A constant false where no stack captures nothing.
#[inline(always)]
pub fn leaves_alone(id: u64) -> bool {
    wanted!(options) & option::ADVICE != 0 && LEFT_ALONE.get_ptr(id).is_some() && LEFT_ALONE.remove(id).is_ok()
}
