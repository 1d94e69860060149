//! A request or a response: its head, and a body of bounded size.

use std::ops::Range;

use bytes::Bytes;

use super::messages::Messages;
use super::time::KernelTime;

/// One header field, as it was sent; order and repetition are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Field name: as written for HTTP/1, lower case for HTTP/2.
    pub name: FieldText,
    /// Field value, without surrounding white space.
    pub value: FieldText,
}

impl Field {
    /// True when the name is known and is `name`, in any case.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name.bytes().is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// Text of a field that may be unknown: HPACK may refer to table entries that were sent before capture began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldText {
    /// The bytes as carried.
    Known(Bytes),
    /// Refers to a table entry that was never seen. Never guessed.
    Unknown,
}

impl FieldText {
    /// The bytes, where known.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            FieldText::Known(bytes) => Some(bytes),
            FieldText::Unknown => None,
        }
    }

    /// The text, where known and UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.bytes().and_then(|b| std::str::from_utf8(b).ok())
    }
}

/// Header or trailer fields in the order they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(pub Vec<Field>);

impl Fields {
    /// The first value of the field `name` (case-insensitive) that is known and UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().filter(|field| field.is_named(name)).find_map(|field| field.value.text())
    }

    /// All known UTF-8 values of the field `name` (case-insensitive), in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |field| field.is_named(name)).filter_map(|field| field.value.text())
    }
}

/// The version a message was sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// The value of `network.protocol.version`.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method token as sent; none when its HPACK entry is unknown.
    pub method: Option<String>,
    /// Request target as sent: origin form, absolute form, authority form or `*`; `:path` for HTTP/2.
    pub target: Option<String>,
    /// `:scheme` of HTTP/2, or the scheme of an absolute target, in lower case (RFC 3986 §3.1). The tap knows whether the channel was TLS.
    pub scheme: Option<String>,
    /// `:authority`, else the absolute target's, else `Host`.
    pub authority: Option<String>,
    /// `:protocol` of an extended CONNECT (RFC 8441 §4): the protocol that the stream will carry.
    pub protocol: Option<String>,
    /// Version.
    pub version: Version,
    /// Header fields, without pseudo-header fields.
    pub fields: Fields,
    /// Body.
    pub body: Body,
    /// Trailer fields.
    pub trailers: Fields,
    /// When its first byte was seen.
    pub started: KernelTime,
    /// When its last byte was seen; none while unfinished.
    pub ended: Option<KernelTime>,
}

/// A final response (1xx answers before it are counted in [`Response::informational`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code; none when its HPACK entry is unknown.
    pub status: Option<u16>,
    /// Reason phrase (HTTP/1 only), empty when none was sent.
    pub reason: Bytes,
    /// Status codes of the informational responses that came before, in order (at most 16 are kept).
    pub informational: Vec<u16>,
    /// Version.
    pub version: Version,
    /// Header fields, without pseudo-header fields.
    pub fields: Fields,
    /// Body.
    pub body: Body,
    /// Trailer fields.
    pub trailers: Fields,
    /// When its first byte was seen.
    pub started: KernelTime,
    /// When its last byte was seen; none while unfinished.
    pub ended: Option<KernelTime>,
}

/// A body: as much of it as the limit allowed, and what is known of the rest. Transfer codings (chunked) are removed,
/// content codings (gzip …) are not. In an exchange reported in parts: the piece of the body that belongs to this part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// Offset in the whole body of the first byte reported here; 0 except in later parts.
    pub offset: u64,
    /// The kept bytes, in order. Missing bytes belong between them: see `missing`. Empty for WebSocket, whose bytes are masked
    /// frames: their content is in `messages`.
    pub chunks: Vec<Bytes>,
    /// Size of the whole body as carried so far, whether or not kept, in this part or earlier ones. A lower bound when the length of a
    /// hole is unknown.
    pub size: u64,
    /// True when bytes beyond the body limit were left out: the kept bytes are then a prefix (except for `missing`).
    pub truncated: bool,
    /// True when bytes were not kept, or were released, because no level and no rule wanted them.
    pub unwanted: bool,
    /// Ranges of the body (offsets in the body as carried) that were lost before they could be kept.
    pub missing: Vec<Range<u64>>,
    /// The messages it carries, when it is a stream of messages (gRPC, WebSocket).
    pub messages: Option<Box<Messages>>,
    /// What redaction removed from the kept bytes.
    pub redaction: Redaction,
}

/// What redaction did to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Redaction {
    /// Number of values that redaction replaced or removed.
    pub values: u64,
    /// Why bytes that might have held such values were left out; none when everything was searched.
    pub left_out: Option<LeftOut>,
}

impl Redaction {
    /// Adds what was done to another part of the body.
    pub fn merge(&mut self, other: Redaction) {
        self.values += other.values;
        self.left_out = self.left_out.or(other.left_out);
    }

    /// True when nothing was changed.
    #[must_use]
    pub fn is_clean(self) -> bool {
        self == Redaction::default()
    }
}

/// Why bytes of a body were left out: they could not be checked for secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOut {
    /// They do not match their media type.
    Unparsed,
    /// Their content coding is not known, or could not be decoded.
    Undecoded,
    /// They are encoded, and something was redacted from what they decode to.
    Coded,
    /// They come after a hole.
    Hole,
    /// They are at the end of the kept bytes, and may be the beginning of a secret.
    Cut,
    /// They are text in an encoding that redaction cannot search.
    Charset,
    /// A single value or line exceeds the limit on what is held before its end arrives.
    TooLong,
    /// The state of the preceding bytes, in an earlier part, is no longer known.
    Untracked,
    /// They are shown message by message instead.
    Messages,
}

impl LeftOut {
    /// The name used in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LeftOut::Unparsed => "unparsed",
            LeftOut::Undecoded => "undecoded",
            LeftOut::Coded => "coded",
            LeftOut::Hole => "hole",
            LeftOut::Cut => "cut",
            LeftOut::Charset => "charset",
            LeftOut::TooLong => "too_long",
            LeftOut::Untracked => "untracked",
            LeftOut::Messages => "messages",
        }
    }
}

impl Body {
    /// Number of bytes kept.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.chunks.iter().map(|c| c.len() as u64).sum()
    }

    /// True when no byte of the body was cut off at the limit or lost.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.truncated && self.missing.is_empty()
    }

    /// The kept bytes as one piece; copies only when there are several chunks.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut all = Vec::with_capacity(many.iter().map(Bytes::len).sum());
                for chunk in many {
                    all.extend_from_slice(chunk);
                }
                all.into()
            }
        }
    }
}

/// The host of an authority, without userinfo and port (RFC 3986 §3.2).
#[must_use]
pub fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(literal) = host.strip_prefix('[') {
        return literal.split_once(']').map_or(host, |(ip, _)| ip);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_authority_has_no_port_and_no_userinfo() {
        for (authority, wanted) in [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            ("u:p@example.com:8080", "example.com"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("", ""),
            ("a:b", "a:b"),
        ] {
            assert_eq!(host_of(authority), wanted);
        }
    }
}
