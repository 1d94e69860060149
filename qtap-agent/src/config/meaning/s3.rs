//! An s3 store: which kind of place its endpoint names, by scheme, and the settings for that. Keys that do not apply to a place are
//! faults, each with its reason.

use std::path::PathBuf;
use std::time::Duration;

use super::variables::Variables;
use super::{Around, access_url, otlp};
use crate::config::fields::At;
use crate::config::file::services as typed;
use crate::config::file::services::EncryptionKind;
use crate::config::place::Span;
use crate::config::wording::brief;
use crate::export::settings::{Encryption, Keys, Place, S3Place, S3Settings};

/// Amazon's generic host name: it stands for the host of the region.
const AMAZON: &str = "s3.amazonaws.com";

/// The store, and the URL of an object in it, with `{{DIGEST}}` left in place.
pub(crate) fn settle(typed: &typed::S3, around: &Around<'_>) -> (S3Settings, String) {
    let endpoint = match &typed.endpoint {
        Some(endpoint) => around.expanded(endpoint),
        None => {
            variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"], around).map(|value| At { span: typed.span, value })
        }
    };
    let (place, path) = place(typed, endpoint.as_ref(), around);
    let prefix = typed.prefix.as_ref().map_or("", |at| at.value.as_str());
    if let Some(at) = typed.prefix.as_ref().filter(|at| !is_key(&at.value)) {
        around.out.fault(
            at.span,
            "this cannot begin the key of an object",
            "no empty, `.` or `..` part between slashes",
        );
    }
    let plain = matches!(&place, Place::S3(place) if place.insecure);
    let tls = otlp::tls(typed.tls.as_ref(), false, !plain, |_| None, around);
    if let Some(at) = typed.tls.as_ref().and_then(|tls| tls.enabled.as_ref()).filter(|at| at.value && plain) {
        around.out.fault(at.span, "`tls` and plain HTTP", "keep one of them");
    }
    let settings = S3Settings {
        place,
        prefix: format!("{path}{prefix}"),
        tls,
        proxy: Variables::new(around, typed.span).proxies(),
        timeout: typed.sending.timeout.as_ref().map_or(Duration::from_secs(30), |at| at.value),
        retry: otlp::retry(typed.sending.retry.as_ref(), around),
        workers: otlp::workers(&typed.sending, 4),
    };
    let url = access_url::of(typed.access_url.as_ref(), &settings, around);
    (settings, url)
}

/// The value of the first of these variables that is set.
fn variable(names: &[&str], around: &Around<'_>) -> Option<String> {
    names.iter().find_map(|name| (around.env)(name).filter(|text| !text.is_empty()))
}

/// The place that the endpoint names, and the part of its path that prefixes each key.
fn place(typed: &typed::S3, endpoint: Option<&At<String>>, around: &Around<'_>) -> (Place, String) {
    let Some(endpoint) = endpoint else { return (bucket(typed, None, around), String::new()) };
    let Some((scheme, rest)) = endpoint.value.split_once("://") else {
        return (bucket(typed, Some(endpoint), around), String::new());
    };
    match scheme {
        "file" => {
            foreign(typed, scheme, true, around);
            let folder = PathBuf::from(rest);
            if !folder.is_absolute() {
                around.out.fault(endpoint.span, "a directory that is not absolute", "`file:///var/lib/objects`");
            }
            (Place::Folder(folder), String::new())
        }
        "s3" | "gs" | "az" => {
            foreign(typed, scheme, scheme != "s3", around);
            let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
            let path = path.trim_matches('/');
            if name.is_empty() || !is_key(path) {
                around.out.fault(endpoint.span, "no bucket in this URL", format!("`{scheme}://BUCKET/PREFIX`"));
            }
            let path = if path.is_empty() { String::new() } else { format!("{path}/") };
            let name = name.to_owned();
            let place = match scheme {
                "gs" => Place::Google { bucket: name },
                "az" => azure(name, endpoint.span, around),
                _ => Place::S3(S3Place { bucket: name, ..s3(typed, None, around) }),
            };
            (place, path)
        }
        "http" | "https" => (bucket(typed, Some(endpoint), around), String::new()),
        _ => {
            let message = format!("an endpoint cannot begin with `{}://`", brief(scheme));
            around.out.fault(
                endpoint.span,
                message,
                "a host, or a URL with `http://`, `https://`, `s3://`, `gs://`, `az://` or `file://`",
            );
            (Place::S3(s3(typed, None, around)), String::new())
        }
    }
}

/// A bucket named by `bucket`, beside the endpoint.
fn bucket(typed: &typed::S3, endpoint: Option<&At<String>>, around: &Around<'_>) -> Place {
    if let Some(endpoint) = endpoint {
        otlp::authority(endpoint, around);
    }
    if typed.bucket.as_ref().is_none_or(|at| at.value.is_empty()) {
        around.out.fault(typed.span, "`bucket` is missing in an s3 store", "write `bucket: NAME`");
    }
    Place::S3(s3(typed, endpoint, around))
}

/// A container of the Azure account that the environment names.
fn azure(container: String, at: Span, around: &Around<'_>) -> Place {
    let set = |name| (around.env)(name).is_some_and(|text| !text.is_empty());
    if !set("AZURE_STORAGE_ACCOUNT_NAME") && !set("AZURE_STORAGE_USE_EMULATOR") {
        around.out.fault(
            at,
            "the environment variable `AZURE_STORAGE_ACCOUNT_NAME` is not set",
            "set it, and `AZURE_STORAGE_ACCOUNT_KEY` or what else the credentials are",
        );
    }
    Place::Azure { container }
}

/// Reports keys that do not apply to a place whose URL names everything.
fn foreign(typed: &typed::S3, scheme: &str, not_s3: bool, around: &Around<'_>) {
    let help = match scheme {
        "s3" => "its URL names the bucket",
        "file" => "a directory has none",
        _ => "credentials are those of the environment",
    };
    let span = |at: &Option<At<String>>| at.as_ref().map(|at| at.span);
    let secret = |at: &Option<At<crate::config::fields::Given>>| at.as_ref().map(|at| at.span);
    let of_s3 = [
        ("region", span(&typed.region)),
        ("access_key", secret(&typed.access_key)),
        ("secret_key", secret(&typed.secret_key)),
        ("session_token", secret(&typed.session_token)),
        ("force_path_style", typed.path_style.as_ref().map(|at| at.span)),
        ("server_side_encryption", typed.encryption.as_ref().map(|at| at.span)),
        ("kms_key_id", span(&typed.kms_key_id)),
    ];
    let always = [("bucket", span(&typed.bucket)), ("insecure", typed.insecure.as_ref().map(|at| at.span))];
    let given = always.into_iter().chain(of_s3.into_iter().filter(|_| not_s3));
    for (key, at) in given.filter_map(|(key, at)| Some((key, at?))) {
        around.out.fault(at, format!("`{key}` says nothing to an endpoint with `{scheme}://`"), help);
    }
}

fn s3(typed: &typed::S3, endpoint: Option<&At<String>>, around: &Around<'_>) -> S3Place {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let (scheme, host) = match endpoint.map(|at| at.value.as_str()) {
        None => (None, AMAZON),
        Some(text) => text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest)),
    };
    let host = host.trim_end_matches('/');
    let endpoint = (host != AMAZON).then(|| host.to_owned());
    S3Place {
        insecure: insecure(typed, scheme, around),
        region: text(&typed.region)
            .or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"], around))
            .unwrap_or_else(|| "us-east-1".to_owned()),
        bucket: text(&typed.bucket).unwrap_or_default(),
        path_style: typed.path_style.as_ref().map_or(!is_amazon(host), |at| at.value),
        keys: keys(typed, around),
        encryption: encryption(typed, around),
        endpoint,
    }
}

/// True for Amazon's hosts, which take the bucket's name in the host; most others want it in the path.
fn is_amazon(host: &str) -> bool {
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

fn insecure(typed: &typed::S3, scheme: Option<&str>, around: &Around<'_>) -> bool {
    match (&typed.insecure, scheme) {
        (Some(At { span, value: true }), Some("https")) => {
            around.out.fault(*span, "`insecure: true` and an `https://` endpoint", "keep one of them");
        }
        (Some(At { span, value: false }), Some("http")) => {
            around.out.fault(*span, "`insecure: false` and an `http://` endpoint", "keep one of them");
        }
        (None, Some("http")) => return true,
        _ => {}
    }
    typed.insecure.as_ref().is_some_and(|at| at.value)
}

fn keys(typed: &typed::S3, around: &Around<'_>) -> Option<Keys> {
    let session_token = typed.session_token.as_ref().and_then(|given| around.secret(given));
    match (&typed.access_key, &typed.secret_key) {
        (Some(access), Some(secret)) => {
            let (access_key, secret_key) = (around.secret(access), around.secret(secret));
            return Some(Keys { access_key: access_key?, secret_key: secret_key?, session_token });
        }
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            let message = "one of `access_key` and `secret_key` without the other";
            around.out.fault(typed.span, message, "both, or neither for the environment's own credentials");
        }
    }
    if let Some(at) = typed.session_token.as_ref().filter(|_| typed.access_key.is_none()) {
        around.out.fault(at.span, "a `session_token` without its keys", "it belongs to `access_key` and `secret_key`");
    }
    None
}

fn encryption(typed: &typed::S3, around: &Around<'_>) -> Option<Encryption> {
    let key_id = || typed.kms_key_id.as_ref().map(|at| at.value.clone());
    let kind = typed.encryption.as_ref().map(|at| at.value);
    if let Some(at) = typed.kms_key_id.as_ref().filter(|_| matches!(kind, None | Some(EncryptionKind::Aes256))) {
        around.out.fault(at.span, "a `kms_key_id` that nothing uses", "`server_side_encryption: aws:kms`");
    }
    Some(match kind? {
        EncryptionKind::Aes256 => Encryption::Aes256,
        EncryptionKind::Kms => Encryption::Kms(key_id()),
        EncryptionKind::KmsTwice => Encryption::KmsTwice(key_id()),
    })
}

/// True for a valid prefix of an object's key: no part of it is empty, `.` or `..`.
fn is_key(prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    prefix.is_empty() || prefix.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
