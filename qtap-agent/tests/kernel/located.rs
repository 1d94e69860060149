//! Programs that contain OpenSSL or BoringSSL and have no function names: their plaintext is captured all the same.

use std::path::Path;
use std::process::Command;

use super::lab::{Lab, digest, free_ports, output_of};
use super::nginx::certificate;
use super::python::{installed, script};
use super::qtap::{exec_script, until_attached};
use super::records::{Record, Records};

/// The exchange is on a connection whose TLS library is reported as the file `library`, with a known socket.
fn assert_seen(records: &Records, exchange: &Record, library: &str) {
    let closed = records.closed().into_iter().find(|one| one.connection() == exchange.connection()).unwrap();
    assert_eq!(closed.text("connection.tls.library"), library, "{}", records.told());
    assert!(closed.flag("connection.tls.inspected"), "{closed:?}");
    assert!(["nested", "set_fd"].contains(&closed.text("connection.binding")), "{closed:?}");
}

/// The stripped program of `static_tls.c`. None where there is no library to link: the test is then skipped.
fn program(lab: &Lab) -> Option<String> {
    let program = lab.path("static_tls").display().to_string();
    let mut build = Command::new("cc");
    build.args(["-O2", "-w", "-o", &program]).arg(script("static_tls.c"));
    build.args(["-l:libssl.a", "-l:libcrypto.a", "-ldl", "-pthread"]);
    if !build.output().is_ok_and(|built| built.status.success()) {
        println!("skipped: no libssl.a to link (cargo xtask setup --for check)");
        return None;
    }
    output_of(Command::new("strip").arg(&program));
    Some(program)
}

#[test]
fn openssl_in_a_stripped_program_on_both_sides() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = program(&lab) else { return };
    assert_seen_on_both_sides(&lab, &program);
}

#[test]
fn openssl_in_a_program_without_a_search_table() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = program(&lab) else { return };
    hide(&program, ".eh_frame_hdr");
    assert_seen_on_both_sides(&lab, &program);
}

#[test]
fn openssl_in_a_program_that_does_not_tell_where_functions_are() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = program(&lab) else { return };
    hide(&program, ".eh_frame_hdr");
    hide(&program, ".eh_frame");
    assert_seen_on_both_sides(&lab, &program);
}

/// Gives the section another name, under which it is not found.
fn hide(program: &str, section: &str) {
    let mut bytes = std::fs::read(program).unwrap();
    let ended = [section.as_bytes(), b"\0"].concat();
    let name = bytes.windows(ended.len()).position(|bytes| bytes == ended).unwrap();
    bytes[name + 1] = b'x';
    std::fs::write(program, bytes).unwrap();
}

fn assert_seen_on_both_sides(lab: &Lab, program: &str) {
    const TIMES: usize = 30;
    certificate(lab.dir());
    let dir = lab.dir().display();
    // The file is examined when it is first executed.
    let ready = until_attached(lab, "static_tls");
    let script = format!("'{program}' '{dir}' /first 1\n{ready}'{program}' '{dir}' /echo {TIMES}");
    let captured = exec_script(lab, &["--log-level", "info"], &script);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let records = captured.records;
    records.assert_conserved();
    let exchanges: Vec<&Record> =
        records.exchanges().into_iter().filter(|one| one.text("url.path") == "/echo").collect();
    assert_eq!(exchanges.len(), 2 * TIMES, "from both ends: {}", records.told());
    for exchange in exchanges {
        assert_seen(&records, exchange, "static_tls");
        let number: u8 = exchange.text("url.query").parse().unwrap();
        let body = digest(&vec![b'a' + number % 26; 100_000]);
        for side in ["request", "response"] {
            assert_eq!(records.artifact_of(exchange, side)["body"]["digest"], body, "{exchange:?}");
        }
    }
}

/// Configuration of a proxy with TLS in front and towards its backend, which is a listener of its own that answers.
fn envoy_configuration(dir: &Path, front: u16, back: u16) -> String {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let (cert, key) = (cert.display(), key.display());
    let listener = |name: &str, port: u16, action: &str| {
        format!(
            r#"
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, {action}}}]}}]}}
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {cert}}}, private_key: {{filename: {key}}}}}]"#
        )
    };
    format!(
        r#"static_resources:
  listeners:{}{}
  clusters:
  - name: back
    type: STATIC
    load_assignment: {{cluster_name: back, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {back}}}}}}}}}]}}]}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config: {{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext}}
"#,
        listener("front", front, "route: {cluster: back}"),
        listener("back", back, "direct_response: {status: 200, body: {inline_string: \"said by Envoy\"}}"),
    )
}

#[test]
fn envoy_as_it_comes_from_its_package() {
    let Some(lab) = Lab::open() else { return };
    let Some(envoy) = installed("envoy") else { return };
    certificate(lab.dir());
    let [front, back] = free_ports();
    let settings = lab.write("envoy.yaml", envoy_configuration(lab.dir(), front, back).as_bytes());
    let ask =
        |version: &str, path: &str| format!("curl -sk --{version} https://127.0.0.1:{front}{path} -o /dev/null\n");
    let script = format!(
        "'{}' -c '{}' --concurrency 2 --log-level error --use-dynamic-base-id & envoy=$!
for try in $(seq 200); do curl -sk -o /dev/null https://127.0.0.1:{front}/first && break; sleep 0.1; done
{}{}{}{}{}kill $envoy; wait $envoy",
        envoy.display(),
        settings.display(),
        until_attached(&lab, "envoy"),
        ask("http1.1", "/one"),
        ask("http1.1", "/two"),
        ask("http2", "/three"),
        ask("http2", "/four"),
    );
    let records = exec_script(&lab, &["--log-level", "info"], &script).records;
    records.assert_conserved();
    for (path, version) in [("/one", "1.1"), ("/two", "1.1"), ("/three", "2"), ("/four", "2")] {
        let told: Vec<&Record> = records.exchanges().into_iter().filter(|one| one.text("url.path") == path).collect();
        let of_envoy = |one: &&&Record| one.text("process.executable.name") == "envoy";
        let ends: Vec<&Record> = told.iter().filter(of_envoy).copied().collect();
        // The request of curl, and the request from front to backend, captured at both ends.
        assert_eq!((told.len(), ends.len()), (4, 3), "{path}: {}", records.told());
        let asked = ends.iter().find(|one| one.number("server.port") == i64::from(front)).unwrap();
        assert_eq!(asked.text("network.protocol.version"), version, "{asked:?}");
        for end in ends {
            assert_eq!(records.artifact_of(end, "response")["body"]["data"], "said by Envoy");
            assert_seen(&records, end, "envoy");
        }
    }
}
