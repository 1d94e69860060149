//! Measures what is not copied because nobody wants it: nginx and curl, plain and over TLS, one of them watched; once with a config that wants
//! everything, once with one that wants nothing of their host. The bytes carried, copied to user space and spared come from the agent's own
//! records and its metrics page; beside them stands the server's CPU time per request.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::load::Protocol;
use super::stage::Stage;
use super::{build, free_port, loss, machine, pin, table, usage};
use crate::nginx::Nginx;
use crate::shell;

/// The host name in the requests.
const HOST: &str = "quiet.example";
/// Body bytes of each response.
const BODY_BYTES: usize = 64 << 10;
/// Requests per run, sequential on one connection.
const REQUESTS: u32 = 2000;
/// Longest a run may take, and longest wait for the end of its connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is watched, and what the config wants of the host; the words appear in the table.
struct Case {
    watched: &'static str,
    wanted: &'static str,
}

const NOBODY: &str = "nobody";
const SERVER: &str = "server";
const CLIENT: &str = "client";
const ALL: &str = "all";
const NOTHING: &str = "nothing";

const CASES: [Case; 5] = [
    Case { watched: NOBODY, wanted: NOTHING },
    Case { watched: SERVER, wanted: ALL },
    Case { watched: SERVER, wanted: NOTHING },
    Case { watched: CLIENT, wanted: ALL },
    Case { watched: CLIENT, wanted: NOTHING },
];

/// The result of one run.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Bytes that the watched connection carried; all of them are copied when they are wanted.
    said: u64,
    /// Of these, the bytes that were not copied out of the kernel.
    spared: u64,
    /// CPU time of the server per request, µs.
    server_us: f64,
}

/// Measures each protocol; a run lasts about `seconds`.
pub(super) fn run(protocols: &[Protocol], rounds: u32, seconds: u32) -> Result<()> {
    build()?;
    let nginx = Nginx::start(&[("64k.bin", &vec![b'x'; BODY_BYTES])])?;
    let workers = nginx.workers()?;
    pin(&workers)?;
    let bench = Bench { nginx: &nginx, workers: &workers, seconds };
    let mut samples: BTreeMap<(usize, usize), Vec<Run>> = BTreeMap::new();
    for round in 0..rounds {
        for (p, protocol) in protocols.iter().enumerate() {
            for (c, case) in CASES.iter().enumerate() {
                let (protocol_name, Case { watched, wanted }) = (protocol.title(), case);
                println!(
                    "bench: round {} of {rounds}, {protocol_name}, watched: {watched}, wanted: {wanted}",
                    round + 1
                );
                samples.entry((p, c)).or_default().push(bench.run(*protocol, case)?);
            }
        }
    }
    println!(
        "\n{}. {REQUESTS} answers of {} KiB a run. Medians of {rounds} interleaved rounds.\n",
        machine(),
        BODY_BYTES >> 10
    );
    println!("| protocol | watched | wanted | said, MB | copied, MB | spared, MB | server CPU per request, µs |");
    println!("|---|---|---|---|---|---|---|");
    for ((p, c), runs) in &samples {
        if let (Some(protocol), Some(case)) = (protocols.get(*p), CASES.get(*c)) {
            row(*protocol, case, runs);
        }
    }
    println!(
        "\nA connection that was accepted is left alone in TLS only: in plain HTTP the next request may be for another host."
    );
    Ok(())
}

fn row(protocol: Protocol, case: &Case, runs: &[Run]) {
    let middle = |value: fn(&Run) -> f64| table::middle(runs.iter().map(value).collect());
    let mega = |value: fn(&Run) -> u64| {
        let bytes = table::middle(runs.iter().map(|run| value(run) as f64).collect());
        if case.watched == NOBODY { "–".to_owned() } else { format!("{:.1}", bytes / 1e6) }
    };
    println!(
        "| {} | {} | {} | {} | {} | {} | {:.1} |",
        protocol.title(),
        case.watched,
        case.wanted,
        mega(|run| run.said),
        mega(|run| run.said.saturating_sub(run.spared)),
        mega(|run| run.spared),
        middle(|run| run.server_us),
    );
}

/// State shared by the runs.
struct Bench<'a> {
    nginx: &'a Nginx,
    workers: &'a [u32],
    seconds: u32,
}

impl Bench<'_> {
    fn run(&self, protocol: Protocol, case: &Case) -> Result<Run> {
        let client = Client::start(self.nginx, protocol, self.seconds)?;
        let pid = match case.watched {
            SERVER => *self.workers.first().context("nginx has no worker")?,
            CLIENT => client.child.id(),
            _ => return Ok(Run { said: 0, spared: 0, server_us: self.load(client)? }),
        };
        let (port, out) = (free_port()?, folder()?.join("records.jsonl"));
        let watcher = stage(case, port, &out)?.start(pid)?.context("nothing watches")?;
        let server_us = self.load(client)?;
        let spared = wait_for_the_end(port)?;
        drop(watcher);
        let told = fs::read_to_string(&out).with_context(|| format!("{}", out.display()))?;
        let said = said(&told)?;
        ensure!(said >= u64::from(REQUESTS) * BODY_BYTES as u64, "only {said} bytes were seen");
        Ok(Run { said, spared, server_us })
    }

    /// Starts the client, and measures the server's CPU time until it ends.
    fn load(&self, client: Client) -> Result<f64> {
        let before = usage::cpu_of(self.workers)?;
        client.go()?;
        Ok((usage::cpu_of(self.workers)? - before).as_micros() / f64::from(REQUESTS))
    }
}

/// curl, blocked until it is told to start: the watcher must know its process first.
struct Client {
    child: Child,
    gate: ChildStdin,
}

impl Client {
    fn start(nginx: &Nginx, protocol: Protocol, seconds: u32) -> Result<Client> {
        let (scheme, port, version) = match protocol {
            Protocol::Http => ("http", nginx.http_port, "--http1.1"),
            Protocol::Https1 => ("https", nginx.https_port, "--http1.1"),
            Protocol::Https2 => ("https", nginx.https_port, "--http2"),
        };
        // At the rate of a busy service, not as fast as possible: bytes sent before the probes learn that they are unwanted are copied.
        let rate = u64::from(REQUESTS) * BODY_BYTES as u64 / u64::from(seconds.max(1));
        let mut command = Command::new("sh");
        command.args(["-c", "read -r go && exec \"$@\"", "sh", "curl", "-sk", "--noproxy", "*", "-o", "/dev/null"]);
        command.args([version, "--max-time", &PATIENCE.as_secs().to_string(), "--limit-rate", &rate.to_string()]);
        command.args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")]);
        command.arg(format!("{scheme}://{HOST}:{port}/64k.bin?[1-{REQUESTS}]"));
        let mut child = command.stdin(Stdio::piped()).spawn().context("no shell")?;
        let gate = child.stdin.take().context("standard input is piped")?;
        Ok(Client { child, gate })
    }

    /// Starts curl, and waits until it ends.
    fn go(mut self) -> Result<()> {
        self.gate.write_all(b"go\n")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "curl: {status}");
        Ok(())
    }
}

impl Drop for Client {
    /// A curl that was never started ends when its standard input is closed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> Result<PathBuf> {
    let folder = shell::target_dir()?.join("qtap-bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// qtap, with its records written to `out`.
fn stage(case: &Case, port: u16, out: &Path) -> Result<Stage> {
    let file = folder()?.join("advice.yaml");
    let endpoints = if case.wanted == NOTHING {
        format!("tap:\n  endpoints: [{{domain: {HOST}, http: none}}]\n")
    } else {
        String::new()
    };
    fs::write(&file, format!("version: 2\nservices:\n  event_stores: [{{type: stdout}}]\n{endpoints}"))?;
    let (file, admin) = (file.to_string_lossy(), format!("127.0.0.1:{port}"));
    let data = folder()?.join("data");
    let arguments =
        ["run", "--config", &file, "--pid", "{pid}", "--httpd-listen", &admin, "--data-dir", &data.to_string_lossy()];
    Stage::qtap(arguments.map(ToOwned::to_owned).to_vec(), out)
}

/// Waits until the connection is closed; returns how many bytes were not copied by then.
fn wait_for_the_end(port: u16) -> Result<u64> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let page = loss::metrics(port)?;
        if value(&page, "qtap_connections_closed_total").is_some_and(|closed| closed > 0) {
            return value(&page, "qtap_kernel_unwanted_bytes_total").context("the page has no such figure");
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("the connection was never told as closed")
}

fn value(page: &str, name: &str) -> Option<u64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The bytes that connections carried, captured or not, from their final records.
fn said(told: &str) -> Result<u64> {
    let mut sum = 0;
    for line in told.lines().filter(|line| line.contains("qtap.connection")) {
        let line: Value = serde_json::from_str(line)?;
        for record in
            list(&line["resourceLogs"]).flat_map(|all| list(&all["scopeLogs"])).flat_map(|all| list(&all["logRecords"]))
        {
            let attribute =
                |name: &str| list(&record["attributes"]).find(|one| one["key"] == name).map(|one| &one["value"]);
            let number = |name: &str| attribute(name)?["intValue"].as_str()?.parse::<u64>().ok();
            if attribute("connection.state").is_some_and(|state| state["stringValue"] == "closed") {
                let captured = number("connection.captured_bytes").context("a record without its sum")?;
                sum += captured + number("connection.lost_bytes").unwrap_or(0);
            }
        }
    }
    Ok(sum)
}

/// The elements of a list; nothing for any other value.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{said, value};

    #[test]
    fn sums_are_read_of_the_last_records_alone() {
        let record = |state: &str, captured: u64, lost: u64| {
            let attributes = serde_json::json!([
                {"key": "connection.state", "value": {"stringValue": state}},
                {"key": "connection.captured_bytes", "value": {"intValue": captured.to_string()}},
                {"key": "connection.lost_bytes", "value": {"intValue": lost.to_string()}},
            ]);
            serde_json::json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
                {"eventName": "qtap.connection", "attributes": attributes}
            ]}]}]})
            .to_string()
        };
        let told = [record("open", 5, 0), record("closed", 70, 7), record("closed", 1, 0)].join("\n");
        assert_eq!(said(&told).unwrap(), 78);
    }

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let page = "# TYPE a counter\na_total 7\na_total_more 8\n";
        assert_eq!((value(page, "a_total"), value(page, "a")), (Some(7), None));
    }
}
