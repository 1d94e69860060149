//! Values of the maps that both sides touch, and the names of the maps.

use crate::record::Count;

/// Ring of records. Writer: probes. Reader: agent.
pub const MAP_RING: &str = "RING";
/// tgid → [`scope`] verdict. Writer: agent at start and when a process is met, probes at fork, exec and exit.
pub const MAP_SCOPE: &str = "SCOPE";
/// `sock` address → [`Conn`].
pub const MAP_CONNS: &str = "CONNS";
/// [`SessionKey`] → [`Session`].
pub const MAP_SESSIONS: &str = "SESSIONS";
/// System call number → [`op`]. Writer: agent before the probes are attached.
pub const MAP_SYSCALLS: &str = "SYSCALLS";
/// Index 0 → [`crate::globals::Wishes`].
pub const MAP_WISHES: &str = "WISHES";
/// Work areas of the probes, [`SCRATCH_SLOTS`] a CPU.
pub const MAP_SCRATCH: &str = "SCRATCH";
/// Per CPU: [`Losses`] that could not be told in place, by reason.
pub const MAP_LOSSES: &str = "LOSSES";
/// Index 0: 1 while the agent sleeps and wants to be woken by the next record.
pub const MAP_ASLEEP: &str = "ASLEEP";
/// Thread → TLS calls under way.
pub const MAP_CALLS: &str = "CALLS";
/// (device, inode) of executable files that were told in `MAPPED`.
pub const MAP_MAPPED: &str = "MAPPED";

/// Process → 1: it uses rustls. Writers: agent, when it knows the program; the probes at its first call.
pub const MAP_RUSTLS_USERS: &str = "RUSTLS_USERS";
/// Index 0: 1 when a process uses rustls. Writers: agent, when it knows of one; the probes.
pub const MAP_RUSTLS_SEEN: &str = "RUSTLS_SEEN";
/// Connection or session → 1: nobody wants it. Writer: agent; the probes take it out when they have read it.
pub const MAP_LEFT_ALONE: &str = "LEFT_ALONE";

/// Verdicts of [`MAP_SCOPE`]: [`scope::IN`] or [`scope::OUT`], and with the former what is left out all the same.
pub mod scope {
    /// Captured.
    pub const IN: u8 = 1;
    /// Left alone.
    pub const OUT: u8 = 2;
    /// Left alone because it is qtap, or a child of qtap's: what connects to it is known by that. (Not [`IN`], so the bits of those mean nothing.)
    pub const OWN: u8 = OUT | IGNORED;
    /// No payload is copied: connections are told and counted.
    pub const NO_DATA: u8 = 4;
    /// The calls of TLS libraries are not looked at.
    pub const NO_TLS: u8 = 8;
    /// No payload of HTTP is copied.
    pub const NO_HTTP: u8 = 16;
    /// Answers of name servers are not copied.
    pub const NO_DNS: u8 = 32;
    /// Its program is left out: nothing is looked at but its life, since what it starts may not be.
    pub const LEFT_OUT: u8 = 64;
    /// The same, by its own wish, which what it executes has too until its environment says otherwise.
    pub const IGNORED: u8 = 128;
    /// Nothing is looked at.
    pub const NOTHING: u8 = LEFT_OUT | IGNORED;
    /// What the program decides, not the process.
    pub const OF_PROGRAM: u8 = NO_DATA | NO_TLS | NO_HTTP | NO_DNS | LEFT_OUT;
}

/// What a system call does, as far as the probes care.
pub mod op {
    /// Nothing of interest.
    pub const NONE: u8 = 0;
    /// `read(fd, buf, …)`.
    pub const READ: u8 = 1;
    /// `write(fd, buf, …)`.
    pub const WRITE: u8 = 2;
    /// `recvfrom(fd, buf, len, flags, …)`.
    pub const RECVFROM: u8 = 3;
    /// `sendto(fd, buf, …)`.
    pub const SENDTO: u8 = 4;
    /// `readv(fd, iov, count)`.
    pub const READV: u8 = 5;
    /// `writev(fd, iov, count)`.
    pub const WRITEV: u8 = 6;
    /// `recvmsg(fd, msghdr, flags)`.
    pub const RECVMSG: u8 = 7;
    /// `sendmsg(fd, msghdr, flags)`.
    pub const SENDMSG: u8 = 8;
    /// `recvmmsg(fd, mmsghdr, count, flags, …)`.
    pub const RECVMMSG: u8 = 9;
    /// `sendmmsg(fd, mmsghdr, count, flags)`.
    pub const SENDMMSG: u8 = 10;
    /// `sendfile(out, in, …)`.
    pub const SENDFILE: u8 = 11;
    /// `splice(in, …, out, …)`.
    pub const SPLICE: u8 = 12;
    /// `connect(fd, …)`.
    pub const CONNECT: u8 = 13;
    /// `accept(fd, …)`, `accept4`.
    pub const ACCEPT: u8 = 14;
    /// `mmap(addr, len, prot, flags, fd, off)`.
    pub const MMAP: u8 = 15;
    /// `setsockopt(fd, level, name, …)`.
    pub const SETSOCKOPT: u8 = 16;
    /// A bit beside the others: the number is that of 32-bit programs, whose calls are counted, not read.
    pub const COMPAT: u8 = 0x80;
}

/// What the first bytes of a direction are.
pub mod class {
    /// Not enough bytes yet; copied.
    pub const UNDECIDED: u8 = 0;
    /// HTTP: copied.
    pub const HTTP: u8 = 1;
    /// TLS: the first [`super::HELLO_BYTES`] are copied, the rest counted.
    pub const TLS: u8 = 2;
    /// Anything else: counted.
    pub const OTHER: u8 = 3;
    /// Answers of a name server: copied.
    pub const DNS: u8 = 4;
}

/// First bytes of a direction that are looked at to tell the protocol: the longest method that is recognised, and a space.
pub const FIRST_BYTES: usize = 32;
/// Room for them: bytes are added by reads of at most [`FIRST_BYTES`] at an offset below it, which the verifier can follow.
pub const FIRST_ROOM: usize = 2 * FIRST_BYTES;
/// Bytes of TLS handshake copied per direction: a ClientHello with post-quantum key share is about 1.8 KB.
pub const HELLO_BYTES: u64 = 4096;
/// Bytes of one piece: what a ring record carries at most.
pub const PIECE: usize = 32 * 1024;
/// The next buffer of a call goes into the same piece while the piece is shorter than this (and has room): heads are. A power of two.
pub const GATHER: usize = 4096;
/// Scratch areas per CPU: one for a probe and one for a probe that preempts it.
pub const SCRATCH_SLOTS: u32 = 2;

/// One direction of a connection or session.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Dir {
    /// Counts; `kernel` is set once it is final, else 0.
    pub count: Count,
    /// The kernel's counter at first sight.
    pub base: u64,
    /// Bytes that are lost and not yet told: stream offset of the first.
    pub pending_offset: u64,
    /// How many.
    pub pending_bytes: u64,
    /// Stream offset from which on bytes were counted as unwanted without a record; `u64::MAX`: none.
    pub unwanted_from: u64,
    /// First bytes, while undecided.
    pub first: [u8; FIRST_ROOM],
    /// How many of them there are.
    pub first_len: u8,
    /// One of [`class`].
    pub class: u8,
    /// Why the pending bytes were lost.
    pub pending_why: u8,
    /// 1: `count.kernel` is final. 2: it is no more than what the kernel counts, unless that began anew.
    pub kernel_final: u8,
    /// 1: the kernel seals or opens its TLS records, so that calls move plaintext.
    pub in_kernel: u8,
    /// 0.
    pub pad: [u8; 3],
}

/// A connection.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Conn {
    /// Identity in records.
    pub id: u64,
    /// Inode number of the socket: with the `sock`'s address it tells generations apart.
    pub ino: u64,
    /// When its counts were last told.
    pub told: u64,
    /// Sent, received.
    pub dirs: [Dir; 2],
    /// Process that used it last.
    pub tgid: u32,
    /// `AF_…`.
    pub family: u16,
    /// One of [`crate::record::role`].
    pub role: u8,
    /// Bits of [`conn_flag`].
    pub flags: u8,
    /// Of one whose TLS the kernel does: address of the session whose library gave it the keys; 0: the program did.
    pub ssl: u64,
}

/// Flags of [`Conn::flags`].
pub mod conn_flag {
    /// Filtered out: not told, not copied.
    pub const UNWANTED: u8 = 1;
    /// Was open before first sight.
    pub const LATE: u8 = 2;
    /// Closed, and the record that should say so did not fit the ring: the agent reads it from here.
    pub const CLOSED_UNTOLD: u8 = 4;
    /// A FIN was received.
    pub const FIN: u8 = 8;
    /// Nobody wants its payload: counted, not copied.
    pub const LEFT_ALONE: u8 = 16;
    /// The other end is qtap: not told, not copied, counted.
    pub const OF_QTAP: u8 = 32;
    /// Made by who receives qtap's exports: the same.
    pub const OF_STORE: u8 = 64;
    /// Either.
    pub const FEEDBACK: u8 = OF_QTAP | OF_STORE;
    /// The kernel does not count its bytes where it counts TCP's, nor tell each end: UNIX, MPTCP.
    pub const UNCOUNTED: u8 = 128;
}

/// Key of a TLS session.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Address of the session in the process; where `ended`, the session's identity.
    pub ssl: u64,
    /// The process: addresses mean nothing without it.
    pub tgid: u32,
    /// 1: it ended and the ring had no room to say so; the agent finds it here.
    pub ended: u32,
}

/// A TLS session.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// Identity in records.
    pub id: u64,
    /// Connection it is bound to; 0: none.
    pub conn: u64,
    /// Sent, received: plaintext.
    pub dirs: [Dir; 2],
    /// Process.
    pub tgid: u32,
    /// Library number.
    pub library: u32,
    /// One of [`crate::record::binding`].
    pub binding: u8,
    /// 1: its handshake was not seen.
    pub late: u8,
    /// 1: it travels on a connection that nobody asked for.
    pub unwanted: u8,
    /// 1: nobody wants its payload.
    pub left_alone: u8,
    /// 0.
    pub pad: [u8; 4],
    /// Of Go: calls under way, and in the upper half how often it was closed ([`crate::go::CLOSING`]).
    pub calls: u64,
}

/// Losses of one reason, on one CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Losses {
    /// How often.
    pub count: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A file, as the kernel names it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// Device (kernel encoding) in the lower half; in the upper one the generation of the inode, by which a file that has the number of one that is gone is
    /// told from it.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), integers only, padding explicit and sizes asserted below; any bit pattern is valid.
    unsafe impl aya::Pod for super::Conn {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Session {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SessionKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Losses {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::FileKey {}
}

const _: () = {
    assert!(size_of::<Dir>() == 48 + 32 + 64 + 8);
    assert!(size_of::<Conn>() == 24 + 2 * 152 + 16);
    assert!(size_of::<Session>() == 16 + 2 * 152 + 24);
    assert!(size_of::<SessionKey>() == 16);
};

/// What a TLS function does, in the low byte of the cookie its probes are attached with.
pub mod call {
    /// `SSL_read`, `gnutls_record_recv`: returns the number of bytes.
    pub const READ: u8 = 1;
    /// `SSL_write`, `gnutls_record_send`.
    pub const WRITE: u8 = 2;
    /// `SSL_read_ex`: returns 1 and stores the number of bytes.
    pub const READ_EX: u8 = 3;
    /// `SSL_write_ex`.
    pub const WRITE_EX: u8 = 4;
    /// `SSL_write_ex2`: the flags stand before the place for the number of bytes.
    pub const WRITE_EX2: u8 = 5;
    /// `SSL_do_handshake`, `SSL_connect`, `SSL_accept`, `SSL_shutdown`, `SSL_peek`, `gnutls_handshake`, `gnutls_bye`: no payload, but socket calls inside.
    pub const OTHER: u8 = 6;
    /// `gnutls_record_uncork`: writes inside send what was taken, and counted, before.
    pub const FLUSH: u8 = 7;
    /// `BIO_write`: no call of a session, but by it records are written to memory, and are fed from there.
    pub const BIO: u8 = 8;
    /// rustls: a write into a connection: takes a buffer, returns what it took.
    pub const TAKE: u8 = 9;
    /// The same, of several buffers (`struct iovec`, which `IoSlice` is).
    pub const TAKE_VECTORED: u8 = 10;
    /// rustls: a record is encrypted.
    pub const SEAL: u8 = 11;
    /// rustls: a record is decrypted.
    pub const UNSEAL: u8 = 12;
    /// NSS's `ssl_SecureRecv`: the same as [`READ`], but for its flags, which stand where an `_ex` function has the place for the number of bytes.
    pub const RECV: u8 = 13;
    /// NSS's `SSL_ImportFD`: returns a descriptor of NSPR, which has the session.
    pub const IMPORT: u8 = 14;
}

/// The cookie of a probe on a TLS function: what it is and where its arguments are at the chosen site.
///
/// Bits 0–7 [`call`]; 8–23 the library's number; 24–43 four registers of five bits each, as [`register`] numbers them (session,
/// buffer, size, and the place where an `_ex` function stores the number of bytes);
/// 44–59 bytes that the stack pointer at the site lies below its value at function entry, in units of 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie(pub u64);

/// Numbers of registers in a [`Cookie`]. On x86-64 the first six are those of arguments in their order; aarch64: `x0` to `x15`.
pub mod register {
    /// `rdi`.
    pub const RDI: u8 = 0;
    /// `rsi`.
    pub const RSI: u8 = 1;
    /// `rdx`.
    pub const RDX: u8 = 2;
    /// `rcx`.
    pub const RCX: u8 = 3;
    /// `r8`.
    pub const R8: u8 = 4;
    /// `r9`.
    pub const R9: u8 = 5;
    /// `rax`.
    pub const RAX: u8 = 6;
    /// `rbx`.
    pub const RBX: u8 = 7;
    /// `rbp`.
    pub const RBP: u8 = 8;
    /// `r10`.
    pub const R10: u8 = 9;
    /// `r11`.
    pub const R11: u8 = 10;
    /// `r12`.
    pub const R12: u8 = 11;
    /// `r13`.
    pub const R13: u8 = 12;
    /// `r14`.
    pub const R14: u8 = 13;
    /// `r15`.
    pub const R15: u8 = 14;
}

impl Cookie {
    /// Puts a cookie together; `depth` is in bytes, a multiple of 8 below 512 KiB.
    #[must_use]
    pub const fn new(call: u8, library: u16, args: [u8; 4], depth: u32) -> Cookie {
        let mut value = call as u64 | (library as u64) << 8 | ((depth / 8) as u64 & 0xffff) << 44;
        let mut index = 0;
        while index < 4 {
            value |= (args[index] as u64 & 31) << (24 + 5 * index);
            index += 1;
        }
        Cookie(value)
    }

    /// What the function does.
    #[must_use]
    pub const fn call(self) -> u8 {
        self.0 as u8
    }

    /// The library's number.
    #[must_use]
    pub const fn library(self) -> u32 {
        (self.0 >> 8) as u16 as u32
    }

    /// Register that holds argument `index` (0 to 3).
    #[must_use]
    pub const fn arg(self, index: u32) -> u8 {
        (self.0 >> (24 + 5 * index)) as u8 & 31
    }

    /// Bytes between the stack pointer at the site and at entry.
    #[must_use]
    pub const fn depth(self) -> u64 {
        (self.0 >> 44 & 0xffff) * 8
    }
}
