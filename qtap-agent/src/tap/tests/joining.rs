//! Sessions that use memory instead of a socket: joined by their hellos, or not.

use super::*;
use crate::model::conn::Binding::{Ciphertext, Nested};
use crate::tap::uid::connection_uid;

fn binding_of(bench: &Bench) -> Vec<Option<Binding>> {
    bench.exchanges().iter().map(|seen| seen.conn.binding).collect()
}

#[test]
fn a_session_is_joined_where_its_hello_passed() {
    for (direction, from_socket) in [(Sent, true), (Sent, false), (Received, true), (Received, false)] {
        let mut bench = Bench::new();
        bench.open(1);
        bench.open_session(9);
        if from_socket {
            bench.handshake(1, 500);
        }
        bench.hello(9, direction, SEVEN);
        if !from_socket {
            bench.handshake(1, 500);
        }
        bench.exchange(session(9));
        bench.exchange(session(9));
        bench.close_session(9);
        bench.close(1);
        let (exchanges, reports) = (bench.exchanges(), bench.reports());
        assert_eq!((exchanges.len(), reports.len()), (2, 1));
        assert_eq!(exchanges[0].conn.uid, reports[0].conn.uid);
        assert_eq!(exchanges[0].conn.peer, inet("10.0.0.2:443"), "known with the first");
        assert_eq!(binding_of(&bench), [Some(Ciphertext); 2]);
        let tls = reports[0].conn.tls.as_ref().unwrap();
        assert_eq!((tls.inspected, tls.library.as_deref()), (true, Some("libssl.so.3")));
        assert!(reports[0].losses.is_empty(), "{:?}", reports[0].losses);
        assert_eq!(bench.tap.take_joined(), [SessionId(9)]);
        assert_eq!(bench.tap.common.greetings.len(), 0, "they leave with their connection");
    }
}

#[test]
fn each_of_two_sessions_finds_its_own() {
    let mut bench = Bench::new();
    for conn in [1, 2] {
        bench.open(conn);
        bench.open_session(conn + 10);
        bench.hello(conn + 10, Sent, conn as u8);
    }
    // The sockets carry data in the opposite order.
    for conn in [2, 1] {
        bench.pass(socket(conn), Sent, other(client_hello(), conn as u8));
        bench.pass(socket(conn), Received, other(server_hello(), 100 + conn as u8));
    }
    for conn in [1, 2] {
        bench.exchange(session(conn + 10));
    }
    let home = |number: usize| bench.exchanges()[number].conn.uid;
    let uid = |conn| connection_uid(&bench.tap.common.host, socket(conn), bench.time());
    assert_eq!((home(0), home(1)), (uid(1), uid(2)));
    assert_ne!(home(0), home(1));
}

#[test]
fn a_hello_that_two_sockets_have_joins_nothing() {
    for direction in [Sent, Received] {
        let mut bench = Bench::new();
        bench.open_session(9);
        bench.hello(9, direction, SEVEN);
        for conn in [1, 2] {
            bench.open(conn);
            bench.handshake(conn, 500);
        }
        bench.exchange(session(9));
        bench.tick(2_000);
        assert_eq!(binding_of(&bench), [Some(Binding::None)]);
        // Nor after one of them has ended.
        bench.close(1);
        bench.tick(4_000);
        bench.exchange(session(9));
        assert_eq!(binding_of(&bench), [Some(Binding::None); 2]);
    }
}

#[test]
fn another_process_another_direction_and_another_random_join_nothing() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    for id in [7, 8, 9] {
        bench.open_session(id);
    }
    let (time, random) = (bench.time(), Random([SEVEN; 32]));
    let hello = SessionHello { session: SessionId(7), time, pid: PID + 1, direction: Sent, random };
    bench.event(Event::SessionHello(hello));
    bench.hello(8, Sent, SEVEN + 1);
    bench.exchange(session(7));
    bench.exchange(session(8));
    bench.exchange(session(9));
    bench.tick(2_000);
    assert_eq!(binding_of(&bench), [Some(Binding::None); 3]);
}

#[test]
fn hellos_that_lead_to_different_sockets_join_nothing() {
    let mut bench = Bench::new();
    for conn in [1, 2] {
        bench.open(conn);
        bench.pass(socket(conn), Sent, other(client_hello(), conn as u8));
        bench.pass(socket(conn), Received, other(server_hello(), 100 + conn as u8));
    }
    bench.open_session(9);
    bench.hello(9, Sent, 1);
    bench.hello(9, Received, 102);
    bench.exchange(session(9));
    bench.tick(2_000);
    assert_eq!(binding_of(&bench), [Some(Binding::None)]);
}

#[test]
fn what_the_kernel_says_comes_first() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open(2);
    bench.open_session(9);
    bench.hello(9, Sent, SEVEN);
    bench.bind(9, 2);
    bench.exchange(session(9));
    assert_eq!(binding_of(&bench), [Some(Nested)]);
    assert!(bench.tap.take_joined().is_empty());
}

#[test]
fn the_first_of_a_direction_counts() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.hello(9, Sent, SEVEN);
    bench.hello(9, Sent, SEVEN + 1);
    bench.exchange(session(9));
    assert_eq!(binding_of(&bench), [Some(Ciphertext)]);
}

#[test]
fn a_session_that_said_nothing_is_joined_at_its_end() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.handshake(1, 500);
    bench.open_session(9);
    bench.hello(9, Received, SEVEN);
    bench.close_session(9);
    bench.close(1);
    let report = bench.reports()[0];
    assert_eq!(report.conn.binding, Some(Ciphertext));
    assert!(report.losses.is_empty(), "{:?}", report.losses);
}

#[test]
fn what_was_told_too_early_finds_its_connection_with_the_next() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.open_session(9);
    bench.hello(9, Sent, SEVEN);
    // A server may write before its hello has left.
    bench.pass(session(9), Sent, REQUEST);
    bench.handshake(1, 500);
    bench.pass(session(9), Received, RESPONSE);
    assert_eq!(binding_of(&bench), [Some(Ciphertext)]);
}

/// A request for a tunnel, and the response that grants it.
fn make_tunnel(bench: &mut Bench, conn: u64) {
    bench.pass(socket(conn), Sent, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    bench.pass(socket(conn), Received, "HTTP/1.1 200 OK\r\n\r\n");
}

/// Found with Node and aiohttp behind a proxy: exchanges inside the tunnel had no addresses.
#[test]
fn a_session_is_joined_where_its_hello_passed_behind_connect() {
    // Whole in one piece, and cut anywhere: after its sixth byte it is recognised.
    for (direction, cut) in [(Sent, 0), (Sent, 6), (Sent, 30), (Received, 0), (Received, 40)] {
        let mut bench = Bench::new();
        bench.open(1);
        make_tunnel(&mut bench, 1);
        bench.open_session(9);
        bench.hello(9, direction, SEVEN);
        for (way, hello) in [(Sent, client_hello()), (Received, server_hello())] {
            let (first, rest) = hello.split_at(if way == direction { cut } else { 0 });
            if !first.is_empty() {
                bench.pass(socket(1), way, first);
            }
            bench.pass(socket(1), way, rest);
        }
        for way in [Sent, Received] {
            bench.pass(socket(1), way, [&[23, 3, 3, 1, 0][..], &[9; 256]].concat());
        }
        bench.exchange(session(9));
        bench.close_session(9);
        bench.close(1);
        let (exchanges, reports) = (bench.exchanges(), bench.reports());
        assert_eq!((exchanges.len(), reports.len()), (2, 1), "what made it, and what was said inside");
        for exchange in exchanges {
            assert_eq!((exchange.conn.uid, &exchange.conn.peer), (reports[0].conn.uid, &inet("10.0.0.2:443")));
        }
        let tls = reports[0].conn.tls.as_ref().unwrap();
        assert_eq!((tls.inspected, tls.sni.as_deref()), (true, Some("api.example.com")));
        assert_eq!(tls.version.as_deref(), Some("1.3"));
        assert_eq!((reports[0].conn.binding, reports[0].requests), (Some(Ciphertext), 2));
        assert!(reports[0].losses.is_empty(), "{:?}", reports[0].losses);
        assert_eq!(bench.tap.common.greetings.len(), 0, "they leave with their connection");
    }
}

/// The proxy's own two sockets carry the hello, but no session of the proxy has it: its connections do not become TLS by it.
#[test]
fn who_passes_a_tunnel_on_is_no_end_of_it() {
    let mut bench = Bench::new();
    bench.open(1);
    make_tunnel(&mut bench, 1);
    bench.open_session(9);
    bench.hello(9, Sent, SEVEN + 1);
    bench.pass(socket(1), Sent, client_hello());
    bench.pass(socket(1), Received, server_hello());
    bench.exchange(session(9));
    bench.close_session(9);
    bench.close(1);
    let of_socket = bench.reports().into_iter().find(|report| report.conn.peer == inet("10.0.0.2:443")).unwrap();
    assert_eq!((&of_socket.conn.tls, of_socket.conn.binding, of_socket.requests), (&None, None, 1));
}

/// After a hole parsing stops: the missing bytes may have been the random.
#[test]
fn a_hello_behind_connect_with_a_hole_joins_nothing() {
    let mut bench = Bench::new();
    bench.open(1);
    make_tunnel(&mut bench, 1);
    bench.open_session(9);
    bench.hello(9, Sent, SEVEN);
    let hello = client_hello();
    bench.pass(socket(1), Sent, &hello[..20]);
    bench.offset(socket(1), Sent, 10);
    bench.pass(socket(1), Sent, &hello[30..]);
    bench.exchange(session(9));
    bench.close_session(9);
    assert_eq!(binding_of(&bench), [Some(Binding::None)]);
}
