//! What the agent shows of itself: plain data, filled by whoever runs it at the moment it is asked for.

use serde::Serialize;

use crate::model::host::Report;
use crate::model::loss::Tally;
use crate::model::shed::Shed;

/// The agent as it is now.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Version of qtap.
    pub version: String,
    /// True when the probes that capture needs are attached (or when nothing is to be probed: a replay).
    pub probes_ready: bool,
    /// Every probe.
    pub probes: Vec<ProbeView>,
    /// Every store.
    pub stores: Vec<StoreView>,
    /// Where what outlives the process is kept; none: this command keeps nothing.
    pub data_dir: Option<DataDirView>,
    /// Container runtimes that are asked, and how they fare.
    pub runtimes: Vec<RuntimeView>,
    /// What the host offered when the agent started; none: this command captures nothing.
    pub host: Option<Report>,
    /// Events from the source, by kind; the kinds are a closed list.
    pub events: Vec<(&'static str, u64)>,
    /// What the agent may use; none: this command has no limits.
    pub limits: Option<LimitsView>,
    /// Connections.
    pub connections: ConnectionsView,
    /// What was left out because it is qtap's own exports; none: this command captures nothing.
    pub feedback: Option<FeedbackView>,
    /// Losses of all rooms together.
    pub losses: Tally,
    /// Bytes of bodies that were read and not kept, because no level and no rule wants them.
    pub body_bytes_unwanted: u64,
    /// Rules, and how often each was the first to pass; their names are those of the file.
    pub rules: Vec<(String, u64)>,
    /// The ring; none without one.
    pub ring: Option<RingView>,
    /// The config that holds, and what became of the last attempt to exchange it; none: this command has one for all its life.
    pub config: Option<ConfigView>,
    /// The agent's process.
    pub process: OwnView,
    /// What it may do; none where that can't be read.
    pub privileges: Option<PrivilegesView>,
    /// Resident memory of the agent, in bytes.
    pub resident_bytes: u64,
    /// Processor time the agent has used, in seconds.
    pub cpu_seconds: f64,
}

impl Snapshot {
    /// What is still missing before the agent captures and exports; empty when it is ready.
    #[must_use]
    pub fn waits_for(&self) -> Vec<String> {
        let probes = (!self.probes_ready).then(|| "probes are not attached".to_owned());
        let stores = self.stores.iter().filter(|store| !store.started);
        probes.into_iter().chain(stores.map(|store| format!("store {} has not started", store.id))).collect()
    }
}

/// A container runtime that is asked.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RuntimeView {
    /// `cri`, `docker` or `containerd`.
    pub kind: &'static str,
    /// Path of its socket.
    pub socket: String,
    /// Containers that it told of.
    pub told: u64,
    /// Questions that it answered with no.
    pub not_found: u64,
    /// Questions that it did not answer.
    pub failed: u64,
    /// Why, the last time; none when it answered since.
    pub error: Option<String>,
}

/// The config.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ConfigView {
    /// Where it comes from; none: the built-in default.
    pub source: Option<String>,
    /// Unix time in nanoseconds since when what holds does.
    pub since_unix_ns: u64,
    /// True when it is looked for changes by itself.
    pub watched: bool,
    /// Attempts since the start.
    pub reloads: ReloadsView,
    /// The last attempt.
    pub last_reload: Option<ReloadView>,
    /// Unix time in nanoseconds when it was last seen that what holds is what the source says.
    #[serde(skip)]
    pub last_success_unix_ns: u64,
}

/// Attempts to exchange the config, by what became of them.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ReloadsView {
    /// Another config holds.
    pub accepted: u64,
    /// It says what held before.
    pub unchanged: u64,
    /// It was not valid, or could not be had: what held before does.
    pub refused: u64,
}

/// One attempt.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReloadView {
    /// Unix time in nanoseconds.
    pub unix_ns: u64,
    /// Who asked: `signal` or `watch`.
    pub asked_by: &'static str,
    /// `accepted`, `unchanged` or `refused`.
    pub outcome: &'static str,
    /// Why it was refused: each fault with its place, secrets hidden.
    pub faults: Vec<String>,
    /// What is worth knowing about one that was not.
    pub notes: Vec<String>,
    /// Stores that were added, changed, and are gone.
    pub stores_added: Vec<String>,
    /// See above.
    pub stores_changed: Vec<String>,
    /// See above.
    pub stores_gone: Vec<String>,
    /// Keys whose new values hold from the next start on.
    pub needs_restart: Vec<&'static str>,
}

/// The agent's process: who asks can tell it from another of the same number.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct OwnView {
    /// Its number, where it runs.
    pub pid: u32,
    /// When it was started, in clock ticks since boot, as `/proc/PID/stat` tells it.
    pub started_ticks: u64,
}

/// What the agent's process may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PrivilegesView {
    /// Its capabilities by name, those that it may have at all.
    pub capabilities: Vec<String>,
    /// True when what it starts can't have more.
    pub no_new_privs: bool,
}

/// A probe.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProbeView {
    /// Name of its program; from a closed list.
    pub name: String,
    /// True when it is attached.
    pub attached: bool,
    /// Why it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it ran, where the kernel keeps count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Time spent in it, where the kernel keeps count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The data directory.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DataDirView {
    /// Where it is.
    pub path: String,
    /// True when it is in use; false when no store needs it, or it can't be had.
    pub used: bool,
    /// Why it can't be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Queues of stores that are not in the configuration, by their folders' names.
    pub left_over: Vec<String>,
}

/// A store.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StoreView {
    /// Id, from the configuration.
    pub id: String,
    /// `stdout`, `otel`, `s3`.
    pub kind: &'static str,
    /// True once its exporter runs.
    pub started: bool,
    /// False while the last thing that happened was an error.
    pub healthy: bool,
    /// `starting`, `healthy`, `error`, `misconfigured`.
    pub state: &'static str,
    /// Unix time in nanoseconds of the last success.
    pub last_success_unix_ns: Option<u64>,
    /// The last error in words, never with payload.
    pub last_error: Option<String>,
    /// Unix time in nanoseconds of the last error.
    pub last_error_unix_ns: Option<u64>,
    /// What the store last said of something that it took.
    pub last_warning: Option<String>,
    /// Where records wait: `memory` or `disk`.
    pub queue: &'static str,
    /// Why the queue does not work as it should.
    pub queue_error: Option<String>,
    /// Records waiting.
    pub queued_records: u64,
    /// Bytes waiting.
    pub queued_bytes: u64,
    /// How long the oldest of them has waited, where that is known.
    pub oldest_seconds: Option<f64>,
    /// Records dropped: by which loss, how many, and their bytes; the losses are a closed list.
    #[serde(skip)]
    pub dropped: Vec<(&'static str, u64, u64)>,
    /// Refused records that stand in the dead-letter file.
    pub dead_lettered: u64,
    /// Requests made.
    pub sends: u64,
    /// Time they took, all together.
    pub send_seconds: f64,
    /// How many took up to so many seconds, and longer than the bound before; the last bound is infinite.
    #[serde(skip)]
    pub send_counts: Vec<(f64, u64)>,
    /// Records by outcome (`exported`, `rejected`, `dropped`, …); the outcomes are a closed list.
    pub records: Vec<(&'static str, u64)>,
}

/// Connections since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ConnectionsView {
    /// Opened, or first seen.
    pub opened: u64,
    /// Closed.
    pub closed: u64,
    /// In the table now.
    pub active: u64,
    /// Bytes that probed processes sent.
    pub bytes_sent: u64,
    /// Bytes that they received.
    pub bytes_received: u64,
    /// Bytes that were not copied out of the kernel because nobody wanted their connection.
    pub bytes_unwanted: u64,
}

/// What was left out because it is qtap's own exports, at their other end or behind it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FeedbackView {
    /// Connections with qtap, at their other end.
    pub qtap_connections: u64,
    /// Bytes that they carried.
    pub qtap_bytes: u64,
    /// Connections that receivers of qtap's exports made.
    pub store_connections: u64,
    /// Bytes that they carried.
    pub store_bytes: u64,
    /// Those receivers, as far as they are on this host.
    pub store_processes: Vec<StoreProcessView>,
}

/// What the agent may use, and what it gives up to keep to that.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LimitsView {
    /// Processors; none: no limit.
    pub max_cpu: Option<f64>,
    /// Bytes of memory; none: no limit.
    pub max_memory: Option<u64>,
    /// What is given up.
    #[serde(serialize_with = "by_name")]
    pub shedding: Shed,
    /// `cpu` or `memory`, when the last step was one up.
    pub because: Option<&'static str>,
    /// Unix time in nanoseconds of the last step, up or down.
    pub since_unix_ns: Option<u64>,
    /// How often each step was begun.
    #[serde(skip)]
    pub begun: Vec<(&'static str, u64)>,
}

fn by_name<S: serde::Serializer>(shed: &Shed, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(shed.name())
}

/// A process that receives what qtap exports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StoreProcessView {
    /// Thread-group id.
    pub pid: u32,
    /// Path of its executable; empty when it could not be read.
    pub executable: String,
}

/// The ring between kernel and agent.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RingView {
    /// Bytes written and not read yet.
    pub bytes_used: u64,
    /// How often there was no room.
    pub full: u64,
}

/// What `/processes` shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProcessesView {
    /// Processes in scope that carry a TLS implementation, or had a TLS connection.
    pub processes: Vec<ProcessView>,
    /// Files with probes.
    pub libraries: Vec<LibraryView>,
}

/// A process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProcessView {
    /// Thread-group id.
    pub pid: u32,
    /// Path of the executable, as the process sees it.
    pub executable: String,
    /// Its container: name, else id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its pod, `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// TLS implementations in its files.
    pub tls: Vec<EngineView>,
    /// What is probed of them: `attached` (all), `partly`, `none`.
    pub hooks: &'static str,
    /// TLS connections since qtap knows of it, open ones included.
    pub tls_connections: u64,
    /// Encrypted bytes of connections of which plaintext was seen; of an open connection as of its last report.
    pub seen_bytes: u64,
    /// The same of connections of which none was.
    pub unseen_bytes: u64,
    /// Why its TLS, or some of it, is not seen, in words; none: nothing is known to be missing.
    pub reason: Option<String>,
}

/// A TLS implementation in a file of a process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EngineView {
    /// Its name in records (`libssl.so.3`), else what it is (`Go crypto/tls`).
    pub name: String,
    /// Version, where the file tells.
    pub version: Option<String>,
    /// Build id of the file, hexadecimal.
    pub build_id: Option<String>,
    /// The file, as the process sees it.
    pub path: String,
    /// True when that file is deleted, or was replaced.
    pub deleted: bool,
    /// `attached`, `partly`, `refused`, `none`.
    pub hooks: &'static str,
    /// Why not all of it is probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A file with probes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LibraryView {
    /// Of functions that were found by their code alone: `on_trial`, `confirmed` (by a connection).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_code: Option<&'static str>,
    /// Its name in records.
    pub name: String,
    /// Version, where the file tells.
    pub version: Option<String>,
    /// Build id, hexadecimal.
    pub build_id: Option<String>,
    /// Where it was first found.
    pub path: String,
    /// Functions with probes, and where those stand.
    pub functions: Vec<FunctionView>,
    /// Functions whose probes were refused, and why.
    pub refused: Vec<FunctionView>,
}

/// A function.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FunctionView {
    /// Its symbol.
    pub name: &'static str,
    /// The sites of its probes, or why there are none.
    pub probes: String,
}
