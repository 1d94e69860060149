//! Which stack: what was seen of a connection, its process and a request → the steps of its stack. The table is the one that the tap asks, so that
//! what was read with one stack in mind goes through no other.

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

/// All stacks, made ready.
#[derive(Debug)]
pub(super) struct Router {
    stacks: Vec<Steps>,
    routes: Routes,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) id: StackId,
    pub(super) steps: &'a Steps,
}

impl Router {
    pub(super) fn new(settings: &Settings, key: &RedactionKey) -> Router {
        Router { stacks: settings.stacks().map(|stack| Steps::new(stack, key)).collect(), routes: settings.routes() }
    }

    /// The stack of an exchange; none: it leaves no record.
    pub(super) fn of_exchange(&self, seen: &ExchangeSeen) -> Option<StackId> {
        let Exchange::Http(http) = &seen.exchange;
        let authority = http.request.as_ref().and_then(|request| request.authority.as_deref());
        self.routes.stack_of(&Facts::of(&seen.conn, seen.process.as_deref(), authority))
    }

    /// The steps of a stack.
    pub(super) fn steps(&mut self, id: StackId) -> Option<&mut Steps> {
        self.stacks.get_mut(id.0)
    }

    /// True when the exchanges of a stack are to be counted.
    pub(super) fn counts(&self, id: StackId) -> bool {
        self.stacks.get(id.0).is_some_and(Steps::counts)
    }

    /// The stack by which a connection is redacted: its own, else the one for all, else the first. That it has none says that nothing is
    /// captured of it, not that what is told anyway may be seen.
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

    /// How often each rule was the first to pass.
    pub(super) fn passed(&self) -> Vec<Arc<[Passed]>> {
        self.stacks.iter().flat_map(Steps::passed).collect()
    }

    fn get(&self, id: StackId) -> Option<Chosen<'_>> {
        Some(Chosen { id, steps: self.stacks.get(id.0)? })
    }
}
