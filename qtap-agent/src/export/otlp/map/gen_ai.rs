//! The attributes of a language model call, named by the semantic conventions for generative AI. In: its data. Out: attributes, in a
//! fixed order.

use super::Attributes;
use crate::model::gen_ai::GenAi;

pub(super) fn put<'a>(out: &mut Attributes<'a>, call: &'a GenAi) {
    out.text_if("gen_ai.provider.name", Some(call.provider));
    out.text_if("gen_ai.operation.name", Some(call.operation));
    out.text_if("gen_ai.request.model", call.request_model.as_deref());
    out.double_if("gen_ai.request.temperature", call.temperature);
    out.double_if("gen_ai.request.top_p", call.top_p);
    out.double_if("gen_ai.request.top_k", call.top_k);
    out.double_if("gen_ai.request.frequency_penalty", call.frequency_penalty);
    out.double_if("gen_ai.request.presence_penalty", call.presence_penalty);
    out.int_if("gen_ai.request.max_tokens", call.max_tokens);
    out.int_if("gen_ai.request.seed", call.seed);
    out.int_if("gen_ai.request.choice.count", call.choice_count);
    out.texts_if("gen_ai.request.stop_sequences", &call.stop_sequences);
    out.texts_if("gen_ai.request.encoding_formats", &call.encoding_formats);
    out.text_if("gen_ai.response.id", call.response_id.as_deref());
    out.text_if("gen_ai.response.model", call.response_model.as_deref());
    out.texts_if("gen_ai.response.finish_reasons", &call.finish_reasons);
    out.int_if("gen_ai.usage.input_tokens", call.input_tokens);
    out.int_if("gen_ai.usage.output_tokens", call.output_tokens);
    out.int_if("gen_ai.usage.cache_read.input_tokens", call.cache_read_tokens);
    out.int_if("gen_ai.usage.cache_creation.input_tokens", call.cache_creation_tokens);
    out.int_if("gen_ai.usage.reasoning.output_tokens", call.reasoning_tokens);
}
