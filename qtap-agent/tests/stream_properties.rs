//! However the same bytes arrive, they are reported once, in order, and missing bytes are counted.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use qtap_agent::model::conn::{Channel, ConnId, Direction, Endpoint, Role, Transport};
use qtap_agent::model::event::{Count, Counts, Event, Host, Opened, Passed, Skip, Skipped};
use qtap_agent::model::exchange::Exchange;
use qtap_agent::model::loss::Loss;
use qtap_agent::model::observation::{ConnState, Observation};
use qtap_agent::model::time::KernelTime;
use qtap_agent::stream::hello::{HelloReader, Reading};
use qtap_agent::stream::reassembly::{Ordered, Reassembly, WINDOW_PIECES};
use qtap_agent::tap::{Settings, Tap};

const T: KernelTime = KernelTime(1);

/// What the reassembly reported: the bytes, `None` for missing ones. Asserts that offsets are consecutive.
#[derive(Default)]
struct Told {
    stream: Vec<Option<u8>>,
    gaps: u64,
}

impl Told {
    fn take(&mut self) -> impl FnMut(Ordered) + '_ {
        |ordered| match ordered {
            Ordered::Segment(segment) => {
                assert_eq!(segment.offset, self.stream.len() as u64);
                assert!(!segment.payload.is_empty());
                self.stream.extend(segment.payload.iter().map(|byte| Some(*byte)));
            }
            Ordered::Gap(gap) => {
                assert_eq!(gap.offset, self.stream.len() as u64);
                assert!(gap.len > 0);
                self.gaps += gap.len;
                self.stream.extend(std::iter::repeat_n(None, gap.len as usize));
            }
            Ordered::Unwanted { .. } => panic!("everything was wanted"),
        }
    }
}

/// Pieces of `bytes`, cut at `cuts`.
fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<(u64, Bytes)> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut start = 0;
    let piece = |end: usize| {
        let piece = (start as u64, Bytes::copy_from_slice(&bytes[start..end]));
        start = end;
        piece
    };
    ends.into_iter().map(piece).filter(|(_, bytes)| !bytes.is_empty()).collect()
}

/// Moves each piece by up to `window` places.
fn shuffle<T>(pieces: &mut [T], moves: &[usize], window: usize) {
    for (at, by) in moves.iter().enumerate() {
        if pieces.is_empty() {
            return;
        }
        let from = at % pieces.len();
        let to = (from + by % (window + 1)).min(pieces.len() - 1);
        pieces.swap(from, to);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn splits_reordering_and_duplicates_change_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..4_000),
        cuts in prop::collection::vec(any::<usize>(), 0..60),
        again in prop::collection::vec(any::<usize>(), 0..60),
        moves in prop::collection::vec(any::<usize>(), 0..120),
    ) {
        let mut all = pieces(&bytes, &cuts);
        all.extend(pieces(&bytes, &again));
        prop_assume!(all.len() < WINDOW_PIECES);
        let window = all.len();
        shuffle(&mut all, &moves, window);
        let (mut reassembly, mut told) = (Reassembly::new(Direction::Sent, Some(0)), Told::default());
        for (offset, payload) in all {
            reassembly.on_bytes(offset, payload, T, 1, &mut told.take());
        }
        reassembly.on_close(Some(bytes.len() as u64), Loss::Unaccounted, T, &mut told.take());
        prop_assert_eq!(told.stream, bytes.iter().map(|byte| Some(*byte)).collect::<Vec<_>>());
        prop_assert_eq!(told.gaps, 0);
    }

    #[test]
    fn what_does_not_come_is_counted(
        bytes in prop::collection::vec(any::<u8>(), 1..4_000),
        cuts in prop::collection::vec(any::<usize>(), 0..60),
        fate in prop::collection::vec(0..4_u8, 60),
        moves in prop::collection::vec(any::<usize>(), 0..60),
        looks in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut all: Vec<_> = pieces(&bytes, &cuts).into_iter().zip(fate.iter().chain(&[0, 0])).collect();
        shuffle(&mut all, &moves, 5);
        let (mut reassembly, mut told) = (Reassembly::new(Direction::Sent, Some(0)), Told::default());
        let mut now = 0;
        for (((offset, payload), fate), look) in all.into_iter().zip(looks.iter().chain(&[false, false])) {
            let time = KernelTime(now);
            match fate {
                0 | 1 => reassembly.on_bytes(offset, payload, time, 1, &mut told.take()),
                2 => {
                    let lost = Skip::Lost(Loss::RingFull);
                    reassembly.on_absent(offset, payload.len() as u64, lost, time, &mut told.take());
                }
                _ => {}
            }
            if *look {
                now += 600_000_000;
                reassembly.on_tick(KernelTime(now), Loss::ReorderWindow, &mut told.take());
            }
        }
        reassembly.on_close(Some(bytes.len() as u64), Loss::Unaccounted, KernelTime(now), &mut told.take());
        prop_assert_eq!(told.stream.len(), bytes.len(), "segments and gaps together are what was carried");
        prop_assert_eq!(reassembly.told(), bytes.len() as u64);
        for (told, byte) in told.stream.iter().zip(&bytes) {
            prop_assert!(told.is_none_or(|told| told == *byte));
        }
    }

    #[test]
    fn no_offsets_break_it(
        pieces in prop::collection::vec((any::<u64>(), 0..200_usize, any::<bool>(), 0..3_u64), 0..200),
        small in any::<bool>(),
        begin in prop::option::of(any::<u64>()),
    ) {
        let mut reassembly = Reassembly::new(Direction::Received, begin);
        let mut next = begin;
        let mut told = 0_u64;
        let mut take = |ordered: Ordered| {
            let (offset, len) = match &ordered {
                Ordered::Segment(segment) => (segment.offset, segment.payload.len() as u64),
                Ordered::Gap(gap) => (gap.offset, gap.len),
                Ordered::Unwanted { offset, len, .. } => (*offset, *len),
            };
            assert_eq!(offset, next.unwrap_or(offset), "in order, without a hole");
            next = Some(offset.saturating_add(len));
            told = told.saturating_add(len);
        };
        for (index, (offset, len, absent, step)) in pieces.into_iter().enumerate() {
            let offset = if small { offset % 2_000 } else { offset };
            let now = KernelTime(index as u64 * step * 300_000_000);
            if absent {
                reassembly.on_absent(offset, len as u64, Skip::Unwanted, now, &mut take);
            } else {
                reassembly.on_bytes(offset, Bytes::from(vec![0; len]), now, 1, &mut take);
            }
            reassembly.on_tick(now, Loss::ReorderWindow, &mut take);
        }
        reassembly.on_close(None, Loss::ReorderWindow, KernelTime(u64::MAX), &mut take);
        prop_assert!(reassembly.hole_since().is_none());
    }

    #[test]
    fn no_bytes_break_the_hello(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        cuts in prop::collection::vec(any::<usize>(), 0..10),
        honest in any::<bool>(),
    ) {
        let mut all = if honest { vec![22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3] } else { Vec::new() };
        all.extend(bytes);
        let whole = HelloReader::default().read(&all);
        let mut reader = HelloReader::default();
        let mut split = Reading::More;
        for (_, piece) in pieces(&all, &cuts) {
            if split == Reading::More {
                split = reader.read(&piece);
            }
        }
        prop_assert_eq!(split, whole);
    }

    /// The conservation law for the whole tap: however the bytes of a connection arrive, or don't, they are captured or counted, and
    /// when all arrive, in any order, the same exchanges are reported.
    #[test]
    fn every_byte_of_a_connection_is_captured_or_counted(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
        fate in prop::collection::vec(0..12_u8, 200),
        moves in prop::collection::vec(any::<usize>(), 0..40),
        lossy in any::<bool>(),
    ) {
        let (mut requests, mut responses) = (Vec::new(), Vec::new());
        for (index, body) in bodies.iter().enumerate() {
            requests.extend(format!("POST /{index} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).bytes());
            requests.extend(body);
            responses.extend(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).bytes());
            responses.extend(body);
        }
        let mut all = Vec::new();
        for (direction, bytes) in [(Direction::Sent, &requests), (Direction::Received, &responses)] {
            let mut some = pieces(bytes, &cuts);
            shuffle(&mut some, &moves, 3);
            all.extend(some.into_iter().map(|(offset, payload)| (direction, offset, payload)));
        }
        let mut run = Run::new();
        for ((direction, offset, payload), fate) in all.into_iter().zip(fate.iter().chain(std::iter::repeat(&0))) {
            run.piece(direction, offset, payload, if lossy { *fate } else { 0 });
        }
        let report = run.close(requests.len(), responses.len());
        let (captured, lost) = (report.captured_bytes, report.losses.total_bytes());
        prop_assert_eq!(captured + lost, (requests.len() + responses.len()) as u64, "{:?}", report.losses);
        if !lossy {
            prop_assert!(report.losses.is_empty(), "{:?}", report.losses);
            let seen: Vec<_> = run.out.iter().filter_map(body_of).collect();
            prop_assert_eq!(seen, bodies);
        }
    }
}

/// The body of the response of an exchange.
fn body_of(observation: &Observation) -> Option<Vec<u8>> {
    match observation {
        Observation::Exchange(seen) => {
            let Exchange::Http(http) = &seen.exchange;
            Some(http.response.as_ref()?.body.to_bytes().to_vec())
        }
        Observation::Connection(_) => None,
    }
}

/// A tap with one connection.
struct Run {
    tap: Tap,
    out: Vec<Observation>,
    now: u64,
}

impl Run {
    fn new() -> Run {
        let mut run = Run { tap: Tap::new(Settings::default()), out: Vec::new(), now: 0 };
        run.event(Event::Started(Arc::new(Host::default())));
        run.event(Event::Opened(Opened {
            conn: ConnId(1),
            time: T,
            pid: 1,
            transport: Transport::Tcp,
            local: Endpoint::Unknown,
            peer: Endpoint::Unknown,
            role: Role::Client,
            joined_late: false,
        }));
        run
    }

    fn event(&mut self, event: Event) {
        self.tap.on_event(event, &mut self.out);
    }

    /// Fate 10: lost silently; 11: reported as lost; any other: delivered.
    fn piece(&mut self, direction: Direction, offset: u64, payload: Bytes, fate: u8) {
        let (channel, time, pid, len) = (Channel::Socket(ConnId(1)), KernelTime(self.now), 1, payload.len() as u64);
        match fate {
            10 => {}
            11 => {
                let why = Skip::Lost(Loss::RingFull);
                self.event(Event::Skipped(Skipped { channel, direction, offset, len, why, time, pid }));
            }
            _ => self.event(Event::Passed(Passed { channel, direction, offset, time, pid, payload })),
        }
        if fate == 9 {
            self.now += 700_000_000;
            self.event(Event::Tick(KernelTime(self.now)));
        }
    }

    fn close(&mut self, sent: usize, received: usize) -> qtap_agent::model::observation::ConnectionSeen {
        let count = |len: usize| Count { carried: len as u64, kernel: Some(len as u64), ..Count::default() };
        let time = KernelTime(self.now);
        let counts =
            Counts { conn: ConnId(1), time, sent: count(sent), received: count(received), unread: 0, shook: false };
        self.event(Event::Closed(counts));
        self.event(Event::Tick(KernelTime(self.now + 2_000_000_000)));
        let closed = self.out.iter().find_map(|observation| match observation {
            Observation::Connection(seen) if seen.state == ConnState::Closed => Some((**seen).clone()),
            Observation::Connection(_) | Observation::Exchange(_) => None,
        });
        closed.unwrap()
    }
}
