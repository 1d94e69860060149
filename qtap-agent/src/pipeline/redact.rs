//! What may be seen: header and trailer fields by name, query parameters by name, userinfo.
//!
//! An exchange comes in as it was captured and is changed in place before anything is written from it, so that a record can't
//! hold what is not there: attributes, artifacts in every format, summaries and lines are all made of what is left. Parameters
//! and userinfo are looked for in the target, in the authority, in every field's value (`Referer`, `Location`, `Link`, …) and
//! in the command line of the process. Bodies are not looked into.

use bytes::Bytes;

use super::RedactionKey;
use super::digest;
use super::scan::{self, Found, Within};
use super::settings::{Redact, RedactAction};
use crate::model::exchange::HttpExchange;
use crate::model::message::{Field, FieldText, Fields};

/// What stands for a masked value.
const MASK: &str = "[redacted]";

/// A `redact` step, made ready.
#[derive(Debug)]
pub(super) struct Redactor {
    headers: Vec<String>,
    /// Bit n: one of them has n bytes, or more than 63 where n is 63. Most fields need no other look.
    header_lens: u64,
    query_keys: Vec<String>,
    action: RedactAction,
    key: RedactionKey,
}

impl Redactor {
    pub(super) fn new(settings: &Redact, key: &RedactionKey) -> Redactor {
        let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<String>>();
        Redactor {
            headers: lower(&settings.headers),
            header_lens: settings.headers.iter().fold(0, |lens, name| lens | len_bit(name.len())),
            query_keys: lower(&settings.query_keys),
            action: settings.action,
            key: key.clone(),
        }
    }

    /// Takes out of `exchange` what must not be seen.
    pub(super) fn exchange(&self, exchange: &mut HttpExchange) {
        if let Some(request) = &mut exchange.request {
            let replace = |text: &mut String, seen: Option<String>| seen.into_iter().for_each(|seen| *text = seen);
            if let Some(target) = &mut request.target {
                // RFC 9112 §3.2: what is neither a path nor a URL is an authority, or `*`.
                let url = target.starts_with('/') || target.contains("://");
                let seen = if url { self.text(target.as_bytes(), Within::Target) } else { self.authority(target) };
                replace(target, seen);
            }
            if let Some(authority) = &mut request.authority {
                let seen = self.authority(authority);
                replace(authority, seen);
            }
            self.fields(&mut request.fields);
            self.fields(&mut request.trailers);
        }
        if let Some(response) = &mut exchange.response {
            self.fields(&mut response.fields);
            self.fields(&mut response.trailers);
        }
    }

    /// `authority` without its userinfo; none when it has none, or when it may be seen as it is.
    pub(super) fn authority(&self, authority: &str) -> Option<String> {
        let seen = authority.rsplit_once('@').map(|(userinfo, host)| match self.substitute(userinfo.as_bytes()) {
            Some(instead) => format!("{instead}@{host}"),
            None => host.to_owned(),
        });
        // An authority that is none, e.g. a `Host` field that holds a whole URL.
        let text = seen.as_deref().unwrap_or(authority);
        self.text(text.as_bytes(), Within::Target).or(seen)
    }

    /// A command line; none when it may be seen as it is.
    pub(super) fn command(&self, command: &str) -> Option<String> {
        let scanned = self.text(command.as_bytes(), Within::Command);
        let mut seen = scanned.clone().unwrap_or_else(|| command.to_owned());
        let mut changed = scanned.is_some();
        for name in &self.headers {
            changed |= self.command_field(&mut seen, name);
        }
        changed.then_some(seen)
    }

    /// Takes the value of every `name: value` out of a command line. Where the argument ends is not known any more: the value
    /// goes on to the next option or URL.
    fn command_field(&self, command: &mut String, name: &str) -> bool {
        let lower = command.to_ascii_lowercase();
        let mut seen = String::new();
        let mut copied = 0;
        for (at, _) in lower.match_indices(name) {
            let colon = at + name.len();
            let inside_a_word = lower.get(..at).is_some_and(|b| b.ends_with(['-', '_']) && !b.ends_with(" -"));
            if at < copied || inside_a_word || !lower.get(colon..).is_some_and(|rest| rest.starts_with([':', ';'])) {
                continue;
            }
            let rest = lower.get(colon + 1..).unwrap_or("");
            let len =
                [" -", " http://", " https://"].iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
            let value = command.get(colon + 1..colon + 1 + len).unwrap_or("").trim();
            seen.push_str(command.get(copied..=colon).unwrap_or(""));
            seen.push(' ');
            seen.push_str(&self.substitute(value.as_bytes()).unwrap_or_default());
            copied = colon + 1 + len;
        }
        if copied == 0 {
            return false;
        }
        seen.push_str(command.get(copied..).unwrap_or(""));
        *command = seen;
        true
    }

    fn fields(&self, fields: &mut Fields) {
        fields.0.retain_mut(|field| {
            if self.hides(field) {
                return match field.value.bytes().map(|value| self.substitute(value)) {
                    Some(Some(instead)) => {
                        field.value = FieldText::Known(instead.into());
                        true
                    }
                    Some(None) => false,
                    None => true,
                };
            }
            if let Some(seen) = field.value.bytes().and_then(|value| self.field_value(field, value)) {
                field.value = FieldText::Known(seen);
            }
            true
        });
    }

    /// True for the fields that are named. A field whose name is unknown (HPACK) might be any of them.
    fn hides(&self, field: &Field) -> bool {
        match field.name.bytes() {
            Some(name) => {
                let name = name.trim_ascii();
                self.header_lens & len_bit(name.len()) != 0
                    && self.headers.iter().any(|hidden| name.eq_ignore_ascii_case(hidden.as_bytes()))
            }
            None => !self.headers.is_empty(),
        }
    }

    /// The value of a field that is not hidden, without the secrets in the URLs it holds.
    fn field_value(&self, field: &Field, value: &Bytes) -> Option<Bytes> {
        let seen = if field.is_named("host") {
            std::str::from_utf8(value).ok().and_then(|host| self.authority(host)).map(Bytes::from)
        } else {
            None
        };
        self.bytes(seen.as_ref().unwrap_or(value), Within::Text).map(Bytes::from).or(seen)
    }

    fn text(&self, text: &[u8], within: Within) -> Option<String> {
        self.bytes(text, within).map(|seen| String::from_utf8_lossy(&seen).into_owned())
    }

    fn bytes(&self, text: &[u8], within: Within) -> Option<Vec<u8>> {
        let is_key = |name: &[u8]| self.query_keys.iter().any(|key| name.eq_ignore_ascii_case(key.as_bytes()));
        let found = scan::secrets(text, within, is_key);
        (!found.is_empty()).then(|| self.replace(text, &found))
    }

    fn replace(&self, text: &[u8], found: &[Found]) -> Vec<u8> {
        let mut seen = Vec::with_capacity(text.len());
        let mut copied = 0;
        for Found { value, whole } in found {
            let instead = self.substitute(text.get(value.clone()).unwrap_or_default());
            let cut = if instead.is_some() { value } else { whole };
            seen.extend_from_slice(text.get(copied..cut.start).unwrap_or_default());
            seen.extend_from_slice(instead.unwrap_or_default().as_bytes());
            copied = cut.end;
        }
        seen.extend_from_slice(text.get(copied..).unwrap_or_default());
        seen
    }

    /// What takes the place of `secret`; none: nothing does.
    fn substitute(&self, secret: &[u8]) -> Option<String> {
        match self.action {
            RedactAction::Mask => Some(MASK.to_owned()),
            RedactAction::Hash => Some(format!("[hash:{}]", digest::keyed_hash(&self.key, secret))),
            RedactAction::Drop => None,
        }
    }
}

fn len_bit(len: usize) -> u64 {
    1 << len.min(63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};
    use proptest::test_runner::RngSeed;

    fn redactor(action: RedactAction) -> Redactor {
        Redactor::new(&Redact { action, ..Redact::default() }, &RedactionKey([1; 32]))
    }

    fn fields(list: &[(&'static str, &'static str)]) -> Fields {
        let known = |text: &'static str| FieldText::Known(text.into());
        Fields(list.iter().map(|(name, value)| Field { name: known(name), value: known(value) }).collect())
    }

    #[test]
    fn named_fields_are_masked_in_any_case_and_every_time() {
        let mut seen = fields(&[("AUTHORIZATION", "a"), ("Cookie ", "b"), ("cookie", "c"), ("accept", "d")]);
        redactor(RedactAction::Mask).fields(&mut seen);
        let values: Vec<_> = seen.0.iter().filter_map(|f| f.value.text()).collect();
        assert_eq!(values, [MASK, MASK, MASK, "d"]);
    }

    #[test]
    fn names_of_any_length_are_hidden() {
        for len in [0, 1, 62, 63, 64, 65, 200] {
            let name: &'static str = Box::leak("x".repeat(len).into_boxed_str());
            let settings = Redact { headers: vec![name.to_uppercase()], ..Redact::default() };
            let mut seen = fields(&[(name, "a"), ("y", "b")]);
            Redactor::new(&settings, &RedactionKey([1; 32])).fields(&mut seen);
            assert_eq!(seen.0.iter().filter_map(|f| f.value.text()).collect::<Vec<_>>(), [MASK, "b"], "{len}");
        }
    }

    #[test]
    fn equal_values_have_equal_hashes_under_one_key_only() {
        let hash = |key| {
            let mut seen = fields(&[("authorization", "a"), ("x-api-key", "a"), ("cookie", "b")]);
            let settings = Redact { action: RedactAction::Hash, ..Redact::default() };
            Redactor::new(&settings, &RedactionKey([key; 32])).fields(&mut seen);
            seen.0.iter().filter_map(|f| f.value.text().map(str::to_owned)).collect::<Vec<_>>()
        };
        let one = hash(1);
        assert_eq!(one[0], one[1]);
        assert_ne!(one[0], one[2]);
        assert_ne!(one[0], hash(2)[0]);
        assert!(one[0].starts_with("[hash:"));
    }

    #[test]
    fn dropped_fields_and_parameters_leave_no_name() {
        let mut seen = fields(&[("authorization", "a"), ("location", "/a?token=x&b=1"), ("host", "u:p@h")]);
        redactor(RedactAction::Drop).fields(&mut seen);
        let left: Vec<_> = seen.0.iter().filter_map(|f| Some((f.name.text()?, f.value.text()?))).collect();
        assert_eq!(left, [("location", "/a?&b=1"), ("host", "h")]);
    }

    #[test]
    fn the_value_of_an_unknown_field_is_not_shown() {
        let mut seen = Fields(vec![Field { name: FieldText::Unknown, value: FieldText::Known("secret".into()) }]);
        redactor(RedactAction::Mask).fields(&mut seen);
        assert_eq!(seen.0[0].value.text(), Some(MASK));
    }

    #[test]
    fn urls_in_field_values_lose_parameters_and_userinfo() {
        let mut seen = fields(&[("referer", "https://u:p@h/a?token=x&b=1"), ("link", "</?key=a>; rel=next")]);
        redactor(RedactAction::Mask).fields(&mut seen);
        let values: Vec<_> = seen.0.iter().filter_map(|f| f.value.text()).collect();
        assert_eq!(values, ["https://[redacted]@h/a?token=[redacted]&b=1", "</?key=[redacted]>; rel=next"]);
    }

    #[test]
    fn an_authority_loses_its_userinfo() {
        let mask = redactor(RedactAction::Mask);
        assert_eq!(mask.authority("u:p@h:80").as_deref(), Some("[redacted]@h:80"));
        assert_eq!(mask.authority("h:80"), None);
        assert_eq!(mask.authority("h/?token=x").as_deref(), Some("h/?token=[redacted]"));
        assert_eq!(redactor(RedactAction::Drop).authority("u:p@h").as_deref(), Some("h"));
    }

    /// Percent-encodes what has a meaning in a URL, `times` times.
    fn encode(text: &str, times: u8) -> String {
        (0..times).fold(text.to_owned(), |text, _| {
            let encoded = |c: char| match c {
                '?' | '&' | ';' | '#' | '=' | '%' => format!("%{:02X}", u32::from(c)),
                c => c.to_string(),
            };
            text.chars().map(encoded).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_parameter_is_found_in_any_surroundings(
            before in "[a-z0-9?&;#=/%:@.+ -]{0,20}",
            delimiter in "[?&;#]",
            name in "(token|TOKEN|to%6ben|token\\[\\]|x\\[token\\])",
            after in "[a-z0-9?&;#=/%:@.+ -]{0,20}",
            times in 0_u8..4,
        ) {
            let parameter = encode(&format!("{delimiter}{name}=c4n4ry"), times);
            let text = format!("{before}{parameter}{after}");
            for within in [Within::Target, Within::Text, Within::Command] {
                for action in [RedactAction::Mask, RedactAction::Hash, RedactAction::Drop] {
                    let seen = redactor(action).text(text.as_bytes(), within).unwrap_or(text.clone());
                    prop_assert!(!seen.contains("c4n4ry"), "{text} {within:?} {seen}");
                }
            }
        }
    }

    #[test]
    fn a_command_line_loses_fields_and_parameters() {
        let mask = redactor(RedactAction::Mask);
        let seen = mask.command("curl -H Authorization: Bearer abc -H accept: */* https://u:p@h/?token=x");
        let wanted = "curl -H Authorization: [redacted] -H accept: */* https://[redacted]@h/?token=[redacted]";
        assert_eq!(seen.as_deref(), Some(wanted));
        let seen = mask.command("curl -HCookie: a=b; c=d http://h/ -H X-API-Key: k");
        assert_eq!(seen.as_deref(), Some("curl -HCookie: [redacted] http://h/ -H X-API-Key: [redacted]"));
        assert_eq!(mask.command("curl http://h/cookie: -v"), Some("curl http://h/cookie: [redacted] -v".to_owned()));
        assert_eq!(mask.command("nginx: worker process"), None);
    }
}
