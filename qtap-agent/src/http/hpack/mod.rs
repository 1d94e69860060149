//! Header compression of HTTP/2 (RFC 7541), decoding side. In: the header blocks of one direction, whole and in order. Out: header
//! fields. It never fails: what it cannot know is unknown, and a block it cannot read to its end says so.
//!
//! Only dynamic table size updates change the table here. SETTINGS_HEADER_TABLE_SIZE needs no ear: an encoder must announce
//! every change it makes of it in a block (RFC 7541 §4.2), and a table larger than the encoder's gives the same answers.

mod huffman;
mod statics;
mod table;

use bytes::{Buf, Bytes, BytesMut};

use self::table::{Entry, Table};
use crate::model::message::{Field, FieldText};

/// Octets of decoded text that are allocated at a time and shared by the fields in them.
const SCRATCH_BYTES: usize = 2048;

/// The decoder of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
    scratch: BytesMut,
}

/// What a header block stands for.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// Fields in order, pseudo-header fields included.
    pub(super) fields: Vec<Field>,
    /// Their size, as RFC 9113 §6.5.2 counts a header list.
    pub(super) size: usize,
    /// True when part of it is unknown.
    pub(super) unknown: bool,
    /// True when fields past the limit were left out.
    pub(super) cut: bool,
    /// True when it could not be read to its end.
    pub(super) broken: bool,
}

impl Decoder {
    /// A decoder with an empty table; joined late, its older entries are unknown.
    pub(super) fn new(joined_late: bool) -> Decoder {
        Decoder { table: Table::new(joined_late), scratch: BytesMut::new() }
    }

    /// Bytes of memory it holds.
    pub(super) fn held(&self) -> usize {
        self.table.held() + self.scratch.capacity()
    }

    /// A block of this direction was lost: all that was learnt of its table is void.
    pub(super) fn forget(&mut self) {
        self.table.forget();
    }

    /// Decodes one block. Fields beyond `limit` octets (counted as RFC 9113 §6.5.2 counts a header list) are decoded for the
    /// table's sake and left out.
    pub(super) fn decode(&mut self, block: Bytes, limit: usize) -> Decoded {
        let mut decoded = Decoded::default();
        let mut rest = block;
        while !rest.is_empty() {
            match self.field(&mut rest) {
                Some(Some(field)) => {
                    let len = |text: &FieldText| text.bytes().map_or(0, Bytes::len);
                    let size = decoded.size.saturating_add(len(&field.name) + len(&field.value) + 32);
                    decoded.unknown |= field.name == FieldText::Unknown || field.value == FieldText::Unknown;
                    if size > limit {
                        decoded.cut = true;
                    } else {
                        decoded.size = size;
                        decoded.fields.push(field);
                    }
                }
                Some(None) => {}
                None => {
                    decoded.broken = true;
                    self.table.forget();
                    break;
                }
            }
        }
        decoded
    }

    /// One representation (RFC 7541 §6): a field, or a size update. None when it is not one.
    fn field(&mut self, rest: &mut Bytes) -> Option<Option<Field>> {
        let first = *rest.first()?;
        if first & 0x80 != 0 {
            let Entry { name, value } = self.table.get(integer(rest, 7)?);
            return Some(Some(Field { name, value }));
        }
        if first & 0xe0 == 0x20 {
            let bytes = integer(rest, 5)?;
            self.table.resize(bytes);
            return Some(None);
        }
        let indexed = first & 0x40 != 0;
        let name = match integer(rest, if indexed { 6 } else { 4 })? {
            0 => self.string(rest)?,
            index => self.table.get(index).name,
        };
        let value = self.string(rest)?;
        let field = if indexed { self.remember(name, value) } else { Field { name, value } };
        Some(Some(field))
    }

    /// Inserts a field, in memory of its own: what it was read from must not live as long as the table.
    fn remember(&mut self, name: FieldText, value: FieldText) -> Field {
        let own = |text: FieldText| match text {
            FieldText::Known(bytes) => FieldText::Known(Bytes::copy_from_slice(&bytes)),
            FieldText::Unknown => FieldText::Unknown,
        };
        let entry = Entry { name: own(name), value: own(value) };
        self.table.insert(entry.clone());
        Field { name: entry.name, value: entry.value }
    }

    /// A string literal (RFC 7541 §5.2); unknown when its Huffman code is not valid. None when it is cut off.
    fn string(&mut self, rest: &mut Bytes) -> Option<FieldText> {
        let coded = rest.first()? & 0x80 != 0;
        let len = integer(rest, 7)?;
        if len > rest.len() {
            return None;
        }
        let text = rest.split_to(len);
        if !coded {
            return Some(FieldText::Known(text));
        }
        if self.scratch.capacity() - self.scratch.len() < len * 8 / 5 {
            self.scratch = BytesMut::with_capacity(SCRATCH_BYTES.max(len * 8 / 5));
        }
        let valid = huffman::decode(&text, &mut self.scratch);
        let decoded = self.scratch.split().freeze();
        Some(if valid { FieldText::Known(decoded) } else { FieldText::Unknown })
    }
}

/// An integer with an N-bit prefix (RFC 7541 §5.1), N being `prefix`. None when it is cut off or above 2^32.
fn integer(rest: &mut Bytes, prefix: u32) -> Option<usize> {
    let mask = (1usize << prefix) - 1;
    let start = usize::from(rest.try_get_u8().ok()?) & mask;
    if start < mask {
        return Some(start);
    }
    let mut value = start as u64;
    for shift in (0..=28).step_by(7) {
        let octet = rest.try_get_u8().ok()?;
        value += u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return usize::try_from(value).ok().filter(|v| *v <= u32::MAX as usize);
        }
    }
    None
}

#[cfg(test)]
mod tests;
