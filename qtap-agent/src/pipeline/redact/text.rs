//! Scans text for patterns, and converts the two encodings of text in bodies: escapes of JSON strings (RFC 8259 §7), and
//! percent-encoding (WHATWG URL, `application/x-www-form-urlencoded`). In: bytes. Out: bytes.

use super::Rules;
use super::out::Out;

/// Bytes held back at the end of a piece until more input follows: a pattern match that is no longer than this is found wherever the
/// text is split.
pub(super) const TAIL: usize = 16 << 10;

/// Redacts pattern matches in `input`; returns how much was consumed. The rest must be passed again, followed by new input. `last`:
/// nothing follows.
pub(super) fn push(rules: &Rules, input: &[u8], last: bool, out: &mut Out) -> usize {
    let safe = if last { input.len() } else { input.len().saturating_sub(TAIL) };
    if safe == 0 {
        return 0;
    }
    let mut found = rules.patterns.find(input);
    let mut taken = safe;
    if !last {
        // A match that may continue past the input waits, however long it is; one that ends in the held-back bytes is consumed whole.
        if let Some(open) = found.iter().position(|range| range.end == input.len() && range.start < safe) {
            taken = found.get(open).map_or(safe, |range| range.start);
        } else if let Some(across) = found.iter().find(|range| range.start < safe && range.end > safe) {
            taken = across.end;
        }
        found.retain(|range| range.end <= taken);
    }
    out.replaced(input.get(..taken).unwrap_or_default(), &found, &rules.instead);
    taken
}

/// The end of a truncated text, without its last word, which may be the beginning of a secret.
pub(super) fn without_last_word(text: &[u8]) -> &[u8] {
    let end =
        text.iter().rposition(|byte| byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>' | b',' | b';' | b'"'));
    text.get(..end.map_or(0, |at| at + 1)).unwrap_or_default()
}

/// The text of a JSON string, given the raw bytes between its quotes.
pub(super) fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut said = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        said.extend_from_slice(rest.get(..at).unwrap_or_default());
        let escape = rest.get(at + 1..).unwrap_or_default();
        let (byte, after) = match escape.split_first() {
            Some((b'u', digits)) => {
                rest = unicode(digits, &mut said);
                continue;
            }
            Some((b'n', after)) => (b'\n', after),
            Some((b't', after)) => (b'\t', after),
            Some((b'r', after)) => (b'\r', after),
            Some((b'b', after)) => (8, after),
            Some((b'f', after)) => (12, after),
            Some((byte, after)) => (*byte, after),
            None => (b'\\', escape),
        };
        said.push(byte);
        rest = after;
    }
    said.extend_from_slice(rest);
    said
}

/// Decodes four digits, and for a surrogate the other half of the pair.
fn unicode<'a>(digits: &'a [u8], said: &mut Vec<u8>) -> &'a [u8] {
    let unit = |digits: &[u8]| {
        let digits = digits.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let Some(first) = unit(digits) else {
        said.extend_from_slice("\u{fffd}".as_bytes());
        return digits;
    };
    let after = digits.get(4..).unwrap_or_default();
    let second = after.strip_prefix(b"\\u").and_then(unit).filter(|second| (0xdc00..0xe000).contains(second));
    let (code, after) = match second {
        Some(second) if (0xd800..0xdc00).contains(&first) => {
            (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), after.get(6..).unwrap_or_default())
        }
        Some(_) | None => (first, after),
    };
    let mut room = [0; 4];
    said.extend_from_slice(char::from_u32(code).unwrap_or('\u{fffd}').encode_utf8(&mut room).as_bytes());
    after
}

/// Text escaped for a JSON string.
pub(super) fn escaped(said: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(said.len() + 8);
    for byte in said {
        match byte {
            b'"' | b'\\' => raw.extend_from_slice(&[b'\\', *byte]),
            b'\n' => raw.extend_from_slice(b"\\n"),
            b'\r' => raw.extend_from_slice(b"\\r"),
            b'\t' => raw.extend_from_slice(b"\\t"),
            0..=0x1f => raw.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => raw.push(*byte),
        }
    }
    raw
}

/// The text of a percent-encoded form value.
pub(super) fn form_decoded(raw: &[u8]) -> Vec<u8> {
    let mut said = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                said.push((high << 4 | low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', ..) => said.push(b' '),
            _ => said.push(*byte),
        }
    }
    said
}

/// Text as a form value; brackets stay unescaped, so that replacements of secrets read the same as elsewhere.
pub(super) fn form_encoded(said: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(said.len() + 16);
    for byte in said {
        match byte {
            b' ' => raw.push(b'+'),
            b'*' | b'-' | b'.' | b'_' | b'[' | b']' | b':' => raw.push(*byte),
            byte if byte.is_ascii_alphanumeric() => raw.push(*byte),
            byte => raw.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_done() {
        for (raw, said) in [
            ("", ""),
            ("a", "a"),
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"p\u0061ss", "pass"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83dx\ude00", "\u{fffd}x\u{fffd}"),
            (r"\u00zz", "\u{fffd}00zz"),
            (r"a\", "a\\"),
        ] {
            assert_eq!(String::from_utf8_lossy(&unescaped(raw.as_bytes())), said, "{raw}");
            assert_eq!(unescaped(&escaped(said.as_bytes())), said.as_bytes(), "{said}");
        }
    }

    #[test]
    fn forms_are_decoded_and_encoded() {
        assert_eq!(form_decoded(b"a%40b+c%zz%4"), b"a@b c%zz%4");
        assert_eq!(form_encoded(b"a@b c[redacted]"), b"a%40b+c[redacted]");
    }

    #[test]
    fn a_word_that_was_cut_is_left_out() {
        assert_eq!(without_last_word(b"pay 4111111"), b"pay ");
        assert_eq!(without_last_word(b"secret"), b"");
        assert_eq!(without_last_word(b"all. "), b"all. ");
    }
}
