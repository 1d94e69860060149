//! The attributes of a request that `report_usage` reports. In: the record's own data. Out: attributes, in a fixed order.

use std::borrow::Cow;

use super::{Attributes, Value};
use crate::model::record::RequestRecord;

pub(super) fn put<'a>(out: &mut Attributes<'a>, request: &'a RequestRecord) {
    out.text_if("request.auth.type", request.auth_type);
    out.text_if("request.auth.source", request.auth_source.as_deref());
    out.text_if("request.auth.digest", request.auth_digest.as_deref());
    for (name, value) in &request.claims {
        let key = Cow::Owned(format!("request.auth.claim.{name}"));
        out.0.push((key, Value::Text(Cow::Borrowed(value))));
    }
    out.text_if("request.method", request.method.as_deref());
    out.text_if("request.host", request.host.as_deref());
    out.text_if("request.path", request.path.as_deref());
    out.text_if("request.path_template", request.path_template.as_deref());
    out.int_if("request.status_code", request.status.map(u64::from));
    out.int_if("request.body_bytes", request.body_bytes);
    out.int_if("request.response_body_bytes", request.response_body_bytes);
    out.double_if("request.duration_ms", request.duration_ms);
}
