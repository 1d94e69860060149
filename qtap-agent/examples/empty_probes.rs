//! Empty programs where an agent's would stand: the yardstick of `cargo xtask bench`. Attaches them, prints `ready` on standard
//! error, and waits for SIGTERM.
//!
//! ```text
//! empty_probes --probes entry-ret|sites|tracepoints --pid PID
//! ```
//!
//! `entry-ret`: at the entry of the functions by which bytes pass through the TLS library that process PID has mapped, and at
//! their return. `sites`: at the places that qtap chooses in them. `tracepoints`: at the beginning and the end of every system
//! call. Like qtap's, they are called in every process.

use std::path::Path;

use anyhow::{Context, Result, bail};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeScope};
use aya::programs::{RawTracePoint, UProbe};
use aya::{Ebpf, include_bytes_aligned};
use clap::{Parser, ValueEnum};
use qtap_agent::capture::discover::call::Call;
use qtap_agent::capture::discover::elf::Elf;
use qtap_agent::capture::discover::maps;
use qtap_agent::capture::discover::plan::{self, Hook, Plan};
use qtap_agent::capture::sites::ExitSites;
use tokio::signal::unix::{SignalKind, signal};

static OBJECT: &[u8] = include_bytes_aligned!(env!("QTAP_BPF_EMPTY"));

#[derive(Parser)]
struct Arguments {
    /// Where the programs stand.
    #[arg(long, value_enum)]
    probes: Probes,
    /// The process whose TLS library is meant.
    #[arg(long)]
    pid: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Probes {
    EntryRet,
    Sites,
    Tracepoints,
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stderr)] // the word that the benchmark waits for
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut ebpf = Ebpf::load(OBJECT)?;
    match arguments.probes {
        Probes::Tracepoints => tracepoints(&mut ebpf)?,
        Probes::EntryRet | Probes::Sites => {
            let plan = plan(arguments.pid, arguments.probes == Probes::EntryRet)?;
            for name in ["empty_uprobe", "empty_uretprobe"] {
                uprobe(&mut ebpf, name)?.load()?;
            }
            for hook in plan.hooks.iter().filter(|hook| carries(hook.call)) {
                attach(&mut ebpf, &plan.path, hook)?;
            }
        }
    }
    let mut term = signal(SignalKind::terminate())?;
    eprintln!("ready");
    term.recv().await;
    Ok(())
}

/// Functions by which bytes pass.
fn carries(call: Call) -> bool {
    matches!(
        call,
        Call::Read | Call::Write | Call::ReadEx | Call::WriteEx | Call::WriteEx2 | Call::GoRead | Call::GoWrite
    )
}

/// What is to be hooked in the TLS library of process `pid`. `plain`: at entry and return.
fn plan(pid: u32, plain: bool) -> Result<Plan> {
    let mappings = maps::executable_mappings(pid);
    for path in mappings.iter().filter_map(|mapping| maps::path_from_here(pid, mapping)) {
        if let Ok(plan) = plan::plan(&path) {
            return Ok(if plain { plan.plain(&Elf::open(&path)?) } else { plan });
        }
    }
    bail!("process {pid} has mapped no TLS library")
}

fn attach(ebpf: &mut Ebpf, path: &Path, hook: &Hook) -> Result<()> {
    let mut put = |name: &str, offset: u64| -> Result<()> {
        let point = UProbeAttachLocation::AbsoluteOffset(offset);
        uprobe(ebpf, name)?.attach(point, path, UProbeScope::AllProcesses)?;
        Ok(())
    };
    match &hook.sites.exit {
        Some(ExitSites::Emulated(offsets) | ExitSites::Rets(offsets)) => {
            offsets.iter().try_for_each(|offset| put("empty_uprobe", hook.symbol.file_offset + offset))?;
        }
        Some(ExitSites::Behind(offset)) => put("empty_uprobe", hook.symbol.file_offset + offset)?,
        Some(ExitSites::Return { .. }) => put("empty_uretprobe", hook.sites.entry.file_offset)?,
        Some(ExitSites::Unseen(_)) | None => {}
    }
    put("empty_uprobe", hook.sites.entry.file_offset)
}

fn tracepoints(ebpf: &mut Ebpf) -> Result<()> {
    for (name, tracepoint) in [("empty_enter", "sys_enter"), ("empty_exit", "sys_exit")] {
        let program: &mut RawTracePoint = ebpf.program_mut(name).context(name)?.try_into()?;
        program.load()?;
        program.attach(tracepoint)?;
    }
    Ok(())
}

fn uprobe<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe> {
    Ok(ebpf.program_mut(name).context("the object lacks a program")?.try_into()?)
}
