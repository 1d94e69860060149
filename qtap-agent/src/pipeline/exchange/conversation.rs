//! What a call to a language model was about: its facts, in the artifact record, and its conversation, as a separate object. In: an
//! exchange with redacted bodies. Out: those two. The assembled conversation is redacted again, because a text that a stream
//! splits into many events is a single text in it.

use std::sync::Arc;

use super::{Common, Untold, summary};
use crate::model::exchange::HttpExchange;
use crate::model::record::{ArtifactRecord, ObjectRecord, ObjectSummary, Record, RecordKind};
use crate::pipeline::digest::{UidKind, sha256_hex};
use crate::pipeline::gen_ai::Calls;
use crate::pipeline::redact::body::End;
use crate::pipeline::settings::{Level, Locator};

/// `artifact.type`.
const TYPE: &str = "gen_ai_conversation";

impl Untold {
    /// Reads the call's facts and conversation. They become available with its last part.
    pub(super) fn read_call(&mut self, calls: &mut Calls) {
        let Some(conversations) = self.verdict.gen_ai else { return };
        let none = [None, None];
        let bodies = (self.undone.as_ref().unwrap_or(&none), self.spooled.as_ref());
        let told = calls.read(self.common.name, &self.http, bodies);
        let Some(told) = told else { return };
        self.about.gen_ai = Some(Box::new(told.facts));
        if conversations && self.verdict.capture.level == Level::Full {
            let seen = self.verdict.looks.whole("application/json", &told.conversation, End::Whole);
            self.conversation = Some(seen.bytes);
        }
    }
}

/// Appends the conversation object, if there is a conversation and a store accepts it.
pub(super) fn tell(
    conversation: Option<Vec<u8>>,
    locators: &[Locator],
    (http, about): (&HttpExchange, &ArtifactRecord),
    common: &Common,
    out: &mut Vec<Record>,
) {
    let Some(data) = conversation else { return };
    if Locator::first_for(locators, data.len() as u64).is_none() {
        return;
    }
    let line = [TYPE, " of ", about.url_full.as_deref().unwrap_or("?"), ": ", &data.len().to_string(), " B"].concat();
    let object = ObjectRecord {
        artifact_type: TYPE,
        content_type: "application/json",
        digest: ["sha256:", &sha256_hex(&data)].concat(),
        data: data.into(),
        summary: ObjectSummary {
            content_type: Some(Arc::from("application/json")),
            ..summary(http, about, &common.origin)
        },
        ..ObjectRecord::default()
    };
    let kind = RecordKind::Object(Box::new(object));
    out.push(common.record(common.time_unix_ns, (UidKind::Object(TYPE), 0), line, kind));
}
