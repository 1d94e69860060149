//! Compares qtap with what users would use instead: the same traffic read by `qtap replay` and by `tshark -T fields -Y http`, in interleaved
//! rounds. The replay bench writes the traffic twice, as a recording and as packets. The figure is CPU time of the whole process, user and
//! system; this process reads the output and counts the exchanges in it: both programs must have seen all of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, iter};

use anyhow::{Context, Result, bail, ensure};

use super::usage::{self, Cpu};
use super::{machine, table};
use crate::{setup, shell};

/// A kind of traffic: the name of its files, the title of its rows, and tshark's arguments for it.
struct Traffic {
    name: &'static str,
    title: &'static str,
    tshark: &'static [&'static str],
}

const TRAFFICS: [Traffic; 3] = [
    Traffic { name: "http1-1k", title: "HTTP/1.1, 1 KB", tshark: &HTTP1 },
    Traffic { name: "http1-1m", title: "HTTP/1.1, 1 MB", tshark: &HTTP1 },
    Traffic { name: "http2-100-streams", title: "HTTP/2, 100 streams, 1 KB", tshark: &HTTP2 },
];

/// No name resolution; the fields that qtap's own record has too.
const HTTP1: [&str; 14] = [
    "-n",
    "-Y",
    "http",
    "-T",
    "fields",
    "-e",
    "frame.time_epoch",
    "-e",
    "http.request.method",
    "-e",
    "http.request.uri",
    "-e",
    "http.response.code",
    "-l",
];

/// tshark must be told that this port, which is not a registered one, carries HTTP/2.
const HTTP2: [&str; 16] = [
    "-n",
    "-d",
    "tcp.port==8080,http2",
    "-Y",
    "http2",
    "-T",
    "fields",
    "-e",
    "frame.time_epoch",
    "-e",
    "http2.headers.method",
    "-e",
    "http2.headers.path",
    "-e",
    "http2.headers.status",
    "-l",
];

/// A program, and how its output shows an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reader {
    Summary,
    Full,
    Tshark,
}

const READERS: [Reader; 3] = [Reader::Summary, Reader::Full, Reader::Tshark];

impl Reader {
    fn title(self) -> &'static str {
        match self {
            Reader::Summary => "`qtap replay`, summary",
            Reader::Full => "`qtap replay`, full",
            Reader::Tshark => "`tshark -T fields -Y http`",
        }
    }

    fn command(self, traffic: &Traffic, directory: &Path) -> Result<Command> {
        let file = |suffix: &str| directory.join(format!("{}.{suffix}", traffic.name));
        let level = match self {
            Reader::Tshark => {
                let mut command = Command::new(shell::which("tshark").context("tshark is not installed")?);
                command.arg("-r").arg(file("pcap")).args(traffic.tshark);
                return Ok(command);
            }
            Reader::Summary => "summary",
            Reader::Full => "full",
        };
        let settings = directory.join(format!("{level}.yaml"));
        fs::write(&settings, configuration(level))?;
        let mut command = Command::new(shell::target_dir()?.join("release/qtap"));
        command.arg("replay").arg("--config").arg(settings).arg(file("qtap"));
        Ok(command)
    }

    /// The number of exchanges in a line of its output.
    fn count(self, line: &str) -> u64 {
        match self {
            Reader::Summary | Reader::Full => u64::from(line.contains("\"eventName\":\"qtap.artifact_record\"")),
            // The last column: one status code, or one for each stream in the packet.
            Reader::Tshark => {
                let codes = line.rsplit('\t').next().unwrap_or_default();
                codes.split(',').filter(|code| !code.trim().is_empty()).count() as u64
            }
        }
    }
}

fn configuration(level: &str) -> String {
    format!(
        "version: 2
services:
  event_stores: [{{type: stdout}}]
  object_stores: [{{type: stdout}}]
stacks:
  bench: {{plugins: [{{type: http_capture, config: {{level: {level}}}}}, {{type: redact}}]}}
tap: {{http: {{stack: bench}}}}
"
    )
}

/// Builds, writes the traffic, measures, prints.
pub(super) fn run(rounds: u32) -> Result<()> {
    setup::run(setup::Purpose::Bench)?;
    // The same features as in every other bench, so that nothing is built twice.
    super::build_release()?;
    let directory = shell::target_dir()?.join("qtap-bench");
    fs::create_dir_all(&directory)?;
    let write = ["bench", "--package", "qtap-agent", "--bench", "replay", "--", "--write"];
    shell::run(shell::cargo().args(write).arg(&directory))?;
    let mut samples: BTreeMap<(usize, Reader), Vec<Cpu>> = BTreeMap::new();
    for round in 0..rounds {
        for (place, traffic) in TRAFFICS.iter().enumerate() {
            for reader in READERS {
                println!("bench: round {} of {rounds}, {}, {}", round + 1, traffic.title, reader.title());
                samples.entry((place, reader)).or_default().push(measure(reader, traffic, &directory)?);
            }
        }
    }
    println!("\n{}", render(&samples, &directory, rounds)?);
    for traffic in TRAFFICS {
        for suffix in ["qtap", "pcap", "count"] {
            fs::remove_file(directory.join(format!("{}.{suffix}", traffic.name)))?;
        }
    }
    Ok(())
}

/// CPU time of one run; fails unless it saw all exchanges.
fn measure(reader: Reader, traffic: &Traffic, directory: &Path) -> Result<Cpu> {
    let mut command = reader.command(traffic, directory)?;
    let before = usage::cpu_of_ended_children()?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut output = BufReader::with_capacity(1 << 20, child.stdout.take().context("standard output is piped")?);
    let (mut seen, mut line) = (0, Vec::new());
    while output.read_until(b'\n', &mut line)? > 0 {
        seen += reader.count(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let ended = child.wait_with_output()?;
    if !ended.status.success() {
        bail!("{}: {}", shell::describe(&command), String::from_utf8_lossy(&ended.stderr));
    }
    let made = exchanges(traffic, directory)?;
    ensure!(seen == made, "{} saw {seen} of {made} exchanges of {}", reader.title(), traffic.title);
    Ok(usage::cpu_of_ended_children()? - before)
}

fn exchanges(traffic: &Traffic, directory: &Path) -> Result<u64> {
    Ok(fs::read_to_string(directory.join(format!("{}.count", traffic.name)))?.parse()?)
}

fn render(samples: &BTreeMap<(usize, Reader), Vec<Cpu>>, directory: &Path, rounds: u32) -> Result<String> {
    let version = shell::capture(Command::new("tshark").arg("--version"))?;
    let version = version.lines().next().unwrap_or_default().to_owned();
    let heading = [
        format!("{}; {version} Medians of {rounds} interleaved rounds.\n", machine()),
        "| traffic | read by | exchanges/s per core | MB/s per core | CPU per exchange, µs | × |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let mut lines = Vec::new();
    for (place, traffic) in TRAFFICS.iter().enumerate() {
        let made = exchanges(traffic, directory)? as f64;
        let file = |suffix: &str| -> PathBuf { directory.join(format!("{}.{suffix}", traffic.name)) };
        let seconds = |reader| {
            let list = samples.get(&(place, reader)).into_iter().flatten();
            table::middle(list.map(|cpu| cpu.as_micros() / 1e6).collect())
        };
        for reader in READERS {
            let suffix = if reader == Reader::Tshark { "pcap" } else { "qtap" };
            let (mb, took) = (fs::metadata(file(suffix))?.len() as f64 / 1e6, seconds(reader));
            let times = seconds(Reader::Tshark) / took;
            lines.push(format!(
                "| {} | {} | {:.0} | {:.0} | {:.2} | {times:.1} |",
                traffic.title,
                reader.title(),
                made / took,
                mb / took,
                took * 1e6 / made,
            ));
        }
    }
    Ok(heading.into_iter().chain(lines).chain(iter::once(String::new())).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::Reader;

    #[test]
    fn exchanges_are_counted() {
        assert_eq!(Reader::Tshark.count("1.5\tGET\t/1k.txt\t\n"), 0);
        assert_eq!(Reader::Tshark.count("1.5\t\t\t200\n"), 1);
        assert_eq!(Reader::Tshark.count("1.5\t\t\t200,200,404\n"), 3);
        assert_eq!(Reader::Summary.count("{…\"eventName\":\"qtap.artifact_record\"…}"), 1);
        assert_eq!(Reader::Full.count("{…\"eventName\":\"qtap.object\"…}"), 0);
    }
}
