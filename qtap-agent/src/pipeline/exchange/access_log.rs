//! `access_logs`: one line per finished exchange. In: the redacted exchange. Out: a line of text with its line end, for people or as
//! a JSON object. It is always a single line: characters that would end it, or move a terminal's cursor, are escaped.
//!
//! Heads and bodies are written by the code that writes artifacts, so they show and hide the same things. Bodies
//! that are on disk, or were reported in parts, are left out.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Untold, rpc_status};
use crate::model::exchange::HttpExchange;
use crate::model::loss::Tally;
use crate::model::record::{Address, TraceContext};
use crate::pipeline::artifact::{self, Artifact, rfc3339};
use crate::pipeline::cut::cut;
use crate::pipeline::settings::{AccessLogs, Artifacts, Format, HttpCapture, Level, LogFormat};

/// Maximum bytes of a URL, a head or a body in a line for people; the rest is replaced with `…`.
const SHOWN: usize = 8 << 10;

impl Untold {
    /// Appends its line, if one is wanted.
    pub(in crate::pipeline) fn log(&self, lines: &mut String) {
        match &self.verdict.log {
            Some(AccessLogs { mode, format: LogFormat::Console, .. }) => self.log_for_people(*mode, lines),
            Some(AccessLogs { mode, format: LogFormat::Json, .. }) => self.log_as_json(*mode, lines),
            None => {}
        }
    }

    /// E.g. `2026-01-02T03:04:05.100Z curl[42] POST https://example.com/a?b=1 200 12.3ms 15B 5B`.
    fn log_for_people(&self, mode: Level, lines: &mut String) {
        let (about, origin) = (&self.about, &self.common.origin);
        let time = rfc3339(self.common.time_unix_ns);
        lines.push_str(time.as_str().get(..MILLIS).unwrap_or_default());
        lines.push_str("Z ");
        match &origin.process {
            Some(process) => {
                escaped(lines, process.executable_name());
                put(lines, format_args!("[{}] ", process.pid));
            }
            None => lines.push_str("- "),
        }
        escaped(lines, about.method.as_deref().unwrap_or("-"));
        lines.push(' ');
        escaped(lines, about.url_full.as_deref().or(about.url_path.as_deref()).unwrap_or("-"));
        match about.status {
            Some(status) => put(lines, format_args!(" {status}")),
            None => lines.push_str(" -"),
        }
        if let Some(name) = rpc_status(about) {
            lines.push(' ');
            escaped(lines, name);
        }
        match about.timing.duration_ms {
            Some(ms) => put(lines, format_args!(" {ms:.1}ms")),
            None => lines.push_str(" -"),
        }
        for size in [about.request_body_size, about.response_body_size] {
            match size {
                Some(bytes) => put(lines, format_args!(" {bytes}B")),
                None => lines.push_str(" -"),
            }
        }
        if let Some(reason) = about.incomplete {
            put(lines, format_args!(" ({reason})"));
        }
        if mode >= Level::Details {
            self.where_it_was(lines);
            for document in self.documents(mode, Format::Text).into_iter().flatten() {
                for line in String::from_utf8_lossy(&document.data).lines().filter(|line| !line.is_empty()) {
                    lines.push_str(" | ");
                    escaped(lines, line);
                }
            }
        }
        lines.push('\n');
    }

    fn where_it_was(&self, lines: &mut String) {
        let origin = &self.common.origin;
        for word in [origin.direction, origin.protocol] {
            put(lines, format_args!(" {}", word.unwrap_or("-")));
        }
        for (mark, address) in [(" ", &origin.client), (" > ", &origin.server)] {
            lines.push_str(mark);
            escaped(lines, address.as_ref().map(address_text).as_deref().unwrap_or("-"));
        }
        if let Some(TraceContext { trace_id, .. }) = self.common.trace {
            put(lines, format_args!(" trace={:032x}", u128::from_be_bytes(trace_id)));
        }
    }

    fn log_as_json(&self, mode: Level, lines: &mut String) {
        let (about, origin) = (&self.about, &self.common.origin);
        let mut line = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            value.into_iter().for_each(|value| drop(line.insert(name.to_owned(), value)))
        };
        put("time", Some(rfc3339(self.common.time_unix_ns).as_str().into()));
        put("type", Some("access_log".into()));
        put("connection_id", Some(origin.connection_id.as_str().into()));
        put("request_id", Some((*self.common.request_id).into()));
        put("process", origin.process.as_ref().map(|process| process.executable_name().into()));
        put("pid", origin.process.as_ref().map(|process| process.pid.into()));
        put("direction", origin.direction.map(Value::from));
        put("protocol", origin.protocol.map(Value::from));
        put("method", about.method.as_deref().map(Value::from));
        put("url", about.url_full.as_deref().or(about.url_path.as_deref()).map(Value::from));
        put("status", about.status.map(Value::from));
        put("rpc_status", rpc_status(about).map(Value::from));
        put("duration_ms", about.timing.duration_ms.map(Value::from));
        put("request_bytes", about.request_body_size.map(Value::from));
        put("response_bytes", about.response_body_size.map(Value::from));
        put("error", about.error_type.as_deref().map(Value::from));
        put("incomplete", about.incomplete.map(Value::from));
        if mode >= Level::Details {
            put("client", origin.client.as_ref().map(|address| address_text(address).into()));
            put("server", origin.server.as_ref().map(|address| address_text(address).into()));
            let trace = self.common.trace.map(|trace| format!("{:032x}", u128::from_be_bytes(trace.trace_id)));
            put("trace_id", trace.map(Value::from));
        }
        lines.push_str(&Value::Object(line).to_string());
        if mode >= Level::Details {
            lines.truncate(lines.len() - "}".len());
            for (name, document) in
                [",\"request\":", ",\"response\":"].into_iter().zip(self.documents(mode, Format::Json))
            {
                if let Some(document) = document {
                    lines.push_str(name);
                    lines.push_str(&String::from_utf8_lossy(&document.data));
                }
            }
            lines.push('}');
        }
        lines.push('\n');
    }

    /// Request and response as artifacts show them.
    fn documents(&self, mode: Level, format: Format) -> [Option<Artifact>; 2] {
        let is_here = self.http.part.is_none() && self.spooled.is_none();
        let level = if is_here { mode } else { mode.min(Level::Details) };
        let capture = HttpCapture { level, format, artifacts: Artifacts::Split, rules: Vec::new() };
        let without;
        let mut source = artifact::Source { spooled: None, ..self.source() };
        if self.undone.is_none() {
            // Bodies not inspected yet: don't even compute a digest of them.
            without = self.without_bodies();
            source.exchange = &without;
        }
        artifact::write(source, &capture, &mut Tally::default())
    }
}

impl Untold {
    fn without_bodies(&self) -> HttpExchange {
        let mut http = self.http.clone();
        http.request.iter_mut().for_each(|request| request.body.chunks.clear());
        http.response.iter_mut().for_each(|response| response.body.chunks.clear());
        http
    }
}

/// Length of a timestamp up to its milliseconds.
const MILLIS: usize = "2026-01-02T03:04:05.100".len();

/// Writing to a `String` can't fail.
fn put(line: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = line.write_fmt(what);
}

/// Appends text on one line, truncated if it is long.
fn escaped(line: &mut String, text: &str) {
    let shown = cut(text, SHOWN);
    for c in shown.chars() {
        if c.is_control() || is_invisible(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    if shown.len() < text.len() {
        line.push('…');
    }
}

/// Line and paragraph separators, and marks that change the text direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn address_text(address: &Address) -> String {
    match address {
        Address::Inet(ip, port) => std::net::SocketAddr::new(*ip, *port).to_string(),
        Address::Unix(path) => path.clone(),
    }
}
