//! `connection.id`: derived from host, boot and kernel data, never from randomness, so that a replay gives the same one.

use sha2::{Digest, Sha256};

use crate::model::conn::{Channel, ConnectionUid};
use crate::model::event::Host;
use crate::model::time::KernelTime;

/// The id of the connection (or of the TLS session whose connection is unknown) first seen at `opened`: in the form of a
/// UUIDv7 (RFC 9562 §5.7), its random bits taken from a SHA-256.
#[must_use]
pub(super) fn connection_uid(host: &Host, channel: Channel, opened: KernelTime) -> ConnectionUid {
    let (domain, number) = match channel {
        Channel::Socket(conn) => (b'c', conn.0),
        Channel::Session(session) => (b's', session.0),
    };
    let mut hash = Sha256::new();
    for text in [&host.id, &host.boot_id] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.update([domain]);
    hash.update(number.to_le_bytes());
    hash.update(opened.0.to_le_bytes());

    let mut uid = [0; 16];
    let unix_ms = host.clock.unix_ns(opened) / 1_000_000;
    let [_, _, ms @ ..] = unix_ms.to_be_bytes();
    for (place, byte) in uid.iter_mut().zip(ms.into_iter().chain(hash.finalize())) {
        *place = byte;
    }
    uid[6] = 0x70 | (uid[6] & 0x0f);
    uid[8] = 0x80 | (uid[8] & 0x3f);
    ConnectionUid(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conn::{ConnId, SessionId};
    use crate::model::time::WallClock;

    fn host() -> Host {
        let clock = WallClock { boot_unix_ns: 1_700_000_000_000_000_000 };
        Host { id: "machine".into(), boot_id: "boot".into(), clock, ..Host::default() }
    }

    const CONN: Channel = Channel::Socket(ConnId(1));

    #[test]
    fn it_has_the_form_of_a_uuid_v7() {
        let uid = connection_uid(&host(), CONN, KernelTime(5_000_000));
        assert_eq!(uid.0[..6], [0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x05], "1 700 000 000 005 ms");
        let text = uid.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "7");
        assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
    }

    #[test]
    fn it_is_the_same_again_and_differs_by_each_of_its_sources() {
        let uid = connection_uid(&host(), CONN, KernelTime(5));
        assert_eq!(uid, connection_uid(&host(), CONN, KernelTime(5)));
        let others = [
            connection_uid(&host(), CONN, KernelTime(6)),
            connection_uid(&host(), Channel::Socket(ConnId(2)), KernelTime(5)),
            connection_uid(&host(), Channel::Session(SessionId(1)), KernelTime(5)),
            connection_uid(&Host { id: "other".into(), ..host() }, CONN, KernelTime(5)),
            connection_uid(&Host { boot_id: "other".into(), ..host() }, CONN, KernelTime(5)),
            connection_uid(&Host { id: "machin".into(), boot_id: "eboot".into(), ..host() }, CONN, KernelTime(5)),
        ];
        assert!(others.iter().all(|other| *other != uid));
    }

    #[test]
    fn it_sorts_by_time() {
        let early = connection_uid(&host(), CONN, KernelTime(1_000_000));
        let late = connection_uid(&host(), CONN, KernelTime(2_000_000));
        assert!(early < late);
    }
}
