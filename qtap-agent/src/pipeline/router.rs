//! Chooses the stack: facts about a connection, its process and a request → the steps of its stack. The tap uses the same table, so
//! what was read for one stack never goes through another.

use std::sync::Arc;

use super::RedactionKey;
use super::choose::Passed;
use super::settings::Settings;
use super::step::Steps;
use crate::model::conn::ConnFacts;
use crate::model::exchange::Exchange;
use crate::model::observation::ExchangeSeen;
use crate::model::process::Process;
use crate::model::route::{Facts, Routes, StackId};

/// All compiled stacks.
#[derive(Debug)]
pub(super) struct Router {
    stacks: Vec<Steps>,
    routes: Routes,
}

/// A stack that was chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) id: StackId,
    pub(super) steps: &'a Steps,
}

impl Router {
    pub(super) fn new(settings: &Settings, key: &RedactionKey) -> Router {
        Router { stacks: settings.stacks().map(|stack| Steps::new(stack, key)).collect(), routes: settings.routes() }
    }

    /// The stack of an exchange; `None`: the exchange leaves no record.
    pub(super) fn of_exchange(&self, seen: &ExchangeSeen) -> Option<StackId> {
        let Exchange::Http(http) = &seen.exchange;
        let authority = http.request.as_ref().and_then(|request| request.authority.as_deref());
        self.routes.stack_of(&Facts::of(&seen.conn, seen.process.as_deref(), authority))
    }

    /// The steps of a stack.
    pub(super) fn steps(&mut self, id: StackId) -> Option<&mut Steps> {
        self.stacks.get_mut(id.0)
    }

    /// True when the exchanges of a stack are counted by the HTTP metrics.
    pub(super) fn counts(&self, id: StackId) -> bool {
        self.stacks.get(id.0).is_some_and(Steps::counts)
    }

    /// The stack that redacts a connection's record: its own, else the one for all, else the first. No stack of its own means that nothing
    /// of it is captured, not that the record may show everything.
    pub(super) fn of_connection(
        &self,
        conn: &ConnFacts,
        process: Option<&Process>,
        authority: Option<&str>,
    ) -> Option<Chosen<'_>> {
        let own = self.routes.stack_of(&Facts::of(conn, process, authority));
        let id = own.or_else(|| self.routes.stack_of(&Facts::default())).unwrap_or(StackId(0));
        self.get(id)
    }

    /// How often each rule was the first to match.
    pub(super) fn passed(&self) -> Vec<Arc<[Passed]>> {
        self.stacks.iter().flat_map(Steps::passed).collect()
    }

    fn get(&self, id: StackId) -> Option<Chosen<'_>> {
        Some(Chosen { id, steps: self.stacks.get(id.0)? })
    }
}
