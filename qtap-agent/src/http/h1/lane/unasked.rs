//! Content behind a head that ends its message: a broken server sends a body with an answer to HEAD, or with a 304. In: the length that the head
//! declares, and what follows it. Out: those bytes skipped and counted, if they are no head and a response begins right behind them; otherwise nothing is
//! assumed.

use bytes::{Buf, Bytes};

use super::unsure::NEXT_MESSAGE;
use super::{Lane, State, Token};
use crate::http::{Settings, Sink};
use crate::model::loss::Loss;

impl Lane {
    /// The message ended with its head, although that declares content of this length.
    pub(in crate::http::h1) fn note_unasked(&mut self, len: u64, settings: &Settings) {
        self.unasked = usize::try_from(len).ok().filter(|len| *len <= settings.head_limit).unwrap_or_default();
    }

    /// `head` is none. Returns it, unless it begins with content that should not be there: then that is skipped, or held until its end is seen.
    pub(in crate::http::h1) fn leave_unasked(&mut self, head: Bytes, sink: &mut Sink) -> Option<Bytes> {
        let len = std::mem::take(&mut self.unasked);
        if len == 0 {
            return Some(head);
        }
        if head.len() < len + NEXT_MESSAGE.len() {
            self.text.hold(&head);
            self.state = State::Unasked(len);
            return None;
        }
        self.skip_unasked(len, head, sink)
    }

    /// Holds bytes until it can be seen what stands behind the first `len`.
    pub(super) fn pass_unasked(&mut self, len: usize, sink: &mut Sink) -> Option<Token> {
        let lacking = (len + NEXT_MESSAGE.len()).saturating_sub(self.text.held().len());
        let more = self.text.take(lacking);
        self.text.hold(&more);
        if more.len() < lacking {
            return None;
        }
        let held = self.text.release();
        // The message behind may have to wait for its request.
        let skipped = self.skip_unasked(len, held, sink);
        Some(skipped.map_or(Token::More, |head| Token::Head(head, self.head_stamp)))
    }

    fn skip_unasked(&mut self, len: usize, mut held: Bytes, sink: &mut Sink) -> Option<Bytes> {
        if !held.get(len..).unwrap_or_default().starts_with(NEXT_MESSAGE) {
            return Some(held);
        }
        held.advance(len);
        sink.losses.add(Loss::Unparsed, len as u64);
        self.text.push_back(held);
        self.state = State::Head;
        None
    }
}
