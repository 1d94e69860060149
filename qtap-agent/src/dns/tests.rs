//! Messages written by hand from RFC 1035, and random changes of them.
#![allow(clippy::unwrap_used)]

use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::test_runner::RngSeed;

use super::*;

/// `WWW.example.com` A → CNAME edge.example.com, A 192.0.2.7 (TTL 300), AAAA 2001:db8::7, with compressed names.
fn message() -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 3, 0, 0, 0, 0];
    message.extend_from_slice(b"\x03WWW\x07example\x03com\0\0\x01\0\x01");
    message.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x07\x04edge\xc0\x10");
    message.extend_from_slice(b"\xc0\x2d\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x07");
    message.extend_from_slice(b"\xc0\x2d\0\x1c\0\x01\0\0\0\x05\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07");
    message
}

#[test]
fn an_answer_with_compressed_names() {
    let wanted = DnsAnswer {
        question: "www.example.com".to_owned(),
        kind: 1,
        code: 0,
        truncated: false,
        addresses: vec![("192.0.2.7".parse().unwrap(), 300), ("2001:db8::7".parse().unwrap(), 5)],
        aliases: vec!["edge.example.com".to_owned()],
    };
    assert_eq!(answer(&message()), Some(wanted));
}

#[test]
fn what_is_cut_is_told_as_far_as_it_goes() {
    let whole = message();
    for len in 0..whole.len() {
        let read = answer(&whole[..len]);
        // The question ends at byte 33.
        assert_eq!(read.is_some(), len >= 33, "{len}");
        assert!(read.is_none_or(|read| read.addresses.len() < 2));
    }
}

#[test]
fn what_is_no_answer_is_none() {
    let changed = |at: usize, byte: u8| {
        let mut message = message();
        message[at] = byte;
        answer(&message)
    };
    assert_eq!(changed(2, 0x01), None, "a query");
    assert_eq!(changed(2, 0xa9), None, "an update");
    assert_eq!(changed(5, 0), None, "no question");
    assert_eq!(changed(5, 2), None, "two of them");
    assert_eq!(changed(32, 3), None, "another class");
    assert_eq!(changed(12, 0x40), None, "a label of no kind");
    assert_eq!(changed(12, 0xc0), None, "a pointer forward");
    assert_eq!(changed(3, 0x83).map(|read| (read.code, read.code_name())), Some((3, "NXDOMAIN")));
    assert_eq!(changed(2, 0x83).map(|read| read.truncated), Some(true));
}

#[test]
fn names_that_never_end_end() {
    let mut message = vec![0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(b"\xc0\x0c\0\x01\0\x01");
    assert_eq!(answer(&message), None, "a pointer to itself");
    // Each label points back to the one before.
    let mut message = vec![0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(std::iter::repeat_n(b"\x3f".iter().copied().chain([b'a'; 63]), 40).flatten());
    message.extend_from_slice(b"\0\0\x01\0\x01");
    assert_eq!(answer(&message), None, "longer than names are");
}

#[test]
fn bytes_that_are_no_letters_are_written_as_numbers() {
    let mut message = vec![0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(b"\x04a.\xff\n\x01b\0\0\x1c\0\x01");
    let read = answer(&message).unwrap();
    assert_eq!((read.question.as_str(), read.kind_name()), ("a\\046\\255\\010.b", Some("AAAA")));
}

#[test]
fn frames_are_put_together_and_a_hole_ends_them() {
    let stream: Vec<u8> = [&[0, 3][..], b"abc", &[0, 0], &[0, 2], b"de"].concat();
    for cut in 1..stream.len() {
        let mut frames = Frames::default();
        let mut all = Vec::new();
        for (at, part) in [(0, &stream[..cut]), (cut, &stream[cut..])] {
            assert!(frames.take(at as u64, part));
            all.extend(std::iter::from_fn(|| frames.next_message()));
        }
        assert_eq!(all, [&b"abc"[..], b"", b"de"], "{cut}");
    }
    let mut frames = Frames::default();
    assert!(frames.take(0, &[0, 9]) && !frames.take(5, b"abc"));
    assert!(!frames.take(8, &[0, 1, 2]) && frames.next_message().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(53), ..ProptestConfig::default() })]

    /// Whatever is changed in an answer, parsing stays within bounds.
    #[test]
    fn any_bytes_are_read(changes in proptest::collection::vec((0..90usize, any::<u8>()), 0..12), cut in 0..90usize) {
        let mut message = message();
        for (at, byte) in changes {
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
        }
        message.truncate(cut.max(12));
        if let Some(read) = answer(&message) {
            assert!(read.addresses.len() + read.aliases.len() <= usize::from(RECORDS));
            assert!(read.question.len() <= 4 * NAME_BYTES + 4 * 63 + 1);
        }
    }
}
