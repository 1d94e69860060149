//! Calls to language models as real programs make them: the gen_ai attributes of each, and none without the plugin.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::lab::Lab;
use super::python::{Script, interpreter, script};
use super::qtap::exec;
use super::records::{Record, Records};

/// Attributes of a chat completion call, without those that come from its response.
fn asked() -> Value {
    json!({
        "gen_ai.provider.name": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.25,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 21,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 1,
    })
}

/// The attributes expected for the call with that query.
fn attributes(query: &str) -> Value {
    let chat = |id: &str, reason: &str| {
        let mut told = asked();
        told["gen_ai.response.id"] = id.into();
        told["gen_ai.response.finish_reasons"] = json!([reason]);
        told
    };
    match query {
        "whole" => chat("chatcmpl-1", "stop"),
        "streamed" | "curl" => chat("chatcmpl-2", "length"),
        "messages" => json!({
            "gen_ai.provider.name": "anthropic",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.request.max_tokens": 128,
            "gen_ai.response.id": "msg_1",
            "gen_ai.response.model": "claude-sonnet-4-5-20250929",
            "gen_ai.response.finish_reasons": ["tool_use"],
            "gen_ai.usage.input_tokens": 25 + 10 + 5,
            "gen_ai.usage.output_tokens": 33,
            "gen_ai.usage.cache_read.input_tokens": 10,
            "gen_ai.usage.cache_creation.input_tokens": 5,
        }),
        "ollama" => json!({
            "gen_ai.provider.name": "ollama",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "llama3.2",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": 32,
            "gen_ai.response.model": "llama3.2",
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": 26,
            "gen_ai.usage.output_tokens": 2,
        }),
        _ => json!({}),
    }
}

/// The conversation expected for the call with that query.
fn conversation(query: &str) -> Value {
    let said = |role: &str, text: &str| json!({"role": role, "parts": [{"type": "text", "content": text}]});
    let chat = |answer: &str, reason: &str| {
        let mut answered = said("assistant", answer);
        answered["finish_reason"] = reason.into();
        json!({
            "provider": "openai", "operation": "chat", "model": "gpt-4o-2024-08-06", "system_instructions": [],
            "input_messages": [said("system", "Be brief."), said("user", "My card is [redacted].")],
            "output_messages": [answered],
        })
    };
    match query {
        "whole" => chat("Noted.", "stop"),
        "streamed" | "curl" => chat("You said [redacted].", "length"),
        "messages" => json!({
            "provider": "anthropic", "operation": "chat", "model": "claude-sonnet-4-5-20250929",
            "system_instructions": [{"type": "text", "content": "Be kind."}],
            "input_messages": [said("user", "Weather in Rome?")],
            "output_messages": [{"role": "assistant", "finish_reason": "tool_use", "parts": [
                {"type": "text", "content": "Let me look."},
                {"type": "tool_call", "id": "toolu_1", "name": "weather", "arguments": {"city": "Rome"}},
            ]}],
        }),
        "ollama" => json!({
            "provider": "ollama", "operation": "chat", "model": "llama3.2", "system_instructions": [],
            "input_messages": [said("user", "Hi")],
            "output_messages": [{"role": "assistant", "finish_reason": "stop", "parts": [{"type": "text", "content": "Hello"}]}],
        }),
        other => panic!("{other} is no call"),
    }
}

/// The attributes of a record that begin with `gen_ai.`, as plain JSON values.
fn told(record: &Record) -> Value {
    let plain = |value: &Value| match value.as_object().and_then(|value| value.iter().next()) {
        Some((kind, value)) if kind == "intValue" => value.as_str().unwrap().parse::<i64>().unwrap().into(),
        Some((_, value)) => value.clone(),
        None => Value::Null,
    };
    let list = record.log["attributes"].as_array().unwrap().iter();
    let calls = list.filter(|one| one["key"].as_str().unwrap().starts_with("gen_ai."));
    let value = |value: &Value| match value["arrayValue"]["values"].as_array() {
        Some(list) => list.iter().map(plain).collect(),
        None => plain(value),
    };
    calls.map(|one| (one["key"].as_str().unwrap().to_owned(), value(&one["value"]))).collect()
}

/// Conversations by the exchange they belong to.
fn conversations(records: &Records) -> BTreeMap<&str, Value> {
    let objects = records.objects().into_iter();
    let objects = objects.filter(|object| object.text("artifact.type") == "gen_ai_conversation");
    objects.map(|object| (object.text("connection.request_id"), object.artifact())).collect()
}

/// The records of a program that calls models, and of curl, with a stack of `capture` and `plugin`.
fn ask(lab: &Lab, [plain, tls]: [&str; 2], capture: &str, plugin: &str) -> Records {
    let config = format!(
        "version: 2
services: {{event_stores: [{{type: stdout}}], object_stores: [{{type: stdout}}]}}
stacks:
  s:
    plugins:
      - {{type: http_capture, config: {{level: {capture}}}}}
      - {{type: redact, config: {{patterns: [card]}}}}
{plugin}"
    );
    let config = lab.write("qtap.yaml", config.as_bytes()).display().to_string();
    let (python, program) = (interpreter().unwrap(), script("llm.py"));
    let (python, program) = (python.display(), program.display());
    // curl names the provider in its URL, the program in the Host header alone.
    let line = format!(
        "cd {dir} && {python} {program} asked > asked.json && {python} {program} ask http://127.0.0.1:{plain} https://127.0.0.1:{tls} && \
         curl -skN -o /dev/null --resolve api.openai.com:{tls}:127.0.0.1 -H 'Content-Type: application/json' \
           --data-binary @asked.json 'https://api.openai.com:{tls}/v1/chat/completions?curl'",
        dir = lab.dir().display(),
    );
    let captured = exec(lab, ["--config", &config], ["sh", "-c", &line]);
    assert_eq!(captured.code, Some(0), "{}\n{}", captured.stderr, captured.stdout);
    captured.records.assert_whole();
    captured.records
}

#[test]
fn calls_are_told_and_only_where_that_is_asked_for() {
    let Some(lab) = Lab::open() else { return };
    super::nginx::certificate(lab.dir());
    let (cert, key) = (lab.path("cert.pem").display().to_string(), lab.path("key.pem").display().to_string());
    let Some(mut server) = Script::start("llm.py", &["serve", &cert, &key]) else { return };
    let line = server.line();
    let ports = line.split_once(' ').unwrap();
    for (capture, plugin, attributes_told, conversation_told) in [
        ("full", "      - {type: gen_ai}\n", true, true),
        ("full", "      - {type: gen_ai, config: {conversations: false}}\n", true, false),
        ("summary", "      - {type: gen_ai}\n", true, false),
        ("full", "", false, false),
    ] {
        let records = ask(&lab, ports.into(), capture, plugin);
        let case = format!("{capture} {plugin}");
        let mut queries: Vec<_> = records.exchanges().iter().map(|exchange| exchange.text("url.query")).collect();
        queries.sort_unstable();
        let twice = ["messages", "ollama", "other", "streamed", "unlike", "whole"].map(|query| [query; 2]);
        assert_eq!(queries, [&["curl"], twice.as_flattened()].concat(), "{case}: {}", records.told());
        let mut conversations = conversations(&records);
        for exchange in records.exchanges() {
            let query = exchange.text("url.query");
            let is_call = query != "other" && query != "unlike";
            let wanted = if attributes_told { attributes(query) } else { json!({}) };
            assert_eq!(told(exchange), wanted, "{case}: {exchange:?}");
            let found = conversations.remove(exchange.text("connection.request_id"));
            assert_eq!(found, (is_call && conversation_told).then(|| conversation(query)), "{case}: {exchange:?}");
        }
        assert_eq!(conversations.len(), 0, "{case}: of no exchange");
        let all = format!("{:?}", records.all);
        assert!(!all.contains("4111 1111"), "{case}: the number, but for its halves in two events of a body");
        assert_eq!(all.contains("gen_ai"), attributes_told, "{case}");
    }
}
