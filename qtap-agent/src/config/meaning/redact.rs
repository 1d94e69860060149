//! What a `redact` removes: the built-in lists where the file is silent or says `credentials`; compiled paths and expressions; the key for
//! hashes, derived from the salt.

use super::Around;
use super::stacks::names;
use crate::config::fields::At;
use crate::config::file::redact::{Pattern as TypedPattern, Redact as Typed};
use crate::config::place::Span;
use crate::config::value;
use crate::config::wording::{brief, listed};
use crate::pipeline::settings::json_path::{JsonPath, MOST_TOGETHER};
use crate::pipeline::settings::{BodyValues, Ready, Redact, RedactAction, Salt, SecretForm};

/// The word that stands for the built-in list in the lists of `redact`.
const CREDENTIALS: &str = "credentials";
/// Header fields that hold cookies: when the file names single cookies, these are left out of the built-in list.
const COOKIE_FIELDS: [&str; 2] = ["cookie", "set-cookie"];
/// Maximum size of a compiled expression in bytes: hundreds of states for each of its characters.
const REGEX_BYTES: usize = 4 << 20;

/// The settings that `typed` means.
pub(super) fn settle(typed: &Typed, at: Span, around: &Around<'_>) -> Redact {
    let default = Redact::default();
    let mut headers = default.headers;
    if typed.cookies.as_ref().is_some_and(|cookies| !cookies.is_empty()) {
        headers.retain(|name| !COOKIE_FIELDS.contains(&name.as_str()));
    }
    let action = typed.action.as_ref().map_or(RedactAction::Mask, |at| at.value);
    let redact = Redact {
        headers: names(typed.headers.as_deref(), CREDENTIALS, headers),
        credential_headers: asks_for_credentials(typed.headers.as_deref()),
        query_keys: names(typed.query_keys.as_deref(), CREDENTIALS, default.query_keys),
        credential_query_keys: asks_for_credentials(typed.query_keys.as_deref()),
        cookies: typed
            .cookies
            .as_deref()
            .map_or_else(Vec::new, |given| names(Some(given), CREDENTIALS, Redact::cookie_credentials())),
        json: paths(typed.json.as_deref(), around),
        form: fields(typed.form.as_deref()),
        patterns: typed.patterns.iter().flat_map(|pattern| self::pattern(pattern, around)).collect(),
        action,
        salt: salt(typed, action, around),
    };
    let nothing = redact.headers.is_empty()
        && redact.query_keys.is_empty()
        && redact.cookies.is_empty()
        && redact.json.is_empty()
        && redact.form.is_empty()
        && redact.patterns.is_empty();
    if nothing && around.out.is_clean() {
        let message = "this `redact` has nothing to redact";
        around.out.note(at, message, "`headers: [credentials]` is the built-in list");
    }
    redact
}

/// Whether a list has the credentials in it: it is silent, or says so.
fn asks_for_credentials(given: Option<&[At<String>]>) -> bool {
    given.is_none_or(|words| words.iter().any(|word| word.value == CREDENTIALS))
}

fn fields(given: Option<&[At<String>]>) -> BodyValues<String> {
    let Some(given) = given else { return Redact::default().form };
    let named = given.iter().filter(|word| word.value != CREDENTIALS).map(|word| word.value.to_ascii_lowercase());
    BodyValues { credentials: given.iter().any(|word| word.value == CREDENTIALS), named: named.collect() }
}

fn paths(given: Option<&[At<String>]>, around: &Around<'_>) -> BodyValues<JsonPath> {
    let Some(given) = given else { return Redact::default().json };
    let mut values = BodyValues { credentials: false, named: Vec::new() };
    for word in given {
        if word.value == CREDENTIALS {
            values.credentials = true;
            continue;
        }
        match JsonPath::parse(&word.value) {
            Ok(path) => values.named.push(path),
            Err(fault) => {
                let message = format!("`{}` is no path", brief(&word.value));
                around.out.fault(word.span, message, fault.to_string());
            }
        }
    }
    let steps: usize = values.named.iter().map(|path| path.steps.len()).sum();
    if let Some(last) = given.last().filter(|_| steps > MOST_TOGETHER) {
        let message = format!("the paths of `json` have {steps} steps together");
        around.out.fault(last.span, message, format!("at most {MOST_TOGETHER}; `$..name` needs the fewest"));
    }
    values
}

fn pattern(typed: &TypedPattern, around: &Around<'_>) -> Vec<SecretForm> {
    match typed {
        TypedPattern::Ready(word) if word.value == CREDENTIALS => Ready::CREDENTIALS.map(SecretForm::Ready).into(),
        TypedPattern::Ready(word) => match Ready::ALL.iter().find(|(name, _)| *name == word.value) {
            Some((_, ready)) => vec![SecretForm::Ready(*ready)],
            None => {
                let words: Vec<&str> = std::iter::once(CREDENTIALS).chain(Ready::ALL.map(|(name, _)| name)).collect();
                let near = value::nearest(&word.value, words.iter().copied());
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                let help = format!("{near}one of {}, or `{{name, regex}}`", listed(&words));
                around.out.fault(word.span, format!("there is no pattern `{}`", brief(&word.value)), help);
                Vec::new()
            }
        },
        TypedPattern::Own { name, regex } => {
            let built = regex::bytes::RegexBuilder::new(&regex.value).size_limit(REGEX_BYTES).build();
            match built {
                Ok(regex) => vec![SecretForm::Own { name: name.value.clone(), regex }],
                Err(error) => {
                    let last = error.to_string();
                    let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    let message =
                        format!("the pattern `{}` is no regular expression: {}", brief(&name.value), brief(last));
                    around.out.fault(regex.span, message, "without look-around and back-references: in linear time");
                    Vec::new()
                }
            }
        }
    }
}

fn salt(typed: &Typed, action: RedactAction, around: &Around<'_>) -> Option<Salt> {
    let given = typed.salt.as_ref()?;
    let secret = around.secret(given)?;
    if secret.reveal().is_empty() {
        around.out.fault(given.span, "the salt is empty", "a long random text, the same on every host");
        return None;
    }
    if action != RedactAction::Hash {
        around.out.note(given.span, "this `salt` is not used", "it is the key of `action: hash`");
    }
    Some(Salt::of(&secret.reveal()))
}
