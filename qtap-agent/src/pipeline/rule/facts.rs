//! The facts that a rule is evaluated on: an exchange, its context, and how much of it is known so far. In: borrowed model types.
//! Out: the value of a field. Nothing is copied; only `http.req.url` is assembled. That, and values that need a search, are computed
//! once, when the first rule needs them.

use std::cell::{Cell, OnceCell};
use std::net::IpAddr;

use super::field::{Field, Named, Plain};
use super::heads::{Heads, Stands};
use super::net::{Mac, Net};
use crate::model::conn::{ConnFacts, Endpoint, Protocol, Role, TlsFacts};
use crate::model::event::Host;
use crate::model::exchange::HttpExchange;
use crate::model::message::{Fields, Request, Response, host_of};
use crate::model::process::{Container, Pod, Process};
use crate::pipeline::origin;
use crate::pipeline::url;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// The field is absent and will stay so.
    Missing,
    /// The field may still arrive.
    NotYet,
    /// A single value.
    One(Scalar<'a>),
    /// Any of these texts.
    Texts(&'a [String]),
    /// Any of the values of the header fields with this name.
    Header(&'a Fields, &'a str),
}

/// A single value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Int(i64),
    Float(f64),
    Text(&'a str),
    Flag(bool),
    Ip(IpAddr),
    Net(Net),
    Mac(Mac),
}

/// What is known of an exchange.
#[derive(Debug)]
pub struct Facts<'a> {
    http: &'a HttpExchange,
    conn: Option<&'a ConnFacts>,
    process: Option<&'a Process>,
    host: Option<&'a Host>,
    /// `None` when the tags are not known.
    tags: Option<&'a [String]>,
    /// More may arrive: what is absent is not known yet.
    so_far: bool,
    known: Known<'a>,
}

/// Cached results of searches.
#[derive(Debug, Default)]
struct Known<'a> {
    url: OnceCell<Option<String>>,
    path: OnceCell<Option<&'a str>>,
    domain: OnceCell<Option<&'a str>>,
    src: OnceCell<Option<IpAddr>>,
    dst: OnceCell<Option<IpAddr>>,
    binary: OnceCell<Option<&'a str>>,
    request: Head,
    response: Head,
}

/// How often a head was searched, and an index of its fields once that was often enough.
#[derive(Debug, Default)]
struct Head {
    asked: Cell<u8>,
    heads: OnceCell<Heads>,
}

/// Number of searches in a head before building an index pays off.
const OFTEN: u8 = 3;

impl<'a> Facts<'a> {
    /// The facts of an exchange that has ended, or of a part of one, without any context.
    #[must_use]
    pub fn of(http: &'a HttpExchange) -> Facts<'a> {
        Facts { http, conn: None, process: None, host: None, tags: None, so_far: false, known: Known::default() }
    }

    /// Adds the connection, process and host.
    #[must_use]
    pub fn on(self, conn: &'a ConnFacts, process: Option<&'a Process>, host: &'a Host) -> Facts<'a> {
        Facts { conn: Some(conn), process, host: Some(host), ..self }
    }

    /// Adds the agent's tags.
    #[must_use]
    pub fn tagged(self, tags: &'a [String]) -> Facts<'a> {
        Facts { tags: Some(tags), ..self }
    }

    /// Marks the exchange as still running: absent parts may arrive, but a head that is present is complete.
    #[must_use]
    pub fn so_far(self) -> Facts<'a> {
        Facts { so_far: true, ..self }
    }

    /// The value of `field`.
    #[inline]
    pub(super) fn value<'f: 'v, 'v>(&'v self, field: &'f Field) -> Value<'v> {
        match field {
            Field::Plain(plain) => self.plain(*plain),
            Field::Named(named, name) => self.named(*named, name),
        }
    }

    fn absent(&self) -> Value<'a> {
        if self.so_far { Value::NotYet } else { Value::Missing }
    }

    fn text(&self, text: Option<&'a str>) -> Value<'a> {
        text.map_or_else(|| self.absent(), |text| Value::One(Scalar::Text(text)))
    }

    fn int(&self, int: Option<i64>) -> Value<'a> {
        int.map_or_else(|| self.absent(), |int| Value::One(Scalar::Int(int)))
    }

    fn plain(&self, plain: Plain) -> Value<'_> {
        match plain {
            Plain::Method => self.request(|request| request.method.as_deref()),
            Plain::Path => self.request(|request| *self.known.path.get_or_init(|| url::path_of(request))),
            Plain::Scheme => self.scheme(),
            Plain::Host => self.request(|request| request.authority.as_deref().map(host_of)),
            Plain::Authority => self.request(|request| request.authority.as_deref()),
            Plain::Url => self.url(),
            Plain::Status => self.status(),
            Plain::DurationMs => self.duration(),
            Plain::Protocol => self.protocol(),
            Plain::Direction => self.text(self.conn.and_then(|conn| origin::direction(self.role(conn), &conn.peer))),
            Plain::Type => Value::One(Scalar::Text("artifact_record")),
            Plain::Tags => self.tags.map_or_else(|| self.absent(), Value::Texts),
            Plain::SrcIp => self.ip(Role::Client, &self.known.src),
            Plain::SrcPort => self.int(self.end(Role::Client).and_then(Endpoint::port).map(i64::from)),
            Plain::DstIp => self.ip(Role::Server, &self.known.dst),
            Plain::DstPort => self.int(self.end(Role::Server).and_then(Endpoint::port).map(i64::from)),
            Plain::DstDomain => self.domain(),
            Plain::ProcessPath => self.text(self.process.map(|process| process.executable_path.as_str())),
            Plain::ProcessBinary => {
                self.text(*self.known.binary.get_or_init(|| self.process.map(Process::executable_name)))
            }
            Plain::ProcessHostname => self.text(self.host.map(|host| host.name.as_str())),
            Plain::ProcessUserId => self.int(self.process.map(|process| i64::from(process.user_id))),
            Plain::ProcessUserName => self.text(self.process.and_then(|process| process.user_name.as_deref())),
            Plain::ContainerId => self.text(self.container().map(|container| container.id.as_str())),
            Plain::ContainerName => self.text(self.container().and_then(|container| container.name.as_deref())),
            Plain::ContainerImage => self.text(self.container().and_then(|container| container.image_name.as_deref())),
            Plain::PodName => self.text(self.pod().map(|pod| pod.name.as_str()).filter(|name| !name.is_empty())),
            Plain::PodNamespace => {
                self.text(self.pod().map(|pod| pod.namespace.as_str()).filter(|name| !name.is_empty()))
            }
            Plain::TlsEnabled => {
                self.conn.map_or_else(|| self.absent(), |conn| Value::One(Scalar::Flag(conn.tls.is_some())))
            }
            Plain::TlsVersion => self.text(self.tls().and_then(|tls| tls.version.as_deref())),
            Plain::TlsSni => self.text(self.tls().and_then(|tls| tls.sni.as_deref())),
            Plain::TlsAlpn => self.text(self.tls().and_then(|tls| tls.alpn.as_deref())),
        }
    }

    fn named<'v>(&'v self, named: Named, name: &'v str) -> Value<'v> {
        let of = |map: Option<&'v std::collections::BTreeMap<String, String>>| match map {
            Some(map) => map.get(name).map_or(Value::Missing, |value| Value::One(Scalar::Text(value))),
            None => self.absent(),
        };
        match named {
            Named::RequestHeader => {
                self.header(self.http.request.as_ref().map(|request| &request.fields), &self.known.request, name)
            }
            Named::ResponseHeader => {
                self.header(self.http.response.as_ref().map(|response| &response.fields), &self.known.response, name)
            }
            Named::ProcessEnv => of(self.process.map(|process| &process.env)),
            // While a container runtime lookup is pending, a missing label is unknown rather than absent.
            Named::ContainerLabel | Named::PodLabel | Named::PodAnnotation if self.is_awaited() => self.absent(),
            Named::ContainerLabel => of(self.container().map(|container| &container.labels)),
            Named::PodLabel => of(self.pod().map(|pod| &pod.labels)),
            Named::PodAnnotation => of(self.pod().map(|pod| &pod.annotations)),
        }
    }

    fn header<'v>(&self, fields: Option<&'v Fields>, head: &Head, name: &'v str) -> Value<'v> {
        let Some(fields) = fields else { return if self.so_far { Value::NotYet } else { Value::Missing } };
        if head.asked.get() < OFTEN {
            head.asked.set(head.asked.get() + 1);
            return Value::Header(fields, name);
        }
        match head.heads.get_or_init(|| Heads::of(fields)).find(fields, name) {
            Stands::Nowhere => Value::Missing,
            Stands::Here(field) => field.value.text().map_or(Value::Missing, |text| Value::One(Scalar::Text(text))),
            Stands::Somewhere => Value::Header(fields, name),
        }
    }

    /// A value from the request's head; once the head is present, what it lacks will not arrive.
    fn request(&self, part: impl FnOnce(&'a Request) -> Option<&'a str>) -> Value<'a> {
        match &self.http.request {
            Some(request) => part(request).map_or(Value::Missing, |text| Value::One(Scalar::Text(text))),
            None => self.absent(),
        }
    }

    fn status(&self) -> Value<'a> {
        match &self.http.response {
            Some(response) => response.status.map_or(Value::Missing, |status| Value::One(Scalar::Int(status.into()))),
            None => self.absent(),
        }
    }

    fn scheme(&self) -> Value<'a> {
        let secure = self.conn.map(|conn| conn.tls.is_some());
        match &self.http.request {
            Some(request) => self.text(url::scheme_of(request, secure)),
            None => self.absent(),
        }
    }

    fn url(&self) -> Value<'_> {
        let Some(request) = &self.http.request else { return self.absent() };
        let Some(conn) = self.conn else { return self.absent() };
        let full = || {
            let server = self.end(Role::Server).and_then(origin::address);
            url::of(request, conn.tls.is_some(), server.as_ref()).full
        };
        match self.known.url.get_or_init(full) {
            Some(url) => Value::One(Scalar::Text(url)),
            None => self.absent(),
        }
    }

    /// From the first byte of the request to the last of the response.
    fn duration(&self) -> Value<'a> {
        let started = self.http.request.as_ref().map(|request| request.started);
        let ended = self.http.response.as_ref().and_then(|response: &Response| response.ended);
        let ms = started.zip(ended).map(|(started, ended)| ended.millis_since(started));
        ms.map_or_else(|| self.absent(), |ms| Value::One(Scalar::Float(ms)))
    }

    /// Either head may show that an HTTP/2 stream carries gRPC.
    fn protocol(&self) -> Value<'a> {
        match self.http.protocol {
            Protocol::Http1 => Value::One(Scalar::Text("http1")),
            Protocol::Grpc => Value::One(Scalar::Text("grpc")),
            Protocol::Http2 if self.so_far && self.http.response.is_none() => Value::NotYet,
            Protocol::Http2 => Value::One(Scalar::Text("http2")),
            Protocol::Tls | Protocol::Dns | Protocol::Unknown => self.absent(),
        }
    }

    /// The requested host, else the server name of the TLS handshake, else the DNS name of the address.
    fn domain(&self) -> Value<'a> {
        if self.so_far && self.http.request.is_none() {
            return Value::NotYet;
        }
        self.text(*self.known.domain.get_or_init(|| {
            let asked = self.http.request.as_ref().and_then(|request| request.authority.as_deref()).map(host_of);
            let looked_up = || self.conn.and_then(|conn| conn.domain.as_deref());
            let named = || self.tls().and_then(|tls| tls.sni.as_deref()).or_else(looked_up);
            asked.filter(|host| !host.is_empty()).or_else(named)
        }))
    }

    fn ip(&self, which: Role, known: &OnceCell<Option<IpAddr>>) -> Value<'a> {
        let ip = || self.end(which).and_then(Endpoint::ip).map(|ip| ip.to_canonical());
        known.get_or_init(ip).map_or_else(|| self.absent(), |ip| Value::One(Scalar::Ip(ip)))
    }

    /// The client's or the server's end of the connection.
    fn end(&self, which: Role) -> Option<&'a Endpoint> {
        self.conn.map(|conn| if self.role(conn) == which { &conn.local } else { &conn.peer })
    }

    fn role(&self, conn: &ConnFacts) -> Role {
        match conn.role {
            Role::Client | Role::Server => conn.role,
            Role::Unknown if self.http.outgoing => Role::Client,
            Role::Unknown => Role::Server,
        }
    }

    fn tls(&self) -> Option<&'a TlsFacts> {
        self.conn.and_then(|conn| conn.tls.as_ref())
    }

    fn is_awaited(&self) -> bool {
        self.process.is_some_and(Process::is_awaited)
    }

    fn container(&self) -> Option<&'a Container> {
        self.process.and_then(|process| process.container.as_deref())
    }

    fn pod(&self) -> Option<&'a Pod> {
        self.process.and_then(|process| process.pod.as_deref())
    }
}
