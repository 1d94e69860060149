//! The choice of probe sites makes no difference to what is captured.

use std::collections::BTreeMap;

use super::lab::{Lab, noise};
use super::nginx::Nginx;
use super::python::{Script, interpreter, script};
use super::qtap::exec_script;
use super::records::Records;

/// Large enough for all traffic: losses would look like a difference between sites.
const RING: &str = "128mb";

/// The exchanges, without what differs from run to run.
fn said(records: &Records) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for exchange in records.exchanges() {
        let body = |side: &str| {
            let artifact = records.artifact_of(exchange, side);
            format!("{} {}", artifact["body"]["size"], artifact["body"]["digest"])
        };
        let text = format!(
            "{} {} {} → {}",
            exchange.text("http.request.method"),
            exchange.number("http.response.status_code"),
            body("request"),
            body("response")
        );
        all.entry(exchange.text("url.full").to_owned()).or_default().push(text);
    }
    all.values_mut().for_each(|texts| texts.sort());
    all
}

/// Captured bytes per program, and how its sessions were bound to their sockets.
fn carried(records: &Records) -> BTreeMap<String, Vec<(i64, String)>> {
    let mut all: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for closed in records.closed() {
        let one = (closed.number("connection.captured_bytes"), closed.text("connection.binding").to_owned());
        all.entry(closed.text("process.executable.name").to_owned()).or_default().push(one);
    }
    all.values_mut().for_each(|texts| texts.sort());
    all
}

#[test]
fn chosen_sites_see_what_entry_and_return_see() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(mut upstream)) = (interpreter(), Script::start("upstream.py", &[])) else { return };
    let nginx = Nginx::start(&lab, upstream.line().parse().unwrap());
    nginx.serve("a.bin", &noise(300_000));
    let file = lab.write("sent.bin", &noise(200_000)).display().to_string();
    let client = format!("{} {}", python.display(), script("client.py").display());
    let script = format!(
        "set -e; exec > /dev/null
{client} with_requests {} 10
{client} threads {} 6 10
curl -sk --http1.1 '{}' '{}'
curl -sk --http2 -T {file} '{}'
h2load -n 200 -c 2 -m 10 '{}'
printf 'GET /a.bin?s_client HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' |
  openssl s_client -quiet -ign_eof -connect 127.0.0.1:{} 2>&1",
        nginx.https("/up/requests"),
        nginx.https("/a.bin?threads"),
        nginx.https("/a.bin?1"),
        nginx.https("/a.bin?2"),
        nginx.https("/up/put"),
        nginx.https("/a.bin?h2load"),
        nginx.https,
    );
    let chosen = exec_script(&lab, &["--ring-size", RING], &script).records;
    let plain = exec_script(&lab, &["--plain-sites", "--ring-size", RING], &script).records;
    for records in [&chosen, &plain] {
        records.assert_whole();
    }
    let (left, right) = (said(&chosen), said(&plain));
    assert_eq!(left.values().map(Vec::len).sum::<usize>(), 10 + 60 + 2 + 1 + 200 + 1, "{}", chosen.told());
    assert_eq!(left, right);
    // How h2load spreads its streams over two connections, and how many flow control frames are sent, is up to chance.
    let (mut left, mut right) = (carried(&chosen), carried(&plain));
    for all in [&mut left, &mut right] {
        assert_eq!(all.remove("h2load").map(|list| list.len()), Some(2));
        all.get_mut("curl").unwrap().retain(|(bytes, _)| *bytes > 400_000);
    }
    assert_eq!(left, right);
}
