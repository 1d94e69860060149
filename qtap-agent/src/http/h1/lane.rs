//! One direction of an HTTP/1 connection, split into tokens. In: its bytes in order, its holes, and after each head the framing of the
//! body that follows. Out: heads, pieces of bodies, ends. It knows nothing about pairing. It counts what it skips or consumes as
//! framing; heads and pieces are counted by the caller.
//!
//! ```text
//!          ┌────────── end of message ───────────┐
//!          ▼                                     │
//!   ┌──► Head ──► begin(framing) ──► Fixed · ChunkLine ⇄ ChunkData/ChunkEnd · ChunkLine → Trailers · ToClose
//!   │      │ no head, too long                   │ bad chunk, hole in the framing
//!  start   ▼                                     ▼
//!  line  Search ◄────────────────────────────────┘
//!   └──────┘
//! ```
//! A head that may have answered a HEAD goes through Unsure, and so does a request whose body was refused: the next bytes show whether there is a body.

mod ahead;
mod search;
mod unasked;
mod unsure;

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::framing::{self, Framing};
use super::text::{Taken, Text};
use super::token::{Hole, Input, Kind, Token};
use crate::http::pair::Stamp;
use crate::http::{Settings, Sink};
use crate::model::exchange::Incomplete;
use crate::model::loss::Loss;

/// Longest line before a chunk, extensions included.
const CHUNK_LINE_LIMIT: usize = 16 << 10;
/// The line end after the data of a chunk.
const CHUNK_END: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// [`State::Search`] found a start line; the lines after it must be fields.
    Proving,
    Fixed(u64),
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    ToClose,
    /// As the framing declares, unless the next message begins at once.
    Unsure(Framing),
    /// Behind this many bytes, held from the beginning of what is no head, another head may begin.
    Unasked(usize),
    Ended,
    Search,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    kind: Kind,
    state: State,
    /// Not yet read.
    inbox: VecDeque<Input>,
    inbox_bytes: usize,
    text: Text,
    /// The line being held began after a line feed or a hole, not in the middle of something.
    line_is_whole: bool,
    /// Where the last line in `held` begins.
    line_at: usize,
    /// Bytes of content that must not follow the last head, but that it declares.
    unasked: usize,
    /// Of the text being read.
    pub(super) stamp: Stamp,
    head_stamp: Stamp,
}

impl Lane {
    /// Creates a direction; if joined mid-stream, it may begin inside a message.
    pub(super) fn new(kind: Kind, joined_late: bool) -> Lane {
        Lane {
            kind,
            state: if joined_late { State::Search } else { State::Head },
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            text: Text::default(),
            line_is_whole: true,
            line_at: 0,
            unasked: 0,
            stamp: Stamp::default(),
            head_stamp: Stamp::default(),
        }
    }

    /// Appends input.
    pub(super) fn put(&mut self, input: Input) {
        if let Input::Bytes(bytes, _) = &input {
            self.inbox_bytes += bytes.len();
        }
        self.inbox.push_back(input);
    }

    /// Moves on to the next input once everything before it has been read. If that input is a hole, returns its length.
    pub(super) fn advance(&mut self) -> Option<u64> {
        if !self.text.is_empty() {
            return None;
        }
        // What waits for what follows comes before the hole.
        if matches!(self.inbox.front(), Some(Input::Hole(..))) && self.believe_request() {
            return None;
        }
        match self.inbox.pop_front()? {
            Input::Bytes(bytes, stamp) => {
                self.inbox_bytes -= bytes.len();
                self.text.feed(bytes);
                self.stamp = stamp;
                None
            }
            Input::Hole(len, stamp) => {
                self.stamp = Stamp { time: stamp.time, pid: self.stamp.pid };
                Some(len)
            }
        }
    }

    /// True if there is something left to read.
    pub(super) fn has_input(&self) -> bool {
        !self.text.is_empty() || !self.inbox.is_empty() || self.state == State::Ended
    }

    /// Bytes of memory held by unread input and incomplete tokens.
    pub(super) fn held(&self) -> usize {
        self.inbox_bytes + self.inbox.capacity() * size_of::<Input>() + self.text.memory()
    }

    /// Bytes and pieces waiting to be read.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.inbox_bytes + self.text.front().len(), self.inbox.len())
    }

    /// True between two messages.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Head && self.text.held().is_empty()
    }

    /// True if the next byte to read is available and begins a message.
    pub(super) fn is_about_to_begin(&self) -> bool {
        self.is_between() && self.text.front().iter().any(|b| !matches!(b, b'\r' | b'\n'))
    }

    /// True if no message is in progress: between two messages, or searching for one.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_between() || matches!(self.state, State::Search | State::Proving)
    }

    /// Accepts the head; `framing` is that of the body that follows.
    pub(super) fn begin(&mut self, framing: Framing) {
        self.state = match framing {
            Framing::Fixed(0) => State::Ended,
            Framing::Fixed(len) => State::Fixed(len),
            Framing::Chunked => State::ChunkLine,
            Framing::ToClose => State::ToClose,
            Framing::Unknowable => State::Search,
        };
        self.line_is_whole = false;
        self.unasked = 0;
    }

    /// Like [`Lane::begin`], if the fields may describe a body that is not sent: the head may have answered a HEAD, or the request was refused.
    pub(super) fn begin_unsure(&mut self, framing: Framing) {
        match framing {
            Framing::Fixed(1..) | Framing::Chunked => self.state = State::Unsure(framing),
            Framing::Fixed(0) | Framing::ToClose | Framing::Unknowable => self.begin(framing),
        }
    }

    /// True while no part of the body after a head was consumed, not even the size of a chunk.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self.state, State::Fixed(_) | State::ChunkLine)
    }

    /// Accepts the head of a message without a body, whatever the head says: the next message follows.
    pub(super) fn begin_next(&mut self) {
        self.state = State::Head;
    }

    /// Rejects the head: its first line is skipped, and a start line is searched for in the rest.
    pub(super) fn reject(&mut self, mut head: Bytes, sink: &mut Sink) {
        let line = memchr::memchr(b'\n', &head).map_or(head.len(), |at| at + 1);
        sink.losses.add(Loss::Unparsed, line as u64);
        head.advance(line);
        self.text.push_back(head);
        self.search();
    }

    fn search(&mut self) {
        self.state = State::Search;
        self.line_is_whole = true;
        self.line_at = 0;
        self.unasked = 0;
    }

    /// Returns the next token.
    pub(super) fn next(&mut self, settings: &Settings, sink: &mut Sink) -> Token {
        loop {
            if self.state == State::Ended {
                self.state = State::Head;
                return Token::End(Bytes::new());
            }
            if !self.text.refill() {
                return Token::More;
            }
            let token = match self.state {
                State::Head => self.head(settings, sink),
                State::Proving => self.prove(settings, sink),
                State::Fixed(left) => Some(self.fixed(left)),
                State::ChunkLine => self.chunk_line(sink),
                State::ChunkData(left) => Some(self.chunk_data(left)),
                State::ChunkEnd => self.chunk_end(sink),
                State::Trailers => self.trailers(settings, sink),
                State::ToClose => Some(Token::Piece(self.text.take(usize::MAX))),
                State::Unsure(framing) => {
                    self.make_sure(framing);
                    None
                }
                State::Unasked(len) => self.pass_unasked(len, sink),
                State::Ended => None,
                State::Search => {
                    self.look_for_start(sink);
                    None
                }
            };
            if let Some(token) = token {
                return token;
            }
        }
    }

    fn head(&mut self, settings: &Settings, sink: &mut Sink) -> Option<Token> {
        if self.text.held().is_empty() {
            // RFC 9112 §2.2: empty lines before a start line are ignored.
            let blank = self.text.front().iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            sink.captured += blank as u64;
            self.text.take(blank);
            if self.text.front().is_empty() {
                return None;
            }
            self.head_stamp = self.stamp;
        }
        match self.text.section(settings.head_limit, false) {
            Taken::Whole(head) => Some(Token::Head(head, self.head_stamp)),
            Taken::Part => None,
            Taken::TooLong => Some(self.too_long(settings, sink)),
        }
    }

    fn too_long(&mut self, settings: &Settings, sink: &mut Sink) -> Token {
        sink.losses.add(Loss::HeadLimit, settings.head_limit as u64);
        self.search();
        self.line_is_whole = false;
        Token::Broken(Incomplete::Limit)
    }

    fn fixed(&mut self, left: u64) -> Token {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.text.front().len());
        let left = left - take as u64;
        self.state = if left == 0 { State::Ended } else { State::Fixed(left) };
        Token::Piece(self.text.take(take))
    }

    fn chunk_data(&mut self, left: u64) -> Token {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.text.front().len());
        let left = left - take as u64;
        self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
        Token::Piece(self.text.take(take))
    }

    fn chunk_line(&mut self, sink: &mut Sink) -> Option<Token> {
        let line = match self.text.line(CHUNK_LINE_LIMIT) {
            Taken::Whole(line) => line,
            Taken::Part => return None,
            Taken::TooLong => {
                sink.losses.add(Loss::Unparsed, CHUNK_LINE_LIMIT as u64);
                self.search();
                return Some(Token::Broken(Incomplete::Unparsed));
            }
        };
        match framing::chunk_size(&line) {
            Some(size) => {
                sink.captured += line.len() as u64;
                self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
                None
            }
            None => {
                self.text.push_back(line);
                self.search();
                Some(Token::Broken(Incomplete::Unparsed))
            }
        }
    }

    fn chunk_end(&mut self, sink: &mut Sink) -> Option<Token> {
        match self.text.front().first() {
            Some(b'\r') => {}
            Some(b'\n') => self.state = State::ChunkLine,
            Some(_) | None => {
                self.search();
                return Some(Token::Broken(Incomplete::Unparsed));
            }
        }
        sink.captured += 1;
        self.text.take(1);
        None
    }

    fn trailers(&mut self, settings: &Settings, sink: &mut Sink) -> Option<Token> {
        match self.text.section(settings.head_limit, true) {
            Taken::Whole(section) => {
                sink.captured += section.len() as u64;
                self.state = State::Head;
                Some(Token::End(section))
            }
            Taken::Part => None,
            Taken::TooLong => Some(self.too_long(settings, sink)),
        }
    }

    /// Processes a hole of `len` bytes.
    pub(super) fn hole(&mut self, len: u64, sink: &mut Sink) -> Hole {
        let (in_body, after) = match self.state {
            State::Fixed(left) if len <= left => {
                (len, Some(if len == left { State::Ended } else { State::Fixed(left - len) }))
            }
            State::ChunkData(left) if len <= left => {
                (len, Some(if len == left { State::ChunkEnd } else { State::ChunkData(left - len) }))
            }
            // The line end after the data carries no information (RFC 9112 §7.1): one call wrote both, and a probe copied only the beginning.
            State::ChunkData(left) if len - left == CHUNK_END => (left, Some(State::ChunkLine)),
            State::ToClose => (len, Some(State::ToClose)),
            State::Fixed(left) | State::ChunkData(left) => (left, None),
            State::Head
            | State::Proving
            | State::ChunkLine
            | State::ChunkEnd
            | State::Trailers
            | State::Unsure(_)
            | State::Unasked(_)
            | State::Ended
            | State::Search => (0, None),
        };
        match after {
            Some(state) => {
                self.state = state;
                Hole::InBody(in_body)
            }
            None => {
                self.drop_held(sink);
                self.search();
                Hole::Through(in_body)
            }
        }
    }

    fn drop_held(&mut self, sink: &mut Sink) {
        let dropped = self.text.drop_held(0);
        if dropped > 0 {
            sink.losses.add(Loss::Unparsed, dropped as u64);
        }
    }

    /// The direction is closed; held bytes are counted. Returns true if closing the connection ends the message.
    pub(super) fn close(&mut self, sink: &mut Sink) -> bool {
        self.drop_held(sink);
        self.state == State::ToClose
    }

    /// What has not been read yet, for the parser of another protocol.
    pub(super) fn into_rest(self) -> Vec<Input> {
        let stamp = self.stamp;
        self.text.into_pieces().map(|bytes| Input::Bytes(bytes, stamp)).chain(self.inbox).collect()
    }
}
