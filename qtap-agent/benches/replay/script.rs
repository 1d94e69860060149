//! Traffic being made: a recording, as the probes would have written it, and the packets of the same bytes.

use std::collections::HashMap;

use anyhow::Result;
use qtap_agent::capture::ABI;
use qtap_agent::capture::recording::{Fact, Writer};
use qtap_agent::model::event::Host;
use qtap_agent::model::process::Process;
use qtap_agent::model::time::KernelTime;
use qtap_common::record::{binding, flag, kind, role};
use qtap_common::state::PIECE;

use super::pcap::Pcap;

const PID: u32 = 4242;
/// Keep-alive connections that take turns.
const CONNECTIONS: u64 = 64;
/// Streams at once on an HTTP/2 connection.
pub(super) const STREAMS: u32 = 100;

/// Traffic being made.
pub(super) struct Script {
    writer: Writer<Vec<u8>>,
    now: u64,
    /// Bytes that passed so far, by channel and direction.
    passed: HashMap<(u64, u8), u64>,
    packets: Pcap,
}

impl Script {
    fn new() -> Result<Script> {
        let mut writer = Writer::new(Vec::new(), ABI)?;
        writer.fact(&Fact::Started(Host { name: "bench".to_owned(), ..Host::default() }))?;
        let process = Process { pid: PID, executable_path: "/usr/sbin/nginx".to_owned(), ..Process::default() };
        writer.fact(&Fact::Process(process))?;
        Ok(Script { writer, now: 1_000_000_000, passed: HashMap::new(), packets: Pcap::new() })
    }

    /// The recording.
    pub(super) fn recording(self) -> Vec<u8> {
        self.both().0
    }

    /// The recording, and the packets. (Of what was inside TLS there are none.)
    pub(super) fn both(self) -> (Vec<u8>, Vec<u8>) {
        (self.writer.into_inner(), self.packets.bytes)
    }

    /// Writes a record: the header of `qtap_common::record::Header`, then the rest.
    fn record(&mut self, what: [u8; 3], id: u64, rest: &[&[u8]]) -> Result<()> {
        self.now += 5_000;
        let len = 32 + rest.iter().map(|part| part.len()).sum::<usize>() as u32;
        let [kind, flags, detail] = what;
        let mut bytes = Vec::with_capacity(len as usize);
        bytes.extend_from_slice(&self.now.to_ne_bytes());
        bytes.extend_from_slice(&id.to_ne_bytes());
        [PID, PID, len].iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
        bytes.extend_from_slice(&[kind, flags, detail, 0]);
        rest.iter().for_each(|part| bytes.extend_from_slice(part));
        self.writer.kernel(&bytes)?;
        if self.now.is_multiple_of(100_000_000) {
            self.writer.fact(&Fact::Tick(KernelTime(self.now)))?;
        }
        Ok(())
    }

    /// An accepted TCP connection over IPv4.
    fn opened(&mut self, id: u64) -> Result<()> {
        let mut ends = Vec::new();
        ends.extend_from_slice(&id.to_ne_bytes());
        for word in [2u16, 8080, (40_000 + id as u16).to_be(), 0] {
            ends.extend_from_slice(&word.to_ne_bytes());
        }
        for end in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            ends.extend_from_slice(&end);
            ends.extend_from_slice(&[0; 12]);
        }
        self.record([kind::OPENED, 0, role::SERVER], id, &[&ends])?;
        self.packets.opened(id, self.now);
        Ok(())
    }

    /// A TLS session of connection `conn`.
    fn session(&mut self, id: u64, conn: u64) -> Result<()> {
        self.record([kind::SESSION_OPENED, 0, 0], id, &[&[0; 16]])?;
        self.record([kind::BOUND, 0, binding::NESTED], id, &[&conn.to_ne_bytes()])
    }

    /// Bytes of one call, in pieces as the probes cut them.
    fn bytes(&mut self, flags: u8, id: u64, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE) {
            let offset = self.passed.entry((id, flags)).or_default();
            let at = *offset;
            *offset += piece.len() as u64;
            self.record([kind::DATA, flags, 0], id, &[&at.to_ne_bytes(), piece])?;
        }
        if flags & flag::SESSION == 0 {
            self.packets.passed(id, flags & flag::RECEIVED != 0, bytes, self.now);
        }
        Ok(())
    }
}

/// Requests of 64 connections in turn, each answered with a body of `size` bytes.
pub(super) fn http1(exchanges: u64, size: usize) -> Result<Script> {
    let mut script = Script::new()?;
    (1..=CONNECTIONS).try_for_each(|id| script.opened(id))?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {size}\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\nConnection: keep-alive\r\n\
         ETag: \"695735a5-400\"\r\nAccept-Ranges: bytes\r\n\r\n"
    );
    let body = vec![b'x'; size];
    for number in 0..exchanges {
        let id = number % CONNECTIONS + 1;
        script.bytes(flag::RECEIVED, id, b"GET /1k.txt HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")?;
        // As nginx writes it: one call with two buffers.
        script.bytes(0, id, head.as_bytes())?;
        script.bytes(0, id, &body)?;
    }
    Ok(script)
}

/// Rounds of 100 requests at once on one connection, inside TLS or plain, each answered with a body of `size` bytes.
pub(super) fn http2(rounds: u64, size: usize, tls: bool) -> Result<Script> {
    const SESSION: u64 = 1 << 32;
    let mut script = Script::new()?;
    script.opened(1)?;
    let (id, sent) = if tls { (SESSION, flag::SESSION) } else { (1, 0) };
    let received = sent | flag::RECEIVED;
    if tls {
        script.session(SESSION, 1)?;
    }
    let settings = frame(4, 0, 0, &[]);
    script.bytes(received, id, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings].concat())?;
    script.bytes(sent, id, &settings)?;
    // RFC 7541, all without indexing: `:method: GET`, `:scheme: https`, `:path`, `:authority`.
    let request = [b"\x82\x87\x04\x07/1k.txt\x01\x0elocalhost:8443".as_slice()].concat();
    // `:status: 200`, `content-type`, `content-length`.
    let response = [b"\x88\x0f\x10\x0atext/plain\x0f\x0d\x04".as_slice(), format!("{size:04}").as_bytes()].concat();
    let body = vec![b'x'; size];
    let mut stream = 1;
    for _ in 0..rounds {
        let ids: Vec<u32> = (0..STREAMS).map(|nth| stream + 2 * nth).collect();
        stream += 2 * STREAMS;
        let requests: Vec<u8> = ids.iter().flat_map(|nth| frame(1, 5, *nth, &request)).collect();
        script.bytes(received, id, &requests)?;
        for nth in ids {
            let answer = [frame(1, 4, nth, &response), frame(0, 1, nth, &body)].concat();
            script.bytes(sent, id, &answer)?;
        }
    }
    Ok(script)
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
