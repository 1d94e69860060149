//! The table: medians over the rounds, as Markdown for BENCHMARKS.md.

use std::fmt::Write as _;

use super::load::Protocol;
use super::stage::{BARE, Stage};
use super::{Sample, Samples};

/// The whole table, with the machine above it and the goals' ratios below.
pub(super) fn render(protocols: &[Protocol], stages: &[Stage], samples: &Samples, machine: &str) -> String {
    let rounds = samples.values().map(Vec::len).max().unwrap_or_default();
    let mut text = format!("{machine}. Medians of {rounds} interleaved rounds, least and most in brackets.\n\n");
    text.push_str("| protocol | stage | server CPU per request, µs | added, µs | requests/s | agent CPU per request, µs | agent memory idle, loaded, MB | exported, % |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for (p, protocol) in protocols.iter().enumerate() {
        let bare = server_us(samples, p, stages, BARE);
        for (s, stage) in stages.iter().enumerate() {
            if let Some(list) = samples.get(&(p, s)).filter(|list| !list.is_empty()) {
                let added = bare.filter(|_| stage.name != BARE).map(|bare| median(list, |x| Some(x.server_us)) - bare);
                row(&mut text, *protocol, stage.name, list, added);
            }
        }
    }
    text.push('\n');
    for (p, protocol) in protocols.iter().enumerate() {
        let yardstick = if *protocol == Protocol::Http { "empty-tracepoints" } else { "empty-entry-ret" };
        let added = |name| Some(server_us(samples, p, stages, name)? - server_us(samples, p, stages, BARE)?);
        if let (Some(full), Some(empty)) = (added("qtap-full"), added(yardstick)) {
            let _ = writeln!(text, "{}: qtap-full adds {:.2} × what {yardstick} adds.", protocol.title(), full / empty);
        }
    }
    text
}

fn row(text: &mut String, protocol: Protocol, stage: &str, list: &[Sample], added: Option<f64>) {
    let us = |sample: &Sample| Some(sample.server_us);
    let least = list.iter().filter_map(us).fold(f64::INFINITY, f64::min);
    let most = list.iter().filter_map(us).fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "| {} | {stage} | {:.1} ({least:.1}–{most:.1}) | {} | {:.0} | {} | {}, {} | {} |",
        protocol.title(),
        median(list, us),
        figure(added.unwrap_or(f64::NAN), 1),
        median(list, |sample| Some(sample.rate)),
        figure(median(list, |sample| sample.agent_us), 1),
        figure(median(list, |sample| sample.agent_idle_mb), 1),
        figure(median(list, |sample| sample.agent_mb), 1),
        figure(100.0 * median(list, |sample| sample.exported), 2),
    );
}

fn server_us(samples: &Samples, protocol: usize, stages: &[Stage], name: &str) -> Option<f64> {
    let place = stages.iter().position(|stage| stage.name == name)?;
    samples.get(&(protocol, place)).map(|list| median(list, |sample| Some(sample.server_us)))
}

/// A value with this many decimals; a dash for NaN.
pub(super) fn figure(value: f64, digits: usize) -> String {
    if value.is_nan() { "–".to_owned() } else { format!("{value:.digits$}") }
}

/// The median; NaN when there are no values.
pub(super) fn median(list: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> f64 {
    middle(list.iter().filter_map(value).collect())
}

/// The median of a list; NaN when it is empty.
pub(super) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (Some(upper), 0) => values.get(middle - 1).map_or(f64::NAN, |lower| f64::midpoint(*lower, *upper)),
        (Some(only), _) => *only,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, median};

    fn samples(values: &[f64]) -> Vec<Sample> {
        values
            .iter()
            .map(|us| Sample {
                server_us: *us,
                agent_us: None,
                agent_idle_mb: None,
                agent_mb: None,
                exported: None,
                rate: 1.0,
            })
            .collect()
    }

    #[test]
    fn medians() {
        assert_eq!(median(&samples(&[3.0, 1.0, 2.0]), |x| Some(x.server_us)), 2.0);
        assert_eq!(median(&samples(&[4.0, 1.0, 2.0, 3.0]), |x| Some(x.server_us)), 2.5);
        assert!(median(&samples(&[1.0]), |x| x.agent_us).is_nan());
    }
}
