//! What happens to each store when another config applies. In: the stores of both configs, and the slots of the first. Out: the slots of
//! the second, and which stores are added, changed and removed. If a store can't be started there is no plan.

use std::sync::Arc;

use crate::export::settings::StoreSettings;
use crate::export::store::Store;
use crate::run::slot::Slot;

/// The slots of the next config.
pub(super) struct Plan {
    /// All, in the order of the config.
    pub(super) slots: Vec<Arc<Slot>>,
    /// Slots whose stores have changed settings, with the settings before and after.
    pub(super) changed: Vec<(Arc<Slot>, StoreSettings, StoreSettings)>,
    /// New slots, with running stores.
    pub(super) added: Vec<Arc<Slot>>,
    /// Slots of the previous config that are removed.
    pub(super) gone: Vec<Arc<Slot>>,
}

/// Starts a store; `true`: only to check that it can be started, without its queue.
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
        // First the checks that change nothing if they fail.
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
