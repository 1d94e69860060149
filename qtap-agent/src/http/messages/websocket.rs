//! One direction of a WebSocket connection (RFC 6455 §5), with permessage-deflate if negotiated (RFC 7692). In: its bytes and
//! holes. Out: counts of frames and messages, how it was closed, and the messages: unmasked, reassembled, decompressed, up to
//! the limits.
//!
//! ```text
//!        ┌──────── last byte of the payload: a control frame, or one more of the message's ─────┐
//!        ▼                                                                                      │
//!      Head ──► Payload(left) ───────────────────────────────────────────────────────────────────┘
//!        │ violates a rule, or is lost  │ a hole beyond its end
//!        ▼                              ▼
//!      Broken: bytes are counted, and nothing is guessed
//! ```
//!
//! Every byte is counted once: heads, and what is kept once the message is complete, as captured; the rest as lost, with the reason.

use bytes::{Bytes, BytesMut};

use super::deflate::Inflate;
use super::frame::{Frame, Head, Opcode, Read};
use super::under_way::{Masked, UnderWay};
use super::{Env, KEPT, MESSAGE_COST};
use crate::http::Sink;
use crate::http::body::Budget;
use crate::model::loss::Loss;
use crate::model::messages::{self as model, Close, Frames, Framing, Message, MessageKind, Messages};

/// One direction.
#[derive(Debug)]
pub(in crate::http) struct WebSocket {
    /// True for the client's direction: its frames are masked, the server's are not (RFC 6455 §5.1).
    masked: bool,
    inflate: Option<Inflate>,
    messages: Messages,
    frames: Frames,
    close: Option<Close>,
    state: State,
    head: Head,
    /// The frame being read.
    frame: Option<Frame>,
    /// Payload of the Close frame being read; `None` if part of it was lost.
    closing: Option<BytesMut>,
    /// The message being reassembled.
    under_way: Option<UnderWay>,
    /// A complete message that does not fit into the current part with those before it.
    parked: Option<Message>,
    /// Bytes of the kept messages.
    waiting: usize,
    /// Bytes accounted for it in the budget.
    cost: usize,
    /// Bytes of payload that are counted once the message is complete.
    uncounted: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Payload { left: u64 },
    Broken,
}

impl WebSocket {
    pub(super) fn new(masked: bool, inflate: Option<Inflate>) -> WebSocket {
        WebSocket {
            masked,
            inflate,
            messages: Messages::new(Framing::WebSocket(model::WebSocket::default())),
            frames: Frames::default(),
            close: None,
            state: State::Head,
            head: Head::default(),
            frame: None,
            closing: None,
            under_way: None,
            parked: None,
            waiting: 0,
            cost: 0,
            uncounted: 0,
        }
    }

    /// Bytes of the kept messages.
    pub(in crate::http) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Reads from the front of `piece`. True if the kept messages have to be reported before more is read: they have reached `room`
    /// bytes, or fill a part.
    pub(in crate::http) fn read(&mut self, piece: &mut Bytes, room: usize, env: &mut Env<'_>) -> bool {
        while !self.is_full(room) {
            if piece.is_empty() {
                return false;
            }
            match self.state {
                State::Head => self.head(piece, env),
                State::Payload { left } => {
                    if self.waiting > 0 && env.budget.room(env.settings) < piece.len() {
                        return true;
                    }
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                    self.payload(left, piece.split_to(len), env);
                }
                State::Broken => {
                    env.sink.losses.add(Loss::Unparsed, piece.len() as u64);
                    piece.clear();
                }
            }
            self.account(env.budget);
        }
        true
    }

    fn is_full(&self, room: usize) -> bool {
        self.parked.is_some() || self.waiting >= room || self.messages.kept.len() >= KEPT
    }

    fn head(&mut self, piece: &mut Bytes, env: &mut Env<'_>) {
        match self.head.read(piece) {
            Read::Part => {}
            Read::Broken(octets) => {
                env.sink.losses.add(Loss::Unparsed, octets as u64);
                self.break_off(env.sink);
            }
            Read::Whole(frame, octets) if !self.admits(frame) => {
                env.sink.losses.add(Loss::Unparsed, octets as u64);
                self.break_off(env.sink);
            }
            Read::Whole(frame, octets) => {
                env.sink.captured += octets as u64;
                self.begin(frame);
                self.state = State::Payload { left: frame.len };
                if frame.len == 0 {
                    self.end_frame(env);
                }
            }
        }
    }

    /// True if this frame may come now (RFC 6455 §5.1, §5.4, §5.5.1; RFC 7692 §6).
    fn admits(&self, frame: Frame) -> bool {
        let in_turn = match frame.opcode {
            Opcode::Continuation => self.under_way.is_some() && !frame.rsv1,
            Opcode::Text | Opcode::Binary => self.under_way.is_none() && (!frame.rsv1 || self.inflate.is_some()),
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
        };
        in_turn && frame.key.is_some() == self.masked && self.close.is_none()
    }

    fn begin(&mut self, frame: Frame) {
        self.frame = Some(frame);
        let kind = match frame.opcode {
            Opcode::Text => MessageKind::Text,
            Opcode::Binary => MessageKind::Binary,
            Opcode::Close => {
                self.closing = Some(BytesMut::new());
                return;
            }
            Opcode::Continuation | Opcode::Ping | Opcode::Pong => return,
        };
        self.under_way = Some(UnderWay::new(kind, frame.rsv1));
    }

    /// Takes the next bytes of a frame's payload, of which `left` bytes remain.
    fn payload(&mut self, left: u64, bytes: Bytes, env: &mut Env<'_>) {
        let Some(frame) = self.frame else { return };
        let len = bytes.len() as u64;
        let bytes = Masked { bytes, key: frame.key, at: frame.len - left };
        if frame.opcode.is_control() {
            env.sink.captured += len;
            if let Some(closing) = &mut self.closing {
                closing.extend_from_slice(&bytes.plain());
            }
        } else if !env.keep {
            env.sink.captured += len;
            env.sink.unwanted += len;
        } else {
            self.data(bytes, env);
        }
        if let Some(message) = self.under_way.as_mut().filter(|_| !frame.opcode.is_control()) {
            message.size = message.size.saturating_add(len);
        }
        self.state = State::Payload { left: left - len };
        if left == len {
            self.end_frame(env);
        }
    }

    /// Takes the next bytes of a message.
    fn data(&mut self, bytes: Masked, env: &mut Env<'_>) {
        let Some(message) = &mut self.under_way else { return };
        let len = bytes.len();
        let shared = env.budget.room(env.settings);
        let room = env.settings.body_limit.saturating_sub(message.len()).min(shared);
        if let Some(inflate) = self.inflate.as_mut().filter(|_| message.compressed) {
            inflate.fit(shared);
        }
        let (kept, why) = message.add(bytes, room, self.inflate.as_mut(), env.budget);
        self.uncounted += kept as u64;
        if kept < len {
            env.sink.losses.add(why, (len - kept) as u64);
        }
    }

    fn end_frame(&mut self, env: &mut Env<'_>) {
        self.state = State::Head;
        let Some(frame) = self.frame.take() else { return };
        let count = match frame.opcode {
            Opcode::Continuation => &mut self.frames.continuation,
            Opcode::Text => &mut self.frames.text,
            Opcode::Binary => &mut self.frames.binary,
            Opcode::Close => &mut self.frames.close,
            Opcode::Ping => &mut self.frames.ping,
            Opcode::Pong => &mut self.frames.pong,
        };
        *count += 1;
        if frame.opcode == Opcode::Close {
            self.end_close(frame.len, env.sink);
        } else if frame.fin && !frame.opcode.is_control() {
            self.end_message(env);
        }
    }

    fn end_close(&mut self, len: u64, sink: &mut Sink) {
        let payload = self.closing.take();
        let close = match payload.as_deref() {
            Some([first, second, reason @ ..]) => Close {
                code: Some(u16::from_be_bytes([*first, *second])),
                reason: std::str::from_utf8(reason).unwrap_or_default().to_owned(),
            },
            Some(_) | None => Close::default(),
        };
        self.close = Some(close);
        if len == 1 {
            // RFC 6455 §5.5.1: if there is a body, its first two octets are the status code.
            self.break_off(sink);
        }
    }

    fn end_message(&mut self, env: &mut Env<'_>) {
        let Some(mut message) = self.under_way.take() else { return };
        self.messages.count += 1;
        self.messages.bytes = self.messages.bytes.saturating_add(message.size);
        self.messages.compressed += u64::from(message.compressed);
        if !env.keep {
            return;
        }
        message.end(env.settings.body_limit, self.inflate.as_mut());
        let uncounted = std::mem::take(&mut self.uncounted);
        if message.holed {
            self.messages.left_out += 1;
            env.sink.losses.add(Loss::Unparsed, uncounted);
            return;
        }
        env.sink.captured += uncounted;
        let message = message.tell(env.time);
        if self.waiting > 0 && self.waiting + message.data.len() > env.settings.body_limit {
            self.parked = Some(message);
        } else {
            self.keep(message);
        }
    }

    fn keep(&mut self, message: Message) {
        self.waiting += message.data.len();
        self.messages.kept.push(message);
    }

    /// The next `len` bytes were lost. Returns true as [`WebSocket::read`] does.
    pub(in crate::http) fn hole(&mut self, len: u64, env: &mut Env<'_>) -> bool {
        match self.state {
            State::Payload { left } if len <= left => {
                self.closing = None;
                let control = self.frame.is_some_and(|frame| frame.opcode.is_control());
                if let Some(message) = self.under_way.as_mut().filter(|_| !control) {
                    message.size = message.size.saturating_add(len);
                    message.holed = true;
                    if let Some(inflate) = self.inflate.as_mut().filter(|_| message.compressed) {
                        inflate.lose_thread();
                    }
                }
                self.state = State::Payload { left: left - len };
                if left == len {
                    self.end_frame(env);
                }
            }
            State::Payload { .. } | State::Head => self.break_off(env.sink),
            State::Broken => {}
        }
        self.account(env.budget);
        self.parked.is_some()
    }

    /// The framing is lost: what follows cannot be interpreted.
    pub(in crate::http) fn lose_thread(&mut self, env: &mut Env<'_>) {
        if self.state != State::Broken {
            self.break_off(env.sink);
            self.account(env.budget);
        }
    }

    fn break_off(&mut self, sink: &mut Sink) {
        self.messages.broken = true;
        self.state = State::Broken;
        self.give_up(sink);
    }

    /// Counts the incomplete message or head, which will not be reported.
    fn give_up(&mut self, sink: &mut Sink) {
        let rest = std::mem::take(&mut self.uncounted) + self.head.give_up() as u64;
        if rest > 0 {
            sink.losses.add(Loss::Unparsed, rest);
        }
        self.under_way = None;
        self.inflate = None;
    }

    /// The bytes of the incomplete message have been counted already.
    pub(in crate::http) fn forget_uncounted(&mut self) {
        self.uncounted = 0;
    }

    /// The direction has ended.
    pub(in crate::http) fn close(&mut self, sink: &mut Sink, budget: &mut Budget) {
        self.give_up(sink);
        self.account(budget);
    }

    /// The counts, and the kept messages; a parked message is kept from here on.
    pub(in crate::http) fn cut(&mut self, budget: &mut Budget) -> Messages {
        let kept = std::mem::take(&mut self.messages.kept);
        let left_out = std::mem::take(&mut self.messages.left_out);
        self.waiting = 0;
        if let Some(message) = self.parked.take() {
            self.keep(message);
        }
        self.account(budget);
        let counts = model::WebSocket { frames: self.frames, close: self.close.clone() };
        let Messages { count, bytes, compressed, broken, .. } = self.messages;
        Messages { framing: Framing::WebSocket(counts), count, bytes, compressed, kept, left_out, broken }
    }

    /// Updates the budget with its current cost.
    fn account(&mut self, budget: &mut Budget) {
        let under_way = self.under_way.as_ref().map_or(0, UnderWay::len);
        let parked = self.parked.as_ref().map_or(0, |message| message.data.len());
        let window = self.inflate.as_ref().map_or(0, Inflate::cost);
        let cost = self.waiting + self.messages.kept.len() * MESSAGE_COST + under_way + parked + window;
        if cost != self.cost {
            budget.release(std::mem::replace(&mut self.cost, cost));
            budget.hold(cost);
        }
    }
}
