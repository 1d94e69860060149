//! The rule language from outside: a table written from `docs/rules.md`, properties checked against a naive implementation of the same
//! page, and a test that evaluating a rule allocates no memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod allocation;
mod facts;
mod properties;
mod table;
