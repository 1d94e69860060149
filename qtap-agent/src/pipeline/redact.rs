//! Redaction: header and trailer fields, cookies and query parameters by name, userinfo, and whatever the patterns match.
//!
//! In: an exchange as captured. Out: the same exchange, changed in place before any record is built from it, so that no record can
//! contain the removed values: attributes, artifacts in every format, summaries and lines are all built from the result. Parameters
//! and userinfo are searched for in the target, in the authority, in every field's value (`Referer`, `Location`, `Link`, …) and
//! in the command line of the process. Bodies are redacted where they are decoded (`look`), by the rules defined here.

pub(super) mod body;
mod cookies;
mod form;
mod heads;
mod json;
mod lines;
pub(super) mod messages;
mod multipart;
mod names;
pub(super) mod out;
mod paths;
mod patterns;
mod text;

use std::sync::Arc;

use super::RedactionKey;
use super::scan::{self, Found, Within};
use super::settings::Redact;
use crate::model::message::LeftOut;
use body::{End, Stream};
use cookies::Cookies;
use names::{Names, len_bit};
use out::{Instead, Out};
use paths::Paths;
use patterns::Patterns;

/// What one `redact` step removes from bodies, compiled.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    json: Paths,
    form: Names,
    patterns: Patterns,
    instead: Instead,
}

impl Rules {
    /// True when nothing is removed from bodies.
    fn is_empty(&self) -> bool {
        self.json.is_empty() && self.form.is_empty() && self.patterns.is_empty()
    }
}

/// What all `redact` steps of a stack remove from bodies.
#[derive(Debug, Clone, Default)]
pub(super) struct Looks(Vec<Arc<Rules>>);

impl Looks {
    /// Adds the rules of a step.
    pub(super) fn add(&mut self, step: &Redactor) {
        if !step.rules.is_empty() {
            self.0.push(Arc::clone(&step.rules));
        }
    }

    /// True when nothing is removed from bodies.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when nothing can be redacted in gRPC messages of this type: they are not text, and there are no patterns.
    pub(super) fn is_plain_grpc(&self, content_type: &str) -> bool {
        !content_type.contains("json") && self.0.iter().all(|rules| rules.patterns.is_empty())
    }

    /// Redacts a value that is available as a whole.
    pub(super) fn whole(&self, content_type: &str, bytes: &[u8], end: End) -> Out {
        let (mut streams, mut out) = (Streams::new(self, content_type), Out::default());
        streams.push(self, bytes, end, &mut out);
        out
    }

    /// True when a body of this type that begins with `start` passes unchanged.
    pub(super) fn passes(&self, content_type: &str, start: &[u8]) -> bool {
        let mut streams = Streams::new(self, content_type);
        streams.push(self, start, End::More, &mut Out::default());
        streams.is_plain()
    }
}

/// One body on its way through all `redact` steps.
#[derive(Debug)]
pub(super) struct Streams(Vec<Stream>);

impl Streams {
    pub(super) fn new(looks: &Looks, content_type: &str) -> Streams {
        Streams(looks.0.iter().map(|rules| Stream::new(rules, content_type)).collect())
    }

    /// Leaves out everything that follows.
    pub(super) fn leave_out(&mut self, why: LeftOut) {
        self.0.iter_mut().for_each(|stream| stream.leave_out(why));
    }

    /// True when the body passes unchanged.
    pub(super) fn is_plain(&self) -> bool {
        self.0.iter().all(Stream::is_plain)
    }

    /// Approximate memory use in bytes.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(Stream::memory).sum()
    }

    /// Redacts the next piece and appends the result to `out`.
    pub(super) fn push(&mut self, looks: &Looks, piece: &[u8], end: End, out: &mut Out) {
        let mut seen = std::borrow::Cow::Borrowed(piece);
        for (stream, rules) in self.0.iter_mut().zip(&looks.0) {
            let mut next = Out::default();
            next.bytes.reserve(seen.len());
            stream.push(rules, &seen, end, &mut next);
            out.note.merge(next.note);
            seen = std::borrow::Cow::Owned(next.bytes);
        }
        match seen {
            std::borrow::Cow::Owned(bytes) if out.bytes.is_empty() => out.bytes = bytes,
            seen => out.bytes.extend_from_slice(&seen),
        }
    }
}

/// A compiled `redact` step.
#[derive(Debug)]
pub(super) struct Redactor {
    headers: Vec<String>,
    /// Bit n: one of `headers` has n bytes; bit 63: one has 63 or more. Rules out most fields without a comparison.
    header_lens: u64,
    /// Fields with usual names of credentials are hidden too.
    credential_headers: bool,
    query_keys: Vec<String>,
    /// So are query parameters with such names.
    credential_query_keys: bool,
    cookies: Cookies,
    rules: Arc<Rules>,
}

impl Redactor {
    pub(super) fn new(settings: &Redact, key: &RedactionKey) -> Redactor {
        let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect::<Vec<String>>();
        let key = settings.salt.as_ref().map_or_else(|| key.clone(), |salt| RedactionKey(salt.0));
        let fields = settings.form.named.iter().map(|name| name.clone().into_bytes()).collect();
        Redactor {
            headers: lower(&settings.headers),
            header_lens: settings.headers.iter().fold(0, |lens, name| lens | len_bit(name.len())),
            credential_headers: settings.credential_headers,
            query_keys: lower(&settings.query_keys),
            credential_query_keys: settings.credential_query_keys,
            cookies: Cookies::new(&settings.cookies),
            rules: Arc::new(Rules {
                json: Paths::new(&settings.json),
                form: Names::new(fields, true, settings.form.credentials),
                patterns: Patterns::new(&settings.patterns),
                instead: Instead::new(settings.action, key),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::out::MASK;
    use super::*;
    use crate::model::message::{Field, FieldText, Fields};
    use crate::pipeline::settings::RedactAction;
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
    fn fields_and_parameters_named_like_credentials_are_masked_in_any_spelling() {
        let mut seen = fields(&[
            ("X-AccessToken", "a"),
            ("X-My_App-Password", "b"),
            ("X-Token", "c"),
            ("ApiKey", "d"),
            ("Referer", "http://h/?accessToken=e&p.w.d=f&page=2"),
            ("X-Token-Count", "7"),
        ]);
        redactor(RedactAction::Mask).fields(&mut seen);
        let values: Vec<_> = seen.0.iter().filter_map(|field| field.value.text()).collect();
        assert_eq!(values, [MASK, MASK, MASK, MASK, "http://h/?accessToken=[redacted]&p.w.d=[redacted]&page=2", "7"]);
        let none = Redact { credential_headers: false, credential_query_keys: false, ..Redact::default() };
        let mut seen = fields(&[("X-AccessToken", "a"), ("Referer", "http://h/?accessToken=e")]);
        let before = seen.clone();
        Redactor::new(&none, &RedactionKey([1; 32])).fields(&mut seen);
        assert_eq!(seen, before);
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

    /// Percent-encodes the characters with a meaning in URLs, `times` times.
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

    #[test]
    fn a_command_line_loses_what_an_authorization_is_made_of() {
        let mask = redactor(RedactAction::Mask);
        for (line, wanted) in [
            ("curl -s -u me:pw http://h/", "curl -s -u [redacted] http://h/"),
            ("curl -ume:pw -v http://h/", "curl -u [redacted] -v http://h/"),
            ("curl --user me:p w -v h/", "curl --user [redacted] -v h/"),
            ("curl --proxy-user=me:pw http://h/", "curl --proxy-user [redacted] http://h/"),
            ("curl -U me:pw h/secret", "curl -U [redacted]"),
            ("curl --oauth2-bearer abc http://h/", "curl --oauth2-bearer [redacted] http://h/"),
            ("wget --user=me --password=pw http://h/", "wget --user=me --password [redacted] http://h/"),
        ] {
            assert_eq!(mask.command(line).as_deref(), Some(wanted), "{line}");
        }
        for line in ["sort -u a.txt", "python -u server.py", "curl -u me http://h/", "id -u", "x --password"] {
            assert_eq!(mask.command(line), None, "{line}");
        }
    }
}
