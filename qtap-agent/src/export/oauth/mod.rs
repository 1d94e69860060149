//! OAuth 2.0 for a store (RFC 6749, 7523). In: settings. Out: access tokens. All workers share one token; one worker at a time requests it,
//! before it expires and when the store refuses it. Tokens, passwords and keys are never shown.

mod assertion;
mod grant;

use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode, header};
use reqwest::{Response, Url};
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::grant::Form;
use super::auth::without;
use super::client::HttpClient;
use super::refusal::{Refusal, Remedy};
use super::retry::retry_after;
use super::settings::{OAuthSettings, ProxySettings, Secret, TlsSettings};
use super::store::StartError;
pub use assertion::KeyError;

/// A token is renewed this long before it expires, or a fifth of its lifetime before, if that is shorter. The margin covers requests
/// in flight and clock differences.
const MARGIN: Duration = Duration::from_secs(60);

/// Maximum size of an answer of the token endpoint, in bytes.
const ANSWER_BYTES: usize = 64 << 10;

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OAuthError {
    /// Not a URL.
    #[error("auth.token_url is no http:// or https:// URL")]
    TokenUrl,
    /// The key of the assertion can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A token that a request carries.
#[derive(Clone)]
pub struct Token {
    header: HeaderValue,
    number: u64,
    renew: Option<Instant>,
    expires: Option<Instant>,
}

impl Token {
    /// The value of `Authorization` (RFC 6750 §2.1), marked sensitive.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(number {})", self.number)
    }
}

/// Obtains and caches the tokens of a store.
#[derive(Debug)]
pub struct Tokens {
    settings: OAuthSettings,
    url: Url,
    client: HttpClient,
    target: String,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    /// Number of tokens obtained so far.
    count: u64,
}

impl Tokens {
    /// Checks the settings; does not request a token yet. TLS and proxy settings are those of the store, and so is
    /// the time that a request may take.
    ///
    /// # Errors
    /// When the URL, the key, the TLS files or the proxy can't be used.
    pub fn new(
        settings: &OAuthSettings,
        tls: &TlsSettings,
        proxies: &ProxySettings,
        limit: Duration,
        version: &'static str,
    ) -> Result<Tokens, StartError> {
        let url = Url::parse(&settings.token_url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.filter(Url::has_host).ok_or(OAuthError::TokenUrl)?;
        grant::form(settings, SystemTime::now()).map_err(OAuthError::Key)?;
        // `server_name` is for verifying the store, not the token endpoint.
        let tls = TlsSettings { server_name: None, ..tls.clone() };
        let client = HttpClient::new(&url, &tls, proxies, limit, version)?;
        let target = client.name(&url);
        Ok(Tokens { settings: settings.clone(), url, client, target, held: Mutex::default() })
    }

    /// A valid token: the cached one, or a new one. Only one request is made at a time; all workers wait for it.
    ///
    /// # Errors
    /// When no token could be obtained; says why.
    pub async fn token(&self) -> Result<Token, Refusal> {
        let mut held = self.held.lock().await;
        let now = Instant::now();
        if let Some(token) = held.token.as_ref().filter(|token| token.renew.is_none_or(|renew| now < renew)) {
            return Ok(token.clone());
        }
        match self.ask(held.count + 1).await {
            Ok(token) => {
                held.count += 1;
                held.token = Some(token.clone());
                Ok(token)
            }
            // Tokens are renewed early, so the old one is still valid while the token endpoint has trouble.
            Err(refusal) => match held.token.as_ref().filter(|old| old.expires.is_none_or(|expires| now < expires)) {
                Some(old) => Ok(old.clone()),
                None => Err(refusal),
            },
        }
    }

    /// Call this when the store refused the token: the next one will be new. Does nothing if another worker has already replaced it.
    pub async fn refused(&self, token: &Token) {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_some_and(|current| current.number == token.number) {
            held.token = None;
        }
    }

    async fn ask(&self, number: u64) -> Result<Token, Refusal> {
        let form = grant::form(&self.settings, SystemTime::now());
        let form = form.map_err(|error| Refusal::reconfigure(error.to_string()))?;
        let (client, made) = self.client.current();
        let mut request = client.post(self.url.clone()).header(header::ACCEPT, "application/json").form(&form.fields);
        if let Some(value) = &form.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let asked = Instant::now();
        let response = request.send().await.map_err(|error| {
            self.client.suspect(made);
            let refusal = Refusal::transport(&error.without_url(), &self.target);
            Refusal { why: format!("no token: {}", refusal.why), ..refusal }
        })?;
        self.answer(response, number, asked, &form).await
    }

    /// RFC 6749 §5.1 and §5.2.
    async fn answer(&self, mut response: Response, number: u64, asked: Instant, form: &Form) -> Result<Token, Refusal> {
        let status = response.status();
        let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry_after(value, SystemTime::now()));
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            if body.len() + chunk.len() > ANSWER_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            return Err(self.no_token(status, &answer, after, form));
        }
        let unusable = |what: &str| Refusal::wait(format!("no token: {} answers {status} {what}", self.target));
        let text = |name: &str| answer.get(name).and_then(serde_json::Value::as_str);
        let token = text("access_token").filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| unusable("without an access_token: is auth.token_url a token endpoint?"))?;
        if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(unusable("with a token that is not of type Bearer"));
        }
        let header = HeaderValue::try_from(format!("Bearer {token}"));
        let mut header = header.map_err(|_| unusable("with a token that a header cannot carry"))?;
        header.set_sensitive(true);
        // Some servers send the number as text.
        let seconds = answer.get("expires_in").and_then(|n| n.as_f64().or_else(|| n.as_str()?.parse().ok()));
        let life = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let life = life.map(|life| life.min(Duration::from_secs(u64::from(u32::MAX))));
        let renew = life.map(|life| asked + life.saturating_sub(MARGIN.min(life / 5)));
        Ok(Token { header, number, renew, expires: life.map(|life| asked + life) })
    }

    fn no_token(
        &self,
        status: StatusCode,
        answer: &serde_json::Value,
        after: Option<Duration>,
        form: &Form,
    ) -> Refusal {
        let text = |name: &str| answer.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        let (error, description) = (text("error"), text("error_description"));
        let said = format!("{error}{}{description}", if description.is_empty() { "" } else { ": " });
        let cure = match (error, status.as_u16()) {
            ("invalid_client", _) | (_, 401) => "; see auth.client_id, auth.client_secret and auth.auth_style",
            ("invalid_grant", _) => "; see auth.username and auth.password, or auth.signing_key, issuer and audience",
            ("invalid_scope", _) => "; see auth.scopes",
            ("unauthorized_client" | "unsupported_grant_type", _) => "; see auth.grant",
            (_, 404 | 405) => "; is auth.token_url right?",
            _ => "",
        };
        let why = format!(
            "no token: {} answers {status}{}{cure}",
            self.target,
            super::refusal::said(&self.hide(&said, form))
        );
        let remedy = match status.as_u16() {
            408 | 425 | 429 | 500..=599 => Remedy::Wait(after),
            _ => Remedy::Reconfigure,
        };
        Refusal { remedy, why, throttled: status == StatusCode::TOO_MANY_REQUESTS }
    }

    /// Removes the secrets of the request from a server's text, in case the server repeats them.
    fn hide(&self, text: &str, form: &Form) -> String {
        let settings: Vec<_> = self.settings.secrets().iter().map(Secret::reveal).collect();
        let sent = form.secrets();
        without(text, settings.iter().map(|value| value.as_str()).chain(sent.iter().map(String::as_str)))
    }
}
