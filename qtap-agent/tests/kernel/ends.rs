//! How connections end, where the end comes at an odd moment.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::lab::Lab;
use super::qtap;

/// The peer is gone when the last word is said: the kernel resets the connection while the call that says it is under way.
#[test]
fn a_last_word_to_a_peer_that_left_is_of_its_connection() {
    let Some(lab) = Lab::open() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let line = format!(
        r"say() {{ printf 'GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' $1 | dd iflag=fullblock bs=4096 status=none >&3; }}
exec 3<>/dev/tcp/127.0.0.1/{port}; say first; cat <&3; say last; exit 0"
    );
    let captured = qtap::exec(&lab, [] as [&str; 0], ["bash", "-c", &line]);
    server.join().unwrap();
    assert!(captured.code == Some(0) && captured.stdout.ends_with("ok"), "{}", captured.stderr);
    let records = captured.records;
    let connections = records.connections();
    assert_eq!(connections.len(), 1, "{}", records.told());
    assert_eq!(connections[0].number("connection.lost_bytes"), 0);
    assert_eq!(connections[0].number("connection.bytes_sent"), 32 + 31);
    let told: Vec<_> =
        records.exchanges().iter().map(|one| (one.text("url.path"), one.text("qtap.incomplete"))).collect();
    assert_eq!(told, [("/first", ""), ("/last", "no_response")]);
}
