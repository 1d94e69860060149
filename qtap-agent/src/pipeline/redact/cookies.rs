//! Redacts cookies by name (RFC 6265 §4): removes the values of single cookies from a `Cookie` or `Set-Cookie` field. In: the
//! field's value. Out: the places to redact in it.

use std::ops::Range;

use super::super::scan::Found;

/// Names of cookies in lower case; `*` matches all.
#[derive(Debug, Clone, Default)]
pub(super) struct Cookies {
    names: Vec<String>,
    all: bool,
}

impl Cookies {
    pub(super) fn new(names: &[String]) -> Cookies {
        let names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Cookies { all: names.iter().any(|name| name == "*"), names }
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.all || self.is_named(name)
    }

    /// Like `has`, but ignores `*`: for places where any word could be a name.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        self.names.iter().any(|named| name.eq_ignore_ascii_case(named.as_bytes()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Matches in a `Cookie` field: pairs separated by semicolons.
    pub(super) fn of_request(&self, value: &[u8]) -> Vec<Found> {
        self.find(value, |_| true)
    }

    /// Matches in a `Set-Cookie` field: its first pair and, where several fields were joined, each pair after a comma.
    pub(super) fn of_response(&self, value: &[u8]) -> Vec<Found> {
        self.find(value, |before| matches!(before, None | Some(b',')))
    }

    /// Finds pairs whose preceding separator satisfies `begins` (`None`: the start of the value). A value extends to the next semicolon.
    fn find(&self, value: &[u8], begins: impl Fn(Option<&u8>) -> bool) -> Vec<Found> {
        let (mut found, mut at): (Vec<Found>, usize) = (Vec::new(), 0);
        while at <= value.len() {
            let rest = value.get(at..).unwrap_or_default();
            let before = at.checked_sub(1).and_then(|at| value.get(at));
            let len = rest.iter().position(|byte| matches!(byte, b';' | b',')).unwrap_or(rest.len());
            let equals = rest.get(..len).and_then(|pair| memchr::memchr(b'=', pair));
            let name = rest.get(..equals.unwrap_or(len)).unwrap_or_default().trim_ascii();
            if begins(before) && !name.is_empty() && self.has(name) {
                let end = at + memchr::memchr(b';', rest).unwrap_or(rest.len());
                let start = at + equals.map_or(0, |equals| equals + 1);
                found.push(Found { value: start..end, whole: whole(value, at, end) });
                at = end + 1;
            } else {
                at += len + 1;
            }
        }
        found
    }
}

/// The pair from `at` to `end`, including the separator.
fn whole(value: &[u8], at: usize, end: usize) -> Range<usize> {
    let space = value.get(end + 1..).unwrap_or_default().iter().take_while(|byte| **byte == b' ').count();
    if end < value.len() { at..end + 1 + space.saturating_sub(usize::from(at > 0)) } else { at.saturating_sub(1)..end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(found: &[Found], text: &'a str) -> Vec<&'a str> {
        found.iter().filter_map(|found| text.get(found.value.clone())).collect()
    }

    #[test]
    fn single_cookies_are_found() {
        let cookies = Cookies::new(&["SID".to_owned(), "b".to_owned()]);
        for (text, wanted) in [
            ("sid=1; a=2; b=3", &["1", "3"][..]),
            ("a=2;sid=\"x,y\";c", &["\"x,y\""]),
            ("asid=1; sidx=2; a=sid", &[]),
            ("sid", &["sid"]),
            ("sid=", &[""]),
            ("a=1, sid=2,3; c=4", &["2,3"]),
        ] {
            assert_eq!(values(&cookies.of_request(text.as_bytes()), text), wanted, "{text}");
        }
        for (text, wanted) in [
            ("sid=1; Path=/; b=3", &["1"][..]),
            ("a=1; Expires=Wed, 09 Jun 2021 10:18:14 GMT; b=1", &[]),
            ("a=1; Path=/, sid=2; Secure", &["2"]),
        ] {
            assert_eq!(values(&cookies.of_response(text.as_bytes()), text), wanted, "{text}");
        }
        let all = Cookies::new(&["*".to_owned()]);
        assert_eq!(values(&all.of_request(b"a=1; b=2"), "a=1; b=2"), ["1", "2"]);
    }
}
