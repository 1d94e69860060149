//! The real program on the running kernel with real programs, used as a stranger would use it: a command line in, JSON lines out.
//!
//! Needs root; each test says so when it is skipped. Every capture is limited to processes that the test started, every wait is
//! bounded, and tests run one after another, because they share two cores and one kernel.
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub)] // tests say what they skip, and panic on failure

mod alone;
mod bad_input;
mod calls;
mod clients;
mod coded;
mod containers;
mod coverage;
mod crowds;
mod doctor;
mod ends;
mod exporting;
mod feedback;
mod fibers;
mod filters;
mod gen_ai;
mod gnutls;
mod go_tls;
mod grpc;
mod harm;
mod http2;
mod java;
mod ktls;
mod lab;
mod large;
mod late;
mod limits;
mod located;
mod memory_bio;
mod names;
mod namespace;
mod nginx;
mod nss;
mod openssl;
mod overflow;
mod overlay;
mod own_telemetry;
mod plugins;
mod privileges;
mod processes;
mod proxies;
mod python;
mod qtap;
mod records;
mod released;
mod reload;
mod rules;
mod rustls_tls;
mod scope;
mod servers;
mod sites;
mod sse;
mod tap;
mod translated;
mod uring;
mod vectors;
mod verified;
mod websocket;
