//! `qtap processes`: queries the running agent, and prints a table, or its JSON answer. In: its address. Out: text.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::{ProcessesArgs, exit};
use crate::run::{Failure, page};

/// Prints the agent's view of processes. Returns the exit code.
///
/// # Errors
/// If no agent answers.
pub fn processes(args: &ProcessesArgs, say: &mut dyn FnMut(&str)) -> Result<u8, Failure> {
    let told = page::get(args.httpd_listen, "/processes")?;
    say(if args.json { format!("{told:#}") } else { table(&told) }.as_str());
    Ok(exit::OK)
}

/// One line per process; below it the reason why its TLS is not seen.
fn table(told: &Value) -> String {
    let none = Vec::new();
    let processes = told["processes"].as_array().unwrap_or(&none);
    if processes.is_empty() {
        return "no process in scope that runs now carries a TLS library that qtap knows of, and none of them had a TLS connection"
            .to_owned();
    }
    let mut lines = vec![["PID", "HOOKS", "CONNECTIONS", "SEEN", "UNSEEN", "PROGRAM", "TLS"].map(str::to_owned)];
    for process in processes {
        let number = |key: &str| process[key].as_u64().unwrap_or(0);
        lines.push([
            number("pid").to_string(),
            text(&process["hooks"]).to_owned(),
            number("tls_connections").to_string(),
            bytes(number("seen_bytes")),
            bytes(number("unseen_bytes")),
            text(&process["executable"]).to_owned(),
            engines(process),
        ]);
    }
    let width =
        |column: usize| lines.iter().filter_map(|line| Some(line.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut out = String::new();
    let reasons = std::iter::once(None).chain(processes.iter().map(|process| process["reason"].as_str()));
    for (line, reason) in lines.iter().zip(reasons) {
        let cells: Vec<String> = line
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:w$}", w = widths.get(column).copied().unwrap_or(0)))
            .collect();
        // Writing to a string can't fail.
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
        if let Some(reason) = reason {
            let _ = writeln!(out, "{:w$}  why: {reason}", "", w = widths.first().copied().unwrap_or(0));
        }
    }
    out.trim_end().to_owned()
}

fn engines(process: &Value) -> String {
    let all = process["tls"].as_array().cloned().unwrap_or_default();
    let one = |engine: &Value| match engine["version"].as_str() {
        Some(version) => format!("{} ({version})", text(&engine["name"])),
        None => match engine["build_id"].as_str() {
            Some(id) => format!("{} (build {})", text(&engine["name"]), id.get(..12).unwrap_or(id)),
            None => text(&engine["name"]).to_owned(),
        },
    };
    if all.is_empty() { "none found".to_owned() } else { all.iter().map(one).collect::<Vec<_>>().join(", ") }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// A byte count for people to read.
fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_for_each_and_the_reason_below() {
        let told = json!({"processes": [
            {"pid": 42, "executable": "/usr/bin/curl", "hooks": "attached", "tls_connections": 2, "seen_bytes": 2048, "unseen_bytes": 0,
             "tls": [{"name": "libssl.so.3", "version": "OpenSSL 3.0.19"}], "reason": null},
            {"pid": 7, "executable": "/opt/envoy", "hooks": "none", "tls_connections": 1, "seen_bytes": 0, "unseen_bytes": 999,
             "tls": [{"name": "OpenSSL", "version": null, "build_id": "0123456789abcdef"}], "reason": "static"},
        ]});
        assert_eq!(
            table(&told),
            "PID  HOOKS     CONNECTIONS  SEEN     UNSEEN  PROGRAM        TLS\n\
             42   attached  2            2.0 KiB  0 B     /usr/bin/curl  libssl.so.3 (OpenSSL 3.0.19)\n\
             7    none      1            0 B      999 B   /opt/envoy     OpenSSL (build 0123456789ab)\n\
             \x20    why: static"
        );
        assert!(table(&json!({"processes": []})).starts_with("no process in scope"));
        assert!(!table(&json!({"processes": [{}]})).is_empty(), "what another version says is shown as far as it goes");
    }
}
