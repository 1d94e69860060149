//! The address that serves health and metrics. In: the flag's text. Out: an address and a port.

use std::net::SocketAddr;

/// Parses an address of this host; `localhost` is accepted too, because it is commonly used.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    local.as_deref().unwrap_or(text).parse().map_err(|_| {
        "an address and a port, such as 127.0.0.1:10001 or [::1]:10001; 0.0.0.0:10001 is every IPv4 address of this host".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host() {
        assert_eq!(parse("localhost:9"), Ok(SocketAddr::from(([127, 0, 0, 1], 9))));
        assert_eq!(parse("[::1]:9").map(|address| address.port()), Ok(9));
        for wrong in [":9", "9", "localhost", "localhost:", "127.0.0.1", "host.example:9", "127.0.0.1:65536"] {
            assert!(parse(wrong).is_err_and(|help| help.contains("127.0.0.1:10001")), "{wrong}");
        }
    }
}
