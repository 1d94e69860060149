//! A request or a response: its head, and a bounded body.

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

/// Text of a field that may be unknown: HPACK refers to table entries that were sent before the probes looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldText {
    /// The bytes as carried.
    Known(Bytes),
    /// A table entry that was never seen. Never guessed.
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
    /// As `network.protocol.version` has it.
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
    /// `:scheme` of HTTP/2, or the scheme of an absolute target. The tap knows whether the channel was TLS.
    pub scheme: Option<String>,
    /// `:authority`, else the absolute target's, else `Host`.
    pub authority: Option<String>,
    /// `:protocol` of an extended CONNECT (RFC 8441 §4): what the stream is to carry.
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

/// A body: as much of it as the limit allowed, and the truth about the rest. Transfer codings (chunked) are removed,
/// content codings (gzip …) are not. Of an exchange told in parts: the piece of the body that this part tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// Offset in the whole body of the first byte told here: 0, but for a later part.
    pub offset: u64,
    /// The kept bytes in order. What is missing lies between them: see `missing`. Empty for WebSocket: its bytes are masked
    /// frames, what they say stands in `messages`.
    pub chunks: Vec<Bytes>,
    /// Size of the whole body as carried so far, kept or not, told here or before; when a hole's length is unknown, a lower
    /// bound.
    pub size: u64,
    /// True when bytes past the body limit were left out: the kept bytes are then a prefix (but for `missing`).
    pub truncated: bool,
    /// True when bytes were not kept, or let go, because no level and no rule wanted them.
    pub unwanted: bool,
    /// Ranges of the body (offsets in the body as carried) that were lost before they could be kept.
    pub missing: Vec<Range<u64>>,
    /// The messages it carries, where it is a stream of messages (gRPC, WebSocket).
    pub messages: Option<Box<Messages>>,
    /// What was taken out of the kept bytes before they may be seen.
    pub redaction: Redaction,
}

/// What redaction did to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Redaction {
    /// Values that something else stands for, or that were left out, because they were found.
    pub values: u64,
    /// Why bytes were left out that might have held some; none: all were looked through.
    pub left_out: Option<LeftOut>,
}

impl Redaction {
    /// Takes in what was done to another part of the body.
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

/// Why bytes of a body were left out: nobody can say that nothing in them must not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOut {
    /// They are not what their media type says.
    Unparsed,
    /// Their content coding is not known, or could not be undone.
    Undecoded,
    /// They are coded, and hold what was taken out of what they decode to.
    Coded,
    /// They come after a hole.
    Hole,
    /// They stand at the end of what was kept, and may be the beginning of a secret.
    Cut,
    /// They are text in an encoding that is not looked through.
    Charset,
    /// One value, or line, is longer than is held of it while its end has not come.
    TooLong,
    /// What came before them, in an earlier part, is not known any more.
    Untracked,
    /// They are shown message by message.
    Messages,
}

impl LeftOut {
    /// As documents have it.
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
    /// Bytes kept.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.chunks.iter().map(|c| c.len() as u64).sum()
    }

    /// True when every byte of the body is here.
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
