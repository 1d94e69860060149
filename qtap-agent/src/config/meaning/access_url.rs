//! The URL under which an object can be found. In: `access_url` as typed, and the place. Out: the URL with everything filled in
//! except the digest. The prefix is put before the digest: an object's key is prefix + digest.

use super::Around;
use crate::config::fields::At;
use crate::config::wording::brief;
use crate::export::settings::{Place, S3Settings};

/// The placeholders allowed in `access_url`.
const PLACEHOLDERS: &[&str] = &["SCHEME", "ENDPOINT", "BUCKET", "DIGEST"];

/// The default of `access_url`.
const ACCESS_URL: &str = "{{SCHEME}}://{{ENDPOINT}}/{{BUCKET}}/{{DIGEST}}";

/// The values of the placeholders.
struct Words {
    scheme: &'static str,
    endpoint: String,
    bucket: String,
}

/// The URL of an object in the store.
pub(super) fn of(given: Option<&At<String>>, settings: &S3Settings, around: &Around<'_>) -> String {
    let template = given.map_or(ACCESS_URL, |at| at.value.as_str());
    if let Some(at) = given {
        check(at, around);
    }
    let words = words(&settings.place, around);
    let mut url = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, name, after)) = placeholder(rest) {
        url.push_str(before);
        match name {
            "SCHEME" => url.push_str(words.scheme),
            "ENDPOINT" => url.push_str(&words.endpoint),
            "BUCKET" => url.push_str(&words.bucket),
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

fn words(place: &Place, around: &Around<'_>) -> Words {
    let variable = |name| (around.env)(name).filter(|text| !text.is_empty());
    // An endpoint that the environment names instead of the cloud's own: an emulator, a gateway.
    let elsewhere = |name, usual: String| match variable(name) {
        Some(url) if url.starts_with("http://") => ("http", host(&url)),
        Some(url) => ("https", host(&url)),
        None => ("https", usual),
    };
    match place {
        Place::S3(s3) => Words {
            scheme: if s3.insecure { "http" } else { "https" },
            endpoint: s3.endpoint.clone().unwrap_or_else(|| "s3.amazonaws.com".to_owned()),
            bucket: s3.bucket.clone(),
        },
        Place::Google { bucket } => {
            let (scheme, endpoint) = elsewhere("GOOGLE_BASE_URL", "storage.googleapis.com".to_owned());
            Words { scheme, endpoint, bucket: bucket.clone() }
        }
        Place::Azure { container } => {
            let account = variable("AZURE_STORAGE_ACCOUNT_NAME").unwrap_or_default();
            let (scheme, endpoint) = elsewhere("AZURE_STORAGE_ENDPOINT", format!("{account}.blob.core.windows.net"));
            Words { scheme, endpoint, bucket: container.clone() }
        }
        // `file:///dir/…`: there is no host, and the path begins with the slash that follows it.
        Place::Folder(folder) => {
            let path = folder.to_string_lossy();
            Words { scheme: "file", endpoint: String::new(), bucket: path.trim_matches('/').to_owned() }
        }
    }
}

fn host(url: &str) -> String {
    url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/').to_owned()
}

fn check(template: &At<String>, around: &Around<'_>) {
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

/// Splits at the next `{{NAME}}`: the text before it, its name, and the text after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name.trim(), after))
}
