//! Ring bytes → events. In: one record as the probes wrote it. Out: an [`Event`], or a change of a process that the source handles itself.
//!
//! The bytes come from the probes, or from a file that anyone may have written. Nothing is trusted: what can't be read is an error
//! that says why. The layouts are those of `qtap-common`, read by offset.

use std::collections::HashMap;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use qtap_common::record::{
    self as wire, Counts as WireCounts, Data, Datagram as WireDatagram, EXEC_NAME, Exec, Fork, Header, Mapped,
    Opened as WireOpened, Skip as WireSkip, UNIX_NAME, flag, kind, role, shaken, why,
};

use crate::capture::discover::environ::Environment;
use crate::model::conn::{Channel, ConnId, Direction, Endpoint, Role, SessionId, Transport};
use crate::model::event::{Count, Counts, Datagram, Event, Opened, Passed, Skip, Skipped};
use crate::model::loss::Loss;
use crate::model::time::KernelTime;

mod sessions;

pub use self::sessions::LibraryName;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Payloads of at least this size share the buffer they were read from: they are at least a sixteenth of a recording's buffer
/// ([`super::recording`], 256 KiB), so little memory is held for nothing.
const SHARED_BYTES: usize = 16 << 10;

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// An event, to be passed on as it is.
    Event(Event),
    /// A process executed a program.
    Exec(Executed),
    /// A process forked.
    Forked {
        /// Parent.
        parent: u32,
        /// Child.
        child: u32,
    },
    /// A process ended.
    Exited {
        /// Its thread-group id.
        pid: u32,
        /// When.
        time: KernelTime,
    },
    /// A process mapped a file as executable that had not been reported before.
    Mapped {
        /// The process.
        pid: u32,
        /// Device, kernel encoding.
        dev: u64,
        /// Inode number.
        ino: u64,
    },
}

/// `execve`, as the kernel saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The process.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// Its user id.
    pub user_id: u32,
    /// The file name passed to it.
    pub path: String,
    /// The arguments, joined by spaces.
    pub command: String,
    /// The environment.
    pub environment: Environment,
}

/// Why a record can't be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is shorter than the fixed part of its kind.
    #[error("record of kind {kind} is {len} bytes long, too short")]
    Short {
        /// Kind.
        kind: u8,
        /// Length.
        len: usize,
    },
    /// The length in its header is not its own.
    #[error("record says that it is {said} bytes long and is {len}")]
    Length {
        /// In the header.
        said: u32,
        /// True length.
        len: usize,
    },
    /// Its kind, reason, binding or address family is unknown.
    #[error("record of kind {kind} holds the unknown value {value}")]
    Unknown {
        /// Kind.
        kind: u8,
        /// Value.
        value: u64,
    },
}

/// Library name of Go's TLS.
const GO: &str = "crypto/tls";

/// Decodes records. Its only state is what later records refer to: the names of libraries.
#[derive(Debug, Default)]
pub struct Decoder {
    libraries: HashMap<u32, LibraryName>,
}

impl Decoder {
    /// Sets the name of a library's number.
    pub fn library(&mut self, library: LibraryName) {
        self.libraries.insert(library.number, library);
    }

    /// True if this number is that of Go's TLS.
    #[must_use]
    pub fn is_go(&self, number: u32) -> bool {
        self.libraries.get(&number).is_some_and(|library| library.name == GO)
    }

    /// Decodes one record.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not a record of this ABI.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded, DecodeError> {
        self.decode_with(bytes, Bytes::copy_from_slice)
    }

    /// Decodes a record in a shared buffer. A payload of at least 16 KiB is not copied, but keeps `bytes` and the buffer that they are a
    /// part of in memory.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_shared(&self, bytes: &Bytes) -> Result<Decoded, DecodeError> {
        self.decode_with(bytes, |payload| {
            if payload.len() < SHARED_BYTES { Bytes::copy_from_slice(payload) } else { bytes.slice_ref(payload) }
        })
    }

    fn decode_with(&self, bytes: &[u8], keep: impl Fn(&[u8]) -> Bytes) -> Result<Decoded, DecodeError> {
        let record = Record::new(bytes)?;
        Ok(Decoded::Event(match record.kind {
            kind::DATA => Event::Passed(record.passed(keep)?),
            kind::SKIP => Event::Skipped(record.skipped()?),
            kind::DATAGRAM => Event::Datagram(record.datagram(keep)?),
            kind::OPENED => Event::Opened(record.opened()?),
            kind::PROGRESS => Event::Progress(record.counts()?),
            kind::CLOSED => Event::Closed(record.counts()?),
            kind::SESSION_OPENED => Event::SessionOpened(record.session_opened(&self.libraries)?),
            kind::HELLO => Event::SessionHello(record.hello()?),
            kind::BOUND => record.bound()?,
            kind::KERNEL_TLS => Event::KernelTls(record.kernel_tls()),
            kind::JOINED => Event::SessionJoined(record.joined()?),
            kind::SESSION_CLOSED => Event::SessionClosed(record.session_counts()?),
            kind::EXEC => return Ok(Decoded::Exec(record.executed()?)),
            kind::FORK => {
                let parent = record.u32(offset_of!(Fork, parent))?;
                return Ok(Decoded::Forked { parent, child: record.pid });
            }
            kind::EXIT => return Ok(Decoded::Exited { pid: record.pid, time: record.time }),
            kind::MAPPED => {
                let (dev, ino) = (record.u64(offset_of!(Mapped, dev))?, record.u64(offset_of!(Mapped, ino))?);
                return Ok(Decoded::Mapped { pid: record.pid, dev, ino });
            }
            other => return Err(DecodeError::Unknown { kind: other, value: u64::from(other) }),
        }))
    }
}

/// The key in the probes' session table for a `SESSION_OPENED` record: the session's address in its process, and the process.
#[must_use]
pub fn session_key(bytes: &[u8]) -> Option<(u64, u32)> {
    let record = Record::new(bytes).ok()?;
    (record.kind == kind::SESSION_OPENED).then_some(())?;
    Some((record.u64(offset_of!(wire::SessionOpened, ssl)).ok()?, record.pid))
}

/// When a record was written.
#[must_use]
pub fn time_of(bytes: &[u8]) -> Option<KernelTime> {
    let time = bytes.get(offset_of!(Header, time)..)?.first_chunk()?;
    Some(KernelTime(u64::from_ne_bytes(*time)))
}

/// Inode number of the socket in an `OPENED` record.
#[must_use]
pub fn socket_inode(bytes: &[u8]) -> Option<u64> {
    let record = Record::new(bytes).ok()?;
    (record.kind == kind::OPENED).then_some(())?;
    record.u64(offset_of!(WireOpened, ino)).ok()
}

/// A record whose header has been read.
struct Record<'a> {
    bytes: &'a [u8],
    kind: u8,
    flags: u8,
    detail: u8,
    id: u64,
    pid: u32,
    time: KernelTime,
}

impl<'a> Record<'a> {
    fn new(bytes: &'a [u8]) -> Result<Record<'a>, DecodeError> {
        let mut record = Record { bytes, kind: 0, flags: 0, detail: 0, id: 0, pid: 0, time: KernelTime(0) };
        record.kind = record.u8(offset_of!(Header, kind))?;
        record.flags = record.u8(offset_of!(Header, flags))?;
        record.detail = record.u8(offset_of!(Header, detail))?;
        record.id = record.u64(offset_of!(Header, id))?;
        record.pid = record.u32(offset_of!(Header, tgid))?;
        record.time = KernelTime(record.u64(offset_of!(Header, time))?);
        let said = record.u32(offset_of!(Header, len))?;
        if said as usize == bytes.len() { Ok(record) } else { Err(DecodeError::Length { said, len: bytes.len() }) }
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], DecodeError> {
        let part = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
        part.copied().ok_or(DecodeError::Short { kind: self.kind, len: self.bytes.len() })
    }

    fn u8(&self, at: usize) -> Result<u8, DecodeError> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    fn u16(&self, at: usize) -> Result<u16, DecodeError> {
        self.array(at).map(u16::from_ne_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, DecodeError> {
        self.array(at).map(u32::from_ne_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, DecodeError> {
        self.array(at).map(u64::from_ne_bytes)
    }

    fn rest(&self, at: usize) -> Result<&'a [u8], DecodeError> {
        self.bytes.get(at..).ok_or(DecodeError::Short { kind: self.kind, len: self.bytes.len() })
    }

    fn unknown(&self, value: impl Into<u64>) -> DecodeError {
        DecodeError::Unknown { kind: self.kind, value: value.into() }
    }

    fn channel(&self) -> Channel {
        if self.flags & flag::SESSION != 0 {
            Channel::Session(SessionId(self.id))
        } else {
            Channel::Socket(ConnId(self.id))
        }
    }

    fn direction(&self) -> Direction {
        if self.flags & flag::RECEIVED != 0 { Direction::Received } else { Direction::Sent }
    }

    fn passed(&self, keep: impl Fn(&[u8]) -> Bytes) -> Result<Passed, DecodeError> {
        Ok(Passed {
            channel: self.channel(),
            direction: self.direction(),
            offset: self.u64(offset_of!(Data, offset))?,
            time: self.time,
            pid: self.pid,
            payload: keep(self.rest(size_of::<Data>())?),
        })
    }

    fn skipped(&self) -> Result<Skipped, DecodeError> {
        Ok(Skipped {
            channel: self.channel(),
            direction: self.direction(),
            offset: self.u64(offset_of!(WireSkip, offset))?,
            len: self.u64(offset_of!(WireSkip, bytes))?,
            why: match self.detail {
                why::ENCRYPTED => Skip::Encrypted,
                why::UNWANTED => Skip::Unwanted,
                other => Skip::Lost(loss(other).ok_or_else(|| self.unknown(other))?),
            },
            time: self.time,
            pid: self.pid,
        })
    }

    fn opened(&self) -> Result<Opened, DecodeError> {
        let family = self.u16(offset_of!(WireOpened, family))?;
        let local_port = self.u16(offset_of!(WireOpened, local_port))?;
        let peer_port = u16::from_be(self.u16(offset_of!(WireOpened, peer_port))?);
        let (local, peer) = if family == AF_UNIX {
            (self.unix_name(size_of::<WireOpened>())?, self.unix_name(size_of::<WireOpened>() + UNIX_NAME)?)
        } else {
            let local = self.address(family, offset_of!(WireOpened, local))?;
            let peer = self.address(family, offset_of!(WireOpened, peer))?;
            (Endpoint::Inet(SocketAddr::new(local, local_port)), Endpoint::Inet(SocketAddr::new(peer, peer_port)))
        };
        Ok(Opened {
            conn: ConnId(self.id),
            time: self.time,
            pid: self.pid,
            transport: if family == AF_UNIX { Transport::Unix } else { Transport::Tcp },
            local,
            peer,
            role: match self.detail {
                role::CLIENT => Role::Client,
                role::SERVER => Role::Server,
                role::UNKNOWN => Role::Unknown,
                other => return Err(self.unknown(other)),
            },
            joined_late: self.flags & flag::LATE != 0,
        })
    }

    fn datagram(&self, keep: impl Fn(&[u8]) -> Bytes) -> Result<Datagram, DecodeError> {
        let family = self.u16(offset_of!(WireDatagram, family))?;
        let local_port = self.u16(offset_of!(WireDatagram, local_port))?;
        let peer_port = u16::from_be(self.u16(offset_of!(WireDatagram, peer_port))?);
        let local = self.address(family, offset_of!(WireDatagram, local))?;
        let peer = self.address(family, offset_of!(WireDatagram, peer))?;
        Ok(Datagram {
            id: self.id,
            time: self.time,
            pid: self.pid,
            local: Endpoint::Inet(SocketAddr::new(local, local_port)),
            peer: Endpoint::Inet(SocketAddr::new(peer, peer_port)),
            len: self.u64(offset_of!(WireDatagram, bytes))?,
            payload: keep(self.rest(size_of::<WireDatagram>())?),
        })
    }

    /// A v4-mapped address is the IPv4 address it stands for (RFC 4291 §2.5.5.2).
    fn address(&self, family: u16, at: usize) -> Result<IpAddr, DecodeError> {
        match family {
            AF_INET => Ok(IpAddr::V4(Ipv4Addr::from(self.array::<4>(at)?))),
            AF_INET6 => Ok(Ipv6Addr::from(self.array::<16>(at)?).to_canonical()),
            other => Err(self.unknown(other)),
        }
    }

    /// `sun_path`: ends at its first NUL. An abstract name begins with NUL, which is shown as `@`.
    fn unix_name(&self, at: usize) -> Result<Endpoint, DecodeError> {
        let bytes: [u8; UNIX_NAME] = self.array(at)?;
        let text = |part: &[u8]| {
            let end = part.iter().position(|&byte| byte == 0).unwrap_or(part.len());
            String::from_utf8_lossy(part.get(..end).unwrap_or_default()).into_owned()
        };
        Ok(Endpoint::Unix(match bytes.split_first() {
            Some((0, [0, ..])) | None => String::new(),
            Some((0, rest)) => format!("@{}", text(rest)),
            Some(_) => text(&bytes),
        }))
    }

    fn count(&self, at: usize) -> Result<Count, DecodeError> {
        let kernel = self.u64(at + offset_of!(wire::Count, kernel))?;
        Ok(Count {
            carried: self.u64(at + offset_of!(wire::Count, carried))?,
            copied: self.u64(at + offset_of!(wire::Count, copied))?,
            encrypted: self.u64(at + offset_of!(wire::Count, encrypted))?,
            unwanted: self.u64(at + offset_of!(wire::Count, unwanted))?,
            lost: self.u64(at + offset_of!(wire::Count, lost))?,
            kernel: (kernel != u64::MAX).then_some(kernel),
        })
    }

    fn both(&self) -> Result<[Count; 2], DecodeError> {
        let first = offset_of!(WireCounts, dirs);
        Ok([self.count(first)?, self.count(first + size_of::<wire::Count>())?])
    }

    fn counts(&self) -> Result<Counts, DecodeError> {
        let [sent, received] = self.both()?;
        let unread = self.u64(offset_of!(WireCounts, unread))?;
        let shook = self.detail & shaken::BY_LIBRARY != 0;
        Ok(Counts { conn: ConnId(self.id), time: self.time, sent, received, unread, shook })
    }

    fn executed(&self) -> Result<Executed, DecodeError> {
        let name_len = self.u32(offset_of!(Exec, name_len))? as usize;
        let text = self.rest(size_of::<Exec>())?;
        let args_len = self.u32(offset_of!(Exec, args_len))? as usize;
        let parts = text.split_at_checked(name_len).filter(|_| name_len <= EXEC_NAME);
        let parts = parts.and_then(|(name, text)| Some((name, text.split_at_checked(args_len)?)));
        let (name, (args, environment)) = parts.ok_or(DecodeError::Short { kind: self.kind, len: self.bytes.len() })?;
        let words = args.split(|&byte| byte == 0).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
        Ok(Executed {
            pid: self.pid,
            parent: self.u32(offset_of!(Exec, parent))?,
            user_id: self.u32(offset_of!(Exec, uid))?,
            path: String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned(),
            command: words.join(" "),
            environment: Environment(environment.to_vec()),
        })
    }
}

/// The loss that one of the probes' reason codes stands for; `None` if it stands for no loss.
#[must_use]
pub fn loss(reason: u8) -> Option<Loss> {
    Some(match reason {
        why::RING_FULL => Loss::RingFull,
        why::FAULT => Loss::Fault,
        why::CALL_LIMIT => Loss::CallLimit,
        why::SENDFILE => Loss::Sendfile,
        why::UNCAPTURED_CALL => Loss::UncapturedCall,
        why::COMPAT_CALL => Loss::CompatCall,
        why::SCRATCH_BUSY => Loss::ScratchBusy,
        why::TOO_MANY_BUFFERS => Loss::TooManyBuffers,
        why::CONN_TABLE_FULL => Loss::ConnTableFull,
        why::SESSION_TABLE_FULL => Loss::SessionTableFull,
        why::NESTED_TOO_DEEP => Loss::NestedTooDeep,
        why::CALL_UNFINISHED => Loss::CallUnfinished,
        why::SHED => Loss::Shed,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A record as the probes write it: the header, then a body.
    pub(super) fn record(kind: u8, flags: u8, detail: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&77u64.to_ne_bytes());
        out.extend_from_slice(&5u64.to_ne_bytes());
        out.extend_from_slice(&100u32.to_ne_bytes());
        out.extend_from_slice(&101u32.to_ne_bytes());
        out.extend_from_slice(&(32 + body.len() as u32).to_ne_bytes());
        out.extend_from_slice(&[kind, flags, detail, 0]);
        out.extend_from_slice(body);
        out
    }

    pub(super) fn event(bytes: &[u8]) -> Event {
        match Decoder::default().decode(bytes).unwrap() {
            Decoded::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn data_keeps_its_offset_channel_and_direction() {
        let mut body = 9u64.to_ne_bytes().to_vec();
        body.extend_from_slice(b"GET /");
        let Event::Passed(passed) = event(&record(kind::DATA, flag::RECEIVED, 0, &body)) else { panic!() };
        assert_eq!((passed.offset, &passed.payload[..], passed.pid), (9, &b"GET /"[..], 100));
        assert_eq!((passed.channel, passed.direction), (Channel::Socket(ConnId(5)), Direction::Received));
        let Event::Passed(passed) = event(&record(kind::DATA, flag::SESSION, 0, &body)) else { panic!() };
        assert_eq!((passed.channel, passed.direction), (Channel::Session(SessionId(5)), Direction::Sent));
    }

    #[test]
    fn v4_mapped_peers_are_ipv4_and_ports_have_their_own_byte_orders() {
        let mut body = 1u64.to_ne_bytes().to_vec();
        body.extend_from_slice(&AF_INET6.to_ne_bytes());
        body.extend_from_slice(&8080u16.to_ne_bytes());
        body.extend_from_slice(&443u16.to_be_bytes());
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        body.extend_from_slice(&Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets());
        let Event::Opened(opened) = event(&record(kind::OPENED, flag::LATE, role::CLIENT, &body)) else { panic!() };
        assert_eq!(opened.local, Endpoint::Inet("[::1]:8080".parse().unwrap()));
        assert_eq!(opened.peer, Endpoint::Inet("10.1.2.3:443".parse().unwrap()));
        assert_eq!((opened.role, opened.joined_late), (Role::Client, true));
    }

    #[test]
    fn a_datagram_has_both_ends_and_what_was_copied_of_it() {
        let mut body = 1_500u64.to_ne_bytes().to_vec();
        body.extend_from_slice(&AF_INET.to_ne_bytes());
        body.extend_from_slice(&40_000u16.to_ne_bytes());
        body.extend_from_slice(&53u16.to_be_bytes());
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&[10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend_from_slice(&[10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend_from_slice(b"answer");
        let Event::Datagram(datagram) = event(&record(kind::DATAGRAM, 0, 0, &body)) else { panic!() };
        assert_eq!((datagram.len, &datagram.payload[..], datagram.pid), (1_500, &b"answer"[..], 100));
        assert_eq!(datagram.local, Endpoint::Inet("10.0.0.1:40000".parse().unwrap()));
        assert_eq!(datagram.peer, Endpoint::Inet("10.0.0.2:53".parse().unwrap()));
    }

    #[test]
    fn unix_names_are_paths_abstract_or_none() {
        let mut body = 1u64.to_ne_bytes().to_vec();
        body.extend_from_slice(&AF_UNIX.to_ne_bytes());
        body.resize(size_of::<WireOpened>() - 32, 0);
        let mut path = b"/run/x.sock".to_vec();
        path.resize(UNIX_NAME, 0);
        let mut hidden = b"\0name".to_vec();
        hidden.resize(UNIX_NAME, 0);
        body.extend_from_slice(&path);
        body.extend_from_slice(&hidden);
        let Event::Opened(opened) = event(&record(kind::OPENED, 0, role::SERVER, &body)) else { panic!() };
        assert_eq!(opened.local, Endpoint::Unix("/run/x.sock".into()));
        assert_eq!(opened.peer, Endpoint::Unix("@name".into()));
    }

    #[test]
    fn a_skip_names_its_loss_and_a_count_without_a_kernel_count_has_none() {
        let mut body = 7u64.to_ne_bytes().to_vec();
        body.extend_from_slice(&3u64.to_ne_bytes());
        let Event::Skipped(skipped) = event(&record(kind::SKIP, 0, why::SENDFILE, &body)) else { panic!() };
        assert_eq!((skipped.offset, skipped.len, skipped.why), (7, 3, Skip::Lost(Loss::Sendfile)));
        let mut numbers: Vec<u64> = (1..=5).collect();
        numbers.push(u64::MAX);
        numbers.extend([6, 7, 8, 9, 10, 11, 12]);
        let body: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
        let Event::Closed(counts) = event(&record(kind::CLOSED, 0, 0, &body)) else { panic!() };
        assert_eq!((counts.sent.carried, counts.sent.kernel), (1, None));
        assert_eq!((counts.received.lost, counts.received.kernel, counts.unread), (10, Some(11), 12));
    }

    #[test]
    fn exec_gives_name_and_arguments() {
        let mut body = Vec::new();
        for number in [1u32, 0, 9, 12] {
            body.extend_from_slice(&number.to_ne_bytes());
        }
        body.extend_from_slice(b"/bin/ech\0/bin/ech\0hi\0A=1\0B=2\0");
        let decoded = Decoder::default().decode(&record(kind::EXEC, 0, 0, &body)).unwrap();
        let Decoded::Exec(executed) = decoded else { panic!() };
        assert_eq!(
            (executed.path.as_str(), executed.command.as_str(), executed.parent),
            ("/bin/ech", "/bin/ech hi", 1)
        );
        assert_eq!(executed.environment, Environment(b"A=1\0B=2\0".to_vec()));
        assert!(!format!("{executed:?}").contains("A=1"), "an environment holds secrets");
    }

    #[test]
    fn what_is_no_record_is_an_error_whatever_the_bytes() {
        let decoder = Decoder::default();
        assert!(decoder.decode(&[]).is_err());
        let whole = record(kind::DATA, 0, 0, &[0; 20]);
        for len in 0..whole.len() {
            assert!(decoder.decode(&whole[..len]).is_err(), "{len} bytes");
        }
        for kind in 0..=255 {
            for len in [0, 8, 16, 48, 104] {
                let _ = decoder.decode(&record(kind, 255, 255, &vec![255; len]));
            }
        }
    }
}
