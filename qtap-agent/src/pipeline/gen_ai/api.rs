//! Which language-model interface a request is for: the path decides, and the host names the provider. In: method, authority, path.
//! Out: the interface, or `None`, which is the answer for nearly every request and costs one check of the end of the path.

use crate::model::message::{Request, host_of};

/// How requests and answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Chat completions, completions, embeddings: OpenAI's, and those of compatible providers.
    OpenAi,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Anthropic,
    /// Gemini's `contents`.
    Gemini,
    /// Bedrock's Converse API.
    Converse,
    /// Bedrock's pass-through to a model.
    Invoke,
    /// Ollama's own API.
    Ollama,
}

/// An interface.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Api {
    pub(super) format: Format,
    pub(super) provider: &'static str,
    pub(super) operation: &'static str,
    /// The model, where the path names it.
    pub(super) model: Option<String>,
    /// False: only the path matches, so the body must look like a call too.
    pub(super) certain: bool,
}

/// Host suffixes and the providers they belong to.
const PROVIDERS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    (".openai.azure.com", "azure.ai.openai"),
    (".cognitiveservices.azure.com", "azure.ai.openai"),
    (".services.ai.azure.com", "azure.ai.inference"),
    (".inference.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.com", "cohere"),
];

/// The port that Ollama listens on.
const OLLAMA_PORT: &str = ":11434";

/// The interface that `request` is for.
pub(super) fn of(request: &Request) -> Option<Api> {
    if request.method.as_deref() != Some("POST") {
        return None;
    }
    let target = request.target.as_deref()?;
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let (format, operation) = told_by(path)?;
    let authority = request.authority.as_deref().unwrap_or_default();
    let host = host_of(authority).to_ascii_lowercase();
    let known = PROVIDERS.iter().find(|(end, _)| host.ends_with(end)).map(|(_, provider)| *provider);
    let bedrock = host.starts_with("bedrock-runtime") && host.contains(".amazonaws.com");
    let known = known.or(bedrock.then_some("aws.bedrock")).or(authority.ends_with(OLLAMA_PORT).then_some("ollama"));
    let like = match format {
        Format::OpenAi if path.contains("/openai/deployments/") => "azure.ai.openai",
        Format::OpenAi | Format::Responses => "openai",
        Format::Anthropic => "anthropic",
        Format::Gemini => "gcp.gen_ai",
        Format::Converse | Format::Invoke => "aws.bedrock",
        Format::Ollama => "ollama",
    };
    Some(Api { format, provider: known.unwrap_or(like), operation, model: model(path), certain: known.is_some() })
}

fn told_by(path: &str) -> Option<(Format, &'static str)> {
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    Some(match last {
        "completions" if path.ends_with("/chat/completions") => (Format::OpenAi, "chat"),
        "completions" => (Format::OpenAi, "text_completion"),
        "embeddings" if path.ends_with("/api/embeddings") => (Format::Ollama, "embeddings"),
        "embeddings" => (Format::OpenAi, "embeddings"),
        "responses" => (Format::Responses, "chat"),
        "messages" if path.ends_with("/v1/messages") => (Format::Anthropic, "chat"),
        "chat" if path.ends_with("/api/chat") => (Format::Ollama, "chat"),
        "generate" if path.ends_with("/api/generate") => (Format::Ollama, "text_completion"),
        "embed" if path.ends_with("/api/embed") => (Format::Ollama, "embeddings"),
        "converse" | "converse-stream" if path.starts_with("/model/") => (Format::Converse, "chat"),
        "invoke" | "invoke-with-response-stream" if path.starts_with("/model/") => (Format::Invoke, "chat"),
        _ => match last.rsplit_once(':')?.1 {
            "generateContent" | "streamGenerateContent" => (Format::Gemini, "generate_content"),
            "embedContent" | "batchEmbedContents" => (Format::Gemini, "embeddings"),
            "rawPredict" | "streamRawPredict" if path.contains("/publishers/anthropic/") => (Format::Anthropic, "chat"),
            _ => return None,
        },
    })
}

/// The model named in the path: after `models/`, `deployments/` or `model/`.
fn model(path: &str) -> Option<String> {
    let mut segments = path.split('/');
    segments.find(|segment| matches!(*segment, "models" | "deployments" | "model"))?;
    let name = segments.next()?;
    let name =
        name.rsplit_once(':').filter(|(_, verb)| verb.chars().all(char::is_alphabetic)).map_or(name, |(name, _)| name);
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}
