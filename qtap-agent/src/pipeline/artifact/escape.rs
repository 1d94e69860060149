//! A JSON writer (RFC 8259) in one pass over what it is given: values in, bytes at the end of a `Vec` out. It keeps the commas;
//! that objects and arrays are closed is the caller's to see to.

/// Bytes that are looked at together on the fast path.
const WORD: usize = 8;
/// Input bytes between two copies to the output.
const BLOCK: usize = 512;
/// The longest that one byte becomes: `\u00XX`.
const LONGEST: usize = 6;

/// The document so far.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: Vec<u8>,
    comma: bool,
}

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Json {
        Json { out: Vec::with_capacity(bytes), comma: false }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn open(&mut self, bracket: u8) {
        self.separate();
        self.out.push(bracket);
        self.comma = false;
    }

    pub(super) fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.comma = true;
    }

    /// The name of the next member: one of ours, that needs no escaping.
    pub(super) fn name(&mut self, name: &'static str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.comma = false;
    }

    pub(super) fn text(&mut self, text: &str) {
        self.separate();
        self.out.push(b'"');
        escape(text.as_bytes(), &mut self.out);
        self.out.push(b'"');
        self.comma = true;
    }

    /// Text that is known to need no escaping.
    pub(super) fn plain(&mut self, parts: &[&str]) {
        self.separate();
        self.out.push(b'"');
        parts.iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
        self.out.push(b'"');
        self.comma = true;
    }

    /// `bytes` in base64 (RFC 4648 §4).
    pub(super) fn base64(&mut self, bytes: &[u8]) {
        use base64::engine::{Engine, general_purpose::STANDARD};
        self.separate();
        self.out.push(b'"');
        let start = self.out.len();
        self.out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
        // The room is what the RFC says it takes, so the only error there is can't come.
        let written = self.out.get_mut(start..).map_or(Ok(0), |room| STANDARD.encode_slice(bytes, room)).unwrap_or(0);
        self.out.truncate(start + written);
        self.out.push(b'"');
        self.comma = true;
    }

    pub(super) fn number(&mut self, number: impl std::fmt::Display) {
        self.literal(&number.to_string());
    }

    pub(super) fn literal(&mut self, literal: &str) {
        self.separate();
        self.out.extend_from_slice(literal.as_bytes());
        self.comma = true;
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
    }
}

/// Appends `text`, escaped. Eight bytes are copied at a time whether they are clean or not, and the next step begins after
/// those that were; so text with a quote every few bytes, as JSON in JSON has it, costs little more than clean text.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut scratch = [0_u8; BLOCK * LONGEST + WORD];
    for block in text.chunks(BLOCK) {
        let (mut from, mut to) = (0, 0);
        while let Some(word) = block.get(from..from + WORD) {
            let mut bytes = [0; WORD];
            bytes.copy_from_slice(word);
            scratch[to..to + WORD].copy_from_slice(&bytes);
            let dirty = unclean(u64::from_le_bytes(bytes));
            let clean = (dirty.trailing_zeros() / 8) as usize;
            (from, to) = (from + clean, to + clean);
            if clean < WORD {
                to += escape_byte(bytes[clean], &mut scratch[to..]);
                from += 1;
            }
        }
        for byte in block.get(from..).unwrap_or_default() {
            to += escape_byte(*byte, &mut scratch[to..]);
        }
        out.extend_from_slice(&scratch[..to]);
    }
}

/// The top bit of each byte that must be escaped (below 0x20, `"`, `\`); exact up to the first such byte.
fn unclean(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let is_zero = |v: u64| v.wrapping_sub(ONES) & !v;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (control | is_zero(word ^ (ONES * u64::from(b'"'))) | is_zero(word ^ (ONES * u64::from(b'\\')))) & TOPS
}

/// Writes one byte, escaped where it must be, and says how many bytes it became. `to` has room for the longest.
fn escape_byte(byte: u8, to: &mut [u8]) -> usize {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        0..0x20 => {
            let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            to[..LONGEST].copy_from_slice(&[b'\\', b'u', b'0', b'0', digits[0], digits[1]]);
            return LONGEST;
        }
        _ => {
            to[0] = byte;
            return 1;
        }
    };
    to[..2].copy_from_slice(&[b'\\', short]);
    2
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a document that does not parse is what these tests look for
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn string(text: &str) -> Vec<u8> {
        let mut json = Json::default();
        json.text(text);
        json.finish()
    }

    #[test]
    fn every_byte_below_128_is_escaped_as_serde_json_does_it() {
        for before in 0..10 {
            for code in 0..128_u8 {
                let text = format!("{}{}{}", "x".repeat(before), char::from(code), "yz".repeat(before));
                assert_eq!(string(&text), serde_json::to_vec(&text).unwrap(), "{text:?}");
            }
        }
    }

    #[test]
    fn blocks_of_the_worst_bytes_fit() {
        let text = "\u{1}".repeat(3 * BLOCK + 5);
        assert_eq!(string(&text), serde_json::to_vec(&text).unwrap());
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in any::<String>(), repeat in 1_usize..60) {
            let text = text.repeat(repeat);
            assert_eq!(serde_json::from_slice::<String>(&string(&text)).unwrap(), text);
        }
    }

    #[test]
    fn members_and_elements_are_separated() {
        let mut json = Json::default();
        json.open(b'{');
        json.name("a");
        json.open(b'[');
        json.number(1);
        json.literal("null");
        json.base64(b"ab");
        json.open(b'[');
        json.close(b']');
        json.close(b']');
        json.name("b");
        json.plain(&["x", "y"]);
        json.close(b'}');
        assert_eq!(String::from_utf8(json.finish()).unwrap(), r#"{"a":[1,null,"YWI=",[]],"b":"xy"}"#);
    }
}
