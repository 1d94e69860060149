//! Go programs: `talk.go` built by several compilers, and stripped programs that others built.

use std::path::PathBuf;
use std::process::Command;

use super::Version;
use super::programs::{BOTH, Place, Program, found_at, version_of};
use crate::lab::free_ports;
use crate::python::{go_program_by, installed, tools};

pub(super) fn built(place: &Place<'_>) -> Vec<Program> {
    let kinds: [(&str, Option<PathBuf>, &str, &[&str]); 5] = [
        ("Go", installed("go"), "talk_go", &[]),
        ("Go, stripped", installed("go"), "talk_go_stripped", &["-ldflags=-s -w"]),
        ("Go, PIE", installed("go"), "talk_go_pie", &["-buildmode=pie"]),
        ("Go of before", found_at(tools().join("go-1.21/go/bin/go")), "talk_go_1_21", &[]),
        ("Go of Debian 12", found_at("/usr/lib/go-1.19/bin/go".into()), "talk_go_1_19", &[]),
    ];
    let programs = kinds.into_iter().filter_map(|(name, go, file, flags)| {
        let go = go?;
        let version = version_of(Command::new(&go).arg("version"));
        let file = go_program_by(&go, place.lab, "coverage/talk.go", file, flags)?;
        let [port] = free_ports();
        let program = Program::new(name, version)
            .asks(&BOTH, &format!("'{}' ask VERSION PLAN", file.display()))
            .serves(&BOTH, port, &format!("'{}' serve '{}' PORT", file.display(), place.lab.dir().display()));
        Some(program)
    });
    programs.collect()
}

pub(super) fn caddy(place: &Place<'_>) -> Vec<Program> {
    let Some(caddy) = installed("caddy") else { return Vec::new() };
    let [front, one, two] = free_ports();
    let (dir, http, https) = (place.lab.dir().display(), place.nginx.http, place.nginx.https);
    let back = |port: u16, version: &str| {
        format!(
            "http://127.0.0.1:{port} {{
  reverse_proxy https://127.0.0.1:{https} {{
    transport http {{
      tls_insecure_skip_verify
      versions {version}
    }}
  }}
}}
"
        )
    };
    let settings = format!(
        "{{
  admin off
  auto_https off
  storage file_system {dir}/caddy
  servers {{
    protocols h1 h2
  }}
}}
https://127.0.0.1:{front} {{
  tls {dir}/cert.pem {dir}/key.pem
  reverse_proxy 127.0.0.1:{http}
}}
{}{}",
        back(one, "1.1"),
        back(two, "2"),
    );
    let settings = place.lab.write("Caddyfile", settings.as_bytes());
    let line =
        format!("env HOME='{dir}' '{}' run --adapter caddyfile --config '{}'", caddy.display(), settings.display());
    let program = Program::new("Caddy", version_of(Command::new(&caddy).arg("version"))).serves(&BOTH, front, &line);
    vec![program.passes_on(Version::One, one).passes_on(Version::Two, two)]
}

/// Two ways to the backend of a proxy, one for each version of HTTP.
pub(super) fn traefik(place: &Place<'_>) -> Vec<Program> {
    let Some(traefik) = installed("traefik") else { return Vec::new() };
    let [front, one, two] = free_ports();
    let (dir, http, https) = (place.lab.dir().display(), place.nginx.http, place.nginx.https);
    let each =
        |line: &dyn Fn(&str, u16) -> String| [("one", one), ("two", two)].map(|(name, port)| line(name, port)).concat();
    let routes = format!(
        "tls: {{stores: {{default: {{defaultCertificate: {{certFile: {dir}/cert.pem, keyFile: {dir}/key.pem}}}}}}}}
http:
  routers:
    front: {{entryPoints: [front], rule: 'PathPrefix(`/`)', service: front, tls: {{}}}}
{}  services:
    front: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{http}'}}]}}}}
{}  serversTransports:
    one: {{insecureSkipVerify: true, disableHTTP2: true}}
    two: {{insecureSkipVerify: true}}
",
        each(&|name, _| format!("    {name}: {{entryPoints: [{name}], rule: 'PathPrefix(`/`)', service: {name}}}\n")),
        each(&|name, _| format!(
            "    {name}: {{loadBalancer: {{servers: [{{url: 'https://127.0.0.1:{https}'}}], serversTransport: {name}}}}}\n"
        )),
    );
    let routes = place.lab.write("routes.yaml", routes.as_bytes());
    let settings = format!(
        "global: {{checkNewVersion: false, sendAnonymousUsage: false}}
entryPoints:
  front: {{address: '127.0.0.1:{front}'}}
{}providers: {{file: {{filename: {}, watch: false}}}}
",
        each(&|name, port| format!("  {name}: {{address: '127.0.0.1:{port}'}}\n")),
        routes.display(),
    );
    let settings = place.lab.write("traefik.yaml", settings.as_bytes());
    let line = format!("'{}' --configfile='{}'", traefik.display(), settings.display());
    let program =
        Program::new("Traefik", version_of(Command::new(&traefik).arg("version"))).serves(&BOTH, front, &line);
    vec![program.passes_on(Version::One, one).passes_on(Version::Two, two)]
}

/// Built by the first two releases of Go that pass arguments in registers; those compilers are not available.
pub(super) fn kubectl(place: &Place<'_>) -> Vec<Program> {
    let settings = format!(
        "{{apiVersion: v1, kind: Config, current-context: one,
contexts: [{{name: one, context: {{cluster: one, user: one}}}}], users: [{{name: one, user: {{token: none}}}}],
clusters: [{{name: one, cluster: {{server: 'https://127.0.0.1:{}', insecure-skip-tls-verify: true}}}}]}}
",
        place.nginx.https
    );
    let settings = place.lab.write("kubectl.yaml", settings.as_bytes());
    let of = |(number, built): (&str, &str)| {
        let file = found_at(tools().join(format!("kubectl-{number}/kubectl")))?;
        let run = format!("'{}' proxy --kubeconfig '{}'", file.display(), settings.display());
        let said = version_of(Command::new(&file).args(["version", "--client", "--short"]));
        let [one, two] = free_ports();
        let mut program = Program::new(&format!("kubectl, by Go {built}"), said);
        program.started.push(format!("env DISABLE_HTTP2=1 {run} --port {one}"));
        program.started.push(format!("{run} --port {two}"));
        Some(program.passes_on(Version::One, one).passes_on(Version::Two, two))
    };
    [("1.23", "1.17"), ("1.24", "1.18")].into_iter().filter_map(of).collect()
}
