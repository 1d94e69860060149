//! A private nginx with its own directory, certificate and ports, stopped when dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::lab::{Guarded, Lab, free_ports, output_of, wait_for_port, wait_until};

/// A running nginx.
pub struct Nginx {
    master: Guarded,
    dir: PathBuf,
    /// Plain HTTP, on 127.0.0.1 and ::1.
    pub http: u16,
    /// HTTPS with HTTP/1.1 and HTTP/2, on 127.0.0.1 and ::1.
    pub https: u16,
    /// The same two, expecting the PROXY protocol, on 127.0.0.1.
    pub introduced: [u16; 2],
}

impl Nginx {
    /// Starts it, with `/up/` forwarded to that port.
    pub fn start(lab: &Lab, upstream: u16) -> Nginx {
        Nginx::start_by(lab, upstream, Command::new("nginx"))
    }

    /// The same, started by this command.
    pub fn start_by(lab: &Lab, upstream: u16, mut master: Command) -> Nginx {
        let dir = lab.path("nginx");
        std::fs::create_dir_all(dir.join("www/put")).unwrap();
        certificate(&dir);
        let [http, https, plain, tls] = free_ports();
        let introduced = [plain, tls];
        let text = configuration(http, https, introduced, upstream, &dir.join("nginx.sock"));
        std::fs::write(dir.join("nginx.conf"), text).unwrap();
        master.args(["-e", "error.log", "-c", "nginx.conf", "-p"]).arg(&dir);
        let master = master.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Nginx { master: Guarded(master), dir, http, https, introduced };
        wait_for_port(http);
        wait_for_port(https);
        wait_until("the workers are there", || nginx.workers().len() == 2);
        nginx
    }

    pub fn pid(&self) -> u32 {
        self.master.pid()
    }

    pub fn workers(&self) -> Vec<u32> {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    /// Writes a file that it serves.
    pub fn serve(&self, name: &str, content: &[u8]) {
        std::fs::write(self.dir.join("www").join(name), content).unwrap();
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("nginx.sock")
    }

    pub fn http(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    pub fn https(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.https)
    }
}

impl Drop for Nginx {
    /// SIGTERM to the master ends the workers; SIGKILL would leave them behind.
    fn drop(&mut self) {
        self.master.signal(rustix::process::Signal::TERM);
        let _ = self.master.end_within(super::lab::PATIENCE);
    }
}

/// Creates a self-signed certificate. It is not a CA certificate, because rustls refuses one of those from a server.
pub fn certificate(dir: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(dir.join("key.pem")).arg("-out").arg(dir.join("cert.pem"));
    output_of(&mut openssl);
}

fn configuration(http: u16, https: u16, introduced: [u16; 2], upstream: u16, socket: &Path) -> String {
    let [introduced, introduced_tls] = introduced;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path tmp_{kind};\n"))
        .collect();
    format!(
        "user root; daemon off; worker_processes 2; pid nginx.pid;
events {{ worker_connections 12000; }}
http {{
  access_log off;
  keepalive_requests 1000000; client_max_body_size 200m; client_body_buffer_size 128k;
  limit_req_zone $server_port zone=slow:1m rate=1000r/s;
{temporary}  server {{
    listen 127.0.0.1:{http} backlog=4096; listen [::1]:{http}; listen unix:{};
    listen 127.0.0.1:{https} ssl http2; listen [::1]:{https} ssl http2;
    listen 127.0.0.1:{introduced} proxy_protocol; listen 127.0.0.1:{introduced_tls} ssl http2 proxy_protocol;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate cert.pem; ssl_certificate_key key.pem;
    root www;
    location /up/ {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_set_header Connection ''; }}
    location /put/ {{ dav_methods PUT; add_header X-Client-Port $remote_port always; }}
    location /seen/ {{ alias www/; add_header X-Client-Port $remote_port; }}
    location /slow/ {{ limit_req zone=slow burst=1000; alias www/; }}
    location /sendfile/ {{ sendfile on; alias www/; }}
    location /gzip/ {{ gzip on; gzip_types text/plain; default_type text/plain; alias www/; }}
    location /status {{ stub_status; }}
  }}
}}
",
        socket.display()
    )
}
