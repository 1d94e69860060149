//! The roof: the one place that wires source → tap → pipeline → stores, and shuts down in that order.
//!
//! ```text
//! ┌ thread "tap" ──────────┐  observations  ┌ thread "pipeline" ┐  records  ┌ tasks ─┐
//! │ source ─events─▶ tap   │ ─────────────▶ │ pipeline          │ ────────▶ │ stores │
//! └────────────────────────┘                └───────────────────┘           └────────┘
//! ```
//!
//! In: checked settings and the command line. Out: an exit code. Each command has its own file.

#[cfg(any(feature = "kernel", test))]
mod data_dir;
#[cfg(feature = "kernel")]
mod descriptors;
mod doctor;
mod engine;
#[cfg(feature = "kernel")]
mod errand;
#[cfg(feature = "kernel")]
mod exec;
#[cfg(any(feature = "kernel", test))]
mod governor;
#[cfg(feature = "kernel")]
mod host;
#[cfg(feature = "kernel")]
mod keeper;
#[cfg(feature = "kernel")]
mod live;
#[cfg(any(feature = "kernel", test))]
mod page;
mod passes;
mod pipelines;
#[cfg(any(feature = "kernel", test))]
mod privileges;
#[cfg(feature = "kernel")]
mod probes;
#[cfg(feature = "kernel")]
mod processes;
mod pump;
#[cfg(feature = "kernel")]
mod record;
#[cfg(any(feature = "kernel", test))]
mod reload;
mod replay;
mod route;
mod shared;
mod slot;
mod spool;
mod stores;
mod test_connection;
#[cfg(feature = "kernel")]
mod traffic;

#[cfg(feature = "kernel")]
mod child;

pub use doctor::doctor;
#[cfg(feature = "kernel")]
pub use errand::errand;
#[cfg(feature = "kernel")]
pub use exec::exec;
#[cfg(feature = "kernel")]
pub use host::{Telemetry, run};
#[cfg(feature = "kernel")]
pub use processes::processes;
#[cfg(feature = "kernel")]
pub use record::record;
#[cfg(feature = "kernel")]
pub use reload::reload_config;
pub use replay::replay;
pub use test_connection::test_connection;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use self::spool::Spool;
use crate::cli::exit;
use crate::export::stdout::Output;
use crate::{http, tap};

/// qtap's version, in records and in `/status`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Version number of the interface to the probes: recordings made with another one can't be replayed.
pub const ABI: u32 = crate::capture::ABI;

/// How long records still held may take to reach their stores when qtap ends.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// Why a command failed, and the exit code of the process.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// Why, in words.
    pub reason: anyhow::Error,
}

impl Failure {
    /// The host lacks a requirement: exit code 3.
    pub fn host(reason: impl Into<anyhow::Error>) -> Failure {
        Failure { code: exit::HOST, reason: reason.into() }
    }

    fn recording(reason: impl Into<anyhow::Error>) -> Failure {
        Failure { code: exit::RECORDING, reason: reason.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(reason: anyhow::Error) -> Failure {
        Failure { code: exit::FAILED, reason }
    }
}

/// Logs what was not delivered.
fn report(stores: &[crate::export::status::StoreStatus]) {
    for store in stores {
        if store.buffered_records > 0 {
            tracing::info!(
                store = store.id,
                records = store.buffered_records,
                "records wait on disk for the next start"
            );
        }
        for (loss, count, _) in store.dropped() {
            tracing::warn!(store = store.id, reason = loss.name(), count, "records not delivered");
        }
        if store.cut_attributes() > 0 {
            tracing::warn!(
                store = store.id,
                count = store.cut_attributes(),
                "attributes cut to what the store takes (limits)"
            );
        }
    }
}

/// The settings of the tap, from the config and the folder for large bodies.
fn tap_settings(settings: &crate::config::Settings, spool: &Spool) -> tap::Settings {
    let http = http::Settings {
        keep_bodies: settings.pipeline.keeps_bodies(),
        wants: Arc::new(settings.pipeline.wants()),
        judge: settings.pipeline.judge(),
        body_limit: settings.tap.http_buffer_size,
        large_bytes: spool.folder.as_ref().map(|_| spool::LARGE_BYTES),
        ..http::Settings::default()
    };
    tap::Settings { http, reads_dns: settings.tap.reads_dns, audit_dns: settings.tap.audit_dns }
}

/// Where records of the stdout protocol go: to the file, or to standard output.
fn output(file: Option<&Path>) -> anyhow::Result<Output> {
    match file {
        Some(path) => Output::file(path).with_context(|| format!("{} can't be written", path.display())),
        None => Ok(Output::stdout()),
    }
}

/// The runtime of the stores and the admin page.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(2).thread_name("qtap-io").enable_all().build()?)
}
