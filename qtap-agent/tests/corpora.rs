//! Replays the corpora of the fuzz targets, so that every `cargo test` repeats the inputs that once broke a promise. In: `fuzz/corpus/<target>/*`.
//! Out: the first promise that does not hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

#[path = "../fuzz/rooms/mod.rs"]
mod rooms;

use std::fs;
use std::path::{Path, PathBuf};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn replay(target: &str, run: fn(&[u8], rooms::Gauge<'_>)) {
    let mut files: Vec<_> = fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no corpus");
    for file in files {
        let data = fs::read(&file).unwrap();
        if std::panic::catch_unwind(|| run(&data, &|| 0)).is_err() {
            panic!("{target}: {}", file.display());
        }
    }
}

#[test]
fn decode() {
    replay("decode", rooms::decode::run);
}

#[test]
fn config() {
    replay("config", rooms::config::run);
}

#[test]
fn reassembly() {
    replay("reassembly", rooms::reassembly::run);
}

#[test]
fn h1() {
    replay("h1", rooms::h1::run);
}

#[test]
fn h2() {
    replay("h2", rooms::h2::run);
}

#[test]
fn hpack() {
    replay("hpack", rooms::hpack::run);
}

#[test]
fn body() {
    replay("body", rooms::body::run);
}

#[test]
fn websocket() {
    replay("websocket", rooms::websocket::run);
}

#[test]
fn dns() {
    replay("dns", rooms::dns::run);
}

#[test]
fn grpc() {
    replay("grpc", rooms::grpc::run);
}

#[test]
fn redact() {
    replay("redact", rooms::redact::run);
}

#[test]
fn rule() {
    replay("rule", rooms::rule::run);
}
