//! Authentication towards a store: settings come in, header fields and a query parameter go out, checked once at start. Values
//! are marked sensitive, so that no log of any layer shows them; errors name the field, never its value.

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::settings::{Auth, Secret};

/// What every request carries.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Header fields (gRPC: metadata).
    pub headers: HeaderMap,
    /// Query parameter (HTTP only).
    pub query: Option<(String, Secret)>,
}

/// A header field that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// RFC 9110 §5.1.
    #[error("`{0}` is not a header name")]
    Name(String),
    /// RFC 9110 §5.5.
    #[error("the value of header `{0}` holds characters that a header cannot carry (a line break from a file?)")]
    Value(String),
}

/// The configured headers and what the authentication adds; the latter wins.
///
/// # Errors
/// When a name or value cannot stand in a header field.
pub fn credentials(headers: &[(String, Secret)], auth: &Auth) -> Result<Credentials, AuthError> {
    let mut out = Credentials::default();
    for (name, value) in headers {
        insert(&mut out.headers, name, &value.0)?;
    }
    match auth {
        Auth::None => {}
        Auth::Basic { username, password } => {
            let pair = format!("{username}:{}", password.0);
            let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
            insert(&mut out.headers, header::AUTHORIZATION.as_str(), &value)?;
        }
        Auth::Header { name, value } => insert(&mut out.headers, name, &value.0)?,
        Auth::Query { name, value } => out.query = Some((name.clone(), value.clone())),
    }
    Ok(out)
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), AuthError> {
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
        Secret(text.to_owned())
    }

    /// The example of RFC 7617 §2.
    #[test]
    fn basic() {
        let auth = Auth::Basic { username: "Aladdin".into(), password: secret("open sesame") };
        let out = credentials(&[], &auth).unwrap();
        assert_eq!(out.headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{out:?}").contains("QWxh"), "shown: {out:?}");
    }

    #[test]
    fn a_header_of_any_name_wins_over_the_configured_one() {
        let auth = Auth::Header { name: "DD-API-Key".into(), value: secret("new") };
        let out = credentials(&[("dd-api-key".into(), secret("old")), ("x".into(), secret("y"))], &auth).unwrap();
        assert_eq!(out.headers["dd-api-key"], "new");
        assert_eq!(out.headers["x"], "y");
    }

    #[test]
    fn what_cannot_be_sent_is_named_without_its_value() {
        let error = credentials(&[("key".into(), secret("s3cret\n"))], &Auth::None).unwrap_err();
        assert_eq!(error, AuthError::Value("key".into()));
        assert!(!error.to_string().contains("s3cret"));
        assert_eq!(credentials(&[("a b".into(), secret(""))], &Auth::None).unwrap_err(), AuthError::Name("a b".into()));
    }
}
