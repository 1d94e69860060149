//! Decides whether a head is followed by its body or by the next message, if the head cannot say. In: the body's framing, if there is
//! one, and the next bytes. Out: the lane continues with one or the other.

use super::{Kind, Lane, State};
use crate::http::detect::{self, LINE_LIMIT, Verdict};
use crate::http::h1::framing::Framing;

/// How a response begins.
pub(super) const NEXT_MESSAGE: &[u8] = b"HTTP/1.";

impl Lane {
    /// Checks whether the body or the next message follows.
    pub(super) fn make_sure(&mut self, framing: Framing) {
        let is_next = match self.kind {
            Kind::Request => self.request_is_next(framing),
            Kind::Response => self.response_is_next(),
        };
        let Some(is_next) = is_next else { return };
        let held = self.text.release();
        self.text.push_back(held);
        self.begin(if is_next { Framing::Fixed(0) } else { framing });
    }

    fn response_is_next(&mut self) -> Option<bool> {
        let want = NEXT_MESSAGE.get(self.text.held().len()..).unwrap_or_default();
        let same = self.text.front().iter().zip(want).take_while(|(a, b)| a == b).count();
        if same == self.text.front().len() && same < want.len() {
            let start = self.text.take(same);
            self.text.hold(&start);
            return None;
        }
        Some(same == want.len())
    }

    /// A request is recognised by its start line. If the body would end before a start line is whole, it is taken for a body: nothing more may come.
    fn request_is_next(&mut self, framing: Framing) -> Option<bool> {
        let body =
            if let Framing::Fixed(len) = framing { usize::try_from(len).unwrap_or(usize::MAX) } else { usize::MAX };
        let start = self.text.take(LINE_LIMIT);
        self.text.hold(&start);
        let held = self.text.held();
        match detect::first_bytes(held) {
            Verdict::Request => Some(true),
            Verdict::More if held.len() < LINE_LIMIT.min(body) => None,
            _ => Some(false),
        }
    }

    /// Bytes were lost while it is undecided whether a refused body follows: they are taken for the body's, since the end of a new request would disprove it.
    /// True if some of the body is there to be read first.
    pub(super) fn believe_request(&mut self) -> bool {
        let State::Unsure(framing) = self.state else { return false };
        if self.kind != Kind::Request {
            return false;
        }
        let held = self.text.release();
        self.text.push_back(held);
        self.begin(framing);
        !self.text.is_empty()
    }
}
