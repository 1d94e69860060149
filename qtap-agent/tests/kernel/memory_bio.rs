//! Programs that give their TLS library memory instead of a socket: each exchange is whole and has its right peer, from the first request on.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::lab::{Guarded, Lab, free_ports, slowed, wait_for_port, wait_until};
use super::nginx::{Nginx, certificate};
use super::python::{Script, interpreter, node, script};
use super::qtap::{Agent, exec};
use super::records::{Record, Records};

/// The command line of a program of these tests.
struct Tool(String);

impl Tool {
    fn python() -> Option<Tool> {
        Some(Tool(format!("{} {}", interpreter()?.display(), script("memory_bio.py").display())))
    }

    fn node() -> Option<Tool> {
        Some(Tool(format!("{} {}", node()?.display(), script("memory_bio.mjs").display())))
    }
}

/// The program of `source`, compiled in each of these ways. None where there is nothing to compile it with: the test is then skipped.
fn compiled(lab: &Lab, source: &str, ways: &[&[&str]]) -> Option<Vec<Tool>> {
    let compile = |(number, words): (usize, &&[&str])| {
        let program = lab.path(&format!("program{number}")).display().to_string();
        let mut build = Command::new("cc");
        build.args(["-o", &program]).arg(script(source)).args(*words);
        build.output().is_ok_and(|built| built.status.success()).then_some(Tool(program))
    };
    let programs: Option<Vec<Tool>> = ways.iter().enumerate().map(compile).collect();
    if programs.is_none() {
        println!("skipped: no libssl to link (cargo xtask setup --for check)");
    }
    programs
}

/// Runs servers, each on its port, from before qtap starts, and clients after that; returns the records. The files of both have been examined
/// by then, so that nothing depends on how soon new files get their probes.
fn talk(lab: &Lab, servers: &[(&Tool, &str, u16)], clients: &[(&Tool, String)]) -> Records {
    let mut lines = format!("cd '{}'\n", lab.dir().display());
    for (tool, how, port) in servers {
        lines += &format!("{} {how} {port} 2>/dev/null &\nservers=\"$servers $!\"\n", tool.0);
    }
    lines += "while ! [ -e go ]; do sleep 0.05; done\n";
    let clients: Vec<_> = clients.iter().map(|(tool, what)| format!("{} {what}", tool.0)).collect();
    lines += &format!("{} && touch well\nkill $servers\nwait\ntouch done\n", clients.join(" && "));
    let mut command = Command::new("timeout");
    let limit = slowed(Duration::from_secs(90)).as_secs().to_string();
    let shell = Guarded(command.args([&limit, "sh", "-c", &lines]).stdin(Stdio::null()).spawn().unwrap());
    servers.iter().for_each(|(_, _, port)| wait_for_port(*port));
    let agent = Agent::start(lab, ["--pid", &shell.pid().to_string()]);
    lab.write("go", b"");
    wait_until("the clients are done", || lab.path("done").exists());
    assert!(lab.path("well").exists(), "a client failed");
    // The close of the servers' connections is reported a moment after that of the clients'.
    std::thread::sleep(slowed(Duration::from_secs(1)));
    agent.stop().records
}

/// The exchanges of each path, the client's and the server's, by the requested name.
fn by_name(records: &Records) -> BTreeMap<String, Vec<&Record>> {
    let mut all: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
    for exchange in records.exchanges() {
        let name = exchange.text("url.path").strip_prefix("/echo/").unwrap_or_default();
        all.entry(name.to_owned()).or_default().push(exchange);
    }
    all
}

/// Each of `count` names was reported by both ends of one connection, each end joined to its socket by ciphertext.
fn assert_both_ends(records: &Records, count: usize, port_of: impl Fn(&str) -> u16) {
    records.over_tcp().assert_whole();
    let all = by_name(records);
    assert_eq!(all.len(), count, "{}", records.told());
    for (name, both) in all {
        let [one, other] = both[..] else { panic!("{name}: {} times\n{}", both.len(), records.told()) };
        for end in [one, other] {
            assert_eq!(end.number("http.response.status_code"), 200, "{name}");
            assert_eq!(end.text("server.address"), "127.0.0.1", "{name}: {}", records.told());
            assert_eq!(end.number("server.port"), i64::from(port_of(&name)), "{name}");
            assert_joined(records, end);
        }
        assert_eq!(one.number("client.port"), other.number("client.port"), "{name}");
        let directions = [one, other].map(|end| end.text("connection.direction") == "ingress");
        assert!(directions[0] != directions[1], "{name}: one end accepted it");
    }
}

/// Makes nginx return the name for a request for `name`, as the other servers do.
fn serve_echo(lab: &Lab, nginx: &Nginx, name: &str) {
    std::fs::create_dir(lab.path("nginx/www/echo")).unwrap();
    nginx.serve(&format!("echo/{name}"), format!("echo {name} ").as_bytes());
}

/// Joined by ciphertext, to a connection with a socket.
fn assert_joined(records: &Records, exchange: &Record) {
    let closed = records.connections().into_iter().rfind(|one| one.connection() == exchange.connection());
    let closed = closed.unwrap_or_else(|| panic!("not told: {exchange:?}\n{}", records.told()));
    assert_eq!(closed.text("connection.binding"), "ciphertext", "{closed:?}");
    assert_eq!(closed.text("network.transport"), "tcp", "{closed:?}");
    assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
}

/// The port at the start of a name.
fn named(name: &str) -> u16 {
    name.split('-').next().unwrap().parse().unwrap()
}

#[test]
fn asyncio_with_its_streams_one_request_a_program() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = Tool::python() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let serve = format!("serve {}", lab.dir().display());
    let clients: Vec<_> = ["", " 1.2"]
        .into_iter()
        .cycle()
        .take(6)
        .enumerate()
        .map(|(number, version)| (&python, format!("raw {port} {port}-{number}{version}")))
        .collect();
    let records = talk(&lab, &[(&python, &serve, port)], &clients);
    assert_both_ends(&records, 6, named);
    let versions = records.closed().into_iter().filter(|one| one.text("tls.protocol.version") == "1.2").count();
    assert_eq!(versions, 6, "both ends of three: {}", records.told());
}

/// No program fed TLS sessions from memory before this one: qtap finds its module where the interpreter is installed.
#[test]
fn the_first_connection_of_the_first_program() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = interpreter() else { return };
    let nginx = Nginx::start(&lab, 9);
    serve_echo(&lab, &nginx, "first");
    let (script, port) = (script("memory_bio.py"), nginx.https.to_string());
    let line = [python.as_os_str(), script.as_os_str(), "raw".as_ref(), port.as_ref(), "first".as_ref()];
    let captured = exec(&lab, [""; 0], line);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let exchange = captured.records.exchange_of("/echo/first");
    assert_eq!(exchange.number("server.port"), i64::from(nginx.https), "{}", captured.records.told());
    assert_joined(&captured.records, exchange);
}

#[test]
fn aiohttp_with_twenty_connections_at_once_to_two_servers() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = Tool::python() else { return };
    certificate(lab.dir());
    let [one, two] = free_ports();
    let serve = format!("serve {}", lab.dir().display());
    let servers = [(&python, serve.as_str(), one), (&python, serve.as_str(), two)];
    let clients = [(&python, format!("many {one} {two}"))];
    let records = talk(&lab, &servers, &clients);
    assert_both_ends(&records, 60, named);
}

#[test]
fn httpx_and_hypercorn_over_both_versions_of_http() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = Tool::python() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let serve = format!("serve2 {}", lab.dir().display());
    let clients = ["1.1", "2"].map(|version| (&python, format!("httpx {port} {version}")));
    let records = talk(&lab, &[(&python, &serve, port)], &clients);
    assert_both_ends(&records, 10, named);
    let second = records.exchanges().into_iter().filter(|one| one.text("network.protocol.version") == "2").count();
    assert_eq!(second, 10, "{}", records.told());
}

#[test]
fn uvicorn_over_both_loops() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(interpreter)) = (Tool::python(), interpreter()) else { return };
    let there = Command::new(interpreter).args(["-c", "import uvicorn, uvloop"]).stderr(Stdio::null()).status();
    if !there.unwrap().success() {
        println!("skipped: no uvicorn and uvloop beside the Python of the tests (cargo xtask setup --for check)");
        return;
    }
    certificate(lab.dir());
    let [one, two] = free_ports();
    let how = ["asyncio", "uvloop"].map(|on| format!("uvicorn {on} {}", lab.dir().display()));
    let servers = [(&python, how[0].as_str(), one), (&python, how[1].as_str(), two)];
    let records = talk(&lab, &servers, &[(&python, format!("many {one} {two}"))]);
    assert_both_ends(&records, 60, named);
}

#[test]
fn node_as_client_and_server_over_both_versions_of_http() {
    let Some(lab) = Lab::open() else { return };
    let Some(node) = Tool::node() else { return };
    certificate(lab.dir());
    let [one, two] = free_ports();
    let serve = format!("serve {}", lab.dir().display());
    let servers = [(&node, serve.as_str(), one), (&node, serve.as_str(), two)];
    let clients = [(&node, format!("many {one} {two}")), (&node, format!("streams {one}"))];
    let records = talk(&lab, &servers, &clients);
    assert_both_ends(&records, 80, named);
}

/// Each program as a client, five times, with itself as a server.
fn each_with_itself(source: &str, ways: &[&[&str]]) {
    let Some(lab) = Lab::open() else { return };
    let Some(programs) = compiled(&lab, source, ways) else { return };
    certificate(lab.dir());
    let serve = format!("serve {}", lab.dir().display());
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for program in &programs {
        let [port] = free_ports();
        let names: Vec<String> = (0..5).map(|number| format!("{port}-{number}")).collect();
        servers.push((program, serve.as_str(), port));
        clients.push((program, format!("get {port} {}", names.join(" "))));
    }
    let records = talk(&lab, &servers, &clients);
    assert_both_ends(&records, 5 * programs.len(), named);
}

/// A BIO implemented by the program itself, as Node's is, over an OpenSSL that is a shared library.
#[test]
fn memory_of_a_programs_own_making() {
    each_with_itself("own_bio.c", &[&["-O2", "-lssl", "-lcrypto"]]);
}

/// Two BIOs of which each reads what is written to the other: one is the session's, one the program's, as with Boost.Asio and gRPC.
#[test]
fn memory_in_pairs() {
    let of = |order| ["-O2", order, "-lssl", "-lcrypto"];
    each_with_itself("own_bio.c", &[&of("-DMEMORY_IN_PAIRS=1"), &of("-DMEMORY_IN_PAIRS=2")]);
}

/// The program asks for OpenSSL's functions by name at run time, as .NET does. Compiled in the ways that there are: with and without optimisation, at a fixed
/// address, and with addresses that are looked up in a table.
#[test]
fn functions_that_are_looked_up_by_name() {
    each_with_itself(
        "by_name.c",
        &[&["-O2"], &["-O0"], &["-O2", "-no-pie", "-fno-pie"], &["-O2", "-fPIC", "-Wl,--no-relax"]],
    );
}

/// The server wants another group than the client offers first, so its first answer is a HelloRetryRequest, whose random is always the same.
#[test]
fn a_hello_that_is_asked_for_again() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = Tool::python() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let serve = format!("serve {}", lab.dir().display());
    let clients: Vec<_> = (0..3).map(|number| (&python, format!("raw {port} {port}-{number}"))).collect();
    let server = Tool(format!("env GROUP=secp384r1 {}", python.0));
    let records = talk(&lab, &[(&server, &serve, port)], &clients);
    assert_both_ends(&records, 3, named);
}

/// The program relays its own ciphertext over a second pair of sockets. Two sockets received the same hello: neither can be taken for the session's.
#[test]
fn a_hello_that_two_sockets_have_tells_nothing() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = Tool::python() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let serve = format!("serve {}", lab.dir().display());
    let clients = [(&python, format!("relay {port} shared")), (&python, format!("raw {port} direct"))];
    let records = talk(&lab, &[(&python, &serve, port)], &clients);
    let all = by_name(&records);
    let client = |name: &str| *all[name].iter().find(|one| one.text("connection.direction") != "ingress").unwrap();
    let server = |name: &str| *all[name].iter().find(|one| one.text("connection.direction") == "ingress").unwrap();
    let shared = client("shared");
    assert!(!shared.has("server.port") && !shared.has("client.port"), "{shared:?}");
    let told = records.connections().into_iter().rfind(|one| one.connection() == shared.connection()).unwrap();
    assert_eq!(told.text("connection.binding"), "none", "{told:?}");
    // The server received it once, and so did a client that relays nothing.
    for one in [server("shared"), client("direct"), server("direct")] {
        assert_joined(&records, one);
    }
}

#[test]
fn a_session_that_goes_from_thread_to_thread() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = Tool::python() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let serve = format!("serve {}", lab.dir().display());
    let clients = [(&python, format!("threads {port} {port}-hops"))];
    let records = talk(&lab, &[(&python, &serve, port)], &clients);
    assert_both_ends(&records, 1, named);
}

#[test]
fn a_process_with_both_kinds() {
    let Some(lab) = Lab::open() else { return };
    let Some(python) = Tool::python() else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let serve = format!("serve {}", lab.dir().display());
    let clients = [(&python, format!("both {port}"))];
    let records = talk(&lab, &[(&python, &serve, port)], &clients);
    records.over_tcp().assert_whole();
    let (closed, all) = (records.closed(), by_name(&records));
    assert_eq!(all.len(), 10, "{}", records.told());
    for (name, both) in all {
        let client = both.iter().find(|one| one.text("connection.direction") != "ingress").unwrap();
        let connection = closed.iter().find(|one| one.connection() == client.connection()).unwrap();
        let expected: &[&str] = if name.contains("memory") { &["ciphertext"] } else { &["nested", "set_fd"] };
        assert!(expected.contains(&connection.text("connection.binding")), "{name}: {connection:?}");
        assert_eq!((both.len(), both[0].number("client.port")), (2, both[1].number("client.port")), "{name}");
    }
}

/// Nobody knows what was exchanged before qtap started: such a session has no connection, and its exchanges say so.
#[test]
fn a_session_that_was_open_before_stays_without_a_connection() {
    let Some(lab) = Lab::open() else { return };
    let (Some(python), Some(_)) = (interpreter(), Tool::python()) else { return };
    certificate(lab.dir());
    let [port] = free_ports();
    let (folder, port) = (lab.dir().display().to_string(), port.to_string());
    let _server = Script::run_by(python.clone(), "memory_bio.py", &["serve", &folder, &port]);
    let waited = Command::new(&python).arg(script("memory_bio.py")).args(["wait", &port]).status();
    assert!(waited.unwrap().success());
    let mut client = Script::run_by(python, "memory_bio.py", &["kept", &port]);
    assert_eq!(client.line(), "connected");
    assert_eq!(client.ask("before"), "HTTP/1.1 200 OK");
    let agent = Agent::start(&lab, ["--pid", &client.child.pid().to_string()]);
    for name in ["first", "second"] {
        assert_eq!(client.ask(name), "HTTP/1.1 200 OK");
    }
    agent.wait_for("\"artifact_record\"", 2);
    drop(client);
    let records = agent.stop().records;
    for name in ["first", "second"] {
        let exchange = records.exchange_of(&format!("/echo/{name}"));
        assert!(!exchange.has("qtap.incomplete") && !exchange.has("server.port"), "{exchange:?}");
    }
    let unbound = records.connections().into_iter().filter(|one| one.text("connection.binding") == "none").count();
    assert!(unbound >= 1, "{}", records.told());
}
