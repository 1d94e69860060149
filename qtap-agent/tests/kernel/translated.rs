//! NAT, as for a cluster's services and published ports: each end is reported with the addresses of its own socket, and qtap's own exports are
//! recognized all the same, whichever end's address was translated.

use std::fs::File;
use std::process::Command;

use super::feedback::{Case, guarded, joined, server_port};
use super::lab::{Lab, output_of};
use super::namespace::Namespace;
use super::python::{Script, interpreter, script};
use super::qtap::exec_script;

/// Addresses of the veth pair that joins the namespace to this one.
const HERE: &str = "10.251.77.1";
const THERE: &str = "10.251.77.2";
/// Addresses that no interface has; they exist only through NAT.
const SERVICE: &str = "10.251.78.1";
const CLIENT: &str = "10.251.77.77";

/// A namespace that translates requests to [`SERVICE`], port 80, to its own port `to` at [`THERE`].
fn namespace(to: u16, more: &str) -> Option<Namespace> {
    interpreter()?;
    let namespace = Namespace::with(&[]);
    namespace.join(&format!("{HERE}/24"), &format!("{THERE}/24"));
    output_of(Command::new("ip").args(["route", "add", SERVICE, "via", THERE]));
    namespace.translate(&format!(
        "table ip service {{
  chain before {{ type nat hook prerouting priority dstnat;
    ip daddr {SERVICE} tcp dport 80 dnat to {THERE}:{to}
  }}
  {more}
}}
"
    ))?;
    Some(namespace)
}

#[test]
fn each_end_is_told_as_its_own_socket_has_it() {
    let Some(lab) = Lab::open() else { return };
    let port = server_port();
    let Some(namespace) = namespace(port, "") else { return };
    let line = format!(
        "cd '{}'; mkfifo talk; exec 3<>talk
ip netns exec {} '{}' '{}' sink {THERE} {port} <&3 >listens & server=$!
until [ -s listens ]; do sleep 0.1; done
curl -s -o said 'http://{SERVICE}/app'; result=$?; kill $server; wait $server; exit $result",
        lab.dir().display(),
        namespace.name,
        interpreter().unwrap().display(),
        script("collector.py").display(),
    );
    let records = exec_script(&lab, &[], &line).records;
    records.assert_whole();
    let exchanges = records.exchanges();
    assert_eq!(exchanges.len(), 2, "{}", records.told());
    let by = |direction: &str| {
        exchanges.iter().find(|one| one.text("connection.direction").starts_with(direction)).copied().unwrap()
    };
    let (client, server) = (by("egress"), by("ingress"));
    for exchange in [client, server] {
        assert_eq!(exchange.text("url.full"), format!("http://{SERVICE}/app"), "as it was asked for");
        assert_eq!(exchange.text("client.address"), HERE);
        assert_eq!(exchange.int("client.port"), client.int("client.port"));
    }
    let at = |record: &super::records::Record, which: &str| {
        (record.text(&format!("{which}.address")).to_owned(), record.number(&format!("{which}.port")))
    };
    assert_eq!(at(client, "network.peer"), (SERVICE.to_owned(), 80), "whom it asked");
    assert_eq!(at(client, "server"), (SERVICE.to_owned(), 80));
    assert_eq!(at(server, "server"), (THERE.to_owned(), i64::from(port)), "where it listens");
    assert_eq!(at(server, "network.peer").0, HERE);
}

/// A collector in the namespace; qtap exports to it at [`SERVICE`].
fn exported_to(how: &str, more: &str) -> Option<(Namespace, Case)> {
    let port = server_port();
    let namespace = namespace(port, more)?;
    let run = |arguments: &[&str]| {
        let mut script = Script::run_in(&namespace.name, "collector.py", arguments).unwrap();
        let said = script.line();
        (script, said)
    };
    let (sink, to) = run(&["sink", "127.0.0.1", "0"]);
    let upstream = format!("http://127.0.0.1:{to}/sent-on");
    let collector = run(&["collect", THERE, &port.to_string(), how, &upstream]);
    let mut case = joined(how, THERE, collector, (sink, false))?;
    let exchanged = case.store.replace(&format!("{THERE}:{port}"), &format!("{SERVICE}:80"));
    assert_ne!(exchanged, case.store);
    case.store = exchanged;
    case.namespace = Some(namespace.name.clone());
    Some((namespace, case))
}

#[test]
fn exports_to_a_service_over_http() {
    let Some(lab) = Lab::open() else { return };
    let Some((_namespace, case)) = exported_to("plain", "") else { return };
    guarded(&lab, case);
}

#[test]
fn exports_to_a_service_over_grpc() {
    let Some(lab) = Lab::open() else { return };
    let Some((_namespace, case)) = exported_to("grpc", "") else { return };
    guarded(&lab, case);
}

/// Masquerading translates the source address too: the collector's end then has no address of qtap's.
fn exported_under_another_name(how: &str) {
    let Some(lab) = Lab::open() else { return };
    let masquerading = format!(
        "chain behind {{ type nat hook input priority 100;
    meta l4proto tcp ct original ip daddr {SERVICE} snat to {CLIENT}:1024-2000
  }}"
    );
    let Some((_namespace, case)) = exported_to(how, &masquerading) else { return };
    guarded(&lab, case);
}

#[test]
fn exports_to_a_service_under_another_name_over_http() {
    exported_under_another_name("plain");
}

#[test]
fn exports_to_a_service_under_another_name_over_grpc() {
    exported_under_another_name("grpc");
}

/// All in one network namespace, where the port is translated on loopback.
#[test]
fn exports_to_a_port_of_loopback_that_is_another() {
    let Some(lab) = Lab::open() else { return };
    let port = server_port();
    let Some(namespace) = namespace(port, "") else { return };
    let redirected = format!(
        "table ip loopback {{
  chain out {{ type nat hook output priority -100;
    ip daddr 127.0.0.1 tcp dport 80 redirect to :{port}
  }}
}}
"
    );
    if namespace.translate(&redirected).is_none() {
        return;
    }
    let network = File::open(format!("/run/netns/{}", namespace.name)).unwrap();
    std::thread::scope(|scope| {
        let inside = || {
            use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network)).unwrap();
            let run = |arguments: &[&str]| {
                let mut script = Script::start("collector.py", arguments).unwrap();
                let said = script.line();
                (script, said)
            };
            let (sink, to) = run(&["sink", "127.0.0.1", "0"]);
            let upstream = format!("http://127.0.0.1:{to}/sent-on");
            let collector = run(&["collect", "127.0.0.1", &port.to_string(), "plain", &upstream]);
            let mut case = joined("plain", "127.0.0.1", collector, (sink, false)).unwrap();
            case.store = case.store.replace(&format!(":{port}"), ":80");
            guarded(&lab, case);
        };
        scope.spawn(inside).join().unwrap();
    });
}
