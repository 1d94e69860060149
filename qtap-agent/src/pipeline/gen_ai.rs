//! `gen_ai`: what a call to a language model was about. In: exchanges and their parts, redacted and decoded, in the order of
//! observation. Out: with the last part, the facts of the call, and the conversation as a document.
//!
//! A call is recognized by its path, and by its host or the shape of its body. The state of calls in progress is bounded in number
//! and in bytes; the oldest call is evicted first and reported without its facts. For bodies on disk, a bounded prefix is read.

mod answered;
mod api;
mod facts;
mod frames;
mod said;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::look::Both;
use super::spool::Spooled;
use crate::model::conn::ConnectionUid;
use crate::model::exchange::HttpExchange;
use crate::model::gen_ai::GenAi;
use crate::model::judge::Wanted;
use crate::model::message::Fields;
use answered::Answered;
use api::Api;
use frames::Frames;
use said::Said;
use source::Source;

/// Maximum number of calls in progress.
const MOST: usize = 1024;
/// Maximum bytes that are remembered of them together.
const MOST_BYTES: usize = 32 << 20;

/// Identifies an exchange: its connection, and its number there.
type Name = (ConnectionUid, u64);

/// True when `http` is a call to a language model, judging by its head.
pub(super) fn is_call(http: &HttpExchange) -> bool {
    http.request.as_ref().is_some_and(|request| api::of(request).is_some())
}

/// Whether the bodies of `http` are to be read, judging by its head.
pub(super) fn wanted(http: &HttpExchange) -> Wanted {
    match &http.request {
        None => Wanted::Open,
        Some(_) if is_call(http) => Wanted::Yes,
        Some(_) => Wanted::No,
    }
}

/// What is reported of a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) facts: GenAi,
    /// A JSON document.
    pub(super) conversation: Vec<u8>,
}

/// Calls in progress.
#[derive(Debug, Default)]
pub(super) struct Calls {
    under_way: HashMap<Name, (u64, Call)>,
    /// Names in the order of their last update.
    order: BTreeMap<u64, Name>,
    turns: u64,
    bytes: usize,
}

/// One call.
#[derive(Debug)]
struct Call {
    api: Api,
    facts: Option<GenAi>,
    said: Said,
    /// Size in bytes of the request document.
    said_bytes: usize,
    request: Frames,
    answer: Option<Frames>,
    answered: Answered,
    /// True when the request body looks like that of a call.
    fits: bool,
}

impl Calls {
    /// Reads an exchange, or the next part of one; returns the result with the last part.
    pub(super) fn read(
        &mut self,
        name: Name,
        http: &HttpExchange,
        (undone, spooled): (&Both, Option<&Spooled>),
    ) -> Option<Told> {
        let last = http.part.is_none_or(|part| part.last);
        let known = self.take(name);
        let first = http.part.is_none_or(|part| part.number == 0);
        let mut call = match known {
            Some(call) => call,
            None if first => {
                let request = http.request.as_ref()?;
                Call::new(api::of(request)?, &request.fields, http.part.is_some())
            }
            None => return None,
        };
        call.read(http, (undone, spooled), last);
        if last {
            return call.told();
        }
        self.put(name, call);
        None
    }

    fn take(&mut self, name: Name) -> Option<Call> {
        let (turn, call) = self.under_way.remove(&name)?;
        self.order.remove(&turn);
        self.bytes -= call.memory();
        Some(call)
    }

    fn put(&mut self, name: Name, call: Call) {
        let bytes = call.memory();
        while self.under_way.len() >= MOST || self.bytes + bytes > MOST_BYTES {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some((_, gone)) = self.under_way.remove(&oldest) {
                self.bytes -= gone.memory();
            }
        }
        self.turns += 1;
        self.bytes += bytes;
        self.order.insert(self.turns, name);
        self.under_way.insert(name, (self.turns, call));
    }
}

impl Call {
    fn new(api: Api, fields: &Fields, parts: bool) -> Call {
        let request = Frames::new(fields.get("content-type").unwrap_or_default(), parts);
        Call {
            fits: api.certain,
            api,
            facts: None,
            said: Said::default(),
            said_bytes: 0,
            request,
            answer: None,
            answered: Answered::default(),
        }
    }

    /// Approximate memory use in bytes.
    fn memory(&self) -> usize {
        let answer = self.answer.as_ref().map_or(0, Frames::memory);
        size_of::<Call>() + self.request.memory() + self.said_bytes * 2 + answer + self.answered.memory()
    }

    fn read(&mut self, http: &HttpExchange, ([asked, answered], spooled): (&Both, Option<&Spooled>), last: bool) {
        if let Some(request) = http.request.as_ref().filter(|_| self.facts.is_none()) {
            let bytes = Source::of(&request.body, asked, spooled.and_then(|spooled| spooled.request.as_ref()));
            let whole = last || request.ended.is_some();
            let (api, facts, said, fits) = (&self.api, &mut self.facts, &mut self.said, &mut self.fits);
            let said_bytes = &mut self.said_bytes;
            bytes.read(&mut self.request, whole, &mut |value| {
                *said_bytes = bytes.len();
                *fits |= looks_like_one(&value);
                *facts = Some(facts::of_request(api, &value));
                *said = said::of(&value);
            });
        }
        if let Some(response) = &http.response {
            let content_type = response.fields.get("content-type").unwrap_or_default();
            let bytes = Source::of(&response.body, answered, spooled.and_then(|spooled| spooled.response.as_ref()));
            let frames = self.answer.get_or_insert_with(|| Frames::new(content_type, http.part.is_some()));
            let (api, facts, answer) = (&self.api, &mut self.facts, &mut self.answered);
            bytes.read(frames, last, &mut |value| {
                let facts = facts.get_or_insert_with(|| facts::of_request(api, &Value::Null));
                facts::of_answer(facts, &value);
                answer.take(&value);
            });
        }
    }

    /// The result of the call; `None` if the exchange was not a call.
    fn told(self) -> Option<Told> {
        if !self.fits {
            return None;
        }
        let mut facts = self.facts.unwrap_or_else(|| facts::of_request(&self.api, &Value::Null));
        facts::finish(&mut facts, self.api.format);
        let mut document = json!({
            "provider": facts.provider,
            "operation": facts.operation,
            "model": facts.response_model.as_ref().or(facts.request_model.as_ref()),
            "system_instructions": self.said.instructions,
            "input_messages": self.said.messages,
            "output_messages": self.answered.messages(&facts.finish_reasons),
        });
        if let Some(document) = document.as_object_mut().filter(|_| self.answered.truncated) {
            document.insert("truncated".to_owned(), true.into());
        }
        Some(Told { facts, conversation: document.to_string().into_bytes() })
    }
}

/// True for a request that names a model and contains input for it.
fn looks_like_one(request: &Value) -> bool {
    let has = |name: &str| request.get(name).is_some_and(|value| value.is_string() || value.is_array());
    let said = ["messages", "prompt", "input", "contents", "inputText"].iter().any(|name| has(name));
    said && (request.get("model").is_some_and(Value::is_string)
        || ["contents", "inputText", "anthropic_version", "inferenceConfig"]
            .iter()
            .any(|name| request.get(*name).is_some()))
}
