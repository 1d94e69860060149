//! A server of the bench of servers: found, not installed; answers everything with 1 KB over TLS on the first core; stopped when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, iter};

use anyhow::{Context, Result};

use super::load::{Load, Protocol};
use super::{free_port, pin, said_by};
use crate::nginx::{self, Nginx};
use crate::{setup, shell};

/// Size of a response's body, in bytes.
const BODY_BYTES: usize = 1024;

/// How long a server may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    Node,
    Caddy,
    Envoy,
    Python,
    Java,
}

impl Kind {
    pub(super) const ALL: [Kind; 6] = [Kind::Nginx, Kind::Node, Kind::Caddy, Kind::Envoy, Kind::Python, Kind::Java];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::Node => "Node",
            Kind::Caddy => "Caddy",
            Kind::Envoy => "Envoy",
            Kind::Python => "Python",
            Kind::Java => "Java",
        }
    }

    /// Its name in the table.
    fn title(self, version: &str) -> String {
        let note = match self {
            Kind::Nginx | Kind::Node => "",
            Kind::Caddy => " (Go)",
            Kind::Envoy => " (BoringSSL)",
            Kind::Python => " (asyncio)",
            Kind::Java => " (HttpsServer, `--java-agent`)",
        };
        format!("{} {version}{note}", self.name())
    }

    /// What qtap is told besides, to see what it says.
    pub(super) fn flags(self) -> &'static [&'static str] {
        if self == Kind::Java { &["--java-agent"] } else { &[] }
    }

    /// Whether it speaks the protocol; asyncio and Java's own server have no HTTP/2.
    pub(super) fn speaks(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Http => false,
            Protocol::Https1 => true,
            Protocol::Https2 => !matches!(self, Kind::Python | Kind::Java),
        }
    }

    /// Its program; `None`: not installed.
    fn program(self) -> Result<Option<PathBuf>> {
        let tools = setup::python_dir()?.join("bin");
        let program = match self {
            Kind::Nginx => shell::which("nginx"),
            Kind::Node => shell::which("node"),
            Kind::Caddy => Some(tools.join("caddy")),
            Kind::Envoy => Some(tools.join("envoy")),
            Kind::Python => Some(tools.join("python")),
            // A JDK: the server is compiled as it starts.
            Kind::Java => shell::which("javac").and_then(|_| shell::which("java")),
        };
        Ok(program.filter(|file| file.is_file()))
    }

    /// The argument that prints its version.
    fn version_flag(self) -> &'static str {
        match self {
            Kind::Nginx => "-v",
            Kind::Caddy => "version",
            Kind::Node | Kind::Envoy | Kind::Python | Kind::Java => "--version",
        }
    }

    /// Starts it with the certificate in `folder`, where its settings go too; `None`: not installed.
    pub(super) fn start(self, folder: &Path) -> Result<Option<Server>> {
        let Some(program) = self.program()? else { return Ok(None) };
        let said = said_by(Command::new(&program).arg(self.version_flag()))?;
        let title = self.title(version_in(&said).unwrap_or("?"));
        if self == Kind::Nginx {
            let nginx = Nginx::start(&[("1k.txt", &[b'x'; BODY_BYTES])])?;
            pin(&nginx.workers()?)?;
            return Ok(Some(Server { title, process: Process::Nginx(nginx) }));
        }
        let port = free_port()?;
        // Threads that it starts later inherit this CPU affinity.
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&program).args(self.arguments(folder, port)?);
        command.env("GOMAXPROCS", "1").env("HOME", folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut own = Own { child: child.with_context(|| format!("{} does not start", self.name()))?, port };
        nginx::wait_until_it_listens(&mut own.child, self.name(), &[port])?;
        Ok(Some(Server { title, process: Process::Own(own) }))
    }

    /// The arguments of its program; writes its settings.
    fn arguments(self, folder: &Path, port: u16) -> Result<Vec<String>> {
        let dir = folder.to_string_lossy();
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("{}", file.display()))?;
            anyhow::Ok(file.to_string_lossy().into_owned())
        };
        let script = |name: &str| {
            let file = shell::workspace().join("xtask/src/bench").join(name);
            vec![file.to_string_lossy().into_owned(), dir.to_string(), port.to_string()]
        };
        let words = |line: &str, file: String| line.split(' ').map(ToOwned::to_owned).chain(iter::once(file)).collect();
        Ok(match self {
            Kind::Nginx => Vec::new(),
            Kind::Node => script("serve.mjs"),
            Kind::Python => script("serve.py"),
            Kind::Java => {
                nginx::make_key_store(folder)?;
                // As its documentation advises where answers are small: else each waits for an acknowledgement.
                let flag = "-Dsun.net.httpserver.nodelay=true".to_owned();
                iter::once(flag).chain(script("serve.java")).collect()
            }
            Kind::Caddy => words("run --adapter caddyfile --config", write("Caddyfile", caddys(&dir, port))?),
            Kind::Envoy => words(
                "--concurrency 1 --log-level error --disable-hot-restart -c",
                write("envoy.yaml", envoys(&dir, port))?,
            ),
        })
    }
}

/// A running server.
pub(super) struct Server {
    /// Its name and version.
    pub(super) title: String,
    process: Process,
}

enum Process {
    Nginx(Nginx),
    Own(Own),
}

impl Server {
    /// The serving processes.
    pub(super) fn pids(&self) -> Result<Vec<u32>> {
        match &self.process {
            Process::Nginx(nginx) => nginx.workers(),
            Process::Own(own) => Ok(vec![own.child.id()]),
        }
    }

    /// The load on it for `seconds`.
    pub(super) fn load(&self, protocol: Protocol, seconds: u32) -> Load {
        match &self.process {
            Process::Nginx(nginx) => protocol.load(nginx, seconds),
            Process::Own(own) => Load { protocol, url: format!("https://127.0.0.1:{}/", own.port), seconds },
        }
    }
}

/// Stopped when dropped.
struct Own {
    child: Child,
    port: u16,
}

impl Drop for Own {
    fn drop(&mut self) {
        nginx::end(&mut self.child, PATIENCE);
    }
}

fn caddys(dir: &str, port: u16) -> String {
    format!(
        "{{
  admin off
  auto_https off
  storage file_system {dir}/caddy
  servers {{
    protocols h1 h2
  }}
}}
https://127.0.0.1:{port} {{
  tls {dir}/cert.pem {dir}/key.pem
  respond {body}
}}
",
        body = "x".repeat(BODY_BYTES)
    )
}

fn envoys(dir: &str, port: u16) -> String {
    const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: {body}}}}}}}]
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": {EXTENSIONS}.filters.http.router.v3.Router}}}}]
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {dir}/cert.pem}}, private_key: {{filename: {dir}/key.pem}}}}]
"#,
        body = "x".repeat(BODY_BYTES)
    )
}

/// The first number with a dot in it; a commit hash, which may come first, has none.
fn version_in(said: &str) -> Option<&str> {
    let words = said.split([' ', '/', '\n']).map(|word| word.trim_start_matches('v'));
    let mut versions =
        words.filter(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'));
    versions.next()
}

#[cfg(test)]
mod tests {
    use super::{Kind, Protocol, version_in};

    #[test]
    fn versions_are_found_wherever_they_stand() {
        assert_eq!(version_in("nginx version: nginx/1.22.1\n"), Some("1.22.1"));
        assert_eq!(version_in("v20.20.2\n"), Some("20.20.2"));
        assert_eq!(version_in("v2.11.7 h1:abc=\n"), Some("2.11.7"));
        assert_eq!(version_in("\nenvoy  version: 0f1a2b/1.40.0/Clean/RELEASE/BoringSSL\n"), Some("1.40.0"));
        assert_eq!(version_in("none"), None);
    }

    #[test]
    fn a_title_says_what_is_measured() {
        assert_eq!(Kind::Caddy.title("2.11.7"), "Caddy 2.11.7 (Go)");
        assert_eq!(Kind::Nginx.title("1.22.1"), "nginx 1.22.1");
    }

    #[test]
    fn nobody_is_asked_for_what_it_does_not_speak() {
        assert!(Kind::ALL.iter().all(|kind| kind.speaks(Protocol::Https1) && !kind.speaks(Protocol::Http)));
        assert!(!Kind::Python.speaks(Protocol::Https2));
    }
}
