//! A plaintext channel told step by step. In: bytes, holes and time. Out: the exchanges; on the way, that every byte is captured or counted, and
//! that what is kept is in proportion to what came.

use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::http::{Http, Settings, Sink};
use qtap_agent::model::conn::{Direction, Protocol};
use qtap_agent::model::exchange::HttpExchange;
use qtap_agent::model::loss::Loss;
use qtap_agent::model::message::{Body, Fields};
use qtap_agent::model::segment::{Gap, Segment};
use qtap_agent::model::time::KernelTime;

use super::Gauge;

/// What passes: bytes of one direction, a hole of so many, or milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Bytes(Direction, Vec<u8>),
    Hole(Direction, u64),
    Wait(u64),
}

/// A whole channel.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub steps: Vec<Step>,
    pub joined_late: bool,
    pub still_open: bool,
    pub settings: Arc<Settings>,
}

/// What a channel costs before it holds anything: its tables, and buffers of a fixed size.
const KEPT_ALWAYS: usize = 512 << 10;
/// Bytes kept for one that came: a field of two octets that refers to the table is 80 bytes, and vectors double.
const KEPT_FOR_ONE: usize = 200;

impl Script {
    /// Tells it, each step's bytes in pieces of at most `piece`; time passes only between steps. Exchanges go to `out` as they end.
    /// What it spoke, and whether all of it could be read: where messages are found again after what could not, and in which order
    /// halves are told, depends on what came together; and so does which bytes a limit takes of what is told in parts.
    pub(crate) fn play(&self, piece: usize, gauge: Gauge<'_>, out: &mut dyn FnMut(HttpExchange)) -> (Protocol, bool) {
        let base = gauge();
        let mut http = Http::new(&self.settings, self.joined_late);
        let (mut sink, mut in_parts) = (Sink::default(), false);
        let (mut given, mut carried, mut now, mut offsets) = (0u64, 0usize, 0u64, [0u64; 2]);
        for step in &self.steps {
            now += 1000;
            let time = KernelTime(now);
            match step {
                Step::Bytes(direction, bytes) => {
                    for part in bytes.chunks(piece.max(1)) {
                        let payload = Bytes::copy_from_slice(part);
                        let offset = offsets[direction.index()];
                        offsets[direction.index()] += part.len() as u64;
                        http.on_segment(Segment { direction: *direction, offset, time, pid: 1, payload }, &mut sink);
                    }
                    given += bytes.len() as u64;
                    carried += bytes.len();
                }
                Step::Hole(direction, len) => {
                    let offset = offsets[direction.index()];
                    offsets[direction.index()] += len;
                    given += len;
                    let gap = Gap { direction: *direction, offset, len: *len, reason: Loss::RingFull, time };
                    http.on_gap(gap, &mut sink);
                }
                Step::Wait(ms) => {
                    now += ms * 1_000_000;
                    http.on_tick(KernelTime(now), &mut sink);
                }
            }
            in_parts |= sink.exchanges.iter().any(|exchange| exchange.part.is_some());
            sink.exchanges.drain(..).for_each(&mut *out);
            let (kept, bound) = (gauge().saturating_sub(base), KEPT_ALWAYS + KEPT_FOR_ONE * carried);
            assert!(kept <= bound, "{kept} bytes are kept of {carried}");
        }
        http.on_close(KernelTime(now), self.still_open, &mut sink);
        assert_eq!(sink.captured + sink.losses.total_bytes(), given, "bytes counted and bytes given");
        sink.exchanges.drain(..).for_each(out);
        let cut_short = in_parts && sink.losses.bytes(Loss::BodyLimit) > 0;
        (http.protocol(), sink.losses.bytes(Loss::Unparsed) == 0 && !cut_short)
    }

    /// What it spoke, and all that came of it, in words; none of them when not all of it could be read.
    fn essences(&self, piece: usize) -> (Protocol, Option<Vec<String>>) {
        let mut all = Vec::new();
        let (protocol, read) = self.play(piece, &|| 0, &mut |exchange| all.push(essence(&exchange)));
        (protocol, read.then_some(all))
    }

    /// Plays it, and once more byte by byte where that must give the same.
    pub(crate) fn check(&self, gauge: Gauge<'_>) {
        self.play(usize::MAX, gauge, &mut drop);
        if self.may_be_cut() {
            let (whole, cut) = (self.essences(usize::MAX), self.essences(1));
            assert_eq!(version(whole.0), version(cut.0), "how bytes are cut made a difference to what they are");
            if let (Some(whole), Some(cut)) = (whole.1, cut.1) {
                assert_eq!(whole, cut, "how bytes are cut made a difference");
            }
        }
    }

    /// Bytes that it carries.
    pub(crate) fn carried(&self) -> usize {
        let len = |step: &Step| if let Step::Bytes(_, bytes) = step { bytes.len() } else { 0 };
        self.steps.iter().map(len).sum()
    }

    /// True when how its bytes are cut must make no difference: nothing is missing, and no window is filled.
    pub(crate) fn may_be_cut(&self) -> bool {
        let whole = self.steps.iter().all(|step| !matches!(step, Step::Hole(..)));
        whole && !self.joined_late && self.carried() <= 3000
    }
}

/// The protocol without what only messages tell, which may be among those that could not be read.
fn version(protocol: Protocol) -> Protocol {
    if protocol == Protocol::Grpc { Protocol::Http2 } else { protocol }
}

/// An exchange without what cutting may change: times, and how a body lies in pieces.
pub(crate) fn essence(exchange: &HttpExchange) -> String {
    let body = |body: &Body| format!("{:?} {} {} {:?}", body.to_bytes(), body.size, body.truncated, body.missing);
    let fields = |fields: &Fields| format!("{fields:?}");
    let request = exchange.request.as_ref().map(|r| {
        let line = (&r.method, &r.target, &r.scheme, &r.authority, r.version, r.ended.is_some());
        format!("{line:?} {} {} {}", fields(&r.fields), body(&r.body), fields(&r.trailers))
    });
    let response = exchange.response.as_ref().map(|r| {
        let line = (r.status, &r.reason, &r.informational, r.version, r.ended.is_some());
        format!("{line:?} {} {} {}", fields(&r.fields), body(&r.body), fields(&r.trailers))
    });
    let rest = (exchange.protocol, exchange.ordinal, exchange.outgoing, exchange.incomplete);
    format!("{rest:?}\n  {request:?}\n  {response:?}")
}
