//! One file of a lane: a head, then entries in the order of their numbers. It is created, appended to, truncated after its last intact entry
//! when it is reopened, read through a window, and removed as a whole. Its name repeats the head, so that a damaged head costs
//! nothing: `<first number>-<salt>.seg`.
//!
//! ```text
//!  0  "qtapqseg"    8  version, u32    12  salt, u32    16  first number, u64    24  CRC32 of bytes 0 to 24    28  zero, 4 bytes
//! ```

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, Found, Head};

/// Bytes before the first entry.
pub(super) const HEAD_BYTES: u64 = 32;
/// The start of a segment.
const MAGIC: [u8; 8] = *b"qtapqseg";
/// Version of the whole format, including entries. A segment of another version is set aside.
const VERSION: u32 = 1;
/// Bytes per read; a larger entry is read alone.
const WINDOW_BYTES: u64 = 1 << 20;
/// Maximum slices per system call (Linux's IOV_MAX).
const SLICES_MAX: usize = 1024;
/// After damage, every position that looks like an entry is tried. When the bytes checksummed without success exceed this multiple of the
/// segment's length, the rest of the segment is given up: a body may be full of what looks like entries.
const SEARCH_MAX: u64 = 4;

/// One segment, as its lane knows it.
#[derive(Debug)]
pub(super) struct Segment {
    /// Number of its first entry.
    pub(super) first: u64,
    /// One past the number of its last entry.
    pub(super) end: u64,
    /// Bytes of the file that hold whole entries, including the head.
    pub(super) len: u64,
    /// Its salt.
    pub(super) salt: u32,
    /// Path of the file.
    pub(super) path: PathBuf,
}

/// The kinds of file in a lane's folder.
#[derive(Debug)]
pub(super) enum Opened {
    /// A segment; `end` is not known yet.
    Segment(Segment),
    /// A segment of another version.
    Unknown(PathBuf),
    /// A segment whose creation was interrupted before it had a head: it is empty.
    Empty(PathBuf),
}

fn name(first: u64, salt: u32) -> String {
    format!("{first:020}-{salt:08x}.seg")
}

/// First number and salt, from the name.
fn parse(name: &str) -> Option<(u64, u32)> {
    let (first, salt) = name.strip_suffix(".seg")?.split_once('-')?;
    Some((first.parse().ok()?, u32::from_str_radix(salt, 16).ok()?))
}

fn head(first: u64, salt: u32, version: u32) -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    let fields: [&[u8]; 4] = [&MAGIC, &version.to_le_bytes(), &salt.to_le_bytes(), &first.to_le_bytes()];
    for (place, byte) in head.iter_mut().zip(fields.concat()) {
        *place = byte;
    }
    let crc = crc32fast::hash(head.get(..24).unwrap_or_default()).to_le_bytes();
    for (place, byte) in head.iter_mut().skip(24).zip(crc) {
        *place = byte;
    }
    head
}

impl Segment {
    /// Creates a new segment in `folder`.
    ///
    /// # Errors
    /// When the disk can't store it; the file is removed then.
    pub(super) fn create(folder: &Path, first: u64) -> io::Result<(Segment, File)> {
        let salt = fastrand::u32(..);
        let path = folder.join(name(first, salt));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        if let Err(error) = write_at(&file, &[IoSlice::new(&head(first, salt, VERSION))], 0) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok((Segment { first, end: first, len: HEAD_BYTES, salt, path }, file))
    }

    /// Examines a file of the lane's folder. None: its name is not that of a segment.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn open(path: &Path) -> io::Result<Option<Opened>> {
        let Some((first, salt)) = path.file_name().and_then(|name| parse(name.to_str()?)) else { return Ok(None) };
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        if len < HEAD_BYTES {
            return Ok(Some(Opened::Empty(path.to_owned())));
        }
        let seen = read_at(&file, 0, HEAD_BYTES)?;
        let version = seen.get(8..12).and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)));
        let other = version.filter(|version| *version != VERSION && seen == head(first, salt, *version));
        let segment = Segment { first, end: first, len, salt, path: path.to_owned() };
        Ok(Some(if other.is_some() { Opened::Unknown(path.to_owned()) } else { Opened::Segment(segment) }))
    }

    /// A reader from the beginning.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub(super) fn reader(&self) -> io::Result<Reader> {
        #[cfg(test)]
        fault::check_read()?;
        let file = Arc::new(File::open(&self.path)?);
        Ok(Reader {
            file,
            salt: self.salt,
            window: Bytes::new(),
            window_at: 0,
            at: HEAD_BYTES,
            next: self.first,
            searched: 0,
        })
    }

    /// Renames a segment of another version, so that this version ignores it.
    ///
    /// # Errors
    /// When it can't be renamed.
    pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
        let aside = path.with_extension("seg.unknown");
        fs::rename(path, &aside)?;
        Ok(aside)
    }
}

/// A block of entries to write: heads and small payloads in one buffer, large payloads by reference.
#[derive(Debug, Default)]
pub(super) struct Block {
    buffer: Vec<u8>,
    /// Where in the buffer each large payload belongs.
    large: Vec<(usize, Bytes)>,
    large_bytes: usize,
}

impl Block {
    /// Payloads up to this size are copied, because a separate slice would cost the kernel more.
    const COPY_BYTES: usize = 8 << 10;

    /// Clears the block but keeps its capacity, up to a bound.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(WINDOW_BYTES as usize);
        self.large.clear();
        self.large_bytes = 0;
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, item: &crate::export::exporter::Item, seq: u64, accepted_unix_ns: u64, salt: u32) {
        frame::write(item, seq, accepted_unix_ns, salt, &mut self.buffer);
        if item.spooled.is_some() {
        } else if item.payload.len() <= Block::COPY_BYTES {
            self.buffer.extend_from_slice(&item.payload);
        } else {
            self.large.push((self.buffer.len(), item.payload.clone()));
            self.large_bytes += item.payload.len();
        }
    }

    /// Total bytes.
    pub(super) fn len(&self) -> u64 {
        (self.buffer.len() + self.large_bytes) as u64
    }

    /// Writes the block at `offset`.
    ///
    /// # Errors
    /// When the disk can't store all of it; the file is then truncated to its previous length.
    pub(super) fn write(&self, file: &File, offset: u64) -> io::Result<()> {
        let mut slices = Vec::with_capacity(self.large.len() * 2 + 1);
        let mut from = 0;
        for (at, payload) in &self.large {
            slices.push(IoSlice::new(self.buffer.get(from..*at).unwrap_or_default()));
            slices.push(IoSlice::new(payload));
            from = *at;
        }
        slices.push(IoSlice::new(self.buffer.get(from..).unwrap_or_default()));
        write_at(file, &slices, offset).inspect_err(|_| drop(file.set_len(offset)))
    }
}

fn write_at(file: &File, slices: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    for some in slices.chunks(SLICES_MAX) {
        let mut left: Vec<&[u8]> = some.iter().map(|slice| &**slice).filter(|slice| !slice.is_empty()).collect();
        while !left.is_empty() {
            let slices: Vec<IoSlice<'_>> = left.iter().map(|slice| IoSlice::new(slice)).collect();
            #[cfg(test)]
            fault::check(slices.iter().map(|slice| slice.len()).sum())?;
            let mut written = match rustix::io::pwritev(file, &slices, offset) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            left.retain_mut(|slice| {
                let now = written.min(slice.len());
                *slice = slice.get(now..).unwrap_or_default();
                written -= now;
                !slice.is_empty()
            });
        }
    }
    Ok(())
}

/// Reads up to `bytes` from `offset`; fewer at the end of the file.
fn read_at(file: &File, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let wanted = usize::try_from(bytes).map_err(io::Error::other)?;
    let mut out = Vec::with_capacity(wanted);
    while out.len() < wanted {
        let at = offset + out.len() as u64;
        #[cfg(test)]
        fault::check_read()?;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut out), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    out.truncate(wanted);
    Ok(out)
}

/// Reads entries one after the other.
#[derive(Debug)]
pub(super) struct Reader {
    file: Arc<File>,
    salt: u32,
    window: Bytes,
    window_at: u64,
    /// Where the next entry begins.
    at: u64,
    /// The lowest number it may have.
    next: u64,
    /// Bytes checksummed without success after damage.
    searched: u64,
}

/// The result of one step of a reader.
#[derive(Debug)]
pub(super) enum Step {
    /// An intact entry.
    Entry(Head, Bytes),
    /// This many bytes that are not entries.
    Damage(u64),
    /// The end of the segment.
    End,
}

impl Reader {
    /// Where the next entry begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Opens the file again, after a read that failed: what is there now may be another file system's.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub(super) fn reopen(&mut self, segment: &Segment) -> io::Result<()> {
        self.file = segment.reader()?.file;
        Ok(())
    }

    /// The next entry of a segment whose length is now `len` and whose numbers are below `end`.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) fn next(&mut self, len: u64, end: u64) -> io::Result<Step> {
        if self.at >= len {
            return Ok(Step::End);
        }
        if let Some((head, total)) = self.entry_at(self.at, len, self.next..end)? {
            return Ok(Step::Entry(head, self.consume(head, total)));
        }
        let from = self.at;
        self.at = self.search(from + 1, len, end)?;
        Ok(Step::Damage(self.at - from))
    }

    fn consume(&mut self, head: Head, total: usize) -> Bytes {
        let start = (self.at - self.window_at) as usize;
        self.at += total as u64;
        self.next = head.seq + 1;
        self.window.slice(start..start + total)
    }

    /// The entry that begins at `at`, if there is one with a number in `numbers`; afterwards the window holds all of it.
    fn entry_at(&mut self, at: u64, len: u64, numbers: Range<u64>) -> io::Result<Option<(Head, usize)>> {
        loop {
            let start = at.checked_sub(self.window_at).and_then(|start| usize::try_from(start).ok());
            let seen = start.and_then(|start| self.window.get(start..)).unwrap_or_default();
            match frame::read(seen, self.salt, &numbers) {
                Found::Entry(head, total) => return Ok(Some((head, total))),
                Found::Damage => return Ok(None),
                Found::Mismatch(total) => {
                    self.searched += total as u64;
                    return Ok(None);
                }
                Found::Short(wanted) => {
                    let wanted = wanted as u64;
                    if wanted > len.saturating_sub(at) {
                        return Ok(None);
                    }
                    let bytes = wanted.max(WINDOW_BYTES).min(len - at);
                    self.window = read_at(&self.file, at, bytes)?.into();
                    self.window_at = at;
                    // Shorter than the lane believes: truncated by someone else.
                    if (self.window.len() as u64) < wanted {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Where the next intact entry at or after `from` begins; `len` if there is none.
    fn search(&mut self, mut from: u64, len: u64, end: u64) -> io::Result<u64> {
        while from < len && self.searched <= SEARCH_MAX * len {
            let seen = read_at(&self.file, from, WINDOW_BYTES.min(len - from))?;
            if seen.is_empty() {
                break;
            }
            let mut last = 0;
            for at in memchr::memmem::find_iter(&seen, &frame::MARK) {
                last = at + 1;
                let place = from + at as u64;
                if self.entry_at(place, len, self.next..end)?.is_some() {
                    return Ok(place);
                }
                if self.searched > SEARCH_MAX * len {
                    break;
                }
            }
            // A mark may cross the boundary of two windows.
            from += last.max(seen.len().saturating_sub(frame::MARK.len() - 1)).max(1) as u64;
        }
        Ok(len)
    }
}

/// Faults for the tests of the lanes.
#[cfg(test)]
pub(super) mod fault {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        /// Bytes that this thread may still write; none: no limit.
        pub(in crate::export::queue) static ROOM: Cell<Option<usize>> = const { Cell::new(None) };
        /// How writes fail then.
        pub(in crate::export::queue) static ERROR: Cell<rustix::io::Errno> = const { Cell::new(rustix::io::Errno::NOSPC) };
    }

    thread_local! {
        /// How reads of this thread fail; none: they don't.
        pub(in crate::export::queue) static READ: Cell<Option<rustix::io::Errno>> = const { Cell::new(None) };
        /// Reads that failed so.
        pub(in crate::export::queue) static FAILED: Cell<u32> = const { Cell::new(0) };
    }

    thread_local! {
        /// True: syncs of this thread fail.
        pub(in crate::export::queue) static SYNC: Cell<bool> = const { Cell::new(false) };
    }

    /// Fails if a test says so.
    pub(in crate::export::queue) fn check_sync() -> io::Result<()> {
        if SYNC.get() { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
    }

    /// Fails if a test says so.
    pub(super) fn check_read() -> io::Result<()> {
        READ.get().map_or(Ok(()), |error| {
            FAILED.set(FAILED.get() + 1);
            Err(error.into())
        })
    }

    /// Uses up `bytes` of the allowance, or fails as a full disk does, or as a test says.
    pub(super) fn check(bytes: usize) -> io::Result<()> {
        match ROOM.get() {
            None => Ok(()),
            Some(room) if room >= bytes => {
                ROOM.set(Some(room - bytes));
                Ok(())
            }
            Some(_) => Err(ERROR.get().into()),
        }
    }
}
