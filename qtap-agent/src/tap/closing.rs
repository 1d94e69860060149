//! The end of a connection: what is still missing, and whether the sums match.

use super::common::Common;
use super::conn::{Conn, Socket};
use super::conservation::{Sealed, carried, misfit, unaccounted};
use super::losses::Losses;
use super::pair::{Pair, add};
use crate::model::conn::{Channel, Direction};
use crate::model::event::Count;
use crate::model::loss::Loss;
use crate::model::observation::Observation;
use crate::model::time::KernelTime;

impl Conn {
    /// True if, by the kernel's counts, bytes of the socket are still to come.
    pub(super) fn lacks(&self) -> bool {
        match (&self.socket, &self.counts) {
            (Socket::Plain(stream), Some(counts)) => stream.lacks(counts) || stream.has_hole(),
            (Socket::Plain(_) | Socket::Undecided(_) | Socket::Tls(_) | Socket::Dns(_), _) => false,
        }
    }

    /// The socket is closed. If there are final counts, the sums must match them.
    pub(super) fn on_close(
        &mut self,
        time: KernelTime,
        still_open: bool,
        common: &mut Common,
        out: &mut Vec<Observation>,
    ) {
        let counts = self.counts.filter(|_| self.closed.is_some() && matches!(self.key, Channel::Socket(_)));
        if let (Socket::Undecided(_), Some(counts)) = (&self.socket, &counts)
            && self.lacks_all(counts)
        {
            self.decide(false, common);
        }
        match (&mut self.socket, counts) {
            (Socket::Plain(stream), counts) => {
                stream.on_close(time, counts.as_ref(), still_open, &mut common.sink);
                self.settle(common, time, out);
                if let Socket::Plain(stream) = &mut self.socket {
                    stream.balance(counts.as_ref(), &mut common.losses);
                    add(&mut common.counters.unwanted_bytes, stream.take_avoided());
                }
            }
            (Socket::Tls(_), Some(counts)) => self.balance_sealed(&counts, common),
            (Socket::Tls(_), None) | (Socket::Undecided(_) | Socket::Dns(_), _) => {}
        }
    }

    /// True if bytes were carried none of which arrived.
    fn lacks_all(&self, counts: &Pair<Count>) -> bool {
        [Direction::Sent, Direction::Received].into_iter().any(|direction| {
            let count = counts.of(direction);
            carried(count) > count.unwanted.max(self.own.of(direction).unwanted).saturating_add(count.encrypted)
        })
    }

    /// After the last session ended: the bytes seen on a TLS connection must match the kernel's count, and the ciphertext must fit the plaintext.
    fn balance_sealed(&mut self, counts: &Pair<Count>, common: &mut Common) {
        let (mut missing, unfinished) = (0, self.done.losses.tally().bytes(Loss::CallUnfinished));
        for direction in [Direction::Sent, Direction::Received] {
            let count = counts.of(direction);
            // The kernel counts the ciphertext it produced, the probes the bytes that the calls moved.
            let sealed_later = self.facts.tls.as_ref().is_some_and(|tls| tls.in_kernel.of(direction));
            let expected = if sealed_later { carried(count).min(count.carried) } else { carried(count) };
            add(&mut missing, unaccounted(expected, count.carried));
            if self.is_inspected() && !self.done.partial {
                let sealed = Sealed {
                    ciphertext: carried(count),
                    plaintext: *self.done.plaintext.of(direction),
                    inside: *self.done.inside.of(direction),
                    calls: *self.done.calls.of(direction),
                    uncertain: if direction == Direction::Sent { unfinished } else { 0 },
                    joined_late: self.facts.joined_late,
                };
                add(&mut missing, misfit(sealed));
            }
        }
        if missing > 0 {
            self.done.losses.add(Loss::Unaccounted, missing);
            common.losses.add(Loss::Unaccounted, missing);
        }
    }

    /// The totals of the socket's channel and the ended sessions.
    pub(super) fn share(&self) -> (u64, Losses) {
        let (mut captured, mut losses) = (self.done.captured, self.done.losses.clone());
        if let Socket::Plain(stream) = &self.socket {
            add(&mut captured, stream.captured);
            losses.absorb(&stream.losses);
        }
        (captured, losses)
    }
}
