//! Names derived from content: SHA-256 digests (FIPS 180-4), record uids, keyed hashes. In: bytes. Out: hexadecimal text.

use sha2::{Digest, Sha256};

use super::RedactionKey;
use crate::model::conn::ConnectionUid;

/// SHA-256 of `bytes`, as 64 lower-case hexadecimal digits.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A SHA-256 computation in progress.
#[derive(Debug, Clone, Default)]
pub(super) struct Sha(Sha256);

impl Sha {
    /// Bytes to hash into one digest before switching to the other: two blocks. With fewer, the calls cost more than
    /// the interleaving saves; with more, the processor does not look far enough ahead.
    const TURN: usize = 128;

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// As 64 lower-case hexadecimal digits.
    pub(super) fn hex(self) -> String {
        hex(&self.0.finalize())
    }

    /// Hashes whole `TURN`s of `first_bytes` into `first` and all of `second_bytes` into `second`, alternately; returns how many of the
    /// first bytes were hashed.
    pub(super) fn update_both(first: &mut Sha, first_bytes: &[u8], second: &mut Sha, second_bytes: &[u8]) -> usize {
        let taken = first_bytes.len() - first_bytes.len() % Self::TURN;
        let mut one = first_bytes.get(..taken).unwrap_or_default().chunks(Self::TURN);
        let mut other = second_bytes.chunks(Self::TURN);
        loop {
            match (one.next(), other.next()) {
                (Some(one), Some(other)) => {
                    first.update(one);
                    second.update(other);
                }
                (Some(one), None) => first.update(one),
                (None, Some(other)) => second.update(other),
                (None, None) => return taken,
            }
        }
    }
}

/// The kinds of record that a uid distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UidKind {
    Connection,
    Artifact,
    Object(&'static str),
    Request,
    Issue,
}

/// `log.record.uid`: 32 hexadecimal digits of the SHA-256 of connection, exchange number, kind and part. A resend and a
/// replay produce the same uid; no two records share one.
pub(super) fn record_uid(connection: ConnectionUid, number: Option<u64>, kind: UidKind, part: u32) -> String {
    let kind = match kind {
        UidKind::Connection => "connection",
        UidKind::Artifact => "artifact_record",
        UidKind::Object(artifact) => artifact,
        UidKind::Request => "request",
        UidKind::Issue => "issue",
    };
    // Concatenate first: the name is shorter than one block and is hashed in a single call.
    let mut name = Name { bytes: [0; NAME], len: 0 };
    name.push(&connection.0);
    match number {
        Some(number) => {
            name.push(&[1]);
            name.push(&number.to_be_bytes());
        }
        None => name.push(&[0]),
    }
    name.push(&part.to_be_bytes());
    name.push(kind.as_bytes());
    hex(Sha256::digest(name.bytes.get(..name.len).unwrap_or_default()).get(..16).unwrap_or_default())
}

/// Maximum length of a record's name: connection, number, part, and the longest kind.
const NAME: usize = 16 + 9 + 4 + 19;
const _: () = assert!("gen_ai_conversation".len() <= 19 && "artifact_record".len() <= 19);

/// A record's name under construction.
struct Name {
    bytes: [u8; NAME],
    len: usize,
}

impl Name {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

/// HMAC-SHA-256 (RFC 2104) of `value` under `key`, its first 128 bits as 32 hexadecimal digits.
pub(super) fn keyed_hash(key: &RedactionKey, value: &[u8]) -> String {
    let mut keyed = Keyed::new(key);
    keyed.update(value);
    keyed.hex()
}

/// The same for a value that arrives in pieces.
#[derive(Clone)]
pub(super) struct Keyed {
    inner: Sha256,
    outer: Sha256,
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed(…)")
    }
}

impl Keyed {
    pub(super) fn new(key: &RedactionKey) -> Keyed {
        const BLOCK: usize = 64;
        let pad = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(key.0).for_each(|(b, k)| *b ^= k);
            Sha256::new().chain_update(block)
        };
        Keyed { inner: pad(0x36), outer: pad(0x5c) }
    }

    pub(super) fn update(&mut self, piece: &[u8]) {
        self.inner.update(piece);
    }

    /// As 32 hexadecimal digits.
    pub(super) fn hex(self) -> String {
        let outer = self.outer.chain_update(self.inner.finalize()).finalize();
        hex(outer.get(..16).unwrap_or_default())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Vec::with_capacity(bytes.len() * 2);
    text.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc_is_that_of_fips_180_4() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn two_digests_in_step_are_those_of_each() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
        for (first, second) in [(0, 0), (1000, 0), (0, 1000), (130, 1000), (1000, 130), (128, 128)] {
            let (mut one, mut other) = (Sha::default(), Sha::default());
            let taken = Sha::update_both(&mut one, &bytes[..first], &mut other, &bytes[..second]);
            assert_eq!(taken, first / 128 * 128);
            one.update(&bytes[taken..first]);
            assert_eq!((one.hex(), other.hex()), (sha256_hex(&bytes[..first]), sha256_hex(&bytes[..second])));
        }
    }

    #[test]
    fn the_keyed_hash_is_hmac() {
        // Computed with Python: hmac.new(b"\x0b" * 32, b"Hi There", "sha256").hexdigest()[:32]
        assert_eq!(keyed_hash(&RedactionKey([0x0b; 32]), b"Hi There"), "198a607eb44bfbc69903a0f1cf2bbdc5");
    }

    #[test]
    fn uids_differ_by_every_part_of_the_name() {
        let uid = ConnectionUid([7; 16]);
        let all = [
            record_uid(uid, None, UidKind::Connection, 0),
            record_uid(uid, None, UidKind::Connection, 1),
            record_uid(uid, Some(0), UidKind::Artifact, 0),
            record_uid(uid, Some(1), UidKind::Artifact, 0),
            record_uid(uid, Some(0), UidKind::Object("http_request"), 0),
            record_uid(uid, Some(0), UidKind::Object("http_response"), 0),
            record_uid(ConnectionUid([8; 16]), Some(0), UidKind::Artifact, 0),
            record_uid(uid, Some(0), UidKind::Request, 0),
            record_uid(uid, Some(0), UidKind::Issue, 0),
            record_uid(uid, Some(0), UidKind::Issue, 1),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all.iter().all(|uid| uid.len() == 32 && uid.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
