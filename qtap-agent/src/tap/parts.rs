//! Plaintext that a rustls program wrote under a key whose session is not known yet: held until its ciphertext leaves through a socket, a moment
//! later. Then it is reported as data of the session of that socket's connection. What stays unassigned too long is not reported, because it may not
//! have been asked for; the sums of its connection, which then do not match, show that it is missing. Bounded in number and bytes.

use std::collections::HashMap;

use super::deadlines::Due;
use super::{BINDING_WAIT, CONNECTIONS, Tap};
use crate::model::conn::{Channel, SessionId};
use crate::model::event::{Event, SessionJoined};
use crate::model::observation::Observation;

/// Maximum bytes waiting.
const BYTES: usize = 16 << 20;

/// A part, and its events.
#[derive(Debug)]
struct Part {
    pid: u32,
    /// `None`: it waited too long.
    events: Option<Vec<Event>>,
    bytes: usize,
}

/// All parts.
#[derive(Debug, Default)]
pub(super) struct Parts {
    waiting: HashMap<SessionId, Part>,
    bytes: usize,
}

impl Parts {
    fn take(&mut self, id: SessionId) -> Option<Part> {
        let part = self.waiting.remove(&id)?;
        self.bytes -= part.bytes;
        Some(part)
    }

    /// The session of the part was not found in time: neither the part nor what still arrives of it is reported.
    pub(super) fn give_up(&mut self, id: SessionId) {
        if let Some(part) = self.waiting.get_mut(&id) {
            part.events = None;
            self.bytes -= std::mem::take(&mut part.bytes);
        }
    }

    /// The parts of a process end with it.
    pub(super) fn on_process_gone(&mut self, pid: u32) {
        let of: Vec<_> = self.waiting.iter().filter(|(_, part)| part.pid == pid).map(|(id, _)| *id).collect();
        of.into_iter().for_each(|id| drop(self.take(id)));
    }
}

impl Tap {
    /// Takes an event of a part; returns any other.
    pub(super) fn hold_part(&mut self, event: Event, out: &mut Vec<Observation>) -> Option<Event> {
        match &event {
            // Beyond the bound, which is that of the probes' table, it is treated as an ordinary session.
            Event::SessionOpened(opened) if opened.is_part && self.parts.waiting.len() < CONNECTIONS => {
                self.common.deadlines.add(opened.time.plus(BINDING_WAIT), Due::Part(opened.session));
                let part = Part { pid: opened.pid, events: Some(Vec::new()), bytes: 0 };
                self.parts.waiting.insert(opened.session, part);
                return None;
            }
            Event::SessionJoined(joined) => {
                self.on_joined(joined, out);
                return None;
            }
            _ if self.parts.waiting.is_empty() => return Some(event),
            Event::SessionClosed(counts) => {
                let is_part = self.parts.take(counts.session).is_some();
                return (!is_part).then_some(event);
            }
            Event::ProcessGone { pid, .. } => {
                self.parts.on_process_gone(*pid);
                return Some(event);
            }
            _ => {}
        }
        let (channel, bytes) = match &event {
            Event::Passed(passed) => (passed.channel, passed.payload.len()),
            Event::Skipped(skipped) => (skipped.channel, 0),
            _ => return Some(event),
        };
        let Channel::Session(id) = channel else { return Some(event) };
        let Some(part) = self.parts.waiting.get_mut(&id) else { return Some(event) };
        if let Some(events) = &mut part.events {
            events.push(event);
            part.bytes += bytes;
            self.parts.bytes += bytes;
            if self.parts.bytes > BYTES {
                self.parts.give_up(id);
            }
        }
        None
    }

    /// The session of the part is known.
    fn on_joined(&mut self, joined: &SessionJoined, out: &mut Vec<Observation>) {
        let Some(part) = self.parts.take(joined.part) else { return };
        let (Some(session), Some(events)) = (joined.session, part.events) else { return };
        for mut event in events {
            match &mut event {
                Event::Passed(passed) => {
                    passed.channel = Channel::Session(session);
                    passed.offset = passed.offset.saturating_add(joined.offset);
                }
                Event::Skipped(skipped) => {
                    skipped.channel = Channel::Session(session);
                    skipped.offset = skipped.offset.saturating_add(joined.offset);
                }
                _ => {}
            }
            self.take_event(event, out);
        }
    }
}
