//! Words of the flags that say which probes are used. In: an argument or a variable. Out: [`TlsProbe`], [`ReturnProbes`].

use clap::ValueEnum;

/// A family of TLS libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsProbe {
    /// Every one that this version knows.
    All,
    /// None: plain connections only.
    None,
    /// OpenSSL and what shares its interface.
    Openssl,
    /// GnuTLS.
    Gnutls,
    /// NSS.
    Nss,
    /// `crypto/tls` of Go.
    Go,
    /// rustls.
    Rustls,
}

/// When return probes may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReturnProbes {
    /// Where a function has no better site, and this kernel's are safe.
    Auto,
    /// Not at all.
    Never,
}
