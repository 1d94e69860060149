//! Calls of each interface, modelled on its vendor's public documentation, streamed and not. In: a request and an answer, whole
//! or in parts. Out: the facts and the conversation.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use base64::engine::{Engine as _, general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::model::conn::Protocol;
use crate::model::exchange::Part;
use crate::model::message::{Body, Field, FieldText, Request, Response, Version};
use crate::model::time::KernelTime;

fn body(offset: u64, bytes: &[u8]) -> Body {
    let size = offset + bytes.len() as u64;
    Body { offset, chunks: vec![Bytes::copy_from_slice(bytes)], size, ..Body::default() }
}

fn fields(content_type: &str) -> Fields {
    let known = |text: &str| FieldText::Known(Bytes::copy_from_slice(text.as_bytes()));
    Fields(vec![Field { name: known("content-type"), value: known(content_type) }])
}

fn exchange(url: &str, asked: &[u8], content_type: &str, answer: Body, part: Option<Part>) -> HttpExchange {
    let (authority, path) = url.split_once('/').unwrap();
    let later = part.is_some_and(|part| part.number > 0);
    let request = Request {
        method: Some("POST".to_owned()),
        target: Some(format!("/{path}")),
        scheme: None,
        authority: Some(authority.to_owned()),
        protocol: None,
        version: Version::Http11,
        fields: fields("application/json"),
        body: if later { Body::default() } else { body(0, asked) },
        trailers: Fields::default(),
        started: KernelTime(1),
        ended: Some(KernelTime(2)),
    };
    let response = Response {
        status: Some(200),
        reason: Bytes::new(),
        informational: Vec::new(),
        version: Version::Http11,
        fields: fields(content_type),
        body: answer,
        trailers: Fields::default(),
        started: KernelTime(3),
        ended: Some(KernelTime(4)),
    };
    HttpExchange {
        protocol: Protocol::Http1,
        ordinal: 0,
        outgoing: true,
        pid: 1,
        request: Some(request),
        response: Some(response),
        incomplete: None,
        part,
    }
}

/// The result for a call whose answer arrives in pieces of `size` bytes; whole if `size` is 0.
fn told(url: &str, asked: &Value, content_type: &str, answer: &[u8], size: usize) -> Option<Told> {
    let (mut calls, name) = (Calls::default(), (ConnectionUid([1; 16]), 7));
    let asked = asked.to_string().into_bytes();
    if size == 0 {
        return calls.read(name, &exchange(url, &asked, content_type, body(0, answer), None), (&[None, None], None));
    }
    let pieces: Vec<&[u8]> = answer.chunks(size).collect();
    let mut told = None;
    for (n, piece) in pieces.iter().enumerate() {
        let last = n + 1 == pieces.len();
        let part = Part { number: n as u32, last, large: false };
        let http = exchange(url, &asked, content_type, body((n * size) as u64, piece), Some(part));
        assert!(told.is_none());
        told = calls.read(name, &http, (&[None, None], None));
    }
    assert!(calls.under_way.is_empty() && calls.order.is_empty() && calls.bytes == 0);
    told
}

/// The result, which must be the same for every piece size.
fn always(url: &str, asked: &Value, content_type: &str, answer: &[u8]) -> (GenAi, Value) {
    let whole = told(url, asked, content_type, answer, 0).unwrap();
    for size in [1, 7, 100] {
        assert_eq!(told(url, asked, content_type, answer, size).as_ref(), Some(&whole), "in pieces of {size}");
    }
    (whole.facts, serde_json::from_slice(&whole.conversation).unwrap())
}

const SSE: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

fn events(list: &[Value]) -> Vec<u8> {
    let mut text: String = list.iter().map(|event| format!("event: x\ndata: {event}\n\n")).collect();
    text.push_str("data: [DONE]\n\n");
    text.into_bytes()
}

/// AWS frames, with headers and checksums that the parser ignores.
fn frames(list: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in list {
        let (headers, payload) = (b"\x0b:event-type\x07\x00\x01x", event.to_string());
        let total = (12 + headers.len() + payload.len() + 4) as u32;
        bytes.extend_from_slice(&total.to_be_bytes());
        bytes.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(headers);
        bytes.extend_from_slice(payload.as_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes
}

type Count = Option<u64>;

fn tokens(facts: &GenAi) -> (Count, Count, Count, Count, Count) {
    let GenAi { input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, reasoning_tokens, .. } = facts;
    (*input_tokens, *output_tokens, *cache_read_tokens, *cache_creation_tokens, *reasoning_tokens)
}

fn named(facts: &GenAi) -> (&str, &str, Option<&str>, Option<&str>, Option<&str>) {
    let text = |text: &'_ Option<String>| text.clone();
    let leak = |text: Option<String>| text.map(|text| &*text.leak());
    (
        facts.provider,
        facts.operation,
        leak(text(&facts.request_model)),
        leak(text(&facts.response_model)),
        leak(text(&facts.response_id)),
    )
}

fn chat() -> Value {
    json!({
        "model": "gpt-4o", "temperature": 0.2, "top_p": 0.9, "max_completion_tokens": 100, "n": 2, "seed": 42, "stop": ["END", "STOP"],
        "frequency_penalty": 0.5, "presence_penalty": -0.5, "stream": true,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}, {"type": "image_url", "image_url": {"url": "data:…"}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "rainy"}
        ]
    })
}

#[test]
fn chat_completions() {
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Rain."}, "finish_reason": "stop"},
            {"index": 1, "message": {"role": "assistant", "content": null, "tool_calls": [{"id": "c2", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}, "finish_reason": "tool_calls"}
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    });
    let (facts, said) = always("api.openai.com/v1/chat/completions", &chat(), JSON, answer.to_string().as_bytes());
    assert_eq!(named(&facts), ("openai", "chat", Some("gpt-4o"), Some("gpt-4o-2024-08-06"), Some("chatcmpl-1")));
    assert_eq!(tokens(&facts), (Some(12), Some(5), Some(4), None, Some(2)));
    assert_eq!(facts.finish_reasons, ["stop", "tool_calls"]);
    let asked = (facts.temperature, facts.top_p, facts.max_tokens, facts.choice_count, facts.seed);
    assert_eq!(asked, (Some(0.2), Some(0.9), Some(100), Some(2), Some(42)));
    assert_eq!((facts.frequency_penalty, facts.presence_penalty), (Some(0.5), Some(-0.5)));
    assert_eq!(facts.stop_sequences, ["END", "STOP"]);
    assert_eq!(
        said["input_messages"],
        json!([
            {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
            {"role": "user", "parts": [{"type": "text", "content": "Weather?"}, {"type": "image_url"}]},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Rome"}}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rainy"}]}
        ])
    );
    assert_eq!(
        said["output_messages"],
        json!([
            {"role": "assistant", "parts": [{"type": "text", "content": "Rain."}], "finish_reason": "stop"},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c2", "name": "f", "arguments": {"a": 1}}], "finish_reason": "tool_calls"}
        ])
    );
}

#[test]
fn chat_completions_streamed() {
    let chunk = |choices: Value| json!({"id": "chatcmpl-2", "model": "gpt-4o-mini", "choices": choices, "usage": null});
    let mut list = vec![
        chunk(json!([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}])),
        chunk(json!([{"index": 0, "delta": {"content": "Hel"}, "finish_reason": null}])),
        chunk(json!([{"index": 0, "delta": {"content": "lo"}, "finish_reason": null}])),
        chunk(
            json!([{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]}}]),
        ),
        chunk(json!([{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":"}}]}}])),
        chunk(json!([{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}}])),
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}])),
    ];
    list.push(json!({"id": "chatcmpl-2", "model": "gpt-4o-mini", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}));
    let (facts, said) = always(
        "my.openai.azure.com/openai/deployments/dep1/chat/completions?api-version=1",
        &json!({"messages": []}),
        SSE,
        &events(&list),
    );
    assert_eq!(named(&facts), ("azure.ai.openai", "chat", Some("dep1"), Some("gpt-4o-mini"), Some("chatcmpl-2")));
    assert_eq!(
        (tokens(&facts).0, tokens(&facts).1, facts.finish_reasons.as_slice()),
        (Some(3), Some(9), &["stop".to_owned()][..])
    );
    assert_eq!(
        said["output_messages"],
        json!([{"role": "assistant", "finish_reason": "stop", "parts": [
            {"type": "text", "content": "Hello"}, {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}
        ]}])
    );
}

#[test]
fn providers_that_are_like_it() {
    let asked = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    for (url, provider) in [
        ("api.mistral.ai/v1/chat/completions", "mistral_ai"),
        ("api.groq.com/openai/v1/chat/completions", "groq"),
        ("api.deepseek.com/chat/completions", "deepseek"),
        ("res.services.ai.azure.com/models/chat/completions", "azure.ai.inference"),
        ("localhost:11434/v1/chat/completions", "ollama"),
        ("llm.internal/v1/chat/completions", "openai"),
    ] {
        let (facts, _) = always(url, &asked, JSON, br#"{"id":"1","choices":[]}"#);
        assert_eq!((facts.provider, facts.operation), (provider, "chat"), "{url}");
    }
}

#[test]
fn responses() {
    let asked = json!({"model": "gpt-5", "instructions": "Be brief.", "max_output_tokens": 50, "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call_output", "call_id": "c0", "output": "1"}
    ]});
    let done = json!({"id": "resp_1", "object": "response", "model": "gpt-5-2025", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": [
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"}
    ], "usage": {"input_tokens": 7, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": 8, "output_tokens_details": {"reasoning_tokens": 1}}});
    let streamed = events(&[
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5-2025", "output": []}}),
        json!({"type": "response.output_item.added", "item": {"id": "msg_1", "type": "message"}}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hel"}),
        json!({"type": "response.completed", "response": done}),
    ]);
    for (content_type, answer) in [(JSON, done.to_string().into_bytes()), (SSE, streamed)] {
        let (facts, said) = always("api.openai.com/v1/responses", &asked, content_type, &answer);
        assert_eq!(named(&facts), ("openai", "chat", Some("gpt-5"), Some("gpt-5-2025"), Some("resp_1")));
        assert_eq!(tokens(&facts), (Some(7), Some(8), Some(3), None, Some(1)));
        assert_eq!(
            (facts.finish_reasons.as_slice(), facts.max_tokens),
            (&["max_output_tokens".to_owned()][..], Some(50))
        );
        assert_eq!(said["system_instructions"], json!([{"type": "text", "content": "Be brief."}]));
        assert_eq!(said["input_messages"][0], json!({"role": "user", "parts": [{"type": "text", "content": "Hi"}]}));
        assert_eq!(said["input_messages"][1]["parts"][0]["type"], "tool_call_response");
        assert_eq!(
            said["output_messages"][0]["parts"],
            json!([
                {"type": "text", "content": "Hello"}, {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}}
            ])
        );
    }
}

#[test]
fn anthropic() {
    let asked = json!({"model": "claude-x", "max_tokens": 99, "top_k": 5, "stop_sequences": ["X"], "system": "Be brief.", "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t0", "content": "ok"}]}
    ]});
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1", "stop_reason": "tool_use", "content": [
        {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    ], "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 20}});
    let streamed = events(&[
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1", "content": [], "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}}),
        json!({"type": "message_stop"}),
    ]);
    for (content_type, answer) in [(JSON, answer.to_string().into_bytes()), (SSE, streamed)] {
        let (facts, said) = always("api.anthropic.com/v1/messages", &asked, content_type, &answer);
        assert_eq!(named(&facts), ("anthropic", "chat", Some("claude-x"), Some("claude-x-1"), Some("msg_1")));
        assert_eq!(tokens(&facts), (Some(17), Some(20), Some(5), Some(2), None), "caches are part of the input");
        assert_eq!(
            (facts.finish_reasons.as_slice(), facts.max_tokens, facts.top_k),
            (&["tool_use".to_owned()][..], Some(99), Some(5.0))
        );
        assert_eq!(
            said["output_messages"],
            json!([{"role": "assistant", "finish_reason": "tool_use", "parts": [
                {"type": "reasoning", "content": "hm"}, {"type": "text", "content": "Hello"},
                {"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}}
            ]}])
        );
        assert_eq!(
            said["input_messages"][1]["parts"],
            json!([{"type": "tool_call_response", "id": "t0", "response": "ok"}])
        );
    }
}

#[test]
fn gemini() {
    let asked = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"data": "…"}}]}], "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"temperature": 1.0, "topP": 0.5, "topK": 3, "maxOutputTokens": 9, "candidateCount": 2, "stopSequences": ["S"]}});
    let part = |text: &str, reason: Value| {
        json!({"responseId": "r1", "modelVersion": "gemini-2.5-flash", "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": reason}],
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 6, "thoughtsTokenCount": 3, "cachedContentTokenCount": 1}})
    };
    let list = [part("Hel", Value::Null), part("lo", json!("STOP"))];
    let path = "generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent";
    for (url, content_type, answer) in [
        (format!("{path}?alt=sse"), SSE, events(&list)),
        (path.to_owned(), JSON, Value::Array(list.to_vec()).to_string().into_bytes()),
        (path.replace("streamG", "g"), JSON, part("Hello", json!("STOP")).to_string().into_bytes()),
    ] {
        let (facts, said) = always(&url, &asked, content_type, &answer);
        assert_eq!(
            named(&facts),
            ("gcp.gemini", "generate_content", Some("gemini-2.5-flash"), Some("gemini-2.5-flash"), Some("r1"))
        );
        assert_eq!(tokens(&facts), (Some(4), Some(9), Some(1), None, Some(3)));
        assert_eq!(
            (facts.top_p, facts.top_k, facts.max_tokens, facts.choice_count),
            (Some(0.5), Some(3.0), Some(9), Some(2))
        );
        assert_eq!(
            said["output_messages"],
            json!([{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "STOP"}])
        );
        assert_eq!(
            said["input_messages"][0]["parts"],
            json!([{"type": "text", "content": "Hi"}, {"type": "inlineData"}])
        );
    }
    let vertex =
        "europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/g:generateContent";
    assert_eq!(always(vertex, &asked, JSON, b"{}").0.provider, "gcp.vertex_ai");
}

#[test]
fn bedrock_converse() {
    let asked = json!({"system": [{"text": "Be brief."}], "messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 5, "temperature": 0.1, "topP": 0.2, "stopSequences": ["S"]}});
    let answer = json!({"output": {"message": {"role": "assistant", "content": [{"text": "Hello"}, {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}]}}, "stopReason": "tool_use",
        "usage": {"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 2}});
    let streamed = frames(&[
        json!({"role": "assistant"}),
        json!({"contentBlockIndex": 0, "delta": {"text": "Hel"}}),
        json!({"contentBlockIndex": 0, "delta": {"text": "lo"}}),
        json!({"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "f"}}}),
        json!({"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{\"a\":1}"}}}),
        json!({"stopReason": "tool_use"}),
        json!({"usage": {"inputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 2}, "metrics": {"latencyMs": 1}}),
    ]);
    let host = "bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-x%3A0";
    for (url, content_type, answer) in [
        (format!("{host}/converse"), JSON, answer.to_string().into_bytes()),
        (format!("{host}/converse-stream"), "application/vnd.amazon.eventstream", streamed),
    ] {
        let (facts, said) = always(&url, &asked, content_type, &answer);
        assert_eq!(named(&facts), ("aws.bedrock", "chat", Some("anthropic.claude-x:0"), None, None));
        assert_eq!(tokens(&facts), (Some(5), Some(4), Some(2), None, None));
        assert_eq!(
            (facts.max_tokens, facts.temperature, facts.finish_reasons.as_slice()),
            (Some(5), Some(0.1), &["tool_use".to_owned()][..])
        );
        assert_eq!(
            said["output_messages"][0]["parts"],
            json!([
                {"type": "text", "content": "Hello"}, {"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}}
            ])
        );
    }
}

#[test]
fn bedrock_invoke() {
    let host = "bedrock-runtime.eu-west-1.amazonaws.com/model";
    let asked = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]});
    let chunk = |event: Value| json!({"bytes": STANDARD.encode(event.to_string()), "p": "abc"});
    let streamed = frames(&[
        chunk(
            json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "model": "claude-x", "usage": {"input_tokens": 3, "output_tokens": 1}}}),
        ),
        chunk(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}})),
        chunk(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}})),
    ]);
    let (facts, said) = always(
        &format!("{host}/anthropic.claude-x/invoke-with-response-stream"),
        &asked,
        "application/vnd.amazon.eventstream",
        &streamed,
    );
    assert_eq!(named(&facts), ("aws.bedrock", "chat", Some("anthropic.claude-x"), Some("claude-x"), Some("msg_1")));
    assert_eq!(
        (tokens(&facts).0, tokens(&facts).1, facts.finish_reasons.as_slice()),
        (Some(3), Some(4), &["end_turn".to_owned()][..])
    );
    assert_eq!(said["output_messages"][0]["parts"], json!([{"type": "text", "content": "Hello"}]));
    let titan =
        json!({"inputText": "Hi", "textGenerationConfig": {"maxTokenCount": 8, "temperature": 0.5, "topP": 0.6}});
    let answer = json!({"inputTextTokenCount": 2, "results": [{"tokenCount": 3, "outputText": "Hello", "completionReason": "FINISH"}]});
    let (facts, said) = always(&format!("{host}/amazon.titan/invoke"), &titan, JSON, answer.to_string().as_bytes());
    assert_eq!((tokens(&facts).0, tokens(&facts).1, facts.max_tokens), (Some(2), Some(3), Some(8)));
    assert_eq!((facts.finish_reasons.as_slice(), facts.top_p), (&["FINISH".to_owned()][..], Some(0.6)));
    assert_eq!(
        (&said["input_messages"][0]["parts"][0]["content"], &said["output_messages"][0]["parts"][0]["content"]),
        (&json!("Hi"), &json!("Hello"))
    );
}

#[test]
fn ollama() {
    let asked = json!({"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "options": {"temperature": 0.3, "num_predict": 7, "seed": 1}});
    let line = |content: &str, done: bool| {
        let mut line = json!({"model": "llama3", "message": {"role": "assistant", "content": content}, "done": done});
        if done {
            line["done_reason"] = "stop".into();
            line["prompt_eval_count"] = 11.into();
            line["eval_count"] = 12.into();
        }
        line
    };
    let streamed = format!("{}\n{}\n{}\n", line("Hel", false), line("lo", false), line("", true));
    for (content_type, answer) in [("application/x-ndjson", streamed), (JSON, line("Hello", true).to_string())] {
        let (facts, said) = always("localhost:11434/api/chat", &asked, content_type, answer.as_bytes());
        assert_eq!(named(&facts), ("ollama", "chat", Some("llama3"), Some("llama3"), None));
        assert_eq!(
            (tokens(&facts).0, tokens(&facts).1, facts.max_tokens, facts.seed),
            (Some(11), Some(12), Some(7), Some(1))
        );
        assert_eq!(
            said["output_messages"],
            json!([{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}], "finish_reason": "stop"}])
        );
    }
    let (facts, said) = always(
        "o.internal/api/generate",
        &json!({"model": "llama3", "prompt": "Hi"}),
        JSON,
        br#"{"model":"llama3","response":"Hello","done":true,"done_reason":"length"}"#,
    );
    assert_eq!((facts.operation, facts.finish_reasons.as_slice()), ("text_completion", &["length".to_owned()][..]));
    assert_eq!(
        (&said["input_messages"][0]["parts"][0]["content"], &said["output_messages"][0]["parts"][0]["content"]),
        (&json!("Hi"), &json!("Hello"))
    );
}

#[test]
fn embeddings() {
    let asked = json!({"model": "text-embedding-3-small", "input": "Hi", "encoding_format": "float"});
    let answer = br#"{"object":"list","model":"text-embedding-3-small","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":2,"total_tokens":2}}"#;
    let (facts, _) = always("api.openai.com/v1/embeddings", &asked, JSON, answer);
    assert_eq!(
        (facts.operation, facts.input_tokens, facts.encoding_formats.as_slice()),
        ("embeddings", Some(2), &["float".to_owned()][..])
    );
}

#[test]
fn what_is_no_call_is_told_as_none() {
    let get = |url: &str, asked: Value| told(url, &asked, JSON, b"{}", 0);
    assert_eq!(get("api.openai.com/v1/models", json!({})), None);
    assert_eq!(get("shop.example/api/chat", json!({"text": "x"})), None, "the body does not look like one");
    assert_eq!(get("shop.example/v1/messages", json!({"to": "a", "messages": ["x"]})), None);
    assert!(get("api.anthropic.com/v1/messages", json!({})).is_some(), "the host is sure of it");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut calls = Calls::default();
    let part = Part { number: 0, last: false, large: false };
    for n in 0..MOST as u64 + 10 {
        let http = exchange("api.openai.com/v1/chat/completions", b"{}", SSE, body(0, b"data: {"), Some(part));
        assert_eq!(calls.read((ConnectionUid([2; 16]), n), &http, (&[None, None], None)), None);
    }
    assert!(calls.under_way.len() == MOST && calls.order.len() == MOST && calls.bytes <= MOST_BYTES);
    let late = exchange(
        "api.openai.com/v1/chat/completions",
        b"",
        SSE,
        body(7, b"}"),
        Some(Part { number: 1, last: true, ..part }),
    );
    assert_eq!(calls.read((ConnectionUid([2; 16]), 0), &late, (&[None, None], None)), None, "the first was forgotten");
    let mut broken = Frames::new("application/vnd.amazon.eventstream", true);
    broken.push(&[0xff; 64], false, &mut |_| panic!("no frame"));
    let mut endless = Frames::new(SSE, true);
    (0..5).for_each(|_| endless.push(&vec![b'x'; 1 << 20], false, &mut |_| panic!("no event")));
    assert!(broken.memory() == 0 && endless.memory() == 0);
}

#[test]
fn a_document_of_too_many_values_is_not_read() {
    let asked = |values: usize| json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stop": vec![0; values]});
    let model = |values: usize| {
        let told = told("api.openai.com/v1/chat/completions", &asked(values), JSON, b"{}", 0);
        told.unwrap().facts.request_model
    };
    assert_eq!((model(500 << 10).as_deref(), model(513 << 10)), (Some("gpt-4o"), None));
    // Many short values, which would turn a few megabytes of text into hundreds of megabytes.
    let deep = format!("{{\"model\": \"m\", \"input\": [{}]}}", "{},".repeat(1 << 20) + "{}");
    let http = exchange("api.openai.com/v1/embeddings", deep.as_bytes(), JSON, body(0, b"{}"), None);
    let told = Calls::default().read((ConnectionUid([1; 16]), 7), &http, (&[None, None], None)).unwrap();
    assert_eq!(told.facts.request_model, None);
}
