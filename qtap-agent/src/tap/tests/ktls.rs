//! TLS in the kernel: the kernel counts the ciphertext it produces, the probes the bytes that the calls move.

use super::*;
use crate::model::event::KernelTls;

/// A connection whose keys were given to the kernel after its handshake.
fn given(by_library: bool) -> Bench {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.give(Some(Sent), by_library);
    bench
}

impl Bench {
    fn give(&mut self, direction: Option<Direction>, by_library: bool) {
        let time = self.time();
        self.event(Event::KernelTls(KernelTls { conn: ConnId(1), direction, by_library, time }));
    }
}

#[test]
fn what_the_kernel_adds_to_records_is_no_loss() {
    let mut bench = given(true);
    bench.open_session(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.close_session(9);
    let moved = client_hello().len() + 500;
    let sent = Count { encrypted: moved as u64, kernel: Some(moved as u64 + 22), ..carried(moved) };
    bench.close_with(1, sent, carried(500));
    let report = bench.reports()[0];
    let tls = report.conn.tls.as_ref().unwrap();
    assert_eq!((tls.in_kernel.name(), tls.inspected), (Some("sent"), true));
    assert!(report.losses.is_empty(), "{:?}", report.losses);
    assert_eq!(bench.exchanges().len(), 1);
}

#[test]
fn what_calls_moved_and_the_kernel_did_not_is_unaccounted() {
    let mut bench = given(true);
    let moved = client_hello().len() + 500;
    let sent = Count { encrypted: moved as u64, kernel: Some(moved as u64 - 22), ..carried(moved) };
    bench.close_with(1, sent, carried(0));
    assert_eq!(bench.reports()[0].losses.bytes(Loss::Unaccounted), 22);
}

#[test]
fn a_program_that_gives_its_keys_away_is_said_to_be_not_seen() {
    let mut bench = given(false);
    bench.close(1);
    let tls = bench.reports()[0].conn.tls.as_ref().unwrap();
    assert!(!tls.inspected, "{tls:?}");
    assert!(tls.uninspected_reason.as_ref().unwrap().starts_with("kTLS: the kernel was given"), "{tls:?}");
}

#[test]
fn one_that_was_so_before_it_was_seen_is_tls_though_no_record_of_it_is_seen() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.give(None, false);
    let (sent, received) = (Count { encrypted: 100, kernel: Some(122), ..carried(100) }, carried(0));
    bench.close_with(1, sent, received);
    let report = bench.reports()[0];
    let tls = report.conn.tls.as_ref().unwrap();
    assert_eq!((report.conn.protocol, tls.in_kernel.name()), (Protocol::Tls, Some("unknown")));
    assert!(tls.uninspected_reason.as_ref().unwrap().starts_with("no call of a TLS library"), "{tls:?}");
    assert!(report.losses.is_empty(), "{:?}", report.losses);
}
