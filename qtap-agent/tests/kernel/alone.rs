//! Capture of a whole host. It runs only where nothing but the test runs: in a virtual machine (`cargo xtask kernel`).

use std::process::Command;

use super::lab::{Lab, output_of};
use super::nginx::Nginx;
use super::qtap::Agent;
use super::scope::config;

#[test]
fn everyone_is_captured_but_qtap() {
    let Some(lab) = Lab::open_alone() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    let config = lab.write("qtap.yaml", config("level: full", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &config]);
    let urls = [("tls", nginx.https("/a.txt?tls")), ("plain", nginx.http("/a.txt?plain"))];
    for (query, url) in &urls {
        output_of(Command::new("curl").args(["-sk", "--http1.1", url]));
        agent.wait_for(&format!("\"url.query\",\"value\":{{\"stringValue\":\"{query}\"}}"), 2);
    }
    // The test itself asks for the health page, so its end is captured too. The agent, which answers, is not.
    let records = agent.stop().records;
    for (query, _) in &urls {
        let exchanges = records.exchanges().into_iter().filter(|one| one.text("url.query") == *query);
        let mut ends: Vec<_> = exchanges
            .inspect(|one| assert!(!one.has("qtap.incomplete"), "{one:?}"))
            .map(|one| (one.text("process.executable.name"), one.text("connection.direction").starts_with("egress")))
            .collect();
        ends.sort_unstable();
        assert_eq!(ends, [("curl", true), ("nginx", false)], "{query}: {}", records.told());
    }
    let own: Vec<_> = records.all.iter().filter(|one| one.text("process.executable.name") == "qtap").collect();
    assert!(own.is_empty(), "qtap captures itself: {own:?}");
}
