//! An exchange → its records: the artifact record, an object for each artifact, additional records for other steps (`also`), and log
//! lines (`access_log`). For an exchange reported in parts, each part yields objects, and the last part also yields the rest.
//!
//! The steps of the stack decide and redact first; everything here is built from their output.

mod access_log;
mod also;
mod conversation;
mod fault;

use std::sync::Arc;

use fault::{error_type, severity};

use super::artifact::{self, Artifact, Kind, Running};
use super::digest::{self, UidKind};
use super::gen_ai::Calls;
use super::look;
use super::origin::{Origins, Place};
use super::router::Chosen;
use super::rpc;
use super::settings::{Artifacts, Format, HttpCapture, Level, Locator};
use super::spool::Spooled;
use super::step::Verdict;
use super::trace_context;
use super::url::{self, Url};
use crate::model::conn::{ConnectionUid, Protocol, Role};
use crate::model::exchange::{Exchange, HttpExchange, Incomplete, Part};
use crate::model::loss::Tally;
use crate::model::message::{Body, Fields, Request, Response, host_of};
use crate::model::messages::{Framing, Messages};
use crate::model::observation::ExchangeSeen;
use crate::model::record::{
    ArtifactLink, ArtifactRecord, MessageProtocol, MessageSums, ObjectRecord, ObjectSummary, Origin, Record,
    RecordKind, Rpc, Severity, Timing, TraceContext,
};
use crate::model::time::{KernelTime, WallClock};

/// An exchange, or a part of one, that the steps let through; everything about it is known except its documents.
#[derive(Debug)]
pub(super) struct Untold {
    http: HttpExchange,
    verdict: Verdict,
    about: ArtifactRecord,
    common: Common,
    clock: WallClock,
    /// Bodies that are on disk.
    spooled: Option<Spooled>,
    /// The decoded bodies, once they have been inspected.
    undone: Option<look::Both>,
    /// False when the disk could not take the redacted body: nothing can be shown then.
    shown: bool,
    /// The conversation of an LLM call, redacted.
    conversation: Option<Vec<u8>>,
}

/// True for a whole exchange, or for the last part of one.
pub(super) fn has_ended(seen: &ExchangeSeen) -> bool {
    let Exchange::Http(http) = &seen.exchange;
    http.part.is_none_or(|part| part.last)
}

/// True when the server or the exchange failed.
pub(super) fn has_failed(seen: &ExchangeSeen) -> bool {
    let Exchange::Http(http) = &seen.exchange;
    let response = http.response.as_ref();
    let rpc = response.filter(|_| http.protocol == Protocol::Grpc).and_then(rpc::status);
    severity(http, response.and_then(|response| response.status), rpc.as_deref()) == Severity::Error
}

/// What is to be reported of `seen`; `None` if nothing is.
pub(super) fn untold(
    seen: ExchangeSeen,
    verdict: Verdict,
    spooled: Option<Spooled>,
    Chosen { id, steps }: Chosen<'_>,
    origins: &mut Origins,
) -> Option<Untold> {
    let ExchangeSeen { host, conn, process, number, exchange: Exchange::Http(mut http), observed } = seen;
    verdict.say_unwanted(&mut http);
    let goes_on = http.part.is_some_and(|part| !part.last);
    // All parts of an LLM call are read, whatever its last part turns out to be.
    let read = goes_on && verdict.gen_ai.is_some();
    if !read && (!verdict.is_any() || (goes_on && verdict.capture.level < Level::Details)) {
        return None;
    }
    let role = role(conn.role, http.outgoing);
    let (host_of_it, process, protocol) = (&host, process.as_ref(), http.protocol);
    let place =
        Place { host: host_of_it, conn: &conn, process, role, protocol, version: http.version(), stack: Some(id) };
    let origin = origins.of(&place, Some(steps));
    let url = url_of(&http, conn.tls.is_some(), &origin);
    let about = about(&http, url);
    let started = http.request.as_ref().map(|r| r.started).or_else(|| http.response.as_ref().map(|r| r.started));
    let common = Common {
        name: (conn.uid, number),
        time_unix_ns: host.clock.unix_ns(started.unwrap_or(observed)),
        observed_unix_ns: host.clock.unix_ns(observed),
        severity: severity(&http, about.status, rpc_status(&about)),
        trace: http.request.as_ref().and_then(|request| trace_context::of(&request.fields)),
        request_id: request_id(&origin.connection_id, number),
        origin,
    };
    Some(Untold {
        http: *http,
        verdict,
        about,
        common,
        clock: host.clock,
        spooled,
        undone: None,
        shown: true,
        conversation: None,
    })
}

impl Untold {
    /// True when writing its documents takes long, because a body is on disk.
    pub(super) fn is_large(&self) -> bool {
        self.spooled.is_some()
    }

    /// Inspects and redacts its bodies, as far as they are shown or read.
    pub(super) fn look(
        &mut self,
        locators: &[Locator],
        (running, calls): (&mut Running, &mut Calls),
        lost: &mut Tally,
    ) {
        let logged = self.verdict.log.as_ref().map_or(Level::None, |log| log.mode);
        let read = if self.verdict.gen_ai.is_some() { Level::Full } else { Level::None };
        let stored = if locators.is_empty() { [Level::None; 2] } else { self.verdict.levels() };
        let wanted = look::Wanted {
            levels: stored.map(|level| level.max(logged).max(read)),
            // Format `http` shows the bytes as sent.
            decoded: self.verdict.capture.format != Format::Http || logged.max(read) == Level::Full,
        };
        let Untold { http, spooled, common, verdict, .. } = self;
        let undone = look::bodies(http, spooled, common.name, (&wanted, &verdict.looks), running, lost);
        self.shown = undone.is_some();
        self.undone = Some(undone.unwrap_or_default());
        self.read_call(calls);
    }

    /// Appends its records.
    pub(super) fn tell(self, locators: &[Locator], lost: &mut Tally, out: &mut Vec<Record>) {
        let stored = if self.shown { stored(self.source(), &self.verdict, locators, lost) } else { [None, None] };
        let Untold { http, verdict, mut about, common, conversation, .. } = self;
        link(&mut about, stored.iter().flatten(), &http);
        about.parts = http.part.map(|part| part.number.saturating_add(1));
        let line = line(&about);
        // The artifact record comes first in the output; the other records are built from it before it is moved there.
        let first = out.len();
        if stored.iter().any(Option::is_some) {
            objects(stored, &http, &about, &line, &common, out);
        }
        if http.part.is_none_or(|part| part.last) {
            let is_captured = verdict.capture.level > Level::None;
            conversation::tell(conversation, locators, (&http, &about), &common, out);
            also::tell(verdict, &http, &about, &common, &line, out);
            if is_captured {
                let time_unix_ns = common.time_unix_ns;
                let kind = RecordKind::Artifact(Box::new(about));
                out.insert(first, common.record(time_unix_ns, (UidKind::Artifact, 0), line, kind));
            }
        }
    }

    /// The source of its documents.
    fn source(&self) -> artifact::Source<'_> {
        artifact::Source {
            exchange: &self.http,
            url: self.about.url_full.as_deref(),
            clock: self.clock,
            duration_ms: self.about.timing.duration_ms,
            spooled: self.spooled.as_ref(),
            undone: self.undone.as_ref().unwrap_or(&[None, None]),
        }
    }
}

/// Appends an object record for each artifact. `line`: the text line of the artifact record.
fn objects(
    stored: [Option<(Artifact, ArtifactLink)>; 2],
    http: &HttpExchange,
    about: &ArtifactRecord,
    line: &str,
    common: &Common,
    out: &mut Vec<Record>,
) {
    let summary = summary(http, about, &common.origin);
    let part = http.part.map(|part| part.number);
    let later = part.is_some_and(|part| part > 0);
    let time_unix_ns = if later { common.observed_unix_ns } else { common.time_unix_ns };
    for (artifact, link) in stored.into_iter().flatten() {
        let content_type = match artifact.kind {
            Kind::Request => about.request_content_type.first(),
            Kind::Response | Kind::Transaction => about.response_content_type.first(),
        };
        let content_type = content_type.map(|text| Arc::from(text.as_str()));
        let uid = (UidKind::Object(artifact.kind.name()), part.unwrap_or(0));
        let line = object_line(artifact.kind.name(), line, part, artifact.size());
        let object = object(artifact, link, http.part, ObjectSummary { content_type, ..summary.clone() });
        out.push(common.record(time_unix_ns, uid, line, RecordKind::Object(Box::new(object))));
    }
}

/// `connection.request_id`: the connection, and ten digits of the exchange's number.
fn request_id(connection_id: &str, number: u64) -> Arc<str> {
    const DIGITS: usize = 10;
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    let zeros = "0000000000".get(digits.len().min(DIGITS)..).unwrap_or_default();
    [connection_id, "-", zeros, digits].concat().into()
}

/// E.g. `http_response of GET https://example.com/a → 200 in 12.3 ms, part 2: 345 B`.
fn object_line(kind: &str, exchange: &str, part: Option<u32>, bytes: u64) -> String {
    let (mut number, mut size) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (name, number) = part.map_or(("", ""), |part| (", part ", number.format(part)));
    [kind, " of ", exchange, name, number, ": ", size.format(bytes), " B"].concat()
}

/// Which end the process is; if the connection does not know, the exchange decides.
fn role(of_connection: Role, outgoing: bool) -> Role {
    match of_connection {
        Role::Client | Role::Server => of_connection,
        Role::Unknown if outgoing => Role::Client,
        Role::Unknown => Role::Server,
    }
}

/// Adds the locations of the artifacts to the artifact record.
fn link<'a>(
    about: &mut ArtifactRecord,
    stored: impl Iterator<Item = &'a (Artifact, ArtifactLink)>,
    http: &HttpExchange,
) {
    for (artifact, link) in stored {
        let (request, response) = match artifact.kind {
            Kind::Request => (true, false),
            Kind::Response => (false, true),
            Kind::Transaction => (http.request.is_some(), http.response.is_some()),
        };
        if request {
            about.request_artifact = Some(link.clone());
        }
        if response {
            about.response_artifact = Some(link.clone());
        }
    }
}

/// What all records of an exchange share.
#[derive(Debug)]
struct Common {
    /// Connection and number of the exchange.
    name: (ConnectionUid, u64),
    time_unix_ns: u64,
    observed_unix_ns: u64,
    severity: Severity,
    trace: Option<TraceContext>,
    origin: Arc<Origin>,
    request_id: Arc<str>,
}

impl Common {
    fn record(&self, time_unix_ns: u64, (uid, part): (UidKind, u32), line: String, kind: RecordKind) -> Record {
        let (connection, number) = self.name;
        Record {
            uid: digest::record_uid(connection, Some(number), uid, part),
            time_unix_ns,
            observed_unix_ns: self.observed_unix_ns,
            severity: self.severity,
            line,
            trace: self.trace,
            origin: Arc::clone(&self.origin),
            request_id: Some(Arc::clone(&self.request_id)),
            kind,
        }
    }
}

/// The artifacts of an exchange that a store accepts, each with its link.
fn stored(
    source: artifact::Source<'_>,
    verdict: &Verdict,
    locators: &[Locator],
    lost: &mut Tally,
) -> [Option<(Artifact, ArtifactLink)>; 2] {
    if locators.is_empty() {
        return [None, None];
    }
    let link = |artifact: Artifact| {
        let locator = Locator::first_for(locators, artifact.size())?;
        let digest = ["sha256:", &artifact.sha256].concat();
        let link = ArtifactLink { url: locator.url_of(&artifact.sha256), digest };
        Some((artifact, link))
    };
    let [request, response] = verdict.levels();
    let at = |level| HttpCapture { level, ..verdict.capture.clone() };
    let written = if request == response {
        artifact::write(source, &at(request), lost)
    } else {
        // An issue may record the two halves at different levels; each half is then a document of its own.
        let split = |level| HttpCapture { artifacts: Artifacts::Split, ..at(level) };
        let half = |request, response| HttpExchange { request, response, ..source.exchange.clone() };
        let one = half(source.exchange.request.clone(), None);
        let other = half(None, source.exchange.response.clone());
        let [one, _] = artifact::write(artifact::Source { exchange: &one, ..source }, &split(request), lost);
        let [_, other] = artifact::write(artifact::Source { exchange: &other, ..source }, &split(response), lost);
        [one, other]
    };
    written.map(|artifact| artifact.and_then(link))
}

fn url_of(http: &HttpExchange, secure: bool, origin: &Origin) -> Url {
    http.request.as_ref().map(|request| url::of(request, secure, origin.server.as_ref())).unwrap_or_default()
}

fn about(http: &HttpExchange, url: Url) -> ArtifactRecord {
    let (request, response) = (http.request.as_ref(), http.response.as_ref());
    let content_types = |fields: &Fields| fields.all("content-type").map(str::to_owned).collect();
    let status = response.and_then(|response| response.status);
    let rpc = (http.protocol == Protocol::Grpc).then(|| Rpc {
        method: url.path.as_deref().and_then(rpc::method),
        status: response.and_then(rpc::status),
        message: response.and_then(rpc::message),
    });
    ArtifactRecord {
        method: request.and_then(|request| request.method.as_deref()).map(Arc::from),
        gen_ai: None,
        error_type: error_type(http, status, rpc.as_ref().and_then(|rpc| rpc.status.as_deref())),
        rpc,
        url_full: url.full,
        url_scheme: url.scheme,
        url_path: url.path,
        url_query: url.query,
        status,
        user_agent: request.and_then(|request| request.fields.get("user-agent")).map(str::to_owned),
        request_body_size: request.map(|request| request.body.size),
        response_body_size: response.map(|response| response.body.size),
        request_content_type: request.map(|request| content_types(&request.fields)).unwrap_or_default(),
        response_content_type: response.map(|response| content_types(&response.fields)).unwrap_or_default(),
        timing: timing(request, response),
        request_messages: request.and_then(|request| sums(&request.body)),
        response_messages: response.and_then(|response| sums(&response.body)),
        tracestate: request.map(|request| trace_context::state(&request.fields)).unwrap_or_default(),
        incomplete: http.incomplete.map(Incomplete::name),
        request_artifact: None,
        response_artifact: None,
        parts: None,
    }
}

fn timing(request: Option<&Request>, response: Option<&Response>) -> Timing {
    let sent = request.map(|request| (request.started, request.ended));
    let answered = response.map(|response| (response.started, response.ended));
    let ms = |from: Option<KernelTime>, to: Option<KernelTime>| Some(to?.millis_since(from?));
    let (request_start, request_end) = (sent.map(|(start, _)| start), sent.and_then(|(_, end)| end));
    let (response_start, response_end) = (answered.map(|(start, _)| start), answered.and_then(|(_, end)| end));
    Timing {
        duration_ms: ms(request_start, response_end),
        time_to_first_byte_ms: ms(request_end, response_start),
        request_transfer_ms: ms(request_start, request_end),
        response_transfer_ms: ms(response_start, response_end),
    }
}

/// The message counts of a body.
fn sums(body: &Body) -> Option<MessageSums> {
    let Messages { framing, count, bytes, .. } = body.messages.as_deref()?;
    let (of, close_code) = match framing {
        Framing::Grpc => (MessageProtocol::Grpc, None),
        Framing::WebSocket(websocket) => {
            (MessageProtocol::WebSocket, websocket.close.as_ref().and_then(|close| close.code))
        }
    };
    Some(MessageSums { of, count: *count, bytes: *bytes, close_code })
}

/// Name of the gRPC status.
fn rpc_status(about: &ArtifactRecord) -> Option<&str> {
    about.rpc.as_ref().and_then(|rpc| rpc.status.as_deref())
}

fn object(artifact: Artifact, link: ArtifactLink, part: Option<Part>, summary: ObjectSummary) -> ObjectRecord {
    ObjectRecord {
        artifact_type: artifact.kind.name(),
        content_type: artifact.content_type,
        data: artifact.data,
        spooled: artifact.spooled,
        digest: link.digest,
        truncated: artifact.truncated,
        missing: artifact.missing,
        part: part.map(|part| part.number),
        summary,
    }
}

/// The summary that all objects of an exchange share.
fn summary(http: &HttpExchange, about: &ArtifactRecord, origin: &Origin) -> ObjectSummary {
    let some = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
    let authority = http.request.as_ref().and_then(|request| request.authority.as_deref());
    ObjectSummary {
        method: about.method.clone(),
        host: authority.map(host_of).and_then(some),
        path: about.url_path.clone(),
        status: about.status,
        duration_ms: about.timing.duration_ms,
        content_type: None,
        process: origin.process.as_ref().map(|process| process.executable_name()).and_then(some),
    }
}

/// E.g. `GET https://example.com/a?b=1 → 200 in 12.3 ms`.
fn line(about: &ArtifactRecord) -> String {
    let method = about.method.as_deref().unwrap_or("?");
    let url = about.url_full.as_deref().or(about.url_path.as_deref()).unwrap_or("?");
    let mut digits = itoa::Buffer::new();
    let status = about.status.map_or("no status", |status| digits.format(status));
    let (space, rpc) = rpc_status(about).map_or(("", ""), |name| (" ", name));
    let duration = about.timing.duration_ms.map(|ms| format!(" in {ms:.1} ms")).unwrap_or_default();
    let (open, incomplete, close) = about.incomplete.map_or(("", "", ""), |reason| (" (", reason, ")"));
    [method, " ", url, " → ", status, space, rpc, &duration, open, incomplete, close].concat()
}
