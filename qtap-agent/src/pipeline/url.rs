//! The target URI of a request (RFC 9110 §7.1, RFC 9112 §3.3). In: its target, authority and connection, already redacted. Out:
//! `url.full`, `url.scheme`, `url.path`, `url.query`.

use std::sync::Arc;

use crate::model::message::Request;
use crate::model::record::Address;

/// The URL of a request, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Url {
    pub(super) full: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) path: Option<Arc<str>>,
    pub(super) query: Option<String>,
}

/// The four forms of a request target (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Origin,
    Absolute,
    Authority,
    Asterisk,
}

fn form(request: &Request, target: &str) -> Form {
    if target == "*" {
        Form::Asterisk
    } else if target.starts_with('/') {
        Form::Origin
    } else if request.method.as_deref() == Some("CONNECT") {
        Form::Authority
    } else if target.contains("://") {
        Form::Absolute
    } else {
        Form::Origin
    }
}

/// The URL of `request`; `secure`: the connection uses TLS; `server`: the address to use for a request without an authority.
pub(super) fn of(request: &Request, secure: bool, server: Option<&Address>) -> Url {
    let Some(target) = request.target.as_deref() else {
        return Url { scheme: request.scheme.clone(), ..Url::default() };
    };
    let form = form(request, target);
    if form == Form::Absolute {
        let (scheme, rest) = target.split_once("://").unwrap_or(("", target));
        let (path, query) = split(rest.find(['/', '?', '#']).map_or("", |at| rest.get(at..).unwrap_or("")));
        return Url { full: Some(target.to_owned()), scheme: Some(scheme.to_ascii_lowercase()), path, query };
    }
    let scheme = request.scheme.clone().unwrap_or_else(|| if secure { "https" } else { "http" }.to_owned());
    let named = if form == Form::Authority { Some(target) } else { request.authority.as_deref() };
    let authority = named.filter(|a| !a.is_empty()).map(str::to_owned).or_else(|| server_authority(server, &scheme));
    // RFC 9112 §3.3: in authority and asterisk form, path and query of the target URI are empty.
    let rest = if form == Form::Origin { target } else { "" };
    let (path, query) = split(rest);
    let slash = if rest.is_empty() || rest.starts_with('/') { "" } else { "/" };
    Url {
        full: authority.map(|authority| [&scheme, "://", &authority, slash, rest].concat()),
        scheme: Some(scheme),
        path,
        query,
    }
}

/// The path of a request's target, if it has one.
pub(super) fn path_of(request: &Request) -> Option<&str> {
    let target = request.target.as_deref()?;
    let rest = match form(request, target) {
        Form::Origin => target,
        Form::Absolute => {
            let (_, rest) = target.split_once("://")?;
            rest.find(['/', '?', '#']).and_then(|at| rest.get(at..))?
        }
        Form::Authority | Form::Asterisk => return None,
    };
    let end = memchr::memchr2(b'?', b'#', rest.as_bytes()).unwrap_or(rest.len());
    rest.get(..end).filter(|path| !path.is_empty())
}

/// The scheme of a request, as in [`of`]; `None` when it depends on the connection, and nothing is known about that.
pub(super) fn scheme_of(request: &Request, secure: Option<bool>) -> Option<&str> {
    let target = request.target.as_deref()?;
    if form(request, target) == Form::Absolute && request.scheme.is_none() {
        return target.split_once("://").map(|(scheme, _)| scheme);
    }
    request.scheme.as_deref().or_else(|| Some(if secure? { "https" } else { "http" }))
}

/// Path and query after the authority; a fragment, which is not allowed in a target, belongs to neither.
fn split(rest: &str) -> (Option<Arc<str>>, Option<String>) {
    let rest = rest.split('#').next().unwrap_or(rest);
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ((!path.is_empty()).then(|| Arc::from(path)), query.and_then(some))
}

/// The server's address as an authority (RFC 3986 §3.2.2), without the scheme's default port.
fn server_authority(server: Option<&Address>, scheme: &str) -> Option<String> {
    let Some(Address::Inet(ip, port)) = server else { return None };
    let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    Some(match (scheme, port) {
        ("http", 80) | ("https", 443) => host,
        _ => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::{Body, Fields, Version};
    use crate::model::time::KernelTime;

    fn request(method: &str, target: &str, authority: Option<&str>) -> Request {
        Request {
            method: Some(method.to_owned()),
            target: Some(target.to_owned()),
            scheme: None,
            authority: authority.map(str::to_owned),
            protocol: None,
            version: Version::Http11,
            fields: Fields::default(),
            body: Body::default(),
            trailers: Fields::default(),
            started: KernelTime(0),
            ended: None,
        }
    }

    fn parts(url: &Url) -> (&str, &str, &str, &str) {
        let text = |part: &Option<String>| part.as_deref().map_or("-", |t| Box::leak(t.to_owned().into_boxed_str()));
        let path = url.path.as_deref().map(str::to_owned);
        (text(&url.full), text(&url.scheme), text(&path), text(&url.query))
    }

    /// The examples of RFC 9112 §3.2 and §3.3.
    #[test]
    fn the_four_forms_are_those_of_rfc_9112() {
        let origin = of(&request("GET", "/where?q=now", Some("www.example.org")), false, None);
        assert_eq!(parts(&origin), ("http://www.example.org/where?q=now", "http", "/where", "q=now"));
        let absolute = of(&request("GET", "http://www.example.org/pub/WWW/TheProject.html", Some("proxy")), true, None);
        let full = "http://www.example.org/pub/WWW/TheProject.html";
        assert_eq!(parts(&absolute), (full, "http", "/pub/WWW/TheProject.html", "-"));
        let connect = of(&request("CONNECT", "www.example.com:80", Some("www.example.com:80")), false, None);
        assert_eq!(parts(&connect), ("http://www.example.com:80", "http", "-", "-"));
        let options = of(&request("OPTIONS", "*", Some("www.example.org:8001")), true, None);
        assert_eq!(parts(&options), ("https://www.example.org:8001", "https", "-", "-"));
    }

    /// RFC 3986 §3.1: schemes are case-insensitive, and their canonical form is lower case.
    #[test]
    fn a_scheme_is_in_lower_case() {
        let asked = request("GET", "HTTP://Example.org/A", None);
        assert_eq!(parts(&of(&asked, false, None)), ("HTTP://Example.org/A", "http", "/A", "-"));
        let asked = Request { scheme: Some("http".to_owned()), ..asked };
        assert_eq!(scheme_of(&asked, None), Some("http"));
    }

    #[test]
    fn a_request_without_authority_goes_by_the_servers_address() {
        let v4 = Address::Inet([192, 0, 2, 1].into(), 8080);
        let url = of(&request("GET", "/", None), false, Some(&v4));
        assert_eq!(parts(&url), ("http://192.0.2.1:8080/", "http", "/", "-"));
        let v6 = Address::Inet("2001:db8::1".parse().unwrap_or_else(|_| [0; 16].into()), 443);
        assert_eq!(parts(&of(&request("GET", "/", None), true, Some(&v6))).0, "https://[2001:db8::1]/");
        let unix = Address::Unix("/run/docker.sock".to_owned());
        assert_eq!(parts(&of(&request("GET", "/v1/info", None), false, Some(&unix))), ("-", "http", "/v1/info", "-"));
    }

    #[test]
    fn odd_targets_stay_what_they_are() {
        let query_only = of(&request("GET", "http://a?b#c", None), false, None);
        assert_eq!(parts(&query_only), ("http://a?b#c", "http", "-", "b"));
        let no_slash = of(&request("GET", "index.html?x", Some("a")), false, None);
        assert_eq!(parts(&no_slash), ("http://a/index.html?x", "http", "index.html", "x"));
        let mut unknown = request("GET", "/", None);
        unknown.target = None;
        assert_eq!(of(&unknown, true, None), Url::default());
    }
}
