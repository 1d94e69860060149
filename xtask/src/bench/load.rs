//! The load: wrk for HTTP/1.1, h2load for HTTP/2, off the server's core, for a bounded time.

use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::nginx::Nginx;
use crate::shell;

/// Connections held open.
const CONNECTIONS: u32 = 64;

/// A slow server takes a second to accept all connections.
const WARM_UP_SECONDS: u32 = 2;

/// Grace period beyond the requested duration of a run.
const PATIENCE_SECONDS: u32 = 10;

/// Streams at once on each HTTP/2 connection.
const STREAMS: u32 = 10;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// Plain HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https1,
    /// HTTP/2 over TLS.
    Https2,
}

impl Protocol {
    /// As the table names it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Protocol::Http => "HTTP/1.1",
            Protocol::Https1 => "HTTPS/1.1",
            Protocol::Https2 => "HTTPS/2",
        }
    }

    /// The load on `nginx` for `seconds`.
    pub(super) fn load(self, nginx: &Nginx, seconds: u32) -> Load {
        let url = match self {
            Protocol::Http => format!("http://127.0.0.1:{}/1k.txt", nginx.http_port),
            Protocol::Https1 | Protocol::Https2 => format!("https://127.0.0.1:{}/1k.txt", nginx.https_port),
        };
        Load { protocol: self, url, seconds }
    }
}

/// A load to run.
pub(super) struct Load {
    pub(super) protocol: Protocol,
    pub(super) url: String,
    pub(super) seconds: u32,
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Achieved {
    /// Requests answered.
    pub(super) requests: u64,
    /// Requests per second.
    pub(super) rate: f64,
}

impl Load {
    /// Runs it briefly, to warm up caches, compilers and connections.
    pub(super) fn warm_up(&self) -> Result<Achieved> {
        self.run_for(WARM_UP_SECONDS)
    }

    /// Runs it for the full time.
    pub(super) fn run(&self) -> Result<Achieved> {
        self.run_for(self.seconds)
    }

    fn run_for(&self, seconds: u32) -> Result<Achieved> {
        // h2load 1.52 has been seen to hang against a server that was slow to accept its connections.
        let mut command = Command::new("timeout");
        command.args([&(seconds + PATIENCE_SECONDS).to_string(), "taskset"]);
        let last_core = thread::available_parallelism().map_or(1, usize::from).max(2) - 1;
        command.args(["-c", &format!("1-{last_core}")]);
        let (connections, streams) = (CONNECTIONS.to_string(), STREAMS.to_string());
        match self.protocol {
            Protocol::Http | Protocol::Https1 => {
                command.args(["wrk", "-t1", "-c", &connections, "-d", &format!("{seconds}s")]);
            }
            Protocol::Https2 => {
                command.args(["h2load", "-t1", "-c", &connections, "-m", &streams, "-D", &seconds.to_string()]);
            }
        }
        let said = shell::capture(command.arg(&self.url))?;
        let requests = match self.protocol {
            Protocol::Http | Protocol::Https1 => requests_of_wrk(&said)?,
            Protocol::Https2 => requests_of_h2load(&said)?,
        };
        Ok(Achieved { requests, rate: requests as f64 / f64::from(seconds) })
    }
}

/// Reads `  180123 requests in 3.00s, 220.00MB read`; a response other than 2xx or a broken connection invalidates the run.
fn requests_of_wrk(said: &str) -> Result<u64> {
    if let Some(line) = said.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        bail!("wrk: {}", line.trim());
    }
    let line = said.lines().find(|line| line.contains(" requests in ")).context("wrk says no count")?;
    let count =
        line.split_whitespace().next().and_then(|word| word.parse().ok()).context("wrk's count is no number")?;
    positive(count)
}

/// Reads `requests: 100 total, 110 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout`.
fn requests_of_h2load(said: &str) -> Result<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("requests: ")).context("h2load says no count")?;
    let count = |word: &str| {
        let part = line.split(", ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse::<u64>().ok()
    };
    if count("failed") != Some(0) {
        bail!("h2load: {line}");
    }
    positive(count("succeeded").context("h2load's count is no number")?)
}

fn positive(requests: u64) -> Result<u64> {
    if requests == 0 {
        bail!("no request was answered");
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::{requests_of_h2load, requests_of_wrk};

    #[test]
    fn counts_are_read() {
        let wrk = "Running 3s test\n  180123 requests in 3.00s, 220.00MB read\nRequests/sec:  60000.00\n";
        assert_eq!(requests_of_wrk(wrk).ok(), Some(180_123));
        let h2load = "requests: 100 total, 110 started, 100 done, 99 succeeded, 0 failed, 0 errored, 0 timeout\n";
        assert_eq!(requests_of_h2load(h2load).ok(), Some(99));
    }

    #[test]
    fn a_spoilt_run_is_none() {
        assert!(requests_of_wrk("  10 requests in 3.00s, 1MB read\n  Non-2xx or 3xx responses: 10\n").is_err());
        assert!(requests_of_wrk("  0 requests in 3.00s, 0B read\n").is_err());
        assert!(
            requests_of_h2load("requests: 10 total, 10 started, 10 done, 9 succeeded, 1 failed, 1 errored\n").is_err()
        );
    }
}
