//! An s3 store, and the URL at which its objects will be found.

use std::time::Duration;

use super::{Around, otlp};
use crate::config::fields::{At, brief};
use crate::config::file::services as typed;
use crate::export::settings::S3Settings;

/// What `access_url` may hold.
const PLACEHOLDERS: &[&str] = &["SCHEME", "ENDPOINT", "BUCKET", "DIGEST"];

/// Where objects are when `access_url` does not say.
const ACCESS_URL: &str = "{{SCHEME}}://{{ENDPOINT}}/{{BUCKET}}/{{DIGEST}}";

/// The store, and the URL of an object in it, `{{DIGEST}}` left to fill in.
pub(crate) fn settle(typed: &typed::S3, around: &Around<'_>) -> (S3Settings, String) {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let endpoint = typed.endpoint.as_ref().and_then(|endpoint| around.expanded(endpoint));
    if let Some(endpoint) = &endpoint {
        otlp::authority(endpoint, around);
    }
    let endpoint_text = endpoint.as_ref().map_or("s3.amazonaws.com", |at| at.value.as_str());
    let mut insecure = typed.insecure.as_ref().is_some_and(|at| at.value);
    match (&typed.insecure, endpoint_text.split_once("://")) {
        (Some(At { span, value: true }), Some(("https", _))) => {
            around.out.fault(*span, "`insecure: true` and an `https://` endpoint", "keep one of them");
        }
        (Some(At { span, value: false }), Some(("http", _))) => {
            around.out.fault(*span, "`insecure: false` and an `http://` endpoint", "keep one of them");
        }
        (None, Some(("http", _))) => insecure = true,
        _ => {}
    }
    if typed.access_key.is_some() != typed.secret_key.is_some() {
        let message = "one of `access_key` and `secret_key` without the other";
        around.out.fault(typed.span, message, "both, or neither for the environment's own credentials");
    }
    let settings = S3Settings {
        endpoint: endpoint_text.to_owned(),
        region: text(&typed.region).unwrap_or_else(|| "us-east-1".to_owned()),
        bucket: text(&typed.bucket).unwrap_or_default(),
        access_key: typed.access_key.as_ref().and_then(|given| around.secret(given)),
        secret_key: typed.secret_key.as_ref().and_then(|given| around.secret(given)),
        prefix: text(&typed.prefix).unwrap_or_default(),
        insecure,
        timeout: typed.sending.timeout.as_ref().map_or(Duration::from_secs(30), |at| at.value),
        retry: otlp::retry(typed.sending.retry.as_ref(), around),
        workers: otlp::workers(&typed.sending, 4),
    };
    let url = access_url(typed.access_url.as_ref(), &settings, around);
    (settings, url)
}

/// `access_url` with everything filled in but the digest, which the prefix precedes: an object's key is both.
fn access_url(given: Option<&At<String>>, settings: &S3Settings, around: &Around<'_>) -> String {
    let template = given.map_or(ACCESS_URL, |at| at.value.as_str());
    if let Some(at) = given {
        check_placeholders(at, around);
    }
    let scheme = if settings.insecure { "http" } else { "https" };
    let host =
        settings.endpoint.split_once("://").map_or(settings.endpoint.as_str(), |(_, rest)| rest).trim_end_matches('/');
    let mut url = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, name, after)) = placeholder(rest) {
        url.push_str(before);
        match name {
            "SCHEME" => url.push_str(scheme),
            "ENDPOINT" => url.push_str(host),
            "BUCKET" => url.push_str(&settings.bucket),
            "DIGEST" => {
                url.push_str(&settings.prefix);
                url.push_str("{{DIGEST}}");
            }
            _ => {}
        }
        rest = after;
    }
    url.push_str(rest);
    url
}

fn check_placeholders(template: &At<String>, around: &Around<'_>) {
    let mut digests = 0;
    let mut rest = template.value.as_str();
    while let Some((_, name, after)) = placeholder(rest) {
        digests += usize::from(name == "DIGEST");
        if !PLACEHOLDERS.contains(&name) {
            let help = PLACEHOLDERS.iter().map(|name| format!("`{{{{{name}}}}}`")).collect::<Vec<_>>().join(", ");
            around.out.fault(
                template.span,
                format!("`{{{{{}}}}}` means nothing in `access_url`", brief(name)),
                format!("one of {help}"),
            );
        }
        rest = after;
    }
    if digests == 0 {
        around.out.fault(template.span, "`access_url` without `{{DIGEST}}`", "every object would have the same URL");
    }
}

/// What stands before the next `{{NAME}}`, its name, and what stands after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name.trim(), after))
}
