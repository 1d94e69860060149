//! A recording: the input of a source, framed so that the same events can be replayed.
//!
//! In and out: records of the kernel's ring as raw bytes, and the [`Fact`]s that the agent learned elsewhere. This file does not know what
//! the ring's bytes mean; the ABI number in the header says who can read them.
//!
//! ```text
//! file   = header frame*
//! header = "qtap-rec" format:u32 abi:u32 crc32(all before):u32
//! frame  = kind:u32 len:u32 crc32(kind len bytes):u32 bytes[len]
//! ```
//!
//! Numbers are little-endian. Reading a truncated or damaged file yields every frame that is intact before the damage, then
//! one error that says where and why.

use std::io::{self, Read, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::decode::LibraryName;
use crate::model::event::{ContainerSeen, Counts, Event, Host, Opened, SessionCounts};
use crate::model::loss::Loss;
use crate::model::process::Process;
use crate::model::time::KernelTime;

/// First bytes of a recording.
pub const MAGIC: [u8; 8] = *b"qtap-rec";

/// Version of the framing.
pub const FORMAT: u32 = 1;

/// Longest content of a frame. Ring records are far smaller, and so is a process with all its labels.
pub const FRAME_BYTES: usize = 4 << 20;

const HEADER_BYTES: usize = 20;
const FRAME_HEADER_BYTES: usize = 12;
/// Bytes per read; frames are slices of that buffer.
const READ_BYTES: usize = 256 << 10;

const KIND_KERNEL: u32 = 1;
const KIND_FACT: u32 = 2;

/// Something that the agent learned by itself, in a form that can be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The host and its clock.
    Started(Host),
    /// A process.
    Process(Process),
    /// A process ended.
    ProcessGone {
        /// Its thread-group id.
        pid: u32,
        /// When.
        time: KernelTime,
    },
    /// What a container runtime reported about a container, or that none reported anything.
    Container(ContainerSeen),
    /// A connection that was found open.
    Opened(Opened),
    /// A connection that was found closed.
    Closed(Counts),
    /// A TLS session that was found gone.
    SessionClosed(SessionCounts),
    /// The name behind a library's number, for the records that follow.
    Library(LibraryName),
    /// Losses that the probes could not report where they happened.
    Lost {
        /// Why.
        reason: Loss,
        /// How often.
        count: u64,
        /// How many bytes.
        bytes: u64,
        /// When it was read.
        time: KernelTime,
    },
    /// Time passed.
    Tick(KernelTime),
}

impl Fact {
    /// The event for this fact; `None` if it only explains other records.
    #[must_use]
    pub fn into_event(self) -> Option<Event> {
        Some(match self {
            Fact::Started(host) => Event::Started(host.into()),
            Fact::Process(process) => Event::ProcessSeen(process.into()),
            Fact::ProcessGone { pid, time } => Event::ProcessGone { pid, time },
            Fact::Container(seen) => Event::ContainerSeen(seen),
            Fact::Opened(opened) => Event::Opened(opened),
            Fact::Closed(counts) => Event::Closed(counts),
            Fact::SessionClosed(counts) => Event::SessionClosed(counts),
            Fact::Lost { reason, count, bytes, time } => Event::Lost { reason, count, bytes, time },
            Fact::Tick(time) => Event::Tick(time),
            Fact::Library(_) => return None,
        })
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A record of the kernel's ring.
    Kernel(Bytes),
    /// A fact.
    Fact(Fact),
}

/// Why a recording can't be read, or not beyond some point.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file is something else.
    #[error("this is not a recording: it does not begin with \"qtap-rec\"")]
    NotARecording,
    /// Framing of another version.
    #[error("the recording has format {found}; this qtap reads format {FORMAT}")]
    Format {
        /// Of the file.
        found: u32,
    },
    /// Records of another kernel ABI.
    #[error("the recording has ABI {found}; this qtap reads ABI {expected}")]
    Abi {
        /// Of the file.
        found: u32,
        /// Of this program.
        expected: u32,
    },
    /// The file ends inside the header or a frame.
    #[error("the recording is cut: the frame at byte {offset} needs {needed} bytes, and {found} are there")]
    Cut {
        /// Where the frame begins.
        offset: u64,
        /// Bytes it needs.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A frame's bytes are not those that were written.
    #[error("the recording is damaged: the frame at byte {offset} {why}")]
    Damaged {
        /// Where the frame begins.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A frame exceeds the bound and was not written.
    #[error("a frame of {len} bytes is more than the {FRAME_BYTES} a recording takes")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// A fact can't be written as JSON.
    #[error("a fact can't be written")]
    Fact(#[source] serde_json::Error),
    /// The file can't be read or written.
    #[error("the recording can't be read or written")]
    Io(#[from] io::Error),
}

/// Writes a recording. Pass a buffered writer: each frame takes four writes, three of them of four bytes.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
}

impl<W: Write> Writer<W> {
    /// Starts a recording of ring records of the ABI `abi`.
    ///
    /// # Errors
    /// When the header can't be written.
    pub fn new(mut inner: W, abi: u32) -> Result<Self, RecordingError> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&abi.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        inner.write_all(&header)?;
        Ok(Writer { inner })
    }

    /// Appends a ring record.
    ///
    /// # Errors
    /// When it is longer than [`FRAME_BYTES`] or can't be written.
    pub fn kernel(&mut self, record: &[u8]) -> Result<(), RecordingError> {
        self.frame(KIND_KERNEL, record)
    }

    /// Appends a fact.
    ///
    /// # Errors
    /// When it is longer than [`FRAME_BYTES`] or can't be written.
    pub fn fact(&mut self, fact: &Fact) -> Result<(), RecordingError> {
        let json = serde_json::to_vec(fact).map_err(RecordingError::Fact)?;
        self.frame(KIND_FACT, &json)
    }

    /// Flushes everything to the file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        Ok(self.inner.flush()?)
    }

    /// Returns the underlying writer.
    pub fn into_inner(self) -> W {
        self.inner
    }

    fn frame(&mut self, kind: u32, bytes: &[u8]) -> Result<(), RecordingError> {
        if bytes.len() > FRAME_BYTES {
            return Err(RecordingError::TooLong { len: bytes.len() });
        }
        let (kind, len) = (kind.to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        self.inner.write_all(&kind)?;
        self.inner.write_all(&len)?;
        self.inner.write_all(&frame_crc(kind, len, bytes).to_le_bytes())?;
        Ok(self.inner.write_all(bytes)?)
    }
}

fn frame_crc(kind: [u8; 4], len: [u8; 4], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&kind);
    hasher.update(&len);
    hasher.update(bytes);
    hasher.finalize()
}

/// Reads a recording frame by frame. After an error it yields nothing more.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    buffer: Bytes,
    /// Offset of the buffer's first byte in the file.
    offset: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Opens a recording; its ring records must have the ABI `abi`.
    ///
    /// # Errors
    /// If it is not a recording, has another format or ABI, or can't be read.
    pub fn new(inner: R, abi: u32) -> Result<Self, RecordingError> {
        let mut reader = Reader { inner, buffer: Bytes::new(), offset: 0, ended: false };
        let found = reader.fill(HEADER_BYTES)?;
        if !reader.buffer.starts_with(&MAGIC) {
            return Err(RecordingError::NotARecording);
        }
        if found < HEADER_BYTES {
            return Err(RecordingError::Cut { offset: 0, needed: HEADER_BYTES, found });
        }
        let header = reader.split(HEADER_BYTES);
        let word = |at: usize| header.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u32::from_le_bytes);
        if word(8) != FORMAT {
            return Err(RecordingError::Format { found: word(8) });
        }
        if crc32fast::hash(header.get(..16).unwrap_or_default()) != word(16) {
            return Err(RecordingError::Damaged { offset: 0, why: "is a header whose checksum does not match".into() });
        }
        if word(12) != abi {
            return Err(RecordingError::Abi { found: word(12), expected: abi });
        }
        Ok(reader)
    }

    /// Reads until `wanted` bytes are buffered or the file ends; returns how many are buffered.
    fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        let have = self.buffer.len();
        if have < wanted {
            let more = READ_BYTES.max(wanted - have);
            let mut buffer = Vec::with_capacity(have + more);
            buffer.extend_from_slice(&self.buffer);
            self.inner.by_ref().take(more as u64).read_to_end(&mut buffer)?;
            self.buffer = buffer.into();
        }
        Ok(self.buffer.len())
    }

    fn split(&mut self, len: usize) -> Bytes {
        self.offset += len as u64;
        self.buffer.split_to(len)
    }

    /// The next frame; none at the end.
    fn read_frame(&mut self) -> Result<Option<Frame>, RecordingError> {
        let offset = self.offset;
        let damaged = |why: String| RecordingError::Damaged { offset, why };
        let found = self.fill(FRAME_HEADER_BYTES)?;
        if found == 0 {
            return Ok(None);
        }
        let Some(&[k0, k1, k2, k3, l0, l1, l2, l3, ref crc @ ..]) = self.buffer.first_chunk::<FRAME_HEADER_BYTES>()
        else {
            return Err(RecordingError::Cut { offset, needed: FRAME_HEADER_BYTES, found });
        };
        let (kind, len, crc) = ([k0, k1, k2, k3], [l0, l1, l2, l3], u32::from_le_bytes(*crc));
        let content = u32::from_le_bytes(len) as usize;
        if content > FRAME_BYTES {
            return Err(damaged(format!("claims {content} bytes, more than the {FRAME_BYTES} a frame may have")));
        }
        let needed = FRAME_HEADER_BYTES + content;
        let found = self.fill(needed)?;
        if found < needed {
            return Err(RecordingError::Cut { offset, needed, found });
        }
        let bytes = self.split(needed).split_off(FRAME_HEADER_BYTES);
        if frame_crc(kind, len, &bytes) != crc {
            return Err(damaged("has a checksum that does not match".into()));
        }
        match u32::from_le_bytes(kind) {
            KIND_KERNEL => Ok(Some(Frame::Kernel(bytes))),
            KIND_FACT => match serde_json::from_slice(&bytes) {
                Ok(fact) => Ok(Some(Frame::Fact(fact))),
                Err(error) => Err(damaged(format!("holds a fact that can't be read: {error}"))),
            },
            other => Err(damaged(format!("is of kind {other}, which this qtap does not know"))),
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Frame, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let frame = self.read_frame().transpose();
        self.ended = !matches!(frame, Some(Ok(_)));
        frame
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ABI: u32 = 7;

    fn recording(frames: &[Frame]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), ABI).unwrap();
        for frame in frames {
            match frame {
                Frame::Kernel(bytes) => writer.kernel(bytes).unwrap(),
                Frame::Fact(fact) => writer.fact(fact).unwrap(),
            }
        }
        writer.flush().unwrap();
        writer.into_inner()
    }

    fn frames() -> Vec<Frame> {
        let process = Process { pid: 42, executable_path: "/usr/bin/curl".into(), ..Process::default() };
        vec![
            Frame::Fact(Fact::Started(Host { name: "h".into(), ..Host::default() })),
            Frame::Fact(Fact::Process(process)),
            Frame::Kernel(Bytes::from_static(b"")),
            Frame::Kernel(Bytes::from(vec![0xaa; 300_000])),
            Frame::Fact(Fact::ProcessGone { pid: 42, time: KernelTime(5) }),
            Frame::Fact(Fact::Tick(KernelTime(u64::MAX))),
        ]
    }

    /// The intact frames, and the error's message.
    fn read(bytes: &[u8]) -> (Vec<Frame>, Option<String>) {
        let mut whole = Vec::new();
        for frame in Reader::new(bytes, ABI).unwrap() {
            match frame {
                Ok(frame) => whole.push(frame),
                Err(error) => return (whole, Some(error.to_string())),
            }
        }
        (whole, None)
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(read(&recording(&frames())), (frames(), None));
        assert_eq!(read(&recording(&[])), (vec![], None));
    }

    #[test]
    fn reads_of_any_size_give_the_same() {
        struct OneByOne<'a>(&'a [u8]);
        impl Read for OneByOne<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let (Some((first, rest)), Some(place)) = (self.0.split_first(), into.first_mut()) else { return Ok(0) };
                (*place, self.0) = (*first, rest);
                Ok(1)
            }
        }
        let small = [Frame::Kernel(Bytes::from_static(b"abc")), Frame::Fact(Fact::Tick(KernelTime(1)))];
        let bytes = recording(&small);
        let read: Vec<_> = Reader::new(OneByOne(&bytes), ABI).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, small);
    }

    #[test]
    fn a_cut_file_yields_what_is_whole() {
        let small = [Frame::Kernel(Bytes::from_static(b"abc")), Frame::Kernel(Bytes::from_static(b"def"))];
        let bytes = recording(&small);
        for len in HEADER_BYTES..bytes.len() {
            let (whole, error) = read(&bytes[..len]);
            assert_eq!(whole, small[..(len - HEADER_BYTES) / 15], "cut to {len}");
            assert_eq!(error.is_none(), (len - HEADER_BYTES).is_multiple_of(15), "cut to {len}");
        }
        let (_, error) = read(&bytes[..HEADER_BYTES + 17]);
        assert_eq!(error.unwrap(), "the recording is cut: the frame at byte 35 needs 12 bytes, and 2 are there");
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let small = [Frame::Kernel(Bytes::from_static(b"abc")), Frame::Kernel(Bytes::from_static(b"def"))];
        let bytes = recording(&small);
        for at in HEADER_BYTES + 15..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let (whole, error) = read(&bytes);
            assert_eq!(whole, small[..1]);
            assert!(error.unwrap().contains("the frame at byte 35"), "flipped at {at}");
        }
        for at in 0..HEADER_BYTES {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            assert!(Reader::new(&bytes[..], ABI).is_err(), "flipped at {at}");
        }
    }

    #[test]
    fn other_files_and_other_abis_are_refused() {
        let error = |bytes: &[u8]| Reader::new(bytes, 8).unwrap_err().to_string();
        assert_eq!(error(&recording(&[])), "the recording has ABI 7; this qtap reads ABI 8");
        assert_eq!(error(b""), RecordingError::NotARecording.to_string());
        assert_eq!(error(b"\x7fELF and more than a header"), RecordingError::NotARecording.to_string());
        assert!(error(b"qtap-rec").contains("cut"));
    }

    #[test]
    fn frames_have_a_bound() {
        let mut writer = Writer::new(Vec::new(), ABI).unwrap();
        assert!(matches!(writer.kernel(&vec![0; FRAME_BYTES + 1]), Err(RecordingError::TooLong { .. })));
        writer.kernel(&vec![0; FRAME_BYTES]).unwrap();
        assert_eq!(read(&writer.into_inner()).0.len(), 1);

        let mut bytes = recording(&[]);
        bytes.extend_from_slice(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert!(read(&bytes).1.unwrap().contains("claims 4294967295 bytes"));
    }

    #[test]
    fn facts_become_events() {
        let time = KernelTime(3);
        assert_eq!(Fact::Tick(time).into_event(), Some(Event::Tick(time)));
        assert_eq!(Fact::ProcessGone { pid: 1, time }.into_event(), Some(Event::ProcessGone { pid: 1, time }));
    }
}
