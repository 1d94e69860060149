//! The export room from outside: one conformance suite for every implementer of `Exporter`, whole stores under faults, and
//! third-party receivers (Python with opentelemetry-proto, moto). Also a config from an `https` URL. Loopback only.
#![allow(clippy::unwrap_used)] // tests
#![allow(clippy::print_stdout)] // a test that is skipped says so

mod answers;
mod authorities;
mod collector;
mod compressed;
mod config_url;
mod conformance;
mod crash;
mod far_end;
mod limits;
mod oauth;
mod objects;
mod otlp;
mod places;
mod proxies;
mod python;
mod queue;
mod records;
mod relay;
mod routes;
mod s3;
mod secrets;
mod store;
mod strangers;
mod swapped;
mod words;
