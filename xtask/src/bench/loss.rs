//! Is anything lost without being counted? A minute of load as high as the machine allows, then three numbers: exchanges made,
//! exchanges that reached the store, and the agent's own count of losses, by reason.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::load::Protocol;
use super::sink::{Otlp, Sink};
use super::stage::{self, Watcher};
use super::{build, free_port, machine, pin, usage};
use crate::nginx::Nginx;

/// How long the agent may take to deliver what it still holds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures each protocol once, for `seconds`.
pub(super) fn run(protocols: &[Protocol], otlp: Otlp, seconds: u32) -> Result<()> {
    build()?;
    let sink = Sink::start()?;
    let admin_port = free_port()?;
    let stages = stage::all(&sink, otlp, admin_port)?;
    let full = stages.iter().find(|stage| stage.name == stage::FULL).context("no such stage")?;
    let nginx = Nginx::start(&[("1k.txt", &[b'x'; 1024])])?;
    let workers = nginx.workers()?;
    pin(&workers)?;
    println!("{}. {seconds} s a protocol, level full.\n", machine());
    println!(
        "| protocol | made | exported | requests/s | agent memory, MB | what the agent lost, how often |\n|---|---|---|---|---|---|"
    );
    for protocol in protocols {
        let before = sink.exchanges();
        let watcher = full.start(*workers.first().context("nginx has no worker")?)?.context("nothing watches")?;
        let achieved = protocol.load(&nginx, seconds).run()?;
        settle(&sink);
        let losses = losses(&metrics(admin_port)?);
        let memory = usage::resident_mb(watcher.pid())?;
        drop::<Watcher>(watcher);
        let exported = sink.exchanges() - before;
        let said = if losses.is_empty() { "nothing".to_owned() } else { losses.join(", ") };
        println!(
            "| {} | {} | {exported} | {:.0} | {memory:.0} | {said} |",
            protocol.title(),
            achieved.requests,
            achieved.rate
        );
    }
    println!(
        "\nThe load generators do not count the requests that they broke off at their end: up to 64 (HTTP/2: 640) more are exported than made."
    );
    Ok(())
}

/// Waits until no more records arrive.
fn settle(sink: &Sink) {
    let start = Instant::now();
    let mut last = sink.bytes();
    while start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_secs(2));
        let now = sink.bytes();
        if now == last {
            return;
        }
        last = now;
    }
}

/// The agent's metrics page.
pub(super) fn metrics(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// `reason: count` for every reason with a nonzero count.
fn losses(page: &str) -> Vec<String> {
    let counted = page.lines().filter_map(|line| line.strip_prefix("qtap_loss_total{reason=\""));
    let each = counted.filter_map(|rest| rest.split_once("\"} ")).filter(|(_, count)| *count != "0");
    each.map(|(reason, count)| format!("{reason}: {count}")).collect()
}

#[cfg(test)]
mod tests {
    use super::losses;

    #[test]
    fn only_what_was_lost_is_named() {
        let page =
            "# TYPE qtap_loss counter\nqtap_loss_total{reason=\"ring_full\"} 7\nqtap_loss_total{reason=\"fault\"} 0\n";
        assert_eq!(losses(page), ["ring_full: 7"]);
    }
}
