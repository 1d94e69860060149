//! What a store gets of an object that is too large for memory when it takes records, not files (OTLP, lines): its beginning. In: a
//! record. Out: the same record, or one that holds the beginning and says so; its size and digest stay those of the whole.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};

use bytes::Bytes;

use crate::model::record::{ObjectRecord, Record, RecordKind};
use crate::model::spool::SpoolFile;

/// Bytes of an object that an OTLP store gets: as much as it gets of a body unless more is kept, and half of what a collector takes in
/// one message of gRPC (4 MiB).
pub const OTLP_BYTES: u64 = 2 << 20;
/// Bytes of an object that a line holds: a body of 64 MiB in base64, with room for heads. Lines are read by programs that hold them
/// in memory too.
pub const LINE_BYTES: u64 = 128 << 20;

/// `record` as a store takes it that gets `most` bytes of an object.
pub(super) fn of(record: &Record, most: u64) -> Cow<'_, Record> {
    let RecordKind::Object(object) = &record.kind else { return Cow::Borrowed(record) };
    let Some(file) = object.spooled.as_ref().filter(|_| object.data.is_empty()) else { return Cow::Borrowed(record) };
    // A file that is gone: nothing of it is left but what is known of it.
    let data = beginning(file, most).unwrap_or_default();
    let truncated = object.truncated || (data.len() as u64) < file.bytes();
    let object = ObjectRecord { data, truncated, ..(**object).clone() };
    Cow::Owned(Record { kind: RecordKind::Object(Box::new(object)), ..record.clone() })
}

fn beginning(file: &SpoolFile, most: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(file.bytes().min(most)).unwrap_or(0));
    File::open(file.path())?.take(most).read_to_end(&mut bytes)?;
    // Text stays text: the rest of a character that is cut goes with it.
    if let Err(error) = std::str::from_utf8(&bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
    Ok(bytes.into())
}
