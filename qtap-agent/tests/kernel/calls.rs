//! System calls that few programs use: their bytes are captured like those of any other call.

use std::path::Path;

use super::lab::Lab;
use super::python::{interpreter, script};
use super::qtap::exec;
use super::records::Records;

/// One exchange made with such calls (`calls.py`), captured whole at both ends. Returns the records.
fn told_of(way: &str) -> Option<Records> {
    let lab = Lab::open()?;
    let python = interpreter()?;
    let line = [python.display().to_string(), script("calls.py").display().to_string(), way.to_owned()];
    let captured = exec(&lab, [] as [&str; 0], line);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let printed: Vec<_> = captured.stdout.split_whitespace().collect();
    let [asked, said, address, port] = printed[..] else { panic!("{}", captured.stdout) };
    let records = captured.records;
    records.assert_whole();
    let exchanges = records.exchanges();
    assert_eq!(exchanges.len(), 2, "{}", records.told());
    for exchange in exchanges {
        assert_eq!(exchange.text("client.address"), address);
        assert_eq!(exchange.number("client.port").to_string(), port);
        for (side, sha256) in [("request", asked), ("response", said)] {
            let body = &records.artifact_of(exchange, side)["body"];
            assert_eq!(body["digest"], format!("sha256:{sha256}"), "{way}: {side}");
        }
    }
    Some(records)
}

/// `sendmmsg` of several messages.
#[test]
fn several_messages_that_are_sent() {
    told_of("messages_sent");
}

/// A connection whose first call carries many small pieces: those that the probe inspects do not show which protocol it is.
#[test]
fn first_calls_in_small_pieces() {
    for way in ["begun_in_messages", "begun_in_buffers"] {
        told_of(way);
    }
}

/// `recvmmsg` of several messages, none of which fills its buffer: the rest of each buffer is not part of the stream.
#[test]
fn several_messages_that_are_received() {
    told_of("messages_received");
}

/// `preadv2` and `pwritev2`.
#[test]
fn calls_with_a_position() {
    told_of("positioned");
}

/// Data that the kernel returns to the sender with a timestamp (`MSG_ERRQUEUE`) was not received.
#[test]
fn what_is_given_back_with_its_time() {
    told_of("stamped");
}

/// An `ftp:` URL requested through an HTTP proxy, as the first request of its connection.
#[test]
fn a_request_for_another_scheme() {
    let Some(records) = told_of("by_ftp") else { return };
    assert_eq!(records.exchanges().iter().map(|one| one.text("url.full")).collect::<Vec<_>>(), ["ftp://x/way"; 2]);
}

/// A `connect` that does nothing because the first bytes go with the SYN (`TCP_FASTOPEN_CONNECT`): the kernel starts counting when they are sent.
#[test]
fn a_connection_that_its_first_word_opens() {
    let Some(records) = told_of("opened_by_the_first_word") else { return };
    let closed = records.closed();
    assert_eq!(closed.len(), 2, "{}", records.told());
    for connection in closed {
        assert_eq!((connection.carried(), connection.number("connection.lost_bytes")), (12_094, 0), "{connection:?}");
    }
}

/// MPTCP sockets are not TCP sockets: at both ends, and where one end speaks TCP only. Each connection is reported, and so is its end.
#[test]
fn connections_over_several_paths() {
    if !Path::new("/proc/sys/net/mptcp/enabled").exists() {
        println!("skipped: this kernel has no MPTCP");
        return;
    }
    for way in ["paths_of_both", "paths_of_the_client", "paths_of_the_server"] {
        let Some(records) = told_of(way) else { return };
        let closed = records.closed();
        assert_eq!(closed.len(), 2, "{way}: {}", records.told());
        for connection in closed {
            assert_eq!((connection.carried(), connection.text("network.transport")), (12_094, "tcp"), "{connection:?}");
        }
    }
}

/// A socket that is reused after its first connection was refused: the refusal counts as no byte sent, and unknown values are left out.
#[test]
fn a_socket_that_was_refused_at_first() {
    let Some(records) = told_of("refused_at_first") else { return };
    for connection in records.connections() {
        assert!(connection.int("client.port") != Some(0), "{connection:?}");
        if connection.int("connection.requests").unwrap_or(0) == 0 && connection.flag("connection.finalized") {
            assert_eq!((connection.carried(), connection.number("connection.lost_bytes")), (0, 0), "{connection:?}");
        }
    }
}
