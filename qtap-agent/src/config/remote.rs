//! Fetches a config from an `http://` or `https://` URL. In: the URL, and a folder for the copy. Out: the text, fresh or the copy's.
//! The copy is the last text that was valid: the request is conditional on it (`ETag`, `Last-Modified`), and it is used when the
//! server can't be reached. Parts of the URL that may be secret are never shown: user, password, query.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::MAX_FILE_BYTES;

/// Time limit for the whole exchange with the server.
const LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of redirects.
const REDIRECTS: usize = 5;
/// Maximum size of a copy: JSON needs at worst six bytes for one of the text.
const MAX_COPY_BYTES: u64 = 8 * MAX_FILE_BYTES;

/// The server's answer, as kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copy {
    etag: Option<String>,
    last_modified: Option<String>,
    /// Unix time in seconds.
    fetched: u64,
    text: String,
}

impl Copy {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fetched {
    /// A new text: kept as a copy once it has been found valid.
    New(Copy),
    /// The server still has what the copy holds.
    Same(String),
    /// The server could not be reached, and why; the copy, and its age.
    Unasked { why: String, text: String, age: Duration },
}

/// The URL without the parts that may be secret.
pub(super) fn shown(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return "a URL".to_owned() };
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.set_fragment(None);
    parsed.to_string()
}

/// Asks the server; `folder` holds the copy.
///
/// # Errors
/// Why there is no text: the server gave none, and there is no copy, or none that may be used.
pub(super) fn fetch(url: &str, folder: Option<&Path>, copy_may_do: bool) -> Result<Fetched, String> {
    let place = folder.map(|folder| place(folder, url));
    let copy = place.as_deref().and_then(read_copy);
    match ask(url, copy.as_ref()) {
        Ok(Some(fresh)) => Ok(Fetched::New(fresh)),
        Ok(None) => copy.map(|copy| Fetched::Same(copy.text)).ok_or_else(|| "the server has nothing new".to_owned()),
        Err(why) => match copy.filter(|_| copy_may_do) {
            Some(copy) => {
                let age = Duration::from_secs(unix_seconds().saturating_sub(copy.fetched));
                Ok(Fetched::Unasked { why, text: copy.text, age })
            }
            None => Err(why),
        },
    }
}

/// Keeps a copy, readable by its owner only, because a config may hold secrets.
///
/// # Errors
/// When it can't be written.
pub(super) fn keep(copy: &Copy, folder: &Path, url: &str) -> std::io::Result<()> {
    let place = place(folder, url);
    let parent = place.parent().unwrap_or(folder);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let partial = place.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(&serde_json::to_vec(copy)?)?;
    file.sync_all()?;
    std::fs::rename(&partial, &place)
}

/// The path of a URL's copy.
fn place(folder: &Path, url: &str) -> PathBuf {
    let digest = Sha256::digest(url.as_bytes());
    let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    folder.join("config").join(name + ".json")
}

fn read_copy(place: &Path) -> Option<Copy> {
    let file = std::fs::File::open(place).ok()?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_COPY_BYTES), &mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The server's text; `None`: unchanged since the copy.
fn ask(url: &str, copy: Option<&Copy>) -> Result<Option<Copy>, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime
        .block_on(async { tokio::time::timeout(LIMIT, get(url, copy)).await })
        .unwrap_or_else(|_| Err(format!("no answer within {} seconds", LIMIT.as_secs())))
}

async fn get(url: &str, copy: Option<&Copy>) -> Result<Option<Copy>, String> {
    let client = client()?;
    let response = client.get(url).headers(conditions(copy)).send().await.map_err(|error| reason(&error))?;
    match response.status() {
        StatusCode::NOT_MODIFIED => Ok(None),
        StatusCode::OK => {
            let header = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
            let text = body(response).await?;
            Ok(Some(Copy { etag, last_modified, fetched: unix_seconds(), text }))
        }
        status => Err(format!("the server answers {status}")),
    }
}

/// Headers that make the request conditional on a change since the copy.
fn conditions(copy: Option<&Copy>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(copy) = copy else { return headers };
    for (name, value) in [(IF_NONE_MATCH, &copy.etag), (IF_MODIFIED_SINCE, &copy.last_modified)] {
        if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

async fn body(mut response: Response) -> Result<String, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err("larger than 1mb: a settings file is a few kilobytes".to_owned());
        }
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())
}

/// A client that trusts the system's root certificates and refuses redirects from `https` to `http`.
fn client() -> Result<Client, String> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    let onward = Policy::custom(|attempt| {
        let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS {
            attempt.error("it is sent from place to place")
        } else if secure && attempt.url().scheme() != "https" {
            attempt.error("it is sent from https to http")
        } else {
            attempt.follow()
        }
    });
    let agent = concat!("qtap/", env!("CARGO_PKG_VERSION"));
    let builder = Client::builder().tls_backend_preconfigured(tls).redirect(onward).user_agent(agent);
    builder.build().map_err(|error| reason(&error))
}

/// The innermost cause of an error, without the URL.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
