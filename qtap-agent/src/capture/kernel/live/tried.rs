//! What was tried at the start, for who asks how the host is. In: live capture. Out: what became of probes on functions.

use super::Live;
use crate::capture::host::{Returns, Tried};
use crate::capture::kernel::tls::Tls;

impl Live {
    /// Whether functions can be probed, and what a return probe does; not tried where TLS is not looked into.
    #[must_use]
    pub fn tried(&self) -> (Tried, Returns) {
        self.tls.as_ref().map(Tls::tried).unwrap_or_default()
    }
}
