//! Content codings undone (RFC 9110 §8.4): gzip, deflate (both kinds), br, zstd, and lists of them, under a bound.
//!
//! In: the codings a message names and its body as carried. Out: the body as decoded, as much of it as the bound allows, and
//! the name of the coding that could not be undone. A body that is a prefix gives a prefix.

use std::io::Read;

use crate::model::message::Fields;

/// Most bytes that a body is decoded to.
const MOST: usize = 16 << 20;
/// Most bytes of output for one of input, above [`FREE`]: what deflate can reach at its best (1032:1) and honest text never does.
const RATIO: usize = 1024;
/// Output that the ratio does not count against.
const FREE: usize = 64 << 10;
/// Codings applied one after the other that are undone; a message that names more is broken or hostile.
const CODINGS: usize = 4;
/// Largest zstd window (RFC 9659: HTTP content may not ask for more).
const WINDOW: u64 = 8 << 20;

/// A body, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Decoded {
    /// The bytes.
    pub(super) data: Vec<u8>,
    /// True when bytes are missing at the end.
    pub(super) truncated: bool,
    /// The coding that could not be undone.
    pub(super) failed: Option<String>,
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Bound,
    Broken,
}

/// The codings of a message in the order in which they were applied, without `identity`.
pub(super) fn codings(fields: &Fields) -> Vec<&str> {
    let names = fields.all("content-encoding").flat_map(|value| value.split(','));
    names.map(str::trim).filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity")).collect()
}

/// Undoes `codings` on `carried`; `whole` says that nothing of it is missing.
pub(super) fn decode(codings: &[&str], carried: &[u8], whole: bool) -> Decoded {
    let bound = MOST.min(FREE.max(carried.len().saturating_mul(RATIO)));
    let mut decoded = Decoded { truncated: !whole, ..Decoded::default() };
    if codings.len() > CODINGS {
        return Decoded { failed: Some("too many codings".to_owned()), ..decoded };
    }
    for (nth, coding) in codings.iter().rev().enumerate() {
        let input = if nth == 0 { carried } else { &decoded.data };
        let Some((data, end)) = undo(coding, input, bound) else {
            return Decoded { data: Vec::new(), failed: Some((*coding).to_owned()), ..decoded };
        };
        decoded.data = data;
        // A prefix ends in the middle of something: that is no fault of the coding.
        if end == End::Broken && !decoded.truncated {
            decoded.failed = Some((*coding).to_owned());
        }
        decoded.truncated |= end != End::Whole;
    }
    decoded
}

/// Undoes one coding; none when it isn't known.
fn undo(coding: &str, input: &[u8], bound: usize) -> Option<(Vec<u8>, End)> {
    let is = |name: &str| coding.eq_ignore_ascii_case(name);
    Some(if is("gzip") || is("x-gzip") {
        read(flate2::bufread::MultiGzDecoder::new(input), bound)
    } else if is("deflate") {
        inflate(input, bound)
    } else if is("br") {
        read(brotli_decompressor::Decompressor::new(input, 4096), bound)
    } else if is("zstd") {
        unzstd(input, bound)
    } else {
        return None;
    })
}

/// `deflate` is the zlib format (RFC 9110 §8.4.1.2), and from some servers the bare one: the header's check bits tell.
fn inflate(input: &[u8], bound: usize) -> (Vec<u8>, End) {
    let zlib = matches!(input, [method, flags, ..]
        if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0);
    if zlib {
        read(flate2::bufread::ZlibDecoder::new(input), bound)
    } else {
        read(flate2::bufread::DeflateDecoder::new(input), bound)
    }
}

/// One frame after the other (RFC 8878 §3); skippable ones give nothing.
fn unzstd(mut input: &[u8], bound: usize) -> (Vec<u8>, End) {
    let mut all = Vec::new();
    while !input.is_empty() {
        if let Some(rest) = after_skippable(input) {
            input = rest;
            continue;
        }
        let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(&mut input, WINDOW);
        let Ok(decoder) = decoder else { return (all, End::Broken) };
        let (data, end) = read(decoder, bound.saturating_sub(all.len()));
        all.extend_from_slice(&data);
        if end != End::Whole {
            return (all, end);
        }
    }
    (all, End::Whole)
}

/// What follows a skippable frame (RFC 8878 §3.1.2); none when it isn't one, or isn't whole.
fn after_skippable(input: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = input.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let skippable = u32::from_le_bytes(*magic) & 0xffff_fff0 == 0x184d_2a50;
    rest.get(u32::from_le_bytes(*size) as usize..).filter(|_| skippable)
}

fn read(reader: impl Read, bound: usize) -> (Vec<u8>, End) {
    let mut data = Vec::new();
    let result = reader.take(bound as u64 + 1).read_to_end(&mut data);
    let end = match result {
        _ if data.len() > bound => End::Bound,
        Ok(_) => End::Whole,
        Err(_) => End::Broken,
    };
    data.truncate(bound);
    (data, end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // encoders that fail are faults of the test
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog, the quick brown fox jumps over the lazy dog";
    /// `TEXT` as Node's zlib and zstd 1.5.4 compress it.
    const BR: &str =
        "1b5700008c946ee662844a873a59aab7fe3542d108c837b430d880038704f2171ae47ab6cc2eb1b363b24509cbc346d9ea0f93f20900";
    const ZSTD: &str = "28b52ffd0458b50100c40274686520717569636b2062726f776e20666f78206a756d7073206f76657220746865206c617a7920646f672c0200a02a8021cc32c7aa3643";

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn whole(data: &[u8]) -> Decoded {
        Decoded { data: data.to_vec(), truncated: false, failed: None }
    }

    #[test]
    fn each_coding_is_undone() {
        assert_eq!(decode(&["gzip"], &gzip(TEXT), true), whole(TEXT));
        assert_eq!(decode(&["X-GZIP"], &gzip(TEXT), true), whole(TEXT));
        assert_eq!(decode(&["deflate"], &zlib(TEXT), true), whole(TEXT));
        assert_eq!(decode(&["deflate"], &bare(TEXT), true), whole(TEXT));
        assert_eq!(decode(&["br"], &hex(BR), true), whole(TEXT));
        assert_eq!(decode(&["zstd"], &hex(ZSTD), true), whole(TEXT));
        assert_eq!(decode(&["deflate", "gzip"], &gzip(&zlib(TEXT)), true), whole(TEXT));
    }

    #[test]
    fn members_and_frames_follow_one_another() {
        let twice = [TEXT, TEXT].concat();
        assert_eq!(decode(&["gzip"], &[gzip(TEXT), gzip(TEXT)].concat(), true), whole(&twice));
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2];
        assert_eq!(decode(&["zstd"], &[&hex(ZSTD)[..], &skippable, &hex(ZSTD)].concat(), true), whole(&twice));
    }

    #[test]
    fn a_prefix_gives_a_prefix() {
        let long: Vec<u8> = (0..40_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (coding, body) in [("gzip", gzip(&long)), ("deflate", zlib(&long)), ("deflate", bare(&long))] {
            let cut = decode(&[coding], &body[..body.len() / 2], false);
            assert!(cut.truncated && cut.failed.is_none(), "{coding}");
            assert!(cut.data.len() > 10_000 && long.starts_with(&cut.data), "{coding}");
        }
        for (coding, body) in [("br", hex(BR)), ("zstd", hex(ZSTD))] {
            let cut = decode(&[coding], &body[..body.len() - 4], false);
            assert!(cut.truncated && cut.failed.is_none() && TEXT.starts_with(&cut.data), "{coding}");
        }
    }

    #[test]
    fn what_fails_is_named() {
        assert_eq!(decode(&["gzip"], b"not gzip at all", true).failed.as_deref(), Some("gzip"));
        assert_eq!(decode(&["br"], &[0xff; 40], true).failed.as_deref(), Some("br"));
        assert_eq!(decode(&["zstd"], b"nor zstd", true).failed.as_deref(), Some("zstd"));
        assert_eq!(decode(&["compress"], b"", true).failed.as_deref(), Some("compress"));
        assert_eq!(decode(&["compress", "gzip"], &gzip(TEXT), true).failed.as_deref(), Some("compress"));
        let cut = gzip(TEXT);
        assert_eq!(decode(&["gzip"], &cut[..cut.len() - 9], true).failed.as_deref(), Some("gzip"));
        assert_eq!(decode(&["gzip"; 5], &gzip(TEXT), true).failed.as_deref(), Some("too many codings"));
    }

    #[test]
    fn expansion_is_bounded() {
        let bomb = gzip(&vec![0; 64 << 20]);
        let decoded = decode(&["gzip"], &bomb, true);
        assert_eq!((decoded.data.len(), decoded.truncated, decoded.failed), (MOST, true, None));
        let twice = decode(&["gzip", "gzip"], &gzip(&bomb), true);
        assert!(twice.truncated && twice.data.len() <= MOST);
    }

    #[test]
    fn codings_are_a_list_over_all_fields() {
        use crate::model::message::{Field, FieldText};
        let field = |value: &'static str| Field {
            name: FieldText::Known("Content-Encoding".into()),
            value: FieldText::Known(value.into()),
        };
        assert_eq!(
            codings(&Fields(vec![field("gzip, identity ,br"), field(""), field("zstd")])),
            ["gzip", "br", "zstd"]
        );
    }
}
