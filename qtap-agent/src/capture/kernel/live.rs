//! The live source: ring records in order, with the facts that go with them, delivered as events and, if asked for, recorded.
//!
//! ```text
//! ring ──▶ decode ──▶ who is it? (people) ──▶ fact, record ──▶ recording
//!                └──▶ new code? (tls)                     └──▶ events
//! ```

mod adopt;
mod containers;
mod jvms;
mod looks;
mod reading;
mod sweep;
mod tables;
mod tried;
mod verdicts;
mod wishes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use aya::programs::RawTracePoint;
use qtap_common::ABI;
use qtap_common::record::why;
use qtap_common::state::{FileKey, Losses, SessionKey, scope};

use self::jvms::Jvms;
use self::looks::Looks;
use self::tables::Tables;
use super::feedback::Feedback;
use super::object::Probes;
use super::people::People;
use super::ring::Ring;
use super::standing::Standing;
use super::tls::{Library, Tls};
use super::unheard::Unheard;
use super::unix::UnixConns;
use super::{KernelError, Scope, Settings, Wishes, object};
use crate::capture::decode::{Decoded, Decoder, session_key, socket_inode};
use crate::capture::discover::environ::Environment;
use crate::capture::discover::known::{known_feeders, known_libraries};
use crate::capture::discover::{maps, procfs};
use crate::capture::recording::{Fact, Writer};
use crate::capture::settings::Filters;
use crate::capture::source::{Flow, Source, SourceError};
use crate::model::conn::{Channel, SessionId, Transport};
use crate::model::event::{Event, Host, Passed, Skipped};
use crate::model::shed::Shed;
use crate::model::time::KernelTime;

/// How often a tick is reported.
const TICK: Duration = Duration::from_millis(100);
/// How often the probes' tables are scanned for what no record reports.
const SWEEP: Duration = Duration::from_secs(1);
/// How often to look for ends that did not fit the ring, while there may be some. This is shorter than the time after which the end of a
/// connection is taken for that of its sessions.
const SWEEP_ENDS: Duration = Duration::from_millis(300);

/// Live capture.
pub struct Live {
    probes: Probes,
    ring: Option<Ring>,
    decoder: Decoder,
    people: People,
    /// `None`: TLS is not probed.
    tls: Option<Tls>,
    /// `None`: no agent is loaded into any.
    jvms: Option<Jvms>,
    tables: Tables,
    recorder: Option<Writer<Box<dyn Write + Send>>>,
    /// Forwards the probes' own messages to the log; `None` if they are off.
    pass_on: Option<Box<dyn FnMut() + Send>>,
    unix: UnixConns,
    filters: Filters,
    wishes: Wishes,
    shed: Shed,
    unheard: Unheard,
    standing: Standing,
    /// True if a process is in scope unless something else is said about it.
    everyone: bool,
    /// Processes that opened a connection.
    speakers: HashSet<u32>,
    /// Processes that receive what qtap exports, as far as they were reported.
    stores: BTreeMap<u32, String>,
    /// New files that are not inspected yet.
    looks: Looks,
    /// Table keys of the open sessions.
    sessions: HashMap<SessionId, SessionKey>,
    losses_told: [Losses; why::COUNT],
    /// Number of records that had not fitted the ring when ends were last looked for.
    ring_full_seen: u64,
    /// True if ends are to be looked for once more, whatever that number says.
    look_again: bool,
    /// The program that is about to run switches stacks.
    expects_fibers: bool,
    undecodable: u64,
    records: u64,
    /// Every record written before was taken.
    taken_until: KernelTime,
    last_tick: KernelTime,
    last_sweep: KernelTime,
    last_sweep_of_ends: KernelTime,
    last_sweep_of_goroutines: KernelTime,
    started: bool,
    /// The node's name in Kubernetes, until it is reported.
    node: Option<String>,
}

impl Live {
    /// Loads and attaches everything: probes on process life and sockets, then on the TLS libraries of the host and of the processes in scope.
    ///
    /// # Errors
    /// [`KernelError`] when the kernel refuses the probes, or lacks what they need.
    pub fn start(mut settings: Settings) -> Result<Live, KernelError> {
        let wanted = settings.wanted()?;
        let mut probes = object::load(wanted, settings.ring_bytes, settings.trace)?;
        let ring = Ring::new(&mut probes.ebpf)?;
        let tables = Tables::take(&mut probes.ebpf)?;
        let pass_on = if settings.trace { probes.said() } else { None };
        let recorder = match settings.recording.take() {
            Some(file) => Some(Writer::new(file, ABI).map_err(KernelError::Recording)?),
            None => None,
        };
        let (now, standing) = (procfs::now(), Standing::default());
        let mut live = Live {
            probes,
            ring: Some(ring),
            decoder: Decoder::default(),
            jvms: settings.jvms.then(|| Jvms::new(super::tls::JSSE)),
            tls: (!settings.tls.is_empty()).then(|| Tls::new(&settings, standing.clone())),
            people: People::new(std::mem::take(&mut settings.variables), &settings.runtimes)?,
            tables,
            recorder,
            pass_on,
            unix: UnixConns::default(),
            filters: std::mem::take(&mut settings.filters),
            wishes: settings.wishes,
            shed: Shed::Nothing,
            unheard: Unheard::default(),
            standing,
            everyone: settings.scope == Scope::Everyone,
            speakers: HashSet::new(),
            stores: BTreeMap::new(),
            looks: Looks::default(),
            sessions: HashMap::new(),
            losses_told: [Losses::default(); why::COUNT],
            ring_full_seen: 0,
            look_again: false,
            expects_fibers: false,
            undecodable: 0,
            records: 0,
            taken_until: KernelTime(0),
            last_tick: now,
            last_sweep: now,
            last_sweep_of_ends: now,
            last_sweep_of_goroutines: now,
            started: false,
            node: settings.node.take(),
        };
        for pid in settings.scope.pids() {
            live.tables.scope.insert(pid, scope::IN, 0)?;
        }
        // Last, because qtap itself is never captured, whatever was asked for.
        live.tables.scope.insert(std::process::id(), scope::OWN, 0)?;
        live.wish(settings.wishes)?;
        live.attach(&settings)?;
        Ok(live)
    }

    fn attach(&mut self, settings: &Settings) -> Result<(), KernelError> {
        self.attach_tracepoints(&object::PROCESS_LIFE)?;
        self.adopt_children(settings.scope.pids())?;
        self.judge_all(&settings.scope);
        self.attach_tracepoints(&object::SOCKETS)?;
        self.probes.watch_uring();
        self.tables.feedback.tell_own();
        if settings.tls.is_empty() {
            return Ok(());
        }
        self.name_jsse();
        self.probes.keep_ready();
        if let Some(tls) = &mut self.tls {
            tls.found(super::seccomp::try_return_probe(&mut self.probes));
        }
        for path in known_libraries(&[]).into_iter().chain(known_feeders(&[])) {
            self.attach_library(&path);
        }
        let looked_at = match &settings.scope {
            Scope::Listed(_) => self.tables.scope.keys().flatten().collect(),
            Scope::Everyone | Scope::Cgroups(_) => maps::processes(),
        };
        for pid in looked_at {
            for mapping in maps::executable_mappings(pid) {
                if let Some(path) = maps::path_from_here(pid, &mapping) {
                    self.attach_library_of(pid, &path);
                }
            }
            // (Who is in a control group is known once it says something.)
            if !matches!(settings.scope, Scope::Cgroups(_)) {
                self.meet_jvm_of(pid);
            }
        }
        Ok(())
    }

    fn attach_tracepoints(&mut self, names: &[&'static str]) -> Result<(), KernelError> {
        for name in names {
            let program: &mut RawTracePoint = object::program(&mut self.probes.ebpf, name)?;
            program.attach(name).map_err(|error| KernelError::Attach { name, error })?;
        }
        Ok(())
    }

    /// Adds a process, and the children it will have, to the scope.
    ///
    /// # Errors
    /// [`KernelError::Map`] when the table of processes is full.
    pub fn include(&mut self, pid: u32) -> Result<(), KernelError> {
        if self.expects_fibers {
            self.tables.uses_fibers(pid);
        }
        Ok(self.tables.scope.insert(pid, scope::IN, 0)?)
    }

    /// Probes the TLS functions of a program that is about to run. Later its first calls may be over before its probes are attached.
    pub fn expect(&mut self, program: &Path) {
        self.expects_fibers = self.attach_expected(program);
        // An interpreter's module that feeds its sessions lies below the directory it was installed in.
        let installed = program.canonicalize().ok().and_then(|file| Some(file.parent()?.parent()?.to_owned()));
        for path in known_feeders(installed.as_slice()) {
            self.attach_library(&path);
        }
    }

    /// What was left out so far because it is qtap's own exports.
    pub fn feedback(&mut self) -> Feedback {
        self.tables.feedback.read(&mut self.stores)
    }

    /// Programs that are attached to tracepoints. All of them are, or the live source would not have started.
    pub fn tracepoints() -> impl Iterator<Item = &'static str> {
        object::PROCESS_LIFE.into_iter().chain(object::SOCKETS)
    }

    /// The state of capture, for readers on other threads.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Libraries that have probes.
    pub fn libraries(&self) -> impl Iterator<Item = &Library> {
        self.tls.iter().flat_map(Tls::libraries)
    }

    fn record(&mut self, fact: &Fact) {
        if let Some(recorder) = &mut self.recorder
            && let Err(reason) = recorder.fact(fact)
        {
            tracing::error!(%reason, "the recording ends here");
            self.recorder = None;
        }
    }

    /// Records a fact and reports it.
    fn tell(&mut self, fact: Fact, out: &mut Vec<Event>) {
        self.record(&fact);
        out.extend(fact.into_event());
    }

    /// Handles one record of the ring.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let decoded = match self.decoder.decode(bytes) {
            Ok(decoded) => decoded,
            Err(reason) => {
                tracing::debug!(%reason, "record not decoded");
                self.undecodable += 1;
                return;
            }
        };
        if let Decoded::Event(event) = &decoded
            && self.unheard.hides(event)
        {
            return;
        }
        if let Decoded::Event(event) = &decoded
            && let Some(fact) = pid_of(event).and_then(|pid| self.people.meet(pid))
        {
            self.met(fact, &Environment::default(), out);
        }
        // Once more: the verdict on its process may be new.
        if let Decoded::Event(event) = &decoded
            && self.unheard.hides(event)
        {
            return;
        }
        // An environment holds secrets; what was made of it is recorded as a fact.
        if !matches!(decoded, Decoded::Exec(_))
            && let Some(recorder) = &mut self.recorder
            && let Err(reason) = recorder.kernel(bytes)
        {
            tracing::error!(%reason, "the recording ends here");
            self.recorder = None;
        }
        match decoded {
            Decoded::Event(event) => {
                self.remember(&event, bytes);
                out.push(event);
            }
            Decoded::Exec(executed) => {
                self.probes.program_started();
                let (pid, environment) = (executed.pid, executed.environment.clone());
                self.forget_jvm(pid);
                let fact = self.people.executed(executed);
                self.met(fact, &environment, out);
                self.look_at_program(pid);
            }
            Decoded::Forked { parent, child } => {
                self.standing.forked(parent, child);
                let fact = self.people.forked(parent, child);
                if let Some(fact) = fact.filter(|_| !self.unheard.forked(parent, child)) {
                    self.tell(fact, out);
                }
            }
            Decoded::Exited { pid, time } => self.exited(pid, time, out),
            Decoded::Mapped { pid, dev, ino } => self.look_at_mapping(pid, FileKey { dev, ino }),
        }
    }

    /// Remembers what is needed to report an end that no record reports.
    fn remember(&mut self, event: &Event, bytes: &[u8]) {
        if let Event::Opened(opened) = event
            && self.speakers.insert(opened.pid)
        {
            self.meet_jvm_of(opened.pid);
        }
        match event {
            Event::Opened(opened) if opened.transport == Transport::Unix => {
                if let Some(inode) = socket_inode(bytes) {
                    self.unix.opened(opened.conn, inode, opened.pid, opened.time);
                }
            }
            Event::Passed(Passed { channel: Channel::Socket(conn), pid, time, .. })
            | Event::Skipped(Skipped { channel: Channel::Socket(conn), pid, time, .. }) => {
                self.unix.passed(*conn, *pid, *time);
            }
            Event::Closed(counts) => self.unix.closed(counts.conn),
            Event::SessionOpened(opened) => {
                if let Some((ssl, tgid)) = session_key(bytes) {
                    self.sessions.insert(opened.session, SessionKey { ssl, tgid, ended: 0 });
                }
            }
            Event::SessionJoined(joined) => {
                self.sessions.remove(&joined.part);
            }
            Event::SessionClosed(counts) => {
                self.sessions.remove(&counts.session);
            }
            _ => {}
        }
    }

    fn tick(&mut self, out: &mut Vec<Event>) {
        let now = procfs::now();
        self.tell_containers(now, out);
        self.hear_of_jvms();
        if now.since(self.last_sweep_of_ends) >= SWEEP_ENDS {
            self.last_sweep_of_ends = now;
            self.sweep_ends(now, out);
        }
        if now.since(self.last_sweep) >= SWEEP {
            self.last_sweep = now;
            self.sweep(now, out);
        }
        if now.since(self.last_tick) >= TICK {
            self.last_tick = now;
            self.tell(Fact::Tick(now), out);
        }
    }

    /// Flushes the recording.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn flush(&mut self) -> Result<(), KernelError> {
        match &mut self.recorder {
            Some(recorder) => recorder.flush().map_err(KernelError::Recording),
            None => Ok(()),
        }
    }
}

impl Source for Live {
    fn poll(&mut self, timeout: Duration, out: &mut Vec<Event>) -> Result<Flow, SourceError> {
        if !self.started {
            self.started = true;
            let host = Host { node: self.node.take(), ..procfs::host() };
            self.tell(Fact::Started(host), out);
        }
        let before = out.len();
        let count = self.drain(out);
        self.pass_on.iter_mut().for_each(|pass_on| pass_on());
        self.tick(out);
        if !self.look()
            && count == 0
            && out.len() == before
            && let Some(ring) = &mut self.ring
        {
            ring.wait(timeout.min(TICK));
        }
        Ok(Flow::Open)
    }

    fn leave_alone(&mut self, channels: &[Channel]) {
        self.tables.leave_alone(channels);
    }
}

impl Scope {
    /// The listed processes.
    fn pids(&self) -> &[u32] {
        match self {
            Scope::Listed(pids) => pids,
            Scope::Everyone | Scope::Cgroups(_) => &[],
        }
    }
}

/// The process an event is about.
fn pid_of(event: &Event) -> Option<u32> {
    match event {
        Event::Opened(opened) => Some(opened.pid),
        Event::Passed(passed) => Some(passed.pid),
        Event::Skipped(skipped) => Some(skipped.pid),
        Event::Datagram(datagram) => Some(datagram.pid),
        Event::SessionOpened(opened) => Some(opened.pid),
        Event::SessionHello(hello) => Some(hello.pid),
        _ => None,
    }
}
