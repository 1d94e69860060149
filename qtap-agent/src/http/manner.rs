//! How the end of a body is announced, and hence how the body is reported. In: a head's fields. Out: the manner. It keeps no state.
//!
//! | body | reported |
//! |---|---|
//! | `Content-Length`, or no body | at the end of its exchange |
//! | chunked, until the connection closes, HTTP/2 without `content-length` | the same; in parts once it takes longer than the interval |
//! | the same with a media type that may never end, or WebSocket | in parts, by time and by size |
//! | either of the first two, grown large, if that is configured | in pieces that are reassembled downstream: `parts` |

use crate::model::message::Fields;

/// How a body is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Manner {
    /// Its length was declared, or there is no body.
    #[default]
    Declared,
    /// Its length was not declared.
    Undeclared,
    /// Its length was not declared, and its type may never end.
    Streamed,
}

/// Media types, besides gRPC's, of bodies that may never end.
const STREAMED: [&str; 9] = [
    "text/event-stream",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json-seq",
    "application/stream+json",
    "application/json-stream",
    "multipart/x-mixed-replace",
];

/// What a content type says about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Media {
    /// `application/grpc…`: gRPC or gRPC-Web.
    pub(super) grpc: bool,
    /// Length-prefixed messages as in gRPC over HTTP/2.
    pub(super) grpc_messages: bool,
    streamed: bool,
}

impl Media {
    /// Reads `Content-Type`.
    pub(super) fn of(fields: &Fields) -> Media {
        let Some(value) = fields.get("content-type") else { return Media::default() };
        let essence = value.split(';').next().unwrap_or_default().trim();
        let rest = match essence.get(..16) {
            Some(start) if start.eq_ignore_ascii_case("application/grpc") => essence.get(16..),
            Some(_) | None => None,
        };
        let streamed = rest.is_some() || STREAMED.iter().any(|media| essence.eq_ignore_ascii_case(media));
        Media {
            grpc: rest.is_some(),
            grpc_messages: rest.is_some_and(|r| r.is_empty() || r.starts_with('+')),
            streamed,
        }
    }

    /// How a body of this type without a declared length is reported.
    pub(super) fn without_length(self) -> Manner {
        if self.streamed { Manner::Streamed } else { Manner::Undeclared }
    }
}

/// How the body after an HTTP/2 head is reported (RFC 9113 §8.1.1); `ends`: there is none.
pub(super) fn of_stream(fields: &Fields, media: Media, ends: bool) -> Manner {
    if ends || fields.get("content-length").is_some() { Manner::Declared } else { media.without_length() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::message::{Field, FieldText};

    fn fields(list: &[(&'static str, &'static str)]) -> Fields {
        let text = |t: &'static str| FieldText::Known(Bytes::from_static(t.as_bytes()));
        Fields(list.iter().map(|(n, v)| Field { name: text(n), value: text(v) }).collect())
    }

    #[test]
    fn media_types() {
        for (value, grpc, messages, manner) in [
            ("text/event-stream; charset=utf-8", false, false, Manner::Streamed),
            ("Text/Event-Stream", false, false, Manner::Streamed),
            ("application/x-ndjson", false, false, Manner::Streamed),
            ("application/json-seq", false, false, Manner::Streamed),
            ("multipart/x-mixed-replace;boundary=frame", false, false, Manner::Streamed),
            ("application/grpc", true, true, Manner::Streamed),
            ("application/grpc+proto", true, true, Manner::Streamed),
            ("application/grpc;x=y", true, true, Manner::Streamed),
            ("application/grpc-web+proto", true, false, Manner::Streamed),
            ("application/json", false, false, Manner::Undeclared),
            ("", false, false, Manner::Undeclared),
        ] {
            let media = Media::of(&fields(&[("content-type", value)]));
            assert_eq!((media.grpc, media.grpc_messages, media.without_length()), (grpc, messages, manner), "{value}");
        }
        assert_eq!(Media::of(&fields(&[])).without_length(), Manner::Undeclared);
    }

    #[test]
    fn a_declared_length_is_one_whatever_the_type() {
        let sized = fields(&[("content-type", "text/event-stream"), ("content-length", "10")]);
        assert_eq!(of_stream(&sized, Media::of(&sized), false), Manner::Declared);
        let open = fields(&[("content-type", "text/event-stream")]);
        assert_eq!(of_stream(&open, Media::of(&open), false), Manner::Streamed);
        assert_eq!(of_stream(&open, Media::of(&open), true), Manner::Declared);
    }
}
