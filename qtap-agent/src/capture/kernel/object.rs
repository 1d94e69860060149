//! The probes' object: layout and settings are written into it, and the kernel loads and verifies it.
//!
//! In: the running kernel's type information and what is wanted. Out: the loaded [`Probes`]; nothing is attached yet.

use std::collections::HashMap;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};

use aya::maps::Array;
use aya::programs::{Program, ProgramType, RawTracePoint};
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use aya_log::EbpfLogger;
use qtap_common::globals::{NO_OFFSET, Wanted};
use qtap_common::state::{MAP_RING, MAP_SCRATCH, MAP_SYSCALLS, SCRATCH_SLOTS};

use super::KernelError;
use super::layout::{COMPAT_CALLS, layout, system_calls};
use super::primer::Primer;
use super::standing::Ran;
use super::tables;
use super::uprobes::{Known, Link, Place, Relocated, UPROBES, Uprobes};
use crate::capture::btf::Btf;

pub(super) static OBJECT: &[u8] = include_bytes_aligned!(env!("QTAP_BPF_OBJECT"));

/// Raw-tracepoint programs, each named after its tracepoint. These follow the life of processes and are attached first, so that a process is
/// known before what it does.
pub(super) const PROCESS_LIFE: [&str; 3] = ["sched_process_fork", "sched_process_exec", "sched_process_exit"];
/// The same, for sockets.
pub(super) const SOCKETS: [&str; 3] = ["inet_sock_set_state", "tcp_destroy_sock", "sys_exit"];
/// Reports what io_uring transfers. Not loaded if the kernel has no io_uring, or one with another layout.
const URING: &str = "io_uring_complete";

/// A program that aya holds, and its name.
pub(super) type Named<'a> = (&'static str, &'a mut Program);

/// The object, loaded.
pub(super) struct Probes {
    pub(super) ebpf: Ebpf,
    pub(super) uprobes: Uprobes,
    primer: Option<Primer>,
}

/// Loads the object. `trace` turns on the probes' own debug messages.
pub(super) fn load(wanted: Wanted, ring_bytes: u32, trace: bool) -> Result<Probes, KernelError> {
    if trace {
        return load_with(wanted, ring_bytes, true, VerifierLogLevel::DEBUG | VerifierLogLevel::STATS);
    }
    match load_with(wanted, ring_bytes, false, VerifierLogLevel::DISABLE) {
        // Without a log the verifier gives no reason, and aya loses the error number: it tries again with a log buffer, which the kernel refuses.
        // With the smallest log (`STATS`), a refusal comes with its reason in a few lines.
        Err(KernelError::Load { .. }) => load_with(wanted, ring_bytes, false, VerifierLogLevel::STATS),
        loaded => loaded,
    }
}

fn load_with(
    mut wanted: Wanted,
    ring_bytes: u32,
    trace: bool,
    verifier_log: VerifierLogLevel,
) -> Result<Probes, KernelError> {
    let btf = Btf::of_kernel().map_err(KernelError::Btf)?;
    let layout = layout(&btf)?;
    let has = |helper| u32::from(is_helper_supported(ProgramType::KProbe, helper).unwrap_or(false));
    wanted.has_loop = has(BpfHelper::BPF_FUNC_loop);
    wanted.has_task_regs = has(BpfHelper::BPF_FUNC_task_pt_regs);
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| KernelError::Cpus(error))?;
    let scratch = u32::try_from(cpus).unwrap_or(u32::MAX / SCRATCH_SLOTS).saturating_mul(SCRATCH_SLOTS);
    let log_level: u8 = if trace { u8::MAX } else { 0 };
    let object = tables::for_this_kernel(OBJECT);
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(verifier_log)
        .override_global("LAYOUT", &layout, true)
        .override_global("WANTED", &wanted, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries(MAP_RING, ring_bytes)
        .map_max_entries(MAP_SCRATCH, scratch)
        .load(&object)
        .map_err(KernelError::from)?;
    fill_system_calls(&mut ebpf)?;
    let uprobes = load_programs(&mut ebpf, layout.uring_file != NO_OFFSET)?;
    let probes = Probes { ebpf, uprobes, primer: None };
    for Known { ran, verified } in probes.known() {
        tracing::debug!(name = ran.program, instructions = verified, "verified");
    }
    Ok(probes)
}

/// Loads all programs, on three threads at once: the kernel's verification of them takes most of a start.
fn load_programs(ebpf: &mut Ebpf, with_uring: bool) -> Result<Uprobes, KernelError> {
    let relocated = Relocated::new(ebpf, OBJECT);
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let mut take = |name| Ok((name, programs.remove(name).ok_or(KernelError::Object(name))?));
    let held: Vec<Named<'_>> = UPROBES.into_iter().map(&mut take).collect::<Result<_, KernelError>>()?;
    let tracepoints = PROCESS_LIFE.into_iter().chain(SOCKETS).map(&mut take);
    let tracepoints: Vec<Named<'_>> = tracepoints.collect::<Result<_, KernelError>>()?;
    let uring = if with_uring { Some(take(URING)?) } else { None };
    thread::scope(|scope| {
        let start = |name: &str| thread::Builder::new().name(name.to_owned());
        // Lent, not given: what another thread frees, the allocator keeps longer.
        let uprobes = start("load-uprobes").spawn_scoped(scope, || Uprobes::load(&relocated, held));
        let uring = start("load-io-uring").spawn_scoped(scope, || uring.map_or(Ok(()), load_one));
        tracepoints.into_iter().try_for_each(load_one)?;
        if let Err(error) = uring.map_err(KernelError::Thread).and_then(joined) {
            // Everything else is captured without it.
            tracing::warn!(reason = super::trial::words(&error), "{URING} was refused");
        }
        uprobes.map_err(KernelError::Thread).and_then(joined)
    })
}

/// What a thread returned; its panic is passed on.
fn joined<T>(thread: ScopedJoinHandle<'_, Result<T, KernelError>>) -> Result<T, KernelError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Loads one program.
pub(super) fn load_one((name, program): Named<'_>) -> Result<(), KernelError> {
    let loaded = match program {
        Program::RawTracePoint(program) => program.load(),
        Program::UProbe(program) => program.load(),
        _ => return Err(KernelError::Object(name)),
    };
    loaded.map_err(|error| KernelError::Load { name, error })
}

fn fill_system_calls(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let map = ebpf.map_mut(MAP_SYSCALLS).ok_or(KernelError::Object(MAP_SYSCALLS))?;
    let mut table: Array<_, u8> = Array::try_from(map)?;
    for (number, what) in system_calls().into_iter().chain(COMPAT_CALLS) {
        let number = u32::try_from(number).map_err(|_| KernelError::Object(MAP_SYSCALLS))?;
        table.set(number, what, 0)?;
    }
    Ok(())
}

impl Probes {
    /// How often each program has run so far, and for how long.
    pub(super) fn ran(&self) -> Vec<Ran> {
        self.known().into_iter().map(|known| known.ran).collect()
    }

    fn known(&self) -> Vec<Known> {
        let all = PROCESS_LIFE.into_iter().chain(SOCKETS).chain([URING]);
        let of_tracepoints = all.filter_map(|name| Known::of(&self.ebpf, name));
        of_tracepoints.chain(self.uprobes.known(&self.ebpf)).collect()
    }

    /// Returns a function that writes the probes' own messages, under the target `probes`, to the log each time it is called.
    pub(super) fn said(&mut self) -> Option<Box<dyn FnMut() + Send>> {
        match EbpfLogger::init(&mut self.ebpf) {
            Ok(mut logger) => Some(Box::new(move || logger.flush())),
            Err(reason) => {
                tracing::warn!(%reason, "the probes' own messages can't be read");
                None
            }
        }
    }

    /// From now on io_uring is captured too, if the kernel has its tracepoint.
    pub(super) fn watch_uring(&mut self) {
        let attached = program::<RawTracePoint>(&mut self.ebpf, URING)
            .and_then(|program| program.attach(URING).map_err(|error| KernelError::Attach { name: URING, error }));
        if let Err(reason) = attached {
            tracing::info!(%reason, "what goes through io_uring is counted at most, not seen");
        }
    }

    /// From now on the kernel is prepared for new probes whenever a program starts.
    pub(super) fn keep_ready(&mut self) {
        self.primer = self.uprobes.primer();
    }

    /// To be called when a program has started.
    pub(super) fn program_started(&self) {
        self.primer.iter().for_each(Primer::started);
    }

    /// Attaches one program at these places of the file: in the process `pid` only, or in every process that maps it. All or none.
    pub(super) fn put(
        &mut self,
        name: &'static str,
        file: &Path,
        places: &[Place],
        pid: Option<u32>,
    ) -> Result<Vec<Link>, KernelError> {
        self.uprobes.attach(&mut self.ebpf, name, file, places, pid)
    }
}

/// The program `name`, as its own type.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut Program>,
{
    let program = ebpf.program_mut(name).ok_or(KernelError::Object(name))?;
    program.try_into().map_err(|_| KernelError::Object(name))
}
