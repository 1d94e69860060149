//! From observations to records: which (`rule`), how many (`sample`), what may be seen (`redact`).
pub mod settings;
