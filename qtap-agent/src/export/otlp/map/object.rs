//! The attributes of an artifact; its data comes last. In: the record's own data. Out: attributes, in a fixed order; the data is
//! borrowed.

use std::borrow::Cow;

use super::{Attributes, DATA, Value};
use crate::model::record::{ObjectRecord, ObjectSummary};

pub(super) fn put<'a>(out: &mut Attributes<'a>, object: &'a ObjectRecord) {
    out.text_if("artifact.type", Some(object.artifact_type));
    out.text_if("artifact.content_type", Some(object.content_type));
    out.int("artifact.size_bytes", object.size());
    out.text_if("artifact.digest", Some(&object.digest));
    out.put("artifact.truncated", Value::Bool(object.truncated));
    let missing: Vec<Cow<'a, str>> = object
        .missing
        .iter()
        .filter(|range| !range.is_empty())
        .map(|range| Cow::Owned(format!("{}-{}", range.start, range.end.saturating_sub(1))))
        .collect();
    if !missing.is_empty() {
        out.put("artifact.missing", Value::Texts(missing));
    }
    out.int_if("artifact.part", object.part.map(u64::from));
    summary(out, &object.summary);
    let data = match std::str::from_utf8(&object.data) {
        Ok(text) => Value::Text(Cow::Borrowed(text)),
        Err(_) => Value::Bytes(&object.data),
    };
    out.put(DATA, data);
}

fn summary<'a>(out: &mut Attributes<'a>, summary: &'a ObjectSummary) {
    out.text_if("artifact.summary.method", summary.method.as_deref());
    out.text_if("artifact.summary.host", summary.host.as_deref());
    out.text_if("artifact.summary.path", summary.path.as_deref());
    out.int_if("artifact.summary.status", summary.status.map(u64::from));
    out.double_if("artifact.summary.duration_ms", summary.duration_ms);
    out.text_if("artifact.summary.content_type", summary.content_type.as_deref());
    out.text_if("artifact.summary.process", summary.process.as_deref());
}
