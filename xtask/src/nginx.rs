//! A private nginx with its own directory, its own certificate, and free ports on 127.0.0.1; removed when dropped. Serves the given
//! files over HTTP, and over HTTPS with HTTP/1.1 and HTTP/2. It leaves any other nginx alone.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use anyhow::{Context, Result, bail};

use crate::shell;

/// How long nginx may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx.
pub(crate) struct Nginx {
    master: Child,
    dir: PathBuf,
    /// Port of plain HTTP.
    pub(crate) http_port: u16,
    /// Port of HTTPS.
    pub(crate) https_port: u16,
}

impl Nginx {
    /// Starts it with one worker and these files (name, content).
    pub(crate) fn start(files: &[(&str, &[u8])]) -> Result<Nginx> {
        let program = shell::which("nginx").context("nginx is not installed")?;
        let dir = env::temp_dir().join(format!("qtap-nginx-{}", process::id()));
        fs::create_dir_all(dir.join("www")).with_context(|| format!("{}", dir.display()))?;
        for (name, content) in files {
            fs::write(dir.join("www").join(name), content)?;
        }
        make_certificate(&dir)?;
        let (http_port, https_port) = free_ports()?;
        fs::write(dir.join("nginx.conf"), configuration(http_port, https_port))?;
        let master = Command::new(program)
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("nginx does not start")?;
        let mut nginx = Nginx { master, dir, http_port, https_port };
        wait_until_it_listens(&mut nginx.master, "nginx", &[http_port, https_port])?;
        Ok(nginx)
    }

    /// Its self-signed certificate, as PEM.
    pub(crate) fn certificate(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.dir.join("cert.pem"))?)
    }

    fn pid(&self) -> u32 {
        self.master.id()
    }

    /// Process ids of the workers.
    pub(crate) fn workers(&self) -> Result<Vec<u32>> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(children.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }
}

impl Drop for Nginx {
    /// Sends SIGTERM to the master, which ends the workers; SIGKILL would leave them behind.
    fn drop(&mut self) {
        end(&mut self.master, PATIENCE);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Waits until a server listens on all these ports.
pub(crate) fn wait_until_it_listens(server: &mut Child, name: &str, ports: &[u16]) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = server.try_wait()? {
            bail!("{name} ended with {status}");
        }
        if ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("{name} does not listen after {} s", PATIENCE.as_secs())
}

/// Ends a process with SIGTERM, or with SIGKILL if it has not ended in time.
pub(crate) fn end(child: &mut Child, patience: Duration) {
    let _ = Command::new("sh").args(["-c", "kill -TERM \"$0\""]).arg(child.id().to_string()).status();
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && start.elapsed() < patience {
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Creates a self-signed certificate `cert.pem` and its `key.pem` in `dir`.
pub(crate) fn make_certificate(dir: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.arg("-keyout").arg(dir.join("key.pem")).arg("-out").arg(dir.join("cert.pem"));
    shell::capture(&mut openssl).map(drop)
}

/// Writes that certificate and its key as Java reads them: `keys.p12`, with the password `secret`.
pub(crate) fn make_key_store(dir: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "pass:secret"]);
    openssl.arg("-inkey").arg(dir.join("key.pem")).arg("-in").arg(dir.join("cert.pem"));
    shell::capture(openssl.arg("-out").arg(dir.join("keys.p12"))).map(drop)
}

/// Two ports that were free a moment ago, both kept open until both are known.
fn free_ports() -> io::Result<(u16, u16)> {
    let (first, second) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

fn configuration(http_port: u16, https_port: u16) -> String {
    let mut text = String::new();
    if shell::is_root() {
        // Without this the worker runs as `nobody`, who may not read a private directory.
        text.push_str("user root;\n");
    }
    text.push_str("daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr error;\n");
    text.push_str("events { worker_connections 1024; }\nhttp {\n  access_log off;\n  keepalive_requests 1000000000;\n");
    text.push_str("  types { application/json json; text/plain txt; }\n");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "  {kind}_temp_path tmp_{kind};");
    }
    let _ = write!(
        text,
        "  server {{
    listen 127.0.0.1:{http_port};
    listen 127.0.0.1:{https_port} ssl http2;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    root www;
  }}
}}
"
    );
    text
}
