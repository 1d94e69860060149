//! The proxy between qtap and a store, if the environment names one. In: settings and a destination. Out: the proxy to use, and a tunnel through
//! it (`CONNECT`, RFC 9110 §9.3.6). Connections to a store on this host never go through a proxy. The user name and password of a proxy
//! are sent only to it and never shown.

use std::io;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::auth;
use super::settings::{ProxySettings, Secret};

/// Maximum size of a proxy's answer to `CONNECT`, in bytes.
const ANSWER_BYTES: usize = 8 << 10;
/// Maximum number of header fields in that answer.
const ANSWER_FIELDS: usize = 64;
/// Default port of a proxy (as in curl).
const PROXY_PORT: u16 = 1080;

/// Why a proxy can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The variable does not hold an address.
    #[error("{0} is no address of a proxy: http://host:port")]
    Malformed(&'static str),
    /// qtap supports neither TLS to a proxy nor SOCKS.
    #[error("{0}: a proxy is reached over http://, not {1}://")]
    Scheme(&'static str, String),
    /// The proxy refused. 407 asks for credentials (RFC 9110 §15.5.8).
    #[error("the proxy {0} does not connect us: {1}")]
    Refused(String, u16),
    /// The proxy's answer is not HTTP.
    #[error("the proxy {0} does not answer in HTTP/1: is it a proxy?")]
    Unreadable(String),
    /// The proxy closed the connection.
    #[error("the proxy {0} closed the connection without an answer")]
    Closed(String),
}

/// A proxy to connect through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `Proxy-Authorization`, marked sensitive.
    pub authorization: Option<HeaderValue>,
}

impl Via {
    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The proxy for `target`, if any, by the scheme of `target`; none if the target is on this host or `no_proxy` matches it.
///
/// # Errors
/// When there is a proxy for the target but it can't be used.
pub fn via(settings: &ProxySettings, target: &Url) -> Result<Option<Via>, ProxyError> {
    let (variable, given) = match target.scheme() {
        "https" => ("HTTPS_PROXY", &settings.https),
        _ => ("HTTP_PROXY", &settings.http),
    };
    let Some(given) = given else { return Ok(None) };
    if on_this_host(target) || excepted(&settings.no_proxy, target) {
        return Ok(None);
    }
    parse(variable, given).map(Some)
}

fn on_this_host(target: &Url) -> bool {
    match target.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Matches names (with their subdomains), addresses, CIDR ranges and `*`, as curl does.
fn excepted(no_proxy: &str, target: &Url) -> bool {
    let all = Matcher::builder().all("http://proxy.invalid").no(no_proxy.to_owned()).build();
    target.as_str().parse::<Uri>().is_ok_and(|uri| all.intercept(&uri).is_none())
}

fn parse(variable: &'static str, given: &Secret) -> Result<Via, ProxyError> {
    let text = given.reveal();
    let full = if text.contains("://") { text } else { zeroize::Zeroizing::new(format!("http://{}", text.as_str())) };
    let url = Url::parse(&full).map_err(|_| ProxyError::Malformed(variable))?;
    if url.scheme() != "http" {
        return Err(ProxyError::Scheme(variable, url.scheme().to_owned()));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(ProxyError::Malformed(variable))?;
    // `Url` drops a port that is its scheme's default.
    let port = url.port().unwrap_or(if full.trim_end_matches('/').ends_with(":80") { 80 } else { PROXY_PORT });
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let authorization = if url.username().is_empty() {
        None
    } else {
        let value = auth::basic(&decoded(url.username()), &decoded(url.password().unwrap_or_default()));
        let mut value = HeaderValue::from_str(&value).map_err(|_| ProxyError::Malformed(variable))?;
        value.set_sensitive(true);
        Some(value)
    };
    Ok(Via { host: host.trim_matches(['[', ']']).to_owned(), port, authorization })
}

/// Asks the proxy at the other end of `stream` for a tunnel to `authority` (`host:port`). Bytes after the proxy's answer come from the peer
/// and stay unread.
///
/// # Errors
/// A [`ProxyError`] inside the error, when the proxy refuses.
pub async fn tunnel<S>(stream: &mut S, authority: &str, via: &Via) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(value) = &via.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut answer = Vec::with_capacity(256);
    // Read byte by byte: a server that speaks first may send bytes right after the answer.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= ANSWER_BYTES {
            return Err(io::Error::other(ProxyError::Unreadable(via.name())));
        }
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(io::Error::other(ProxyError::Closed(via.name())));
            }
            Err(error) => return Err(error),
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; ANSWER_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    match (head.parse(&answer), head.code) {
        (Ok(_), Some(200..=299)) => Ok(()),
        (Ok(_), Some(code)) => Err(io::Error::other(ProxyError::Refused(via.name(), code))),
        (Ok(_), None) | (Err(_), _) => Err(io::Error::other(ProxyError::Unreadable(via.name()))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn settings(proxy: &str, no_proxy: &str) -> ProxySettings {
        let proxy = Some(Secret::text(proxy));
        ProxySettings { http: proxy.clone(), https: proxy, no_proxy: no_proxy.to_owned() }
    }

    fn found(proxy: &str, no_proxy: &str, target: &str) -> Result<Option<Via>, ProxyError> {
        via(&settings(proxy, no_proxy), &Url::parse(target).unwrap())
    }

    #[test]
    fn proxies_as_people_write_them() {
        for (text, name, authorization) in [
            ("http://proxy:3128", "proxy:3128", None),
            ("proxy:3128", "proxy:3128", None),
            ("http://proxy:80/", "proxy:80", None),
            ("http://proxy", "proxy:1080", None),
            ("http://[::1]:3128", "[::1]:3128", None),
            ("http://Aladdin:open%20sesame@proxy:1", "proxy:1", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ] {
            let found = found(text, "", "https://h:1/").unwrap().unwrap();
            assert_eq!(found.name(), name, "{text}");
            assert_eq!(found.authorization.as_ref().map(|value| value.to_str().unwrap()), authorization, "{text}");
            assert!(!format!("{found:?}").contains("QWx"), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_named_by_its_variable_alone() {
        assert_eq!(found("http://u:hunter2@:x", "", "https://h/"), Err(ProxyError::Malformed("HTTPS_PROXY")));
        assert_eq!(found("socks5://p", "", "http://h/"), Err(ProxyError::Scheme("HTTP_PROXY", "socks5".into())));
        assert_eq!(found("https://p", "", "http://h/"), Err(ProxyError::Scheme("HTTP_PROXY", "https".into())));
    }

    #[test]
    fn who_is_not_sent_through_it() {
        for (no_proxy, target, proxied) in [
            ("", "https://collector:4317/", true),
            ("", "https://localhost:4317/", false),
            ("", "https://127.0.0.1:4317/", false),
            ("", "https://127.1.2.3:4317/", false),
            ("", "https://[::1]:4317/", false),
            ("", "https://10.0.0.1:4317/", true),
            ("example.com", "https://example.com/", false),
            ("example.com", "https://otlp.example.com/", false),
            (".example.com", "https://otlp.example.com/", false),
            ("example.com", "https://notexample.com/", true),
            ("a, b ,c", "https://b/", false),
            ("10.0.0.0/8", "https://10.1.2.3/", false),
            ("10.0.0.0/8", "https://11.1.2.3/", true),
            ("10.0.0.1", "https://10.0.0.1/", false),
            ("fd00::/8", "https://[fd00::1]/", false),
            ("*", "https://anything/", false),
        ] {
            assert_eq!(found("http://p:1", no_proxy, target).unwrap().is_some(), proxied, "{no_proxy} {target}");
        }
        let only_http = ProxySettings { https: None, ..settings("http://p:1", "") };
        assert_eq!(via(&only_http, &Url::parse("https://h/").unwrap()), Ok(None));
        assert!(via(&only_http, &Url::parse("http://h/").unwrap()).unwrap().is_some());
    }

    /// Possible answers of a proxy, and the bytes that stay unread after them.
    #[tokio::test]
    async fn tunnels() {
        let via = Via { host: "p".into(), port: 1, authorization: Some(HeaderValue::from_static("Basic eA==")) };
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\n\r\nrest", None),
            ("HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\nrest", None),
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Some(ProxyError::Refused("p:1".into(), 407))),
            ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Some(ProxyError::Refused("p:1".into(), 502))),
            ("SSH-2.0\r\n\r\n", Some(ProxyError::Unreadable("p:1".into()))),
            ("HTTP/1.1 200", Some(ProxyError::Closed("p:1".into()))),
            ("", Some(ProxyError::Closed("p:1".into()))),
        ] {
            let (mut near, mut far) = tokio::io::duplex(4096);
            far.write_all(answer.as_bytes()).await.unwrap();
            if !answer.ends_with("rest") {
                far.shutdown().await.unwrap();
            }
            let result = tunnel(&mut near, "h:4317", &via).await;
            match want {
                None => {
                    result.unwrap();
                    let mut rest = [0; 4];
                    near.read_exact(&mut rest).await.unwrap();
                    assert_eq!(&rest, b"rest");
                }
                Some(want) => {
                    let error = result.unwrap_err();
                    assert_eq!(error.get_ref().unwrap().downcast_ref::<ProxyError>(), Some(&want), "{answer}");
                }
            }
            let mut asked = vec![0; 256];
            let read = far.read(&mut asked).await.unwrap();
            let want = "CONNECT h:4317 HTTP/1.1\r\nHost: h:4317\r\nProxy-Authorization: Basic eA==\r\n\r\n";
            assert_eq!(String::from_utf8_lossy(&asked[..read]), want);
        }
        let (mut near, mut far) = tokio::io::duplex(32 << 10);
        far.write_all(&[b'x'; 9000]).await.unwrap();
        assert!(tunnel(&mut near, "h:1", &via).await.unwrap_err().to_string().contains("is it a proxy?"));
    }
}
