//! One channel of plaintext: two directions put in order, and the parser they feed. This is the only place where the columns
//! `stream` and `http` meet.
//!
//! In: what passed on the channel. Out, into the sink: exchanges; and sums that account for every byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::conservation::{carried, hole_reason, lost_in_silence, unaccounted, unwanted_in_silence};
use super::losses::Losses;
use super::memory::{Memory, Share};
use super::pair::{Pair, add};
use crate::http::{Http, Settings, Sink};
use crate::model::conn::{ConnFacts, Direction, Protocol};
use crate::model::event::{Count, Host, Skip, Skipped};
use crate::model::loss::{Loss, Tally};
use crate::model::process::Process;
use crate::model::route::Appetite;
use crate::model::segment::{Gap, Segment};
use crate::model::time::KernelTime;
use crate::stream::reassembly::{Ordered, Reassembly};

/// How often a stream is checked while something may wait in it.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// One channel of plaintext.
#[derive(Debug)]
pub(super) struct Stream {
    reassembly: Pair<Reassembly>,
    http: Http,
    flow: Pair<Flow>,
    /// Bytes that are part of exchanges or were parsed as framing.
    pub(super) captured: u64,
    /// Lost bytes, by reason.
    pub(super) losses: Losses,
    /// Bytes of holes attributed to the ring by the kernel's counts: [`Event::Lost`](crate::model::event::Event::Lost) reports them as well.
    told_twice: u64,
    /// Number of this channel among those of its connection; `None` before its first exchange.
    slot: Option<u64>,
    /// True while a deadline for a check is set.
    look_due: bool,
    /// True if bytes arrived since the last check.
    active: bool,
    /// True once nobody wants what it carries.
    unwanted: bool,
    share: Share,
}

/// Totals of one direction.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    /// Bytes before the start of the stream; nobody wanted them.
    before: u64,
    /// Bytes that the probes reported as unwanted, including those before the start.
    unwanted: u64,
    /// Bytes passed to the parser, as segments or gaps.
    fed: u64,
    /// Bytes that the probes reported as lost.
    named: u64,
    /// Bytes not copied because the channel is unwanted, since the last call of `take_avoided`.
    avoided: u64,
    /// Pieces: calls, or parts of calls.
    pieces: u64,
}

impl Flow {
    /// End of the stream by final counts, assuming that unwanted bytes that were never reported lie at its end.
    fn wanted_end(&self, count: &Count) -> u64 {
        carried(count).saturating_sub(unwanted_in_silence(count, self.unwanted))
    }
}

/// The start of one direction of a channel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Begin {
    /// Offset of the first wanted byte; all before it were unwanted.
    pub(super) offset: u64,
    /// True if the channel was joined mid-stream: it starts with whatever arrives first.
    pub(super) unknown: bool,
}

impl Begin {
    fn offset(self) -> Option<u64> {
        if self.unknown && self.offset == 0 { None } else { Some(self.offset) }
    }
}

impl Stream {
    pub(super) fn new(settings: &Arc<Settings>, memory: &Memory, joined_late: bool, begin: Pair<Begin>) -> Self {
        let flow = |begin: Begin| Flow { before: begin.offset, unwanted: begin.offset, ..Flow::default() };
        Stream {
            reassembly: Pair {
                sent: Reassembly::new(Direction::Sent, begin.sent.offset()),
                received: Reassembly::new(Direction::Received, begin.received.offset()),
            },
            http: Http::new(settings, joined_late),
            flow: Pair { sent: flow(begin.sent), received: flow(begin.received) },
            captured: 0,
            losses: Losses::default(),
            told_twice: 0,
            slot: None,
            look_due: false,
            active: false,
            unwanted: false,
            share: memory.share(),
        }
    }

    /// Sets what is wanted of it.
    pub(super) fn on_appetite(&mut self, appetite: Appetite) {
        self.http.on_appetite(appetite);
    }

    /// Sets host, connection and process, for the judge of which bodies are wanted.
    #[inline]
    pub(super) fn meet(&mut self, host: &Arc<Host>, conn: &Arc<ConnFacts>, process: Option<&Arc<Process>>) {
        self.http.meet(host, conn, process);
    }

    /// Bytes passed.
    #[inline]
    pub(super) fn on_bytes(
        &mut self,
        direction: Direction,
        offset: u64,
        payload: Bytes,
        time: KernelTime,
        pid: u32,
        sink: &mut Sink,
    ) {
        self.active = true;
        let flow = self.flow.of_mut(direction);
        flow.pieces += 1;
        let reassembly = self.reassembly.of_mut(direction);
        reassembly.on_bytes(
            offset,
            payload,
            time,
            pid,
            &mut feed(direction, &mut self.http, flow, self.unwanted, sink),
        );
    }

    /// Bytes passed that were not copied.
    pub(super) fn on_skipped(&mut self, skipped: &Skipped, sink: &mut Sink) {
        let Skipped { direction, offset, len, why, time, .. } = *skipped;
        let flow = self.flow.of_mut(direction);
        flow.pieces += 1;
        match why {
            Skip::Lost(_) => add(&mut flow.named, len),
            Skip::Unwanted | Skip::Encrypted => add(&mut flow.unwanted, len),
        }
        let reassembly = self.reassembly.of_mut(direction);
        reassembly.on_absent(offset, len, why, time, &mut feed(direction, &mut self.http, flow, self.unwanted, sink));
    }

    /// Gives up the holes that are due at `now`, and lets the parser check what waits.
    pub(super) fn on_look(&mut self, now: KernelTime, counts: &Pair<Count>, sink: &mut Sink) {
        for direction in [Direction::Sent, Direction::Received] {
            let flow = self.flow.of_mut(direction);
            let why = hole_reason(counts.of(direction), flow.named, Loss::ReorderWindow);
            let before = sink.losses.bytes(Loss::RingFull);
            self.reassembly.of_mut(direction).on_tick(
                now,
                why,
                &mut feed(direction, &mut self.http, flow, self.unwanted, sink),
            );
            if why == Loss::RingFull {
                add(&mut self.told_twice, sink.losses.bytes(Loss::RingFull) - before);
            }
        }
        self.http.on_tick(now, sink);
    }

    /// Releases all it holds: what can be reported is reported as it is, and parsing restarts at the next message.
    pub(super) fn shed(&mut self, now: KernelTime, sink: &mut Sink) {
        for direction in [Direction::Sent, Direction::Received] {
            let flow = self.flow.of_mut(direction);
            let reassembly = self.reassembly.of_mut(direction);
            reassembly.on_close(
                None,
                Loss::MemoryLimit,
                now,
                &mut feed(direction, &mut self.http, flow, self.unwanted, sink),
            );
        }
        self.http.shed(now, sink);
    }

    /// Nobody wants what it carries: exchanges in progress are reported as they are, what follows is only counted. False: this was so before.
    pub(super) fn leave_alone(&mut self, time: KernelTime, sink: &mut Sink) -> bool {
        if std::mem::replace(&mut self.unwanted, true) {
            return false;
        }
        self.http.on_close(time, true, sink);
        true
    }

    /// Bytes not copied since the last call, because nobody wants the channel.
    pub(super) fn take_avoided(&mut self) -> u64 {
        std::mem::take(&mut self.flow.sent.avoided).saturating_add(std::mem::take(&mut self.flow.received.avoided))
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.share.bytes()
    }

    /// The deadline of a check has passed.
    pub(super) fn look_passed(&mut self) {
        self.look_due = false;
    }

    /// Nothing more will come. If there are final counts, what is missing at the end is a hole too, so that a message cut there
    /// is not taken for a whole one.
    pub(super) fn on_close(
        &mut self,
        time: KernelTime,
        counts: Option<&Pair<Count>>,
        still_open: bool,
        sink: &mut Sink,
    ) {
        for direction in [Direction::Sent, Direction::Received] {
            let flow = self.flow.of_mut(direction);
            let end = counts.map(|counts| flow.wanted_end(counts.of(direction)));
            let why = counts
                .map_or(Loss::ReorderWindow, |counts| hole_reason(counts.of(direction), flow.named, Loss::Unaccounted));
            let before = sink.losses.bytes(Loss::RingFull);
            let reassembly = self.reassembly.of_mut(direction);
            reassembly.on_close(end, why, time, &mut feed(direction, &mut self.http, flow, self.unwanted, sink));
            if why == Loss::RingFull {
                add(&mut self.told_twice, sink.losses.bytes(Loss::RingFull) - before);
            }
        }
        self.http.on_close(time, still_open, sink);
    }

    /// Moves the sums out of the sink into this channel's, and the losses also into `all`.
    #[inline]
    pub(super) fn settle(&mut self, sink: &mut Sink, all: &mut Tally) {
        add(&mut self.captured, std::mem::take(&mut sink.captured));
        self.share.set(self.reassembly.sent.held() + self.reassembly.received.held() + self.http.held());
        if !sink.losses.is_empty() {
            let fresh = std::mem::take(&mut sink.losses);
            self.losses.merge(&fresh);
            for (loss, count, bytes) in fresh.iter() {
                let twice = if loss == Loss::RingFull { std::mem::take(&mut self.told_twice) } else { 0 };
                all.add_many(loss, count, bytes.saturating_sub(twice));
            }
        }
    }

    /// After the close: adds any difference between the sums to the losses: between what arrived and what was carried, as
    /// far as there are final counts; and between what the parser was fed and what it accounted for.
    pub(super) fn balance(&mut self, counts: Option<&Pair<Count>>, all: &mut Tally) {
        let fed = self.flow.sent.fed.saturating_add(self.flow.received.fed);
        let mut missing = unaccounted(fed, self.captured.saturating_add(self.losses.total_bytes()));
        for direction in [Direction::Sent, Direction::Received] {
            let Some(count) = counts.map(|counts| counts.of(direction)) else { continue };
            let flow = self.flow.of(direction);
            let accounted = flow.before.saturating_add(self.reassembly.of(direction).told());
            let end = flow.wanted_end(count);
            let lacking = end.saturating_sub(accounted).min(lost_in_silence(count, flow.named));
            // The kernel reports these separately for `all`.
            self.losses.add(Loss::RingFull, lacking);
            add(&mut missing, unaccounted(end, accounted.saturating_add(lacking)));
        }
        if missing > 0 {
            self.losses.add(Loss::Unaccounted, missing);
            all.add(Loss::Unaccounted, missing);
        }
        if let (true, Some(counts)) = (self.unwanted, counts) {
            self.balance_unwanted(counts, all);
        }
    }

    /// The probes report unwanted bytes call by call only at the beginning: the rest is in their counts.
    fn balance_unwanted(&mut self, counts: &Pair<Count>, all: &mut Tally) {
        for direction in [Direction::Sent, Direction::Received] {
            let flow = self.flow.of_mut(direction);
            let silent = unwanted_in_silence(counts.of(direction), flow.unwanted);
            add(&mut flow.avoided, silent);
            self.losses.add(Loss::NotWanted, silent);
            all.add_many(Loss::NotWanted, 0, silent);
        }
    }

    /// True if not everything that was carried has arrived.
    pub(super) fn lacks(&self, counts: &Pair<Count>) -> bool {
        [Direction::Sent, Direction::Received].into_iter().any(|direction| {
            let accounted = self.flow.of(direction).before.saturating_add(self.reassembly.of(direction).told());
            self.flow.of(direction).wanted_end(counts.of(direction)) > accounted
        })
    }

    /// True if a deadline for a check must be set: what waits is checked at the latest by the second check after the last bytes.
    #[inline]
    pub(super) fn wants_look(&mut self) -> bool {
        if self.look_due || !(self.active || self.has_hole()) {
            return false;
        }
        self.active = false;
        self.look_due = true;
        true
    }

    /// True if bytes wait for others before them.
    pub(super) fn has_hole(&self) -> bool {
        self.reassembly.sent.hole_since().or(self.reassembly.received.hole_since()).is_some()
    }

    /// The application protocol, as far as the parser knows.
    pub(super) fn protocol(&self) -> Protocol {
        self.http.protocol()
    }

    /// True while nothing it carried was understood, except a PROXY protocol header.
    pub(super) fn says_nothing(&self) -> bool {
        self.protocol() == Protocol::Unknown && (self.captured == 0 || self.http.is_introduced())
    }

    /// Calls that carried bytes of `direction`.
    pub(super) fn calls(&self, direction: Direction) -> u64 {
        self.flow.of(direction).pieces
    }

    /// Number of this channel on its connection, of which `channels` have reported exchanges so far.
    pub(super) fn slot(&mut self, channels: &mut u64) -> u64 {
        *self.slot.get_or_insert_with(|| {
            *channels += 1;
            *channels - 1
        })
    }

    /// The channel continues on another connection.
    pub(super) fn leave(&mut self) {
        self.slot = None;
    }
}

/// The output of the reassembled stream. Unwanted bytes before the parser's first input only shift the start of the stream.
/// Later they are a hole like any other, except ciphertext, whose plaintext is reported by its session.
fn feed<'a>(
    direction: Direction,
    http: &'a mut Http,
    flow: &'a mut Flow,
    left_alone: bool,
    sink: &'a mut Sink,
) -> impl FnMut(Ordered) + 'a {
    move |ordered| match ordered {
        Ordered::Segment(Segment { payload, .. }) if left_alone => {
            add(&mut flow.fed, payload.len() as u64);
            sink.losses.add(Loss::NotWanted, payload.len() as u64);
        }
        Ordered::Gap(gap) if left_alone => {
            add(&mut flow.fed, gap.len);
            sink.losses.add(gap.reason, gap.len);
        }
        Ordered::Unwanted { encrypted: false, len, .. } if left_alone => {
            add(&mut flow.fed, len);
            add(&mut flow.avoided, len);
            sink.losses.add(Loss::NotWanted, len);
        }
        Ordered::Segment(segment) => {
            add(&mut flow.fed, segment.payload.len() as u64);
            http.on_segment(segment, sink);
        }
        Ordered::Gap(gap) => {
            add(&mut flow.fed, gap.len);
            http.on_gap(gap, sink);
        }
        Ordered::Unwanted { encrypted: false, offset, len, time } if flow.fed > 0 => {
            add(&mut flow.fed, len);
            // The first bytes left the protocol open, and the next ones showed that it is not HTTP.
            let reason = if http.protocol() == Protocol::Unknown { Loss::Unparsed } else { Loss::UncapturedCall };
            http.on_gap(Gap { direction, offset, len, reason, time }, sink);
        }
        Ordered::Unwanted { .. } => {}
    }
}
