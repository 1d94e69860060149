//! Functions found by their machine code: reported once a connection has confirmed them, and not before.

use super::*;

const LIBRARY: u32 = 3;

impl Bench {
    fn open_on_trial(&mut self, id: u64) {
        self.event(Event::SessionOpened(SessionOpened {
            session: SessionId(id),
            time: self.time(),
            pid: PID,
            library: Some("envoy".to_owned()),
            joined_late: false,
            is_part: false,
            on_trial: Some(LIBRARY),
        }));
    }

    fn unproven(&self) -> u64 {
        self.tap.losses().count(Loss::Unproven)
    }
}

#[test]
fn a_socket_with_tls_confirms_them() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open_on_trial(9);
    bench.bind(9, 1);
    bench.handshake(1, 500);
    assert!(bench.tap.take_confirmed().is_empty(), "no plaintext yet");
    bench.exchange(session(9));
    assert_eq!(bench.tap.take_confirmed(), [LIBRARY]);
    bench.exchange(session(9));
    assert_eq!((bench.exchanges().len(), bench.unproven()), (2, 0));
    assert!(bench.exchanges().iter().all(|seen| seen.conn.peer == inet("10.0.0.2:443")));
    assert!(bench.tap.take_confirmed().is_empty(), "told once");
}

#[test]
fn what_meets_no_socket_tells_nothing_and_is_counted() {
    let mut bench = Bench::new();
    bench.open_on_trial(9);
    bench.exchange(session(9));
    bench.tick(2_000);
    bench.exchange(session(9));
    bench.close_session(9);
    bench.tick(4_000);
    assert_eq!((bench.exchanges().len(), bench.unproven()), (0, 2));
    assert!(bench.tap.take_confirmed().is_empty());
}

#[test]
fn a_socket_without_tls_confirms_nothing() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.exchange(socket(1));
    bench.open_on_trial(9);
    bench.bind(9, 1);
    bench.exchange(session(9));
    bench.tick(2_000);
    bench.close_session(9);
    let tls = bench.exchanges().iter().filter(|seen| seen.conn.tls.is_some()).count();
    assert_eq!((bench.exchanges().len(), tls, bench.unproven()), (1, 0, 1));
    assert!(bench.tap.take_confirmed().is_empty());
}

/// The first session of a program behind a proxy is inside a tunnel.
#[test]
fn tls_behind_connect_confirms_them_too() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.pass(socket(1), Sent, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    bench.pass(socket(1), Received, "HTTP/1.1 200 OK\r\n\r\n");
    bench.open_on_trial(9);
    bench.bind(9, 1);
    bench.skip(socket(1), Sent, 700, Skip::Encrypted);
    bench.skip(socket(1), Received, 700, Skip::Encrypted);
    bench.exchange(session(9));
    assert_eq!(bench.tap.take_confirmed(), [LIBRARY]);
    bench.close_session(9);
    bench.close(1);
    assert_eq!((bench.exchanges().len(), bench.unproven()), (2, 0), "what made it, and what was said inside");
}

#[test]
fn ciphertext_confirms_them() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open_on_trial(9);
    bench.hello(9, Sent, SEVEN);
    bench.handshake(1, 500);
    bench.exchange(session(9));
    assert_eq!(bench.tap.take_confirmed(), [LIBRARY]);
    assert_eq!((bench.exchanges().len(), bench.unproven()), (1, 0));
}

#[test]
fn one_session_confirms_for_all_and_those_that_wait_are_told() {
    let mut bench = Bench::new();
    bench.open_on_trial(8);
    bench.exchange(session(8));
    assert!(bench.exchanges().is_empty());
    bench.open(1);
    bench.open_on_trial(9);
    bench.bind(9, 1);
    bench.handshake(1, 500);
    bench.exchange(session(9));
    assert_eq!(bench.exchanges().len(), 1);
    // It found no socket, like any session that uses memory; its library is confirmed by now.
    bench.tick(2_000);
    let bindings: Vec<_> = bench.exchanges().iter().map(|seen| seen.conn.binding).collect();
    assert_eq!(bindings, [Some(Binding::Nested), Some(Binding::None)]);
    assert_eq!(bench.unproven(), 0);
}

#[test]
fn functions_that_have_names_are_not_on_trial() {
    let mut bench = Bench::new();
    bench.open_session(9);
    bench.exchange(session(9));
    bench.tick(2_000);
    assert_eq!((bench.exchanges().len(), bench.unproven()), (1, 0));
}
