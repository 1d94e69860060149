//! The output of the scanner: input bytes, and replacements for redacted values. In: the positions in the piece where a value begins
//! and ends. Out: bytes. Nothing is written twice, and nothing of a redacted value is written.

use std::borrow::Cow;

use super::super::out::{MASK, Out};
use super::super::text;
use super::{Next, Run, Secret};
use crate::pipeline::settings::RedactAction;

impl Run<'_> {
    /// Begins a value of several tokens; does nothing unless the value must be redacted.
    pub(super) fn begin_secret(&mut self, start: usize, next: Next) {
        if self.json.secret.is_some() || !next.secret {
            return;
        }
        // Count it now: its end may never arrive.
        self.out.note.values += 1;
        self.cut(start);
        let hash = self.rules.instead.keyed();
        if self.rules.instead.action == RedactAction::Mask {
            self.put(MASK);
        }
        self.hashed = start;
        self.json.secret = Some(Secret { depth: self.json.frames.len(), hash });
    }

    /// Writes the input before the value at `start`; for the action `drop`, without the comma before it.
    pub(super) fn cut(&mut self, start: usize) {
        if self.drops() { self.drop_from(start) } else { self.copy(start) }
    }

    pub(super) fn drop_from(&mut self, start: usize) {
        let from = self.comma.take().unwrap_or(start);
        self.copy(from);
        self.copied = from;
    }

    /// Marks the next value, and the comma before it, as kept.
    pub(super) fn keep(&mut self) {
        self.comma = None;
        if let Some(frame) = self.json.frames.last_mut() {
            frame.kept = true;
        }
    }

    pub(super) fn put(&mut self, instead: &str) {
        self.out.extend(b"\"");
        self.out.extend(instead.as_bytes());
        self.out.extend(b"\"");
    }

    pub(super) fn copy(&mut self, until: usize) {
        self.out.extend(self.input.get(self.copied..until).unwrap_or_default());
        self.copied = until;
    }

    /// Redacts pattern matches in the string between the two quotes.
    pub(super) fn look(&mut self, start: usize, end: usize, escaped: bool) {
        if self.rules.patterns.is_empty() {
            return;
        }
        let raw = self.input.get(start + 1..end - 1).unwrap_or_default();
        let said = if escaped { Cow::Owned(text::unescaped(raw)) } else { Cow::Borrowed(raw) };
        let found = self.rules.patterns.find(&said);
        if found.is_empty() {
            return;
        }
        self.copy(start + 1);
        let mut seen = Out::default();
        seen.replaced(&said, &found, &self.rules.instead);
        self.out.note.values += seen.note.values;
        self.out.extend(&text::escaped(&seen.bytes));
        self.copied = end - 1;
    }

    pub(super) fn look_at_number(&mut self, start: usize, end: usize) {
        let raw = self.input.get(start..end).unwrap_or_default();
        if self.rules.patterns.find(raw).is_empty() {
            return;
        }
        self.copy(start);
        // A number is always replaced as a whole: the remaining digits would be a different number.
        self.put(&self.rules.instead.of(raw).unwrap_or_else(|| MASK.to_owned()));
        self.out.note.values += 1;
        self.copied = end;
    }

    /// Ends the piece; the input before `until` is settled.
    pub(super) fn settle(&mut self, until: usize) {
        match &mut self.json.secret {
            Some(secret) => {
                if let Some(hash) = &mut secret.hash {
                    hash.update(self.input.get(self.hashed..until).unwrap_or_default());
                }
            }
            None => self.copy(until),
        }
    }
}
