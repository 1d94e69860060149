//! The attributes of an issue that `detect_errors` reports. In: the record's own data. Out: attributes, in a fixed order.

use std::borrow::Cow;

use super::{Attributes, Value, artifact};
use crate::model::record::IssueRecord;

pub(super) fn put<'a>(out: &mut Attributes<'a>, issue: &'a IssueRecord) {
    out.text_if("issue.name", Some(&issue.name));
    out.text_if("issue.category", issue.category.as_deref());
    if !issue.reasons.is_empty() {
        out.put("issue.reasons", Value::Texts(issue.reasons.iter().copied().map(Cow::Borrowed).collect()));
    }
    out.text_if("issue.method", issue.method.as_deref());
    out.text_if("issue.url", issue.url.as_deref());
    out.int_if("issue.status_code", issue.status.map(u64::from));
    out.double_if("issue.duration_ms", issue.duration_ms);
    out.text_if("issue.error_type", issue.error_type.as_deref());
    artifact::link(out, "issue.request.url", "issue.request.digest", issue.request_artifact.as_ref());
    artifact::link(out, "issue.response.url", "issue.response.digest", issue.response_artifact.as_ref());
}
