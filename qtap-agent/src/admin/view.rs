//! The data that the agent shows about itself: plain data that the caller fills in for each request.

use serde::Serialize;

use crate::model::host::Report;
use crate::model::loss::Tally;
use crate::model::shed::Shed;

/// The current state of the agent.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Version of qtap.
    pub version: String,
    /// True when the probes that capture needs are attached, or when there is nothing to probe (a replay).
    pub probes_ready: bool,
    /// Every probe.
    pub probes: Vec<ProbeView>,
    /// Every store.
    pub stores: Vec<StoreView>,
    /// The data directory; none: this command keeps nothing across restarts.
    pub data_dir: Option<DataDirView>,
    /// Container runtimes that the agent queries, and the results.
    pub runtimes: Vec<RuntimeView>,
    /// What the host offered when the agent started; none: this command captures nothing.
    pub host: Option<Report>,
    /// Events from the source, by kind, which is a closed set.
    pub events: Vec<(&'static str, u64)>,
    /// The agent's resource limits; none: this command has no limits.
    pub limits: Option<LimitsView>,
    /// Connections.
    pub connections: ConnectionsView,
    /// Traffic left out because it carries qtap's own exports; none: this command captures nothing.
    pub feedback: Option<FeedbackView>,
    /// Losses of all parts of the agent together.
    pub losses: Tally,
    /// Bytes of bodies that were read and not kept, because no level and no rule wants them.
    pub body_bytes_unwanted: u64,
    /// How often each rule was the first to match; the names are those of the config file.
    pub rules: Vec<(String, u64)>,
    /// The ring buffer; none when there is none.
    pub ring: Option<RingView>,
    /// The config in force and the last attempt to reload it; none: this command never reloads its config.
    pub config: Option<ConfigView>,
    /// The agent's process.
    pub process: OwnView,
    /// The privileges of the process; none when they can't be read.
    pub privileges: Option<PrivilegesView>,
    /// Resident memory of the agent, in bytes.
    pub resident_bytes: u64,
    /// Processor time the agent has used, in seconds.
    pub cpu_seconds: f64,
}

impl Snapshot {
    /// What the agent still waits for before it captures and exports; empty when it is ready.
    #[must_use]
    pub fn waits_for(&self) -> Vec<String> {
        let probes = (!self.probes_ready).then(|| "probes are not attached".to_owned());
        let stores = self.stores.iter().filter(|store| !store.started);
        probes.into_iter().chain(stores.map(|store| format!("store {} has not started", store.id))).collect()
    }
}

/// A container runtime that the agent queries.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RuntimeView {
    /// `cri`, `docker` or `containerd`.
    pub kind: &'static str,
    /// Path of its socket.
    pub socket: String,
    /// Queries that the runtime answered with a container.
    pub told: u64,
    /// Queries that the runtime answered with "not found".
    pub not_found: u64,
    /// Queries that failed.
    pub failed: u64,
    /// The error of the last failed query; none when a later one succeeded.
    pub error: Option<String>,
}

/// The config.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ConfigView {
    /// The source of the config; none: the built-in default.
    pub source: Option<String>,
    /// Unix time in nanoseconds since which the current config has been in force.
    pub since_unix_ns: u64,
    /// True when the agent watches the source for changes.
    pub watched: bool,
    /// Reload attempts since the start.
    pub reloads: ReloadsView,
    /// The last reload attempt.
    pub last_reload: Option<ReloadView>,
    /// Unix time in nanoseconds when the config in force was last known to equal its source.
    #[serde(skip)]
    pub last_success_unix_ns: u64,
}

/// Reload attempts by outcome.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ReloadsView {
    /// A new config took effect.
    pub accepted: u64,
    /// The source had not changed.
    pub unchanged: u64,
    /// The config was invalid or could not be read: the old one stayed in force.
    pub refused: u64,
}

/// One reload attempt.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReloadView {
    /// Unix time in nanoseconds.
    pub unix_ns: u64,
    /// What triggered it: `signal` or `watch`.
    pub asked_by: &'static str,
    /// `accepted`, `unchanged` or `refused`.
    pub outcome: &'static str,
    /// Why it was refused: each fault with its position, secrets hidden.
    pub faults: Vec<String>,
    /// Notes about an attempt that was not refused.
    pub notes: Vec<String>,
    /// Stores that were added.
    pub stores_added: Vec<String>,
    /// Stores whose settings changed.
    pub stores_changed: Vec<String>,
    /// Stores that were removed.
    pub stores_gone: Vec<String>,
    /// Keys whose new values take effect only after a restart.
    pub needs_restart: Vec<&'static str>,
}

/// The agent's process, with enough to tell it from another process with the same pid.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct OwnView {
    /// Its pid, in its own pid namespace.
    pub pid: u32,
    /// Its start time in clock ticks since boot, as in `/proc/PID/stat`.
    pub started_ticks: u64,
}

/// The privileges of the agent's process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PrivilegesView {
    /// Capabilities by name: the permitted set.
    pub capabilities: Vec<String>,
    /// True when `no_new_privs` is set: child processes can't gain privileges.
    pub no_new_privs: bool,
}

/// A probe.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProbeView {
    /// Name of its program, from a closed set.
    pub name: String,
    /// True when it is attached.
    pub attached: bool,
    /// Why it is not attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it ran, where the kernel keeps run statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Time spent in it, where the kernel keeps run statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The data directory.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DataDirView {
    /// Where it is.
    pub path: String,
    /// True when it is in use; false when no store needs it or it is not usable.
    pub used: bool,
    /// Why it is not usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Queues of stores that are no longer configured, by folder name.
    pub left_over: Vec<String>,
}

/// A store.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StoreView {
    /// Id from the config.
    pub id: String,
    /// `stdout`, `otlp/grpc`, `otlp/http` or `s3`.
    pub kind: &'static str,
    /// True once its exporter is running.
    pub started: bool,
    /// False while the most recent result was an error.
    pub healthy: bool,
    /// `starting`, `healthy`, `error`, `misconfigured`.
    pub state: &'static str,
    /// Unix time in nanoseconds of the last success.
    pub last_success_unix_ns: Option<u64>,
    /// The last error message, never with payload.
    pub last_error: Option<String>,
    /// Unix time in nanoseconds of the last error.
    pub last_error_unix_ns: Option<u64>,
    /// The last warning that the store returned with data that it accepted.
    pub last_warning: Option<String>,
    /// The last answer that accepted only some records of a request.
    pub last_partial_success: Option<PartialView>,
    /// Where records wait: `memory` or `disk`.
    pub queue: &'static str,
    /// What is wrong with the queue.
    pub queue_error: Option<String>,
    /// Records waiting.
    pub queued_records: u64,
    /// Bytes waiting.
    pub queued_bytes: u64,
    /// Age of the oldest waiting record, where known.
    pub oldest_seconds: Option<f64>,
    /// Dropped records: loss reason (a closed set), number of records, bytes.
    #[serde(skip)]
    pub dropped: Vec<(&'static str, u64, u64)>,
    /// Attributes of records that were sent, truncated or left out because the store takes no more.
    pub cut_attributes: u64,
    /// Refused records that were written to the dead-letter file.
    pub dead_lettered: u64,
    /// Requests made.
    pub sends: u64,
    /// Total time of all requests, in seconds.
    pub send_seconds: f64,
    /// Histogram of request times: upper bound in seconds and number of requests in the bucket (not cumulative); the last bound is infinite.
    #[serde(skip)]
    pub send_counts: Vec<(f64, u64)>,
    /// Records by outcome: `exported` or `dropped`.
    pub records: Vec<(&'static str, u64)>,
}

/// An answer that accepted some records of a request and rejected others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PartialView {
    /// Unix time in nanoseconds.
    pub unix_ns: Option<u64>,
    /// How many records were rejected.
    pub rejected_records: u64,
    /// What the store says of it, shortened.
    pub message: String,
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
    /// Bytes that were not copied out of the kernel because no stack wants their connection.
    pub bytes_unwanted: u64,
}

/// Traffic left out because it is qtap's own exports: seen at the receiving end, or forwarded by a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FeedbackView {
    /// Connections from qtap, seen at the receiver.
    pub qtap_connections: u64,
    /// Bytes that they carried.
    pub qtap_bytes: u64,
    /// Connections that receivers of qtap's exports opened.
    pub store_connections: u64,
    /// Bytes that they carried.
    pub store_bytes: u64,
    /// Those receivers, as far as they run on this host.
    pub store_processes: Vec<StoreProcessView>,
}

/// The agent's resource limits, and what it currently sheds to stay within them.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LimitsView {
    /// Processors; none: no limit.
    pub max_cpu: Option<f64>,
    /// Bytes of memory; none: no limit.
    pub max_memory: Option<u64>,
    /// The current shedding step.
    #[serde(serialize_with = "by_name")]
    pub shedding: Shed,
    /// `cpu` or `memory`, when the last step increased shedding.
    pub because: Option<&'static str>,
    /// Unix time in nanoseconds of the last step, up or down.
    pub since_unix_ns: Option<u64>,
    /// How often each step was entered.
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

/// The ring buffer between kernel and agent.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RingView {
    /// Bytes written but not yet read.
    pub bytes_used: u64,
    /// How often it had no space for a record.
    pub full: u64,
}

/// What `/processes` shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProcessesView {
    /// Processes in scope that contain a TLS implementation or had a TLS connection.
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
    /// How much of them is probed: `attached` (all), `partly`, `none`.
    pub hooks: &'static str,
    /// TLS connections since qtap first saw the process, open ones included.
    pub tls_connections: u64,
    /// Encrypted bytes of connections whose plaintext was seen; for an open connection, as of its last report.
    pub seen_bytes: u64,
    /// Encrypted bytes of connections whose plaintext was not seen.
    pub unseen_bytes: u64,
    /// Why its TLS traffic, or some of it, is not seen, in words; none: nothing is known to be missing.
    pub reason: Option<String>,
}

/// A TLS implementation in a file of a process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EngineView {
    /// Its name in records (`libssl.so.3`), else a description (`Go crypto/tls`).
    pub name: String,
    /// Version, if the file contains it.
    pub version: Option<String>,
    /// Build id of the file, hexadecimal.
    pub build_id: Option<String>,
    /// The file, as the process sees it.
    pub path: String,
    /// True when that file was deleted or replaced.
    pub deleted: bool,
    /// `attached`, `partly`, `refused`, `none`.
    pub hooks: &'static str,
    /// Why it is not fully probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A file with probes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LibraryView {
    /// For functions that were found by their machine code alone: `on_trial`, or `confirmed` (by a connection).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_code: Option<&'static str>,
    /// Its name in records.
    pub name: String,
    /// Version, if the file contains it.
    pub version: Option<String>,
    /// Build id, hexadecimal.
    pub build_id: Option<String>,
    /// Path where it was first found.
    pub path: String,
    /// Functions with probes, and where the probes are attached.
    pub functions: Vec<FunctionView>,
    /// Functions whose probes were refused, and why.
    pub refused: Vec<FunctionView>,
}

/// A function.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FunctionView {
    /// Its symbol name.
    pub name: &'static str,
    /// The sites of its probes, or why there are none.
    pub probes: String,
}
