//! The version of a TLS library, if it names one. In: its constants, or its soname. Out: text such as `OpenSSL 3.0.19`.

use super::call::Family;

/// The version that a library of `family` names among its constants.
pub(super) fn in_text(family: Family, constants: &[u8]) -> Option<String> {
    match family {
        Family::OpenSsl => openssl(constants),
        Family::GnuTls => numbered("GnuTLS ", constants),
        Family::Nss => nss(constants),
        // Found by other means.
        Family::GoTls | Family::Rustls => None,
    }
}

/// The first `OpenSSL 1.2.3` in the bytes, else the first `LibreSSL 1.2.3`, else `BoringSSL`.
fn openssl(constants: &[u8]) -> Option<String> {
    let named = ["OpenSSL ", "LibreSSL "].into_iter().find_map(|name| numbered(name, constants));
    named.or_else(|| memchr::memmem::find(constants, b"BoringSSL").map(|_| "BoringSSL".to_owned()))
}

/// The first `NAME 1.2.3`. (Error texts contain shorter numbers.)
fn numbered(name: &str, constants: &[u8]) -> Option<String> {
    memchr::memmem::find_iter(constants, name).find_map(|at| {
        let rest = constants.get(at + name.len()..)?;
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
        let number: Vec<u8> = rest.iter().copied().take(32).take_while(is_part).collect();
        let dots = number.iter().filter(|&&byte| byte == b'.').count();
        (number.first().is_some_and(u8::is_ascii_digit) && dots == 2)
            .then(|| format!("{name}{}", String::from_utf8_lossy(&number)))
    })
}

/// The number in `Version: NSS 3.87.1`, whose last part may be missing.
fn nss(constants: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"Version: NSS ";
    let at = memchr::memmem::find(constants, NAME)? + NAME.len();
    let number =
        constants.get(at..)?.iter().copied().take(32).take_while(|byte| byte.is_ascii_digit() || *byte == b'.');
    let number: Vec<u8> = number.collect();
    number.first().is_some_and(u8::is_ascii_digit).then(|| format!("NSS {}", String::from_utf8_lossy(&number)))
}

/// OpenSSL's sonames carry the series: `libssl.so.3`, `libssl.so.1.1`, `libssl-8bd944e8.so.3`. LibreSSL's numbers start at 26.
pub(super) fn of_soname(soname: &str) -> Option<String> {
    let (_, series) = soname.split_once(".so.")?;
    let major = series.split('.').next()?;
    matches!(major, "1" | "3" | "4").then(|| format!("OpenSSL {series}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_text() {
        assert_eq!(openssl(b"x\0OpenSSL library\0OpenSSL 3.0.19 27 Jan 2026\0").as_deref(), Some("OpenSSL 3.0.19"));
        assert_eq!(openssl(b"OpenSSL 1.1.1w  11 Sep 2023").as_deref(), Some("OpenSSL 1.1.1w"));
        assert_eq!(openssl(b"\0LibreSSL 3.8.2\0").as_deref(), Some("LibreSSL 3.8.2"));
        assert_eq!(openssl(b"../BoringSSL/ssl").as_deref(), Some("BoringSSL"));
        assert_eq!(openssl(b"OpenSSL "), None);
        assert_eq!(openssl(b"needs OpenSSL 3.0 or OpenSSL 3.0.13").as_deref(), Some("OpenSSL 3.0.13"));
        assert_eq!(of_soname("libssl-8bd944e8.so.3").as_deref(), Some("OpenSSL 3"));
        assert_eq!(of_soname("libssl.so.1.1").as_deref(), Some("OpenSSL 1.1"));
        assert_eq!(of_soname("libssl-dbe77c63.so.1.1.1g").as_deref(), Some("OpenSSL 1.1.1g"));
        assert_eq!(of_soname("libssl.so.53"), None);
        assert_eq!(of_soname("envoy"), None);
        let gnutls = in_text(Family::GnuTls, b"Enabled GnuTLS 3.7.9 logging...\0");
        assert_eq!(gnutls.as_deref(), Some("GnuTLS 3.7.9"));
        assert_eq!(nss(b"\0NSS_3.2\0Version: NSS 3.87.1\0").as_deref(), Some("NSS 3.87.1"));
        assert_eq!(nss(b"Version: NSS 3.90 Beta").as_deref(), Some("NSS 3.90"));
        assert_eq!(nss(b"Version: NSS "), None);
    }
}
