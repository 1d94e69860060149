//! Authentication to a store. In: settings. Out: header fields and a query parameter, checked once at start and built again when a secret file
//! changes. Values are marked sensitive, so that no layer logs them; errors name the field, never its value.

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use super::oauth::{Token, Tokens};
use super::refusal::Refusal;
use super::settings::{Auth, OtlpSettings, Secret};
use super::store::StartError;

/// The credentials that one request carries.
#[derive(Clone, Default)]
pub struct Carried {
    /// Header fields (gRPC: metadata).
    pub headers: HeaderMap,
    /// Query parameter (HTTP only).
    pub query: Option<(String, Zeroizing<String>)>,
    /// The OAuth token in the headers, if any.
    token: Option<Token>,
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carried").field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// Header fields and authentication of a store.
#[derive(Debug)]
pub struct Credentials {
    headers: Vec<(String, Secret)>,
    auth: Auth,
    /// The credentials of every request, when none of the secrets can change.
    fixed: Option<Carried>,
}

/// A header field that can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// RFC 9110 §5.1.
    #[error("`{0}` is not a header name")]
    Name(String),
    /// RFC 9110 §5.5.
    #[error("the value of header `{0}` holds characters that a header cannot carry (a line break from a file?)")]
    Value(String),
}

impl Credentials {
    /// Combines the configured headers with those of the authentication; the latter win.
    ///
    /// # Errors
    /// When a name or value is not valid in a header field.
    pub fn new(headers: &[(String, Secret)], auth: &Auth) -> Result<Credentials, AuthError> {
        let mut out = Credentials { headers: headers.to_vec(), auth: auth.clone(), fixed: None };
        let carried = out.carried()?;
        let own = match auth {
            // There is no token yet; `Authorizer` adds it.
            Auth::None | Auth::OAuth2(_) => None,
            Auth::Basic { password: secret, .. }
            | Auth::Header { value: secret, .. }
            | Auth::Query { value: secret, .. } => Some(secret),
        };
        let may_change = headers.iter().map(|(_, value)| value).chain(own).any(Secret::may_change);
        out.fixed = (!may_change).then_some(carried);
        Ok(out)
    }

    /// The credentials for a request now.
    ///
    /// # Errors
    /// When a secret file now holds a value that can't be sent.
    pub fn carried(&self) -> Result<Carried, AuthError> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let mut out = Carried::default();
        for (name, value) in &self.headers {
            insert(&mut out.headers, name, &value.reveal())?;
        }
        match &self.auth {
            Auth::None | Auth::OAuth2(_) => {}
            Auth::Basic { username, password } => {
                let value = basic(username, &password.reveal());
                insert(&mut out.headers, header::AUTHORIZATION.as_str(), &value)?;
            }
            Auth::Header { name, value } => insert(&mut out.headers, name, &value.reveal())?,
            Auth::Query { name, value } => out.query = Some((name.clone(), value.reveal())),
        }
        Ok(out)
    }
}

/// Authorizes the requests of a store: its credentials, and an OAuth token where the settings ask for one.
#[derive(Debug)]
pub struct Authorizer {
    credentials: Credentials,
    tokens: Option<Tokens>,
}

impl Authorizer {
    /// Checks the settings; does not request a token yet.
    ///
    /// # Errors
    /// When the headers, or the settings of the token request, can't be used.
    pub fn new(settings: &OtlpSettings, version: &'static str) -> Result<Authorizer, StartError> {
        let credentials = Credentials::new(&settings.headers, &settings.auth)?;
        let tokens = match &settings.auth {
            Auth::OAuth2(oauth) => Some(Tokens::new(oauth, &settings.tls, &settings.proxy, settings.timeout, version)?),
            Auth::None | Auth::Basic { .. } | Auth::Header { .. } | Auth::Query { .. } => None,
        };
        Ok(Authorizer { credentials, tokens })
    }

    /// The credentials for a request now; may request a token first.
    ///
    /// # Errors
    /// When a secret file holds a value that can't be sent, or no token could be obtained.
    pub async fn carried(&self) -> Result<Carried, Refusal> {
        let mut out = self.credentials.carried().map_err(|error| Refusal::reconfigure(error.to_string()))?;
        if let Some(tokens) = &self.tokens {
            let token = tokens.token().await?;
            out.headers.insert(header::AUTHORIZATION, token.header());
            out.token = Some(token);
        }
        Ok(out)
    }

    /// Call this when the store refused the credentials (401, UNAUTHENTICATED). True when a retry with a new token is worthwhile.
    pub async fn refused(&self, carried: &Carried) -> bool {
        let (Some(tokens), Some(token)) = (&self.tokens, &carried.token) else { return false };
        tokens.refused(token).await;
        true
    }
}

impl Carried {
    /// Removes this request's credentials from a server's text, in case the server repeats them.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let values = self.headers.values().filter(|value| value.is_sensitive());
        let values = values.filter_map(|value| value.to_str().ok());
        // With and without the auth scheme before the value (`Basic …`, `Bearer …`).
        let values = values.flat_map(|value| [Some(value), value.split_once(' ').map(|(_, rest)| rest)]).flatten();
        let query = self.query.as_ref().map(|(_, value)| value.as_str());
        // The value in its URL-encoded form.
        let written: Option<String> =
            query.map(|value| url::form_urlencoded::byte_serialize(value.as_bytes()).collect());
        without(text, values.chain(query).chain(written.as_deref()))
    }
}

/// Replaces the values in the text with `…`.
pub(super) fn without<'s>(text: &str, values: impl Iterator<Item = &'s str>) -> String {
    // A shorter value occurs in any text by chance.
    const LEAST: usize = 4;
    values.filter(|value| value.len() >= LEAST).fold(text.to_owned(), |text, value| text.replace(value, "…"))
}

/// The value of an `Authorization` header (RFC 7617 §2).
pub(super) fn basic(username: &str, password: &str) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    Zeroizing::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes())))
}

pub(super) fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), AuthError> {
    let key = HeaderName::try_from(name).map_err(|_| AuthError::Name(name.to_owned()))?;
    let mut value = HeaderValue::try_from(value).map_err(|_| AuthError::Value(name.to_owned()))?;
    value.set_sensitive(true);
    headers.insert(key, value);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::text(text)
    }

    fn carried(headers: &[(String, Secret)], auth: &Auth) -> Result<Carried, AuthError> {
        Credentials::new(headers, auth)?.carried()
    }

    /// The example of RFC 7617 §2.
    #[test]
    fn basic() {
        let auth = Auth::Basic { username: "Aladdin".into(), password: secret("open sesame") };
        let out = carried(&[], &auth).unwrap();
        assert_eq!(out.headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{out:?}").contains("QWxh"), "shown: {out:?}");
    }

    #[test]
    fn a_header_of_any_name_wins_over_the_configured_one() {
        let auth = Auth::Header { name: "DD-API-Key".into(), value: secret("new") };
        let out = carried(&[("dd-api-key".into(), secret("old")), ("x".into(), secret("y"))], &auth).unwrap();
        assert_eq!(out.headers["dd-api-key"], "new");
        assert_eq!(out.headers["x"], "y");
    }

    #[test]
    fn a_file_that_changes_changes_what_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "one").unwrap();
        let value = Secret::file(path.clone()).unwrap();
        let credentials = Credentials::new(&[("x".into(), value)], &Auth::None).unwrap();
        assert_eq!(credentials.carried().unwrap().headers["x"], "one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(credentials.carried().unwrap().headers["x"], "two");
        std::fs::write(&path, "two\nlines").unwrap();
        assert_eq!(credentials.carried().unwrap_err(), AuthError::Value("x".into()));
    }

    #[test]
    fn what_cannot_be_sent_is_named_without_its_value() {
        let error = carried(&[("key".into(), secret("s3cret\n"))], &Auth::None).unwrap_err();
        assert_eq!(error, AuthError::Value("key".into()));
        assert!(!error.to_string().contains("s3cret"));
        assert_eq!(carried(&[("a b".into(), secret(""))], &Auth::None).unwrap_err(), AuthError::Name("a b".into()));
    }
}
