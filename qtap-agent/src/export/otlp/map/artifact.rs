//! The attributes of an HTTP exchange. In: the record's own data. Out: attributes, in a fixed order.

use super::Attributes;
use crate::model::record::{ArtifactLink, ArtifactRecord, MessageProtocol, MessageSums, Rpc};

pub(super) fn put<'a>(out: &mut Attributes<'a>, artifact: &'a ArtifactRecord) {
    out.text_if("http.request.method", artifact.method.as_deref());
    out.text_if("url.full", artifact.url_full.as_deref());
    out.text_if("url.scheme", artifact.url_scheme.as_deref());
    out.text_if("url.path", artifact.url_path.as_deref());
    out.text_if("url.query", artifact.url_query.as_deref());
    out.int_if("http.response.status_code", artifact.status.map(u64::from));
    out.text_if("user_agent.original", artifact.user_agent.as_deref());
    out.int_if("http.request.body.size", artifact.request_body_size);
    out.int_if("http.response.body.size", artifact.response_body_size);
    out.texts_if("http.request.header.content-type", &artifact.request_content_type);
    out.texts_if("http.response.header.content-type", &artifact.response_content_type);
    out.double_if("http.duration_ms", artifact.timing.duration_ms);
    out.double_if("http.time_to_first_byte_ms", artifact.timing.time_to_first_byte_ms);
    out.double_if("http.request_transfer_ms", artifact.timing.request_transfer_ms);
    out.double_if("http.response_transfer_ms", artifact.timing.response_transfer_ms);
    if let Some(call) = &artifact.gen_ai {
        super::gen_ai::put(out, call);
    }
    if let Some(rpc) = &artifact.rpc {
        self::rpc(out, rpc);
    }
    messages(out, artifact.request_messages.as_ref(), &REQUEST_MESSAGES);
    messages(out, artifact.response_messages.as_ref(), &RESPONSE_MESSAGES);
    out.texts_if("http.request.header.tracestate", &artifact.tracestate);
    out.text_if("error.type", artifact.error_type.as_deref());
    out.text_if("qtap.incomplete", artifact.incomplete);
    link(out, "artifact.request.url", "artifact.request.digest", artifact.request_artifact.as_ref());
    link(out, "artifact.response.url", "artifact.response.digest", artifact.response_artifact.as_ref());
    out.int_if("artifact.parts", artifact.parts.map(u64::from));
}

fn rpc<'a>(out: &mut Attributes<'a>, rpc: &'a Rpc) {
    out.text("rpc.system.name", "grpc");
    out.text_if("rpc.method", rpc.method.as_deref());
    out.text_if("rpc.status_code", rpc.status.as_deref());
    out.text_if("rpc.status_message", rpc.message.as_deref());
}

/// Attribute names for the message counts of one direction.
struct MessageNames {
    rpc: [&'static str; 2],
    websocket: [&'static str; 3],
}

const REQUEST_MESSAGES: MessageNames = MessageNames {
    rpc: ["rpc.request.message_count", "rpc.request.message_bytes"],
    websocket: ["websocket.request.message_count", "websocket.request.message_bytes", "websocket.request.close_code"],
};

const RESPONSE_MESSAGES: MessageNames = MessageNames {
    rpc: ["rpc.response.message_count", "rpc.response.message_bytes"],
    websocket: [
        "websocket.response.message_count",
        "websocket.response.message_bytes",
        "websocket.response.close_code",
    ],
};

fn messages(out: &mut Attributes<'_>, sums: Option<&MessageSums>, names: &MessageNames) {
    let Some(sums) = sums else { return };
    match sums.of {
        MessageProtocol::Grpc => {
            let [count, bytes] = names.rpc;
            out.int(count, sums.count);
            out.int(bytes, sums.bytes);
        }
        MessageProtocol::WebSocket => {
            let [count, bytes, close_code] = names.websocket;
            out.int(count, sums.count);
            out.int(bytes, sums.bytes);
            out.int_if(close_code, sums.close_code.map(u64::from));
        }
    }
}

pub(super) fn link<'a>(
    out: &mut Attributes<'a>,
    url: &'static str,
    digest: &'static str,
    link: Option<&'a ArtifactLink>,
) {
    if let Some(link) = link {
        out.text_if(url, Some(&link.url));
        out.text_if(digest, Some(&link.digest));
    }
}
