//! What a program of rustls wrote under a key of which it was not known yet whose it is: held until it is, which is when its ciphertext leaves through a socket,
//! a moment later. Then it is told as what the session of that socket's connection said; or as that of a session of its own, when it is not known in time.
//! Bounded in number and bytes: what comes beyond them does not wait.

use std::collections::HashMap;

use super::deadlines::Due;
use super::{BINDING_WAIT, Tap};
use crate::model::conn::{Channel, SessionId};
use crate::model::event::{Event, SessionJoined, SessionOpened};
use crate::model::observation::Observation;
use crate::model::time::KernelTime;

/// Parts that wait at once.
const PARTS: usize = 4096;
/// Bytes that wait in them.
const BYTES: usize = 16 << 20;

/// A part, and what came of it.
#[derive(Debug)]
struct Part {
    opened: SessionOpened,
    events: Vec<Event>,
    bytes: usize,
}

/// All of them.
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
}

impl Tap {
    /// Takes an event of a part; gives back any other, and what does not wait.
    pub(super) fn hold_part(&mut self, event: Event, out: &mut Vec<Observation>) -> Option<Event> {
        match &event {
            Event::SessionOpened(opened) if opened.is_part && self.parts.waiting.len() < PARTS => {
                self.common.deadlines.add(opened.time.plus(BINDING_WAIT), Due::Part(opened.session));
                let part = Part { opened: opened.clone(), events: Vec::new(), bytes: 0 };
                self.parts.waiting.insert(opened.session, part);
                return None;
            }
            Event::SessionJoined(joined) => {
                self.on_joined(joined, out);
                return None;
            }
            _ if self.parts.waiting.is_empty() => return Some(event),
            _ => {}
        }
        let (channel, bytes) = match &event {
            Event::Passed(passed) => (passed.channel, passed.payload.len()),
            Event::Skipped(skipped) => (skipped.channel, 0),
            Event::SessionClosed(counts) => {
                self.end_part(counts.session, out);
                return Some(event);
            }
            _ => return Some(event),
        };
        let Channel::Session(id) = channel else { return Some(event) };
        let Some(part) = self.parts.waiting.get_mut(&id) else { return Some(event) };
        part.events.push(event);
        part.bytes += bytes;
        self.parts.bytes += bytes;
        if self.parts.bytes > BYTES {
            self.end_part(id, out);
        }
        None
    }

    /// It is known whose a part is.
    fn on_joined(&mut self, joined: &SessionJoined, out: &mut Vec<Observation>) {
        let Some(part) = self.parts.take(joined.part) else { return };
        let Some(session) = joined.session else { return };
        for mut event in part.events {
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

    /// It is not known whose a part is, and not waited for any more: it is a session of its own.
    pub(super) fn end_part(&mut self, id: SessionId, out: &mut Vec<Observation>) {
        let Some(part) = self.parts.take(id) else { return };
        self.take_event(Event::SessionOpened(part.opened), out);
        part.events.into_iter().for_each(|event| self.take_event(event, out));
    }

    /// All that waits goes.
    pub(super) fn end_parts(&mut self, out: &mut Vec<Observation>) {
        let mut waiting: Vec<(KernelTime, SessionId)> =
            self.parts.waiting.iter().map(|(id, part)| (part.opened.time, *id)).collect();
        waiting.sort_unstable();
        waiting.into_iter().for_each(|(_, id)| self.end_part(id, out));
    }
}
