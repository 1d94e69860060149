//! Excerpts of objects that are too large for memory, for stores that take records, not files (OTLP, lines). In: a record. Out: the same
//! record, or one with the beginning of the object, marked as truncated; its size and digest remain those of the whole object.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};

use bytes::Bytes;

use crate::model::record::{ObjectRecord, Record, RecordKind};
use crate::model::spool::SpoolFile;

/// Bytes of an object that an OTLP store gets: the default limit of a body, and half of what a collector accepts in one gRPC message
/// (4 MiB).
pub const OTLP_BYTES: u64 = 2 << 20;
/// Bytes of an object in a line: a body of 64 MiB in base64, with space for heads. Programs that read lines hold them in memory
/// too.
pub const LINE_BYTES: u64 = 128 << 20;

/// `record` for a store that gets at most `most` bytes of an object.
pub(super) fn of(record: &Record, most: u64) -> Cow<'_, Record> {
    let RecordKind::Object(object) = &record.kind else { return Cow::Borrowed(record) };
    let Some(file) = object.spooled.as_ref().filter(|_| object.data.is_empty()) else { return Cow::Borrowed(record) };
    // If the file is gone, only the record's metadata remains.
    let data = beginning(file, most).unwrap_or_default();
    let truncated = object.truncated || (data.len() as u64) < file.bytes();
    let object = ObjectRecord { data, truncated, ..(**object).clone() };
    Cow::Owned(Record { kind: RecordKind::Object(Box::new(object)), ..record.clone() })
}

fn beginning(file: &SpoolFile, most: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(file.bytes().min(most)).unwrap_or(0));
    File::open(file.path())?.take(most).read_to_end(&mut bytes)?;
    // Text stays valid text: a character that is cut in two is dropped.
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
    Ok(bytes.into())
}
