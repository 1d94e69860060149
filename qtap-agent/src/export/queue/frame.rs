//! The encoding of one entry in a segment file. In: an [`Item`] and its number. Out: bytes; and back. This module opens no files.
//!
//! ```text
//!  0  mark         4 bytes, to find the next entry after a damaged one
//!  4  CRC32        of everything from byte 8 on, initialized with the segment's salt
//!  8  body length  u32: resource + name + content type + payload
//! 12  resource     u32, length
//! 16  number       u64: the entries of a lane are numbered without gaps
//! 24  accepted     u64, Unix nanoseconds
//! 32  name         u16, length
//! 34  content type u16, length
//! 36  class        0 event, 1 object
//! 37  spooled      1: the payload is the length (u64) of a file beside the segments, named by the entry's number
//! 38  zero         2 bytes
//! 40  body
//! ```
//!
//! All numbers are little-endian. Because of the salt, bytes in a captured body can't be mistaken for an entry.

use std::ops::Range;

use bytes::Bytes;

use crate::export::exporter::{Class, Item};

/// Bytes before the body.
pub(super) const HEAD_BYTES: usize = 40;

/// The start of an entry: not valid text, and not the start of any common file format.
pub(super) const MARK: [u8; 4] = [0xf1, b'q', 0x1a, 0xe5];

/// The head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    crc: u32,
    body: u32,
    resource: u32,
    /// Its number.
    pub(super) seq: u64,
    /// When it was accepted, in Unix nanoseconds.
    pub(super) accepted_unix_ns: u64,
    name: u16,
    content_type: u16,
    class: u8,
    /// True when the payload is the length of a file.
    pub(super) spooled: bool,
}

/// The result of reading an entry at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// An intact entry with this many bytes.
    Entry(Head, usize),
    /// Possibly an entry; this many bytes are needed to decide.
    Short(usize),
    /// Not an entry, by its head.
    Damage,
    /// Its head looks like that of an entry with this many bytes, but the CRC differs.
    Mismatch(usize),
}

/// Bytes that an item takes in a segment; if more than `u32::MAX`, the item does not fit in a segment.
pub(super) fn len(item: &Item) -> usize {
    let payload = if item.spooled.is_some() { 8 } else { item.payload.len() };
    HEAD_BYTES + item.resource.len() + item.name.len() + item.content_type.len() + payload
}

/// True when an item fits in a segment, that is, its lengths fit their fields.
pub(super) fn fits(item: &Item) -> bool {
    let short = usize::from(u16::MAX);
    u32::try_from(len(item)).is_ok() && item.name.len() <= short && item.content_type.len() <= short
}

/// Appends the entry to `out`, except for its payload; the caller writes that after it, unchanged. A spooled item has no payload to write.
/// The item must fit.
pub(super) fn write(item: &Item, seq: u64, accepted_unix_ns: u64, salt: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&((len(item) - HEAD_BYTES) as u32).to_le_bytes());
    out.extend_from_slice(&(item.resource.len() as u32).to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&accepted_unix_ns.to_le_bytes());
    out.extend_from_slice(&(item.name.len() as u16).to_le_bytes());
    out.extend_from_slice(&(item.content_type.len() as u16).to_le_bytes());
    out.push(match item.class {
        Class::Event => 0,
        Class::Object => 1,
    });
    out.push(u8::from(item.spooled.is_some()));
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&item.resource);
    out.extend_from_slice(item.name.as_bytes());
    out.extend_from_slice(item.content_type.as_bytes());
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    if let Some(file) = &item.spooled {
        out.extend_from_slice(&file.bytes().to_le_bytes());
    }
    crc.update(out.get(start + 8..).unwrap_or_default());
    if item.spooled.is_none() {
        crc.update(&item.payload);
    }
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&crc.finalize().to_le_bytes());
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn head(bytes: &[u8]) -> Option<Head> {
    Some(Head {
        crc: u32_at(bytes, 4)?,
        body: u32_at(bytes, 8)?,
        resource: u32_at(bytes, 12)?,
        seq: u64_at(bytes, 16)?,
        accepted_unix_ns: u64_at(bytes, 24)?,
        name: u16_at(bytes, 32)?,
        content_type: u16_at(bytes, 34)?,
        class: *bytes.get(36)?,
        spooled: *bytes.get(37)? == 1,
    })
}

/// Reads the entry at the start of `bytes`, whose number must be in `numbers`.
pub(super) fn read(bytes: &[u8], salt: u32, numbers: &Range<u64>) -> Found {
    let begins = bytes.len().min(MARK.len());
    if bytes.get(..begins) != MARK.get(..begins) {
        return Found::Damage;
    }
    let Some(head) = bytes.get(..HEAD_BYTES).and_then(head) else { return Found::Short(HEAD_BYTES) };
    let total = HEAD_BYTES + head.body as usize;
    let parts = u64::from(head.resource) + u64::from(head.name) + u64::from(head.content_type);
    if parts > u64::from(head.body) || head.class > 1 || !numbers.contains(&head.seq) {
        return Found::Damage;
    }
    let Some(summed) = bytes.get(8..total) else { return Found::Short(total) };
    let mut crc = crc32fast::Hasher::new_with_initial(salt);
    crc.update(summed);
    if crc.finalize() == head.crc { Found::Entry(head, total) } else { Found::Mismatch(total) }
}

/// The item of an intact entry, sharing the bytes of `entry`; and the file length, for a spooled item.
pub(super) fn item(head: &Head, entry: &Bytes) -> (Item, u64) {
    let mut at = HEAD_BYTES;
    let mut part = |length: usize| {
        let part = entry.slice(at.min(entry.len())..(at + length).min(entry.len()));
        at += length;
        part
    };
    let resource = part(head.resource as usize);
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    let name = text(part(usize::from(head.name)));
    let content_type = text(part(usize::from(head.content_type)));
    let payload = part(usize::MAX / 2);
    let file_bytes = if head.spooled { u64_at(&payload, 0).unwrap_or(0) } else { 0 };
    let payload = if head.spooled { Bytes::new() } else { payload };
    let class = if head.class == 0 { Class::Event } else { Class::Object };
    (Item { class, resource, name, content_type, payload, spooled: None }, file_bytes)
}

/// The file length of a spooled entry; `entry` holds its bytes.
pub(super) fn file_bytes(head: &Head, entry: &[u8]) -> u64 {
    if !head.spooled {
        return 0;
    }
    let at = HEAD_BYTES + head.resource as usize + usize::from(head.name) + usize::from(head.content_type);
    u64_at(entry, at).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::{item as read_item, *};

    const SALT: u32 = 0x5a17;
    const ANY: Range<u64> = 0..u64::MAX;

    fn entry(item: &Item, seq: u64) -> Bytes {
        let mut out = Vec::new();
        write(item, seq, 77, SALT, &mut out);
        out.extend_from_slice(&item.payload);
        assert_eq!(out.len(), len(item));
        out.into()
    }

    fn sample() -> Item {
        Item {
            class: Class::Object,
            resource: Bytes::from_static(b"resource"),
            name: "0123".into(),
            content_type: "text/plain".into(),
            payload: Bytes::from_static(b"payload"),
            spooled: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for item in [sample(), Item { class: Class::Event, payload: Bytes::new(), ..sample() }] {
            let bytes = entry(&item, 9);
            let Found::Entry(head, length) = read(&bytes, SALT, &ANY) else { panic!() };
            assert_eq!((head.seq, head.accepted_unix_ns, length), (9, 77, bytes.len()));
            assert_eq!(read_item(&head, &bytes), (item, 0));
        }
    }

    #[test]
    fn a_spooled_item_is_its_files_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"data").unwrap();
        let spooled = Some(std::sync::Arc::new(crate::model::spool::SpoolFile::new(path, 4)));
        let bytes = entry(&Item { payload: Bytes::new(), spooled, ..sample() }, 1);
        let Found::Entry(head, _) = read(&bytes, SALT, &ANY) else { panic!() };
        assert_eq!(file_bytes(&head, &bytes), 4);
        let (item, length) = read_item(&head, &bytes);
        assert_eq!((item.payload.len(), length), (0, 4));
    }

    #[test]
    fn no_bit_can_change_unseen() {
        let bytes = entry(&sample(), 3);
        for at in 0..bytes.len() * 8 {
            let mut hurt = bytes.to_vec();
            hurt[at / 8] ^= 1 << (at % 8);
            assert!(!matches!(read(&hurt, SALT, &ANY), Found::Entry(..)), "bit {at}");
        }
        assert_eq!(read(&bytes, SALT + 1, &ANY), Found::Mismatch(bytes.len()));
        assert_eq!(read(&bytes, SALT, &(4..9)), Found::Damage);
    }

    #[test]
    fn a_beginning_asks_for_more() {
        let bytes = entry(&sample(), 3);
        for at in 0..bytes.len() {
            let Found::Short(wanted) = read(&bytes[..at], SALT, &ANY) else { panic!("{at}") };
            assert!(wanted > at && wanted <= bytes.len());
        }
    }
}
