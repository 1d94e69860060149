//! Probes on TLS libraries: attached once per file, for every process that maps it.
//!
//! In: files that may contain TLS functions. Out: attached probes and, per file, what was attached and what was not. A probe that can't be
//! attached is reported, and never ends capture.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qtap_common::state::{Cookie, call};

use super::object::Probes;
use super::probed::{Probed, ProbedFiles, files_in_use};
use super::programs::{BEGINS, OWN_REGISTERS, beginning_of, cookie, programs_of};
use super::standing::Standing;
use super::uprobes::{Link, Place};
use super::{KernelError, Settings};
use crate::capture::discover::call::Family;
use crate::capture::discover::elf::{Elf, FileId, Stamp};
use crate::capture::discover::feeder::{self, Feeder, OWN_NAMES};
use crate::capture::discover::plan::{self, Hook};
use crate::capture::discover::procfs;
use crate::capture::discover::stacks;
use crate::capture::host::{self, Tried};
use crate::capture::sites::ExitSites;
use crate::model::time::KernelTime;

/// Most files that can have probes at once: records have 16 bits for the number of a library.
const FILES_MAX: usize = u16::MAX as usize - 1;
/// Most files that are remembered as having no TLS functions.
const REFUSED_MAX: usize = 65_536;

/// Number of Java's own TLS, which is in no file.
pub(super) const JSSE: u16 = 1;

/// A file with probes.
#[derive(Debug, Clone)]
pub struct Library {
    /// Its number in the probes' records.
    pub number: u16,
    /// The family of its interface.
    pub family: Family,
    /// Name in records, e.g. `libssl.so.3`.
    pub name: String,
    /// Its version, if the file says it.
    pub version: Option<String>,
    /// Its build id in hexadecimal, if it has one.
    pub build_id: Option<String>,
    /// True if its functions were identified by their code alone.
    pub by_code: bool,
    /// Where it was found.
    pub path: std::path::PathBuf,
    /// Functions with probes: symbol and sites.
    pub hooked: Vec<(&'static str, String)>,
    /// Functions whose probes were refused: symbol and reason.
    pub refused: Vec<(&'static str, String)>,
    /// Some of its functions have return probes.
    pub has_return_probes: bool,
}

/// All files with probes.
#[derive(Debug, Default)]
pub(super) struct Tls {
    probed: ProbedFiles,
    /// The number of the last library.
    number: u16,
    standing: Standing,
    families: Vec<Family>,
    /// Files that have no TLS functions.
    refused: HashMap<FileId, Stamp>,
    /// Use function entry and return, whatever the code looks like: chosen sites are compared with these.
    plain: bool,
    /// Return probes are allowed.
    may_probe_returns: bool,
    returns: Returns,
    /// Files without return probes, because a program that uses them switches stacks.
    spared: HashSet<FileId>,
    /// Programs that were examined for that.
    examined: HashMap<FileId, (Stamp, bool)>,
    /// How long probes stay in a file that nobody uses.
    release_after: Duration,
    /// When the files in use were last determined.
    last_look: KernelTime,
    /// qtap's own program. It is never captured, so that probes would only slow it down.
    own: Option<FileId>,
    tried: (Tried, host::Returns),
}

/// How a function's return is seen if no better site was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Returns {
    /// By a return probe.
    #[default]
    Probed,
    /// At each of its `ret` instructions: return probes can kill here (see [`super::seccomp`]), or are not wanted.
    Instructions,
}

impl Tls {
    /// Nothing is attached yet.
    pub(super) fn new(settings: &Settings, standing: Standing) -> Tls {
        let mut tls = Tls::default();
        tls.number = JSSE;
        (tls.families, tls.plain, tls.standing) = (settings.tls.clone(), settings.plain_sites, standing);
        (tls.release_after, tls.may_probe_returns) = (settings.release_after, settings.return_probes);
        tls.own = Elf::open(Path::new("/proc/self/exe")).ok().map(|elf| elf.id());
        tls
    }

    /// Takes the result of trying probes on functions: return probes are used only where they are safe, and allowed.
    pub(super) fn found(&mut self, tried: (Tried, host::Returns)) {
        let may = self.may_probe_returns && tried.1 == host::Returns::Safe;
        self.returns = if may { Returns::Probed } else { Returns::Instructions };
        self.tried = tried;
    }

    /// That result.
    pub(super) fn tried(&self) -> (Tried, host::Returns) {
        self.tried.clone()
    }

    /// Files with probes.
    pub(super) fn libraries(&self) -> impl Iterator<Item = &Library> {
        self.probed.libraries().map(Arc::as_ref)
    }

    /// True when the file has probes on its rustls.
    pub(super) fn has_rustls(&self, elf: &Elf) -> bool {
        let library = self.probed.get(elf.id()).and_then(|probed| probed.library.as_deref());
        library.is_some_and(|library| library.family == Family::Rustls)
    }

    /// Attaches probes to the TLS functions of a file, if it has any and has no probes yet. Returns the library if it is new. `path` is its name, of which
    /// nothing is read.
    pub(super) fn attach(&mut self, probes: &mut Probes, elf: &Elf, path: &Path) -> Option<Arc<Library>> {
        let id = elf.id();
        if self.own == Some(id) {
            return None;
        }
        let refused = self.refused.get(&id).is_some_and(|stamp| *stamp == elf.stamp());
        if refused || self.probed.get(id).is_some() || self.probed.len() >= FILES_MAX {
            return None;
        }
        if let Some(probed) = elf.below().and_then(|below| self.probed.join(id, &below)) {
            if let Some(library) = &probed.library {
                self.standing.attached(id, Arc::clone(library));
            }
            return None;
        }
        let plan = match plan::plan_of(elf, path) {
            Ok(plan) if !self.families.contains(&plan.family) => {
                tracing::debug!(path = %path.display(), "not probed: --tls-probes");
                return None;
            }
            Ok(plan) if self.plain => plan.plain(elf),
            Ok(plan) => plan,
            Err(reason) => {
                tracing::trace!(path = %path.display(), %reason, "no probes");
                if self.refused.len() >= REFUSED_MAX {
                    // Most of them are gone by now; the others are inspected once more.
                    self.refused.clear();
                }
                self.attach_feeder(probes, elf, path);
                return None;
            }
        };
        let mut library = Library {
            number: self.next_number(),
            family: plan.family,
            name: plan.library,
            version: plan.version,
            build_id: plan.build_id,
            by_code: plan.by_code,
            path: path.to_owned(),
            hooked: Vec::new(),
            refused: Vec::new(),
            has_return_probes: false,
        };
        let lasting = elf.lasting_path();
        let returns = if self.spared.contains(&id) { Returns::Instructions } else { self.returns };
        let links = attach(probes, &lasting, &plan.hooks, &mut library, returns);
        tracing::info!(path = %path.display(), library = library.name, version = library.version.as_deref().unwrap_or("?"), hooked = library.hooked.len(),
            refused = library.refused.len(), "TLS library attached");
        let library = Arc::new(library);
        self.standing.attached(id, Arc::clone(&library));
        let mut probed = Probed::new(elf, Some(Arc::clone(&library)), links, procfs::now());
        // If functions were refused, the next file that shows the same underlying file is tried anew.
        probed.below.take_if(|_| !library.refused.is_empty());
        self.probed.insert(probed);
        Some(library)
    }

    /// True when the program is one that switches stacks: return probes could kill it.
    pub(super) fn switches_stacks(&mut self, program: &Elf) -> bool {
        let (id, stamp) = (program.id(), program.stamp());
        if let Some((_, known)) = self.examined.get(&id).filter(|(known, _)| *known == stamp) {
            return *known;
        }
        if self.examined.len() >= REFUSED_MAX {
            self.examined.clear();
        }
        let switches = stacks::switches(program);
        self.examined.insert(id, (stamp, switches));
        switches
    }

    /// From now on a file has no return probes. If it has some, it loses all its probes, and is to be attached anew.
    pub(super) fn spare(&mut self, elf: &Elf, path: &Path) {
        if self.spared.len() >= REFUSED_MAX {
            self.spared.clear();
        }
        if !self.spared.insert(elf.id()) {
            return;
        }
        if let Some(below) = elf.below() {
            self.probed.join(elf.id(), &below);
        }
        let has_some = |probed: &Probed| probed.library.as_ref().is_some_and(|library| library.has_return_probes);
        let Some(probed) = self.probed.take_if(elf.id(), has_some) else { return };
        tracing::warn!(path = %path.display(), "used by a program that switches stacks: probed anew, without return probes");
        self.standing.detached(&probed.ids);
        self.spared.extend(&probed.ids);
    }

    /// From time to time, releases the files that nobody has used for long, except those on the host's own file system. Returns their ids.
    pub(super) fn let_go(&mut self, now: KernelTime) -> HashSet<FileId> {
        if now.since(self.last_look) < self.release_after / 2 {
            return HashSet::new();
        }
        self.last_look = now;
        let mut gone = HashSet::new();
        let mut links = Vec::new();
        for probed in self.probed.take_unused(now, self.release_after, files_in_use) {
            let name = probed.library.as_ref().map(|library| library.name.as_str());
            tracing::info!(library = name, links = probed.links.len(), "not used any more: probes detached");
            self.standing.detached(&probed.ids);
            gone.extend(probed.ids);
            links.extend(probed.links);
        }
        if !links.is_empty() {
            // Detaching waits until every CPU has left the probes, and nobody needs to wait for that. If no thread can be started, qtap waits.
            let _ = std::thread::Builder::new().spawn(move || drop(links));
        }
        gone
    }

    /// A number that no library has. Numbers are reused as late as possible, so that records still on their way get the right name.
    fn next_number(&mut self) -> u16 {
        let taken: HashSet<u16> = self.probed.libraries().map(|library| library.number).collect();
        loop {
            self.number = self.number.checked_add(1).unwrap_or(JSSE + 1);
            if !taken.contains(&self.number) {
                return self.number;
            }
        }
    }
}

impl Tls {
    /// Attaches probes to what a file without a TLS library of its own does to feed the sessions of another one, if it does.
    fn attach_feeder(&mut self, probes: &mut Probes, elf: &Elf, path: &Path) {
        let feeder = if self.families.contains(&Family::OpenSsl) { feeder::feeder(elf) } else { None };
        let Some(feeder) = feeder else {
            self.refused.insert(elf.id(), elf.stamp());
            return;
        };
        let lasting = elf.lasting_path();
        let mut links = Vec::new();
        for (function, wanted) in probes_of_feeder(&feeder) {
            match put(probes, &lasting, &wanted) {
                Ok(attached) => links.extend(attached),
                Err(reason) => {
                    tracing::warn!(path = %path.display(), function, %reason, "not probed: sessions fed by it have no addresses");
                }
            }
        }
        self.probed.insert(Probed::new(elf, None, links, procfs::now()));
        tracing::info!(path = %path.display(), "feeds TLS sessions from memory: attached");
    }
}

/// A program and its place.
#[derive(Debug, Clone, Copy)]
struct Probe {
    program: &'static str,
    place: Place,
    way_in: bool,
}

/// The probes for a file that feeds sessions from memory, by function.
fn probes_of_feeder(feeder: &Feeder) -> Vec<(&str, Vec<Probe>)> {
    let own_registers = Cookie::new(call::BIO, 0, OWN_REGISTERS, 0);
    // The program's second argument is the function's third.
    let mut registers = OWN_REGISTERS;
    registers.swap(1, 2);
    let third = |what| Cookie::new(what, 0, registers, 0);
    let probe = |program, file_offset, cookie| Probe { program, place: Place { file_offset, cookie }, way_in: true };
    match feeder {
        Feeder::Library { names, writes, pairs } => {
            let names = names.iter().map(|called| ("tls_set_bio", called));
            let of_each = names.chain([("tls_bio_write", writes)]).map(|(program, called)| {
                let probes = called.places.iter().map(|place| probe(program, *place, own_registers));
                (called.name.as_str(), probes.collect())
            });
            let of_pairs = pairs.iter().map(|called| {
                let probes = called.places.iter().map(|place| probe("tls_set_bio", *place, third(call::BIO_PAIR)));
                (called.name.as_str(), probes.collect())
            });
            of_each.chain(of_pairs).collect()
        }
        Feeder::Own { names, writes } => {
            let of_names = names.iter().map(|called| {
                let second = Cookie::new(call::OWN_BIO, 0, OWN_REGISTERS, 0);
                let cookie = if called.name == OWN_NAMES[0] { third(call::OWN_BIO) } else { second };
                let probes = called.places.iter().map(|place| probe("tls_set_bio", *place, cookie));
                (called.name.as_str(), probes.collect())
            });
            let of_writes = writes.iter().map(|hook| {
                let entry = &hook.sites.entry;
                let cookie = cookie(call::BIO, 0, hook.call, entry);
                (hook.symbol.name.as_str(), vec![probe("tls_bio_write", entry.file_offset, cookie)])
            });
            of_names.chain(of_writes).collect()
        }
    }
}

/// The probes for one function: on the way in and, if the result is wanted, on the way out.
fn probes_of(hook: &Hook, library: u16, returns: Returns) -> Result<Vec<Probe>, KernelError> {
    let Some((enter, what)) = programs_of(hook.call) else { return Ok(Vec::new()) };
    let entry = &hook.sites.entry;
    let cookie = cookie(what, library, hook.call, entry);
    let (leave, returned) = match hook.call.family() {
        Family::GoTls => ("go_exit", "tls_return"),
        Family::Rustls => ("rustls_exit", "rustls_return"),
        Family::OpenSsl | Family::GnuTls | Family::Nss => ("tls_exit", "tls_return"),
    };
    let at = |program, file_offset| Probe { program, place: Place { file_offset, cookie }, way_in: false };
    let inside = |offset: &u64| at(leave, hook.symbol.file_offset + offset);
    // At a `ret` the stack pointer is what it was at function entry.
    let at_ret = |offset: &u64| {
        let mut probe = inside(offset);
        probe.place.cookie = cookie.with_depth(0);
        probe
    };
    let mut probes: Vec<Probe> = match &hook.sites.exit {
        Some(ExitSites::Emulated(offsets)) => offsets.iter().map(inside).collect(),
        Some(ExitSites::Rets(offsets)) => offsets.iter().map(at_ret).collect(),
        Some(ExitSites::Behind(offset)) => vec![inside(offset)],
        Some(ExitSites::Unseen(_)) => {
            let begins =
                beginning_of(hook.call).map(|program| Probe { way_in: true, ..at(program, entry.file_offset) });
            return Ok(begins.into_iter().collect());
        }
        Some(ExitSites::Return { rets, .. }) => match returns {
            Returns::Probed => vec![at(returned, entry.file_offset)],
            Returns::Instructions if rets.is_empty() => {
                let program = beginning_of(hook.call).ok_or(KernelError::NoWayOut)?;
                return Ok(vec![Probe { way_in: true, ..at(program, entry.file_offset) }]);
            }
            Returns::Instructions => rets.iter().map(at_ret).collect(),
        },
        None => Vec::new(),
    };
    probes.push(Probe { way_in: true, ..at(enter, entry.file_offset) });
    Ok(probes)
}

/// Attaches the functions of one file: all together or, if one of them is refused, each by itself. `library` notes which were attached.
fn attach(probes: &mut Probes, path: &Path, hooks: &[Hook], library: &mut Library, returns: Returns) -> Vec<Link> {
    let wanted: Vec<_> = hooks.iter().map(|hook| (hook, probes_of(hook, library.number, returns))).collect();
    let all: Vec<Probe> = wanted.iter().filter_map(|(_, of_hook)| of_hook.as_ref().ok()).flatten().copied().collect();
    library.has_return_probes = all.iter().any(|probe| probe.program.ends_with("_return"));
    let together = put(probes, path, &all);
    if let Err(reason) = &together {
        tracing::debug!(path = %path.display(), %reason, "not attached together");
    }
    let apart = together.is_err();
    let mut links = together.unwrap_or_default();
    for (hook, of_hook) in wanted {
        let begins_only = of_hook.as_ref().is_ok_and(|of_hook| of_hook.iter().any(|probe| probe.program == BEGINS));
        let sites = if begins_only { hook.sites.of_entry() } else { hook.sites.to_string() };
        let attached = of_hook.and_then(|of_hook| if apart { put(probes, path, &of_hook) } else { Ok(Vec::new()) });
        match attached {
            Ok(of_hook) => {
                links.extend(of_hook);
                library.hooked.push((hook.call.symbol(), sites));
            }
            Err(reason) => library.refused.push((hook.call.symbol(), reason.to_string())),
        }
    }
    links
}

/// Attaches probes with as few links as possible. Ways out come first: an entry whose return is not seen would leave a call in progress. All or none.
fn put(probes: &mut Probes, path: &Path, wanted: &[Probe]) -> Result<Vec<Link>, KernelError> {
    let mut programs: BTreeMap<(bool, &'static str), Vec<Place>> = BTreeMap::new();
    for probe in wanted {
        programs.entry((probe.way_in, probe.program)).or_default().push(probe.place);
    }
    let mut links = Vec::new();
    for ((_, name), places) in programs {
        links.extend(probes.put(name, path, &places, None)?);
    }
    Ok(links)
}

/// A child process holds the probes' descriptors when qtap drops its own, so that dropping them is quick.
impl Drop for Tls {
    fn drop(&mut self) {
        if self.probed.has_links() {
            super::holder::hand_over();
        }
    }
}
