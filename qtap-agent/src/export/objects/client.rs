//! The client that `object_store` speaks through: TLS and proxies as everywhere in this room; an answer that refuses becomes an
//! [`Answer`], which says what the library would not pass on; a part of a large object is sent again where that may help.

use std::time::{Duration, SystemTime};

use http::header::ETAG;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};

use super::answer::{Answer, NoCredentials};
use crate::export::refusal::explain;
use crate::export::settings::TlsSettings;
use crate::export::tls;

/// Bytes of an answer that refuses that are read.
const ANSWER_BYTES: usize = 64 << 10;
/// How often a part is sent before its object is begun anew.
const PART_TRIES: u32 = 3;
/// Wait before a part is sent again; doubles.
const PART_WAIT: Duration = Duration::from_millis(500);

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector {
    /// None: plain text only, nothing is read, nothing is trusted.
    pub(super) tls: Option<TlsSettings>,
    /// Host and port of the store, where they are known: who else is asked is asked for credentials.
    pub(super) host: Option<String>,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source| object_store::Error::Generic { store: "object", source };
        let config = match &self.tls {
            Some(settings) => tls::client_config(settings),
            None => tls::plaintext_config(),
        };
        // A redirect is an answer: it says that region or endpoint is wrong.
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config.map_err(|error| failed(error.into()))?)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(HttpClient::new(Client { http: client, host: self.host.clone() }))
    }
}

#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    host: Option<String>,
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
        let mut response = self.http.call(request).await?;
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

    /// Who is asked, when it is not the store.
    fn elsewhere(&self, request: &HttpRequest) -> Option<String> {
        let asked = request.uri().authority()?.as_str();
        self.host.as_deref().is_some_and(|host| !is_same(host, asked)).then(|| asked.to_owned())
    }

    async fn credentials(&self, asked: String, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let failed = |why| HttpError::new(HttpErrorKind::Unknown, NoCredentials { why });
        match self.http.call(request).await {
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
