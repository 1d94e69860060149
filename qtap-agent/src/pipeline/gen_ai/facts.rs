//! The facts of a call, wherever an interface puts them. In: the request document, and the documents of the answer, streamed or not. Out:
//! the facts. Each fact has a list of places where interfaces put it: within a document the first place that exists counts, and among
//! several documents the last that has a value.

use serde_json::Value;

use super::api::{Api, Format};
use crate::model::gen_ai::GenAi;

/// Maximum characters of a reported name or reason.
const TEXT: usize = 256;
/// Maximum number of texts in a list.
const LIST: usize = 16;

const TEMPERATURE: &[&str] = &[
    "/temperature",
    "/generationConfig/temperature",
    "/inferenceConfig/temperature",
    "/options/temperature",
    "/textGenerationConfig/temperature",
];
const TOP_P: &[&str] =
    &["/top_p", "/generationConfig/topP", "/inferenceConfig/topP", "/options/top_p", "/textGenerationConfig/topP"];
const TOP_K: &[&str] = &["/top_k", "/generationConfig/topK", "/inferenceConfig/topK", "/options/top_k"];
const FREQUENCY: &[&str] = &["/frequency_penalty", "/generationConfig/frequencyPenalty", "/options/frequency_penalty"];
const PRESENCE: &[&str] = &["/presence_penalty", "/generationConfig/presencePenalty", "/options/presence_penalty"];
const MAX_TOKENS: &[&str] = &[
    "/max_tokens",
    "/max_completion_tokens",
    "/max_output_tokens",
    "/max_tokens_to_sample",
    "/max_gen_len",
    "/generationConfig/maxOutputTokens",
    "/inferenceConfig/maxTokens",
    "/options/num_predict",
    "/textGenerationConfig/maxTokenCount",
];
const SEED: &[&str] = &["/seed", "/random_seed", "/generationConfig/seed", "/options/seed"];
const CHOICES: &[&str] = &["/n", "/generationConfig/candidateCount"];
const STOP: &[&str] = &[
    "/stop",
    "/stop_sequences",
    "/generationConfig/stopSequences",
    "/inferenceConfig/stopSequences",
    "/options/stop",
    "/textGenerationConfig/stopSequences",
];
const ID: &[&str] = &["/id", "/responseId"];
const MODEL: &[&str] = &["/model", "/modelVersion"];
const INPUT: &[&str] = &[
    "/usage/prompt_tokens",
    "/usage/input_tokens",
    "/usage/inputTokens",
    "/usageMetadata/promptTokenCount",
    "/prompt_eval_count",
    "/inputTextTokenCount",
    "/prompt_token_count",
    "/amazon-bedrock-invocationMetrics/inputTokenCount",
];
const OUTPUT: &[&str] = &[
    "/usage/completion_tokens",
    "/usage/output_tokens",
    "/usage/outputTokens",
    "/usageMetadata/candidatesTokenCount",
    "/eval_count",
    "/results/0/tokenCount",
    "/generation_token_count",
    "/amazon-bedrock-invocationMetrics/outputTokenCount",
];
const CACHE_READ: &[&str] = &[
    "/usage/prompt_tokens_details/cached_tokens",
    "/usage/input_tokens_details/cached_tokens",
    "/usage/cache_read_input_tokens",
    "/usage/cacheReadInputTokens",
    "/usageMetadata/cachedContentTokenCount",
];
const CACHE_CREATION: &[&str] = &["/usage/cache_creation_input_tokens", "/usage/cacheWriteInputTokens"];
const REASONING: &[&str] = &[
    "/usage/completion_tokens_details/reasoning_tokens",
    "/usage/output_tokens_details/reasoning_tokens",
    "/usageMetadata/thoughtsTokenCount",
];
/// Where a single finish reason is found.
const REASON: &[&str] =
    &["/stop_reason", "/delta/stop_reason", "/stopReason", "/done_reason", "/incomplete_details/reason"];
/// Lists of answers, and the member of each that holds the reason.
const REASONS: &[(&str, &str)] =
    &[("/choices", "finish_reason"), ("/candidates", "finishReason"), ("/results", "completionReason")];
/// Members of an event that contain what a document has at its top level.
const INSIDE: &[&str] = &["/message", "/response"];

fn number(value: &Value, places: &[&str]) -> Option<u64> {
    places.iter().find_map(|place| value.pointer(place)?.as_u64())
}

fn double(value: &Value, places: &[&str]) -> Option<f64> {
    places.iter().find_map(|place| value.pointer(place)?.as_f64())
}

fn text(value: &Value, places: &[&str]) -> Option<String> {
    places.iter().find_map(|place| short(value.pointer(place)?))
}

fn short(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    Some(text.chars().take(TEXT).collect())
}

/// A text, or a list of texts.
fn texts(value: &Value, places: &[&str]) -> Vec<String> {
    match places.iter().find_map(|place| value.pointer(place)) {
        Some(Value::Array(list)) => list.iter().filter_map(short).take(LIST).collect(),
        Some(one) => short(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The facts in the request document.
pub(super) fn of_request(api: &Api, request: &Value) -> GenAi {
    GenAi {
        provider: api.provider,
        operation: api.operation,
        request_model: text(request, &["/model"]).or_else(|| api.model.clone()),
        temperature: double(request, TEMPERATURE),
        top_p: double(request, TOP_P),
        top_k: double(request, TOP_K),
        frequency_penalty: double(request, FREQUENCY),
        presence_penalty: double(request, PRESENCE),
        max_tokens: number(request, MAX_TOKENS),
        seed: number(request, SEED),
        choice_count: number(request, CHOICES).filter(|count| *count != 1),
        stop_sequences: texts(request, STOP),
        encoding_formats: texts(request, &["/encoding_format"]),
        ..GenAi::default()
    }
}

/// Adds what a document or an event of the answer says.
pub(super) fn of_answer(facts: &mut GenAi, answer: &Value) {
    // The answer itself takes precedence: the objects inside events are older.
    for part in INSIDE.iter().filter_map(|inside| answer.pointer(inside)).chain([answer]) {
        let number = |places| number(part, places);
        let kept = |new: Option<u64>, old: &mut Option<u64>| *old = new.or(*old);
        kept(number(INPUT), &mut facts.input_tokens);
        kept(number(OUTPUT), &mut facts.output_tokens);
        kept(number(CACHE_READ), &mut facts.cache_read_tokens);
        kept(number(CACHE_CREATION), &mut facts.cache_creation_tokens);
        kept(number(REASONING), &mut facts.reasoning_tokens);
        facts.response_id = text(part, ID).filter(|_| is_answer(part)).or(facts.response_id.take());
        facts.response_model = text(part, MODEL).or(facts.response_model.take());
        if let Some(reason) = text(part, REASON) {
            facts.finish_reasons = vec![reason];
        }
        for (list, name) in REASONS {
            let list = part.pointer(list).and_then(Value::as_array).into_iter().flatten();
            for (at, choice) in list.take(LIST).enumerate() {
                let index = choice.get("index").and_then(Value::as_u64).map_or(at, |index| index as usize);
                if let Some(reason) = choice.get(*name).and_then(short).filter(|_| index < LIST) {
                    facts.finish_reasons.resize(facts.finish_reasons.len().max(index + 1), String::new());
                    facts.finish_reasons.get_mut(index).into_iter().for_each(|old| old.clone_from(&reason));
                }
            }
        }
    }
}

/// False for events whose `id` identifies something else, e.g. an item.
fn is_answer(part: &Value) -> bool {
    !part
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.starts_with("response.") || kind.starts_with("content_block"))
}

/// Finishes the facts once everything was read.
pub(super) fn finish(facts: &mut GenAi, format: Format) {
    facts.finish_reasons.retain(|reason| !reason.is_empty());
    match format {
        // These report cached tokens separately; the semantic conventions include them.
        Format::Anthropic | Format::Converse | Format::Invoke => {
            let caches = facts.cache_read_tokens.unwrap_or(0).saturating_add(facts.cache_creation_tokens.unwrap_or(0));
            facts.input_tokens = facts.input_tokens.map(|input| input.saturating_add(caches));
        }
        // Reasoning tokens are reported separately from the answer's.
        Format::Gemini => {
            let thoughts = facts.reasoning_tokens.unwrap_or(0);
            facts.output_tokens = facts.output_tokens.map(|output| output.saturating_add(thoughts));
        }
        Format::OpenAi | Format::Responses | Format::Ollama => {}
    }
}
