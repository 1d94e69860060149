//! Names of the maps, and the values of those that both the probes and the agent access.

use crate::record::Count;

/// Ring of records. Writer: probes. Reader: agent.
pub const MAP_RING: &str = "RING";
/// tgid → [`scope`] verdict. Writers: agent (at start, when it meets a process), probes (fork, exec, exit, first sight in a wanted cgroup).
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
/// Per CPU: [`Losses`] by reason, of what no record reports at its place in a stream.
pub const MAP_LOSSES: &str = "LOSSES";
/// Index 0: 1 while the agent sleeps and wants to be woken by the next record.
pub const MAP_ASLEEP: &str = "ASLEEP";
/// Thread → TLS calls under way.
pub const MAP_CALLS: &str = "CALLS";
/// (device, inode) of executable files that a `MAPPED` record reported.
pub const MAP_MAPPED: &str = "MAPPED";

/// Process → 1: it uses rustls. Writers: agent, when it knows the program; the probes at its first call.
pub const MAP_RUSTLS_USERS: &str = "RUSTLS_USERS";
/// Index 0: 1 when a process uses rustls. Writers: agent, when it knows of one; the probes.
pub const MAP_RUSTLS_SEEN: &str = "RUSTLS_SEEN";
/// Process → 1: it switches stacks inside its TLS calls. Writers: agent, when it knows the program; probes (fork).
pub const MAP_FIBER_USERS: &str = "FIBER_USERS";
/// Index 0: 1 when a process does. Writer: agent.
pub const MAP_FIBER_SEEN: &str = "FIBER_SEEN";
/// Connection or session → 1: no stack wants its payload. Writer: agent; the probes remove an entry when they have read it.
pub const MAP_LEFT_ALONE: &str = "LEFT_ALONE";

/// Verdicts of [`MAP_SCOPE`]: [`scope::IN`] or [`scope::OUT`]; with `IN`, further bits say what is excluded nevertheless.
pub mod scope {
    /// Captured.
    pub const IN: u8 = 1;
    /// Not captured.
    pub const OUT: u8 = 2;
    /// Not captured: it is qtap or a child of qtap, whose connections are recognised by this. (Without [`IN`] the other bits mean nothing.)
    pub const OWN: u8 = OUT | IGNORED;
    /// No payload is copied: connections are reported and counted.
    pub const NO_DATA: u8 = 4;
    /// Calls of TLS libraries are not inspected.
    pub const NO_TLS: u8 = 8;
    /// No payload of HTTP is copied.
    pub const NO_HTTP: u8 = 16;
    /// Answers of name servers are not copied.
    pub const NO_DNS: u8 = 32;
    /// Its program is excluded: only its lifetime is followed (fork, exec, exit), since the programs it starts may not be excluded.
    pub const LEFT_OUT: u8 = 64;
    /// Excluded at its own request, which also holds for a program that it executes until that program's environment says otherwise.
    pub const IGNORED: u8 = 128;
    /// Either of the two: nothing is inspected.
    pub const NOTHING: u8 = LEFT_OUT | IGNORED;
    /// The bits that depend on the program, not on the process.
    pub const OF_PROGRAM: u8 = NO_DATA | NO_TLS | NO_HTTP | NO_DNS | LEFT_OUT;
}

/// What a system call does, as far as it matters to the probes.
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
    /// A flag bit: the number belongs to the 32-bit interface, whose calls are counted, not copied.
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

/// How many first bytes of a direction are inspected to determine the protocol: the longest recognised method, and a space.
pub const FIRST_BYTES: usize = 32;
/// Size of their buffer: bytes are appended by reads of at most [`FIRST_BYTES`], at offsets below that, which the verifier can follow.
pub const FIRST_ROOM: usize = 2 * FIRST_BYTES;
/// Bytes of TLS handshake copied per direction: a ClientHello with post-quantum key share is about 1.8 KB.
pub const HELLO_BYTES: u64 = 4096;
/// Maximum size of one piece: the payload of one ring record.
pub const PIECE: usize = 32 * 1024;
/// The next buffer of a call goes into the same piece while that is shorter than this (and has space), as heads usually are. A power of two.
pub const GATHER: usize = 4096;
/// Scratch areas per CPU: one for a probe and one for a probe that preempts it.
pub const SCRATCH_SLOTS: u32 = 2;

/// One direction of a connection or session.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Dir {
    /// Counts; `kernel` is set once it is final, else 0.
    pub count: Count,
    /// The kernel's counter when the connection was first seen.
    pub base: u64,
    /// Lost bytes that are not reported yet: stream offset of the first.
    pub pending_offset: u64,
    /// How many.
    pub pending_bytes: u64,
    /// Stream offset from which bytes have been counted as unwanted without a record; `u64::MAX`: none.
    pub unwanted_from: u64,
    /// First bytes, while undecided.
    pub first: [u8; FIRST_ROOM],
    /// How many of them there are.
    pub first_len: u8,
    /// One of [`class`].
    pub class: u8,
    /// Why the pending bytes were lost.
    pub pending_why: u8,
    /// 1: `count.kernel` is final. 2: it is a lower bound; a smaller reading later means that the kernel reset its counter.
    pub kernel_final: u8,
    /// 1: the kernel encrypts or decrypts its TLS records, so that calls move plaintext.
    pub in_kernel: u8,
    /// In the first direction, 1: TLS records of the connection passed inside a handshake whose end can't be seen.
    pub shook: u8,
    /// 0.
    pub pad: [u8; 2],
}

/// A connection.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Conn {
    /// Identity in records.
    pub id: u64,
    /// Inode number of the socket: with the `sock`'s address it tells generations apart.
    pub ino: u64,
    /// When its counts were last reported.
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
    /// With TLS in the kernel: address of the session whose library gave it the keys; 0: the program itself did.
    pub ssl: u64,
}

/// Flags of [`Conn::flags`].
pub mod conn_flag {
    /// Filtered out: not reported, not copied.
    pub const UNWANTED: u8 = 1;
    /// Was open before first sight.
    pub const LATE: u8 = 2;
    /// Closed, but the record that reports it did not fit in the ring: the agent reads it from here.
    pub const CLOSED_UNTOLD: u8 = 4;
    /// A FIN was received.
    pub const FIN: u8 = 8;
    /// No stack wants its payload: counted, not copied.
    pub const LEFT_ALONE: u8 = 16;
    /// The peer is qtap: not reported, not copied, only counted.
    pub const OF_QTAP: u8 = 32;
    /// Made by a process that receives qtap's exports: the same.
    pub const OF_STORE: u8 = 64;
    /// Either.
    pub const FEEDBACK: u8 = OF_QTAP | OF_STORE;
    /// The kernel does not count its bytes where it counts those of TCP, and does not report every end: UNIX, MPTCP.
    pub const UNCOUNTED: u8 = 128;
}

/// Key of a TLS session.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Address of the session in the process; if `ended`, the session's identity.
    pub ssl: u64,
    /// The process: addresses mean nothing without it.
    pub tgid: u32,
    /// 1: it ended, but the record that reports it did not fit in the ring; the agent finds it here.
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
    /// [`crate::record::flag::LATE`]: its handshake was not seen; else 0.
    pub late: u8,
    /// 1: its connection is filtered out: bytes are counted, not copied.
    pub unwanted: u8,
    /// 1: no stack wants its payload.
    pub left_alone: u8,
    /// 0.
    pub pad: [u8; 4],
    /// Go only: number of calls under way; the upper half counts how often it was closed ([`crate::go::CLOSING`]).
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
    /// Lower half: device (kernel encoding). Upper half: generation of the inode, which tells the file from a deleted one that had the same
    /// inode number.
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
    /// `SSL_write_ex2`: the flags come before the pointer to the number of bytes.
    pub const WRITE_EX2: u8 = 5;
    /// `SSL_do_handshake`, `SSL_connect`, `SSL_accept`, `SSL_shutdown`, `SSL_peek`, `gnutls_handshake`, `gnutls_bye`: no payload, but socket calls inside.
    pub const OTHER: u8 = 6;
    /// `gnutls_record_uncork`: socket writes inside send what earlier calls took, and counted.
    pub const FLUSH: u8 = 7;
    /// `BIO_write`: not a call on a session, but libraries write records to memory by it, and programs feed sessions from memory by it.
    pub const BIO: u8 = 8;
    /// rustls: a write into a connection: takes a buffer, returns the number of bytes taken.
    pub const TAKE: u8 = 9;
    /// The same with several buffers (`struct iovec`, whose layout `IoSlice` has).
    pub const TAKE_VECTORED: u8 = 10;
    /// rustls: a record is encrypted.
    pub const SEAL: u8 = 11;
    /// rustls: a record is decrypted.
    pub const UNSEAL: u8 = 12;
    /// NSS's `ssl_SecureRecv`: like [`READ`], with its flags in the place of an `_ex` function's pointer to the number of bytes.
    pub const RECV: u8 = 13;
    /// NSS's `SSL_ImportFD`: returns an NSPR descriptor, which holds the session.
    pub const IMPORT: u8 = 14;
    /// `SSL_clear`: resets a session, which may then begin again.
    pub const CLEAR: u8 = 15;
    /// `SSL_set_bio` and its kin, in a file with a BIO of its own: the session writes its records to it. (With [`BIO`]: it reads them from it.)
    pub const OWN_BIO: u8 = 16;
    /// `BIO_new_bio_pair`: two BIOs of which each reads what is written to the other.
    pub const BIO_PAIR: u8 = 17;
}

/// The cookie of a probe on a TLS function: what the function does, and where its arguments are at the chosen site.
///
/// Bits 0–7: [`call`]; 8–23: the library's number; 24–43: four registers of five bits each, numbered as in [`register`] (session,
/// buffer, size, and the pointer through which an `_ex` function stores the number of bytes);
/// 44–59: how far the stack pointer at the site lies below its value at function entry, in units of 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie(pub u64);

/// Register numbers in a [`Cookie`]. x86-64: the first six are the argument registers in their order; aarch64: `x0` to `x15`.
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

    /// The same with another depth.
    #[must_use]
    pub const fn with_depth(self, depth: u32) -> Cookie {
        Cookie(self.0 & !(0xffff << 44) | ((depth / 8) as u64 & 0xffff) << 44)
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
