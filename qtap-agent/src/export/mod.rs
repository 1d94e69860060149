//! From records to stores: each store gets its own queue and workers, so that a slow one never slows another. In come
//! [`crate::model::record::Record`]s after policy; out go OTLP requests, lines and objects. Whatever does not arrive is counted
//! under the name of a [`crate::model::loss::Loss`]. Nothing here decides what may be seen.
//!
//! ```text
//! offer ─ budget ─► inbox ─ prepare ─► queue ─ next ─► worker ─ send ─► store
//!           │                                            │ wait, halve, drop
//!           └──────────────── counted: ExportFull ◄──────┴─► ExportRejected, ExportExpired, Shutdown
//! ```

pub mod auth;
pub mod batch;
pub mod client;
mod delivery;
pub mod excerpt;
pub mod exporter;
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
pub mod stamp;
pub mod status;
pub mod stdout;
pub mod store;
pub mod tls;

pub use status::{Health, StoreStatus};
pub use stdout::Output;
pub use store::{StartError, Store, spawn, spawn_exporter, test_connection};
