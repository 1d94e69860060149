//! The TLS library functions that are hooked, by family: their names, and what the probes need of each. Pure definitions; nothing is searched for here.

use crate::capture::sites::{Argument, Wanted, Width};

/// Libraries that share an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// OpenSSL, LibreSSL, BoringSSL.
    OpenSsl,
    /// GnuTLS.
    GnuTls,
    /// Mozilla's NSS.
    Nss,
    /// `crypto/tls` of Go, whose functions use Go's calling convention.
    GoTls,
    /// rustls, whose functions use Rust's calling convention.
    Rustls,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 5] = [Family::OpenSsl, Family::GnuTls, Family::Nss, Family::GoTls, Family::Rustls];
    /// Families whose functions are found under fixed symbol names.
    pub(super) const NAMED: [Family; 2] = [Family::OpenSsl, Family::GnuTls];

    /// The calls that move bytes, one per direction: a file that lacks either is not of the family.
    pub(super) fn needs(self) -> [Call; 2] {
        match self {
            Family::OpenSsl => [Call::Read, Call::Write],
            Family::GnuTls => [Call::GnutlsRecv, Call::GnutlsSend],
            Family::Nss => [Call::NssRecv, Call::NssSend],
            Family::GoTls => [Call::GoRead, Call::GoWrite],
            Family::Rustls => [Call::RustlsDecrypt, Call::RustlsEncrypt],
        }
    }

    /// The file name of the family's libraries, up to the version or a packager's suffix; none when it is linked into programs.
    pub(super) fn stem(self) -> Option<&'static str> {
        match self {
            Family::OpenSsl => Some("libssl"),
            Family::GnuTls => Some("libgnutls"),
            Family::Nss => Some("libssl3"),
            Family::GoTls | Family::Rustls => None,
        }
    }
}

/// A call that is hooked (`man 3 SSL_read`, `man 3 gnutls_record_send`, and their kin).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// `int SSL_read(SSL *, void *buf, int num)`.
    Read,
    /// `int SSL_write(SSL *, const void *buf, int num)`.
    Write,
    /// `int SSL_read_ex(SSL *, void *buf, size_t num, size_t *readbytes)`.
    ReadEx,
    /// `int SSL_write_ex(SSL *, const void *buf, size_t num, size_t *written)`.
    WriteEx,
    /// `int SSL_write_ex2(SSL *, const void *buf, size_t num, uint64_t flags, size_t *written)`.
    WriteEx2,
    /// `int SSL_peek(SSL *, void *buf, int num)`: does not consume.
    Peek,
    /// `int SSL_peek_ex(SSL *, void *buf, size_t num, size_t *readbytes)`: does not consume.
    PeekEx,
    /// `int SSL_do_handshake(SSL *)`.
    DoHandshake,
    /// `int SSL_connect(SSL *)`.
    Connect,
    /// `int SSL_accept(SSL *)`.
    Accept,
    /// `int SSL_set_fd(SSL *, int fd)`.
    SetFd,
    /// `int SSL_set_rfd(SSL *, int fd)`.
    SetRfd,
    /// `int SSL_set_wfd(SSL *, int fd)`.
    SetWfd,
    /// `void SSL_set_bio(SSL *, BIO *rbio, BIO *wbio)`.
    SetBio,
    /// `void SSL_set0_rbio(SSL *, BIO *rbio)`.
    Set0Rbio,
    /// `void SSL_set0_wbio(SSL *, BIO *wbio)`.
    Set0Wbio,
    /// `int SSL_shutdown(SSL *)`.
    Shutdown,
    /// `int SSL_clear(SSL *)`.
    Clear,
    /// `void SSL_free(SSL *)`.
    Free,
    /// `int BIO_write(BIO *, const void *data, int dlen)`, in a file that contains the library itself: its sessions write their records through it.
    BioWrite,
    /// `ssize_t gnutls_record_send(gnutls_session_t, const void *data, size_t size)`; where [`Call::GnutlsSend2`] exists, this one jumps to it.
    GnutlsSend,
    /// `ssize_t gnutls_record_send2(gnutls_session_t, const void *data, size_t size, size_t pad, unsigned flags)`.
    GnutlsSend2,
    /// `ssize_t gnutls_record_send_range(gnutls_session_t, const void *data, size_t size, const gnutls_range_st *)`.
    GnutlsSendRange,
    /// `int gnutls_record_uncork(gnutls_session_t, unsigned flags)`: sends what was accepted, and counted, earlier.
    GnutlsUncork,
    /// `ssize_t gnutls_record_recv(gnutls_session_t, void *data, size_t size)`.
    GnutlsRecv,
    /// `ssize_t gnutls_record_recv_seq(gnutls_session_t, void *data, size_t size, unsigned char *seq)`.
    GnutlsRecvSeq,
    /// `int gnutls_handshake(gnutls_session_t)`.
    GnutlsHandshake,
    /// `int gnutls_bye(gnutls_session_t, gnutls_close_request_t)`.
    GnutlsBye,
    /// `void gnutls_transport_set_int2(gnutls_session_t, int recv_fd, int send_fd)`.
    GnutlsSetFds,
    /// `void gnutls_deinit(gnutls_session_t)`.
    GnutlsDeinit,
    /// `int ssl_SecureRecv(sslSocket *, unsigned char *buf, int len, int flags)`.
    NssRecv,
    /// `int ssl_SecureRead(sslSocket *, unsigned char *buf, int len)`.
    NssRead,
    /// `int ssl_SecureSend(sslSocket *, const unsigned char *buf, int len, int flags)`.
    NssSend,
    /// `int ssl_SecureWrite(sslSocket *, const unsigned char *buf, int len)`.
    NssWrite,
    /// `PRFileDesc *SSL_ImportFD(PRFileDesc *model, PRFileDesc *fd)`, or the function it passes on to: creates the session of a descriptor.
    NssImport,
    /// `int ssl_DefClose(sslSocket *)`: the end of each session.
    NssClose,
    /// `func (c *Conn) Read(b []byte) (int, error)`.
    GoRead,
    /// `func (c *Conn) Write(b []byte) (int, error)`.
    GoWrite,
    /// `func (c *Conn) Close() error`.
    GoClose,
    /// `func (c *Conn) clientHandshake(ctx context.Context) error`: once per connection, inside whichever call comes first.
    GoClientHandshake,
    /// `func (c *Conn) serverHandshake(ctx context.Context) error`: the same.
    GoServerHandshake,
    /// `fn write(&mut self, buf: &[u8]) -> io::Result<usize>` of `PlaintextSink`: takes what the connection is to send.
    RustlsWrite,
    /// `fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize>` of `PlaintextSink`.
    RustlsWriteVectored,
    /// `fn encrypt(&mut self, msg: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error>` of `MessageEncrypter`.
    RustlsEncrypt,
    /// `fn decrypt<'a>(&mut self, msg: InboundOpaqueMessage<'a>, seq: u64) -> Result<InboundPlainMessage<'a>, Error>` of `MessageDecrypter`.
    RustlsDecrypt,
}

const fn whole(index: u8) -> Argument {
    Argument { index, width: Width::Full }
}

const fn int(index: u8) -> Argument {
    Argument { index, width: Width::Low32 }
}

impl Call {
    /// All of them.
    pub const ALL: [Call; 45] = [
        Call::Read,
        Call::Write,
        Call::ReadEx,
        Call::WriteEx,
        Call::WriteEx2,
        Call::Peek,
        Call::PeekEx,
        Call::DoHandshake,
        Call::Connect,
        Call::Accept,
        Call::SetFd,
        Call::SetRfd,
        Call::SetWfd,
        Call::SetBio,
        Call::Set0Rbio,
        Call::Set0Wbio,
        Call::Shutdown,
        Call::Clear,
        Call::Free,
        Call::BioWrite,
        Call::GnutlsSend,
        Call::GnutlsSend2,
        Call::GnutlsSendRange,
        Call::GnutlsUncork,
        Call::GnutlsRecv,
        Call::GnutlsRecvSeq,
        Call::GnutlsHandshake,
        Call::GnutlsBye,
        Call::GnutlsSetFds,
        Call::GnutlsDeinit,
        Call::NssRecv,
        Call::NssRead,
        Call::NssSend,
        Call::NssWrite,
        Call::NssImport,
        Call::NssClose,
        Call::GoRead,
        Call::GoWrite,
        Call::GoClose,
        Call::GoClientHandshake,
        Call::GoServerHandshake,
        Call::RustlsWrite,
        Call::RustlsWriteVectored,
        Call::RustlsEncrypt,
        Call::RustlsDecrypt,
    ];

    /// The family it belongs to.
    #[must_use]
    pub fn family(self) -> Family {
        match self.symbol() {
            name if name.starts_with("gnutls_") => Family::GnuTls,
            name if name.starts_with("ssl_") || name == "SSL_ImportFD" => Family::Nss,
            name if name.starts_with("crypto/tls.") => Family::GoTls,
            name if name.contains("::") => Family::Rustls,
            _ => Family::OpenSsl,
        }
    }

    /// The function's name.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Call::Read => "SSL_read",
            Call::Write => "SSL_write",
            Call::ReadEx => "SSL_read_ex",
            Call::WriteEx => "SSL_write_ex",
            Call::WriteEx2 => "SSL_write_ex2",
            Call::Peek => "SSL_peek",
            Call::PeekEx => "SSL_peek_ex",
            Call::DoHandshake => "SSL_do_handshake",
            Call::Connect => "SSL_connect",
            Call::Accept => "SSL_accept",
            Call::SetFd => "SSL_set_fd",
            Call::SetRfd => "SSL_set_rfd",
            Call::SetWfd => "SSL_set_wfd",
            Call::SetBio => "SSL_set_bio",
            Call::Set0Rbio => "SSL_set0_rbio",
            Call::Set0Wbio => "SSL_set0_wbio",
            Call::Shutdown => "SSL_shutdown",
            Call::Clear => "SSL_clear",
            Call::Free => "SSL_free",
            Call::BioWrite => "BIO_write",
            Call::GnutlsSend => "gnutls_record_send",
            Call::GnutlsSend2 => "gnutls_record_send2",
            Call::GnutlsSendRange => "gnutls_record_send_range",
            Call::GnutlsUncork => "gnutls_record_uncork",
            Call::GnutlsRecv => "gnutls_record_recv",
            Call::GnutlsRecvSeq => "gnutls_record_recv_seq",
            Call::GnutlsHandshake => "gnutls_handshake",
            Call::GnutlsBye => "gnutls_bye",
            Call::GnutlsSetFds => "gnutls_transport_set_int2",
            Call::GnutlsDeinit => "gnutls_deinit",
            Call::NssRecv => "ssl_SecureRecv",
            Call::NssRead => "ssl_SecureRead",
            Call::NssSend => "ssl_SecureSend",
            Call::NssWrite => "ssl_SecureWrite",
            Call::NssImport => "SSL_ImportFD",
            Call::NssClose => "ssl_DefClose",
            Call::GoRead => "crypto/tls.(*Conn).Read",
            Call::GoWrite => "crypto/tls.(*Conn).Write",
            Call::GoClose => "crypto/tls.(*Conn).Close",
            Call::GoClientHandshake => "crypto/tls.(*Conn).clientHandshake",
            Call::GoServerHandshake => "crypto/tls.(*Conn).serverHandshake",
            Call::RustlsWrite => "PlaintextSink::write",
            Call::RustlsWriteVectored => "PlaintextSink::write_vectored",
            Call::RustlsEncrypt => "MessageEncrypter::encrypt",
            Call::RustlsDecrypt => "MessageDecrypter::decrypt",
        }
    }

    /// False for calls of which only the end is wanted, not bytes: there are few of them in a connection.
    #[must_use]
    pub fn moves_bytes(self) -> bool {
        !matches!(
            self,
            Call::Peek
                | Call::PeekEx
                | Call::DoHandshake
                | Call::Connect
                | Call::Accept
                | Call::Shutdown
                | Call::GnutlsHandshake
                | Call::GnutlsBye
                | Call::NssImport
        )
    }

    /// What the probes need of the call. The return is needed where bytes pass, and where socket calls are nested inside.
    #[must_use]
    pub fn wanted(self) -> Wanted<'static> {
        const READ: &[Argument] = &[whole(0), whole(1), int(2)];
        // Lengths of `size_t`, as 64 bits: no library splits more than 4 GiB of one call into records.
        const DATA: &[Argument] = &[whole(0), whole(1), whole(2)];
        const READ_EX: &[Argument] = &[whole(0), whole(1), whole(2), whole(3)];
        const WRITE_EX2: &[Argument] = &[whole(0), whole(1), whole(2), whole(4)];
        const SESSION: &[Argument] = &[whole(0)];
        const SESSION_FD: &[Argument] = &[whole(0), int(1)];
        const SESSION_BIO: &[Argument] = &[whole(0), whole(1)];
        const SESSION_BIOS: &[Argument] = &[whole(0), whole(1), whole(2)];
        // rustls: buffer and length; key, message, and record number. Argument 0 is the connection, or the place for the
        // result.
        const TAKEN: &[Argument] = &[whole(1), whole(2)];
        const RECORD: &[Argument] = &[whole(1), whole(2), whole(3)];
        // NSS: after the buffer its length, and flags.
        const RECV: &[Argument] = &[whole(0), whole(1), int(2), int(3)];
        const WRITTEN: &[Argument] = &[whole(0), whole(1), int(2)];
        let (args, result) = match self {
            Call::BioWrite => (WRITTEN, false),
            Call::Read | Call::Write | Call::Peek => (READ, true),
            Call::NssRead | Call::NssSend | Call::NssWrite => (READ, true),
            Call::NssRecv => (RECV, true),
            Call::NssImport => (&[][..], true),
            Call::NssClose => (SESSION, false),
            Call::ReadEx | Call::WriteEx | Call::PeekEx => (READ_EX, true),
            Call::WriteEx2 => (WRITE_EX2, true),
            Call::GnutlsSend | Call::GnutlsSend2 | Call::GnutlsSendRange | Call::GnutlsRecv | Call::GnutlsRecvSeq => {
                (DATA, true)
            }
            Call::DoHandshake
            | Call::Connect
            | Call::Accept
            | Call::Shutdown
            | Call::GnutlsHandshake
            | Call::GnutlsBye
            | Call::GnutlsUncork => (SESSION, true),
            Call::SetFd | Call::SetRfd | Call::SetWfd | Call::GnutlsSetFds => (SESSION_FD, false),
            Call::SetBio => (SESSION_BIOS, false),
            Call::Set0Rbio | Call::Set0Wbio => (SESSION_BIO, false),
            Call::Clear | Call::Free | Call::GnutlsDeinit => (SESSION, false),
            // Go's calling convention: arguments in rax, rbx, rcx; only the result in rax is needed.
            Call::GoRead | Call::GoWrite | Call::GoClientHandshake | Call::GoServerHandshake => (&[][..], true),
            Call::GoClose => (&[][..], false),
            Call::RustlsWrite | Call::RustlsWriteVectored => (TAKEN, true),
            Call::RustlsEncrypt | Call::RustlsDecrypt => (RECORD, true),
        };
        Wanted { args, result }
    }
}
