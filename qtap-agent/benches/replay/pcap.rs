//! Packets of the bytes that connections carried, as a capture of the loopback interface has them: IPv4 and TCP, up to 64 KB a packet,
//! each acknowledging what came before. The classic format of libpcap (pcap-savefile(5)), times in nanoseconds.

use std::collections::HashMap;

/// Nanosecond timestamps.
const MAGIC: u32 = 0xa1b2_3c4d;
/// Packets begin with the IP header (`LINKTYPE_RAW`).
const LINK_TYPE: u32 = 101;
/// Payload of a packet: what the loopback's MTU of 65536 leaves.
const SEGMENT: usize = 65_483;
const SERVER_PORT: u16 = 8080;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// A capture being made.
pub(super) struct Pcap {
    pub(super) bytes: Vec<u8>,
    /// Next sequence number of the server and of the client, by connection.
    next: HashMap<u64, [u32; 2]>,
}

impl Pcap {
    pub(super) fn new() -> Pcap {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        [2u16, 4].iter().for_each(|version| bytes.extend_from_slice(&version.to_le_bytes()));
        // Time zone, precision, longest packet.
        [0u32, 0, 1 << 18, LINK_TYPE].iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        Pcap { bytes, next: HashMap::new() }
    }

    /// The handshake of a connection that a client opened.
    pub(super) fn opened(&mut self, id: u64, now: u64) {
        self.next.insert(id, [1000, 2000]);
        self.packet(id, true, SYN, &[], now);
        self.packet(id, false, SYN | ACK, &[], now);
        self.packet(id, true, ACK, &[], now);
    }

    /// Bytes passed: the server received them, or sent them.
    pub(super) fn passed(&mut self, id: u64, received: bool, bytes: &[u8], now: u64) {
        for segment in bytes.chunks(SEGMENT) {
            self.packet(id, received, PSH | ACK, segment, now);
        }
    }

    fn packet(&mut self, id: u64, from_client: bool, flags: u8, payload: &[u8], now: u64) {
        let client_port = 40_000 + id as u16;
        let next = self.next.entry(id).or_default();
        let (me, other) = (usize::from(from_client), usize::from(!from_client));
        let (sequence, acknowledged) = (next[me], if flags & ACK == 0 { 0 } else { next[other] });
        next[me] = sequence.wrapping_add(payload.len() as u32 + u32::from(flags & SYN != 0));
        let (ports, addresses) = if from_client {
            ([client_port, SERVER_PORT], [[127, 0, 0, 2], [127, 0, 0, 1]])
        } else {
            ([SERVER_PORT, client_port], [[127, 0, 0, 1], [127, 0, 0, 2]])
        };
        let length = 40 + payload.len();
        let time = [(now / 1_000_000_000) as u32, (now % 1_000_000_000) as u32, length as u32, length as u32];
        time.iter().for_each(|word| self.bytes.extend_from_slice(&word.to_le_bytes()));
        // RFC 791 §3.1: version and length, no service, total length, id, flags, TTL, TCP, no checksum.
        self.bytes.extend_from_slice(&[0x45, 0]);
        self.bytes.extend_from_slice(&(length as u16).to_be_bytes());
        self.bytes.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
        addresses.iter().for_each(|address| self.bytes.extend_from_slice(address));
        // RFC 9293 §3.1.
        ports.iter().for_each(|port| self.bytes.extend_from_slice(&port.to_be_bytes()));
        [sequence, acknowledged].iter().for_each(|number| self.bytes.extend_from_slice(&number.to_be_bytes()));
        self.bytes.extend_from_slice(&[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(payload);
    }
}
