//! Whether bytes are text, and in which encoding. In: the decoded bytes of a body, and its `Content-Type`.
//! Out: the text in UTF-8. The bytes themselves, and so their digest, stay unchanged.
//!
//! A byte order mark takes precedence over the `charset` of the `Content-Type`, which takes precedence over UTF-8 (Encoding Standard
//! §6.1, "decode"). JSON and event streams are always UTF-8, whatever their headers say (RFC 8259 §8.1, HTML §9.2.5). Nothing is
//! replaced: bytes with one malformed sequence are not text.

use std::borrow::Cow;

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Which part of a body `bytes` cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of the body.
    Whole,
    /// Its beginning; the end may be missing.
    Prefix,
    /// The first of several parts.
    First,
    /// A later part: it may begin or end in the middle of a character.
    Later,
}

/// The text of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<'a> {
    /// Bytes before the text: the end of a character that began in the previous part.
    pub(super) head: &'a [u8],
    pub(super) text: Cow<'a, str>,
    /// Bytes after the text: the beginning of a character that continues in the next part.
    pub(super) tail: &'a [u8],
    /// The original encoding, under its Encoding Standard name in lower case; `None` for UTF-8.
    pub(super) charset: Option<String>,
}

/// The text of `bytes`, or `None` when they are not text. For a prefix, an incomplete character at the end is left out, except in
/// UTF-8, where the caller handles it. A later part in a multi-byte encoding counts as text only in UTF-8, because only UTF-8
/// shows where a character was split.
pub(super) fn text<'a>(content_type: &str, bytes: &'a [u8], extent: Extent) -> Option<Text<'a>> {
    match encoding(content_type, bytes) {
        Some(encoding) if encoding != UTF_8 => {
            let aligned = extent != Extent::Later || encoding.is_single_byte();
            decode(encoding, bytes, extent == Extent::Prefix).filter(|_| aligned)
        }
        Some(_) | None => utf8(bytes, extent),
    }
}

/// True when text of this type that begins with `start` is UTF-8, or names no encoding. `start`: at least three bytes, or all there are.
pub(super) fn is_utf8(content_type: &str, start: &[u8]) -> bool {
    encoding(content_type, start).is_none_or(|encoding| encoding == UTF_8)
}

/// The encoding of text of this type if it is not UTF-8, and the length of its byte order mark, which is not part of the text.
/// `start`: as above.
pub(in crate::pipeline) fn other_than_utf8(content_type: &str, start: &[u8]) -> Option<(&'static Encoding, usize)> {
    let encoding = encoding(content_type, start).filter(|encoding| *encoding != UTF_8)?;
    Some((encoding, mark(encoding, start)))
}

/// The length of the byte order mark at the beginning of text in `encoding`; the mark of another encoding does not count.
fn mark(encoding: &'static Encoding, start: &[u8]) -> usize {
    if [UTF_16LE, UTF_16BE].contains(&encoding) && Encoding::for_bom(start).is_some() { 2 } else { 0 }
}

fn utf8(bytes: &[u8], extent: Extent) -> Option<Text<'_>> {
    let (head, rest) = match extent {
        Extent::Whole | Extent::Prefix | Extent::First => (0, bytes),
        Extent::Later => {
            let head = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
            (head, bytes.get(head..)?)
        }
    };
    let in_parts = matches!(extent, Extent::First | Extent::Later);
    let whole = if in_parts { whole_characters(rest) } else { rest };
    if in_parts && whole.is_empty() && !bytes.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(whole).ok()?;
    Some(Text { head: bytes.get(..head)?, text: text.into(), tail: rest.get(whole.len()..)?, charset: None })
}

/// `bytes` without an incomplete UTF-8 character at their end; all of them when they are not UTF-8.
pub(super) fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        Ok(_) | Err(_) => bytes,
    }
}

/// The encoding named by a byte order mark or the media type; `None` when neither names a known one.
fn encoding(content_type: &str, bytes: &[u8]) -> Option<&'static Encoding> {
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let media_type = media_type.trim().to_ascii_lowercase();
    if is_always_utf8(&media_type) {
        return None;
    }
    let named = charset(parameters).and_then(|label| Encoding::for_label_no_replacement(label.as_bytes()));
    if named.is_some() || media_type.starts_with("text/") || is_xml(&media_type) {
        return Encoding::for_bom(bytes).map(|(encoding, _)| encoding).or(named);
    }
    None
}

fn is_always_utf8(media_type: &str) -> bool {
    media_type == "text/event-stream" || media_type.ends_with("json")
}

fn is_xml(media_type: &str) -> bool {
    media_type == "application/xml" || media_type.ends_with("+xml")
}

/// The `charset` parameter (RFC 9110 §8.3.2), without quotes. Semicolons in an earlier quoted value are not handled: they do not occur in practice.
fn charset(parameters: &str) -> Option<&str> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

/// The name of an encoding as documents show it.
pub(super) fn name(encoding: &'static Encoding) -> String {
    encoding.name().to_ascii_lowercase()
}

fn decode<'a>(encoding: &'static Encoding, bytes: &'a [u8], cut: bool) -> Option<Text<'a>> {
    let bytes = bytes.get(mark(encoding, bytes)..)?;
    let charset = Some(name(encoding));
    if !cut {
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
        return Some(Text { head: &[], text, tail: &[], charset });
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = String::with_capacity(decoder.max_utf8_buffer_length_without_replacement(bytes.len())?);
    match decoder.decode_to_string_without_replacement(bytes, &mut text, false) {
        (DecoderResult::InputEmpty, _) => Some(Text { head: &[], text: text.into(), tail: &[], charset }),
        (DecoderResult::Malformed(..) | DecoderResult::OutputFull, _) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // the tests unwrap text that is expected to be there
mod tests {
    use super::*;

    fn read(content_type: &str, bytes: &[u8], cut: bool) -> Option<(String, Option<String>)> {
        text(content_type, bytes, if cut { Extent::Prefix } else { Extent::Whole })
            .map(|text| (text.text.into_owned(), text.charset))
    }

    fn is(text: &str, charset: &str) -> Option<(String, Option<String>)> {
        Some((text.to_owned(), Some(charset.to_owned()).filter(|name| !name.is_empty())))
    }

    #[test]
    fn the_charset_of_the_media_type_holds() {
        assert_eq!(read("text/plain; charset=ISO-8859-1", b"caf\xe9", false), is("café", "windows-1252"));
        assert_eq!(read("text/html;charset=\"Shift_JIS\"", b"\x93\xfa\x96\x7b", false), is("日本", "shift_jis"));
        assert_eq!(read("text/plain; format=flowed; Charset=koi8-r", b"\xcd\xc9\xd2", false), is("мир", "koi8-r"));
        assert_eq!(read("application/x-www-form-urlencoded; charset=gbk", b"a=\xd6\xd0", false), is("a=中", "gbk"));
        assert_eq!(read("text/plain; charset=utf-16le", b"h\0i\0", false), is("hi", "utf-16le"));
        assert_eq!(read("text/plain; charset=utf-8", "é".as_bytes(), false), is("é", ""));
    }

    #[test]
    fn without_one_it_is_utf8_or_no_text() {
        assert_eq!(read("", b"hi", false), is("hi", ""));
        assert_eq!(read("application/octet-stream", "é".as_bytes(), false), is("é", ""));
        assert_eq!(read("text/plain", b"caf\xe9", false), None);
        assert_eq!(read("text/plain; charset=no-such", b"caf\xe9", false), None);
        assert_eq!(read("text/plain; charset=no-such", b"cafe", false), is("cafe", ""));
        assert_eq!(read("image/png", b"\xff\xfeh\0", false), None, "a mark means nothing in what is no text");
    }

    #[test]
    fn a_mark_wins_and_is_not_part_of_the_text() {
        assert_eq!(read("text/plain", b"\xff\xfeh\0i\0", false), is("hi", "utf-16le"));
        assert_eq!(read("application/xml", b"\xfe\xff\0h\0i", false), is("hi", "utf-16be"));
        assert_eq!(read("text/csv; charset=iso-8859-1", b"\xff\xfeh\0", false), is("h", "utf-16le"));
        assert_eq!(read("text/csv; charset=iso-8859-1", "\u{feff}é".as_bytes(), false), is("\u{feff}é", ""));
    }

    /// RFC 8259 §8.1, HTML §9.2.5; NDJSON is JSON line by line.
    #[test]
    fn json_and_event_streams_are_utf8_whatever_is_said() {
        for media_type in [
            "application/json; charset=iso-8859-1",
            "application/problem+json; charset=utf-16",
            "application/x-ndjson; charset=shift_jis",
            "text/event-stream; charset=gbk",
        ] {
            assert_eq!(
                read(media_type, "{\"a\":\"é\"}\n".as_bytes(), false),
                is("{\"a\":\"é\"}\n", ""),
                "{media_type}"
            );
            assert_eq!(read(media_type, b"caf\xe9", false), None, "{media_type}");
        }
    }

    #[test]
    fn nothing_is_replaced_and_only_a_cut_end_is_left_out() {
        assert_eq!(read("text/plain; charset=shift_jis", b"\x93\xfa\x96", false), None);
        assert_eq!(read("text/plain; charset=shift_jis", b"\x93\xfa\x96", true), is("日", "shift_jis"));
        assert_eq!(read("text/plain; charset=shift_jis", b"\x93\x01x", true), None);
        assert_eq!(read("text/plain; charset=utf-16le", b"h\0\x3d\xd8", true), is("h", "utf-16le"));
        assert_eq!(read("text/plain; charset=utf-16le", b"h\0\x3d\xd8", false), None, "half of a pair");
    }

    #[test]
    fn a_part_may_begin_and_end_in_the_middle_of_a_character() {
        let all = "日本語".as_bytes();
        let part = |range: std::ops::Range<usize>, extent| {
            text("text/event-stream", &all[range], extent).map(|t| (t.head.len(), t.text.into_owned(), t.tail.len()))
        };
        let is = |head, text: &str, tail| Some((head, text.to_owned(), tail));
        assert_eq!(part(0..5, Extent::First), is(0, "日", 2));
        assert_eq!(part(5..9, Extent::Later), is(1, "語", 0));
        assert_eq!(part(2..8, Extent::Later), is(1, "本", 2));
        assert_eq!(part(3..9, Extent::Later), is(0, "本語", 0));
        assert_eq!(part(1..4, Extent::First), None, "the first part has no beginning elsewhere");
        assert_eq!(part(1..3, Extent::Later), None, "nothing but strays is no text");
        assert_eq!(part(0..0, Extent::Later), is(0, "", 0));
        let later = |content_type, bytes| text(content_type, bytes, Extent::Later).map(|t| t.text.into_owned());
        assert_eq!(later("text/plain; charset=iso-8859-1", b"\xe9"), Some("é".to_owned()));
        assert_eq!(later("text/plain; charset=shift_jis", b"\x93\xfa"), None, "who knows where it was cut");
    }
}
