//! A one-pass JSON writer (RFC 8259). In: values. Out: bytes appended to a `Vec`, and their digest. It writes the commas; the caller
//! must close objects and arrays.
//!
//! The source bytes of a body are hashed too. The two digests are computed in an interleaved way, a few blocks of each in turn: each
//! SHA-256 round waits for its previous one, and an out-of-order processor with a large enough window fills that wait with the other
//! digest's rounds.

use super::out::Out;
use crate::pipeline::digest::Sha;

/// Bytes that the fast path examines together.
const WORD: usize = 8;
/// Input bytes between two copies to the output.
const BLOCK: usize = 512;
/// Capacity for a block of which every byte becomes the longest escape, `\u00XX`; a power of two, so that a mask bounds an index.
const SCRATCH: usize = 4096;
const MASK: usize = SCRATCH - 1;
const _: () = assert!(SCRATCH.is_power_of_two() && BLOCK * 6 + WORD <= SCRATCH);
/// Text up to this length usually needs no escaping.
const SHORT: usize = 64;

/// Bytes written between two rounds of hashing: few enough to still be in the L1 cache.
const HASHED: usize = 6 << 10;
const _: () = assert!(HASHED.is_multiple_of(3), "base64 of it has no padding");

/// The document so far.
#[derive(Debug)]
pub(super) struct Json {
    out: Out,
    comma: bool,
}

impl Json {
    pub(super) fn new(out: Out) -> Json {
        Json { out, comma: false }
    }

    /// The underlying output.
    pub(super) fn into_out(self) -> Out {
        self.out
    }

    pub(super) fn open(&mut self, bracket: u8) {
        self.separate();
        self.out.bytes.push(bracket);
        self.comma = false;
    }

    pub(super) fn close(&mut self, bracket: u8) {
        self.out.bytes.push(bracket);
        self.comma = true;
    }

    /// Writes raw JSON between two values, commas included.
    pub(super) fn between(&mut self, json: &'static str) {
        self.out.bytes.extend_from_slice(json.as_bytes());
        self.comma = false;
    }

    /// Writes the name of the next member: a constant that needs no escaping.
    pub(super) fn name(&mut self, name: &'static str) {
        let before: &[u8] = if self.comma { b",\"" } else { b"\"" };
        self.out.bytes.reserve(name.len() + 4);
        self.out.bytes.extend_from_slice(before);
        self.out.bytes.extend_from_slice(name.as_bytes());
        self.out.bytes.extend_from_slice(b"\":");
        self.comma = false;
    }

    pub(super) fn text(&mut self, text: &str) {
        self.separate();
        self.out.bytes.push(b'"');
        escape(text.as_bytes(), &mut self.out.bytes);
        self.out.bytes.push(b'"');
        self.comma = true;
    }

    /// Writes text in several pieces, which together are UTF-8. Returns its SHA-256 as hexadecimal digits.
    pub(super) fn text_and_digest(&mut self, pieces: &[impl AsRef<[u8]>]) -> String {
        self.begin_string();
        let mut sha = Sha::default();
        pieces.iter().for_each(|piece| self.add_text(piece.as_ref(), Some(&mut sha)));
        self.end_string();
        sha.hex()
    }

    /// Begins a string that is written in pieces.
    pub(super) fn begin_string(&mut self) {
        self.separate();
        self.out.bytes.push(b'"');
    }

    /// Ends the string.
    pub(super) fn end_string(&mut self) {
        self.out.bytes.push(b'"');
        self.comma = true;
    }

    /// Writes the next piece of a text string and adds its bytes to `sha`.
    pub(super) fn add_text(&mut self, piece: &[u8], sha: Option<&mut Sha>) {
        let Some(sha) = sha else {
            escape(piece, &mut self.out.bytes);
            return self.out.pass_on();
        };
        for block in piece.chunks(HASHED) {
            escape(block, &mut self.out.bytes);
            self.out.hash_with(sha, block);
            self.out.pass_on();
        }
    }

    /// Writes the next piece of a base64 string and adds its bytes to `sha`. Every piece but the last is a multiple of three bytes.
    pub(super) fn add_base64(&mut self, piece: &[u8], sha: &mut Sha) {
        for block in piece.chunks(HASHED) {
            self.encode(block);
            self.out.hash_with(sha, block);
            self.out.pass_on();
        }
    }

    /// Writes text that is known to need no escaping.
    pub(super) fn plain(&mut self, parts: &[&str]) {
        self.separate();
        self.out.bytes.push(b'"');
        parts.iter().for_each(|part| self.out.bytes.extend_from_slice(part.as_bytes()));
        self.out.bytes.push(b'"');
        self.comma = true;
    }

    /// Writes `bytes` in base64 (RFC 4648 §4).
    pub(super) fn base64(&mut self, bytes: &[u8]) {
        self.separate();
        self.out.bytes.push(b'"');
        self.encode(bytes);
        self.out.bytes.push(b'"');
        self.comma = true;
    }

    /// The same; also returns their SHA-256 as hexadecimal digits.
    pub(super) fn base64_and_digest(&mut self, bytes: &[u8]) -> String {
        self.begin_string();
        let mut sha = Sha::default();
        self.add_base64(bytes, &mut sha);
        self.end_string();
        sha.hex()
    }

    fn encode(&mut self, bytes: &[u8]) {
        use base64::engine::{Engine, general_purpose::STANDARD};
        let start = self.out.bytes.len();
        self.out.bytes.resize(start + bytes.len().div_ceil(3) * 4, b'=');
        // The buffer has exactly the size that the RFC requires, so the only possible error can't occur.
        let room = self.out.bytes.get_mut(start..).unwrap_or_default();
        let written = STANDARD.encode_slice(bytes, room).unwrap_or(0);
        self.out.bytes.truncate(start + written);
    }

    pub(super) fn integer(&mut self, number: u64) {
        self.separate();
        self.out.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.comma = true;
    }

    pub(super) fn number(&mut self, number: f64) {
        use std::io::Write;
        self.separate();
        // Writing to a `Vec` can't fail.
        let _ = write!(self.out.bytes, "{number}");
        self.comma = true;
    }

    pub(super) fn literal(&mut self, literal: &str) {
        self.separate();
        self.out.bytes.extend_from_slice(literal.as_bytes());
        self.comma = true;
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.bytes.push(b',');
        }
    }
}

/// Appends `text`, escaped. Clean blocks, and clean words of other blocks, are copied as they are. Otherwise each byte is written after a
/// backslash, and the next one over it or after it. So the speed does not depend on where in a word a quote is, and text with a quote
/// every few bytes, such as JSON in JSON, causes no branch mispredictions.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    if text.len() <= SHORT && is_clean(text) {
        return out.extend_from_slice(text);
    }
    let mut scratch = [0; SCRATCH];
    for block in text.chunks(BLOCK) {
        // No branch per byte, so it compiles to vector instructions.
        if !block.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\')) {
            out.extend_from_slice(block);
            continue;
        }
        let mut to = 0;
        let (words, rest) = block.as_chunks::<WORD>();
        for word in words {
            if unclean(u64::from_le_bytes(*word)) {
                word.iter().for_each(|byte| to = escape_byte(*byte, &mut scratch, to));
            } else {
                scratch[to..to + WORD].copy_from_slice(word);
                to += WORD;
            }
        }
        rest.iter().for_each(|byte| to = escape_byte(*byte, &mut scratch, to));
        out.extend_from_slice(&scratch[..to]);
    }
}

/// True when no byte of `text` must be escaped. The last word is read aligned to the end, so it may overlap the word before it.
fn is_clean(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<WORD>();
    let clean = |word: &[u8; WORD]| !unclean(u64::from_le_bytes(*word));
    match text.last_chunk::<WORD>() {
        Some(last) => words.iter().all(clean) && clean(last),
        None => rest.iter().all(|byte| ESCAPE[usize::from(*byte)] == 0),
    }
}

/// The character after the backslash for each byte; 0 for bytes that need no escape.
const ESCAPE: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// True when a byte of the word must be escaped: below 0x20, `"` or `\`. (For each byte, subtraction borrows from the top bit if the
/// byte is less; a byte whose own top bit is set never needs escaping.)
fn unclean(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let less = |v: u64, than: u8| v.wrapping_sub(ONES * u64::from(than)) & !v;
    let equal = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    (less(word, 0x20) | equal(b'"') | equal(b'\\')) & TOPS != 0
}

/// Writes one byte at `to`, escaped if necessary, and returns the position of the next one.
fn escape_byte(byte: u8, scratch: &mut [u8; SCRATCH], to: usize) -> usize {
    let escape = ESCAPE[usize::from(byte)];
    if escape == b'u' {
        let mut units = *b"\\u0000";
        units[4] += byte >> 4;
        units[5] = b"0123456789abcdef"[usize::from(byte & 15)];
        scratch[to..to + units.len()].copy_from_slice(&units);
        return to + units.len();
    }
    let escaped = usize::from(escape != 0);
    scratch[to & MASK] = b'\\';
    scratch[(to + escaped) & MASK] = if escape == 0 { byte } else { escape };
    to + escaped + 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // the tests unwrap documents that are expected to parse
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, proptest};
    use proptest::test_runner::RngSeed;

    fn document(json: Json) -> (Vec<u8>, String) {
        let finished = json.into_out().finish().unwrap();
        (finished.data, finished.sha256)
    }

    fn string(text: &str) -> Vec<u8> {
        let mut json = Json::new(Out::new(0, None));
        json.text(text);
        document(json).0
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
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_reads_back(text in any::<String>(), repeat in 1_usize..60) {
            let text = text.repeat(repeat);
            assert_eq!(serde_json::from_slice::<String>(&string(&text)).unwrap(), text);
        }
    }

    #[test]
    fn pieces_are_one_string() {
        let mut json = Json::new(Out::new(0, None));
        json.text_and_digest(&[&b"a\"\xc3"[..], b"", b"\x83b\n"]);
        assert_eq!(document(json).0, serde_json::to_vec("a\"\u{c3}b\n").unwrap());
    }

    #[test]
    fn both_digests_are_those_of_the_whole() {
        use crate::pipeline::digest::sha256_hex;
        for size in [0, 1, 63, 64, 65, 127, 128, 129, HASHED - 1, HASHED, HASHED + 1, 3 * HASHED + 77] {
            let bytes: Vec<u8> = (0..size).map(|n| b"ab\"\n"[n % 4]).collect();
            let (first, second) = bytes.split_at(size / 3);
            let mut json = Json::new(Out::new(0, None));
            json.open(b'[');
            assert_eq!(json.text_and_digest(&[first, second]), sha256_hex(&bytes), "{size}");
            assert_eq!(json.base64_and_digest(&bytes), sha256_hex(&bytes), "{size}");
            json.close(b']');
            let (document, digest) = document(json);
            assert_eq!(digest, sha256_hex(&document), "{size}");
            let read: [String; 2] = serde_json::from_slice(&document).unwrap();
            assert_eq!(read[0].as_bytes(), bytes);
        }
    }

    #[test]
    fn members_and_elements_are_separated() {
        let mut json = Json::new(Out::new(0, None));
        json.open(b'{');
        json.name("a");
        json.open(b'[');
        json.integer(1);
        json.number(0.5);
        json.literal("null");
        json.base64(b"ab");
        json.open(b'[');
        json.close(b']');
        json.close(b']');
        json.name("b");
        json.plain(&["x", "y"]);
        json.close(b'}');
        assert_eq!(String::from_utf8(document(json).0).unwrap(), r#"{"a":[1,0.5,null,"YWI=",[]],"b":"xy"}"#);
    }
}
