//! `/processes`, and `qtap processes`: for each process the TLS libraries in its files, which of them are probed, which traffic was not seen, and why.
//!
//! In: the files with probes, the processes left out, the tap's traffic data, and `/proc` at the time of the request. Out: a view. It costs
//! nothing until it is requested.

mod ask;
mod reason;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use self::ask::processes;

use super::shared::Shared;
use super::traffic::Traffic;
use crate::admin::view::{EngineView, FunctionView, LibraryView, ProcessView, ProcessesView};
use crate::capture::discover::call::Family;
use crate::capture::discover::elf::FileId;
use crate::capture::discover::engine::{Engine, Engines, Found};
use crate::capture::discover::maps::{self, Mapping};
use crate::capture::discover::procfs;
use crate::capture::kernel::Library;
use crate::capture::kernel::standing::Standing;
use crate::cli::ScopeArgs;

/// Maximum number of processes shown.
const SHOWN: usize = 4096;

/// No connection has confirmed the library yet.
const ON_TRIAL: &str = "on_trial";

/// The sources of the view.
pub(super) struct Look {
    shared: Shared,
    standing: Standing,
    scope: ScopeArgs,
    engines: Mutex<Engines>,
}

impl Look {
    pub(super) fn new(shared: Shared, standing: Standing, scope: &ScopeArgs) -> Look {
        Look { shared, standing, scope: scope.clone(), engines: Mutex::default() }
    }

    /// The current view.
    pub(super) fn view(&self) -> ProcessesView {
        let libraries = self.standing.libraries();
        let (traffics, confirmed) = {
            let seen = self.shared.get();
            (seen.traffics.by_process(), seen.confirmed.clone())
        };
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        let spoke: HashSet<u32> = traffics.keys().copied().collect();
        let mut processes = Vec::new();
        for pid in in_scope(&self.scope, &spoke) {
            let Some(executable) = procfs::executable(pid) else { continue };
            let traffic = traffics.get(&pid).cloned().unwrap_or_default();
            let mut tls = tls_of(pid, &libraries, &confirmed, &mut engines);
            if let Some(loaded) = self.standing.agent_in(pid) {
                of_jvm(&mut tls, &loaded);
            }
            if procfs::executable(pid).is_none() {
                // The process exited while its files were inspected: the result is incomplete.
                continue;
            }
            if processes.len() < SHOWN && (!tls.is_empty() || traffic.connections > 0 || traffic.unbound) {
                let left_out = self.standing.left_out(pid);
                processes.push(process(pid, executable, tls, &traffic, left_out.map(reason::of_left_out)));
            }
        }
        // On overlayfs one file can have several ids: show each library once.
        let once: BTreeMap<u16, &Arc<Library>> = libraries.values().map(|library| (library.number, library)).collect();
        ProcessesView {
            processes,
            libraries: once.into_values().map(|library| of_library(library, &confirmed)).collect(),
        }
    }
}

fn process(
    pid: u32,
    executable: String,
    tls: Vec<EngineView>,
    traffic: &Traffic,
    left_out: Option<&'static str>,
) -> ProcessView {
    let known = traffic.process.as_deref();
    let container = known.and_then(|process| process.container.as_deref());
    let pod = known.and_then(|process| process.pod.as_deref());
    ProcessView {
        pid,
        executable,
        container: container.map(|container| container.name.clone().unwrap_or_else(|| container.id.clone())),
        pod: pod.map(|pod| format!("{}/{}", pod.namespace, pod.name)),
        hooks: reason::hooks(&tls),
        reason: left_out.map(ToOwned::to_owned).or_else(|| reason::of_process(&tls, traffic)),
        tls,
        tls_connections: traffic.connections,
        seen_bytes: traffic.seen_bytes,
        unseen_bytes: traffic.unseen_bytes,
    }
}

/// The TLS implementations in the files that a process executes or maps.
fn tls_of(
    pid: u32,
    libraries: &BTreeMap<FileId, Arc<Library>>,
    confirmed: &BTreeSet<u32>,
    engines: &mut Engines,
) -> Vec<EngineView> {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let mut found = Vec::new();
    for mapping in maps::executable_mappings(pid) {
        let Some(path) = maps::path_from_here(pid, &mapping) else { continue };
        // Stacked file systems show another device in the memory map than the one by which the file is known.
        let id = maps::id_of(&path).unwrap_or(mapping.id);
        if let Some(library) = libraries.get(&id) {
            found.push(of_attached(library, &mapping, confirmed));
        } else if let Some(engine) = engines.of_file(&path, &mapping.path) {
            // A library is of 32 bits because its program is: show only the program.
            if engine.engine != Engine::Bits32 || program.starts_with(&mapping.path) {
                found.push(of_engine(&engine, &mapping));
            }
        }
    }
    found
}

fn of_attached(library: &Library, mapping: &Mapping, confirmed: &BTreeSet<u32>) -> EngineView {
    let refused = library.refused.len();
    let hooks = match (library.hooked.is_empty(), refused) {
        (true, _) => "refused",
        (false, 0) => "attached",
        (false, _) => "partly",
    };
    let all = library.hooked.len() + refused;
    let first = library.refused.first();
    let refusal =
        first.map(|(symbol, why)| format!("{refused} of {all} functions could not be probed; {symbol}: {why}"));
    let on_trial = (trial(library, confirmed) == Some(ON_TRIAL)).then(|| reason::ON_TRIAL.to_owned());
    EngineView {
        name: library.name.clone(),
        version: library.version.clone(),
        build_id: library.build_id.clone(),
        path: mapping.path.to_string_lossy().into_owned(),
        deleted: mapping.deleted,
        hooks,
        reason: refusal.or(on_trial),
    }
}

fn of_engine(found: &Found, mapping: &Mapping) -> EngineView {
    let file_name = || mapping.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = match found.engine {
        // Implementations linked into a program do not have the program's name.
        Engine::Probed(Family::GoTls) => "crypto/tls".to_owned(),
        Engine::Probed(Family::Rustls) => "rustls".to_owned(),
        Engine::Probed(_) => file_name().unwrap_or_default(),
        engine => engine.name().to_owned(),
    };
    EngineView {
        name,
        version: found.version.clone(),
        build_id: found.build_id.clone(),
        path: mapping.path.to_string_lossy().into_owned(),
        deleted: mapping.deleted,
        hooks: "none",
        reason: Some(reason::of_engine(found, mapping.deleted)),
    }
}

/// A JVM has no probes: qtap's agent is in it, or could not be loaded.
fn of_jvm(tls: &mut [EngineView], loaded: &Result<(), String>) {
    for jvm in tls.iter_mut().filter(|engine| engine.name == Engine::Java.name()) {
        match loaded {
            Ok(()) => (jvm.hooks, jvm.reason) = ("attached", None),
            Err(why) => (jvm.hooks, jvm.reason) = ("refused", Some(format!("qtap's agent was not loaded: {why}"))),
        }
    }
}

/// The state of functions found by their code alone.
fn trial(library: &Library, confirmed: &BTreeSet<u32>) -> Option<&'static str> {
    let is_confirmed = confirmed.contains(&u32::from(library.number));
    library.by_code.then_some(if is_confirmed { "confirmed" } else { ON_TRIAL })
}

fn of_library(library: &Library, confirmed: &BTreeSet<u32>) -> LibraryView {
    let functions = |list: &[(&'static str, String)]| {
        list.iter().map(|(name, probes)| FunctionView { name, probes: probes.clone() }).collect()
    };
    LibraryView {
        by_code: trial(library, confirmed),
        name: library.name.clone(),
        version: library.version.clone(),
        build_id: library.build_id.clone(),
        path: library.path.display().to_string(),
        functions: functions(&library.hooked),
        refused: functions(&library.refused),
    }
}

/// The processes to show: those in scope by the command line, and those with TLS traffic, which may have left the scope since.
fn in_scope(scope: &ScopeArgs, spoke: &HashSet<u32>) -> Vec<u32> {
    let own = std::process::id();
    let all = maps::processes();
    let inside: HashSet<u32> = if !scope.cgroup.is_empty() {
        all.iter().copied().filter(|pid| scope.cgroup.iter().any(|group| is_in_cgroup(*pid, group))).collect()
    } else if scope.pid.is_empty() {
        all.iter().copied().collect()
    } else {
        with_children(&scope.pid, &all)
    };
    all.into_iter().filter(|pid| *pid != own && (inside.contains(pid) || spoke.contains(pid))).collect()
}

/// The given processes and their descendants.
fn with_children(pids: &[u32], all: &[u32]) -> HashSet<u32> {
    let parents: Vec<(u32, u32)> = all.iter().filter_map(|pid| Some((*pid, procfs::parent(*pid)?))).collect();
    let mut inside: HashSet<u32> = pids.iter().copied().collect();
    loop {
        let before = inside.len();
        let children: Vec<u32> =
            parents.iter().filter(|(_, parent)| inside.contains(parent)).map(|(pid, _)| *pid).collect();
        inside.extend(children);
        if inside.len() == before {
            return inside;
        }
    }
}

/// True if the process is in that version 2 control group, or below it.
fn is_in_cgroup(pid: u32, group: &Path) -> bool {
    let Ok(told) = std::fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
    let Some(path) = told.lines().find_map(|line| line.strip_prefix("0::")) else { return false };
    let path = PathBuf::from(path);
    let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let below = mounts.iter().find_map(|mount| group.strip_prefix(mount).ok()).unwrap_or(group);
    path.strip_prefix("/").unwrap_or(&path).starts_with(below.strip_prefix("/").unwrap_or(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(hooked: usize, refused: &[&'static str]) -> Library {
        Library {
            family: Family::OpenSsl,
            number: 1,
            name: "libssl.so.3".to_owned(),
            version: None,
            build_id: None,
            by_code: false,
            path: PathBuf::new(),
            hooked: vec![("SSL_read", String::new()); hooked],
            refused: refused.iter().map(|symbol| (*symbol, "EPERM".to_owned())).collect(),
            has_return_probes: false,
        }
    }

    fn mapping() -> Mapping {
        Mapping { id: FileId { dev: 1, ino: 2 }, path: PathBuf::from("/l.so"), deleted: false, start: 0, end: 1 }
    }

    #[test]
    fn a_library_counts_as_attached_only_when_all_of_it_is() {
        assert_eq!(of_attached(&library(3, &[]), &mapping(), &BTreeSet::new()).hooks, "attached");
        let partly = of_attached(&library(1, &["SSL_write", "SSL_free"]), &mapping(), &BTreeSet::new());
        assert_eq!(partly.hooks, "partly");
        assert_eq!(partly.reason.as_deref(), Some("2 of 3 functions could not be probed; SSL_write: EPERM"));
        assert_eq!(of_attached(&library(0, &["SSL_read"]), &mapping(), &BTreeSet::new()).hooks, "refused");
    }

    #[test]
    fn what_was_found_by_its_code_is_on_trial_until_it_is_confirmed() {
        let library = Library { by_code: true, ..library(3, &[]) };
        let (nothing, confirmed) = (BTreeSet::new(), BTreeSet::from([1]));
        let view = of_attached(&library, &mapping(), &nothing);
        assert_eq!((view.hooks, view.reason.as_deref()), ("attached", Some(reason::ON_TRIAL)));
        assert_eq!(of_attached(&library, &mapping(), &confirmed).reason, None);
        let told = |confirmed| of_library(&library, confirmed).by_code;
        assert_eq!([told(&nothing), told(&confirmed)], [Some("on_trial"), Some("confirmed")]);
    }

    #[test]
    fn scope_has_its_children_and_who_spoke() {
        let own = std::process::id();
        let parent = procfs::parent(own).unwrap_or_default();
        assert!(with_children(&[parent], &maps::processes()).contains(&own));
        let scope = ScopeArgs { pid: vec![parent], cgroup: Vec::new() };
        let seen = in_scope(&scope, &HashSet::from([1]));
        assert!(seen.contains(&parent) && seen.contains(&1) && !seen.contains(&own), "{seen:?}");
        let nowhere = ScopeArgs { pid: Vec::new(), cgroup: vec![PathBuf::from("/sys/fs/cgroup/no/such")] };
        assert!(in_scope(&nowhere, &HashSet::new()).is_empty());
    }
}
