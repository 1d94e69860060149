//! JSON looked through as it comes (RFC 8259), without a tree of it: values on the wanted paths are replaced, and text that a pattern
//! finds in strings, names and numbers. In: the bytes of one document, or of several one after the other (RFC 7464, NDJSON), in
//! pieces of any size. Out: the same bytes but for what was replaced, white space included.
//!
//! Safe by construction: a byte goes out only when the place where it stands is proven. What is no JSON ends it: what came before
//! stands, the rest is the caller's to leave out. A token whose end has not come waits, but for long strings of which the path
//! alone decides.

mod taken;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::super::digest::Keyed;
use super::out::{Out, hashed};
use super::paths::{Next, States};
use super::{Rules, text};
use crate::pipeline::settings::RedactAction;

/// Deepest nesting that is followed: nobody's documents are deeper, and a hostile one would grow the stack.
const MOST_DEPTH: usize = 512;
/// Bytes of a string after which the search for its end is worth its price.
const SHORT: usize = 32;
/// What some servers put before JSON so that it is no script; up to the end of its line.
const NO_SCRIPT: &[u8] = b")]}'";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where a document is.
#[derive(Debug, Default)]
pub(super) struct Json {
    frames: Vec<Frame>,
    expect: Expect,
    /// What the value of the member whose name came last is.
    next: Next,
    /// A value that is taken out is under way.
    secret: Option<Secret>,
    /// A string is under way whose beginning is settled; true: its last byte was a backslash.
    long: Option<bool>,
    started: bool,
}

/// It is no JSON from this byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken(pub(super) usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expect {
    /// A value; between documents too.
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
    /// True once something in it was kept (where values are dropped).
    kept: bool,
    states: States,
    index: u64,
}

#[derive(Debug)]
struct Secret {
    /// Containers around it.
    depth: usize,
    hash: Option<Keyed>,
}

impl Json {
    /// Looks `input` through; how much of it was taken. The rest is to be given again, with what follows. `last`: nothing does.
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

    /// True when no document is under way.
    pub(super) fn is_between(&self) -> bool {
        self.frames.is_empty() && self.expect == Expect::Value && self.long.is_none() && self.secret.is_none()
    }

    /// Bytes of memory it holds, roughly.
    pub(super) fn memory(&self) -> usize {
        size_of::<Json>() + self.frames.len() * size_of::<Frame>()
    }
}

/// Why a run ends.
enum End {
    /// What is at `.0` has not come to its end.
    Wait(usize),
    Broken,
}

/// Where a string ends.
enum Quote {
    /// At this quote; true: it has escapes.
    At(usize, bool),
    /// Not here; true: the last byte is a backslash.
    Open(bool),
}

/// One piece being looked through.
struct Run<'a> {
    json: &'a mut Json,
    rules: &'a Rules,
    input: &'a [u8],
    last: bool,
    at: usize,
    /// What comes before it went out, or was left out.
    copied: usize,
    /// What comes before it went into the hash of the secret under way.
    hashed: usize,
    /// The comma before what is not decided yet, where values are dropped: it goes with them.
    comma: Option<usize>,
    out: &'a mut Out,
}

impl Run<'_> {
    /// What may stand before a document.
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

    /// Token after token, until no more can be read.
    fn tokens(&mut self) -> End {
        // A string that has come to no end ends the run: it is gone on with at the beginning of the next, if ever.
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

    /// One token, with the colon or the comma behind it where it follows at once.
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
            // RFC 7464: a record separator stands before each document.
            let separator = *byte == 0x1e && self.json.frames.is_empty();
            if !space && !separator {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Nothing can be done but to wait for what follows the token at `at`.
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
            // All before it was dropped: so is the comma.
            self.copy(at);
            self.copied = at + 1;
        }
    }

    /// A member's name.
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

    /// What is known of the value that comes.
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

    /// An object or an array begins.
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

    /// A value that is no container; `string`: it is a string, and true when it has escapes.
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

    /// A string whose end is not here.
    fn open_string(&mut self, start: usize, next: Next, escaped: bool) -> Result<(), End> {
        let in_secret = self.json.secret.is_some();
        let hashes = self.rules.instead.action == RedactAction::Hash;
        // Patterns, and the hash of what it says, need all of it.
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

    /// Goes on in a string.
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

    /// A value has ended; with it, it may be, one that is taken out.
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

/// The quote that ends the string whose text begins at `from`.
#[inline]
fn string_end(input: &[u8], from: usize) -> Quote {
    let (mut at, mut escaped) = (from, false);
    loop {
        let rest = input.get(at..).unwrap_or_default();
        match quote_or_backslash(rest).map(|n| (n, rest.get(n))) {
            Some((n, Some(b'"'))) => return Quote::At(at + n, escaped),
            Some((n, _)) => {
                escaped = true;
                at += n + 2;
                if at > input.len() {
                    return Quote::Open(true);
                }
            }
            None => return Quote::Open(false),
        }
    }
}

/// Where the first of the two stands. Names and most values are short: their end is looked for a word at a time, for what it costs
/// to begin a search that is fast once it runs.
#[inline]
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_le_bytes) {
        let found = zero_bytes(word ^ (EACH * u64::from(b'"'))) | zero_bytes(word ^ (EACH * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += size_of::<u64>();
        if at >= SHORT {
            break;
        }
    }
    memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()).map(|n| at + n)
}

/// One in each byte.
const EACH: u64 = u64::MAX / 255;

/// The highest bit of the lowest byte that is zero, and of none below it; those above it don't count.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & (EACH << 7)
}
