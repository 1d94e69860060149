//! Flags that limit qtap's own use of resources. In: arguments and environment. Out: [`LimitsArgs`].

use clap::Args;

use crate::config;

/// The lowest memory limit: an idle agent needs about that much.
const LEAST_MEMORY: u64 = 64 << 20;
/// The lowest CPU limit: a hundredth of a core.
const LEAST_CPU: f64 = 0.01;
/// The highest CPU limit: more cores than any host has.
const MOST_CPU: f64 = 10_000.0;

/// What the agent may use; beyond it bodies are given up, then heads, then new connections, each counted.
#[derive(Debug, Clone, Args)]
pub struct LimitsArgs {
    /// Processors that qtap may use, such as 0.5; without it, what it takes.
    #[arg(long, env = "QTAP_MAX_CPU", value_name = "CORES", value_parser = cpu)]
    pub max_cpu: Option<f64>,
    /// Memory that qtap may use, such as 256mb; without it, what it takes.
    #[arg(long, env = "QTAP_MAX_MEMORY", value_name = "SIZE", value_parser = memory)]
    pub max_memory: Option<u64>,
}

fn cpu(text: &str) -> Result<f64, String> {
    let cores: Option<f64> = text.parse().ok();
    cores.filter(|cores| (LEAST_CPU..=MOST_CPU).contains(cores)).ok_or_else(|| "a number of 0.01 or more".to_owned())
}

fn memory(text: &str) -> Result<u64, String> {
    let size = config::size(text)?;
    if size >= LEAST_MEMORY { Ok(size) } else { Err("64mb or more: an idle agent takes most of that".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_units() {
        assert_eq!((cpu("0.5"), cpu("2")), (Ok(0.5), Ok(2.0)));
        assert_eq!((memory("64mb"), memory("1gb")), (Ok(64 << 20), Ok(1 << 30)));
        for text in ["0", "-1", "nan", "inf", "", "half"] {
            assert!(cpu(text).is_err(), "{text}");
        }
        for text in ["63mb", "0", "", "much"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }
}
