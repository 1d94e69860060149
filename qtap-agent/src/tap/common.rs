//! State shared by all connections and sessions of the tap.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::counters::Counters;
use super::deadlines::Deadlines;
use super::greetings::Greetings;
use super::memory::Memory;
use super::names::Names;
use super::processes::Processes;
use crate::http::{self, Sink};
use crate::model::conn::Channel;
use crate::model::eras::Eras;
use crate::model::event::Host;
use crate::model::loss::Tally;

/// How many ended channels are remembered, so that late events are not taken for a new channel.
const ENDED_CHANNELS: usize = 16_384;

/// The shared state.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Settings of the parsers, by the time at which a connection or session was opened.
    pub(super) http: Eras<Arc<http::Settings>>,
    pub(super) host: Arc<Host>,
    pub(super) processes: Processes,
    pub(super) deadlines: Deadlines,
    pub(super) counters: Counters,
    pub(super) losses: Tally,
    /// Output of the parsers; empty between events.
    pub(super) sink: Sink,
    pub(super) ended: Ended,
    pub(super) memory: Memory,
    /// Hellos that passed on sockets.
    pub(super) greetings: Greetings,
    /// Names from the answers of name servers.
    pub(super) names: Names,
    pub(super) reads_dns: bool,
    pub(super) audit_dns: bool,
    /// True if a stack captures nothing.
    pub(super) leaves_some_alone: bool,
    /// Channels that nobody wants, not yet reported to the source.
    pub(super) unwanted: Vec<Channel>,
}

/// The channels that ended last.
#[derive(Debug, Default)]
pub(super) struct Ended {
    order: VecDeque<Channel>,
    known: HashSet<Channel>,
}

impl Ended {
    pub(super) fn add(&mut self, channel: Channel) {
        if self.known.insert(channel) {
            self.order.push_back(channel);
        }
        if self.order.len() > ENDED_CHANNELS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The channel is used again. False: it is not known to have ended.
    pub(super) fn remove(&mut self, channel: Channel) -> bool {
        self.known.remove(&channel)
    }

    pub(super) fn contains(&self, channel: Channel) -> bool {
        self.known.contains(&channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conn::ConnId;

    #[test]
    fn only_the_last_are_remembered() {
        let mut ended = Ended::default();
        for number in 0..=ENDED_CHANNELS as u64 {
            ended.add(Channel::Socket(ConnId(number)));
            ended.add(Channel::Socket(ConnId(number)));
        }
        assert!(!ended.contains(Channel::Socket(ConnId(0))));
        assert!(ended.contains(Channel::Socket(ConnId(1))));
        assert!(ended.contains(Channel::Socket(ConnId(ENDED_CHANNELS as u64))));
    }
}
