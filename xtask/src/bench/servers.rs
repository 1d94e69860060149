//! What watching costs servers other than nginx, each with its own TLS: Node, Caddy, Envoy, Python's asyncio and Java, over TLS, one at a time on the
//! first core, without qtap and with it at level full, in interleaved rounds. In: a release build. Out: a table of medians. It asserts nothing.

use std::fs;

use anyhow::{Context, Result};

use super::load::Protocol;
use super::server::{Kind, Server};
use super::sink::Sink;
use super::table::{figure, median};
use super::{Case, Options, Sample, build, free_port, machine, measure_all, stage};
use crate::{nginx, shell};

const HEAD: &str = "| server | protocol | server CPU per request, bare, µs | under qtap, µs | requests/s, bare | under qtap | kept, % | agent CPU per request, µs | exported, % |
|---|---|---|---|---|---|---|---|---|";

/// Measures each installed server over each protocol that it speaks.
pub(super) fn run(options: &Options) -> Result<()> {
    build()?;
    let folder = shell::target_dir()?.join("qtap-bench/servers");
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    nginx::make_certificate(&folder)?;
    let sink = Sink::start()?;
    let all = stage::all(&sink, options.otlp, free_port()?)?;
    let stages: Vec<_> = all.into_iter().filter(|stage| [stage::BARE, stage::FULL].contains(&stage.name)).collect();
    let place = |name| stages.iter().position(|stage| stage.name == name).context("no such stage");
    let (bare, full) = (place(stage::BARE)?, place(stage::FULL)?);
    let mut servers: Vec<Server> = Vec::new();
    let mut cases = Vec::new();
    let mut titles = Vec::new();
    for kind in Kind::ALL {
        let Some(server) = kind.start(&folder)? else {
            println!(
                "bench: without {}, which is not installed (cargo xtask setup --for check; a JDK: default-jdk-headless)",
                kind.name()
            );
            continue;
        };
        for protocol in options.protocols.iter().filter(|protocol| kind.speaks(**protocol)) {
            let load = server.load(*protocol, options.seconds.unwrap_or(3));
            let name = format!("{}, {}", server.title, protocol.title());
            cases.push(Case { name, load, pids: server.pids()?, flags: kind.flags() });
            titles.push((server.title.clone(), *protocol));
        }
        servers.push(server);
    }
    let (samples, unmeasured) = measure_all(options.rounds, &cases, &stages, &sink);
    drop(servers);
    println!("\n{}. Medians of {} interleaved rounds.\n\n{HEAD}", machine(), options.rounds);
    for (number, (title, protocol)) in titles.iter().enumerate() {
        let of = |stage| samples.get(&(number, stage)).map_or(&[][..], Vec::as_slice);
        println!("{}", row(title, *protocol, of(bare), of(full)));
    }
    for (name, reason) in unmeasured {
        println!("Not measured in some round: {name}: {reason}");
    }
    Ok(())
}

fn row(server: &str, protocol: Protocol, bare: &[Sample], full: &[Sample]) -> String {
    let us = |list| figure(median(list, |sample| Some(sample.server_us)), 1);
    let rate = |list| median(list, |sample| Some(sample.rate));
    format!(
        "| {server} | {} | {} | {} | {} | {} | {} | {} | {} |",
        protocol.title(),
        us(bare),
        us(full),
        figure(rate(bare), 0),
        figure(rate(full), 0),
        figure(100.0 * rate(full) / rate(bare), 1),
        figure(median(full, |sample| sample.agent_us), 1),
        figure(100.0 * median(full, |sample| sample.exported), 2),
    )
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Sample, row};

    fn sample(server_us: f64, rate: f64, agent: Option<(f64, f64)>) -> Sample {
        let (agent_us, exported) = agent.unzip();
        Sample { server_us, agent_us, agent_idle_mb: None, agent_mb: None, exported, rate }
    }

    #[test]
    fn a_row_compares_medians() {
        let bare = [10.0, 30.0, 20.0].map(|us| sample(us, 1e6 / us, None));
        let full = [sample(25.0, 40_000.0, Some((7.25, 1.0006)))];
        assert_eq!(
            row("Node 20", Protocol::Https1, &bare, &full),
            "| Node 20 | HTTPS/1.1 | 20.0 | 25.0 | 50000 | 40000 | 80.0 | 7.2 | 100.06 |"
        );
    }

    #[test]
    fn what_was_not_measured_has_no_figure() {
        let bare = [sample(20.0, 50_000.0, None)];
        assert_eq!(
            row("Node 20", Protocol::Https2, &bare, &[]),
            "| Node 20 | HTTPS/2 | 20.0 | – | 50000 | – | – | – | – |"
        );
    }
}
