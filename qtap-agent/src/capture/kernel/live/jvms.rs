//! JVMs that processes in scope run: qtap's agent is loaded into each once, on a thread of its own, because a JVM takes its time.
//!
//! ```text
//! a process maps libjvm.so ──▶ meet ──▶ thread: jvm::load ──▶ hear ──▶ the probes listen to it
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use qtap_common::jvm::Jvm;

use super::Live;
use crate::capture::decode::LibraryName;
use crate::capture::discover::elf::Elf;
use crate::capture::discover::{maps, procfs};
use crate::capture::jvm::attach::AttachError;
use crate::capture::jvm::{self, Loaded, Mark};
use crate::capture::recording::Fact;

/// Most JVMs that have an agent at once: as many as the probes' table holds.
const AGENTS_MAX: usize = 1024;

/// How long qtap's end waits for agents that are being loaded: files lie in their JVMs' `/tmp` until then.
const ENDING: Duration = Duration::from_secs(2);

/// How loading the agent into a JVM went, and when.
#[derive(Debug)]
struct Answer {
    pid: u32,
    jvm: Jvm,
    loaded: Result<Loaded, AttachError>,
}

/// A JVM that was met.
#[derive(Debug)]
struct Met {
    /// What its messages begin with.
    mark: [u64; 2],
    /// `None`: its agent is being loaded, or could not be.
    agent: Option<Loaded>,
}

/// The JVMs that were met, by process.
#[derive(Debug)]
pub(super) struct Jvms {
    met: HashMap<u32, Met>,
    /// Threads that load agents.
    loading: Arc<AtomicUsize>,
    answers: mpsc::Receiver<Answer>,
    answer: mpsc::Sender<Answer>,
    /// Number of the library in records: one for all.
    library: u16,
}

impl Jvms {
    pub(super) fn new(library: u16) -> Jvms {
        let (answer, answers) = mpsc::channel();
        Jvms { met: HashMap::new(), loading: Arc::default(), answers, answer, library }
    }
}

impl Drop for Jvms {
    fn drop(&mut self) {
        let begun = Instant::now();
        while self.loading.load(Ordering::Acquire) > 0 && begun.elapsed() < ENDING {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Live {
    /// The library of JVMs is named in records like others.
    pub(super) fn name_jsse(&mut self) {
        let Some(jvms) = &self.jvms else { return };
        let library = LibraryName { number: u32::from(jvms.library), name: "JSSE".to_owned(), by_code: false };
        self.decoder.library(library.clone());
        self.record(&Fact::Library(library));
    }

    /// A process in scope has mapped the file at `path`: if that is a JVM, qtap's agent is loaded into it. True if it is one, and agents are asked for.
    pub(super) fn meet_jvm(&mut self, pid: u32, path: &Path) -> bool {
        let Some(jvms) = &self.jvms else { return false };
        if !is_hotspot(path) {
            return false;
        }
        let is_too_many = jvms.met.len().max(jvms.loading.load(Ordering::Acquire)) >= AGENTS_MAX;
        if is_too_many || jvms.met.contains_key(&pid) || self.is_silent(pid) {
            return true;
        }
        let mark: Mark = std::array::from_fn(|_| fastrand::u8(..));
        let (first, second) = mark.split_at(8);
        let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        let words = [word(first), word(second)];
        let jvm = Jvm { mark: words, since: u64::MAX, library: jvms.library.into(), pad: 0 };
        // Before it is loaded: its first message may come before its answer.
        let heard = self.tables.hear_jvm(pid, jvm);
        let begun = heard.map_err(|error| error.to_string()).and_then(|()| self.load_into(pid, mark, jvm));
        if let Err(error) = begun {
            tracing::warn!(pid, error, "no agent for this JVM");
            self.tables.forget_jvm(pid);
            self.standing.jvm(pid, Err(error));
        }
        true
    }

    fn load_into(&mut self, pid: u32, mark: Mark, jvm: Jvm) -> Result<(), String> {
        let Some(jvms) = &mut self.jvms else { return Ok(()) };
        let (answer, loading) = (jvms.answer.clone(), Arc::clone(&jvms.loading));
        let load = move || {
            let loaded = jvm::load(pid, mark);
            // What began later was seen from its beginning.
            let jvm = Jvm { since: procfs::now().0, ..jvm };
            // Nobody waits for it any more if qtap is ending.
            let _ = answer.send(Answer { pid, jvm, loaded });
            loading.fetch_sub(1, Ordering::Release);
        };
        jvms.loading.fetch_add(1, Ordering::Acquire);
        if let Err(error) = std::thread::Builder::new().name("qtap-jvm".to_owned()).spawn(load) {
            jvms.loading.fetch_sub(1, Ordering::Release);
            return Err(error.to_string());
        }
        jvms.met.insert(pid, Met { mark: jvm.mark, agent: None });
        Ok(())
    }

    /// The same for whatever a process has mapped.
    pub(super) fn meet_jvm_of(&mut self, pid: u32) {
        if self.jvms.is_none() {
            return;
        }
        for mapping in maps::executable_mappings(pid) {
            if mapping.path.ends_with("libjvm.so")
                && let Some(path) = maps::path_from_here(pid, &mapping)
            {
                self.meet_jvm(pid, &path);
            }
        }
    }

    /// Takes what the threads found.
    pub(super) fn hear_of_jvms(&mut self) {
        let Some(jvms) = &mut self.jvms else { return };
        while let Ok(Answer { pid, jvm, loaded }) = jvms.answers.try_recv() {
            // Another program may have this number by now.
            let Some(met) = jvms.met.get_mut(&pid).filter(|met| met.mark == jvm.mark) else { continue };
            match loaded {
                Ok(loaded) => {
                    tracing::info!(pid, "agent loaded into a JVM");
                    met.agent = Some(loaded);
                    let told = self.tables.hear_jvm(pid, jvm);
                    self.standing.jvm(pid, told.map_err(|error| error.to_string()));
                }
                Err(error) => {
                    tracing::warn!(pid, %error, "no agent for this JVM");
                    self.tables.forget_jvm(pid);
                    self.standing.jvm(pid, Err(error.to_string()));
                }
            }
        }
    }

    /// The process ended, executes another program, or is left out from now on: what was put into it goes.
    pub(super) fn forget_jvm(&mut self, pid: u32) {
        if let Some(jvms) = &mut self.jvms
            && jvms.met.remove(&pid).is_some()
        {
            self.tables.forget_jvm(pid);
        }
    }
}

fn is_hotspot(path: &Path) -> bool {
    Elf::open(path).is_ok_and(|elf| elf.soname().as_deref() == Some("libjvm.so"))
}
