//! The syntax of durations, sizes and `${NAME}`. In: text. Out: the value, or a description of the correct form.
//! Never reads a file or the environment.

use std::time::Duration;

pub(crate) use crate::model::near::nearest;

/// Reads a duration: numbers with `ms`, `s`, `m`, `h` or `d`, one after another (`1m30s`); `0` needs no unit.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, next) = after.split_at(letters);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = next.trim_start();
    }
    (!text.trim().is_empty()).then_some(total)
}

/// Reads a number of bytes: a whole number with `b`, `kb`, `mb`, `gb` (also `k`, `kib` …), in powers of 1024, in either
/// case; without a unit it counts bytes.
///
/// # Errors
/// A description of how a size is written.
pub fn size(text: &str) -> Result<u64, String> {
    let read = || {
        let (number, unit) = number(text.trim())?;
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            _ => return None,
        };
        number.checked_mul(1 << shift)
    };
    read().ok_or_else(|| "a size is a whole number of b, kb, mb or gb, e.g. 512kb".to_owned())
}

fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

/// A duration as `duration` reads it, in its largest whole unit.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// A number of bytes as `size` reads it, in its largest whole unit.
pub(crate) fn show_size(bytes: u64) -> String {
    match [(30, "gb"), (20, "mb"), (10, "kb")].iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift) {
        Some((shift, name)) => format!("{}{name}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Replaces `${NAME}` and `{{ NAME }}` with the result of `lookup`. Anything else stays as it is.
///
/// # Errors
/// The first name that `lookup` does not know.
pub(crate) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, open, after)) = next_open(rest) {
        out.push_str(before);
        let close = if open == "${" { "}" } else { "}}" };
        match after.split_once(close) {
            Some((name, next)) if is_name(name.trim()) => {
                out.push_str(&lookup(name.trim()).ok_or_else(|| name.trim().to_owned())?);
                rest = next;
            }
            _ => {
                out.push_str(open);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn next_open(text: &str) -> Option<(&str, &'static str, &str)> {
    let (at, open) = ["${", "{{"].iter().filter_map(|open| text.find(open).map(|at| (at, *open))).min()?;
    Some((text.get(..at)?, open, text.get(at + open.len()..)?))
}

/// True for what can be the name of an environment variable.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("0s", 0),
            ("0", 0),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "10", "s", "1.5s", "-1s", "10 parsecs", "99999999999999999999s", "18446744073709551615d", "1s2"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(
            ["1d", "90s", "500ms", "0s", "2h"].map(|text| show_duration(duration(text).unwrap())),
            ["1d", "90s", "500ms", "0s", "2h"]
        );
    }

    #[test]
    fn sizes_are_powers_of_two() {
        for (text, bytes) in [
            ("0", 0),
            ("7", 7),
            ("1b", 1),
            ("1kb", 1024),
            ("512KB", 524_288),
            ("2mb", 2_097_152),
            ("1 MiB", 1_048_576),
            ("2g", 2_147_483_648),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "mb", "1.5mb", "-1", "1tb", "18446744073709551615kb"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!([0, 1000, 1024, 2 << 20, 3 << 30].map(show_size), ["0", "1000", "1kb", "2mb", "3gb"]);
    }

    #[test]
    fn variables_are_expanded_and_nothing_else() {
        let lookup = |name: &str| (name == "HOST").then(|| "collector".to_owned());
        for (text, out) in [
            ("${HOST}:4317", "collector:4317"),
            ("{{ HOST }}:4317", "collector:4317"),
            ("http://{{HOST}}/${HOST}", "http://collector/collector"),
            ("a$b{c}", "a$b{c}"),
            ("${", "${"),
            ("${not a name}", "${not a name}"),
            ("{{HOST", "{{HOST"),
        ] {
            assert_eq!(expand(text, &lookup), Ok(out.to_owned()), "{text}");
        }
        assert_eq!(expand("x{{ PORT }}", &lookup), Err("PORT".to_owned()));
    }
}
