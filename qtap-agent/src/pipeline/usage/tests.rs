//! Each kind of credential, its possible locations, and that none of them leaks.
#![allow(clippy::unwrap_used)] // the tests unwrap credentials that are expected to be found

use bytes::Bytes;

use super::*;
use crate::model::message::{Body, Field, FieldText, Fields, Version};
use crate::model::time::KernelTime;

/// `{"alg":"HS256","typ":"JWT"}.{"sub":"1234567890","name":"John Doe","iss":"https://id","aud":["a","b"],"iat":1516239022}` and a
/// signature, written with Python's base64.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaXNzIjoiaHR0cHM6Ly9pZCIsImF1ZCI6WyJhIiwiYiJdLCJpYXQiOjE1MTYyMzkwMjJ9.c2lnbmF0dXJl";

fn request(target: &str, list: &[(&str, &str)]) -> Request {
    let known = |text: &str| FieldText::Known(Bytes::copy_from_slice(text.as_bytes()));
    Request {
        method: Some("GET".to_owned()),
        target: Some(target.to_owned()),
        scheme: None,
        authority: None,
        protocol: None,
        version: Version::Http11,
        fields: Fields(list.iter().map(|(name, value)| Field { name: known(name), value: known(value) }).collect()),
        body: Body::default(),
        trailers: Fields::default(),
        started: KernelTime(0),
        ended: None,
    }
}

fn credential(settings: &ReportUsage, target: &str, list: &[(&str, &str)]) -> Option<Credential> {
    Usage::new(settings).credential(&request(target, list))
}

/// Checks kind, source, and the secret whose SHA-256 is reported.
fn found(target: &str, list: &[(&str, &str)], wanted: (&str, &str, Option<&str>)) {
    let settings = ReportUsage { digest: UsageDigest::All, ..ReportUsage::default() };
    let found = credential(&settings, target, list).unwrap_or_else(|| panic!("{target} {list:?}"));
    let digest = wanted.2.map(|secret| sha256_hex(secret.as_bytes()));
    assert_eq!((found.kind, found.source.as_str(), found.sha256), (wanted.0, wanted.1, digest), "{target} {list:?}");
    assert!(found.claims.is_empty());
}

#[test]
fn schemes_of_authorization() {
    let of = |value: &str, kind, secret| found("/", &[("Authorization", value)], (kind, "authorization", secret));
    of(&format!("Bearer {TOKEN}"), "bearer_jwt", Some(TOKEN));
    of(&format!("dpop {TOKEN}"), "bearer_jwt", Some(TOKEN));
    of(TOKEN, "bearer_jwt", Some(TOKEN));
    of("BEARER  sk-abc ", "bearer_opaque", Some("sk-abc"));
    of("Bearer a.b.c", "bearer_opaque", Some("a.b.c"));
    of("Basic dTpw", "basic", Some("dTpw"));
    of("token ghp_1", "api_key", Some("ghp_1"));
    of("sk-abc", "api_key", Some("sk-abc"));
    let signed = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=5d67";
    of(signed, "aws_sigv4", Some("AKIDEXAMPLE"));
    of("AWS4-HMAC-SHA256 Signature=5d67", "aws_sigv4", None);
    of("Digest username=\"Mufasa\"", "digest", None);
    of("Negotiate YII", "negotiate", None);
    of("Hawk id=\"1\"", "other", Some("id=\"1\""));
}

#[test]
fn the_first_place_is_told() {
    found("/", &[("X-Api-Key", "k")], ("api_key", "x-api-key", Some("k")));
    found("/", &[("cookie", "a=1; JSESSIONID=s; b=2")], ("cookie", "cookie:jsessionid", Some("s")));
    found("/?a=1&API_KEY=k&b", &[], ("api_key", "query:api_key", Some("k")));
    let all = [("cookie", "sid=s"), ("api-key", "k"), ("authorization", "Bearer t")];
    found("/?key=q", &all, ("bearer_opaque", "authorization", Some("t")));
    found("/?key=q", &all[..2], ("api_key", "api-key", Some("k")));
    found("/?key=q", &all[..1], ("cookie", "cookie:sid", Some("s")));
    for (target, list) in
        [("/", vec![]), ("/?a=1&key=", vec![("cookie", "a=1; sid=")]), ("/", vec![("x-api-key", " ")])]
    {
        assert_eq!(credential(&ReportUsage::default(), target, &list), None, "{target} {list:?}");
    }
}

#[test]
fn each_setting_is_obeyed() {
    let built_in = ReportUsage::default();
    let sha256 =
        |settings: &ReportUsage, value: &str| credential(settings, "/", &[("authorization", value)]).unwrap().sha256;
    for (digest, token, password) in
        [(UsageDigest::Tokens, true, false), (UsageDigest::All, true, true), (UsageDigest::None, false, false)]
    {
        let settings = ReportUsage { digest, ..built_in.clone() };
        let told = (sha256(&settings, "Bearer t").is_some(), sha256(&settings, "Basic dTpw").is_some());
        assert_eq!(told, (token, password), "{digest:?}");
    }
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let own = ReportUsage {
        headers: words(&["x-mine"]),
        cookies: words(&["mine"]),
        query_keys: words(&["mine"]),
        claims: words(&["aud", "iss", "iat", "azp", "name"]),
        ..built_in
    };
    assert_eq!(credential(&own, "/?key=k", &[("x-api-key", "k"), ("cookie", "sid=s")]), None);
    assert_eq!(credential(&own, "/", &[("X-Mine", "k")]).unwrap().source, "x-mine");
    assert_eq!(credential(&own, "/", &[("cookie", "MINE=k")]).unwrap().source, "cookie:mine");
    assert_eq!(credential(&own, "/?mine=k", &[]).unwrap().source, "query:mine");
    let bearer = format!("Bearer {TOKEN}");
    let claims = credential(&own, "/", &[("authorization", &bearer)]).unwrap().claims;
    let wanted = [("aud", "a b"), ("iss", "https://id"), ("iat", "1516239022"), ("name", "John Doe")];
    assert_eq!(claims, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn hostile_tokens_are_told_and_bounded() {
    let claims = ReportUsage { claims: vec!["iss".to_owned()], ..ReportUsage::default() };
    let of = |value: &str| credential(&claims, "/", &[("authorization", value)]).unwrap();
    let long = "x".repeat(LONGEST + 1);
    assert_eq!((of(&long).kind, of(&long).sha256), ("api_key", None));
    let payload = base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        format!("{{\"iss\":\"{}\"}}", "é".repeat(500)),
    );
    let told = of(&format!("Bearer {}.{payload}.s", TOKEN.split('.').next().unwrap())).claims;
    assert_eq!(told[0].1.len(), 256);
    for broken in ["Bearer ..", "Bearer eyJhbGciOiJIUzI1NiJ9.!.x", "Bearer W10.W10.W10", "Bearer bnVsbA.bnVsbA.x"] {
        assert!(of(broken).claims.is_empty(), "{broken}");
    }
}
