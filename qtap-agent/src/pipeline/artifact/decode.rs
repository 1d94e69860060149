//! Undoes content codings (RFC 9110 §8.4): gzip, deflate (both kinds), br, zstd, and lists of them, within a bound.
//!
//! In: the codings that a message names, and its body as carried, whole or in parts. Out: the decoded body, as much of it as the
//! bound allows, and the name of the coding that could not be undone. A truncated body decodes to a prefix.

use super::undo::{Stop, Undo};
use crate::model::message::Fields;

/// Maximum number of bytes that a body, or a part of one, is decoded to.
pub(in crate::pipeline) const MOST: usize = 16 << 20;
/// Maximum output bytes per input byte, above [`FREE`]: deflate's best ratio is 1032:1, which honest text never reaches.
const RATIO: u64 = 1024;
/// Output bytes that are exempt from the ratio.
const FREE: u64 = 64 << 10;
/// Maximum number of stacked codings to undo; a message that names more is broken or hostile.
const CODINGS: usize = 4;

/// A body, or a part of one, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::pipeline) struct Decoded {
    /// The bytes.
    pub(in crate::pipeline) data: Vec<u8>,
    /// True when bytes are missing at the end.
    pub(in crate::pipeline) truncated: bool,
    /// The coding that could not be undone.
    pub(in crate::pipeline) failed: Option<String>,
}

/// Undoes the codings of one body incrementally.
#[derive(Debug)]
pub(in crate::pipeline) struct Decoder {
    /// In the order in which they are undone.
    stages: Vec<Stage>,
    /// Input bytes so far.
    carried: u64,
}

#[derive(Debug)]
struct Stage {
    coding: String,
    undo: Undo,
    /// Output bytes so far.
    given: u64,
}

/// The codings of a message's body, without `identity`, in the order in which they were applied: those of its content, then those of its transfer
/// (RFC 9112 §7) except `chunked`, which the parser has removed.
pub(in crate::pipeline) fn codings(fields: &Fields) -> Vec<&str> {
    let named = |field: &'static str, none: &'static [&'static str]| {
        let names = fields.all(field).flat_map(|value| value.split(',')).map(str::trim);
        names.filter(move |name| !name.is_empty() && !none.iter().any(|none| name.eq_ignore_ascii_case(none)))
    };
    let content = named("content-encoding", &["identity"]);
    content.chain(named("transfer-encoding", &["identity", "chunked"])).collect()
}

/// Undoes `codings` on `carried`; `whole` means that no bytes are missing.
pub(in crate::pipeline) fn decode(codings: &[&str], carried: &[u8], whole: bool) -> Decoded {
    decode_at_most(codings, carried, whole, MOST)
}

/// The same, to at most `most` bytes.
pub(in crate::pipeline) fn decode_at_most(codings: &[&str], carried: &[u8], whole: bool, most: usize) -> Decoded {
    let mut decoded = Decoded::default();
    match Decoder::new(codings) {
        Err(coding) => decoded.failed = Some(coding),
        Ok(mut decoder) => {
            decoder.push(carried, most, &mut decoded);
            if whole {
                decoder.end(&mut decoded);
            }
        }
    }
    decoded.truncated |= !whole || decoded.failed.is_some();
    decoded
}

impl Decoder {
    /// The decoder for a body with these `codings`, or the name of an unknown coding.
    pub(in crate::pipeline) fn new(codings: &[&str]) -> Result<Decoder, String> {
        if codings.len() > CODINGS {
            return Err("too many codings".to_owned());
        }
        let stage = |coding: &&str| match Undo::of(coding) {
            Some(undo) => Ok(Stage { coding: (*coding).to_owned(), undo, given: 0 }),
            None => Err((*coding).to_owned()),
        };
        Ok(Decoder { stages: codings.iter().rev().map(stage).collect::<Result<_, _>>()?, carried: 0 })
    }

    /// Decodes the next bytes of the body and appends the output, at most `most` bytes, to `decoded`. After an error or at a bound, no
    /// more output can follow; `decoded` is then marked truncated.
    pub(in crate::pipeline) fn push(&mut self, carried: &[u8], most: usize, decoded: &mut Decoded) {
        self.carried += carried.len() as u64;
        let allowed = FREE.max(self.carried.saturating_mul(RATIO));
        let mut input = std::borrow::Cow::Borrowed(carried);
        for stage in &mut self.stages {
            let left = usize::try_from(allowed.saturating_sub(stage.given)).unwrap_or(usize::MAX);
            let mut out = Vec::new();
            let end = stage.undo.push(&input, &mut out, most.min(left));
            stage.given += out.len() as u64;
            decoded.truncated |= end.is_err();
            if end == Err(Stop::Broken) && decoded.failed.is_none() {
                decoded.failed = Some(stage.coding.clone());
            }
            input = std::borrow::Cow::Owned(out);
        }
        decoded.data.extend_from_slice(&input);
    }

    /// Ends the body: an incomplete stage counts as failed, unless decoding stopped at a bound.
    pub(in crate::pipeline) fn end(&self, decoded: &mut Decoded) {
        if decoded.truncated {
            return;
        }
        if let Some(stage) = self.stages.iter().find(|stage| !stage.undo.is_whole()) {
            decoded.truncated = true;
            decoded.failed = Some(stage.coding.clone());
        }
    }

    /// Approximate memory use in bytes.
    pub(in crate::pipeline) fn memory(&self) -> usize {
        self.stages.iter().map(|stage| stage.undo.memory()).sum()
    }
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
        assert_eq!(decode(&["compress"], b"x", true).failed.as_deref(), Some("compress"));
        assert_eq!(decode(&["compress", "gzip"], &gzip(TEXT), true).failed.as_deref(), Some("compress"));
        let cut = gzip(TEXT);
        assert_eq!(decode(&["gzip"], &cut[..cut.len() - 9], true).failed.as_deref(), Some("gzip"));
        assert_eq!(decode(&["gzip"; 5], &gzip(TEXT), true).failed.as_deref(), Some("too many codings"));
        // A prefix that is not valid in the coding has failed too.
        let cut = decode(&["gzip"], b"not gzip at all", false);
        assert_eq!((cut.failed.as_deref(), cut.truncated), (Some("gzip"), true));
    }

    /// Output depends only on the input so far, so that an event of a stream can be read as soon as it was sent.
    #[test]
    fn what_was_flushed_comes_out_at_once() {
        use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
        let level = flate2::Compression::default();
        flushed("gzip", &mut GzEncoder::new(Vec::new(), level), |e| std::mem::take(e.get_mut()), |e| e.try_finish());
        flushed(
            "deflate",
            &mut ZlibEncoder::new(Vec::new(), level),
            |e| std::mem::take(e.get_mut()),
            |e| e.try_finish(),
        );
        flushed(
            "deflate",
            &mut DeflateEncoder::new(Vec::new(), level),
            |e| std::mem::take(e.get_mut()),
            |e| e.try_finish(),
        );
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        flushed("zstd", &mut zstd, |e| std::mem::take(e.get_mut()), |e| e.do_finish());
    }

    fn flushed<E: Write>(
        coding: &str,
        encoder: &mut E,
        take: impl Fn(&mut E) -> Vec<u8>,
        finish: impl Fn(&mut E) -> std::io::Result<()>,
    ) {
        let mut decoder = Decoder::new(&[coding]).unwrap();
        for event in ["data: one\n\n", "data: two\n\n", "data: one\n\n"] {
            encoder.write_all(event.as_bytes()).unwrap();
            encoder.flush().unwrap();
            let carried = take(encoder);
            let mut decoded = Decoded::default();
            let (first, second) = carried.split_at(carried.len() / 2);
            decoder.push(first, MOST, &mut decoded);
            decoder.push(second, MOST, &mut decoded);
            assert_eq!(decoded, whole(event.as_bytes()), "{coding}");
        }
        finish(encoder).unwrap();
        let mut decoded = Decoded::default();
        decoder.end(&mut decoded);
        assert_eq!(decoded.failed.as_deref(), Some(coding), "its end was not there yet");
        decoded = Decoded::default();
        decoder.push(&take(encoder), MOST, &mut decoded);
        decoder.end(&mut decoded);
        assert_eq!(decoded, whole(b""), "{coding}");
    }

    /// Three events as written by Node's zlib, with `BROTLI_OPERATION_FLUSH` after each, and the output of its `end`.
    #[test]
    fn what_was_flushed_comes_out_of_br_too() {
        let pieces =
            ["0b0580646174613a206f6e650a0a", "5000805f5ae18dee4e11a24a04600b", "5000805f02a00428244ad000", "03"];
        let mut decoder = Decoder::new(&["br"]).unwrap();
        for (piece, event) in pieces.iter().zip(["data: one\n\n", "data: two\n\n", "data: one\n\n", ""]) {
            let mut decoded = Decoded::default();
            decoder.push(&hex(piece), MOST, &mut decoded);
            assert_eq!(decoded, whole(event.as_bytes()));
            decoder.end(&mut decoded);
            assert_eq!(decoded.failed.is_none(), event.is_empty(), "whole at its end only");
        }
    }

    #[test]
    fn any_cut_gives_the_same() {
        let codings: [(&[&str], Vec<u8>); 7] = [
            (&["gzip"], [gzip(TEXT), gzip(TEXT)].concat()),
            (&["deflate"], zlib(TEXT)),
            (&["deflate"], bare(TEXT)),
            (&["br"], hex(BR)),
            (&["zstd"], [hex(ZSTD), hex(ZSTD)].concat()),
            (&["br", "gzip"], gzip(&hex(BR))),
            (&["deflate", "zstd", "gzip"], gzip(&zstd::encode_all(&zlib(TEXT)[..], 1).unwrap())),
        ];
        for (codings, carried) in codings {
            let at_once = decode(codings, &carried, true);
            assert!(at_once.failed.is_none() && at_once.data.starts_with(TEXT), "{codings:?}");
            for size in [1, 2, 3, 7, 50] {
                let (mut decoder, mut decoded) = (Decoder::new(codings).unwrap(), Decoded::default());
                carried.chunks(size).for_each(|piece| decoder.push(piece, MOST, &mut decoded));
                decoder.end(&mut decoded);
                assert_eq!(decoded, at_once, "{codings:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn the_ratio_counts_over_all_parts() {
        // 64 KiB are free; then each input byte allows 1024 more, whichever part it came in.
        let bomb = gzip(&gzip(&vec![0; 64 << 20]));
        let (mut decoder, mut given) = (Decoder::new(&["gzip", "gzip"]).unwrap(), 0);
        for (nth, byte) in bomb.iter().enumerate() {
            let mut decoded = Decoded::default();
            decoder.push(&[*byte], MOST, &mut decoded);
            given += decoded.data.len() as u64;
            assert!(given <= FREE.max((nth as u64 + 1) * RATIO), "{given} of {nth}");
            if decoded.truncated {
                return;
            }
        }
        panic!("the bound was not reached");
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
        let transfer = |value: &'static str| Field {
            name: FieldText::Known("transfer-encoding".into()),
            value: FieldText::Known(value.into()),
        };
        let both = Fields(vec![transfer("x-gzip, Chunked"), field("br"), transfer("chunked")]);
        assert_eq!(codings(&both), ["br", "x-gzip"]);
    }
}
