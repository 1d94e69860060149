//! Queries the status page of a running qtap from another one. In: its address and a path. Out: the answer, as JSON.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

/// How long the page may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Maximum bytes of an answer.
const MAX_ANSWER: u64 = 64 << 20;

/// Returns the page's answer at `path`.
///
/// # Errors
/// If nothing answers there, or the answer is not from a qtap.
pub(super) fn get(page: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&page, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = read().with_context(|| format!("no qtap answers at {page} (--httpd-listen, HTTPD_LISTEN)"))?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").and_then(|at| answer.get(at + 4..));
    let said = body.and_then(|body| serde_json::from_slice(body).ok()).filter(|_| answer.starts_with(b"HTTP/1.1 200"));
    said.with_context(|| format!("what answers at {page} is no qtap, or an older one"))
}
