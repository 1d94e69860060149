//! A store's limits, applied to one record: values are truncated at a character boundary, the least important attributes are left out, and
//! data that is too long is split into chunks. In: attributes. Out: fewer or shorter attributes, and what was cut. Artifact data is
//! never lost, and every cut is reported.

use std::borrow::Cow;
use std::ops::Range;

use super::Encoding;
use super::json;
use super::map::{self, Attribute, Value};

/// What was cut from a record, or from what records share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cuts {
    /// Names of attributes whose values were truncated.
    pub(super) names: Vec<String>,
    /// Number of attributes that were left out.
    pub(super) left_out: u32,
    /// Number of bytes cut from values.
    pub(super) bytes: u64,
}

impl Cuts {
    /// Adds `other`; an attribute that both name counts once.
    pub(super) fn add(&mut self, other: &Cuts) {
        self.left_out += other.left_out;
        self.bytes += other.bytes;
        for name in &other.names {
            if !self.names.contains(name) {
                self.names.push(name.clone());
            }
        }
    }

    /// Number of attributes that were changed or left out.
    pub(super) fn attributes(&self) -> u64 {
        self.names.len() as u64 + u64::from(self.left_out)
    }
}

/// Truncates values to `limit` bytes; 0: no limit. Artifact data is left alone; [`chunks`] splits it.
pub(super) fn cut(list: &mut [Attribute<'_>], limit: usize) -> Cuts {
    let mut cuts = Cuts::default();
    if limit == 0 {
        return cuts;
    }
    for (key, value) in list.iter_mut().filter(|(key, _)| key != map::DATA && key != map::TRUNCATED) {
        let before = cuts.bytes;
        match value {
            Value::Text(text) => cuts.bytes += shorten(text, limit),
            Value::Texts(texts) => cuts.bytes += texts.iter_mut().map(|text| shorten(text, limit)).sum::<u64>(),
            Value::Bytes(bytes) => {
                cuts.bytes += bytes.len().saturating_sub(limit) as u64;
                *bytes = bytes.get(..limit).unwrap_or(bytes);
            }
            Value::Bool(_) | Value::Int(_) | Value::Double(_) => {}
        }
        if cuts.bytes > before {
            cuts.names.push(key.clone().into_owned());
        }
    }
    cuts
}

/// Truncates a text to at most `limit` bytes at a character boundary; returns the number of bytes removed.
pub(super) fn shorten(text: &mut Cow<'_, str>, limit: usize) -> u64 {
    let end = floor(text, limit);
    let gone = text.len() - end;
    if gone > 0 {
        match text {
            Cow::Borrowed(borrowed) => *text = Cow::Borrowed(borrowed.get(..end).unwrap_or_default()),
            Cow::Owned(owned) => owned.truncate(end),
        }
    }
    gone as u64
}

/// The last character boundary at or before `end`.
pub(super) fn floor(text: &str, end: usize) -> usize {
    if end >= text.len() {
        return text.len();
    }
    (0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

/// Leaves out the least important attributes beyond `limit`; 0: no limit. Returns their number.
pub(super) fn leave_out(list: &mut Vec<Attribute<'_>>, limit: usize) -> u32 {
    if limit == 0 || list.len() <= limit {
        return 0;
    }
    let gone = list.len() - limit;
    list.sort_by_key(|(key, _)| map::importance(key));
    list.truncate(limit);
    u32::try_from(gone).unwrap_or(u32::MAX)
}

/// Splits data into ranges that are sent in separate records, each with at most `value_limit` bytes (0: no limit) and `room` bytes as
/// encoded; a single range if everything fits. Text is split between characters.
pub(super) fn chunks(data: &[u8], encoding: Encoding, value_limit: usize, room: usize) -> Vec<Range<usize>> {
    let text = std::str::from_utf8(data).ok();
    let value_limit = if value_limit == 0 { usize::MAX } else { value_limit };
    let mut out = Vec::new();
    let mut start = 0;
    loop {
        let rest = data.get(start..).unwrap_or_default();
        let fits = match (encoding, text) {
            (Encoding::Protobuf, _) => room,
            (Encoding::Json, Some(_)) => json::prefix(rest, room),
            (Encoding::Json, None) => room / 4 * 3,
        };
        let mut end = start + rest.len().min(fits).min(value_limit);
        if let Some(text) = text {
            end = floor(text, end);
            // A limit below the length of one character can't be met.
            if end == start && start < text.len() {
                end = (start + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
            }
        }
        let end = end.max((start + 1).min(data.len()));
        out.push(start..end);
        start = end;
        if start >= data.len() {
            return out;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn text(value: &str) -> Value<'_> {
        Value::Text(value.into())
    }

    #[test]
    fn values_are_cut_at_the_end_of_a_character() {
        for (value, limit, want, gone) in [
            ("abc", 3, "abc", 0),
            ("abcd", 3, "abc", 1),
            ("aéb", 2, "a", 3),
            ("aéb", 3, "aé", 1),
            ("😀", 3, "", 4),
            ("", 1, "", 0),
        ] {
            for mut given in [Cow::Borrowed(value), Cow::Owned(value.to_owned())] {
                assert_eq!((shorten(&mut given, limit), &*given), (gone, want), "{value} {limit}");
            }
        }
    }

    #[test]
    fn what_was_cut_is_named_and_counted() {
        let mut list: Vec<Attribute<'_>> = vec![
            ("a".into(), text("12345")),
            ("b".into(), Value::Int(123_456)),
            ("c".into(), Value::Texts(vec!["12345".into(), "1".into(), "1234".into()])),
            ("d".into(), Value::Bytes(b"12345")),
            ("e".into(), text("123")),
            (map::DATA.into(), text("12345")),
        ];
        let cuts = cut(&mut list, 3);
        assert_eq!(cuts, Cuts { names: vec!["a".into(), "c".into(), "d".into()], left_out: 0, bytes: 2 + 3 + 2 });
        assert_eq!(list[0].1, text("123"));
        assert_eq!(list[2].1, Value::Texts(vec!["123".into(), "1".into(), "123".into()]));
        assert_eq!(list[3].1, Value::Bytes(b"123"));
        assert_eq!(list[5].1, text("12345"));
        assert_eq!(cut(&mut list, 0), Cuts::default());
    }

    #[test]
    fn data_is_parted_between_characters_and_nothing_is_lost() {
        let ranges = |data: &[u8], encoding, limit, room| chunks(data, encoding, limit, room);
        let proto = Encoding::Protobuf;
        assert_eq!(ranges(b"", proto, 0, 10), std::slice::from_ref(&(0..0)));
        assert_eq!(ranges(b"abcdef", proto, 0, 6), std::slice::from_ref(&(0..6)));
        assert_eq!(ranges(b"abcdef", proto, 4, 100), [0..4, 4..6]);
        assert_eq!(ranges(b"abcdef", proto, 100, 4), [0..4, 4..6]);
        assert_eq!(ranges("aéb".as_bytes(), proto, 2, 100), [0..1, 1..3, 3..4]);
        assert_eq!(ranges("😀a".as_bytes(), proto, 2, 100), [0..4, 4..5]);
        assert_eq!(ranges(&[0xff; 5], proto, 2, 100), [0..2, 2..4, 4..5]);
        // In JSON a control character takes six characters, a quote two; base64 takes four per three bytes.
        assert_eq!(ranges(b"\0\0\0", Encoding::Json, 0, 13), [0..2, 2..3]);
        assert_eq!(ranges(b"\"\"a\"", Encoding::Json, 0, 5), [0..3, 3..4]);
        assert_eq!(ranges(&[0xff; 7], Encoding::Json, 0, 9), [0..6, 6..7]);
    }

    proptest::proptest! {
        /// Whatever the limits: chunks are in order and without gaps, each within the limits, split at character boundaries.
        #[test]
        fn chunks_are_the_whole(any: String, limit in 0usize..20, room in 6usize..40, json: bool) {
            let encoding = if json { Encoding::Json } else { Encoding::Protobuf };
            let ranges = chunks(any.as_bytes(), encoding, limit, room);
            let mut whole = String::new();
            for range in ranges {
                let piece = &any[range.clone()];
                let one = piece.chars().count() <= 1;
                proptest::prop_assert!(one || limit == 0 || piece.len() <= limit);
                let written = if json { serde_json::to_string(piece).unwrap().len() - 2 } else { piece.len() };
                proptest::prop_assert!(one || written <= room);
                whole.push_str(piece);
            }
            proptest::prop_assert_eq!(whole, any);
        }
    }
}
