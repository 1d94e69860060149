//! What becomes of each store when another config holds. In: the stores of both, and the places of the first. Out: the places of the
//! second, and which stores come, change and go. Whatever can't be started makes no plan.

use std::sync::Arc;

use crate::export::settings::StoreSettings;
use crate::export::store::Store;
use crate::run::slot::Slot;

/// The places of the next config.
pub(super) struct Plan {
    /// All, in the order of the config.
    pub(super) slots: Vec<Arc<Slot>>,
    /// Those whose stores have other settings, before and after.
    pub(super) changed: Vec<(Arc<Slot>, StoreSettings, StoreSettings)>,
    /// New ones, their stores at work.
    pub(super) added: Vec<Arc<Slot>>,
    /// Those of the config before that are no more.
    pub(super) gone: Vec<Arc<Slot>>,
}

/// Starts a store; true: only to see that it can be, without its queue.
type Start<'a> = &'a dyn Fn((&StoreSettings, bool)) -> anyhow::Result<Store>;

impl Plan {
    pub(super) fn make(
        before: &[StoreSettings],
        slots: &[Arc<Slot>],
        after: &[StoreSettings],
        start: Start<'_>,
    ) -> anyhow::Result<Plan> {
        let old = |id: &str| {
            let settings = before.iter().find(|store| store.id == id)?;
            Some((settings, slots.iter().find(|slot| slot.id() == id)?))
        };
        // First what changes nothing when it fails.
        for store in after {
            if old(&store.id).is_some_and(|(settings, _)| settings != store) {
                drop(start((store, true))?);
            }
        }
        let mut plan = Plan { slots: Vec::new(), changed: Vec::new(), added: Vec::new(), gone: Vec::new() };
        for store in after {
            let slot = match old(&store.id) {
                Some((settings, slot)) if settings == store => Arc::clone(slot),
                Some((settings, slot)) => {
                    plan.changed.push((Arc::clone(slot), settings.clone(), store.clone()));
                    Arc::clone(slot)
                }
                None => {
                    let slot = Arc::new(Slot::new(start((store, false))?));
                    plan.added.push(Arc::clone(&slot));
                    slot
                }
            };
            plan.slots.push(slot);
        }
        let ends = |slot: &&Arc<Slot>| !after.iter().any(|store| store.id == slot.id());
        plan.gone = slots.iter().filter(ends).cloned().collect();
        Ok(plan)
    }
}
