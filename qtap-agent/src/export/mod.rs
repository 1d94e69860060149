//! Export: from records to stores. Each store has its own queue and workers, so that a slow store never slows another. In: each
//! [`crate::model::record::Record`] after policy. Out: OTLP requests, lines and objects. Whatever does not arrive is counted as a
//! [`crate::model::loss::Loss`]. This module does not decide what may be seen.
//!
//! ```text
//! offer ─ budget ─► inbox ─ intake ─► queue ─ next ─► worker ─ send ─► store
//!           │                           │ in memory, or  │ wait, halve, drop
//!           │                           │ on disk        └─► ExportRejected (dead letter), ExportExpired, Shutdown
//!           └─► ExportFull              └─► QueueDropOldest, QueueDropNewest, QueueUnwritable, QueueDamaged
//! ```

pub mod auth;
pub mod batch;
pub mod client;
pub mod data_dir;
pub mod dead_letter;
mod delivery;
pub mod excerpt;
pub mod exporter;
mod intake;
pub mod lines;
pub mod lookup;
pub mod memory;
pub mod oauth;
pub mod objects;
pub mod otlp;
pub mod proxy;
pub mod queue;
pub mod refusal;
pub mod renewed;
pub mod retry;
mod sample;
pub mod secret;
pub mod settings;
#[cfg(test)]
mod small_disk;
pub mod stamp;
pub mod status;
pub mod stdout;
pub mod store;
pub mod tls;

pub use data_dir::DataDir;
pub use status::{Health, StoreStatus};
pub use stdout::Output;
pub use store::{StartError, Store, spawn, spawn_exporter, spawn_exporter_in, spawn_in, test_connection};
