//! One stream of an HTTP/2 connection (RFC 9113 §8.1): an exchange. In: decoded header blocks. Out: the head of the request or the
//! response, its trailers, and what of them is unknown.

use bytes::Bytes;

use super::content::Content;
use super::reset::Reset;
use crate::http::Sink;
use crate::http::h1::{length_of_request, length_of_response};
use crate::http::hpack::Decoded;
use crate::http::manner::{Manner, Media, of_stream};
use crate::http::messages::websockets;
use crate::http::pair::{self, Desk, Open, Stamp};
use crate::http::parts::Way;
use crate::model::conn::Protocol;
use crate::model::exchange::Incomplete;
use crate::model::loss::Loss;
use crate::model::message::{Body, Field, FieldText, Fields, Request, Response, Version};
use crate::model::time::KernelTime;

/// A stream that is open, or whose other half may still come.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) open: Open,
    /// Since when one half is whole and nothing is known of the other.
    pub(super) waits_since: Option<KernelTime>,
    /// A direction lost its place while the stream was open: the end of the message may have been lost.
    pub(super) end_may_be_lost: bool,
    /// A reset received recently: the record of what was being sent then may still arrive.
    pub(super) reset: Option<Reset>,
    /// Per direction: the stream is listed to be marked when the direction loses its place.
    pub(super) is_exposed: [bool; 2],
    /// Declared length and arrived octets of the request's and the response's content.
    request_content: Content,
    response_content: Content,
}

/// A decoded header block, with pseudo-header fields (RFC 9113 §8.3) separated from the others.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) scheme: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) fields: Fields,
    /// Size of the whole block.
    pub(super) size: usize,
    /// Why it is incomplete.
    pub(super) fault: Option<Incomplete>,
}

impl Section {
    pub(super) fn new(decoded: Decoded) -> Section {
        let mut section = Section { fault: fault(&decoded), size: decoded.size, ..Section::default() };
        let is_pseudo = |field: &Field| field.name.bytes().is_some_and(|name| name.first() == Some(&b':'));
        let mut fields = decoded.fields;
        // Pseudo-header fields come first, so one pass over the front suffices for well-formed blocks.
        let pseudo = fields.iter().take_while(|field| is_pseudo(field)).count();
        let rest = fields.split_off(pseudo);
        fields.iter().for_each(|field| section.take_pseudo(field));
        section.fields = Fields(rest);
        if section.fields.0.iter().any(is_pseudo) {
            let (late, regular) = section.fields.0.drain(..).partition::<Vec<_>, _>(is_pseudo);
            late.iter().for_each(|field| section.take_pseudo(field));
            section.fields = Fields(regular);
        }
        section
    }

    fn take_pseudo(&mut self, field: &Field) {
        // As a start line of HTTP/1 is read: what is no UTF-8 is ISO-8859-1.
        let of_one_octet = |value: &[u8]| value.iter().map(|octet| char::from(*octet)).collect::<String>();
        let read = |value: &Bytes| std::str::from_utf8(value).map_or_else(|_| of_one_octet(value), str::to_owned);
        let text = || field.value.bytes().map(read);
        match field.name.bytes().map_or(&b""[..], |name| name) {
            b":method" => self.method = text(),
            b":path" => self.path = text(),
            b":scheme" => self.scheme = text().map(|scheme| scheme.to_ascii_lowercase()),
            b":authority" => self.authority = text(),
            b":protocol" => self.protocol = text(),
            b":status" => self.status = field.value.text().and_then(|value| value.parse().ok()),
            _ => {}
        }
    }

    /// True if it can only belong to a request.
    pub(super) fn is_request(&self) -> bool {
        self.method.is_some() || self.path.is_some() || self.scheme.is_some() || self.authority.is_some()
    }

    /// True if it is certainly not a head: all of it is known, and it has no pseudo-header field.
    pub(super) fn is_trailers(&self) -> bool {
        !self.is_request() && self.status.is_none() && self.fault.is_none()
    }

    fn into_request(self, stamp: Stamp) -> Request {
        // RFC 9113 §8.5: the target of a CONNECT is its authority alone.
        let is_tunnel = self.method.as_deref() == Some("CONNECT") && self.protocol.is_none() && self.fault.is_none();
        let mut request = Request {
            target: self.path.or_else(|| self.authority.clone().filter(|_| is_tunnel)),
            method: self.method,
            scheme: self.scheme,
            authority: self.authority,
            protocol: self.protocol,
            version: Version::Http2,
            fields: self.fields,
            body: Body::default(),
            trailers: Fields::default(),
            started: stamp.time,
            ended: None,
        };
        if request.authority.is_none() {
            request.authority = pair::host(&request);
        }
        request
    }

    fn into_response(self, stamp: Stamp) -> Response {
        Response {
            status: self.status,
            reason: Bytes::new(),
            informational: Vec::new(),
            version: Version::Http2,
            fields: self.fields,
            body: Body::default(),
            trailers: Fields::default(),
            started: stamp.time,
            ended: None,
        }
    }
}

fn fault(decoded: &Decoded) -> Option<Incomplete> {
    if decoded.broken {
        return Some(Incomplete::Unparsed);
    }
    if decoded.cut {
        return Some(Incomplete::Limit);
    }
    let unknown = |field: &Field| field.name == FieldText::Unknown || field.value == FieldText::Unknown;
    (decoded.unknown || decoded.fields.iter().any(unknown)).then_some(Incomplete::FieldsUnknown)
}

impl Stream {
    pub(super) fn new(ordinal: u64, outgoing: bool, stamp: Stamp) -> Stream {
        Stream::of(Open::new(Protocol::Http2, ordinal, outgoing, stamp.pid))
    }

    /// Continues an exchange in progress as a stream.
    pub(super) fn of(open: Open) -> Stream {
        Stream {
            open,
            waits_since: None,
            end_may_be_lost: false,
            reset: None,
            is_exposed: [false; 2],
            request_content: Content::default(),
            response_content: Content::default(),
        }
    }

    /// Processes a header block of the request, head or trailers. Its first octet arrived at `stamp`; if the request ends with it, its
    /// last octet arrived at `ended`. True if it is the head of a gRPC call.
    pub(super) fn request_block(&mut self, section: Section, stamp: Stamp, ended: Option<KernelTime>) -> bool {
        if self.has_ended(Way::Request) {
            return false;
        }
        if let Some(fault) = section.fault {
            self.open.spoil(fault);
        }
        let (mut trailers, mut media) = (Fields::default(), Media::default());
        let headed =
            self.open.exchange.request.as_ref().is_some_and(|r| r.method.is_some() || section.method.is_none());
        if headed {
            trailers = section.fields;
        } else if section.is_trailers() {
            self.blank_request(stamp);
            trailers = section.fields;
        } else {
            media = Media::of(&section.fields);
            self.open.begin_request_body(of_stream(&section.fields, media, ended.is_some()), stamp.time);
            if media.grpc_messages {
                self.open.request_body.read_grpc();
            }
            self.request_content.declare(length_of_request(&section.fields), stamp.time);
            self.open.exchange.request = Some(section.into_request(stamp));
            self.open.exchange.pid = stamp.pid;
        }
        if let Some(time) = ended {
            self.open.end_request(trailers, time);
        } else if headed {
            // Trailers that do not end the stream are malformed (RFC 9113 §8.1).
            self.open.spoil(Incomplete::Unparsed);
        }
        self.note_grpc(media)
    }

    fn note_grpc(&mut self, media: Media) -> bool {
        if media.grpc {
            self.open.exchange.protocol = Protocol::Grpc;
        }
        media.grpc
    }

    /// Processes a header block of the response: an informational one, its head, or its trailers; otherwise as
    /// [`Stream::request_block`].
    pub(super) fn response_block(&mut self, section: Section, stamp: Stamp, ended: Option<KernelTime>) -> bool {
        if self.has_ended(Way::Response) {
            return false;
        }
        if let Some(fault) = section.fault {
            self.open.spoil(fault);
        }
        let (mut trailers, mut media) = (Fields::default(), Media::default());
        let headed =
            self.open.exchange.response.as_ref().is_some_and(|r| r.status.is_some() || section.status.is_none());
        if headed {
            trailers = section.fields;
        } else if let (Some(status @ 100..=199), false) = (section.status, ended.is_some()) {
            self.open.inform(status);
            return false;
        } else if section.is_trailers() {
            self.blank_response(stamp);
            trailers = section.fields;
        } else {
            media = Media::of(&section.fields);
            self.open.begin_response_body(of_stream(&section.fields, media, ended.is_some()), stamp.time);
            if media.grpc_messages {
                self.open.response_body.read_grpc();
            }
            let method = self.open.exchange.request.as_ref().and_then(|request| request.method.as_deref());
            let length = section.status.and_then(|status| length_of_response(&section.fields, status, method));
            self.response_content.declare(length, stamp.time);
            self.open.answer(section.into_response(stamp));
        }
        if let Some(time) = ended {
            self.open.end_response(trailers, time);
        } else if headed {
            // Trailers that do not end the stream are malformed (RFC 9113 §8.1).
            self.open.spoil(Incomplete::Unparsed);
        }
        self.note_grpc(media)
    }

    /// Takes octets of the request's or the response's content.
    pub(super) fn data(&mut self, way: Way, piece: Bytes, stamp: Stamp, desk: &mut Desk, sink: &mut Sink) {
        if self.has_ended(way) {
            sink.losses.add(Loss::Unparsed, piece.len() as u64);
            return;
        }
        match way {
            Way::Request => {
                self.blank_request(stamp);
                self.request_content.data(piece.len(), stamp.time);
            }
            Way::Response => {
                self.blank_response(stamp);
                self.response_content.data(piece.len(), stamp.time);
            }
        }
        self.open.take(way, piece, stamp.time, desk, sink);
    }

    /// Nothing more will come: a half with all of its declared content is complete. Not for gRPC, whose status is in the trailers.
    pub(super) fn end_what_is_whole(&mut self) {
        if self.open.exchange.protocol == Protocol::Grpc {
            return;
        }
        if let (false, Some(time)) = (self.open.request_done, self.request_content.whole_at()) {
            self.open.end_request(Fields::default(), time);
        }
        if let (false, Some(time)) = (self.open.response_done, self.response_content.whole_at()) {
            self.open.end_response(Fields::default(), time);
        }
    }

    /// True if the message in this direction has ended: what comes after is no part of it (RFC 9113 §5.1).
    pub(super) fn has_ended(&self, way: Way) -> bool {
        match way {
            Way::Request => self.open.request_done,
            Way::Response => self.open.response_done,
        }
    }

    /// True until both heads were seen.
    pub(super) fn lacks_a_head(&self) -> bool {
        let Open { exchange, .. } = &self.open;
        let asked = exchange.request.as_ref().is_some_and(|request| request.method.is_some());
        !asked || exchange.response.is_none()
    }

    /// Once an extended CONNECT was accepted, the stream is a WebSocket connection (RFC 8441 §5).
    pub(super) fn follow_connect(&mut self, desk: &mut Desk, sink: &mut Sink) {
        let exchange = &self.open.exchange;
        let halves = exchange.request.as_ref().filter(|r| r.protocol.is_some()).zip(exchange.response.as_ref());
        if let Some(ends) = halves.and_then(|(request, response)| websockets(request, response)) {
            self.open.become_websocket(ends, true, desk, sink);
        }
    }

    /// Adds an empty head if the request's head was not seen, but something else of the request was.
    pub(super) fn blank_request(&mut self, stamp: Stamp) {
        if self.open.exchange.request.is_none() {
            self.open.exchange.request = Some(Section::default().into_request(stamp));
            self.open.begin_request_body(Manner::Undeclared, stamp.time);
        }
    }

    /// Adds an empty head if the response's head was not seen, but something else of the response was.
    pub(super) fn blank_response(&mut self, stamp: Stamp) {
        if self.open.exchange.response.is_none() {
            self.open.answer(Section::default().into_response(stamp));
            self.open.begin_response_body(Manner::Undeclared, stamp.time);
        }
    }

    /// Nothing is missing except perhaps a head: if one is, marks the exchange incomplete for the reason `why`.
    pub(super) fn spoil_if_headless(&mut self, why: Incomplete) {
        let Open { exchange, .. } = &self.open;
        let blank = exchange.request.as_ref().is_none_or(|request| request.method.is_none());
        if blank || exchange.response.as_ref().is_some_and(|response| response.status.is_none()) {
            self.open.spoil(why);
        }
    }

    /// Notes since when only the other half is missing.
    pub(super) fn note_wait(&mut self, time: KernelTime) {
        let half = self.open.request_done != self.open.response_done;
        let missing = self.open.exchange.request.is_none() || self.end_may_be_lost;
        if half && missing {
            self.waits_since.get_or_insert(time);
        } else {
            self.waits_since = None;
        }
    }
}
