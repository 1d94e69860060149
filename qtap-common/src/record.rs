//! Records of the ring: a [`Header`], a body of fixed size by kind, and bytes to the record's end.

/// First part of every record.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub time: u64,
    /// Connection or session, by `kind`; else 0.
    pub id: u64,
    /// Process (thread-group id).
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Length of the whole record, header included.
    pub len: u32,
    /// One of [`kind`].
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// By kind: role, reason, binding, [`given`], type of hello.
    pub detail: u8,
    /// 0.
    pub pad: u8,
}

/// Kinds of record.
pub mod kind {
    /// [`super::Exec`], then the file name, then the arguments, then the environment (each of these ended by NUL).
    pub const EXEC: u8 = 1;
    /// [`super::Fork`].
    pub const FORK: u8 = 2;
    /// [`super::Header`] alone: the last thread of the process ended.
    pub const EXIT: u8 = 3;
    /// [`super::Opened`], then for UNIX sockets both names, [`super::UNIX_NAME`] bytes each.
    pub const OPENED: u8 = 4;
    /// [`super::Data`], then the bytes.
    pub const DATA: u8 = 5;
    /// [`super::Skip`].
    pub const SKIP: u8 = 6;
    /// [`super::Counts`] of a connection that is open.
    pub const PROGRESS: u8 = 7;
    /// [`super::Counts`] of a connection that was closed.
    pub const CLOSED: u8 = 8;
    /// [`super::SessionOpened`].
    pub const SESSION_OPENED: u8 = 9;
    /// [`super::Bound`].
    pub const BOUND: u8 = 10;
    /// [`super::Counts`] of a TLS session that ended.
    pub const SESSION_CLOSED: u8 = 11;
    /// [`super::Mapped`].
    pub const MAPPED: u8 = 12;
    /// [`super::Datagram`], then its bytes.
    pub const DATAGRAM: u8 = 13;
    /// [`super::Hello`].
    pub const HELLO: u8 = 14;
    /// [`super::Joined`].
    pub const JOINED: u8 = 15;
    /// [`super::Header`] alone, of a connection: from here on the kernel does TLS for what is sent, or received. `detail`: bits of [`super::given`].
    pub const KERNEL_TLS: u8 = 16;
}

/// Bits of a header's `detail` in `PROGRESS` and `CLOSED`.
pub mod shaken {
    /// TLS records of the connection passed inside a library's handshake. Its session is not known: the end of that call can't be seen.
    pub const BY_LIBRARY: u8 = 1;
}

/// Bits of [`Header::detail`] of `KERNEL_TLS`.
pub mod given {
    /// The keys were given inside a call of a TLS library, which still has the plaintext.
    pub const BY_LIBRARY: u8 = 1;
    /// It was so before the connection was first seen; for which direction is not known.
    pub const BEFORE: u8 = 2;
}

/// Flags of [`Header::flags`].
pub mod flag {
    /// `DATA`, `SKIP`, `HELLO`: of a TLS session; else of a socket.
    pub const SESSION: u8 = 1;
    /// `DATA`, `SKIP`, `HELLO`, `KERNEL_TLS`: received; else sent.
    pub const RECEIVED: u8 = 2;
    /// `OPENED`, `SESSION_OPENED`: was open before it was first seen.
    pub const LATE: u8 = 4;
    /// `SESSION_OPENED`: a part, written under a key whose session is not known yet; `JOINED` will name the session.
    pub const PART: u8 = 8;
}

/// Why bytes were skipped, and what else was lost: [`Header::detail`] of `SKIP`, and the index into the loss table.
/// The first two are not losses.
pub mod why {
    /// Ciphertext.
    pub const ENCRYPTED: u8 = 0;
    /// Not asked for.
    pub const UNWANTED: u8 = 1;
    /// The ring was full.
    pub const RING_FULL: u8 = 2;
    /// The target's memory could not be read.
    pub const FAULT: u8 = 3;
    /// One call carried more than the limit.
    pub const CALL_LIMIT: u8 = 4;
    /// `sendfile`.
    pub const SENDFILE: u8 = 5;
    /// A call whose bytes are only counted (`splice`, `MSG_TRUNC`, buffer lists of io_uring).
    pub const UNCAPTURED_CALL: u8 = 6;
    /// The 32-bit system call interface.
    pub const COMPAT_CALL: u8 = 7;
    /// No scratch buffer was free.
    pub const SCRATCH_BUSY: u8 = 8;
    /// More buffers or messages than the probes walk.
    pub const TOO_MANY_BUFFERS: u8 = 9;
    /// Table of connections full.
    pub const CONN_TABLE_FULL: u8 = 10;
    /// Table of sessions full.
    pub const SESSION_TABLE_FULL: u8 = 11;
    /// TLS calls nested too deep.
    pub const NESTED_TOO_DEEP: u8 = 12;
    /// The return of a TLS call was not seen.
    pub const CALL_UNFINISHED: u8 = 13;
    /// Given up so that the agent stays within its limits.
    pub const SHED: u8 = 14;
    /// How many there are.
    pub const COUNT: usize = 15;
}

/// Role of the process at a connection: [`Header::detail`] of `OPENED`.
pub mod role {
    /// Not known.
    pub const UNKNOWN: u8 = 0;
    /// It connected.
    pub const CLIENT: u8 = 1;
    /// It accepted.
    pub const SERVER: u8 = 2;
}

/// How a session was bound: [`Header::detail`] of `BOUND`; higher is more certain.
pub mod binding {
    /// Not bound.
    pub const NONE: u8 = 0;
    /// `SSL_set_fd` and its kin.
    pub const SET_FD: u8 = 1;
    /// A socket call inside the TLS call.
    pub const NESTED: u8 = 2;
    /// The same ciphertext at the library and at the socket.
    pub const CIPHERTEXT: u8 = 3;
}

/// The random of every HelloRetryRequest, a ServerHello that asks for another ClientHello (RFC 8446 §4.1.3): it identifies no session.
pub const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Bytes carried of a UNIX socket's name: the whole of `sun_path`.
pub const UNIX_NAME: usize = 108;
/// The port of name servers.
pub const DNS_PORT: u16 = 53;
/// Maximum bytes of an answer in `DATAGRAM`: servers and resolvers agree on 1232, formerly on 4096.
pub const DNS_BYTES: usize = 4096;
/// Maximum bytes of arguments in `EXEC`.
pub const EXEC_ARGS: usize = 4096;
/// Maximum bytes of the environment in `EXEC`; if a record has as many, the environment may be longer.
pub const EXEC_ENV: usize = 16 * 1024;
/// Maximum bytes of the file name in `EXEC`.
pub const EXEC_NAME: usize = 512;

/// `EXEC`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Exec {
    /// Header.
    pub header: Header,
    /// Parent's thread-group id.
    pub parent: u32,
    /// Effective user id in the initial user namespace.
    pub uid: u32,
    /// Bytes of file name that follow.
    pub name_len: u32,
    /// Bytes of arguments that follow the name. The environment follows them.
    pub args_len: u32,
}

/// `FORK`: the header's `tgid` is the child's.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Fork {
    /// Header.
    pub header: Header,
    /// Parent's thread-group id.
    pub parent: u32,
    /// 0.
    pub pad: u32,
}

/// `OPENED`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Opened {
    /// Header.
    pub header: Header,
    /// Inode number of the socket.
    pub ino: u64,
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub family: u16,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, network byte order.
    pub peer_port: u16,
    /// 0.
    pub pad: u16,
    /// Local address: 4 or 16 bytes, network order.
    pub local: [u8; 16],
    /// Remote address.
    pub peer: [u8; 16],
}

/// `DATA`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Data {
    /// Header.
    pub header: Header,
    /// Stream offset of the first byte.
    pub offset: u64,
}

/// `SKIP`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Skip {
    /// Header.
    pub header: Header,
    /// Stream offset of the first byte.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Counts of one direction.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    /// Bytes the calls carried.
    pub carried: u64,
    /// Copied.
    pub copied: u64,
    /// Ciphertext.
    pub encrypted: u64,
    /// Not asked for.
    pub unwanted: u64,
    /// Lost.
    pub lost: u64,
    /// The kernel's own count; `u64::MAX` where it keeps none.
    pub kernel: u64,
}

/// `PROGRESS`, `CLOSED`, `SESSION_CLOSED`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Header.
    pub header: Header,
    /// Sent, received.
    pub dirs: [Count; 2],
    /// Bytes that arrived and were not read.
    pub unread: u64,
}

/// `SESSION_OPENED`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionOpened {
    /// Header.
    pub header: Header,
    /// Address of the session in the process.
    pub ssl: u64,
    /// Number that the agent gave to the library at attach.
    pub library: u32,
    /// 0.
    pub pad: u32,
}

/// `BOUND`: the header's `id` is the session's.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Bound {
    /// Header.
    pub header: Header,
    /// The connection.
    pub conn: u64,
}

/// `JOINED`: the session of a part ([`flag::PART`]) is now known; the header's `id` is the part's identity.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Joined {
    /// Header.
    pub header: Header,
    /// The session that it belongs to; 0: the session of a connection that is filtered out.
    pub session: u64,
    /// Stream offset of the part's first byte in the session.
    pub offset: u64,
}

/// `HELLO`: a TLS session wrote its hello to memory, or was fed its peer's from there. The header's `id` is the session's, `detail` the hello's type.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Hello {
    /// Header.
    pub header: Header,
    /// The random of the ClientHello or ServerHello.
    pub random: [u8; 32],
}

/// `MAPPED`: a process in scope mapped a file as executable.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Mapped {
    /// Header.
    pub header: Header,
    /// Lower half: device, as the kernel encodes it (major in the upper 12 bits of 32, minor in the lower 20). Upper half: generation of the inode.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// `DATAGRAM`: from a name server.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Datagram {
    /// Header.
    pub header: Header,
    /// Bytes that were received.
    pub bytes: u64,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, network byte order.
    pub peer_port: u16,
    /// 0.
    pub pad: u16,
    /// Local address: 4 or 16 bytes, network order.
    pub local: [u8; 16],
    /// Remote address.
    pub peer: [u8; 16],
}

const _: () = {
    assert!(size_of::<Datagram>() == 80);
    assert!(size_of::<Header>() == 32);
    assert!(size_of::<Exec>() == 48);
    assert!(size_of::<Fork>() == 40);
    assert!(size_of::<Opened>() == 80);
    assert!(size_of::<Data>() == 40);
    assert!(size_of::<Skip>() == 48);
    assert!(size_of::<Counts>() == 32 + 96 + 8);
    assert!(size_of::<SessionOpened>() == 48);
    assert!(size_of::<Bound>() == 40);
    assert!(size_of::<Mapped>() == 48);
    assert!(size_of::<Hello>() == 64);
};
