//! Headers and authentication of a store: which keys a type of `auth` needs, which it does not use, and what a transport cannot
//! carry. In: `auth` and `headers` as typed. Out: settings, or findings.

use http::{HeaderName, HeaderValue};

use super::Around;
use crate::config::fields::{At, Given, twice};
use crate::config::file::auth as typed;
use crate::config::file::auth::{AuthKind, GrantKind};
use crate::config::place::Span;
use crate::config::wording::{self, listed};
use crate::export::settings::{Algorithm, Auth, Grant, JwtSettings, OAuthSettings, OtlpProtocol, Secret};

/// Checked headers, each once: names are compared without regard to case (RFC 9110 §5.1).
pub(crate) fn headers(typed: &[(At<String>, At<Given>)], around: &Around<'_>) -> Vec<(String, Secret)> {
    for (index, (name, _)) in typed.iter().enumerate() {
        let same = |(earlier, _): &&(At<String>, At<Given>)| earlier.value.eq_ignore_ascii_case(&name.value);
        if let Some((first, _)) = typed.iter().take(index).find(same) {
            twice(&name.value, name.span, first.span, around.out);
        }
    }
    typed.iter().filter_map(|(name, value)| header(name, value, around)).collect()
}

/// Checks that a header can be sent (RFC 9110 §5.1, §5.5).
fn header(name: &At<String>, value: &At<Given>, around: &Around<'_>) -> Option<(String, Secret)> {
    if HeaderName::from_bytes(name.value.as_bytes()).is_err() {
        around.out.fault(
            name.span,
            format!("`{}` cannot be the name of a header", wording::name(&name.value)),
            "letters, digits and `-`",
        );
    }
    let secret = around.secret(value)?;
    if HeaderValue::from_str(&secret.reveal()).is_err() {
        around.out.fault(value.span, "this cannot be the value of a header", "one line of visible ASCII characters");
    }
    Some((name.value.clone(), secret))
}

/// The keys that a type of `auth` requires, and those it also accepts.
pub(crate) struct Keys {
    pub(crate) needed: &'static [&'static str],
    pub(crate) more: &'static [&'static str],
}

pub(crate) fn keys(kind: AuthKind, grant: Option<GrantKind>) -> Keys {
    match (kind, grant) {
        (AuthKind::None, _) => Keys { needed: &[], more: &[] },
        (AuthKind::Basic, _) => Keys { needed: &["username", "password"], more: &[] },
        (AuthKind::Header | AuthKind::Query, _) => Keys { needed: &["name", "value"], more: &[] },
        (AuthKind::Oauth2, None) => Keys { needed: &["grant", "token_url"], more: EVERY_GRANT },
        (AuthKind::Oauth2, Some(GrantKind::ClientCredentials)) => Keys {
            needed: &["grant", "token_url", "client_id", "client_secret"],
            more: &["scopes", "auth_style", "params"],
        },
        (AuthKind::Oauth2, Some(GrantKind::Password)) => Keys {
            needed: &["grant", "token_url", "username", "password"],
            more: &["client_id", "client_secret", "scopes", "auth_style", "params"],
        },
        (AuthKind::Oauth2, Some(GrantKind::JwtBearer)) => {
            Keys { needed: &["grant", "token_url", "signing_key"], more: JWT }
        }
    }
}

const EVERY_GRANT: &[&str] = &[
    "username",
    "password",
    "client_id",
    "client_secret",
    "scopes",
    "auth_style",
    "params",
    "signing_key",
    "algorithm",
    "key_id",
    "issuer",
    "subject",
    "audience",
];
const JWT: &[&str] = &[
    "client_id",
    "client_secret",
    "scopes",
    "auth_style",
    "params",
    "algorithm",
    "key_id",
    "issuer",
    "subject",
    "audience",
];

/// The authentication; reports faults and returns `None` when it is unusable.
pub(crate) fn auth(typed: &typed::Auth, protocol: OtlpProtocol, around: &Around<'_>) -> Option<Auth> {
    let kind = typed.kind.as_ref()?;
    let grant = typed.grant.as_ref().map(|at| at.value);
    let keys = keys(kind.value, grant);
    for (name, span) in &typed.given {
        let known = keys.needed.contains(name) || keys.more.contains(name);
        if !known && kind.value != AuthKind::None {
            let of_grant = if kind.value == AuthKind::Oauth2 { " and `grant`" } else { "" };
            let message = format!("`{name}` has no meaning for this type{of_grant} of `auth`");
            let all: Vec<&str> = keys.needed.iter().chain(keys.more).copied().collect();
            around.out.fault(*span, message, format!("its keys: {}", listed(&all)));
        }
    }
    for name in keys.needed {
        if !typed.given.iter().any(|(given, _)| given == name) {
            around.out.fault(typed.span, format!("`{name}` is missing in `auth`"), "this type needs it");
        }
    }
    match kind.value {
        AuthKind::None => None,
        AuthKind::Basic => Some(Auth::Basic {
            username: typed.username.as_ref()?.value.clone(),
            password: around.secret(typed.password.as_ref()?)?,
        }),
        AuthKind::Header => {
            let (name, value) = header(typed.name.as_ref()?, typed.value.as_ref()?, around)?;
            Some(Auth::Header { name, value })
        }
        AuthKind::Query if protocol == OtlpProtocol::Grpc => {
            around.out.fault(kind.span, "gRPC has no query parameters", "write `protocol: http`, or `type: header`");
            None
        }
        AuthKind::Query => {
            Some(Auth::Query { name: typed.name.as_ref()?.value.clone(), value: around.secret(typed.value.as_ref()?)? })
        }
        AuthKind::Oauth2 => oauth(typed, around).map(|settings| Auth::OAuth2(Box::new(settings))),
    }
}

fn oauth(typed: &typed::Auth, around: &Around<'_>) -> Option<OAuthSettings> {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let secret = |at: &Option<At<Given>>| at.as_ref().and_then(|at| around.secret(at));
    let token_url = token_url(typed.token_url.as_ref(), around);
    let client_id = text(&typed.client_id);
    let client_secret = secret(&typed.client_secret);
    if let (Some(at), None) = (&typed.client_secret, &client_id) {
        around.out.fault(at.span, "a `client_secret` without a `client_id`", "the secret is that of a client");
    }
    let grant = match typed.grant.as_ref()?.value {
        GrantKind::ClientCredentials => Grant::ClientCredentials,
        GrantKind::Password => {
            let password = secret(&typed.password);
            Grant::Password { username: text(&typed.username)?, password: password? }
        }
        GrantKind::JwtBearer => {
            let Some(issuer) = text(&typed.issuer).or_else(|| client_id.clone()) else {
                let help = "write `issuer`, or `client_id`, which stands for it";
                around.out.fault(typed.span, "`issuer` is missing in `auth`", help);
                return None;
            };
            let signing_key = secret(&typed.signing_key);
            Grant::JwtBearer(Box::new(JwtSettings {
                signing_key: signing_key?,
                algorithm: typed.algorithm.as_ref().map_or(Algorithm::Rs256, |at| at.value),
                key_id: text(&typed.key_id),
                subject: text(&typed.subject).unwrap_or_else(|| issuer.clone()),
                issuer,
                audience: text(&typed.audience).or_else(|| token_url.clone())?,
            }))
        }
    };
    Some(OAuthSettings {
        grant,
        token_url: token_url?,
        client_id,
        client_secret,
        scopes: typed.scopes.iter().map(|at| at.value.clone()).collect(),
        in_body: typed.in_body.as_ref().is_some_and(|at| at.value),
        params: typed.params.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect(),
    })
}

/// Checks the token URL; notes one without TLS, unless it is on this host, because secrets are sent there.
fn token_url(typed: Option<&At<String>>, around: &Around<'_>) -> Option<String> {
    let url = around.expanded(typed?)?;
    let fault = |span: Span| {
        around.out.fault(span, "`token_url` is no URL", "https://host/path");
        None
    };
    if !url.value.contains("://") {
        return fault(url.span);
    }
    let authority = super::otlp::authority(&url, around)?;
    let here = matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]");
    if url.value.starts_with("http://") && !here {
        let message = "the client's secret is sent to this `token_url` without TLS";
        around.out.note(url.span, message, "`https://`");
    }
    Some(url.value)
}
