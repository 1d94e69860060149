//! CPU time and memory of processes, from /proc (proc(5)).

use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};

/// CPU time of some processes, user and system, all their threads, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpu(u64);

impl Cpu {
    /// In microseconds.
    pub(crate) fn as_micros(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu(self.0.saturating_sub(earlier.0))
    }
}

/// CPU time of the processes since they started.
pub(crate) fn cpu_of(pids: &[u32]) -> Result<Cpu> {
    let each = pids.iter().map(|pid| precise(*pid).map_or_else(|| coarse(*pid), Ok));
    Ok(Cpu(each.sum::<Result<u64>>()?))
}

/// CPU time in nanoseconds, for a process with a single thread; with several, the time of threads that ended would be missing.
fn precise(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.count();
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok().filter(|_| threads == 1)?;
    text.split_whitespace().next()?.parse().ok().filter(|used| *used > 0)
}

/// CPU time of all children that have ended and were waited for; the kernel counts it in ticks of 10 ms.
pub(crate) fn cpu_of_ended_children() -> Result<Cpu> {
    let text = fs::read_to_string("/proc/self/stat")?;
    ticks_in(&text, ENDED_CHILDREN).map(|ticks| Cpu(ticks * 10_000_000)).context("/proc/self/stat reads otherwise")
}

/// Fields 14 and 15, utime and stime, as an index after the name field.
const OWN: usize = 11;
/// Fields 16 and 17, cutime and cstime.
const ENDED_CHILDREN: usize = 13;

/// From `stat`, in ticks of 10 ms.
fn coarse(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    ticks_in(&text, OWN).map(|ticks| ticks * 10_000_000).context("/proc/PID/stat reads otherwise than proc(5) says")
}

/// User and system time; the name, field 2, may contain spaces and parentheses.
fn ticks_in(stat: &str, from: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(from);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Resident memory in MB (10⁶ bytes).
pub(crate) fn resident_mb(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
    Ok(kib * 1024.0 / 1e6)
}

/// Kernel memory of a process's BPF maps, in MB (10⁶ bytes), as its descriptors' fdinfo reports it; exact since Linux 6.4.
pub(crate) fn tables_mb(pid: u32) -> Result<f64> {
    let mut bytes = 0.0;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).with_context(|| format!("process {pid} is gone"))? {
        // A descriptor that was closed in the meantime counts as none.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let of_table = text.lines().filter(|_| text.contains("map_type:"));
        bytes += of_table.filter_map(|line| line.strip_prefix("memlock:")?.trim().parse::<f64>().ok()).sum::<f64>();
    }
    Ok(bytes / 1e6)
}

#[cfg(test)]
mod tests {
    use super::{ENDED_CHILDREN, OWN, ticks_in};

    #[test]
    fn the_name_may_hold_anything() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 17 5 0 0 20 0 1 0 100 0 0";
        assert_eq!((ticks_in(stat, OWN), ticks_in(stat, ENDED_CHILDREN)), (Some(22), Some(0)));
    }
}
