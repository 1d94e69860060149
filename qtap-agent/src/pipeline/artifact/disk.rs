//! Bodies on disk, as documents show them: the same text, base64 and digests as for bytes in memory, but read in blocks. In:
//! a [`Bulk`], how much of it to show, and the media type. Out: pieces of UTF-8 text, or members of a JSON document; for a
//! body with content codings, another, decoded [`Bulk`].

use std::io;

use encoding_rs::{Decoder as Transcoder, DecoderResult, Encoding};

use super::charset::{self, Extent};
use super::decode::{Decoded, Decoder};
use super::escape::Json;
use crate::pipeline::digest::Sha;
use crate::pipeline::spool::{Bulk, Folder};

/// Bytes passed to a decoder at once: each stage produces at most 1024 bytes per input byte.
const CODED_BYTES: usize = 4 << 10;

/// The form of bytes on disk.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Utf8,
    /// Text in this encoding, after a byte order mark of this length.
    Other(&'static Encoding, usize),
    Bytes,
}

/// The form of the first `len` bytes of `bulk`. (See `charset::text`.)
pub(super) fn form(bulk: &Bulk, len: u64, content_type: &str, extent: Extent) -> io::Result<Form> {
    match charset::other_than_utf8(content_type, bulk.start()) {
        None if bulk.is_utf8(len) => Ok(Form::Utf8),
        None => Ok(Form::Bytes),
        Some((encoding, mark)) => {
            let whole = text(bulk, len, encoding, mark, extent, |_| {})?;
            Ok(if whole { Form::Other(encoding, mark) } else { Form::Bytes })
        }
    }
}

/// Passes the text to `take` in pieces; returns false when the bytes are not text.
pub(super) fn text(
    bulk: &Bulk,
    len: u64,
    encoding: &'static Encoding,
    mark: usize,
    extent: Extent,
    mut take: impl FnMut(&str),
) -> io::Result<bool> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let (mut skip, mut fits) = (mark, true);
    let mut room = String::new();
    let mut decode = |decoder: &mut Transcoder, block: &[u8], last| {
        room.clear();
        let needed = decoder.max_utf8_buffer_length_without_replacement(block.len()).unwrap_or(block.len() * 4);
        room.reserve(needed);
        let (result, _) = decoder.decode_to_string_without_replacement(block, &mut room, last);
        take(&room);
        matches!(result, DecoderResult::InputEmpty)
    };
    bulk.each(len, |block| {
        let from = skip.min(block.len());
        skip -= from;
        fits = fits && decode(&mut decoder, block.get(from..).unwrap_or_default(), false);
        Ok(())
    })?;
    // A prefix may end in the middle of a character.
    if fits && extent == Extent::Whole {
        fits = decode(&mut decoder, &[], true);
    }
    Ok(fits)
}

/// Writes `encoding`, `charset` and `data` of the first `len` bytes of `bulk`; returns their digest. (See `body::bytes`.)
pub(super) fn write(json: &mut Json, bulk: &Bulk, len: u64, content_type: &str, extent: Extent) -> io::Result<String> {
    let mut sha = Sha::default();
    json.name("encoding");
    match form(bulk, len, content_type, extent)? {
        Form::Utf8 => {
            json.plain(&["text"]);
            json.name("data");
            json.begin_string();
            bulk.each(len, |block| {
                json.add_text(block, Some(&mut sha));
                Ok(())
            })?;
        }
        Form::Other(encoding, mark) => {
            json.plain(&["text"]);
            json.name("charset");
            json.plain(&[&charset::name(encoding)]);
            json.name("data");
            json.begin_string();
            text(bulk, len, encoding, mark, extent, |piece| json.add_text(piece.as_bytes(), None))?;
            bulk.each(len, |block| {
                sha.update(block);
                Ok(())
            })?;
        }
        Form::Bytes => {
            json.plain(&["base64"]);
            json.name("data");
            json.begin_string();
            bulk.each(len, |block| {
                json.add_base64(block, &mut sha);
                Ok(())
            })?;
        }
    }
    json.end_string();
    Ok(sha.hex())
}

/// Undoes `codings` on the first `len` bytes of `bulk`; `whole` means that no bytes are missing. (See `decode::decode`.)
pub(in crate::pipeline) fn decode(
    codings: &[&str],
    bulk: &Bulk,
    len: u64,
    whole: bool,
    folder: &Folder,
) -> io::Result<(Decoded, Bulk)> {
    let mut out = Bulk::new(folder.unnamed()?);
    let mut decoded = Decoded::default();
    match Decoder::new(codings) {
        Err(coding) => decoded.failed = Some(coding),
        Ok(mut decoder) => {
            bulk.each(len, |block| {
                for piece in block.chunks(CODED_BYTES) {
                    if decoded.truncated {
                        break;
                    }
                    let left = folder.decoded().saturating_sub(out.len());
                    decoder.push(piece, usize::try_from(left).unwrap_or(usize::MAX), &mut decoded);
                    out.append(&[&decoded.data])?;
                    decoded.data.clear();
                }
                Ok(())
            })?;
            if whole {
                decoder.end(&mut decoded);
            }
        }
    }
    decoded.truncated |= !whole || decoded.failed.is_some();
    Ok((decoded, out))
}
