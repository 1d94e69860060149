//! A store that accepts everything: an HTTP/1.1 server on 127.0.0.1 that reads each request's body, counts its bytes and the exchanges
//! reported in it, and answers 200 with an empty OTLP response. It keeps nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Result;

/// An empty `ExportLogsServiceResponse` has no bytes.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

/// How qtap sends to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Otlp {
    /// HTTP with protobuf.
    Http,
    /// gRPC.
    Grpc,
}

impl Otlp {
    /// Its name in the config.
    pub(super) fn name(self) -> &'static str {
        match self {
            Otlp::Http => "http",
            Otlp::Grpc => "grpc",
        }
    }
}

/// A running sink; its thread ends with the process.
pub(super) struct Sink {
    port: u16,
    grpc_port: u16,
    counts: Arc<Counts>,
}

/// The event name that each exchange's record holds once, as encoded in protobuf: field 12 of `LogRecord`, 20 bytes.
const EXCHANGE: &[u8] = b"\x62\x14qtap.artifact_record";

/// What the sink received.
#[derive(Default)]
pub(super) struct Counts {
    exchanges: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    /// Counts a request's body.
    pub(super) fn take(&self, body: &[u8]) {
        let exchanges = memchr::memmem::find_iter(body, EXCHANGE).count() as u64;
        self.exchanges.fetch_add(exchanges, Ordering::Relaxed);
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    }
}

impl Sink {
    /// Listens on a free port.
    pub(super) fn start() -> Result<Sink> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = Arc::clone(&shared);
                // An error ends only this connection, just as when the client closes it.
                thread::spawn(move || drop(serve(&stream, &counts)));
            }
        });
        let grpc_port = super::grpc::start(&counts)?;
        Ok(Sink { port, grpc_port, counts })
    }

    /// The port for `protocol`.
    pub(super) fn port(&self, protocol: Otlp) -> u16 {
        match protocol {
            Otlp::Http => self.port,
            Otlp::Grpc => self.grpc_port,
        }
    }

    /// Exchanges received.
    pub(super) fn exchanges(&self) -> u64 {
        self.counts.exchanges.load(Ordering::Relaxed)
    }

    /// Body bytes received.
    pub(super) fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

fn serve(stream: &TcpStream, counts: &Counts) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut answer = stream;
    let mut body = Vec::new();
    while let Some(framing) = head(&mut reader)? {
        body.clear();
        match framing {
            Framing::Length(length) => take(&mut reader, length, &mut body)?,
            Framing::Chunked => take_chunks(&mut reader, &mut body)?,
        }
        counts.take(&body);
        answer.write_all(ANSWER)?;
    }
    Ok(())
}

/// How the length of a body is determined (RFC 9112 §6).
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

/// Reads a request's head; `None` at the end of the connection.
fn head(reader: &mut impl BufRead) -> io::Result<Option<Framing>> {
    let mut framing = Framing::Length(0);
    let mut line = String::new();
    for number in 0.. {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if number > 0 && line.trim_end().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        match lower.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => framing = Framing::Length(value.parse().map_err(io::Error::other)?),
            Some(("transfer-encoding", "chunked")) => framing = Framing::Chunked,
            Some(_) | None => {}
        }
    }
    Ok(Some(framing))
}

fn take(reader: &mut impl Read, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let taken = reader.take(length).read_to_end(body)? as u64;
    if taken < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Chunks, then trailers up to the empty line (RFC 9112 §7.1).
fn take_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        take(reader, size, body)?;
        take(reader, 2, &mut Vec::new())?;
    }
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Framing, head, take_chunks};

    #[test]
    fn heads_are_read() {
        let request = b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(head(&mut request.as_slice()).unwrap(), Some(Framing::Length(12)));
        let request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(head(&mut request.as_slice()).unwrap(), Some(Framing::Chunked));
        assert_eq!(head(&mut b"".as_slice()).unwrap(), None);
    }

    #[test]
    fn chunks_are_joined_and_trailers_read() {
        let mut wire = b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\nrest".as_slice();
        let mut body = Vec::new();
        take_chunks(&mut wire, &mut body).unwrap();
        assert_eq!(body, b"hello0123456789");
        assert_eq!(wire, b"rest");
    }
}
