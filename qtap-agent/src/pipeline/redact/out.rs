//! Replacements for secrets, and the output that redacted text is written to. In: secrets, and bytes that may be shown.
//! Out: bytes, and a note of what was redacted.

use std::ops::Range;

use super::super::RedactionKey;
use super::super::digest::{self, Keyed};
use super::super::settings::RedactAction;
use crate::model::message::{LeftOut, Redaction};

/// Replaces a masked value, and whatever was left out.
pub(in crate::pipeline) const MASK: &str = "[redacted]";

/// How secrets are replaced.
#[derive(Debug, Clone)]
pub(super) struct Instead {
    pub(super) action: RedactAction,
    key: RedactionKey,
}

impl Instead {
    pub(super) fn new(action: RedactAction, key: RedactionKey) -> Instead {
        Instead { action, key }
    }

    /// The replacement of `secret`; `None`: it is dropped.
    pub(super) fn of(&self, secret: &[u8]) -> Option<String> {
        match self.action {
            RedactAction::Mask => Some(MASK.to_owned()),
            RedactAction::Hash => Some(hashed(&digest::keyed_hash(&self.key, secret))),
            RedactAction::Drop => None,
        }
    }

    /// A hash for a secret that arrives in pieces, if secrets are hashed.
    pub(super) fn keyed(&self) -> Option<Keyed> {
        (self.action == RedactAction::Hash).then(|| Keyed::new(&self.key))
    }
}

/// The replacement of a hashed value.
pub(super) fn hashed(digits: &str) -> String {
    ["[hash:", digits, "]"].concat()
}

/// Redacted text.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Out {
    pub(in crate::pipeline) bytes: Vec<u8>,
    pub(in crate::pipeline) note: Redaction,
}

impl Out {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Leaves out what comes next, for this reason. Only the first of several reasons is reported.
    pub(in crate::pipeline) fn leave_out(&mut self, why: LeftOut) {
        self.extend(MASK.as_bytes());
        self.note.left_out.get_or_insert(why);
    }

    /// Appends `text` with the ranges `found`, which are in order, replaced.
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
