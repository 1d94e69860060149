//! One direction of an HTTP/2 connection, split into tokens. In: its bytes in order, and its holes. Out: header blocks (assembled by
//! `block`), pieces of DATA, and what ends streams. It knows nothing about streams or compression tables. It
//! counts what it consumes as framing and what it skips; pieces of DATA are counted by the caller.
//!
//! ```text
//!  Preface ──► Head ──► Padding ──► Data ──► Skip (padding) ──► Head
//!               │ ├───► Payload (must be whole) ──────────────► Head
//!               │ └───► Skip (not needed) ────────────────────► Head
//!               │ not a frame, or a hole
//!               ▼
//!             Search ── frames by their shape ──► Head
//! ```

use bytes::{Buf, Bytes, BytesMut};
use h2::frame::{HEADER_LEN, Kind};

use super::block::{Assembled, Assembly, Block, opening};
use super::shape::{self, END_HEADERS, END_STREAM, Found, FrameHead, PADDED};
use crate::http::detect::PREFACE;
use crate::http::pair::Stamp;
use crate::http::{Settings, Sink};
use crate::model::loss::Loss;

/// Bytes searched for frames at once.
const WINDOW: usize = 64 << 10;

/// What is found in a direction.
#[derive(Debug)]
pub(super) enum Token {
    /// Nothing until more bytes arrive.
    More,
    /// A whole header block.
    Block(Block),
    /// The next octets of a header block too long to be held.
    BlockPiece(Bytes),
    /// A header block did not arrive whole: its effect on the compression table is unknown.
    BlockLost(Block),
    /// The next bytes of a stream.
    Data(u32, Bytes),
    /// The end of the DATA frame that ends a stream's direction.
    EndData(u32),
    /// RST_STREAM: the stream, and the error code.
    Reset(u32, u32),
    /// GOAWAY: streams of the peer above this one were not and will not be processed.
    GoAway(u32),
    /// The bytes are no longer frames.
    Unframed,
    /// The bytes never were frames.
    NoFrames,
}

/// The effect of a hole.
pub(super) enum Hole {
    /// None: it lies in what is skipped.
    Skipped,
    /// This many bytes of a stream are missing.
    InData(u32, u64),
    /// This many bytes of a stream, if one is given, are missing, and what follows the hole is unknown.
    Through(Option<(u32, u64)>),
}

#[derive(Debug, Clone, Copy)]
enum State {
    Preface(usize),
    Head,
    Padding(FrameHead),
    Data {
        head: FrameHead,
        left: usize,
        padding: usize,
    },
    Payload(FrameHead),
    Skip(usize),
    /// In a header block whose frame is too long to be held.
    Long {
        head: FrameHead,
        left: usize,
        padding: usize,
    },
    Search,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    state: State,
    front: Bytes,
    /// What follows `front`.
    behind: Bytes,
    held: BytesMut,
    /// Length of `held` from which another search is worthwhile.
    search_at: usize,
    /// No frame has arrived yet.
    is_new: bool,
    blocks: Assembly,
    pub(super) stamp: Stamp,
    frame_stamp: Stamp,
}

impl Lane {
    /// Creates a direction: the client's begins with the preface; one joined mid-stream begins anywhere.
    pub(super) fn new(has_preface: bool, joined_late: bool) -> Lane {
        let state = match (has_preface, joined_late) {
            (true, _) => State::Preface(0),
            (false, false) => State::Head,
            (false, true) => State::Search,
        };
        Lane {
            state,
            front: Bytes::new(),
            behind: Bytes::new(),
            held: BytesMut::new(),
            search_at: 0,
            is_new: !joined_late,
            blocks: Assembly::default(),
            stamp: Stamp::default(),
            frame_stamp: Stamp::default(),
        }
    }

    /// Bytes of memory held by what is incomplete.
    pub(super) fn held(&self) -> usize {
        self.held.capacity() + self.blocks.held()
    }

    /// Takes the next bytes; those before have been read.
    pub(super) fn feed(&mut self, bytes: Bytes, stamp: Stamp) {
        self.front = bytes;
        self.stamp = stamp;
    }

    /// Returns the next token.
    pub(super) fn next(&mut self, settings: &Settings, sink: &mut Sink) -> Token {
        loop {
            let token = match self.state {
                State::Data { head, left: 0, padding } => {
                    self.state = State::Skip(padding);
                    head.has(END_STREAM).then_some(Token::EndData(head.stream))
                }
                State::Skip(0) => {
                    self.state = State::Head;
                    None
                }
                State::Long { head, left: 0, padding } => self.end_long(head, padding),
                State::Payload(head) if head.len == 0 => self.payload(head, settings, sink),
                _ if self.front.is_empty() => {
                    // Even an empty slice would keep its segment alive.
                    self.front = std::mem::take(&mut self.behind);
                    if self.front.is_empty() {
                        return Token::More;
                    }
                    None
                }
                State::Preface(matched) => self.preface(matched, sink),
                State::Head => self.head(settings, sink),
                State::Padding(head) => self.padding(head, sink),
                State::Data { head, left, padding } => Some(self.data(head, left, padding)),
                State::Payload(head) => self.payload(head, settings, sink),
                State::Skip(left) => {
                    let take = self.pass(left);
                    sink.captured += take as u64;
                    self.state = State::Skip(left - take);
                    None
                }
                State::Long { head, left, padding } => self.long(head, left, padding, settings, sink),
                State::Search => {
                    self.look_for_frames(sink);
                    None
                }
            };
            if let Some(token) = token {
                return token;
            }
        }
    }

    fn preface(&mut self, matched: usize, sink: &mut Sink) -> Option<Token> {
        let want = PREFACE.get(matched..).unwrap_or_default();
        let same = self.front.iter().zip(want).take_while(|(a, b)| a == b).count();
        sink.captured += same as u64;
        self.front.advance(same);
        if same == want.len() {
            self.state = State::Head;
            return None;
        }
        if self.front.is_empty() {
            self.state = State::Preface(matched + same);
            return None;
        }
        Some(self.unframe())
    }

    fn unframe(&mut self) -> Token {
        self.state = State::Search;
        self.blocks.clear();
        self.search_at = 0;
        Token::Unframed
    }

    fn head(&mut self, settings: &Settings, sink: &mut Sink) -> Option<Token> {
        if self.held.is_empty() {
            self.frame_stamp = self.stamp;
        }
        let octets: [u8; HEADER_LEN] = match self.front.split_first_chunk::<HEADER_LEN>() {
            Some((octets, _)) if self.held.is_empty() => {
                let octets = *octets;
                self.front.advance(HEADER_LEN);
                octets
            }
            _ => {
                let take = (HEADER_LEN - self.held.len()).min(self.front.len());
                self.held.extend_from_slice(&self.front.split_to(take));
                let octets = self.held.as_ref().try_into().ok()?;
                self.held.clear();
                octets
            }
        };
        let head = FrameHead::parse(octets);
        // SETTINGS comes first (RFC 9113 §3.4). An HTTP/1 answer looks like a frame of an unknown kind.
        if std::mem::take(&mut self.is_new) && head.kind == Kind::Unknown {
            sink.losses.add(Loss::Unparsed, HEADER_LEN as u64);
            self.unframe();
            return Some(Token::NoFrames);
        }
        if !head.is_valid() || !self.blocks.admits(head) {
            sink.losses.add(Loss::Unparsed, HEADER_LEN as u64);
            return Some(self.unframe());
        }
        sink.captured += HEADER_LEN as u64;
        self.enter(head, settings);
        self.blocks.interrupt(head).map(Token::BlockLost)
    }

    fn enter(&mut self, head: FrameHead, settings: &Settings) {
        self.state = match head.kind {
            Kind::Data if head.has(PADDED) => State::Padding(head),
            Kind::Data => State::Data { head, left: head.len, padding: 0 },
            Kind::Headers | Kind::PushPromise | Kind::Continuation | Kind::Reset => State::Payload(head),
            Kind::GoAway if head.len <= settings.head_limit => State::Payload(head),
            Kind::GoAway | Kind::Settings | Kind::Priority | Kind::Ping | Kind::WindowUpdate | Kind::Unknown => {
                State::Skip(head.len)
            }
        };
    }

    fn padding(&mut self, head: FrameHead, sink: &mut Sink) -> Option<Token> {
        let padding = usize::from(self.front.get_u8());
        sink.captured += 1;
        let Some(left) = (head.len - 1).checked_sub(padding) else { return Some(self.unframe()) };
        self.state = State::Data { head, left, padding };
        None
    }

    fn data(&mut self, head: FrameHead, left: usize, padding: usize) -> Token {
        let take = left.min(self.front.len());
        self.state = State::Data { head, left: left - take, padding };
        Token::Data(head.stream, self.front.split_to(take))
    }

    fn pass(&mut self, left: usize) -> usize {
        let take = left.min(self.front.len());
        self.front.advance(take);
        take
    }

    /// Collects a payload, or, if it is too long, the part before the header block, and reads it once it is whole.
    fn payload(&mut self, head: FrameHead, settings: &Settings, sink: &mut Sink) -> Option<Token> {
        let is_long = head.len > settings.head_limit;
        let len = if is_long { opening(head) } else { head.len };
        let payload = if self.held.is_empty() && self.front.len() >= len {
            self.front.split_to(len)
        } else {
            let take = (len - self.held.len()).min(self.front.len());
            self.held.extend_from_slice(&self.front.split_to(take));
            if self.held.len() < len {
                return None;
            }
            std::mem::take(&mut self.held).freeze()
        };
        if is_long {
            sink.captured += len as u64;
            let padding = self.blocks.begin_long(head, payload, self.frame_stamp);
            let Some((padding, left)) =
                padding.and_then(|padding| Some((padding, (head.len - len).checked_sub(padding)?)))
            else {
                return Some(self.unframe());
            };
            self.state = State::Long { head, left, padding };
            return None;
        }
        let beyond = if head.kind == Kind::Continuation { self.blocks.beyond(len, settings.head_limit) } else { 0 };
        count_beyond(len, beyond, sink);
        self.state = State::Head;
        self.read(head, payload, settings)
    }

    /// Passes on the available octets of a header block whose frame is too long to be held.
    fn long(
        &mut self,
        head: FrameHead,
        left: usize,
        padding: usize,
        settings: &Settings,
        sink: &mut Sink,
    ) -> Option<Token> {
        let take = left.min(self.front.len());
        self.state = State::Long { head, left: left - take, padding };
        count_beyond(take, self.blocks.beyond(take, settings.head_limit), sink);
        let assembled = self.blocks.go_on(self.front.split_to(take), settings.head_limit);
        self.assembled(assembled)
    }

    fn end_long(&mut self, head: FrameHead, padding: usize) -> Option<Token> {
        self.state = State::Skip(padding);
        let assembled = if head.has(END_HEADERS) { self.blocks.end(Assembled::Part) } else { Assembled::Part };
        self.assembled(assembled)
    }

    fn read(&mut self, head: FrameHead, payload: Bytes, settings: &Settings) -> Option<Token> {
        match head.kind {
            Kind::Headers | Kind::PushPromise | Kind::Continuation => {
                let assembled = self.blocks.read(head, payload, self.frame_stamp, settings.head_limit);
                self.assembled(assembled)
            }
            Kind::Reset => payload.first_chunk::<4>().map(|o| Token::Reset(head.stream, u32::from_be_bytes(*o))),
            Kind::GoAway => payload.first_chunk::<4>().map(|o| Token::GoAway(u32::from_be_bytes(*o) & 0x7fff_ffff)),
            Kind::Data | Kind::Priority | Kind::Settings | Kind::Ping | Kind::WindowUpdate | Kind::Unknown => None,
        }
    }

    fn assembled(&mut self, assembled: Assembled) -> Option<Token> {
        match assembled {
            Assembled::Part => None,
            Assembled::Whole(block) => Some(Token::Block(block)),
            Assembled::Piece(octets) => Some(Token::BlockPiece(octets)),
            Assembled::Malformed => Some(self.unframe()),
        }
    }

    /// Searches the bytes in place, and holds only what more bytes may prove: frames may be found and lost again every few bytes.
    fn look_for_frames(&mut self, sink: &mut Sink) {
        if self.held.is_empty() {
            let window = self.front.get(..2 * WINDOW).unwrap_or(&self.front);
            let (len, found) = (window.len(), shape::find(window));
            let skip = self.skip_to(found, len, sink);
            self.front.advance(skip);
            if let Found::Frame(_) = found {
                self.state = State::Head;
            } else {
                self.held.extend_from_slice(&self.front.split_to(len - skip));
                self.search_at = again_at(self.held.len());
            }
            return;
        }
        let take = (2 * WINDOW).saturating_sub(self.held.len()).min(self.front.len());
        self.held.extend_from_slice(&self.front.split_to(take));
        if self.held.len() < self.search_at.min(2 * WINDOW) {
            return;
        }
        let found = shape::find(&self.held);
        let skip = self.skip_to(found, self.held.len(), sink);
        self.held.advance(skip);
        if let Found::Frame(_) = found {
            // The held bytes ended where `front` ended, so nothing is behind them yet.
            self.behind = std::mem::replace(&mut self.front, std::mem::take(&mut self.held).freeze());
            self.state = State::Head;
        } else {
            self.search_at = again_at(self.held.len());
        }
    }

    /// How many of the `len` searched bytes can be skipped; they are counted.
    fn skip_to(&self, found: Found, len: usize, sink: &mut Sink) -> usize {
        let skip = match found {
            Found::Maybe(at) if len - at > WINDOW => len - WINDOW,
            Found::Frame(at) | Found::Maybe(at) => at,
            Found::Nothing(len) => len,
        };
        if skip > 0 {
            sink.losses.add(Loss::Unparsed, skip as u64);
        }
        skip
    }

    /// Processes a hole of `len` bytes.
    pub(super) fn hole(&mut self, len: u64, sink: &mut Sink) -> Hole {
        let short = usize::try_from(len).unwrap_or(usize::MAX);
        match self.state {
            State::Data { head, left, padding } if short <= left => {
                self.state = State::Data { head, left: left - short, padding };
                return Hole::InData(head.stream, len);
            }
            State::Data { head, left, padding } if short - left <= padding => {
                self.state = State::Data { head, left: 0, padding: padding - (short - left) };
                return Hole::InData(head.stream, left as u64);
            }
            State::Skip(left) if short <= left => {
                self.state = State::Skip(left - short);
                return Hole::Skipped;
            }
            State::Preface(_)
            | State::Head
            | State::Padding(_)
            | State::Data { .. }
            | State::Payload(_)
            | State::Skip(_)
            | State::Long { .. }
            | State::Search => {}
        }
        let in_data = match self.state {
            State::Data { head, left, .. } => Some((head.stream, left as u64)),
            _ => None,
        };
        self.drop_held(sink);
        self.unframe();
        Hole::Through(in_data)
    }

    fn drop_held(&mut self, sink: &mut Sink) {
        if !self.held.is_empty() {
            sink.losses.add(Loss::Unparsed, self.held.len() as u64);
            self.held.clear();
        }
    }

    /// The direction is closed: held bytes are counted.
    pub(super) fn close(&mut self, sink: &mut Sink) {
        self.drop_held(sink);
    }
}

/// Counts `len` octets of a header block, `beyond` of which exceed the limit.
fn count_beyond(len: usize, beyond: usize, sink: &mut Sink) {
    sink.captured += (len - beyond) as u64;
    if beyond > 0 {
        sink.losses.add(Loss::HeadLimit, beyond as u64);
    }
}

/// Held length from which another search is worthwhile.
fn again_at(held: usize) -> usize {
    held + held / 8 + 1
}
