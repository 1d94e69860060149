//! Patterns to search text for: regular expressions, and card numbers with a valid check digit. In: text. Out: the places of the
//! matches. The time is linear in the length of the text, whatever it contains.

use std::ops::Range;

use memchr::memmem;
use regex::bytes::Regex;

use super::super::settings::{Ready, SecretForm};

/// Email addresses: letters of any script, as mail allows.
const EMAIL: &str = r"[\p{L}\p{N}._%+'-]+@(?:[\p{L}\p{N}-]+\.)+\p{L}{2,}";
/// JSON web tokens, signed (three parts) and encrypted (five): the first part is JSON that begins with `{"`.
const JWT: &str = r"(?-u:eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){2,4})";
/// From `BEGIN` to `END`, or to the end of the text.
const PRIVATE_KEY: &str = r"(?s-u:-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:.*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|.*))";
/// Keys with vendor prefixes.
const CLOUD_KEYS: &[&str] = &[
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    r#"(?i:(?:(?:aws_?)?secret_?access_?key|aws_?secret_?key)["'\s]*[:=]["'\s]*)[A-Za-z0-9/+=]{40}"#,
    r"AIza[0-9A-Za-z_-]{35}",
    r"ya29\.[0-9A-Za-z_-]{20,}",
    r"GOCSPX-[0-9A-Za-z_-]{20,}",
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
    r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
    r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"whsec_[A-Za-z0-9+/=]{20,}",
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"\bnpm_[A-Za-z0-9]{36,}",
    r"pypi-AgE[A-Za-z0-9_-]{50,}",
    r"\bhf_[A-Za-z0-9]{30,}",
    r"dop_v1_[a-f0-9]{64}",
    r"(?i:AccountKey=)[A-Za-z0-9+/=]{60,}",
];

/// Number of digits of a card number (ISO/IEC 7812-1): the card networks use 13 to 19.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// The patterns of one `redact` step.
#[derive(Debug, Clone, Default)]
pub(super) struct Patterns(Vec<One>);

#[derive(Debug, Clone)]
enum One {
    Card,
    /// `literal`: text that every match contains, if any; `least`: the minimum length of a match in bytes.
    Regex {
        regex: Regex,
        literal: Option<Box<memmem::Finder<'static>>>,
        least: usize,
    },
}

impl Patterns {
    /// Compiles the patterns. Skips a built-in expression that does not compile, which a test rules out.
    pub(super) fn new(patterns: &[SecretForm]) -> Patterns {
        Patterns(patterns.iter().filter_map(ready).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All matches in `text`, in order; overlapping or adjacent ones are merged.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for one in &self.0 {
            match one {
                One::Card => cards(text, &mut found),
                One::Regex { regex, literal, least } => {
                    if text.len() >= *least && literal.as_ref().is_none_or(|literal| literal.find(text).is_some()) {
                        found
                            .extend(regex.find_iter(text).map(|found| found.range()).filter(|range| !range.is_empty()));
                    }
                }
            }
        }
        if found.len() > 1 {
            merge(&mut found);
        }
        found
    }
}

fn ready(pattern: &SecretForm) -> Option<One> {
    let regex = |text: &str, literal: &'static [u8], least| {
        let literal = (!literal.is_empty()).then(|| Box::new(memmem::Finder::new(literal)));
        Some(One::Regex { regex: Regex::new(text).ok()?, literal, least })
    };
    match pattern {
        SecretForm::Own { regex, .. } => Some(One::Regex { regex: regex.clone(), literal: None, least: 1 }),
        SecretForm::Ready(Ready::Card) => Some(One::Card),
        SecretForm::Ready(Ready::Email) => regex(EMAIL, b"@", 6),
        SecretForm::Ready(Ready::Jwt) => regex(JWT, b"eyJ", 10),
        SecretForm::Ready(Ready::PrivateKey) => regex(PRIVATE_KEY, b"-----BEGIN ", 27),
        SecretForm::Ready(Ready::CloudKeys) => regex(&format!("(?-u:{})", CLOUD_KEYS.join("|")), b"", 16),
    }
}

/// Sorts ranges and merges those that overlap or touch.
pub(super) fn merge(found: &mut Vec<Range<usize>>) {
    found.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found.drain(..) {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            Some(_) | None => merged.push(range),
        }
    }
    *found = merged;
}

/// Card numbers: groups of digits separated by a space, a dash or a plus (a space in a form), with a valid check digit.
fn cards(text: &[u8], found: &mut Vec<Range<usize>>) {
    if text.len() < *CARD_DIGITS.start() {
        return;
    }
    let mut at = 0;
    while let Some(offset) = text.get(at..).and_then(|rest| rest.iter().position(u8::is_ascii_digit)) {
        let start = at + offset;
        match card(text, start) {
            Some(end) => {
                found.push(start..end);
                at = end;
            }
            // No card number starts here: continue at the next group.
            None => {
                at = start + text.get(start..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count()
            }
        }
    }
}

/// The end of the longest card number that begins at `start`.
fn card(text: &[u8], start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    // First digits of the card networks (ISO/IEC 7812-1): 2 to 6.
    if !matches!(rest.first()?, b'2'..=b'6') {
        return None;
    }
    let (mut digits, mut count, mut ends) = ([0_u8; 19], 0, [0_usize; 20]);
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        if byte.is_ascii_digit() {
            *digits.get_mut(count)? = byte - b'0';
            count += 1;
            at += 1;
            // A number may end only at the end of a group.
            if !rest.get(at).is_some_and(u8::is_ascii_digit)
                && let Some(end) = ends.get_mut(count)
            {
                *end = start + at;
            }
            if count == *CARD_DIGITS.end() {
                break;
            }
        } else if matches!(byte, b' ' | b'-' | b'+') && rest.get(at + 1).is_some_and(u8::is_ascii_digit) {
            at += 1;
        } else {
            break;
        }
    }
    CARD_DIGITS.rev().find_map(|len| {
        let end = *ends.get(len)?;
        (end > 0 && len <= count && is_luhn(digits.get(..len)?)).then_some(end)
    })
}

/// The Luhn check of ISO/IEC 7812-1, Annex B.
fn is_luhn(digits: &[u8]) -> bool {
    let doubled = |n: usize, digit: u8| match (n % 2, digit) {
        (0, digit) => digit,
        (_, digit @ 0..=4) => digit * 2,
        (_, digit) => digit * 2 - 9,
    };
    let sum: u32 = digits.iter().rev().enumerate().map(|(n, digit)| u32::from(doubled(n, *digit))).sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn found(ready: Ready, text: &str) -> Vec<&str> {
        let patterns = Patterns::new(&[SecretForm::Ready(ready)]);
        patterns.find(text.as_bytes()).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn every_pattern_of_qtaps_own_is_one() {
        for (name, ready) in Ready::ALL {
            assert_eq!(Patterns::new(&[SecretForm::Ready(ready)]).0.len(), 1, "{name}");
        }
    }

    #[test]
    fn card_numbers_are_told_by_their_check_digit() {
        for (text, wanted) in [
            ("4111111111111111", &["4111111111111111"][..]),
            ("pay 4111 1111 1111 1111 123 now", &["4111 1111 1111 1111"]),
            ("4111-1111-1111-1111, 5555555555554444", &["4111-1111-1111-1111", "5555555555554444"]),
            ("378282246310005 x6011111111111117x", &["378282246310005", "6011111111111117"]),
            ("4222222222222", &["4222222222222"]),
            ("n=4111+1111+1111+1111&", &["4111+1111+1111+1111"]),
            ("12 4111111111111111", &["4111111111111111"]),
            ("4111111111111112", &[]),
            ("1767323045000", &[]),
            ("41111111111111110000000", &[]),
            ("4111  1111  1111  1111", &[]),
            ("0000000000000000", &[]),
        ] {
            assert_eq!(found(Ready::Card, text), wanted, "{text}");
        }
    }

    #[test]
    fn addresses_tokens_and_keys_are_found() {
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nAB\n-----END RSA PRIVATE KEY-----";
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";
        for (ready, text, wanted) in [
            (
                Ready::Email,
                "to: <jo.do+x@mail.example.org>, größe@müller.de",
                &["jo.do+x@mail.example.org", "größe@müller.de"][..],
            ),
            (Ready::Email, "a@b, @c.de, git@", &[]),
            (Ready::Jwt, &format!("Bearer {jwt}"), &[jwt]),
            (Ready::Jwt, "eyJ.a.b eyJhbGciOi", &[]),
            (Ready::PrivateKey, &format!("x{pem}y"), &[pem]),
            (Ready::PrivateKey, &format!("x{}", &pem[..36]), &[&pem[..36]]),
            (Ready::PrivateKey, "-----BEGIN PUBLIC KEY-----", &[]),
            (Ready::CloudKeys, "id AKIAIOSFODNN7EXAMPLE.", &["AKIAIOSFODNN7EXAMPLE"]),
            (Ready::CloudKeys, "XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPL", &[]),
        ] {
            assert_eq!(found(ready, text), wanted, "{text}");
        }
    }

    #[test]
    fn each_kind_of_cloud_key_is_found() {
        let tail = "a1B2c3D4e5".repeat(8);
        for (prefix, len) in [
            ("AIza", 35),
            ("ya29.", 30),
            ("GOCSPX-", 28),
            ("ghp_", 36),
            ("ghs_", 36),
            ("github_pat_", 60),
            ("glpat-", 20),
            ("xoxb-", 30),
            ("xapp-1-", 30),
            ("hooks.slack.com/services/", 40),
            ("sk_live_", 24),
            ("rk_test_", 24),
            ("whsec_", 32),
            ("sk-", 48),
            ("sk-ant-api03-", 60),
            ("npm_", 36),
            ("pypi-AgE", 60),
            ("hf_", 34),
            ("AccountKey=", 80),
            ("aws_secret_access_key = ", 40),
        ] {
            let key = format!("{prefix}{}", &tail[..len]);
            assert_eq!(found(Ready::CloudKeys, &format!("k: {key} ")), [key.as_str()], "{key}");
        }
        let (grid, ocean) = (format!("SG.{}.{}", &tail[..22], &tail[..43]), format!("dop_v1_{}", "0a".repeat(32)));
        assert_eq!(found(Ready::CloudKeys, &format!("{grid} {ocean}")), [grid.as_str(), ocean.as_str()]);
    }

    #[test]
    fn what_overlaps_is_one() {
        let own = |text| SecretForm::Own { name: "n".to_owned(), regex: Regex::new(text).unwrap() };
        let patterns = Patterns::new(&[own("bc"), own("ab"), own("x*"), own("fg")]);
        assert_eq!(patterns.find(b"abcdefg"), [0..3, 5..7]);
    }
}
