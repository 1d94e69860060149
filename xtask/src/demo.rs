//! `cargo xtask demo`: a real nginx, a real curl, HTTPS between them, and what qtap captured of it. Succeeds only when the three kinds
//! of record were printed with a common `connection.id`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::nginx::Nginx;
use crate::{setup, shell};

const HELLO: &[u8] = b"{\"hello\": \"from nginx, over TLS\"}\n";

/// The kinds of record that one exchange makes.
const KINDS: [&str; 3] = ["connection", "artifact_record", "object"];

/// Attributes that are shown of a record; the rest is only counted.
const SHOWN: [&str; 20] = [
    "connection.id",
    "process.pid",
    "process.executable.path",
    "server.address",
    "server.port",
    "tls.protocol.version",
    "tls.next_protocol",
    "connection.tls.library",
    "connection.captured_bytes",
    "connection.lost_bytes",
    "http.request.method",
    "url.full",
    "http.response.status_code",
    "http.duration_ms",
    "artifact.request.digest",
    "artifact.response.digest",
    "artifact.type",
    "artifact.digest",
    "artifact.truncated",
    "artifact.data",
];

/// Characters of a value that are shown.
const SHOWN_CHARS: usize = 400;

/// Prepares the machine, builds qtap, captures one exchange, and shows it.
pub(crate) fn run() -> Result<()> {
    setup::run(setup::Purpose::Demo)?;
    shell::run(shell::cargo().args(["build", "--release", "--package", "qtap-agent"]))?;
    let qtap = shell::target_dir()?.join("release/qtap");
    let nginx = Nginx::start(&[("hello.json", HELLO)])?;
    let mut command = capture_command(&qtap, &format!("https://127.0.0.1:{}/hello.json", nginx.https_port))?;
    println!("$ {}", shell::describe(&command));
    let output = shell::output_of(&mut command)?;
    drop(nginx);
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("qtap ended with {}", output.status);
    }
    show(&String::from_utf8_lossy(&output.stdout))
}

/// Capture needs root: uses sudo when this process is not root.
fn capture_command(qtap: &Path, url: &str) -> Result<Command> {
    let mut command = if shell::is_root() {
        Command::new(qtap)
    } else {
        shell::which("sudo").context("capturing needs root, and sudo is not installed")?;
        let mut sudo = Command::new("sudo");
        sudo.arg(qtap);
        sudo
    };
    command.args(["exec", "--", "curl", "-sk", url]);
    Ok(command)
}

fn show(output: &str) -> Result<()> {
    let records = records_of(output);
    println!(
        "\ncurl and nginx spoke TLS; no proxy, no certificate and no change to either. qtap saw, at the TLS library's calls:\n"
    );
    for record in &records {
        println!("{}", record.text);
    }
    let id = linked(&records)?;
    println!("{} records; {} linked by connection.id {id}.", records.len(), KINDS.join(", "));
    Ok(())
}

/// A log record as text for people, and the fields that link it.
struct Record {
    text: String,
    kind: String,
    connection: String,
}

/// The records among the output lines; the other lines are the command's own.
fn records_of(output: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for line in output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let each = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let scopes =
            each(&line, "resourceLogs").iter().flat_map(|resource| each(resource, "scopeLogs")).collect::<Vec<_>>();
        for record in scopes.iter().flat_map(|scope| each(scope, "logRecords")) {
            let text = |key: &str| attribute(&record, key).unwrap_or_default();
            let (kind, connection) = (text("event.type"), text("connection.id"));
            records.push(Record { text: describe(&record), kind, connection });
        }
    }
    records
}

/// The record's name and body, then one attribute per line.
fn describe(record: &Value) -> String {
    let name = record["eventName"].as_str().unwrap_or("record");
    let mut text = format!("{name}: {}\n", record["body"]["stringValue"].as_str().unwrap_or_default());
    let mut more = 0;
    for attribute in record["attributes"].as_array().into_iter().flatten() {
        let key = attribute["key"].as_str().unwrap_or_default();
        if !SHOWN.contains(&key) {
            more += 1;
            continue;
        }
        // An OTLP value is an object with one member, named by its type.
        let value = attribute["value"].as_object().and_then(|value| value.values().next());
        let value = value.map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned));
        let _ = writeln!(text, "  {key:<26} {}", shortened(&value.unwrap_or_default()));
    }
    let _ = writeln!(text, "  and {more} more attributes");
    text
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// A string attribute of an OTLP/JSON log record.
fn attribute(record: &Value, key: &str) -> Option<String> {
    let attributes = record["attributes"].as_array()?;
    let found = attributes.iter().find(|attribute| attribute["key"] == key)?;
    found["value"]["stringValue"].as_str().map(ToOwned::to_owned)
}

/// The connection that has records of all three kinds.
fn linked(records: &[Record]) -> Result<&str> {
    let mut kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in records.iter().filter(|record| !record.connection.is_empty()) {
        kinds.entry(&record.connection).or_default().insert(&record.kind);
    }
    let whole = kinds.iter().find(|(_, seen)| KINDS.iter().all(|kind| seen.contains(kind)));
    whole.map(|(id, _)| *id).with_context(|| format!("no connection has all of {}; seen: {kinds:?}", KINDS.join(", ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{linked, records_of};

    fn line(kind: &str, id: &str) -> String {
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"attributes":[{{"key":"event.type","value":{{"stringValue":"{kind}"}}}},{{"key":"connection.id","value":{{"stringValue":"{id}"}}}}]}}]}}]}}]}}"#
        )
    }

    #[test]
    fn three_kinds_under_one_id_are_a_demo() {
        let output =
            ["{\"hello\": 1}".to_owned(), line("connection", "a"), line("artifact_record", "a"), line("object", "a")];
        assert_eq!(linked(&records_of(&output.join("\n"))).unwrap(), "a");
    }

    #[test]
    fn three_kinds_under_two_ids_are_not() {
        let output = [line("connection", "a"), line("artifact_record", "b"), line("object", "b")];
        assert!(linked(&records_of(&output.join("\n"))).is_err());
    }
}
