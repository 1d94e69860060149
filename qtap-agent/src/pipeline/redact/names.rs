//! Names of members and fields whose values are redacted: configured names, and usual names of credentials. In: an unescaped
//! name. Out: whether its value is redacted. For credentials, upper and lower case, and `_`, `-`, `.` and spaces, make no
//! difference: `accessToken`, `access_token` and `ACCESS-TOKEN` are the same.

/// Endings of credential names.
const ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "authtoken",
    "apitoken",
    "sessiontoken",
    "securitytoken",
    "bearertoken",
    "csrftoken",
    "credential",
    "credentials",
];
/// Complete credential names.
const WHOLE: &[&str] = &[
    "pwd",
    "token",
    "jwt",
    "otp",
    "authorization",
    "assertion",
    "clientassertion",
    "codeverifier",
    "devicecode",
    "secretaccesskey",
];

/// A set of names.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    named: Vec<Vec<u8>>,
    /// Bit n: one of `named` has n bytes; bit 63: one has 63 or more. Rules out most names without a comparison.
    lens: u64,
    any_case: bool,
    credentials: bool,
}

impl Names {
    /// These names, case-sensitive unless `any_case`; with `credentials`, the usual names of credentials too.
    pub(super) fn new(named: Vec<Vec<u8>>, any_case: bool, credentials: bool) -> Names {
        let lens = named.iter().fold(0, |lens, name| lens | len_bit(name.len()));
        Names { named, lens, any_case, credentials }
    }

    /// True when the set is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && !self.credentials
    }

    /// True when the value of the member or field `name` is redacted.
    #[inline]
    pub(super) fn has(&self, name: &[u8]) -> bool {
        let is = |named: &Vec<u8>| if self.any_case { named.eq_ignore_ascii_case(name) } else { named == name };
        (self.lens & len_bit(name.len()) != 0 && self.named.iter().any(is)) || (self.credentials && is_credential(name))
    }
}

pub(super) fn len_bit(len: usize) -> u64 {
    1 << len.min(63)
}

/// True for the usual names of credentials.
pub(super) fn is_credential(name: &[u8]) -> bool {
    let mut letters = name.iter().rev().filter(|byte| !is_separator(**byte)).map(u8::to_ascii_lowercase);
    let (Some(last), Some(before_last)) = (letters.next(), letters.next()) else { return false };
    // Most names end in letters that end none of the words above.
    if !may_end(last, before_last) {
        return false;
    }
    let same_end = |word: &&&str| word.as_bytes().last() == Some(&last);
    ENDINGS.iter().filter(same_end).any(|word| before(name, word).is_some())
        || WHOLE.iter().filter(same_end).any(|word| before(name, word) == Some(0))
}

/// For each last letter of a word, the letters that precede it: bit 0 is `a`.
const ENDS: [u32; 26] = {
    let mut ends = [0; 26];
    let mut n = 0;
    while n < ENDINGS.len() + WHOLE.len() {
        let word = if n < ENDINGS.len() { ENDINGS[n] } else { WHOLE[n - ENDINGS.len()] }.as_bytes();
        ends[(word[word.len() - 1] - b'a') as usize] |= 1 << (word[word.len() - 2] - b'a');
        n += 1;
    }
    ends
};

/// True when one of the words above ends in these two letters.
#[inline]
fn may_end(last: u8, before_last: u8) -> bool {
    let ends = ENDS.get(usize::from(last.wrapping_sub(b'a'))).copied().unwrap_or(0);
    1_u32.checked_shl(before_last.wrapping_sub(b'a').into()).is_some_and(|bit| ends & bit != 0)
}

/// The number of letters before `word` in a `name` that ends in it; separators don't count.
fn before(name: &[u8], word: &str) -> Option<usize> {
    let mut rest = name.iter().rev().filter(|byte| !is_separator(**byte));
    for wanted in word.bytes().rev() {
        if !rest.next()?.eq_ignore_ascii_case(&wanted) {
            return None;
        }
    }
    Some(rest.take(1).count())
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'_' | b'-' | b'.' | b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_names() {
        let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/redaction.md"));
        for (row, names) in [("whole names", WHOLE), ("endings", ENDINGS)] {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let line = format!("| {row} | {} |", names.join(", "));
            assert!(page.lines().any(|of_page| of_page == line), "docs/redaction.md lacks this row:\n{line}");
        }
    }

    #[test]
    fn names_of_credentials_are_known_in_every_spelling() {
        for name in [
            "password",
            "Password",
            "user_password",
            "new-password",
            "DB.PASSWD",
            "access_token",
            "accessToken",
            "ACCESS-TOKEN",
            "AccessToken ",
            "client_secret",
            "apiKey",
            "x-api-key",
            "SecretAccessKey",
            "private_key",
            "token",
            "pwd",
            "jwt",
            "_token_",
            "code_verifier",
            "device_code",
            "credentials",
        ] {
            assert!(is_credential(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "_",
            "max_tokens",
            "next_token",
            "prompt_tokens",
            "key",
            "secretary",
            "jwts",
            "password2",
            "d",
            "tokenizer",
            "description",
            "laptop",
        ] {
            assert!(!is_credential(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn every_word_is_found() {
        for word in ENDINGS.iter().chain(WHOLE) {
            assert!(is_credential(word.as_bytes()), "{word}");
        }
    }

    #[test]
    fn named_ones_are_told_apart_by_case_where_that_is_asked_for() {
        let names = |any_case| Names::new(vec![b"Ssn".to_vec()], any_case, false);
        assert!(names(false).has(b"Ssn") && !names(false).has(b"ssn") && names(true).has(b"sSN"));
        assert!(!names(true).has(b"password") && Names::new(Vec::new(), false, true).has(b"password"));
    }
}
