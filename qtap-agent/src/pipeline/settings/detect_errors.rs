//! Settings of `detect_errors`: what makes an exchange an issue, and what is recorded of it then. Checked values only: the patterns
//! here are compiled.

use std::ops::RangeInclusive;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::{Level, Rule};

/// Maximum bytes of a compiled pattern: enough for a page of alternatives.
const PATTERN_BYTES: usize = 1 << 20;

/// Maximum bytes of a text that is found across two parts of a body: longer ones are found only within one part.
const CARRIED_TEXT: usize = 4 << 10;
/// The same for matches of an expression, whose length is unknown: more than a line of a log.
const CARRIED_MATCH: usize = 1 << 10;

/// `detect_errors`.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectErrors {
    /// Each rule that an exchange matches makes an issue of its own.
    pub rules: Vec<IssueRule>,
}

impl DetectErrors {
    /// Maximum number of rules in one step: their matches in a body that is reported in parts are remembered as one bit each.
    pub const MOST_RULES: usize = 64;
}

/// A rule: all its conditions must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IssueRule {
    /// Name of the issue.
    pub name: String,
    /// The user's own category for the issue.
    pub category: Option<String>,
    /// Must hold for the exchange before redaction.
    pub expr: Option<Rule>,
    /// Any of these; empty: no condition.
    pub status: Vec<StatusPattern>,
    /// The response has no body although it should have one.
    pub empty_body: bool,
    /// The exchange took at least this long.
    pub min_duration: Option<Duration>,
    /// Any of these occurs in the body of the response; empty: no condition.
    pub body: Vec<Pattern>,
    /// Any of these matches the media type of the response; empty: no condition.
    pub content_types: Vec<Pattern>,
    /// Any of these matches the URL; empty: no condition.
    pub urls: Vec<UrlPattern>,
    /// None of these matches the URL.
    pub except_urls: Vec<UrlPattern>,
    /// What is recorded of the request.
    pub request: Recorded,
    /// What is recorded of the response.
    pub response: Recorded,
}

/// What is recorded of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Recorded {
    /// Nothing more than the stack captures anyway.
    #[default]
    Nothing,
    /// Its head.
    Head,
    /// Its head and body.
    Body,
}

impl Recorded {
    /// The level that records it.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Recorded::Nothing => Level::None,
            Recorded::Head => Level::Details,
            Recorded::Body => Level::Full,
        }
    }
}

/// A status, or a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusPattern {
    /// A status code in this range.
    Codes(RangeInclusive<u16>),
    /// The exchange failed before or during its response.
    Failed,
}

/// A regular expression over bytes, matched in linear time.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// Length in bytes of a match, if the pattern is a literal text.
    len: Option<usize>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Pattern {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// A description of the fault.
    pub fn regex(text: &str) -> Result<Pattern, String> {
        let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
        built.map(|regex| Pattern { regex, len: None }).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The first lines only repeat the pattern and point into it.
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        })
    }

    /// Matches this literal text anywhere.
    #[must_use]
    pub fn text(text: &str) -> Option<Pattern> {
        let pattern = Pattern::regex(&regex::escape(text)).ok()?;
        Some(Pattern { len: Some(text.len()), ..pattern })
    }

    /// Matches a whole text, case-insensitively; `*` matches any characters.
    #[must_use]
    pub fn glob(text: &str) -> Option<Pattern> {
        let pieces: Vec<String> = text.split('*').map(regex::escape).collect();
        Pattern::regex(&format!("(?is-u)^{}$", pieces.join(".*"))).ok()
    }

    /// True when the pattern matches in `bytes`.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.is_in_from(bytes, 0)
    }

    /// True when the pattern matches in `bytes` at `from` or later; `from` itself does not count as the beginning of a text.
    #[must_use]
    pub fn is_in_from(&self, bytes: &[u8], from: usize) -> bool {
        from <= bytes.len() && self.regex.is_match_at(bytes, from)
    }

    /// Number of bytes at the end of a part to inspect again together with the next part, so that a match across both is found: the part
    /// of a match that fits there, and one more byte as context for the beginning of the match.
    #[must_use]
    pub fn carried(&self) -> usize {
        self.len.map_or(CARRIED_MATCH, |len| len.min(CARRIED_TEXT))
    }
}

/// The part of a URL that a pattern is matched against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlSubject {
    /// The path.
    Path,
    /// Host and path.
    HostAndPath,
    /// The whole URL.
    Whole,
}

/// A pattern for URLs.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlPattern {
    /// The part of the URL it is matched against.
    pub subject: UrlSubject,
    /// The pattern that must match.
    pub pattern: Pattern,
}

impl UrlPattern {
    /// Parses one: `~` begins a regular expression over the whole URL; text with a `*` is a glob over its whole subject; other text is a prefix.
    /// The subject of globs and prefixes is the path if they begin with `/`, the whole URL if they have a scheme, else host and path.
    ///
    /// # Errors
    /// A description of the fault.
    pub fn read(text: &str) -> Result<UrlPattern, String> {
        if let Some(regex) = text.strip_prefix('~') {
            let pattern = Pattern::regex(regex.trim_start())?;
            return Ok(UrlPattern { subject: UrlSubject::Whole, pattern });
        }
        let subject = match text {
            "" => return Err("it is empty".to_owned()),
            path if path.starts_with('/') => UrlSubject::Path,
            url if url.contains("://") => UrlSubject::Whole,
            _ => UrlSubject::HostAndPath,
        };
        let glob = if text.contains('*') { text.to_owned() } else { format!("{text}*") };
        let pattern = Pattern::glob(&glob).ok_or_else(|| "it is too large".to_owned())?;
        Ok(UrlPattern { subject, pattern })
    }
}

impl Default for DetectErrors {
    /// Failed exchanges, and refused requests.
    fn default() -> Self {
        let rule = |name: &str, status: &[StatusPattern]| IssueRule {
            name: name.to_owned(),
            status: status.to_vec(),
            ..IssueRule::default()
        };
        DetectErrors {
            rules: vec![
                rule("server_error", &[StatusPattern::Codes(500..=599)]),
                rule("client_error", &[StatusPattern::Codes(400..=499)]),
                rule("failed", &[StatusPattern::Failed]),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(pattern: &str, subject: UrlSubject, yes: &[&str], no: &[&str]) {
        let read = UrlPattern::read(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
        assert_eq!(read.subject, subject, "{pattern}");
        for text in yes {
            assert!(read.pattern.is_in(text.as_bytes()), "{pattern} is {text}");
        }
        for text in no {
            assert!(!read.pattern.is_in(text.as_bytes()), "{pattern} is not {text}");
        }
    }

    #[test]
    fn urls_are_written_in_three_ways() {
        url("/api/", UrlSubject::Path, &["/api/", "/API/x?y"], &["/v1/api/", "/api"]);
        url("/api/*/items", UrlSubject::Path, &["/api/a/b/items"], &["/api/items", "/api/1/items/2"]);
        url("*.example.com/*", UrlSubject::HostAndPath, &["a.example.com/x"], &["example.com/x", "a.example.org/x"]);
        url("shop.example", UrlSubject::HostAndPath, &["shop.example/a"], &["xshop.example/"]);
        url("https://a.b/", UrlSubject::Whole, &["https://a.b/c"], &["http://a.b/c"]);
        url(r"~ /v\d+/", UrlSubject::Whole, &["https://a/v2/x"], &["https://a/vx/"]);
        url("/a.b", UrlSubject::Path, &["/a.b"], &["/aXb"]);
        assert!(UrlPattern::read("").is_err() && UrlPattern::read("~(").is_err());
    }

    #[test]
    fn a_pattern_has_a_bound_and_says_what_is_wrong() {
        assert_eq!(Pattern::regex(r"\pL{1000}{100}").map(|_| ()), Err("it is too large".to_owned()));
        assert_eq!(Pattern::regex("a(").map(|_| ()), Err("unclosed group".to_owned()));
        assert!(Pattern::text("a.b(").is_some_and(|text| text.is_in(b"xa.b(x") && !text.is_in(b"xaxb(x")));
    }
}
