//! JSON Web Tokens (RFC 7519), as self-declared. In: a token. Out: whether it is a JWT, and the requested
//! claims. Signatures are not checked: a claim is only what the client says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::pipeline::cut::cut;

/// Maximum reported bytes of a claim's value.
const VALUE: usize = 256;
/// Maximum reported members of a claim that is a list.
const MEMBERS: usize = 8;

/// True for the compact form of a signed (three parts, RFC 7515 §3.1) or an encrypted token (five, RFC 7516 §3.1).
pub(super) fn is_jwt(token: &str) -> bool {
    let parts = token.split('.').count();
    matches!(parts, 3 | 5) && part(token, 0).is_some_and(|header| header.get("alg").is_some_and(Value::is_string))
}

/// Those of the claims `names` that the token has, in that order.
pub(super) fn claims(token: &str, names: &[String]) -> Vec<(String, String)> {
    // Encrypted claims can't be read.
    let payload = if token.split('.').count() == 3 { part(token, 1) } else { None };
    let told = |name: &String| Some((name.clone(), shown(payload.as_ref()?.get(name)?)?));
    names.iter().filter_map(told).collect()
}

fn part(token: &str, number: usize) -> Option<Map<String, Value>> {
    let part = token.split('.').nth(number)?;
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

fn shown(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(list) => {
            let texts: Vec<&str> = list.iter().filter_map(Value::as_str).take(MEMBERS).collect();
            texts.join(" ")
        }
        Value::Null | Value::Bool(_) | Value::Object(_) => return None,
    };
    Some(cut(&text, VALUE).to_owned()).filter(|text| !text.is_empty())
}
