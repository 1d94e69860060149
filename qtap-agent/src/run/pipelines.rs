//! The pipelines of one run: one per config that has open connections. In: observations, and sometimes the config that applies from then
//! on. Out: records. A connection uses one pipeline from its first exchange to its last, so that nothing of it is duplicated or
//! dropped between two; where its objects go is decided by the latest config.

use std::sync::Arc;

use super::passes::Passes;
use super::route::Route;
use crate::model::eras::{ERAS, Eras};
use crate::model::loss::Tally;
use crate::model::observation::Observation;
use crate::model::record::Record;
use crate::model::time::KernelTime;
use crate::pipeline::settings::Settings;
use crate::pipeline::spool::Folder;
use crate::pipeline::{Later, Pipeline, RedactionKey};

/// The pipelines, and the destination of their records.
pub(super) struct Pipelines {
    eras: Eras<Pipeline>,
    /// One key for the whole run: hashes can be compared across configs.
    key: RedactionKey,
    pub(super) route: Arc<Route>,
    /// How often their rules matched.
    pub(super) passed: Passes,
}

/// What applies from now on.
pub(super) struct Next {
    /// For connections opened after `since`; `None`: the pipeline's settings have not changed.
    pub(super) pipeline: Option<Settings>,
    pub(super) spool: Option<Folder>,
    pub(super) since: KernelTime,
    pub(super) route: Arc<Route>,
}

impl Pipelines {
    pub(super) fn new(settings: Settings, spool: Option<&Folder>, key: RedactionKey, route: Arc<Route>) -> Pipelines {
        let passed = Passes::default();
        let first = pipeline(settings, spool, &key, &passed);
        Pipelines { eras: Eras::new(first), key, route, passed }
    }

    /// Switches to the next config.
    pub(super) fn begin(&mut self, next: Next) {
        self.route = next.route;
        if let Some(settings) = next.pipeline
            && self.eras.begin(next.since, pipeline(settings, next.spool.as_ref(), &self.key, &self.passed))
        {
            tracing::warn!(
                bound = ERAS,
                "connections of so many configs are open that those of the oldest go over to the next"
            );
        }
        self.eras.all_mut().for_each(|pipeline| pipeline.locate(Arc::clone(&self.route.locators)));
    }

    /// The pipeline that began at `since` has no open connection left.
    pub(super) fn end(&mut self, since: KernelTime) {
        self.eras.end(since);
    }

    /// True if the HTTP metrics count the observation.
    pub(super) fn counts(&self, observation: &Observation) -> bool {
        self.eras.of(opened(observation)).counts(observation)
    }

    pub(super) fn apply_or_defer(&mut self, observation: Observation, out: &mut Vec<Record>) -> Option<Later> {
        self.eras.of_mut(opened(&observation)).apply_or_defer(observation, out)
    }

    /// Lines since the last call, those of older configs first.
    pub(super) fn take_lines(&mut self) -> String {
        self.eras.all_mut().map(Pipeline::take_lines).collect()
    }

    /// Losses since the last call.
    pub(super) fn take_lost(&mut self) -> Tally {
        let mut lost = Tally::default();
        self.eras.all_mut().for_each(|pipeline| lost.merge(&pipeline.take_lost()));
        lost
    }
}

/// When the connection of an observation was opened.
fn opened(observation: &Observation) -> KernelTime {
    match observation {
        Observation::Connection(seen) => seen.conn.opened,
        Observation::Exchange(seen) => seen.conn.opened,
    }
}

fn pipeline(settings: Settings, spool: Option<&Folder>, key: &RedactionKey, passed: &Passes) -> Pipeline {
    let made = Pipeline::new(settings, key);
    passed.add(made.passed());
    match spool {
        Some(folder) => made.spooling(folder.clone()),
        None => made,
    }
}
