//! Settings of `detect_errors`: what of an exchange is an issue, and what is recorded of it then. Checked values only: a pattern that
//! stands here has been compiled.

use std::ops::RangeInclusive;
use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use super::{Level, Rule};

/// Bytes that a compiled pattern may take: a page of alternatives does.
const PATTERN_BYTES: usize = 1 << 20;

/// Bytes of a text that are looked for across two parts of a body: longer ones are found in one part.
const CARRIED_TEXT: usize = 4 << 10;
/// The same of what an expression matches, whose length nobody knows: more than a line of a log.
const CARRIED_MATCH: usize = 1 << 10;

/// `detect_errors`.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectErrors {
    /// Each makes an issue of its own of an exchange that meets it.
    pub rules: Vec<IssueRule>,
}

impl DetectErrors {
    /// Rules of one step: what each finds in a body that is told in parts is remembered as one bit.
    pub const MOST_RULES: usize = 64;
}

/// One of its rules: all that it asks for has to be met.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IssueRule {
    /// Name of the issue.
    pub name: String,
    /// The user's own word for what kind of issue it is.
    pub category: Option<String>,
    /// What has to hold of the exchange as it was.
    pub expr: Option<Rule>,
    /// Any of these; empty: not asked for.
    pub status: Vec<StatusPattern>,
    /// A response without a body where there should be one.
    pub empty_body: bool,
    /// It took at least so long.
    pub min_duration: Option<Duration>,
    /// Any of these stands in the body of the response; empty: not asked for.
    pub body: Vec<Pattern>,
    /// Any of these is the media type of the response; empty: not asked for.
    pub content_types: Vec<Pattern>,
    /// Any of these is the URL; empty: not asked for.
    pub urls: Vec<UrlPattern>,
    /// None of these is.
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

/// A status, or that there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusPattern {
    /// One of a range.
    Codes(RangeInclusive<u16>),
    /// The exchange failed before its answer, or in it.
    Failed,
}

/// A regular expression over bytes, matched in linear time.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// Bytes of what it finds, where that is a text.
    len: Option<usize>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Pattern {
    /// A pattern as it was written.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn regex(text: &str) -> Result<Pattern, String> {
        let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
        built.map(|regex| Pattern { regex, len: None }).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The first lines repeat the pattern, and point into it.
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        })
    }

    /// That text itself, anywhere.
    #[must_use]
    pub fn text(text: &str) -> Option<Pattern> {
        let pattern = Pattern::regex(&regex::escape(text)).ok()?;
        Some(Pattern { len: Some(text.len()), ..pattern })
    }

    /// A text in which `*` stands for any characters, from end to end, in either case.
    #[must_use]
    pub fn glob(text: &str) -> Option<Pattern> {
        let pieces: Vec<String> = text.split('*').map(regex::escape).collect();
        Pattern::regex(&format!("(?is-u)^{}$", pieces.join(".*"))).ok()
    }

    /// True when it stands in `bytes`.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.is_in_from(bytes, 0)
    }

    /// True when it stands in `bytes` and begins at `from` or behind; what is before that is no beginning of a text.
    #[must_use]
    pub fn is_in_from(&self, bytes: &[u8], from: usize) -> bool {
        from <= bytes.len() && self.regex.is_match_at(bytes, from)
    }

    /// Bytes of a text that are to be seen again with what comes behind them, so that it is found in both together: what of it may stand there, and one more,
    /// by which it is known what it stands behind.
    #[must_use]
    pub fn carried(&self) -> usize {
        self.len.map_or(CARRIED_MATCH, |len| len.min(CARRIED_TEXT))
    }
}

/// What of a URL a pattern is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlSubject {
    /// The path.
    Path,
    /// Host and path.
    HostAndPath,
    /// All of it.
    Whole,
}

/// A pattern for URLs.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlPattern {
    /// What it is held against.
    pub subject: UrlSubject,
    /// What it has to be.
    pub pattern: Pattern,
}

impl UrlPattern {
    /// Reads one: `~` begins a regular expression over the whole URL; what has a `*` is a glob, from end to end; anything else is a
    /// beginning. Those of the latter two that begin with `/` are of paths, those with a scheme of whole URLs, the others of host and path.
    ///
    /// # Errors
    /// What is wrong with it, in words.
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
    /// What failed, and what was refused.
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
