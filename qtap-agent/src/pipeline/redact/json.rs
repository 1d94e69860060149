//! Redacts JSON incrementally (RFC 8259), without building a tree: replaces the values on the wanted paths, and pattern
//! matches in strings, names and numbers. In: the bytes of one document, or of several in sequence (RFC 7464, NDJSON), in
//! pieces of any size. Out: the same bytes except for the replacements; white space is preserved.
//!
//! Safe by construction: a byte is written only when its place in the document is proven. Invalid JSON stops the scanner: the output so
//! far stays, and the caller leaves out the rest. An incomplete token waits for its end, except for long strings whose path alone
//! decides.

mod strings;
mod taken;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::super::digest::Keyed;
use super::out::{Out, hashed};
use super::paths::{Next, States};
use super::{Rules, text};
use crate::pipeline::settings::RedactAction;
use strings::{Quote, string_end};

/// Maximum nesting depth: real documents are not deeper, and a hostile one would make the stack of frames grow.
const MOST_DEPTH: usize = 512;
/// A prefix that some servers put before JSON so that it can't run as a script; it extends to the end of its line.
const NO_SCRIPT: &[u8] = b")]}'";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The position in a document.
#[derive(Debug, Default)]
pub(super) struct Json {
    frames: Vec<Frame>,
    expect: Expect,
    /// What the paths say about the value of the most recent member name.
    next: Next,
    /// Set while the scanner is inside a redacted value.
    secret: Option<Secret>,
    /// Set while the scanner is inside a string whose beginning was already handled; true: its last byte was a backslash.
    long: Option<bool>,
    started: bool,
}

/// The input is not valid JSON from this byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken(pub(super) usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expect {
    /// A value; also between documents.
    #[default]
    Value,
    /// A value, or the end of an array.
    FirstElement,
    /// A name.
    Name,
    /// A name, or the end of an object.
    FirstName,
    Colon,
    /// A comma, or the end.
    After,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    array: bool,
    /// True once something in it was kept (for the action `drop`).
    kept: bool,
    states: States,
    index: u64,
}

#[derive(Debug)]
struct Secret {
    /// Number of containers around it.
    depth: usize,
    hash: Option<Keyed>,
}

impl Json {
    /// Redacts `input`; returns how much was consumed. The rest must be passed again, followed by new input. `last`: nothing follows.
    pub(super) fn push(&mut self, rules: &Rules, input: &[u8], last: bool, out: &mut Out) -> Result<usize, Broken> {
        let mut run = Run { json: self, rules, input, last, at: 0, copied: 0, hashed: 0, comma: None, out };
        run.begin();
        let end = match run.tokens() {
            End::Wait(at) => Ok(at),
            End::Broken => Err(Broken(run.at)),
        };
        let until = *end.as_ref().unwrap_or(&run.at);
        run.settle(until);
        end
    }

    /// True when the scanner is between documents.
    pub(super) fn is_between(&self) -> bool {
        self.frames.is_empty() && self.expect == Expect::Value && self.long.is_none() && self.secret.is_none()
    }

    /// Approximate memory use in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Json>() + self.frames.len() * size_of::<Frame>()
    }
}

/// Why a run ended.
enum End {
    /// The token at `.0` is incomplete.
    Wait(usize),
    Broken,
}

/// The scan of one piece.
struct Run<'a> {
    json: &'a mut Json,
    rules: &'a Rules,
    input: &'a [u8],
    last: bool,
    at: usize,
    /// Input before this position was written or left out.
    copied: usize,
    /// Input before this position was added to the hash of the current secret.
    hashed: usize,
    /// The comma before a value that is not decided yet, for the action `drop`: it is dropped with the value.
    comma: Option<usize>,
    out: &'a mut Out,
}

impl Run<'_> {
    /// Skips prefixes that may precede a document.
    fn begin(&mut self) {
        if self.json.started {
            return;
        }
        self.at = if self.input.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let rest = self.input.get(self.at..).unwrap_or_default();
        if rest.starts_with(NO_SCRIPT) {
            self.at += memchr::memchr(b'\n', rest).unwrap_or(NO_SCRIPT.len());
        }
        self.json.started = !self.input.is_empty();
    }

    /// Reads tokens until no more can be read.
    fn tokens(&mut self) -> End {
        // An unfinished string ends the run; if it continues at all, that is at the beginning of the next run.
        if let Some(escaped) = self.json.long
            && let Err(end) = self.rest_of_string(escaped)
        {
            return end;
        }
        loop {
            if let Err(end) = self.token() {
                return end;
            }
        }
    }

    /// Reads one token, and the colon or comma right after it.
    #[inline]
    fn token(&mut self) -> Result<(), End> {
        let Some(byte) = self.skip_space() else { return Err(self.wait(self.input.len())) };
        match (self.json.expect, byte) {
            (Expect::FirstElement, b']') | (Expect::FirstName, b'}') => self.close(byte),
            (Expect::Value | Expect::FirstElement, _) => self.value(byte),
            (Expect::Name | Expect::FirstName, b'"') => self.name(),
            (Expect::Colon, b':') => {
                self.colon();
                Ok(())
            }
            (Expect::After, b',') => {
                self.comma();
                Ok(())
            }
            (Expect::After, b']' | b'}') => self.close(byte),
            _ => Err(End::Broken),
        }
    }

    #[inline]
    fn skip_space(&mut self) -> Option<u8> {
        while let Some(byte) = self.input.get(self.at) {
            if *byte > b' ' {
                return Some(*byte);
            }
            let space = matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
            // RFC 7464: a record separator precedes each document.
            let separator = *byte == 0x1e && self.json.frames.is_empty();
            if !space && !separator {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Waits for the input that follows the token at `at`.
    fn wait(&mut self, at: usize) -> End {
        match self.comma {
            Some(comma) => {
                self.json.expect = Expect::After;
                End::Wait(comma)
            }
            None => End::Wait(at),
        }
    }

    fn drops(&self) -> bool {
        self.rules.instead.action == RedactAction::Drop
    }

    fn colon(&mut self) {
        self.at += 1;
        self.json.expect = Expect::Value;
    }

    #[inline]
    fn comma(&mut self) {
        let at = self.at;
        self.at += 1;
        let Some(frame) = self.json.frames.last() else { return };
        self.json.expect = if frame.array { Expect::Value } else { Expect::Name };
        if !self.drops() || self.json.secret.is_some() {
            return;
        }
        if frame.kept {
            self.comma = Some(at);
        } else {
            // Everything before this comma was dropped, so drop the comma too.
            self.copy(at);
            self.copied = at + 1;
        }
    }

    /// Reads a member's name.
    fn name(&mut self) -> Result<(), End> {
        let start = self.at;
        let (end, escaped) = match string_end(self.input, start + 1) {
            Quote::At(end, escaped) => (end, escaped),
            Quote::Open(_) => return Err(self.wait(start)),
        };
        if self.json.secret.is_none() {
            let text = self.input.get(start + 1..end).unwrap_or_default();
            let states = self.json.frames.last().map_or(0, |frame| frame.states);
            let next = if escaped {
                self.rules.json.member(states, &text::unescaped(text))
            } else {
                self.rules.json.member(states, text)
            };
            self.json.next = next;
            if next.secret && self.drops() {
                self.drop_from(start);
                self.json.secret = Some(Secret { depth: self.json.frames.len(), hash: None });
                self.out.note.values += 1;
            } else {
                self.keep();
                self.look(start, end + 1, escaped);
            }
        }
        self.at = end + 1;
        self.json.expect = Expect::Colon;
        if self.input.get(self.at) == Some(&b':') {
            self.colon();
        }
        Ok(())
    }

    fn value(&mut self, byte: u8) -> Result<(), End> {
        let start = self.at;
        let next = self.known();
        match byte {
            b'{' | b'[' => self.open(byte, start, next),
            b'"' => match string_end(self.input, start + 1) {
                Quote::At(end, escaped) => {
                    self.scalar(start, end + 1, next, Some(escaped));
                    Ok(())
                }
                Quote::Open(escaped) => self.open_string(start, next, escaped),
            },
            b'-' | b'0'..=b'9' => {
                let number = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let rest = self.input.get(start..).unwrap_or_default();
                let end = rest.iter().position(|b| !number(b)).map(|len| start + len);
                match end.or(self.last.then_some(self.input.len())) {
                    Some(end) => {
                        self.scalar(start, end, next, None);
                        Ok(())
                    }
                    None => Err(self.wait(start)),
                }
            }
            b't' => self.literal(start, b"true", next),
            b'f' => self.literal(start, b"false", next),
            b'n' => self.literal(start, b"null", next),
            _ => Err(End::Broken),
        }
    }

    /// What the paths say about the next value.
    fn known(&self) -> Next {
        match self.json.frames.last() {
            _ if self.json.secret.is_some() => Next::default(),
            Some(frame) if frame.array => self.rules.json.element(frame.states, frame.index),
            Some(_) => self.json.next,
            None => self.rules.json.start,
        }
    }

    #[inline]
    fn literal<const N: usize>(&mut self, start: usize, word: &[u8; N], next: Next) -> Result<(), End> {
        let rest = self.input.get(start..).unwrap_or_default();
        if rest.first_chunk() == Some(word) {
            self.scalar(start, start + N, next, None);
            return Ok(());
        }
        if word.starts_with(rest) && !self.last { Err(self.wait(start)) } else { Err(End::Broken) }
    }

    /// Begins an object or an array.
    fn open(&mut self, byte: u8, start: usize, next: Next) -> Result<(), End> {
        if self.json.frames.len() >= MOST_DEPTH {
            return Err(End::Broken);
        }
        self.begin_secret(start, next);
        if self.json.secret.is_none() {
            self.keep();
        }
        let array = byte == b'[';
        let states = if self.json.secret.is_some() { 0 } else { next.states };
        self.json.frames.push(Frame { array, kept: false, states, index: 0 });
        self.json.expect = if array { Expect::FirstElement } else { Expect::FirstName };
        self.at = start + 1;
        Ok(())
    }

    fn close(&mut self, byte: u8) -> Result<(), End> {
        let matches = self.json.frames.last().is_some_and(|frame| frame.array == (byte == b']'));
        if !matches {
            return Err(End::Broken);
        }
        self.json.frames.pop();
        self.comma = None;
        self.at += 1;
        self.end_value();
        Ok(())
    }

    /// Handles a value that is not a container; `string`: set for strings, true if it has escapes.
    fn scalar(&mut self, start: usize, end: usize, next: Next, string: Option<bool>) {
        self.at = end;
        if next.secret && self.json.secret.is_none() {
            self.cut(start);
            let raw = self.input.get(start..end).unwrap_or_default();
            let inside = || self.input.get(start + 1..end - 1).unwrap_or_default();
            let value = match string {
                Some(true) => Cow::Owned(text::unescaped(inside())),
                Some(false) => Cow::Borrowed(inside()),
                None => Cow::Borrowed(raw),
            };
            if let Some(instead) = self.rules.instead.of(&value) {
                self.put(&instead);
            }
            self.out.note.values += 1;
            self.copied = end;
            return self.after();
        }
        if self.json.secret.is_none() {
            self.keep();
            if let Some(escaped) = string {
                self.look(start, end, escaped);
            } else if !self.rules.patterns.is_empty() {
                self.look_at_number(start, end);
            }
        }
        self.end_value();
    }

    /// Handles a string whose end is not in the input yet.
    fn open_string(&mut self, start: usize, next: Next, escaped: bool) -> Result<(), End> {
        let in_secret = self.json.secret.is_some();
        let hashes = self.rules.instead.action == RedactAction::Hash;
        // Patterns, and the hash of its unescaped content, need the whole string.
        if !in_secret && if next.secret { hashes } else { !self.rules.patterns.is_empty() } {
            return Err(self.wait(start));
        }
        self.begin_secret(start, next);
        if self.json.secret.is_none() {
            self.keep();
        }
        self.json.long = Some(escaped);
        self.at = self.input.len();
        Err(End::Wait(self.at))
    }

    /// Continues a string.
    fn rest_of_string(&mut self, escaped: bool) -> Result<(), End> {
        if self.at >= self.input.len() {
            return Err(End::Wait(self.at));
        }
        match string_end(self.input, self.at + usize::from(escaped)) {
            Quote::At(end, _) => {
                self.json.long = None;
                self.at = end + 1;
                self.end_value();
                Ok(())
            }
            Quote::Open(escaped) => {
                self.json.long = Some(escaped);
                self.at = self.input.len();
                Err(End::Wait(self.at))
            }
        }
    }

    /// Ends a value, and with it possibly the redacted value.
    fn end_value(&mut self) {
        if self.json.secret.as_ref().is_some_and(|secret| secret.depth == self.json.frames.len()) {
            let secret = self.json.secret.take();
            if let Some(mut hash) = secret.and_then(|secret| secret.hash) {
                hash.update(self.input.get(self.hashed..self.at).unwrap_or_default());
                self.put(&hashed(&hash.hex()));
            }
            self.copied = self.at;
        }
        self.after();
    }

    #[inline]
    fn after(&mut self) {
        let Some(frame) = self.json.frames.last_mut() else {
            self.json.expect = Expect::Value;
            return;
        };
        frame.index += 1;
        self.json.expect = Expect::After;
        if self.input.get(self.at) == Some(&b',') {
            self.comma();
        }
    }
}
