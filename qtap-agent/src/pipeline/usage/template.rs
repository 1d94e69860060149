//! A path with its identifiers replaced: `/users/42/orders` → `/users/{id}/orders`. In: text. Out: text of bounded
//! length.

/// Maximum bytes of a template.
const LONGEST: usize = 256;
/// Minimum lengths of hexadecimal and of mixed segments to count as an id: words in routes are rarely that long.
const HEX: usize = 16;
const MIXED: usize = 20;

/// The template of `path`; anything beyond the bound is replaced with `…`.
pub(in crate::pipeline) fn template(path: &str) -> String {
    let mut out = String::with_capacity(path.len().min(LONGEST));
    for (nth, segment) in path.split('/').enumerate() {
        let shown = if is_id(segment) { "{id}" } else { segment };
        if out.len() + shown.len() + 1 > LONGEST {
            out.push_str("/…");
            return out;
        }
        if nth > 0 {
            out.push('/');
        }
        out.push_str(shown);
    }
    out
}

/// True for numbers, UUIDs, long hexadecimal or mixed names, and addresses; also for replacements by redaction.
fn is_id(segment: &str) -> bool {
    let all = |is: fn(u8) -> bool| segment.bytes().all(is);
    let has = |is: fn(u8) -> bool| segment.bytes().any(is);
    let digit = |byte: u8| byte.is_ascii_digit();
    let letter = |byte: u8| byte.is_ascii_alphabetic();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if segment.is_empty() {
        return false;
    }
    let hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    all(digit)
        || (segment.len() >= HEX && all(hex) && has(digit))
        || (segment.len() >= MIXED && all(plain) && has(digit) && has(letter))
        || segment.contains('@')
        || segment.contains("%40")
        || segment.contains("[redacted]")
        || segment.contains("[hash:")
}

#[cfg(test)]
mod tests {
    use super::template;

    #[test]
    fn ids_are_taken_out() {
        for (path, wanted) in [
            ("/", "/"),
            ("/users/42/orders", "/users/{id}/orders"),
            ("/a/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/a/{id}"),
            ("/c/0123456789abcdef", "/c/{id}"),
            ("/k/AbCdEfGhIjKlMnOpQrS9", "/k/{id}"),
            ("/u/me@example.com/x", "/u/{id}/x"),
            ("/t/[redacted]", "/t/{id}"),
            ("/v2/facade/deadbeefdeadbeef", "/v2/facade/deadbeefdeadbeef"),
            ("/api/v1/some-long-name-of-a-route", "/api/v1/some-long-name-of-a-route"),
            ("//x/", "//x/"),
        ] {
            assert_eq!(template(path), wanted, "{path}");
        }
        let long = template(&"/abc".repeat(1000));
        assert!(long.len() <= 256 + "/…".len() && long.ends_with("/abc/…"), "{long}");
        assert!(template(&format!("/{}", "é".repeat(1000))).len() < 10);
    }
}
