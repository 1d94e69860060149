//! Settings files. In: a text, or changes to a good one that has a secret in every place that takes one. Out: nothing, or the promise that was
//! broken: whatever the text, it is taken or refused with a reason; what is said points into the file; and no secret is in it.
//!
//! ```text
//! script = 0 text | 1 op*
//! op     = code at:u16le …   0 len:u8: as many characters are gone · 1 len:u8 bytes: they stand there as well
//!                            2 to:u8: that line moves there · 3: that line stands there twice
//! ```

use qtap_agent::config::{Source, load};

use super::Gauge;
use super::script::Input;

/// Secrets are `hunter2`.
const GOOD: &str = include_str!("../corpus/config/good.yaml");

const SECRET: &str = "hunter2";

fn env(name: &str) -> Option<String> {
    matches!(name, "HOST" | "KEY" | "TEAM").then(|| "x".to_owned())
}

fn changed(mut input: Input<'_>) -> String {
    let mut text = GOOD.to_owned();
    while let Some(code) = input.u8() {
        let at = input.number::<2>() as usize;
        let mut chars: Vec<char> = text.chars().collect();
        let mut lines: Vec<&str> = text.lines().collect();
        let (here, line) = (at % (chars.len() + 1), at % (lines.len() + 1));
        text = match code % 4 {
            0 => {
                let end = here + usize::from(input.u8().unwrap_or(1)).min(chars.len() - here);
                chars.drain(here..end);
                chars.into_iter().collect()
            }
            1 => {
                let len = usize::from(input.u8().unwrap_or(0));
                let more: Vec<char> = String::from_utf8_lossy(input.bytes(len)).chars().collect();
                chars.splice(here..here, more);
                chars.into_iter().collect()
            }
            2 if line < lines.len() => {
                let moved = lines.remove(line);
                lines.insert(usize::from(input.u8().unwrap_or(0)) % (lines.len() + 1), moved);
                lines.join("\n")
            }
            3 if line < lines.len() => {
                lines.insert(line, lines[line]);
                lines.join("\n")
            }
            _ => text,
        };
    }
    text
}

/// Lines as YAML counts them: a carriage return alone ends one too.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> =
        text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect();
    lines.push("");
    lines
}

/// True when a secret stands there as a word of its own; one that lost what was before it is part of a key like another.
fn shows_secret(told: &str) -> bool {
    told.match_indices(SECRET)
        .any(|(at, _)| !told[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')))
}

/// Reads the file, and what is said about it.
pub(crate) fn run(data: &[u8], _: Gauge<'_>) {
    let mut input = Input(data);
    let is_good = input.u8().unwrap_or(0) & 1 == 1;
    let text = if is_good { changed(input) } else { String::from_utf8_lossy(input.0).into_owned() };
    let source = Source::Text { name: "qtap.yaml".to_owned(), text: text.clone() };
    let findings = match load(source, &env) {
        Ok((_, notes)) => notes,
        Err(faults) => {
            assert!(!faults.0.is_empty(), "refused without a reason");
            let told = faults.to_string();
            assert!(!is_good || !shows_secret(&told), "{told}");
            faults.0
        }
    };
    let lines = lines(text.strip_prefix('\u{feff}').unwrap_or(&text));
    for finding in findings {
        assert!((1..=lines.len()).contains(&finding.line), "{finding}");
        let width = lines[finding.line - 1].chars().count();
        assert!((1..=width + 1).contains(&finding.column), "{width}: {finding}");
        assert!(!finding.to_string().contains(['\r', '\t', '\u{1b}']), "{finding:?}");
    }
}
