//! `auth` as typed.

use crate::config::fields::{At, Fields, Given, scalar};
use crate::config::finding::Findings;
use crate::config::place::Span;
use crate::config::shape;
use crate::config::yaml::Node;
use crate::export::settings::Algorithm;

#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) span: Span,
    pub(crate) kind: Option<At<AuthKind>>,
    pub(crate) username: Option<At<String>>,
    pub(crate) password: Option<At<Given>>,
    pub(crate) name: Option<At<String>>,
    pub(crate) value: Option<At<Given>>,
    pub(crate) grant: Option<At<GrantKind>>,
    pub(crate) token_url: Option<At<String>>,
    pub(crate) client_id: Option<At<String>>,
    pub(crate) client_secret: Option<At<Given>>,
    pub(crate) scopes: Vec<At<String>>,
    pub(crate) in_body: Option<At<bool>>,
    pub(crate) params: Vec<(At<String>, At<String>)>,
    pub(crate) signing_key: Option<At<Given>>,
    pub(crate) algorithm: Option<At<Algorithm>>,
    pub(crate) key_id: Option<At<String>>,
    pub(crate) issuer: Option<At<String>>,
    pub(crate) subject: Option<At<String>>,
    pub(crate) audience: Option<At<String>>,
    /// The given keys other than `type`, and the places of their values.
    pub(crate) given: Vec<(&'static str, Span)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthKind {
    None,
    Basic,
    Header,
    Query,
    Oauth2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantKind {
    ClientCredentials,
    Password,
    JwtBearer,
}

pub(crate) const KINDS: [(&str, AuthKind); 5] = [
    ("none", AuthKind::None),
    ("basic", AuthKind::Basic),
    ("header", AuthKind::Header),
    ("query", AuthKind::Query),
    ("oauth2", AuthKind::Oauth2),
];

pub(crate) const GRANTS: [(&str, GrantKind); 3] = [
    ("client_credentials", GrantKind::ClientCredentials),
    ("password", GrantKind::Password),
    ("jwt_bearer", GrantKind::JwtBearer),
];

/// Reads `auth`.
pub(crate) fn auth(fields: &Fields<'_>, out: &Findings) -> Auth {
    let param = |(name, node): (At<String>, &Node)| {
        out.show(node.span);
        Some((name.clone(), scalar(&name.value, node, out)?))
    };
    let given = shape::AUTH.all().filter(|key| key.name != "type");
    let given = given.filter_map(|key| fields.node(key.name).map(|node| (key.name, node.span)));
    Auth {
        span: fields.span,
        kind: super::kind(fields, &KINDS),
        username: fields.text("username"),
        password: fields.secret("password"),
        name: fields.text("name"),
        value: fields.secret("value"),
        grant: fields.choice("grant", &GRANTS),
        token_url: fields.text("token_url"),
        client_id: fields.text("client_id"),
        client_secret: fields.secret("client_secret"),
        scopes: fields.words("scopes").unwrap_or_default(),
        in_body: fields.choice("auth_style", &[("header", false), ("body", true)]),
        params: fields.names("params").into_iter().filter_map(param).collect(),
        signing_key: fields.secret("signing_key"),
        algorithm: fields.choice(
            "algorithm",
            &[("RS256", Algorithm::Rs256), ("ES256", Algorithm::Es256), ("HS256", Algorithm::Hs256)],
        ),
        key_id: fields.text("key_id"),
        issuer: fields.text("issuer"),
        subject: fields.text("subject"),
        audience: fields.text("audience"),
        given: given.collect(),
    }
}
