//! From records to stores.
pub mod settings;
