//! `table.txt`: one rule per line, the exchange it is evaluated on (`facts`), and the result; for an exchange in progress, all possible results.
//! For a rule that is refused: the byte offset of the fault, and the beginning of the message or the help.

use qtap_agent::pipeline::rule::{Macros, Outcomes, compile};

use crate::facts::named;

const TABLE: &str = include_str!("table.txt");
/// Separates the three columns.
const COLUMN: char = '⇒';

/// `true`, `false`, `neither`; several for an exchange in progress; `open` for all three.
fn words(outcomes: Outcomes) -> String {
    if outcomes == Outcomes::ANY {
        return "open".to_owned();
    }
    let words = [(Outcomes::TRUE, "true"), (Outcomes::FALSE, "false"), (Outcomes::MISSING, "neither")];
    let may: Vec<_> = words.into_iter().filter(|(one, _)| outcomes.may_be(*one)).map(|(_, word)| word).collect();
    may.join(" ")
}

fn macros() -> Macros {
    let list = [
        ("slow", "http.duration_ms > 1000"),
        ("failed", "http.res.status >= 500 or slow()"),
        ("inside", "[10.0.0.0/8, fd00::/8]"),
        ("never", "false"),
    ];
    let list: Vec<_> = list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let (macros, faults) = Macros::new(&list);
    assert_eq!(faults, []);
    macros
}

/// None when the row holds, else the actual result.
fn check(text: &str, facts: &str, wanted: &str, macros: &Macros) -> Option<String> {
    let told = match compile(text, macros) {
        Ok(rule) if facts == "-" => Some(format!("taken as {}", rule.text())),
        Ok(rule) => {
            let case = named(facts);
            let came = words(rule.outcomes(&case.facts()));
            (came != wanted).then_some(came)
        }
        Err(fault) => {
            let told = [&fault.message, &fault.help].map(|said| format!("{} {said}", fault.at.start));
            let told = told.iter().any(|told| told.starts_with(wanted));
            (facts != "-" || !told).then(|| format!("{} {}; {}", fault.at.start, fault.message, fault.help))
        }
    };
    told.map(|told| format!("{text}\n    asked about {facts}: wanted {wanted}, came to {told}"))
}

#[test]
fn every_row_is_true() {
    let macros = macros();
    let rows = TABLE.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(COLUMN).map(str::trim).collect()).collect();
    let faults: Vec<String> = rows
        .iter()
        .filter_map(|row| match row.as_slice() {
            [text, facts, wanted] => check(text, facts, wanted, &macros),
            other => Some(format!("{other:?}: a row has three columns")),
        })
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert!(rows.len() >= 150, "{} rows", rows.len());
}
