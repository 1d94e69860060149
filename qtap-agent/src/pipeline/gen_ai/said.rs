//! The input of a model, in the shape that the semantic conventions define: messages made of parts. In: the request document of any
//! interface. Out: its messages and instructions. Images and the like are mentioned, but their content is left out.

use serde_json::{Value, json};

/// Messages and instructions.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Said {
    pub(super) instructions: Vec<Value>,
    pub(super) messages: Vec<Value>,
}

/// The messages and instructions in the request document.
pub(super) fn of(request: &Value) -> Said {
    let mut said = Said::default();
    for place in ["/system", "/instructions", "/systemInstruction/parts", "/system_instruction/parts"] {
        said.instructions.extend(request.pointer(place).map(parts).unwrap_or_default());
    }
    for place in ["/messages", "/contents", "/input"] {
        let items = request.pointer(place).and_then(Value::as_array).into_iter().flatten();
        said.messages.extend(items.map(message));
    }
    for place in ["/prompt", "/input", "/inputText", "/contents"] {
        if let Some(text) = request.pointer(place).filter(|value| value.is_string()) {
            said.messages.push(json!({"role": "user", "parts": parts(text)}));
        }
    }
    said
}

fn message(item: &Value) -> Value {
    let role = item.get("role").and_then(Value::as_str);
    if let Some(id) = item.get("tool_call_id") {
        let response = item.get("content").cloned().unwrap_or_default();
        return json!({"role": "tool", "parts": [{"type": "tool_call_response", "id": id, "response": response}]});
    }
    let content = ["content", "parts"].iter().find_map(|name| item.get(*name));
    let mut told = content.map(parts).unwrap_or_default();
    if item.is_string() || item.get("type").is_some() && content.is_none() {
        told.extend(part(item));
    }
    let calls = item.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    told.extend(calls.map(|call| {
        let function = call.get("function").unwrap_or(call);
        tool_call(call.get("id"), function.get("name"), function.get("arguments"))
    }));
    json!({"role": role.unwrap_or("user"), "parts": told})
}

/// The parts of a content, which is a text or a list of parts.
pub(super) fn parts(content: &Value) -> Vec<Value> {
    match content {
        Value::Array(list) => list.iter().filter_map(part).collect(),
        Value::Null => Vec::new(),
        one => part(one).into_iter().collect(),
    }
}

fn part(part: &Value) -> Option<Value> {
    if let Some(text) = part.as_str().or_else(|| part.get("text").and_then(Value::as_str)) {
        let kind = if part.get("thought").and_then(Value::as_bool) == Some(true) { "reasoning" } else { "text" };
        return Some(json!({"type": kind, "content": text}));
    }
    let get = |name: &str| part.get(name);
    let kind = get("type").and_then(Value::as_str).unwrap_or_default();
    Some(match kind {
        "thinking" => json!({"type": "reasoning", "content": get("thinking")}),
        "tool_use" => tool_call(get("id"), get("name"), get("input")),
        "function_call" => tool_call(get("call_id"), get("name"), get("arguments")),
        "tool_result" => json!({"type": "tool_call_response", "id": get("tool_use_id"), "response": get("content")}),
        "function_call_output" => {
            json!({"type": "tool_call_response", "id": get("call_id"), "response": get("output")})
        }
        _ => {
            if let Some(call) = get("functionCall") {
                tool_call(call.get("id"), call.get("name"), call.get("args"))
            } else if let Some(call) = get("toolUse") {
                tool_call(call.get("toolUseId"), call.get("name"), call.get("input"))
            } else if let Some(answer) = get("functionResponse") {
                json!({"type": "tool_call_response", "id": answer.get("id"), "response": answer.get("response")})
            } else if let Some(answer) = get("toolResult") {
                json!({"type": "tool_call_response", "id": answer.get("toolUseId"), "response": answer.get("content")})
            } else if kind.is_empty() {
                let name = part.as_object().and_then(|map| map.keys().next()).map_or("unknown", String::as_str);
                json!({"type": name})
            } else {
                json!({"type": kind})
            }
        }
    })
}

/// A tool call. Arguments written as text are parsed, so that redaction by name applies to them; text that can't be parsed
/// is left out.
pub(super) fn tool_call(id: Option<&Value>, name: Option<&Value>, arguments: Option<&Value>) -> Value {
    let read = match arguments {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        other => other.cloned(),
    };
    json!({"type": "tool_call", "id": id, "name": name, "arguments": read})
}
