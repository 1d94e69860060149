//! Names drawn from content: SHA-256 digests (FIPS 180-4), record uids, keyed hashes. Bytes in, hexadecimal text out.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::RedactionKey;
use crate::model::conn::ConnectionUid;

/// SHA-256 of `bytes`, as 64 lower-case hexadecimal digits.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of all `chunks` one after the other.
pub(super) fn sha256_of_all(chunks: &[Bytes]) -> String {
    let mut hash = Sha256::new();
    chunks.iter().for_each(|chunk| hash.update(chunk));
    hex(&hash.finalize())
}

/// The kinds of record that a uid tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UidKind {
    Connection,
    Artifact,
    Object(&'static str),
}

/// `log.record.uid`: 32 hexadecimal digits of the SHA-256 of connection, exchange number, kind and part; so a resend and a
/// replay give it again, and no two records share it.
pub(super) fn record_uid(connection: ConnectionUid, number: Option<u64>, kind: UidKind, part: u32) -> String {
    let kind = match kind {
        UidKind::Connection => "connection",
        UidKind::Artifact => "artifact_record",
        UidKind::Object(artifact) => artifact,
    };
    // Put together first: it is less than a block, which is hashed in one go.
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

/// Room for a record's name: connection, number, part, and the longest kind there is.
const NAME: usize = 16 + 9 + 4 + 16;
const _: () = assert!("http_transaction".len() <= 16 && "artifact_record".len() <= 16);

/// A record's name in the making.
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
    const BLOCK: usize = 64;
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key.0).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(value).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    hex(outer.get(..16).unwrap_or_default())
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
    fn chunks_have_the_digest_of_the_whole() {
        let chunks = [Bytes::from_static(b"a"), Bytes::new(), Bytes::from_static(b"bc")];
        assert_eq!(sha256_of_all(&chunks), sha256_hex(b"abc"));
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
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all.iter().all(|uid| uid.len() == 32 && uid.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
