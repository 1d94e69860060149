//! State that the threads publish: written by those who do the work, read for status or metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::loss::Tally;
use crate::tap::Counters;

/// What the tap's thread publishes at every tick.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Counters of the tap.
    pub(super) counters: Counters,
    /// Losses from the source to the pipeline, without those of the stores.
    pub(super) losses: Tally,
    /// What was left out because it is qtap's own exports.
    #[cfg(feature = "kernel")]
    pub(super) feedback: crate::admin::view::FeedbackView,
    /// What the agent may use, and what it gives up.
    #[cfg(feature = "kernel")]
    pub(super) limits: crate::admin::view::LimitsView,
    /// Numbers of the libraries whose functions were found by their code and confirmed by a connection.
    #[cfg(feature = "kernel")]
    pub(super) confirmed: std::collections::BTreeSet<u32>,
    /// TLS traffic of processes.
    #[cfg(feature = "kernel")]
    pub(super) traffics: super::traffic::Traffics,
}

/// Shared access to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Seen>>);

impl Shared {
    /// The latest published state.
    pub(super) fn get(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request to end, observed by the tap's thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Requests the end.
    #[cfg(any(feature = "kernel", test))]
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// True once the end was requested.
    pub(super) fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(feature = "kernel")]
pub(super) use live::snapshot;

#[cfg(feature = "kernel")]
mod live {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::{Seen, Shared};
    use crate::admin::view::{ConnectionsView, OwnView, PartialView, ProbeView, RingView, Snapshot, StoreView};
    use crate::export::status::{Health, SEND_BOUNDS, StoreStatus};
    use crate::model::conn::SessionId;
    use crate::model::event::Event;
    use crate::model::observation::Observation;

    impl Shared {
        /// Notes what an event says about processes and sessions. Returns a session that ended, which the tap may still join.
        pub(in crate::run) fn note(&self, event: &Event) -> Option<SessionId> {
            match event {
                Event::ProcessSeen(process) => self.get().traffics.began(process.pid),
                Event::ProcessGone { pid, .. } => self.get().traffics.gone(*pid),
                Event::SessionOpened(opened) => self.get().traffics.session_opened(opened.session, opened.pid),
                Event::Bound { session, .. } => self.get().traffics.session_bound(*session),
                Event::SessionClosed(counts) => return Some(counts.session),
                _ => {}
            }
            None
        }

        /// Notes sessions that the tap joined, and then one that ended.
        pub(in crate::run) fn note_sessions(&self, joined: &[SessionId], ended: Option<SessionId>) {
            if joined.is_empty() && ended.is_none() {
                return;
            }
            let traffics = &mut self.get().traffics;
            joined.iter().for_each(|session| traffics.session_bound(*session));
            ended.into_iter().for_each(|session| traffics.session_closed(session));
        }

        /// Notes the TLS traffic of a process from a connection report.
        pub(in crate::run) fn note_report(&self, observation: &Observation) {
            if let Observation::Connection(seen) = observation {
                self.get().traffics.report(seen);
            }
        }
    }

    /// The agent's state.
    pub(in crate::run) fn snapshot(
        seen: &Seen,
        stores: &[StoreStatus],
        (probes_ready, probes): (bool, Vec<ProbeView>),
        ring: RingView,
    ) -> Snapshot {
        let mut losses = seen.losses.clone();
        stores.iter().for_each(|store| losses.merge(&store.losses));
        let own = procfs::process::Process::myself().and_then(|process| process.stat()).ok();
        let ticks = own.as_ref().map_or(0, |stat| stat.utime + stat.stime);
        Snapshot {
            version: super::super::VERSION.to_owned(),
            probes_ready,
            probes,
            data_dir: None,
            host: None,
            runtimes: Vec::new(),
            config: None,
            process: OwnView { pid: std::process::id(), started_ticks: own.as_ref().map_or(0, |stat| stat.starttime) },
            privileges: super::super::privileges::told(),
            stores: stores.iter().map(store_view).collect(),
            events: seen.counters.events().collect(),
            connections: ConnectionsView {
                opened: seen.counters.connections_opened,
                closed: seen.counters.connections_closed,
                active: seen.counters.connections_active(),
                bytes_sent: seen.counters.bytes.sent,
                bytes_received: seen.counters.bytes.received,
                bytes_unwanted: seen.counters.unwanted_bytes,
            },
            limits: Some(seen.limits.clone()),
            feedback: Some(seen.feedback.clone()),
            losses,
            body_bytes_unwanted: seen.counters.body_bytes_unwanted,
            rules: Vec::new(),
            ring: Some(ring),
            resident_bytes: own.map_or(0, |stat| stat.rss * rustix::param::page_size() as u64),
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        }
    }

    fn store_view(status: &StoreStatus) -> StoreView {
        let unix_ns = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok())
        };
        StoreView {
            id: status.id.clone(),
            kind: status.protocol,
            started: true,
            healthy: matches!(status.health, Health::Healthy | Health::Starting),
            state: status.health.name(),
            last_warning: status.last_warning.clone(),
            last_partial_success: status.last_partial.as_ref().map(|partial| PartialView {
                unix_ns: unix_ns(partial.time),
                rejected_records: partial.rejected,
                message: partial.message.clone(),
            }),
            last_success_unix_ns: status.last_success.and_then(unix_ns),
            last_error: status.last_error.as_ref().map(|(_, why)| why.clone()),
            last_error_unix_ns: status.last_error.as_ref().and_then(|(time, _)| unix_ns(*time)),
            queue: status.queue,
            queue_error: status.queue_error.clone(),
            queued_records: status.buffered_records,
            queued_bytes: status.buffered_bytes,
            oldest_seconds: status.oldest_age.map(|age| age.as_secs_f64()),
            dropped: status.dropped().map(|(loss, count, bytes)| (loss.name(), count, bytes)).collect(),
            cut_attributes: status.cut_attributes(),
            dead_lettered: status.dead_lettered,
            sends: status.sends,
            send_seconds: status.send_seconds,
            send_counts: SEND_BOUNDS.into_iter().chain([f64::INFINITY]).zip(status.send_counts).collect(),
            records: vec![
                ("exported", status.exported_records),
                ("dropped", status.dropped().map(|(_, count, _)| count).sum()),
            ],
        }
    }
}
