//! The client that `object_store` speaks through: TLS and proxies as everywhere in this room; an answer that refuses becomes an
//! [`Answer`], which says what the library would not pass on; a part of a large object is sent again where that may help.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::ETAG;
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

use super::answer::{Answer, NoCredentials};
use crate::export;
use crate::export::refusal::explain;
use crate::export::settings::{ProxySettings, S3Settings, TlsSettings};
use crate::export::store::StartError;

/// Bytes of an answer that refuses that are read.
const ANSWER_BYTES: usize = 64 << 10;
/// How often a part is sent before its object is begun anew.
const PART_TRIES: u32 = 3;
/// Wait before a part is sent again; doubles.
const PART_WAIT: Duration = Duration::from_millis(500);

/// Hosts that are spoken to: the store, and whoever gives credentials. When there are more, all are forgotten.
const TARGETS: usize = 8;

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector {
    tls: TlsSettings,
    proxy: ProxySettings,
    version: &'static str,
    /// Host and port of the store, where they are known: who else is asked is asked for credentials.
    host: Option<String>,
}

impl Connector {
    /// For the store at `url`; none where the library knows it.
    ///
    /// # Errors
    /// When TLS files or the proxy cannot be used.
    pub(super) fn new(
        settings: &S3Settings,
        url: Option<&str>,
        version: &'static str,
    ) -> Result<Connector, StartError> {
        let connector = Connector {
            tls: settings.tls.clone(),
            proxy: settings.proxy.clone(),
            version,
            host: url.and_then(|url| url.split_once("://")).map(|(_, host)| host.to_owned()),
        };
        // Only to see that it can be made: each target gets a client of its own when it is spoken to.
        let url = reqwest::Url::parse(url.unwrap_or("https://localhost"));
        connector.client(&url.map_err(|error| StartError::Client(error.to_string()))?)?;
        Ok(connector)
    }

    /// A client for a target. What gives credentials to this host alone is never reached through a proxy.
    fn client(&self, target: &reqwest::Url) -> Result<export::client::HttpClient, StartError> {
        let link_local = match target.host() {
            Some(url::Host::Ipv4(address)) => address.is_link_local(),
            Some(url::Host::Ipv6(address)) => address.is_unicast_link_local() || address.is_unique_local(),
            Some(url::Host::Domain(_)) | None => false,
        };
        let direct = ProxySettings::default();
        let proxy = if link_local { &direct } else { &self.proxy };
        export::client::HttpClient::new(target, &self.tls, proxy, self.version)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let connector = Connector {
            tls: self.tls.clone(),
            proxy: self.proxy.clone(),
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
        let mut response = self.send(request).await?;
        let status = response.status();
        // The library takes an answer without an entity tag for a failure. But for parts, which are put together by it, nobody
        // here looks at it: what was put was put.
        if status.is_success() && !needs_etag && !response.headers().contains_key(ETAG) {
            response.headers_mut().insert(ETAG, HeaderValue::from_static("\"\""));
        }
        // These are part of what the library is asked: is it there, was it put?
        let known =
            [StatusCode::NOT_MODIFIED, StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED];
        if status.is_success() || known.contains(&status) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await;
        let body = body.map(|whole| whole.to_bytes()).unwrap_or_default();
        let answer = Answer::read(status, &parts.headers, &String::from_utf8_lossy(&body), SystemTime::now());
        Err(HttpError::new(HttpErrorKind::Unknown, answer))
    }

    /// The answer, whatever it is.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let target = self.target(request.uri())?;
        let (client, number) = target.current();
        let answer = client.call(request).await;
        if answer.is_err() {
            target.suspect(number);
        }
        answer
    }

    /// The client for who is asked.
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

    /// Who is asked, when it is not the store.
    fn elsewhere(&self, request: &HttpRequest) -> Option<String> {
        let asked = request.uri().authority()?.as_str();
        self.connector.host.as_deref().is_some_and(|host| !is_same(host, asked)).then(|| asked.to_owned())
    }

    async fn credentials(&self, asked: String, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed = |why| HttpError::new(HttpErrorKind::Unknown, NoCredentials { why });
        match self.send(request).await {
            // 403 is how an instance says that it gives tokens in the old way only.
            Ok(response) if response.status().is_success() || response.status() == StatusCode::FORBIDDEN => {
                Ok(response)
            }
            Ok(response) => Err(failed(format!("{asked} answers {}", response.status()))),
            Err(error) => Err(failed(explain(&error, &asked))),
        }
    }
}

/// True for two spellings of one authority: a usual port may be left out.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.trim_end_matches(":443").trim_end_matches(":80").to_ascii_lowercase();
    bare(one) == bare(other)
}

/// True for a part of a large object: S3 and Google number them, Azure calls them blocks.
fn is_part(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::PUT && (query.contains("partNumber=") || query.contains("comp=block&"))
}

/// True when the same request may be taken a moment later: no answer, or one of the server's own trouble that names no time.
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
