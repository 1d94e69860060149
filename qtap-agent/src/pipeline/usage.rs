//! `report_usage`: who used what. In: a request as captured, before redaction. Out: the kind of its credential,
//! its location, and its SHA-256; never the credential. No state is kept from one request to the next.
//!
//! Credentials are searched for in `Authorization`, then in the header fields, cookies and query parameters that the settings name, in
//! this order; the first one found is reported.

mod jwt;
mod template;
#[cfg(test)]
mod tests;

use super::digest::sha256_hex;
use super::settings::{ReportUsage, UsageDigest};
use crate::model::message::Request;
pub(super) use template::template;

/// Maximum bytes of a credential that is examined: heads are bounded too, but larger.
const LONGEST: usize = 16 << 10;

/// What is reported of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    /// Its kind.
    pub(super) kind: &'static str,
    /// Its location: `authorization`, the name of a header field, `cookie:NAME`, `query:NAME`.
    pub(super) source: String,
    /// SHA-256, as hexadecimal digits.
    pub(super) sha256: Option<String>,
    /// Claims of a JWT to report.
    pub(super) claims: Vec<(String, String)>,
}

/// A credential as found: its kind, and the secret itself if it is the same in every request.
type Found<'a> = (&'static str, Option<&'a str>);

/// A compiled `report_usage` step.
#[derive(Debug)]
pub(super) struct Usage(ReportUsage);

impl Usage {
    pub(super) fn new(settings: &ReportUsage) -> Usage {
        Usage(settings.clone())
    }

    /// The credential of `request`.
    pub(super) fn credential(&self, request: &Request) -> Option<Credential> {
        let (source, (kind, secret)) = self.found(request)?;
        let secret = secret.filter(|secret| secret.len() <= LONGEST);
        let is_told = match self.0.digest {
            UsageDigest::All => true,
            UsageDigest::Tokens => kind != BASIC,
            UsageDigest::None => false,
        };
        let claims = match secret {
            Some(token) if kind == JWT && !self.0.claims.is_empty() => jwt::claims(token, &self.0.claims),
            Some(_) | None => Vec::new(),
        };
        let sha256 = secret.filter(|_| is_told).map(|secret| sha256_hex(secret.as_bytes()));
        Some(Credential { kind, source, sha256, claims })
    }

    fn found<'a>(&self, request: &'a Request) -> Option<(String, Found<'a>)> {
        if let Some(value) = request.fields.get("authorization").map(str::trim).filter(|value| !value.is_empty()) {
            return Some(("authorization".to_owned(), authorization(value)));
        }
        let named = |name: &String| {
            let value = request.fields.get(name).map(str::trim).filter(|value| !value.is_empty())?;
            Some((name.clone(), (API_KEY, Some(value))))
        };
        self.0.headers.iter().find_map(named).or_else(|| self.cookie(request)).or_else(|| self.query(request))
    }

    fn cookie<'a>(&self, request: &'a Request) -> Option<(String, Found<'a>)> {
        let pairs =
            request.fields.all("cookie").flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
        let is_named = |name: &str| self.0.cookies.iter().any(|known| known.eq_ignore_ascii_case(name));
        let (name, value) = pairs
            .map(|(name, value)| (name.trim(), value.trim()))
            .find(|(name, value)| is_named(name) && !value.is_empty())?;
        Some((format!("cookie:{}", name.to_ascii_lowercase()), ("cookie", Some(value))))
    }

    fn query<'a>(&self, request: &'a Request) -> Option<(String, Found<'a>)> {
        let (_, query) = request.target.as_deref()?.split_once('?')?;
        let pairs = query.split(['&', ';']).filter_map(|pair| pair.split_once('='));
        let is_named = |name: &str| self.0.query_keys.iter().any(|known| known.eq_ignore_ascii_case(name));
        let (name, value) = pairs.into_iter().find(|(name, value)| is_named(name) && !value.is_empty())?;
        Some((format!("query:{}", name.to_ascii_lowercase()), (API_KEY, Some(value))))
    }
}

const JWT: &str = "bearer_jwt";
const BASIC: &str = "basic";
const API_KEY: &str = "api_key";

/// The content of an `Authorization` value (RFC 9110 §11.4: a scheme and its parameters). Only known schemes are reported by
/// name, because an unknown first word may be the secret itself.
fn authorization(value: &str) -> Found<'_> {
    let Some((scheme, rest)) = value.split_once([' ', '\t']) else {
        return if jwt::is_jwt(value) { (JWT, Some(value)) } else { (API_KEY, Some(value)) };
    };
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "dpop" if jwt::is_jwt(rest) => (JWT, Some(rest)),
        "bearer" | "dpop" => ("bearer_opaque", Some(rest)),
        "basic" => (BASIC, Some(rest)),
        "token" | "apikey" | "api-key" | "key" | "bot" => (API_KEY, Some(rest)),
        "aws4-hmac-sha256" | "aws4-ecdsa-p256-sha256" => ("aws_sigv4", access_key_id(rest)),
        // The response to a challenge differs each time.
        "digest" => ("digest", None),
        "negotiate" | "ntlm" => ("negotiate", None),
        _ => ("other", Some(rest)),
    }
}

/// The id of the key that signed the request: the part of its credential that is the same in every request.
fn access_key_id(rest: &str) -> Option<&str> {
    let credential = rest.split(',').find_map(|part| part.trim().strip_prefix("Credential="))?;
    credential.split('/').next().filter(|id| !id.is_empty())
}
