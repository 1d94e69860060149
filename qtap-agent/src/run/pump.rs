//! The tap's thread: polls the source, feeds the tap, hands over the observations.

use std::time::Duration;

use super::engine::Intake;
#[cfg(any(feature = "kernel", test))]
use super::pipelines::Next;
#[cfg(any(feature = "kernel", test))]
use super::reload::Change;
use super::shared::{Shared, Stop};
use crate::capture::source::{Flow, Source, SourceError};
use crate::model::event::Event;
use crate::model::loss::Tally;
use crate::model::observation::Observation;
use crate::model::time::KernelTime;
use crate::tap::Tap;

/// Maximum wait for a source without events.
pub(super) const WAIT: Duration = Duration::from_millis(100);

/// A source's consumer: the tap, and the entry to the pipeline.
pub(super) struct Pump {
    pub(super) tap: Tap,
    pub(super) intake: Intake,
    pub(super) shared: Shared,
    events: Vec<Event>,
    observations: Vec<Observation>,
    /// Losses between tap and pipeline.
    lost: Tally,
    now: KernelTime,
}

impl Pump {
    pub(super) fn new(tap: Tap, intake: Intake, shared: Shared) -> Pump {
        Pump {
            tap,
            intake,
            shared,
            events: Vec::new(),
            observations: Vec::new(),
            lost: Tally::default(),
            now: KernelTime(0),
        }
    }

    /// Polls until the source ends or the end is requested.
    pub(super) fn run(&mut self, source: &mut impl Source, stop: &Stop) -> Result<(), SourceError> {
        while !stop.asked() {
            if self.turn(source, WAIT)? == Flow::Ended {
                break;
            }
        }
        Ok(())
    }

    /// One poll, and processing of its events.
    pub(super) fn turn(&mut self, source: &mut impl Source, wait: Duration) -> Result<Flow, SourceError> {
        let polled = source.poll(wait, &mut self.events);
        self.feed();
        let unwanted = self.tap.take_unwanted();
        if !unwanted.is_empty() {
            source.leave_alone(&unwanted);
        }
        polled
    }

    /// Feeds events from outside the source's polls.
    #[cfg(any(feature = "kernel", test))]
    pub(super) fn feed_more(&mut self, events: &mut Vec<Event>) {
        self.events.append(events);
        self.feed();
    }

    /// Applies another config to connections opened after the events seen so far.
    #[cfg(any(feature = "kernel", test))]
    pub(super) fn turn_over(&mut self, change: Change) {
        let since = self.now;
        let (pipeline, spool) = match change.new {
            Some((tap, pipeline, spool)) => {
                self.tap.begin(tap, since);
                (Some(pipeline), spool)
            }
            None => (None, None),
        };
        self.intake.turn_over(Next { pipeline, spool, since, route: change.route }, change.turnover);
    }

    /// Limits what streams may hold, and what may wait for the pipeline, to `bytes` each.
    #[cfg(feature = "kernel")]
    pub(super) fn hold_at_most(&mut self, bytes: usize) {
        self.tap.hold_at_most(bytes);
        self.intake.waiting = self.intake.waiting.min(bytes);
    }

    fn feed(&mut self) {
        let mut told = false;
        for event in self.events.drain(..) {
            told |= matches!(event, Event::Tick(_));
            self.now = event.time().map_or(self.now, |time| time.max(self.now));
            #[cfg(feature = "kernel")]
            let ended = self.shared.note(&event);
            self.tap.on_event(event, &mut self.observations);
            let joined = self.tap.take_joined();
            #[cfg(feature = "kernel")]
            self.shared.note_sessions(&joined, ended);
            #[cfg(not(feature = "kernel"))]
            drop(joined);
        }
        #[cfg(feature = "kernel")]
        self.observations.iter().for_each(|observation| self.shared.note_report(observation));
        self.intake.hand_over(std::mem::take(&mut self.observations), &mut self.lost);
        if told {
            #[cfg(any(feature = "kernel", test))]
            self.tap.ended_settings().into_iter().for_each(|since| self.intake.ended(since));
            self.publish();
        }
    }

    fn publish(&mut self) {
        let confirmed = self.tap.take_confirmed();
        let mut seen = self.shared.get();
        #[cfg(feature = "kernel")]
        seen.confirmed.extend(confirmed);
        #[cfg(not(feature = "kernel"))]
        drop(confirmed);
        seen.counters = self.tap.counters().clone();
        seen.losses = self.tap.losses().clone();
        seen.losses.merge(&self.lost);
        seen.losses.merge(&self.intake.lost_behind());
    }

    /// Reports everything still open as far as it is known. The time is that of the source's last event.
    pub(super) fn finish(mut self) {
        self.tap.finish(self.now, &mut self.observations);
        self.intake.hand_over(std::mem::take(&mut self.observations), &mut self.lost);
        self.publish();
    }
}
