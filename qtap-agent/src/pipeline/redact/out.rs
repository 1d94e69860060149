//! What takes the place of what must not be seen, and where text goes that was looked through. In: secrets, and bytes that may be seen.
//! Out: bytes, and a note of what became of the rest.

use std::ops::Range;

use super::super::RedactionKey;
use super::super::digest::{self, Keyed};
use super::super::settings::RedactAction;
use crate::model::message::{LeftOut, Redaction};

/// What stands for a masked value, and for what was left out.
pub(in crate::pipeline) const MASK: &str = "[redacted]";

/// What takes the place of secrets.
#[derive(Debug, Clone)]
pub(super) struct Instead {
    pub(super) action: RedactAction,
    key: RedactionKey,
}

impl Instead {
    pub(super) fn new(action: RedactAction, key: RedactionKey) -> Instead {
        Instead { action, key }
    }

    /// What takes the place of `secret`; none: nothing does.
    pub(super) fn of(&self, secret: &[u8]) -> Option<String> {
        match self.action {
            RedactAction::Mask => Some(MASK.to_owned()),
            RedactAction::Hash => Some(hashed(&digest::keyed_hash(&self.key, secret))),
            RedactAction::Drop => None,
        }
    }

    /// The hash of a secret that comes in pieces, where secrets are hashed.
    pub(super) fn keyed(&self) -> Option<Keyed> {
        (self.action == RedactAction::Hash).then(|| Keyed::new(&self.key))
    }
}

/// What stands for a hashed value.
pub(super) fn hashed(digits: &str) -> String {
    ["[hash:", digits, "]"].concat()
}

/// Text that was looked through.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Out {
    pub(in crate::pipeline) bytes: Vec<u8>,
    pub(in crate::pipeline) note: Redaction,
}

impl Out {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What comes now is left out, for this reason. Of several reasons the first is told.
    pub(in crate::pipeline) fn leave_out(&mut self, why: LeftOut) {
        self.extend(MASK.as_bytes());
        self.note.left_out.get_or_insert(why);
    }

    /// Appends `text` with what is at `found`, ranges in order, replaced.
    pub(super) fn replaced(&mut self, text: &[u8], found: &[Range<usize>], instead: &Instead) {
        let mut copied = 0;
        for secret in found {
            self.extend(text.get(copied..secret.start).unwrap_or_default());
            if let Some(instead) = instead.of(text.get(secret.clone()).unwrap_or_default()) {
                self.extend(instead.as_bytes());
            }
            self.note.values += 1;
            copied = secret.end;
        }
        self.extend(text.get(copied..).unwrap_or_default());
    }
}
