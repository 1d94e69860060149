//! Counters of the tap, for the metrics.

use super::pair::Pair;
use crate::http::Sink;
use crate::model::event::Event;

/// Names of the kinds of [`Event`] (`qtap_events_total{kind}`), in the order of its variants.
const KINDS: [&str; 18] = [
    "started",
    "process_seen",
    "process_gone",
    "opened",
    "passed",
    "skipped",
    "progress",
    "closed",
    "session_opened",
    "bound",
    "session_closed",
    "lost",
    "tick",
    "datagram",
    "container_seen",
    "session_hello",
    "session_joined",
    "kernel_tls",
];

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    events: [u64; KINDS.len()],
    /// Connections seen (`qtap_connections_opened_total`).
    pub connections_opened: u64,
    /// Connections that ended (`qtap_connections_closed_total`).
    pub connections_closed: u64,
    /// Bytes on sockets (`qtap_connection_bytes_total{direction}`).
    pub bytes: Pair<u64>,
    /// Bytes that were not copied because nobody wanted their connection (`qtap_kernel_unwanted_bytes_total`).
    pub unwanted_bytes: u64,
    /// Exchanges reported.
    pub exchanges: u64,
    /// Bytes of bodies that were parsed and not kept, because nobody wants them.
    pub body_bytes_unwanted: u64,
}

impl Counters {
    /// Counts an event.
    pub(super) fn event(&mut self, event: &Event) {
        let kind = match event {
            Event::Started(_) => 0,
            Event::ProcessSeen(_) => 1,
            Event::ProcessGone { .. } => 2,
            Event::Opened(_) => 3,
            Event::Passed(_) => 4,
            Event::Skipped(_) => 5,
            Event::Progress(_) => 6,
            Event::Closed(_) => 7,
            Event::SessionOpened(_) => 8,
            Event::Bound { .. } => 9,
            Event::SessionClosed(_) => 10,
            Event::Lost { .. } => 11,
            Event::Tick(_) => 12,
            Event::Datagram(_) => 13,
            Event::ContainerSeen(_) => 14,
            Event::SessionHello(_) => 15,
            Event::SessionJoined(_) => 16,
            Event::KernelTls(_) => 17,
        };
        self.events[kind] += 1;
    }

    /// Moves the count of unwanted body bytes out of the sink.
    pub(super) fn unwanted(&mut self, sink: &mut Sink) {
        self.body_bytes_unwanted += std::mem::take(&mut sink.unwanted);
    }

    /// Events by the name of their kind.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        KINDS.into_iter().zip(self.events)
    }

    /// Open connections (`qtap_connections_active`).
    #[must_use]
    pub fn connections_active(&self) -> u64 {
        self.connections_opened.saturating_sub(self.connections_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::KernelTime;

    #[test]
    fn events_are_counted_by_kind() {
        let mut counters = Counters::default();
        counters.event(&Event::Tick(KernelTime(1)));
        counters.event(&Event::Tick(KernelTime(2)));
        counters.event(&Event::ProcessGone { pid: 1, time: KernelTime(3) });
        let seen: Vec<_> = counters.events().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [("process_gone", 1), ("tick", 2)]);
    }
}
