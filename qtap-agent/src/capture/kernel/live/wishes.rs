//! What may change while the probes run: what is wanted, and what is shed. In: both. Out: the one table entry that the probes read.

use super::Live;
use crate::capture::kernel::{KernelError, Wishes};
use crate::model::shed::Shed;

impl Live {
    /// From now on this is wanted, of connections opened from now on.
    ///
    /// # Errors
    /// [`KernelError::Map`] when it can't be written.
    pub fn wish(&mut self, wishes: Wishes) -> Result<(), KernelError> {
        self.wishes = wishes;
        Ok(self.tables.wishes.set(0, wishes.told(self.shed), 0)?)
    }

    /// From now on this is shed.
    pub fn shed(&mut self, shed: Shed) {
        self.shed = shed;
        if let Err(error) = self.wish(self.wishes) {
            tracing::error!(%error, "the probes can't be told what to give up");
        }
    }
}
