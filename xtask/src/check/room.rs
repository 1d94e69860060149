//! Disk and memory for a whole check. In: the file system of the target directory, and memory. Out: a line with what is available, and the
//! remedy when that is too little: a compiler that the kernel kills for lack of memory does not report the reason.

use anyhow::{Context, Result};

use crate::shell;

/// Disk space that a first check leaves occupied, in GB.
const DISK: f64 = 11.0;
/// Memory that the largest of its compilers and linkers use at a time, in GB.
const MEMORY: f64 = 3.0;

/// Prints what is available, before anything is built.
pub(super) fn check() -> Result<()> {
    println!("{}", left()?);
    Ok(())
}

/// A line with what is available.
pub(super) fn left() -> Result<String> {
    let target = shell::target_dir()?;
    std::fs::create_dir_all(target)?;
    let is_first = !target.join("debug/deps").is_dir();
    let df = shell::capture(std::process::Command::new("df").args(["--output=avail", "--block-size=1"]).arg(target))?;
    let disk = last_number(&df).context("df names no size")? / 1e9;
    let meminfo = std::fs::read_to_string("/proc/meminfo")?;
    let available = meminfo.lines().find(|line| line.starts_with("MemAvailable:"));
    let memory = available.and_then(last_number).context("no MemAvailable in /proc/meminfo")? * 1024.0 / 1e9;
    Ok(said(disk, memory, is_first))
}

fn last_number(text: &str) -> Option<f64> {
    text.split_whitespace().rev().find_map(|word| word.parse().ok())
}

fn said(disk: f64, memory: f64, is_first: bool) -> String {
    let mut line = format!("room: {disk:.1} GB on the disk of the target directory, {memory:.1} GB of memory");
    if is_first && disk < DISK {
        line += &format!(
            "; a first check needs {DISK:.0} GB of disk: make room, or set CARGO_TARGET_DIR to where there is"
        );
    } else if disk < 1.0 {
        line += "; the disk is as good as full: `cargo clean` makes room";
    }
    if memory < MEMORY {
        line += &format!(
            "; building needs {MEMORY:.0} GB of memory: end other programs, or build with `CARGO_BUILD_JOBS=1`"
        );
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{last_number, left, said};

    #[test]
    fn a_remedy_is_named_where_there_is_too_little() {
        assert_eq!(said(50.0, 20.0, true), "room: 50.0 GB on the disk of the target directory, 20.0 GB of memory");
        assert!(said(5.0, 20.0, true).contains("CARGO_TARGET_DIR"));
        assert!(!said(5.0, 20.0, false).contains("CARGO_TARGET_DIR"));
        assert!(said(0.5, 20.0, false).contains("cargo clean"));
        assert!(said(50.0, 1.0, false).contains("CARGO_BUILD_JOBS"));
    }

    #[test]
    fn what_df_and_meminfo_print_is_read() {
        assert_eq!(last_number("       Avail\n61068500992\n"), Some(61_068_500_992.0));
        assert_eq!(last_number("MemAvailable:   23845892 kB"), Some(23_845_892.0));
        assert!(left().is_ok_and(|line| line.starts_with("room: ")));
    }
}
