//! Header compression of HTTP/2 (RFC 7541), decoding side. In: the header blocks of one direction in order, whole, or in pieces if they are
//! too long to be held. Out: header fields. Decoding never fails: what cannot be known is unknown, and a block that cannot be read to its end is marked.
//!
//! Only dynamic table size updates change the table. SETTINGS_HEADER_TABLE_SIZE can be ignored: an encoder must announce
//! every resulting change in a block (RFC 7541 §4.2), and a table larger than the encoder's gives the same results.

mod huffman;
mod statics;
mod table;

use bytes::{Buf, Bytes, BytesMut};

use self::table::{Entry, Table};
use crate::model::message::{Field, FieldText};

/// Octets of decoded text allocated at a time and shared by the fields in them.
const SCRATCH_BYTES: usize = 2048;

/// The decoder of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
    scratch: BytesMut,
    /// The block whose first pieces have arrived.
    long: Option<Box<Long>>,
}

/// A block that arrives in pieces.
#[derive(Debug, Default)]
struct Long {
    decoded: Decoded,
    /// Octets of an incomplete representation.
    carry: BytesMut,
    /// Minimum octets needed to complete it.
    need: usize,
    /// Octets still to come of a string longer than any table would hold.
    skip: usize,
    /// Octets read.
    read: usize,
}

/// Limits on what is kept of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Octets of the block.
    pub(super) octets: usize,
    /// Size of the fields, as RFC 9113 §6.5.2 counts a header list.
    pub(super) fields: usize,
}

/// Why a representation could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// At least this many octets are missing.
    Short(usize),
    /// It breaks the rules.
    Broken,
}

/// A representation (RFC 7541 §6).
enum Read {
    Field(Field),
    Resized,
}

/// The decoded form of a header block.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// Fields in order, pseudo-header fields included.
    pub(super) fields: Vec<Field>,
    /// Their size, as RFC 9113 §6.5.2 counts a header list.
    pub(super) size: usize,
    /// True if part of it is unknown.
    pub(super) unknown: bool,
    /// True if fields past the limit were left out.
    pub(super) cut: bool,
    /// True if the block could not be read to its end.
    pub(super) broken: bool,
}

impl Decoder {
    /// Creates a decoder with an empty table; if joined mid-stream, the table's older entries are unknown.
    pub(super) fn new(joined_late: bool) -> Decoder {
        Decoder { table: Table::new(joined_late), scratch: BytesMut::new(), long: None }
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        let long = self.long.as_ref().map_or(0, |long| size_of::<Long>() + long.carry.capacity() + long.decoded.size);
        self.table.held() + self.scratch.capacity() + long
    }

    /// A block of this direction was lost: everything learned about its table is void.
    pub(super) fn forget(&mut self) {
        self.table.forget();
        self.long = None;
    }

    /// Decodes a block, or its last piece. Fields beyond `limits` are decoded only to keep the table right, and left out.
    pub(super) fn decode(&mut self, block: Bytes, limits: Limits) -> Decoded {
        let mut long = self.long.take().map_or_else(Long::default, |long| *long);
        self.read(&mut long, block, limits);
        if !long.carry.is_empty() || long.skip > 0 {
            long.decoded.broken = true;
        }
        if long.decoded.broken {
            self.table.forget();
        }
        long.decoded
    }

    /// Decodes a piece of a block that is not its last.
    pub(super) fn decode_piece(&mut self, piece: Bytes, limits: Limits) {
        let mut long = self.long.take().unwrap_or_default();
        self.read(&mut long, piece, limits);
        self.long = Some(long);
    }

    fn read(&mut self, long: &mut Long, mut rest: Bytes, limits: Limits) {
        if long.decoded.broken {
            return;
        }
        let skipped = long.skip.min(rest.len());
        rest.advance(skipped);
        long.skip -= skipped;
        long.read += skipped;
        if !long.carry.is_empty() {
            long.carry.extend_from_slice(&rest);
            if long.carry.len() < long.need {
                return;
            }
            rest = std::mem::take(&mut long.carry).freeze();
        }
        while !rest.is_empty() {
            let mut after = rest.clone();
            match self.representation(&mut after, &mut long.skip) {
                Ok(read) => {
                    long.read += rest.len() - after.len();
                    rest = after;
                    if let Read::Field(field) = read {
                        long.decoded.take(field, long.read + long.skip <= limits.octets, limits.fields);
                    }
                }
                Err(Fault::Short(missing)) => {
                    long.need = rest.len() + missing;
                    long.carry.extend_from_slice(&rest);
                    return;
                }
                Err(Fault::Broken) => {
                    long.decoded.broken = true;
                    return;
                }
            }
        }
    }

    /// Reads one representation: a field, or a size update. `skip` is set to the number of octets of its value still to come.
    fn representation(&mut self, rest: &mut Bytes, skip: &mut usize) -> Result<Read, Fault> {
        let first = *rest.first().ok_or(Fault::Short(1))?;
        if first & 0x80 != 0 {
            let Entry { name, value } = self.table.get(integer(rest, 7)?);
            return Ok(Read::Field(Field { name, value }));
        }
        if first & 0xe0 == 0x20 {
            let bytes = integer(rest, 5)?;
            self.table.resize(bytes);
            return Ok(Read::Resized);
        }
        let indexed = first & 0x40 != 0;
        let name = match integer(rest, if indexed { 6 } else { 4 })? {
            0 => self.string(rest)?.ok_or(Fault::Broken)?,
            index => self.table.get(index).name,
        };
        let value = match self.string(rest)? {
            Some(value) => value,
            None => {
                *skip = integer(rest, 7)? - rest.len();
                rest.clear();
                FieldText::Unknown
            }
        };
        Ok(Read::Field(if indexed { self.remember(name, value) } else { Field { name, value } }))
    }

    /// Inserts a field, copied into its own memory: the buffer it was read from must not live as long as the table.
    fn remember(&mut self, name: FieldText, value: FieldText) -> Field {
        let own = |text: FieldText| match text {
            FieldText::Known(bytes) => FieldText::Known(Bytes::copy_from_slice(&bytes)),
            FieldText::Unknown => FieldText::Unknown,
        };
        let entry = Entry { name: own(name), value: own(value) };
        self.table.insert(entry.clone());
        Field { name: entry.name, value: entry.value }
    }

    /// Reads a string literal (RFC 7541 §5.2); unknown if its Huffman code is invalid. `None` if it is cut off and longer than any table holds.
    fn string(&mut self, rest: &mut Bytes) -> Result<Option<FieldText>, Fault> {
        let coded = rest.first().ok_or(Fault::Short(1))? & 0x80 != 0;
        let mut after = rest.clone();
        let len = integer(&mut after, 7)?;
        if len > after.len() {
            return if len > table::LIMIT_BYTES { Ok(None) } else { Err(Fault::Short(len - after.len())) };
        }
        *rest = after;
        let text = rest.split_to(len);
        if !coded {
            return Ok(Some(FieldText::Known(text)));
        }
        if self.scratch.capacity() - self.scratch.len() < len * 8 / 5 {
            self.scratch = BytesMut::with_capacity(SCRATCH_BYTES.max(len * 8 / 5));
        }
        let valid = huffman::decode(&text, &mut self.scratch);
        let decoded = self.scratch.split().freeze();
        Ok(Some(if valid { FieldText::Known(decoded) } else { FieldText::Unknown }))
    }
}

impl Decoded {
    fn take(&mut self, field: Field, within: bool, limit: usize) {
        let len = |text: &FieldText| text.bytes().map_or(0, Bytes::len);
        let size = self.size.saturating_add(len(&field.name) + len(&field.value) + 32);
        if !within || size > limit {
            self.cut = true;
            return;
        }
        self.unknown |= field.name == FieldText::Unknown || field.value == FieldText::Unknown;
        self.size = size;
        self.fields.push(field);
    }
}

/// Reads an integer with an N-bit prefix (RFC 7541 §5.1), N being `prefix`. A value of 2^32 or more is broken.
fn integer(rest: &mut Bytes, prefix: u32) -> Result<usize, Fault> {
    let octet = |rest: &mut Bytes| rest.try_get_u8().map_err(|_| Fault::Short(1));
    let mask = (1usize << prefix) - 1;
    let start = usize::from(octet(rest)?) & mask;
    if start < mask {
        return Ok(start);
    }
    let mut value = start as u64;
    for shift in (0..=28).step_by(7) {
        let octet = octet(rest)?;
        value += u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return usize::try_from(value).ok().filter(|v| *v <= u32::MAX as usize).ok_or(Fault::Broken);
        }
    }
    Err(Fault::Broken)
}

#[cfg(test)]
mod tests;
