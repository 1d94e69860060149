//! The rule language, from outside: a table written from `docs/rules.md`, properties against a naive reading of the same page, and that
//! to ask a rule costs no memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod allocation;
mod facts;
mod properties;
mod table;
