//! Bodies with a content coding, from common servers: each is reported as carried and as decoded.

use std::path::Path;
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, digest, free_ports, output_of, wait_for_port};
use super::nginx::Nginx;
use super::python::{installed, interpreter};
use super::qtap::{Agent, exec_script};
use super::records::Records;

/// A text that compresses well, and that no coding sends in one piece.
fn text() -> String {
    (0..6000).map(|number| format!("Zeile {number}: Grüße aus dem Süden, {}\n", number * number)).collect()
}

/// Caddy serving the files of `root`: compressed on the fly below `/made/`; precompressed, as files with the suffix of their coding, below
/// `/ready/`. (Its standard build has no Brotli encoder, but serves Brotli files.)
fn caddy(lab: &Lab, root: &Path) -> Option<(Guarded, u16)> {
    let program = installed("caddy")?;
    let [port] = free_ports();
    let file = lab.write(
        "Caddyfile",
        format!(
            "{{\n admin off\n auto_https off\n persist_config off\n}}
http://127.0.0.1:{port} {{
 bind 127.0.0.1
 root * {}
 handle_path /made/* {{\n  encode zstd gzip\n  file_server\n }}
 handle_path /ready/* {{\n  file_server {{\n   precompressed br\n  }}\n }}
}}
",
            root.display()
        )
        .as_bytes(),
    );
    let mut caddy = Command::new(program);
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
    for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        caddy.env(name, lab.dir());
    }
    let caddy = Guarded(caddy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_for_port(port);
    Some((caddy, port))
}

/// The response to `query` is reported with the digests of what curl received, as carried and as decoded.
fn assert_told(records: &Records, query: &str, coding: &str, carried: &[u8]) {
    let exchange = records.exchanges().into_iter().find(|one| one.text("url.query") == query);
    let response = records.artifact_of(exchange.unwrap_or_else(|| panic!("{query}: {}", records.told())), "response");
    let headers = response["headers"].as_array().unwrap();
    let named = headers.iter().find(|field| field["name"].as_str().unwrap().eq_ignore_ascii_case("content-encoding"));
    assert_eq!(named.unwrap()["value"], coding, "{query}");
    let body = &response["body"];
    assert_eq!(body["digest"], digest(carried), "{query}: as carried");
    assert_eq!(body["size"], carried.len(), "{query}");
    assert_eq!(body["decoded"]["digest"], digest(text().as_bytes()), "{query}: as decoded");
    assert_eq!(body["decoded"]["size"], text().len(), "{query}");
    assert!(body["decoded"]["data"] == text().as_str(), "{query}: the text itself");
}

#[test]
fn digests_of_what_was_carried_and_of_what_it_means() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", text().as_bytes());
    let root = lab.path("nginx/www");
    let Some(python) = interpreter() else { return };
    let make =
        "import brotli, sys; open(sys.argv[1] + '.br', 'wb').write(brotli.compress(open(sys.argv[1], 'rb').read()))";
    output_of(Command::new(python).args(["-c", make]).arg(root.join("a.txt")));
    let Some((caddy, port)) = caddy(&lab, &root) else { return };
    let caddy_url = |way: &str, query: &str| format!("http://127.0.0.1:{port}/{way}/a.txt?{query}");
    let cases = [
        ("gzip", "nginx_gzip", nginx.http("/gzip/a.txt?nginx_gzip")),
        ("gzip", "nginx_gzip_tls", nginx.https("/gzip/a.txt?nginx_gzip_tls")),
        ("zstd", "caddy_zstd", caddy_url("made", "caddy_zstd")),
        ("gzip", "caddy_gzip", caddy_url("made", "caddy_gzip")),
        ("br", "caddy_br", caddy_url("ready", "caddy_br")),
    ];
    let mut script = "set -e".to_owned();
    for (coding, name, url) in &cases {
        let (raw, meant) = (lab.path(&format!("{name}.raw")), lab.path(&format!("{name}.txt")));
        script += &format!("\ncurl -sk -H 'Accept-Encoding: {coding}' '{url}' -o {}", raw.display());
        script += &format!("\ncurl -sk --compressed '{url}_by_curl' -o {}", meant.display());
    }
    let config = lab.write("full.yaml", super::scope::config("level: full", "").as_bytes()).display().to_string();
    let pids = [nginx.pid(), caddy.pid()].map(|pid| pid.to_string());
    let servers = Agent::start(&lab, ["--config", &config, "--pid", &pids[0], "--pid", &pids[1]]);
    let clients = exec_script(&lab, &[], &script).records;
    clients.assert_whole();
    servers.wait_for("\"artifact_record\"", 2 * cases.len());
    let servers = servers.stop().records;
    for (coding, name, _) in cases {
        let carried = std::fs::read(lab.path(&format!("{name}.raw"))).unwrap();
        assert!(carried.len() < text().len() / 2, "{name}: {} bytes are not compressed", carried.len());
        assert_eq!(std::fs::read(lab.path(&format!("{name}.txt"))).unwrap(), text().as_bytes(), "{name}: by curl");
        assert_told(&clients, name, coding, &carried);
        assert_told(&servers, name, coding, &carried);
        println!("{name}: {} bytes carried, {} meant", carried.len(), text().len());
    }
}
