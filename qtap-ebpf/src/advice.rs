//! The agent's advice on a connection or session, once it knows more about it than the probes do: that no stack wants it.

use qtap_common::globals::option;

use crate::globals::wanted;
use crate::maps::LEFT_ALONE;

/// True when the agent has given this advice on `id` since the last call. A constant false if every stack captures something.
#[inline(always)]
pub fn leaves_alone(id: u64) -> bool {
    wanted!(options) & option::ADVICE != 0 && LEFT_ALONE.get_ptr(id).is_some() && LEFT_ALONE.remove(id).is_ok()
}
