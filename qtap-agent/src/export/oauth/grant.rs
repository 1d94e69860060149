//! The request to a token endpoint: the grant's form (RFC 6749 §4.3.2, §4.4.2; RFC 7523 §2.1) and the client's own authentication
//! (RFC 6749 §2.3.1). In: settings. Out: fields and a header.

use std::time::SystemTime;

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::assertion::{KeyError, assertion};
use crate::export::auth;
use crate::export::settings::{Grant, OAuthSettings};

/// The characters that `application/x-www-form-urlencoded` leaves unchanged (RFC 6749 appendix B).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');

/// A token request.
pub(super) struct Form {
    pub(super) fields: Vec<(String, String)>,
    pub(super) authorization: Option<HeaderValue>,
}

impl Form {
    /// The secret values of the request, plain and as encoded, which must be hidden if the server repeats them.
    pub(super) fn secrets(&self) -> Vec<String> {
        let fields = self.fields.iter().filter(|(name, _)| SECRET_FIELDS.contains(&name.as_str()));
        let fields = fields.flat_map(|(_, value)| [value.clone(), encoded(value)]);
        let header = self.authorization.as_ref().and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        fields.chain(header.map(str::to_owned)).collect()
    }
}

/// Fields of a request that hold secrets.
const SECRET_FIELDS: [&str; 3] = ["password", "client_secret", "assertion"];

/// Builds the request that the settings describe.
///
/// # Errors
/// When the key can't sign.
pub(super) fn form(settings: &OAuthSettings, now: SystemTime) -> Result<Form, KeyError> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    match &settings.grant {
        Grant::ClientCredentials => put("grant_type", "client_credentials"),
        Grant::Password { username, password } => {
            put("grant_type", "password");
            put("username", username);
            put("password", &password.reveal());
        }
        Grant::JwtBearer(jwt) => {
            put("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
            put("assertion", &assertion(jwt, now)?);
        }
    }
    if !settings.scopes.is_empty() {
        put("scope", &settings.scopes.join(" "));
    }
    let mut authorization = None;
    match (&settings.client_id, &settings.client_secret) {
        (Some(id), Some(secret)) if !settings.in_body => {
            let value = auth::basic(&encoded(id), &encoded(&secret.reveal()));
            authorization = HeaderValue::from_str(&value).ok();
        }
        (Some(id), secret) => {
            put("client_id", id);
            if let Some(secret) = secret {
                put("client_secret", &secret.reveal());
            }
        }
        (None, _) => {}
    }
    for (name, value) in &settings.params {
        put(name, value);
    }
    if let Some(value) = &mut authorization {
        value.set_sensitive(true);
    }
    Ok(Form { fields, authorization })
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string().replace(' ', "+")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::export::settings::Secret;

    fn settings(grant: Grant) -> OAuthSettings {
        OAuthSettings {
            grant,
            token_url: "https://t".into(),
            client_id: Some("s6BhdRkqt3".into()),
            client_secret: Some(Secret::text("gX1fBat3bV")),
            scopes: vec!["a".into(), "b".into()],
            in_body: false,
            params: vec![("audience".into(), "x".into())],
        }
    }

    fn shown(form: &Form) -> String {
        form.fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    /// The client and the header of RFC 6749 §4.4.2.
    #[test]
    fn client_credentials() {
        let form = form(&settings(Grant::ClientCredentials), SystemTime::now()).unwrap();
        assert_eq!(form.authorization.as_ref().unwrap(), "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
        assert_eq!(shown(&form), "grant_type=client_credentials&scope=a b&audience=x");
    }

    /// RFC 6749 §4.3.2, with the client in the body (§2.3.1).
    #[test]
    fn password() {
        let grant = Grant::Password { username: "johndoe".into(), password: Secret::text("A3ddj3w") };
        let form = form(&OAuthSettings { in_body: true, ..settings(grant) }, SystemTime::now()).unwrap();
        assert_eq!(form.authorization, None);
        assert_eq!(
            shown(&form),
            "grant_type=password&username=johndoe&password=A3ddj3w&scope=a b&client_id=s6BhdRkqt3&client_secret=gX1fBat3bV&audience=x"
        );
    }

    /// A public client names itself (RFC 6749 §3.2.1).
    #[test]
    fn a_client_without_a_secret() {
        let given = OAuthSettings { client_secret: None, ..settings(Grant::ClientCredentials) };
        let form = form(&given, SystemTime::now()).unwrap();
        assert_eq!((form.authorization.is_none(), form.fields[2].0.as_str()), (true, "client_id"));
    }

    /// The encoding example of RFC 6749 appendix B.
    #[test]
    fn client_and_secret_are_form_encoded_in_the_header() {
        assert_eq!(encoded(" %&+£€"), "+%25%26%2B%C2%A3%E2%82%AC");
    }
}
