//! What was tried at the start, for the host checks. In: live capture. Out: whether functions can be probed.

use super::Live;
use crate::capture::host::{Returns, Tried};
use crate::capture::kernel::tls::Tls;

impl Live {
    /// Whether functions can be probed, and what a return probe does; not tried if TLS is not probed.
    #[must_use]
    pub fn tried(&self) -> (Tried, Returns) {
        self.tls.as_ref().map(Tls::tried).unwrap_or_default()
    }
}
