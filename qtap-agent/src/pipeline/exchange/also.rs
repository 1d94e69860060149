//! Additional records of an exchange: who used what, and what is wrong with it. In: the verdict, and the facts about the exchange. Out:
//! a `qtap.request` record, and a `qtap.issue` record for each issue. Never a credential.

use super::Common;
use crate::model::exchange::HttpExchange;
use crate::model::message::host_of;
use crate::model::record::{ArtifactRecord, IssueRecord, Record, RecordKind, RequestRecord, Severity};
use crate::pipeline::digest::UidKind;
use crate::pipeline::issues::Issue;
use crate::pipeline::step::{Used, Verdict};
use crate::pipeline::usage::template;

/// Appends the records; `line`: the text line of the artifact record.
pub(super) fn tell(
    verdict: Verdict,
    http: &HttpExchange,
    about: &ArtifactRecord,
    common: &Common,
    line: &str,
    out: &mut Vec<Record>,
) {
    let time = common.time_unix_ns;
    if let Some(used) = verdict.usage {
        let request = request(used, http, about);
        let line = ["request with ", request.auth_type.unwrap_or("no credential"), ": ", line].concat();
        out.push(common.record(time, (UidKind::Request, 0), line, RecordKind::Request(Box::new(request))));
    }
    for issue in verdict.issues {
        let number = issue.rule;
        let line = ["issue ", &issue.name, " (", &issue.reasons.join(", "), "): ", line].concat();
        let kind = RecordKind::Issue(Box::new(self::issue(issue, about)));
        let record = common.record(time, (UidKind::Issue, number), line, kind);
        out.push(Record { severity: record.severity.max(Severity::Warn), ..record });
    }
}

fn request(used: Used, http: &HttpExchange, about: &ArtifactRecord) -> RequestRecord {
    let authority = http.request.as_ref().and_then(|request| request.authority.as_deref());
    let host = authority.map(host_of).filter(|host| !host.is_empty()).map(str::to_ascii_lowercase);
    let common = RequestRecord {
        method: about.method.clone(),
        host,
        path: about.url_path.clone(),
        path_template: about.url_path.as_deref().map(template),
        status: about.status,
        body_bytes: about.request_body_size,
        response_body_bytes: about.response_body_size,
        duration_ms: about.timing.duration_ms,
        ..RequestRecord::default()
    };
    match used.credential {
        None => common,
        Some(credential) => RequestRecord {
            auth_type: Some(credential.kind),
            auth_source: Some(credential.source),
            auth_digest: credential.sha256.map(|sha256| ["sha256:", &sha256].concat()),
            claims: credential.claims,
            ..common
        },
    }
}

fn issue(issue: Issue, about: &ArtifactRecord) -> IssueRecord {
    IssueRecord {
        name: issue.name,
        category: issue.category,
        reasons: issue.reasons,
        method: about.method.clone(),
        url: about.url_full.clone(),
        status: about.status,
        duration_ms: about.timing.duration_ms,
        error_type: about.error_type.clone(),
        request_artifact: about.request_artifact.clone(),
        response_artifact: about.response_artifact.clone(),
    }
}
