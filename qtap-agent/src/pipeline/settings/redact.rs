//! Settings of `redact`: what to redact, and how to replace it. Checked and resolved: paths and expressions are complete here.

use std::fmt;

use super::json_path::JsonPath;

/// Names of header fields that contain credentials.
const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-refresh-token",
    "x-id-token",
    "x-session-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-forwarded-access-token",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "cf-access-jwt-assertion",
    "apikey",
    "x-amz-security-token",
    "x-goog-api-key",
    "dd-api-key",
    "x-honeycomb-team",
    "x-vault-token",
    "private-token",
    // Browsers can set no other field of the handshake of a WebSocket, so tokens are put there (Kubernetes: base64url.bearer.authorization.k8s.io.…).
    "sec-websocket-protocol",
];

/// Names of query parameters that contain credentials.
const QUERY_KEYS: &[&str] = &[
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "auth_token",
    "client_secret",
    "id_token",
    "jwt",
    "key",
    "password",
    "refresh_token",
    "secret",
    "session_token",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
];

/// Names of cookies that contain credentials.
const COOKIES: &[&str] = &[
    "session",
    "sessionid",
    "session_id",
    "sid",
    "connect.sid",
    "jsessionid",
    "phpsessid",
    "asp.net_sessionid",
    ".aspnetcore.cookies",
    ".aspxauth",
    "laravel_session",
    "_session",
    "__session",
    "__host-session",
    "__secure-session",
    "next-auth.session-token",
    "__secure-next-auth.session-token",
    "auth",
    "auth_token",
    "access_token",
    "refresh_token",
    "id_token",
    "token",
    "jwt",
    "csrftoken",
    "xsrf-token",
    "remember_token",
];

/// How redacted values are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedactAction {
    /// `[redacted]`.
    Mask,
    /// A keyed SHA-256, so that equal values stay equal: within one run, or wherever the salt is the same.
    Hash,
    /// Nothing: the element that contains the value is removed.
    Drop,
}

/// `redact`.
#[derive(Debug, Clone, PartialEq)]
pub struct Redact {
    /// Names of header fields, lower case.
    pub headers: Vec<String>,
    /// Header fields with usual names of credentials too, in any spelling.
    pub credential_headers: bool,
    /// Names of query parameters, lower case.
    pub query_keys: Vec<String>,
    /// Query parameters with usual names of credentials too, in any spelling.
    pub credential_query_keys: bool,
    /// Names of cookies, lower case; `*` for all of them.
    pub cookies: Vec<String>,
    /// Values in JSON documents.
    pub json: BodyValues<JsonPath>,
    /// Fields of forms, lower case.
    pub form: BodyValues<String>,
    /// Patterns to search for in all text.
    pub patterns: Vec<SecretForm>,
    /// How matches are replaced.
    pub action: RedactAction,
    /// A key for the hashes that is the same in every run; `None`: a random key per run.
    pub salt: Option<Salt>,
}

/// What is redacted in one kind of body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BodyValues<T> {
    /// Redact values with usual names of credentials.
    pub credentials: bool,
    /// Configured names or paths.
    pub named: Vec<T>,
}

impl<T> BodyValues<T> {
    /// True when nothing is redacted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.credentials && self.named.is_empty()
    }

    fn credentials() -> BodyValues<T> {
        BodyValues { credentials: true, named: Vec::new() }
    }
}

/// A pattern to search for in text.
#[derive(Debug, Clone)]
pub enum SecretForm {
    /// A built-in pattern.
    Ready(Ready),
    /// A user-defined pattern.
    Own {
        /// The name in messages.
        name: String,
        /// The expression.
        regex: regex::bytes::Regex,
    },
}

impl PartialEq for SecretForm {
    fn eq(&self, other: &SecretForm) -> bool {
        match (self, other) {
            (SecretForm::Ready(one), SecretForm::Ready(two)) => one == two,
            (SecretForm::Own { name, regex }, SecretForm::Own { name: other_name, regex: other_regex }) => {
                name == other_name && regex.as_str() == other_regex.as_str()
            }
            (SecretForm::Ready(_), SecretForm::Own { .. }) | (SecretForm::Own { .. }, SecretForm::Ready(_)) => false,
        }
    }
}

/// Built-in patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ready {
    /// Payment card numbers with a valid check digit.
    Card,
    /// Email addresses.
    Email,
    /// JSON web tokens.
    Jwt,
    /// Keys and tokens of cloud providers and services, by their vendors' formats.
    CloudKeys,
    /// Private keys in PEM form.
    PrivateKey,
}

impl Ready {
    /// All built-in patterns with their names in the configuration file.
    pub const ALL: [(&'static str, Ready); 5] = [
        ("card", Ready::Card),
        ("email", Ready::Email),
        ("jwt", Ready::Jwt),
        ("cloud_keys", Ready::CloudKeys),
        ("private_key", Ready::PrivateKey),
    ];

    /// The patterns that match credentials.
    pub const CREDENTIALS: [Ready; 3] = [Ready::Jwt, Ready::CloudKeys, Ready::PrivateKey];
}

/// A user-supplied key for hashes.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

impl Salt {
    /// The key derived from `text`.
    #[must_use]
    pub fn of(text: &str) -> Salt {
        use sha2::Digest as _;
        let digest = sha2::Sha256::new().chain_update(b"qtap redact salt\0").chain_update(text.as_bytes()).finalize();
        Salt(digest.into())
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

impl Redact {
    /// Names of cookies that the keyword `credentials` includes.
    #[must_use]
    pub fn cookie_credentials() -> Vec<String> {
        words(COOKIES)
    }
}

impl Default for Redact {
    /// Redacts credentials by their usual names.
    fn default() -> Self {
        Redact {
            headers: words(HEADERS),
            credential_headers: true,
            query_keys: words(QUERY_KEYS),
            credential_query_keys: true,
            cookies: Vec::new(),
            json: BodyValues::credentials(),
            form: BodyValues::credentials(),
            patterns: Vec::new(),
            action: RedactAction::Mask,
            salt: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_names() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/redaction.md"));
        for (row, names) in [("headers", HEADERS), ("query_keys", QUERY_KEYS), ("cookies", COOKIES)] {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let line = format!("| `{row}` | {} |", names.join(", "));
            assert!(page.lines().any(|of_page| of_page == line), "docs/redaction.md lacks this row:\n{line}");
        }
    }
}
