//! What qtap reports about processes: the TLS library of each, which of its functions have probes, which traffic is not seen, and why.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::lab::{Guarded, Lab, free_ports, output_of, slowed, wait_until};
use super::nginx::Nginx;
use super::python::{installed, interpreter};
use super::qtap::{Agent, command, get};
use super::scope::config;

/// A request whose response is read slowly, over TLS on memory instead of a socket, on a connection opened before qtap starts.
const ASYNCIO: &str = r"
import asyncio, os, ssl, sys
async def main():
    reader, writer = await asyncio.open_connection('127.0.0.1', int(sys.argv[1]), ssl=ssl._create_unverified_context())
    open('connected', 'w').close()
    while not os.path.exists('go'):
        await asyncio.sleep(0.05)
    writer.write(b'GET /long.bin HTTP/1.1\r\nHost: x\r\n\r\n')
    for _ in range(600 * int(os.environ.get('QTAP_TEST_SLOWNESS', '1'))):
        await reader.read(2048)
        await asyncio.sleep(0.05)
asyncio.run(main())
";

/// The entry in `/processes` of the process whose executable's name starts with `name`: a version may follow.
fn of(port: u16, name: &str) -> Option<Value> {
    let answer = get(port, "/processes")?;
    let told: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    let those = told["processes"].as_array()?.clone();
    let called = |one: &Value| one["executable"].as_str()?.rsplit('/').next().map(|file| file.starts_with(name));
    those.into_iter().find(|one| called(one) == Some(true))
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Slow clients, all run by one shell. They begin when a file `go` exists.
fn clients(lab: &Lab, nginx: &Nginx) -> Option<Guarded> {
    let (python, script) = (interpreter()?, lab.write("slow.py", ASYNCIO.as_bytes()));
    let url = nginx.https("/long.bin");
    let lines = format!(
        "cd '{dir}'
         '{python}' '{script}' {port} &
         while ! [ -e go ]; do sleep 0.1; done
         curl -sk --http1.1 --limit-rate 20k -o /dev/null '{url}' &
         cp \"$(command -v curl)\" '{own}'
         QTAP_STRATEGY=ignore '{own}' -sk --http1.1 --limit-rate 20k -o /dev/null '{url}' &
         wget -q --no-check-certificate --limit-rate=20k -O /dev/null '{url}' &
         sleep {there}",
        dir = lab.dir().display(),
        own = lab.path("left-alone").display(),
        python = python.display(),
        script = script.display(),
        port = nginx.https,
        there = slowed(Duration::from_secs(40)).as_secs(),
    );
    let limit = slowed(Duration::from_secs(60)).as_secs().to_string();
    Some(Guarded(quiet(Command::new("timeout").args([&limit, "sh", "-c", &lines])).spawn().unwrap()))
}

#[test]
fn each_process_has_its_library_and_what_is_not_seen_its_reason() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    // As much as the clients read at their limited rate in that time.
    let seconds = slowed(Duration::from_secs(100)).as_secs();
    nginx.serve("long.bin", &vec![b'x'; 20_000 * seconds as usize]);
    let Some(clients) = clients(&lab, &nginx) else { return };
    wait_until("the connection is there before qtap", || lab.path("connected").exists());
    let file = lab.write("qtap.yaml", config("level: summary", "").as_bytes()).display().to_string();
    let agent = Agent::start(&lab, ["--config", &file, "--pid", &clients.pid().to_string()]);
    lab.write("go", b"");
    let reason = |executable: &str| {
        of(agent.port, executable).and_then(|one| Some(one["reason"].as_str()?.to_owned())).unwrap_or_default()
    };
    let bytes = |executable: &str, which: &str| of(agent.port, executable).and_then(|one| one[which].as_u64());

    wait_until("what wget says is seen", || bytes("wget", "seen_bytes") > Some(0));
    let wget = of(agent.port, "wget").unwrap();
    assert_eq!((wget["hooks"].as_str(), wget["unseen_bytes"].as_u64()), (Some("attached"), Some(0)), "{wget:#}");
    assert!(wget["tls"][0]["version"].as_str().unwrap().starts_with("GnuTLS 3."), "{wget:#}");
    assert_eq!((&wget["reason"], &wget["tls_connections"]), (&Value::Null, &Value::from(1)), "{wget:#}");

    wait_until("memory instead of a socket is told", || reason("python3").contains("memory instead of a socket"));

    let curl = of(agent.port, "curl").unwrap();
    let library = curl["tls"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"].as_str().is_some_and(|name| name.starts_with("libssl.so")));
    let library = library.unwrap_or_else(|| panic!("{curl:#}"));
    assert_eq!(library["hooks"], "attached", "{library:#}");
    assert!(library["version"].as_str().unwrap().starts_with("OpenSSL"), "{library:#}");
    assert!(library["build_id"].as_str().unwrap().len() >= 32, "{library:#}");
    wait_until("what curl says is seen", || bytes("curl", "seen_bytes") > Some(0));
    assert_eq!((reason("curl").as_str(), bytes("curl", "unseen_bytes")), ("", Some(0)));

    assert_eq!(reason("left-alone"), "left out by its own environment (QTAP_STRATEGY)");

    let page = format!("127.0.0.1:{}", agent.port);
    let table = output_of(command().args(["processes", "--httpd-listen", &page]));
    assert!(
        table.starts_with("PID ") && table.contains("/wget") && table.contains("why: its TLS library is given memory"),
        "{table}"
    );
    let json: Value =
        serde_json::from_str(&output_of(command().args(["processes", "--json", "--httpd-listen", &page]))).unwrap();
    let libraries = json["libraries"].as_array().unwrap();
    let mut functions = libraries.iter().flat_map(|library| library["functions"].as_array().unwrap());
    assert!(functions.any(|one| one["name"] == "SSL_write" && one["probes"] != ""), "{json:#}");
    agent.stop();
}

#[test]
fn a_go_program_is_told_as_such() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = installed("caddy") else { return };
    let [port] = free_ports();
    let mut caddy = Command::new(program);
    caddy.args(["respond", "--listen", &format!("127.0.0.1:{port}")]);
    for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        caddy.env(name, lab.dir());
    }
    let caddy = Guarded(quiet(&mut caddy).spawn().unwrap());
    let agent = Agent::start(&lab, ["--pid", &caddy.pid().to_string()]);
    wait_until("caddy is told", || of(agent.port, "caddy").is_some());
    let told = of(agent.port, "caddy").unwrap();
    if cfg!(target_arch = "aarch64") {
        assert_eq!((told["tls"][0]["name"].as_str(), told["hooks"].as_str()), (Some("Go crypto/tls"), Some("none")));
        assert!(told["reason"].as_str().unwrap().contains("Go is probed on x86-64 only"), "{told:#}");
        return;
    }
    assert_eq!((told["tls"][0]["name"].as_str(), told["hooks"].as_str()), (Some("crypto/tls"), Some("attached")));
    assert!(told["tls"][0]["version"].as_str().unwrap().starts_with("go1."), "{told:#}");
    assert_eq!(told["reason"], Value::Null, "{told:#}");
    agent.stop();
}

#[test]
fn without_an_agent_that_is_said() {
    let [port] = free_ports();
    let output = command().args(["processes", "--httpd-listen", &format!("127.0.0.1:{port}")]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("no qtap answers at") && said.contains("--httpd-listen"), "{said}");
}
