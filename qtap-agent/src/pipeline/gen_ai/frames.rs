//! Extracts JSON from the framings that stream it: whole documents, server-sent events, lines, and the AWS event stream (one binary
//! frame per event). In: the bytes of a body in pieces. Out: documents. The bytes waiting for an end are bounded; broken input stops reading.

use serde_json::Value;

/// Maximum bytes that wait: a document that is reported in parts, or one event.
const HELD: usize = 4 << 20;
/// Maximum bytes of a document that is available as a whole: as many as a body is decoded to in memory.
pub(super) const WHOLE: usize = 16 << 20;
/// Maximum values in a document: once parsed, each takes some hundred bytes with its name, however short its text. An image is one value.
const VALUES: usize = 512 << 10;
/// Bytes of an AWS frame before its headers, and after its payload ("Event stream encoding").
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// How documents follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Document,
    Events,
    Lines,
    Aws,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Frames {
    framing: Framing,
    held: Vec<u8>,
    /// Maximum bytes of a document that may wait.
    most: usize,
    broken: bool,
}

impl Frames {
    /// `parts`: the body is reported in parts, so it may wait for a long time.
    pub(super) fn new(content_type: &str, parts: bool) -> Frames {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let framing = match essence.as_str() {
            "text/event-stream" => Framing::Events,
            "application/vnd.amazon.eventstream" => Framing::Aws,
            other if other.contains("ndjson") || other.contains("jsonl") => Framing::Lines,
            _ => Framing::Document,
        };
        let most = if parts || framing != Framing::Document { HELD } else { WHOLE };
        Frames { framing, held: Vec::new(), most, broken: false }
    }

    /// Bytes it holds.
    pub(super) fn memory(&self) -> usize {
        self.held.capacity()
    }

    /// True when a body of `bytes` bytes exceeds the maximum size of a document.
    pub(super) fn is_too_small_for(&self, bytes: u64) -> bool {
        self.framing == Framing::Document && bytes > self.most as u64
    }

    /// Adds the next piece, and passes on the documents that it completes. `last`: nothing follows.
    pub(super) fn push(&mut self, piece: &[u8], last: bool, take: &mut impl FnMut(Value)) {
        if self.broken {
            return;
        }
        self.held.extend_from_slice(piece);
        let taken = match self.framing {
            Framing::Document if last => {
                documents(&self.held, take);
                self.held.len()
            }
            Framing::Document => 0,
            Framing::Events | Framing::Lines => self.lines(last, take),
            Framing::Aws => self.frames(take),
        };
        self.held.drain(..taken.min(self.held.len()));
        if self.broken || self.held.len() > self.most {
            self.broken = true;
            self.held = Vec::new();
        }
    }

    /// Each line is a document, or the `data` of an event. (No interface splits the data of one event into several lines.)
    fn lines(&self, last: bool, take: &mut impl FnMut(Value)) -> usize {
        let end = match memchr::memrchr(b'\n', &self.held) {
            _ if last => self.held.len(),
            Some(end) => end + 1,
            None => return 0,
        };
        for line in self.held.get(..end).unwrap_or_default().split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            let json = if self.framing == Framing::Events { line.strip_prefix(b"data:") } else { Some(line) };
            if let Some(json) = json.filter(|json| json.trim_ascii_start().starts_with(b"{")) {
                documents(json, take);
            }
        }
        end
    }

    fn frames(&mut self, take: &mut impl FnMut(Value)) -> usize {
        let mut at = 0;
        loop {
            let rest = self.held.get(at..).unwrap_or_default();
            let word = |from: usize| {
                let bytes = rest.get(from..from + 4)?;
                Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
            };
            let (Some(total), Some(headers)) = (word(0), word(4)) else { return at };
            if total < PRELUDE + CHECKSUM + headers || total > HELD {
                self.broken = true;
                return self.held.len();
            }
            let Some(payload) = rest.get(PRELUDE + headers..total - CHECKSUM) else { return at };
            if rest.len() < total {
                return at;
            }
            documents(payload, &mut |value| take(unwrapped(value)));
            at += total;
        }
    }
}

/// Unwraps the base64 content of an `InvokeModelWithResponseStream` frame.
fn unwrapped(value: Value) -> Value {
    use base64::engine::{Engine, general_purpose::STANDARD};
    let inner = value.get("bytes").and_then(Value::as_str).and_then(|bytes| STANDARD.decode(bytes).ok());
    inner.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or(value)
}

/// Passes on a document, or each element of an array of documents.
fn documents(json: &[u8], take: &mut impl FnMut(Value)) {
    // This also counts delimiters inside strings: a megabyte of prose has some ten thousand.
    if memchr::memchr3_iter(b',', b'[', b'{', json).take(VALUES + 1).count() > VALUES {
        return;
    }
    match serde_json::from_slice(json) {
        Ok(Value::Array(list)) => list.into_iter().for_each(take),
        Ok(value) => take(value),
        Err(_) => {}
    }
}
