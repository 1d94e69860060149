//! A model's answer, assembled from a document or from the events of a stream. In: those, one after the other. Out: messages in the shape
//! that the semantic conventions define. The collected data is bounded.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::said;

/// Maximum bytes of an answer to collect.
const MOST: usize = 1 << 20;
/// Maximum number of choices, and of parts per choice.
const PLACES: u64 = 64;

/// The answer so far.
#[derive(Debug, Default)]
pub(super) struct Answered {
    choices: BTreeMap<u64, Choice>,
    /// Answers that arrived whole.
    whole: Vec<Value>,
    bytes: usize,
    pub(super) truncated: bool,
}

#[derive(Debug, Default)]
struct Choice {
    /// Text, reasoning and calls, in the order in which they began.
    parts: BTreeMap<u64, Part>,
}

#[derive(Debug, Default)]
struct Part {
    kind: Kind,
    text: String,
    id: Option<Value>,
    name: Option<Value>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Text,
    Reasoning,
    Call,
}

/// Default indexes for parts that do not carry an index.
const REASONING: u64 = 0;
const TEXT: u64 = 1;
const CALLS: u64 = 2;

impl Answered {
    /// Approximate memory use in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes
    }

    /// Adds a document or an event.
    pub(super) fn take(&mut self, value: &Value) {
        self.openai(value);
        self.responses(value);
        self.blocks(value);
        self.gemini(value);
        self.plain(value);
    }

    /// The messages so far, each with its finish reason.
    pub(super) fn messages(&self, reasons: &[String]) -> Vec<Value> {
        let told = self.choices.values().map(|choice| {
            let parts = choice.parts.values().filter(|part| part.kind == Kind::Call || !part.text.is_empty());
            json!({"role": "assistant", "parts": parts.map(Part::told).collect::<Vec<_>>()})
        });
        let mut messages: Vec<Value> = if self.whole.is_empty() { told.collect() } else { self.whole.clone() };
        for (message, reason) in messages.iter_mut().zip(reasons) {
            if let Some(message) = message.as_object_mut() {
                message.insert("finish_reason".to_owned(), reason.as_str().into());
            }
        }
        messages
    }

    fn part(&mut self, choice: u64, place: u64, kind: Kind) -> Option<&mut Part> {
        if choice >= PLACES || place >= PLACES {
            self.truncated = true;
            return None;
        }
        let part = self.choices.entry(choice).or_default().parts.entry(place).or_default();
        if kind != Kind::Text {
            part.kind = kind;
        }
        Some(part)
    }

    fn add(&mut self, choice: u64, place: u64, kind: Kind, text: Option<&Value>) {
        let text = match text {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => return,
            Some(other) => other.to_string(),
        };
        if self.bytes + text.len() > MOST {
            self.truncated = true;
            return;
        }
        self.bytes += text.len();
        if let Some(part) = self.part(choice, place, kind) {
            part.text.push_str(&text);
        }
    }

    fn call(&mut self, choice: u64, place: u64, id: Option<&Value>, name: Option<&Value>) {
        let small =
            |value: Option<&Value>| value.filter(|value| value.as_str().is_some_and(|text| text.len() < 256)).cloned();
        let (id, name) = (small(id), small(name));
        if let Some(part) = self.part(choice, place, Kind::Call) {
            part.id = id.or(part.id.take());
            part.name = name.or(part.name.take());
        }
    }

    /// OpenAI chat completions and completions.
    fn openai(&mut self, value: &Value) {
        for (at, choice) in array(value.get("choices")).enumerate() {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(at as u64);
            self.add(index, TEXT, Kind::Text, choice.get("text"));
            if let Some(message) = choice.get("delta").or_else(|| choice.get("message")) {
                self.message(index, message);
            }
        }
    }

    fn message(&mut self, index: u64, message: &Value) {
        let reasoning = ["reasoning_content", "reasoning", "thinking"].iter().find_map(|name| message.get(*name));
        self.add(index, REASONING, Kind::Reasoning, reasoning.filter(|reasoning| reasoning.is_string()));
        match message.get("content") {
            Some(Value::Array(list)) => {
                list.iter().for_each(|part| self.add(index, TEXT, Kind::Text, part.get("text")));
            }
            content => self.add(index, TEXT, Kind::Text, content.filter(|content| content.is_string())),
        }
        for (at, call) in array(message.get("tool_calls")).enumerate() {
            let place = CALLS + call.get("index").and_then(Value::as_u64).unwrap_or(at as u64);
            let function = call.get("function").unwrap_or(call);
            self.call(index, place, call.get("id"), function.get("name"));
            self.add(index, place, Kind::Call, function.get("arguments"));
        }
    }

    /// OpenAI responses: whole at the end, in pieces until then.
    fn responses(&mut self, value: &Value) {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "response.output_text.delta" => self.add(0, TEXT, Kind::Text, value.get("delta")),
            "response.reasoning_summary_text.delta" => self.add(0, REASONING, Kind::Reasoning, value.get("delta")),
            _ => {}
        }
        let ends = matches!(kind, "response.completed" | "response.incomplete" | "");
        let output = value.pointer("/response/output").or_else(|| value.get("output")).and_then(Value::as_array);
        let Some(output) = output.filter(|_| ends) else { return };
        let size = Value::Array(output.clone()).to_string().len();
        if size > MOST {
            self.truncated = true;
            return;
        }
        self.bytes = self.bytes.max(size);
        let parts: Vec<Value> = output
            .iter()
            .flat_map(|item| match item.get("content") {
                Some(content) if item.get("type").and_then(Value::as_str) == Some("message") => said::parts(content),
                _ => said::parts(item),
            })
            .collect();
        self.whole = vec![json!({"role": "assistant", "parts": parts})];
    }

    /// Content blocks of Anthropic and Converse.
    fn blocks(&mut self, value: &Value) {
        let whole = value.get("content").or_else(|| value.pointer("/output/message/content"));
        for (at, block) in array(whole).enumerate() {
            self.block(at as u64, block);
        }
        let index = ["index", "contentBlockIndex"].iter().find_map(|name| value.get(*name)?.as_u64());
        let Some(index) = index else { return };
        if let Some(block) = value.get("content_block").or_else(|| value.get("start")) {
            // The input of the call arrives in pieces.
            let call = block.get("toolUse").unwrap_or(block);
            if call.get("name").is_some() {
                self.call(0, index, call.get("id").or_else(|| call.get("toolUseId")), call.get("name"));
            } else {
                self.block(index, block);
            }
        }
        if let Some(delta) = value.get("delta") {
            self.add(0, index, Kind::Text, delta.get("text").filter(|text| text.is_string()));
            let thinking = delta.get("thinking").or_else(|| delta.pointer("/reasoningContent/text"));
            self.add(0, index, Kind::Reasoning, thinking);
            self.add(0, index, Kind::Call, delta.get("partial_json").or_else(|| delta.pointer("/toolUse/input")));
        }
    }

    fn block(&mut self, place: u64, block: &Value) {
        let call = block.get("toolUse").unwrap_or(block);
        if let Some(input) = call.get("input") {
            self.call(0, place, call.get("id").or_else(|| call.get("toolUseId")), call.get("name"));
            self.add(0, place, Kind::Call, Some(input));
        }
        self.add(0, place, Kind::Text, block.get("text").filter(|text| text.is_string()));
        let thinking = block.get("thinking").or_else(|| block.pointer("/reasoningContent/reasoningText/text"));
        self.add(0, place, Kind::Reasoning, thinking);
    }

    fn gemini(&mut self, value: &Value) {
        for (at, candidate) in array(value.get("candidates")).enumerate() {
            let index = candidate.get("index").and_then(Value::as_u64).unwrap_or(at as u64);
            for part in array(candidate.pointer("/content/parts")) {
                if let Some(call) = part.get("functionCall") {
                    let place = CALLS + self.choices.get(&index).map_or(0, |choice| choice.parts.len() as u64);
                    self.call(index, place, call.get("id"), call.get("name"));
                    self.add(index, place, Kind::Call, call.get("args"));
                } else if part.get("thought").and_then(Value::as_bool) == Some(true) {
                    self.add(index, REASONING, Kind::Reasoning, part.get("text"));
                } else {
                    self.add(index, TEXT, Kind::Text, part.get("text"));
                }
            }
        }
    }

    /// Interfaces that return a single text: Ollama, and models behind Bedrock.
    fn plain(&mut self, value: &Value) {
        let text = ["response", "generation", "completion", "outputText"].iter().find_map(|name| value.get(*name));
        self.add(0, TEXT, Kind::Text, text.filter(|text| text.is_string()));
        for (at, result) in array(value.get("results")).enumerate() {
            self.add(at as u64, TEXT, Kind::Text, result.get("outputText"));
        }
        // From Ollama; an Anthropic message has a type.
        if let Some(message) = value.get("message").filter(|message| message.get("type").is_none()) {
            self.message(0, message);
        }
    }
}

impl Part {
    fn told(&self) -> Value {
        match self.kind {
            Kind::Text => json!({"type": "text", "content": self.text}),
            Kind::Reasoning => json!({"type": "reasoning", "content": self.text}),
            Kind::Call => {
                let arguments = Value::String(self.text.clone());
                said::tool_call(self.id.as_ref(), self.name.as_ref(), Some(&arguments))
            }
        }
    }
}

fn array(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}
