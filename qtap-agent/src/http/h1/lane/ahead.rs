//! What comes next in a direction, examined without being read. In: a lane between two messages. Out: its next bytes, up to a limit or a hole.

use super::{Input, Lane};

/// What comes next in a direction.
#[derive(Debug)]
pub(in crate::http::h1) struct Ahead {
    pub(in crate::http::h1) bytes: Vec<u8>,
    /// The limit was reached, or a hole follows: there will be no more of it.
    pub(in crate::http::h1) is_all: bool,
}

impl Lane {
    /// The next bytes between two messages, `limit` at most, without reading them.
    pub(in crate::http::h1) fn ahead(&self, limit: usize) -> Ahead {
        let mut ahead = Ahead { bytes: self.text.front().to_vec(), is_all: false };
        for input in &self.inbox {
            match input {
                Input::Bytes(bytes, _) if ahead.bytes.len() < limit => ahead.bytes.extend_from_slice(bytes),
                Input::Bytes(..) => break,
                Input::Hole(..) => {
                    ahead.is_all = true;
                    break;
                }
            }
        }
        ahead.is_all |= ahead.bytes.len() >= limit;
        ahead.bytes.truncate(limit);
        ahead
    }
}
