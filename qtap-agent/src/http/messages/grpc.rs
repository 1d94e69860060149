//! gRPC messages: `Length-Prefixed-Message → Compressed-Flag Message-Length Message` (gRPC over HTTP/2), a flag of one octet, a
//! big-endian length of four, then that many octets, however they are split into DATA frames. In: the bytes of a body as they arrive, and
//! its holes. Out: counts; and the messages as slices of what the body keeps, so that they are not kept twice. A message is
//! copied only if it lies in several pieces, or began in an earlier part.
//!
//! A hole within a message costs that message; after any other hole the start of the next message is unknown.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::kept::Kept;
use super::{KEPT, MESSAGE_COST};
use crate::http::body::Budget;
use crate::model::message::Body;
use crate::model::messages::{Framing, Message, MessageKind, Messages};
use crate::model::time::KernelTime;

/// Octets before a message.
const PREFIX: usize = 5;

/// The messages of one direction.
#[derive(Debug)]
pub(in crate::http) struct Grpc {
    /// Counts only; no messages are kept in it.
    messages: Messages,
    state: State,
    /// Whole messages to be reported.
    spans: Vec<Span>,
    /// The bytes that earlier parts had of the first message to be reported, or of the one in progress.
    carried: BytesMut,
    /// `carried` is incomplete.
    carried_cut: bool,
    /// Offset in the body at which the current part begins.
    part_at: u64,
    /// Bytes accounted for it in the budget.
    cost: usize,
}

#[derive(Debug)]
enum State {
    Prefix { octets: [u8; PREFIX], have: usize },
    Payload { span: Span, left: u64, holed: bool },
    Broken,
}

/// Where a message lies in its body.
#[derive(Debug, Clone)]
struct Span {
    at: Range<u64>,
    compressed: bool,
    time: KernelTime,
}

const NEXT: State = State::Prefix { octets: [0; PREFIX], have: 0 };

impl Grpc {
    pub(in crate::http) fn new() -> Grpc {
        Grpc {
            messages: Messages::new(Framing::Grpc),
            state: NEXT,
            spans: Vec::new(),
            carried: BytesMut::new(),
            carried_cut: false,
            part_at: 0,
            cost: 0,
        }
    }

    /// True if no more messages can be kept before these are reported.
    pub(in crate::http) fn is_full(&self) -> bool {
        self.spans.len() >= KEPT
    }

    /// Reads bytes that begin at offset `at` of the body; returns how many were read. `patient`: stops when it is full, to be called again
    /// after a part was reported; otherwise further messages are left out.
    pub(in crate::http) fn read(
        &mut self,
        bytes: &[u8],
        at: u64,
        time: KernelTime,
        keep: bool,
        patient: bool,
    ) -> usize {
        let mut read = 0;
        while let Some(rest) = bytes.get(read..).filter(|rest| !rest.is_empty()) {
            if patient && self.is_full() {
                break;
            }
            read += match &mut self.state {
                State::Prefix { octets, have } => {
                    let take = (PREFIX - *have).min(rest.len());
                    octets.iter_mut().skip(*have).zip(rest).for_each(|(to, from)| *to = *from);
                    *have += take;
                    if *have == PREFIX {
                        let octets = *octets;
                        self.begin(octets, at.saturating_add((read + take) as u64), time, keep);
                    }
                    take
                }
                State::Payload { left, .. } => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= take as u64;
                    self.end_if_whole(time, keep);
                    take
                }
                State::Broken => rest.len(),
            };
        }
        read
    }

    fn begin(&mut self, octets: [u8; PREFIX], at: u64, time: KernelTime, keep: bool) {
        let [flag, length @ ..] = octets;
        if flag > 1 {
            self.lose_thread();
            return;
        }
        let len = u64::from(u32::from_be_bytes(length));
        let span = Span { at: at..at.saturating_add(len), compressed: flag == 1, time };
        self.state = State::Payload { span, left: len, holed: false };
        self.end_if_whole(time, keep);
    }

    fn end_if_whole(&mut self, time: KernelTime, keep: bool) {
        let State::Payload { span, left: 0, holed } = &self.state else { return };
        let (span, holed) = (Span { time, ..span.clone() }, *holed);
        self.state = NEXT;
        self.messages.count += 1;
        self.messages.bytes += span.at.end - span.at.start;
        self.messages.compressed += u64::from(span.compressed);
        if keep && !holed && !self.is_full() {
            self.spans.push(span);
        } else {
            self.messages.left_out += u64::from(keep);
            if span.at.start < self.part_at {
                self.carried.clear();
                self.carried_cut = false;
            }
        }
    }

    /// The next `len` bytes of the body were lost.
    pub(in crate::http) fn hole(&mut self, len: u64, time: KernelTime, keep: bool) {
        match &mut self.state {
            State::Payload { left, holed, .. } if len <= *left => {
                *left -= len;
                *holed = true;
                self.end_if_whole(time, keep);
            }
            State::Payload { .. } | State::Prefix { .. } => self.lose_thread(),
            State::Broken => {}
        }
    }

    /// The body has released the bytes of its messages.
    pub(in crate::http) fn let_go(&mut self, budget: &mut Budget) {
        self.spans.clear();
        self.carried.clear();
        self.carried_cut = true;
        self.account(budget);
    }

    /// The message framing is lost: what follows cannot be interpreted.
    pub(in crate::http) fn lose_thread(&mut self) {
        self.state = State::Broken;
        self.messages.broken = true;
    }

    /// The body has ended.
    pub(in crate::http) fn close(&mut self, budget: &mut Budget) {
        budget.release(std::mem::take(&mut self.cost));
    }

    /// Updates the budget with its current cost.
    pub(in crate::http) fn account(&mut self, budget: &mut Budget) {
        let cost = self.carried.len() + self.spans.len() * MESSAGE_COST;
        budget.release(std::mem::replace(&mut self.cost, cost));
        budget.hold(cost);
    }

    /// The messages to be reported with `body`, a part that ends here or the whole; each is cut at `limit` bytes.
    pub(in crate::http) fn cut(&mut self, body: &Body, limit: usize, budget: &mut Budget) -> Messages {
        let mut kept = Kept::new(body);
        let mut told = Vec::with_capacity(self.spans.len());
        for span in std::mem::take(&mut self.spans) {
            let mut data = if span.at.start < body.offset {
                self.carry(&mut kept, body.offset..span.at.end, limit);
                self.carried_cut = false;
                self.carried.split().freeze()
            } else {
                kept.take(span.at.clone())
            };
            data.truncate(limit);
            told.push(span.tell(data));
        }
        if let State::Payload { span, left, holed: false } = &self.state {
            let range = span.at.start.max(body.offset)..span.at.end - left;
            self.carry(&mut kept, range, limit);
        }
        self.part_at = body.size;
        self.account(budget);
        let left_out = std::mem::take(&mut self.messages.left_out);
        let Messages { count, bytes, compressed, broken, .. } = self.messages;
        Messages { framing: Framing::Grpc, count, bytes, compressed, kept: told, left_out, broken }
    }

    /// Copies what the body has of `range`, up to the limit in total. After a missing byte nothing more is
    /// appended.
    fn carry(&mut self, kept: &mut Kept<'_>, range: Range<u64>, limit: usize) {
        let wanted = range.end.saturating_sub(range.start);
        if self.carried_cut || wanted == 0 {
            return;
        }
        let bytes = kept.take(range);
        let fits = bytes.len().min(limit.saturating_sub(self.carried.len()));
        self.carried.extend_from_slice(bytes.get(..fits).unwrap_or_default());
        self.carried_cut = fits as u64 != wanted;
    }
}

impl Span {
    fn tell(self, data: Bytes) -> Message {
        let size = self.at.end - self.at.start;
        let truncated = data.len() as u64 != size;
        Message {
            kind: MessageKind::Grpc,
            time: self.time,
            size,
            compressed: self.compressed,
            undone: false,
            data,
            truncated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
        [&[flag][..], &(payload.len() as u32).to_be_bytes(), payload].concat()
    }

    fn body(chunks: &[&'static [u8]]) -> Body {
        let chunks: Vec<Bytes> = chunks.iter().map(|chunk| Bytes::from_static(chunk)).collect();
        Body { size: chunks.iter().map(|chunk| chunk.len() as u64).sum(), chunks, ..Body::default() }
    }

    /// What is reported of messages that arrive in pieces of `size`, in one chunk.
    fn told(bytes: &[u8], size: usize, limit: usize) -> Messages {
        let mut grpc = Grpc::new();
        let mut at = 0;
        for piece in bytes.chunks(size) {
            assert_eq!(grpc.read(piece, at, KernelTime(at), true, true), piece.len());
            at += piece.len() as u64;
        }
        let body = Body { size: at, chunks: vec![Bytes::copy_from_slice(bytes)], ..Body::default() };
        grpc.cut(&body, limit, &mut Budget::default())
    }

    fn texts(messages: &Messages) -> Vec<String> {
        messages.kept.iter().map(|message| String::from_utf8_lossy(&message.data).into_owned()).collect()
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let bytes = [message(0, b"one"), message(1, b""), message(1, b"three")].concat();
        for size in 1..=bytes.len() {
            let messages = told(&bytes, size, 100);
            assert_eq!((messages.count, messages.bytes, messages.compressed, messages.broken), (3, 8, 2, false));
            assert_eq!(texts(&messages), ["one", "", "three"]);
            let flags: Vec<_> = messages.kept.iter().map(|m| (m.size, m.compressed, m.truncated)).collect();
            assert_eq!(flags, [(3, false, false), (0, true, false), (5, true, false)]);
        }
    }

    #[test]
    fn the_time_of_a_message_is_that_of_its_last_byte() {
        let messages = told(&message(0, b"abc"), 4, 100);
        assert_eq!(messages.kept[0].time, KernelTime(4));
    }

    #[test]
    fn a_flag_that_is_none_breaks_the_framing() {
        let messages = told(&[message(0, b"one"), message(2, b"two"), message(0, b"three")].concat(), 99, 100);
        assert_eq!((messages.count, messages.broken), (1, true));
    }

    #[test]
    fn what_lies_in_one_chunk_is_not_copied() {
        let bytes: &'static [u8] = b"\0\0\0\0\x03one\0\0\0\0\x03two";
        let (one, two) = bytes.split_at(10);
        let mut grpc = Grpc::new();
        grpc.read(bytes, 0, KernelTime(0), true, true);
        let messages = grpc.cut(&body(&[one, two]), 100, &mut Budget::default());
        assert_eq!(texts(&messages), ["one", "two"]);
        assert!(one.as_ptr_range().contains(&messages.kept[0].data.as_ptr()));
    }

    #[test]
    fn a_message_may_begin_in_one_part_and_end_in_another() {
        let bytes = [message(0, b"first"), message(0, b"second"), message(0, b"third")].concat();
        for (one, two) in (0..bytes.len()).flat_map(|one| (one..=bytes.len()).map(move |two| (one, two))) {
            let (mut grpc, mut budget) = (Grpc::new(), Budget::default());
            let mut all = Vec::new();
            for range in [0..one, one..two, two..bytes.len()] {
                let part = bytes.get(range.clone()).unwrap_or_default();
                grpc.read(part, range.start as u64, KernelTime(0), true, true);
                grpc.account(&mut budget);
                let (offset, size) = (range.start as u64, range.end as u64);
                let chunks = vec![Bytes::copy_from_slice(part)];
                all.extend(texts(&grpc.cut(&Body { offset, size, chunks, ..Body::default() }, 100, &mut budget)));
            }
            assert_eq!(all, ["first", "second", "third"], "{one} {two}");
            grpc.close(&mut budget);
            assert_eq!(budget, Budget::default());
        }
    }

    #[test]
    fn a_hole_costs_the_message_it_lies_in_and_any_other_the_framing() {
        let mut grpc = Grpc::new();
        grpc.read(&message(0, b"abcdef")[..7], 0, KernelTime(0), true, true);
        grpc.hole(4, KernelTime(0), true);
        let rest = message(0, b"next");
        grpc.read(&rest, 11, KernelTime(0), true, true);
        let chunks = vec![Bytes::from_static(b"\0\0\0\0\x06ab"), Bytes::from(rest)];
        let body = Body { size: 20, chunks, missing: std::slice::from_ref(&(7..11)).to_vec(), ..Body::default() };
        let messages = grpc.cut(&body, 100, &mut Budget::default());
        assert_eq!((messages.count, messages.left_out, messages.broken), (2, 1, false));
        assert_eq!(texts(&messages), ["next"]);
        grpc.hole(1, KernelTime(0), true);
        grpc.read(&message(0, b"x"), 21, KernelTime(0), true, true);
        assert!(grpc.cut(&Body::default(), 100, &mut Budget::default()).broken);
    }

    #[test]
    fn limits() {
        let long = told(&message(0, b"abcdef"), 99, 4);
        assert_eq!((texts(&long), long.kept[0].truncated, long.kept[0].size), (vec!["abcd".to_owned()], true, 6));
        let many = message(0, b"").repeat(KEPT + 1);
        let mut grpc = Grpc::new();
        assert_eq!(grpc.read(&many, 0, KernelTime(0), true, true), KEPT * PREFIX);
        grpc.read(&many, 0, KernelTime(0), true, false);
        assert!(grpc.is_full());
        let messages = grpc.cut(&Body::default(), 100, &mut Budget::default());
        assert_eq!(
            (messages.count, messages.kept.len(), messages.left_out),
            (2 * KEPT as u64 + 1, KEPT, KEPT as u64 + 1)
        );
        let mut counted = Grpc::new();
        counted.read(&many, 0, KernelTime(0), false, true);
        let messages = counted.cut(&Body::default(), 100, &mut Budget::default());
        assert_eq!((messages.count, messages.kept.len(), messages.left_out), (KEPT as u64 + 1, 0, 0));
    }
}
