//! Connections that were open before qtap was.

use super::lab::Lab;
use super::nginx::Nginx;
use super::python::Script;
use super::qtap::Agent;

#[test]
fn captured_from_the_next_request_on() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", &[b'a'; 5000]);
    let plain = format!("http://127.0.0.1:{}", nginx.http);
    let tls = format!("https://127.0.0.1:{}", nginx.https);
    let (Some(mut plain), Some(mut tls)) =
        (Script::start("client.py", &["kept", &plain]), Script::start("client.py", &["kept", &tls]))
    else {
        return;
    };
    let ports: Vec<i64> =
        [&mut plain, &mut tls].map(|kept| kept.line().rsplit(' ').next().unwrap().parse().unwrap()).into();
    for kept in [&mut plain, &mut tls] {
        assert_eq!(kept.ask("/a.txt?before"), "200 5000");
    }
    let pids = [plain.child.pid(), tls.child.pid()].map(|pid| pid.to_string());
    let agent = Agent::start(&lab, ["--pid", &pids[0], "--pid", &pids[1]]);
    for query in ["first", "second", "third"] {
        for kept in [&mut plain, &mut tls] {
            assert_eq!(kept.ask(&format!("/a.txt?{query}")), "200 5000");
        }
    }
    agent.wait_for("\"artifact_record\"", 6);
    drop((plain, tls));
    agent.wait_for("\"closed\"", 2);
    let records = agent.stop().records;
    records.assert_whole();
    assert_eq!(records.exchanges().len(), 6, "{}", records.told());
    for exchange in records.exchanges() {
        assert_ne!(exchange.text("url.query"), "before");
        assert!(exchange.text("connection.direction").starts_with("egress"), "the request tells who is the client");
        let port = if exchange.text("url.scheme") == "https" { nginx.https } else { nginx.http };
        assert_eq!(exchange.number("server.port"), i64::from(port));
        assert!(ports.contains(&exchange.number("client.port")));
        assert_eq!(exchange.number("http.response.body.size"), 5000);
        assert!(exchange.text("process.executable.name").starts_with("python"));
    }
    let inspected: Vec<_> =
        records.closed().into_iter().filter(|record| record.flag("connection.tls.inspected")).collect();
    assert_eq!(inspected.len(), 1, "{}", records.told());
    assert!(["nested", "cached"].contains(&inspected[0].text("connection.binding")), "{:?}", inspected[0]);
}
