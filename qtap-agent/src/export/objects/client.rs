//! The HTTP client for `object_store`: TLS and proxies as everywhere in `export`. It turns a negative answer into an [`Answer`], with
//! details that the library would not pass on, and resends a part of a large object where that may help.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

use super::answer::{Answer, NoCredentials};
use crate::export;
use crate::export::refusal::explain;
use crate::export::settings::{ProxySettings, S3Settings, TlsSettings};
use crate::export::store::StartError;

/// Maximum bytes that are read of a negative answer.
const ANSWER_BYTES: usize = 64 << 10;
/// How often a part is sent before the upload of its object is started again.
const PART_TRIES: u32 = 3;
/// Wait before a part is resent; doubles each time.
const PART_WAIT: Duration = Duration::from_millis(500);

/// Maximum number of cached clients, one per host: the store and credentials providers. At the limit the cache is cleared.
const TARGETS: usize = 8;

/// Creates clients.
#[derive(Debug)]
pub(super) struct Connector {
    tls: TlsSettings,
    proxy: ProxySettings,
    timeout: Duration,
    version: &'static str,
    /// Host and port of the store, where known: requests to any other host are requests for credentials.
    host: Option<String>,
}

impl Connector {
    /// A connector for the store at `url`; `None` if only the library knows the URL.
    ///
    /// # Errors
    /// When the TLS files or the proxy can't be used.
    pub(super) fn new(
        settings: &S3Settings,
        url: Option<&str>,
        version: &'static str,
    ) -> Result<Connector, StartError> {
        let connector = Connector {
            tls: settings.tls.clone(),
            proxy: settings.proxy.clone(),
            timeout: settings.timeout,
            version,
            // Without the endpoint's path, if it has one.
            host: url.and_then(|url| Some(url.parse::<Uri>().ok()?.authority()?.as_str().to_owned())),
        };
        // Only checks that a client can be built: each target gets its own client when it is first used.
        let url = reqwest::Url::parse(url.unwrap_or("https://localhost"));
        connector.client(&url.map_err(|error| StartError::Client(error.to_string()))?)?;
        Ok(connector)
    }

    /// A client for a target. Link-local credentials services, which serve only this host, are never reached through a proxy.
    fn client(&self, target: &reqwest::Url) -> Result<export::client::HttpClient, StartError> {
        let link_local = match target.host() {
            Some(url::Host::Ipv4(address)) => address.is_link_local(),
            Some(url::Host::Ipv6(address)) => address.is_unicast_link_local() || address.is_unique_local(),
            Some(url::Host::Domain(_)) | None => false,
        };
        let direct = ProxySettings::default();
        let proxy = if link_local { &direct } else { &self.proxy };
        export::client::HttpClient::new(target, &self.tls, proxy, self.timeout, self.version)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let connector = Connector {
            tls: self.tls.clone(),
            proxy: self.proxy.clone(),
            timeout: self.timeout,
            version: self.version,
            host: self.host.clone(),
        };
        Ok(HttpClient::new(Client { connector, targets: Mutex::default() }))
    }
}

#[derive(Debug)]
struct Client {
    connector: Connector,
    targets: Mutex<HashMap<String, Arc<export::client::HttpClient>>>,
}

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut tries = if is_part(&request) { PART_TRIES } else { 1 };
        let mut wait = PART_WAIT;
        loop {
            tries -= 1;
            let error = match self.once(request.clone()).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if tries == 0 || !may_pass(&error) {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }
}

impl Client {
    async fn once(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(elsewhere) = self.elsewhere(&request) {
            return self.credentials(elsewhere, request).await;
        }
        let needs_etag = is_part(&request);
        let gives = matches!(*request.method(), Method::PUT | Method::POST);
        let mut response = self.send(request).await?;
        let status = response.status();
        // A login page or a portal, which keeps nothing. An object that is asked for may be a page itself.
        let stranger = status.is_success() && gives && is_page(response.headers());
        // The library treats a success without an ETag as a failure. It needs the ETag only of parts, to complete the upload; for all other
        // requests a placeholder will do.
        if status.is_success() && !needs_etag && !response.headers().contains_key(ETAG) {
            response.headers_mut().insert(ETAG, HeaderValue::from_static("\"\""));
        }
        // The library evaluates these itself: does the object exist, was it put?
        let known =
            [StatusCode::NOT_MODIFIED, StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED];
        if !stranger && (status.is_success() || known.contains(&status)) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await;
        let body = body.map(|whole| whole.to_bytes()).unwrap_or_default();
        let answer = Answer::read(status, &parts.headers, &String::from_utf8_lossy(&body), SystemTime::now());
        Err(HttpError::new(HttpErrorKind::Unknown, answer))
    }

    /// Sends the request and returns the answer, whatever it is.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let target = self.target(request.uri())?;
        let (client, number) = target.current();
        let answer = client.call(request).await;
        if answer.is_err() {
            target.suspect(number);
        }
        answer
    }

    /// The cached client for the host of `uri`.
    fn target(&self, uri: &Uri) -> Result<Arc<export::client::HttpClient>, HttpError> {
        let origin = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or("https"),
            uri.authority().map(http::uri::Authority::as_str).unwrap_or_default()
        );
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = targets.get(&origin) {
            return Ok(Arc::clone(known));
        }
        let url = reqwest::Url::parse(&origin).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let made = self.connector.client(&url).map_err(|error| HttpError::new(HttpErrorKind::Connect, error))?;
        if targets.len() >= TARGETS {
            targets.clear();
        }
        let made = Arc::new(made);
        targets.insert(origin, Arc::clone(&made));
        Ok(made)
    }

    /// The host of the request, if it is not the store.
    fn elsewhere(&self, request: &HttpRequest) -> Option<String> {
        let asked = request.uri().authority()?.as_str();
        self.connector.host.as_deref().is_some_and(|host| !is_same(host, asked)).then(|| asked.to_owned())
    }

    async fn credentials(&self, asked: String, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed = |why| HttpError::new(HttpErrorKind::Unknown, NoCredentials { why });
        match self.send(request).await {
            // A metadata service answers 403 to say that it issues tokens only in the old way.
            Ok(response) if response.status().is_success() || response.status() == StatusCode::FORBIDDEN => {
                Ok(response)
            }
            Ok(response) => Err(failed(format!("{asked} answers {}", response.status()))),
            Err(error) => Err(failed(explain(&error, &asked))),
        }
    }
}

/// True for the headers of a page with something in it, which no store of objects answers.
fn is_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let essence = text(CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/html") && text(CONTENT_LENGTH) != Some("0")
}

/// True when both are the same authority; a default port may be omitted.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.trim_end_matches(":443").trim_end_matches(":80").to_ascii_lowercase();
    bare(one) == bare(other)
}

/// True for a part of a large object: S3 and Google number parts, Azure calls them blocks.
fn is_part(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::PUT && (query.contains("partNumber=") || query.contains("comp=block&"))
}

/// True when a retry may succeed: there was no answer, or a server error without a time to wait.
fn may_pass(error: &HttpError) -> bool {
    let answer = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Answer>());
    answer.is_none_or(|answer| answer.status.is_server_error() && answer.after.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_port_may_be_left_out() {
        assert!(is_same("Objects.example:443", "objects.example") && is_same("h", "h:80"));
        assert!(!is_same("h:9000", "h") && !is_same("h:9000", "h:9001") && !is_same("b.h", "h"));
    }
}
