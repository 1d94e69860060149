//! The attributes of a connection report. In: the record's own data. Out: attributes, in a fixed order.

use std::borrow::Cow;

use super::{Attributes, Value, dns};
use crate::model::conn::TlsFacts;
use crate::model::record::ConnectionRecord;

pub(super) fn put<'a>(out: &mut Attributes<'a>, connection: &'a ConnectionRecord) {
    out.text_if("connection.state", Some(connection.state));
    out.int("connection.part", u64::from(connection.part));
    out.put("connection.finalized", Value::Bool(connection.finalized));
    out.int("connection.bytes_sent", connection.bytes_sent);
    out.int("connection.bytes_received", connection.bytes_received);
    out.int("connection.captured_bytes", connection.captured_bytes);
    out.int("connection.lost_bytes", connection.lost_bytes);
    for (reason, bytes) in &connection.losses {
        let key = Cow::Owned(format!("connection.loss.{reason}"));
        out.0.push((key, Value::Int(i64::try_from(*bytes).unwrap_or(i64::MAX))));
    }
    out.put("connection.duration_ms", Value::Double(connection.duration_ms));
    out.int("connection.requests", connection.requests);
    out.int_if("connection.sampled_out", connection.sampled_out);
    out.text_if("connection.endpoint_id", connection.endpoint_id.as_deref());
    out.text_if("connection.binding", connection.binding);
    if let Some(tls) = &connection.tls {
        self::tls(out, tls);
    }
    if let Some(answer) = &connection.dns {
        dns::answer(out, answer);
    }
}

fn tls<'a>(out: &mut Attributes<'a>, tls: &'a TlsFacts) {
    out.text_if("tls.protocol.version", tls.version.as_deref());
    out.text_if("tls.next_protocol", tls.alpn.as_deref());
    out.text_if("connection.tls.sni", tls.sni.as_deref());
    out.put("connection.tls.inspected", Value::Bool(tls.inspected));
    out.text_if("connection.tls.library", tls.library.as_deref());
    out.text_if("connection.tls.kernel", tls.in_kernel.name());
    if tls.joined_late {
        out.put("connection.tls.joined_late", Value::Bool(true));
    }
    out.text_if("connection.tls.uninspected_reason", tls.uninspected_reason.as_deref());
}
