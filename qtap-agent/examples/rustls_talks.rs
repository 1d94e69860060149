//! HTTPS through rustls in the ways that Rust programs use it: what the kernel tests capture, and its peer.
//!
//! ```text
//! rustls_talks client ureq|reqwest1|reqwest2 URL CA COUNT
//! rustls_talks client stream|early ADDRESS NAME CA
//! rustls_talks server hyper|stream PORT CERT KEY
//! rustls_talks ask reqwest|ureq 1.1|2 CA PLAN
//! rustls_talks serve FOLDER PORT
//! rustls_talks version
//! ```
//!
//! The clients get COUNT bodies of all sizes and put as many, and hold each answer against what it has to be: by ureq, by reqwest over HTTP/1.1 or HTTP/2 with
//! several requests at once, or once by hand. The servers are hyper, and threads that do it by hand; they print `listening PORT`, and end when their standard
//! input does. RUSTLS_TALKS_TLS12=1 leaves nothing but TLS 1.2, RUSTLS_TALKS_TICKETS=0 makes a server send no session tickets.
//!
//! The rest is for the table of coverage, with plans as in its talk.py: one request of the plan after another; hyper, which stays until it is killed, over the
//! files of FOLDER, `cert.pem` and `key.pem` among them; and the version of rustls.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Bytes of bodies: none, one, a few, as much as a record of TLS takes and one more, many.
const SIZES: [usize; 6] = [0, 1, 1000, 16_384, 16_385, 100_000];
/// Requests that are under way at once.
const AT_ONCE: usize = 8;

fn main() -> Result<()> {
    let mut provider = ring::default_provider();
    if is("RUSTLS_TALKS_TLS12", "1") {
        // A version that has no cipher suite is not offered, whoever makes the configuration.
        provider.cipher_suites.retain(|suite| suite.tls13().is_none());
    }
    provider.install_default().map_err(|_| anyhow!("there is a provider"))?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["client", "ureq", url, ca, count] => ask_by_ureq(Ask::all(url, count)?, ca),
        ["client", "reqwest1", url, ca, count] => ask_by_reqwest(Version::HTTP_11, Ask::all(url, count)?, ca, AT_ONCE),
        ["client", "reqwest2", url, ca, count] => ask_by_reqwest(Version::HTTP_2, Ask::all(url, count)?, ca, AT_ONCE),
        ["client", way @ ("stream" | "early"), address, name, ca] => ask_by_stream(address, name, ca, way == "early"),
        ["server", "hyper", port, cert, key] => {
            serve(port, server_config(cert, key, &["h2", "http/1.1"])?, serve_by_hyper)
        }
        ["server", "stream", port, cert, key] => {
            serve(port, server_config(cert, key, &["http/1.1"])?, serve_by_threads)
        }
        ["ask", "ureq", "1.1", ca, plan] => ask_by_ureq(Ask::planned(plan)?, ca),
        ["ask", "reqwest", "1.1", ca, plan] => ask_by_reqwest(Version::HTTP_11, Ask::planned(plan)?, ca, 1),
        ["ask", "reqwest", "2", ca, plan] => ask_by_reqwest(Version::HTTP_2, Ask::planned(plan)?, ca, 1),
        ["serve", folder, port] => {
            std::env::set_current_dir(folder)?;
            let config = server_config("cert.pem", "key.pem", &["h2", "http/1.1"])?;
            serve_by_hyper(TcpListener::bind(("127.0.0.1", port.parse()?))?, Arc::new(config))
        }
        ["version"] => print_version(),
        _ => bail!("client, server, ask, serve or version, and what each needs"),
    }
}

fn is(variable: &str, value: &str) -> bool {
    std::env::var_os(variable).is_some_and(|it| it == value)
}

/// Of the rustls that is in here: there is one in the lock file.
#[allow(clippy::print_stdout)] // it is asked for
fn print_version() -> Result<()> {
    let mut parts = include_str!("../../Cargo.lock").split("\nname = \"rustls\"\nversion = \"").skip(1);
    let (Some(part), None) = (parts.next(), parts.next()) else { bail!("more than one rustls, or none") };
    println!("rustls {}", part.split('"').next().unwrap_or_default());
    Ok(())
}

/// A body of that size. Each part of it says where it belongs.
fn pattern(size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < size {
        bytes.extend(format!("{} of {size}\n", bytes.len()).bytes());
    }
    bytes.truncate(size);
    bytes
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).with_context(|| file.to_owned())?;
    Ok(read.collect::<Result<_, _>>()?)
}

fn server_config(cert: &str, key: &str, protocols: &[&str]) -> Result<ServerConfig> {
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates(cert)?, key)?;
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    if is("RUSTLS_TALKS_TICKETS", "0") {
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// One GET or PUT of a client.
struct Ask {
    method: Method,
    url: String,
    sent: Vec<u8>,
    /// Of the answer to a GET, when it is known.
    size: Option<usize>,
}

impl Ask {
    /// `count` bodies of all sizes, each got and put, by queries of which no two are the same.
    fn all(url: &str, count: &str) -> Result<Vec<Ask>> {
        let both = |number: usize| {
            let size = SIZES[number % SIZES.len()];
            let (get, put) = (format!("seen/{size}?get-{number}"), format!("put/{number}-{size}?put-{number}"));
            let get = Ask { method: Method::GET, url: format!("{url}/{get}"), sent: Vec::new(), size: Some(size) };
            [get, Ask { method: Method::PUT, url: format!("{url}/{put}"), sent: pattern(size), size: None }]
        };
        Ok((0..count.parse()?).flat_map(both).collect())
    }

    /// What a plan says.
    fn planned(plan: &str) -> Result<Vec<Ask>> {
        let ask = |line: &str| {
            let (method, rest) = line.split_once(' ').context("no URL")?;
            let (url, file) = rest.split_once(' ').unzip();
            let sent = file.map(std::fs::read).transpose()?.unwrap_or_default();
            Ok(Ask { method: method.parse()?, url: url.unwrap_or(rest).to_owned(), sent, size: None })
        };
        std::fs::read_to_string(plan)?.lines().map(ask).collect()
    }

    fn is_put(&self) -> bool {
        self.method == Method::PUT
    }

    /// The answer holds what was asked for, or says back what was put; a server of files has nothing to say to that.
    fn check(&self, body: &[u8]) -> Result<()> {
        let right = if self.is_put() {
            body.is_empty() || body == self.sent
        } else {
            self.size.is_none_or(|size| body == pattern(size))
        };
        ensure!(right, "{} {}: an answer of {} bytes", self.method, self.url, body.len());
        Ok(())
    }
}

fn ask_by_ureq(asks: Vec<Ask>, ca: &str) -> Result<()> {
    let roots: Vec<_> = certificates(ca)?.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()).collect();
    let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&roots)).build();
    let agent = ureq::Agent::config_builder().proxy(None).tls_config(tls).build().new_agent();
    for ask in asks {
        let answer = if ask.is_put() { agent.put(&ask.url).send(&ask.sent) } else { agent.get(&ask.url).call() };
        ask.check(&answer?.body_mut().read_to_vec()?)?;
    }
    Ok(())
}

#[tokio::main]
async fn ask_by_reqwest(version: Version, asks: Vec<Ask>, ca: &str, at_once: usize) -> Result<()> {
    let roots: Vec<_> =
        certificates(ca)?.iter().map(|der| reqwest::Certificate::from_der(der)).collect::<Result<_, _>>()?;
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only(roots);
    let client = if version == Version::HTTP_11 { builder.http1_only() } else { builder }.build()?;
    let mut asks = asks.into_iter();
    // The first body alone: over HTTP/2 all others then find a connection that they share.
    ask_each(client.clone(), version, asks.by_ref().take(2).collect()).await?;
    let mut shares: Vec<Vec<Ask>> = (0..at_once).map(|_| Vec::new()).collect();
    asks.enumerate().for_each(|(number, ask)| shares[number / 2 % at_once].push(ask));
    let mut asking = JoinSet::new();
    for share in shares {
        asking.spawn(ask_each(client.clone(), version, share));
    }
    while let Some(asked) = asking.join_next().await {
        asked??;
    }
    Ok(())
}

/// One after the other.
async fn ask_each(client: reqwest::Client, version: Version, asks: Vec<Ask>) -> Result<()> {
    for ask in asks {
        let request = client.request(ask.method.clone(), &ask.url);
        let request = if ask.is_put() {
            // Of an empty body hyper says no length, and nginx wants one.
            request.header("content-length", ask.sent.len()).body(ask.sent.clone())
        } else {
            request
        };
        let answer = request.send().await?.error_for_status()?;
        ensure!(answer.version() == version, "{}: {:?}", ask.url, answer.version());
        ask.check(&answer.bytes().await?)?;
    }
    Ok(())
}

fn ask_by_stream(address: &str, name: &str, ca: &str, early: bool) -> Result<()> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned())?)?;
    let mut stream = StreamOwned::new(session, TcpStream::connect(address)?);
    let asked = format!("GET /seen/1000?stream HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    if early {
        // It is kept until there are keys, and encrypted at the end of the handshake, outside of any write.
        stream.conn.writer().write_all(asked.as_bytes())?;
    } else {
        stream.write_all(asked.as_bytes())?;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(&pattern(1000)), "{} bytes", answer.len());
    Ok(())
}

/// Runs a server beside the wait for the end of the standard input.
#[allow(clippy::print_stdout)] // the word that the test waits for
fn serve(port: &str, config: ServerConfig, by: fn(TcpListener, Arc<ServerConfig>) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || by(listener, Arc::new(config)));
    println!("listening {port}");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// What is said to a request: as many bytes as the last part of the path says, or the file that it names, or what was put.
fn answer(is_get: bool, path: &str, sent: Bytes) -> Bytes {
    if !is_get {
        return sent;
    }
    let part = path.rsplit('/').next().unwrap_or_default();
    part.parse().map_or_else(|_| std::fs::read(part).unwrap_or_default(), pattern).into()
}

#[tokio::main]
async fn serve_by_hyper(listener: TcpListener, config: Arc<ServerConfig>) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let acceptor = TlsAcceptor::from(config);
    loop {
        let (socket, client) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let accepting = acceptor.accept(socket);
        tokio::spawn(async move {
            let stream = accepting.await?;
            let service = service_fn(move |request| answer_by_hyper(request, client.port()));
            let server = auto::Builder::new(TokioExecutor::new());
            // How a client leaves is its own affair.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            Ok::<(), std::io::Error>(())
        });
    }
}

/// Says also by which port the client came.
async fn answer_by_hyper(request: Request<Incoming>, port: u16) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let answer = match body.collect().await {
        Ok(sent) => answer(head.method == Method::GET, head.uri.path(), sent.to_bytes()),
        // The client is gone.
        Err(_) => Bytes::new(),
    };
    let mut response = Response::new(Full::new(answer));
    response.headers_mut().insert("x-client-port", port.into());
    Ok(response)
}

fn serve_by_threads(listener: TcpListener, config: Arc<ServerConfig>) -> Result<()> {
    loop {
        let (socket, _) = listener.accept()?;
        let session = ServerConnection::new(config.clone())?;
        std::thread::spawn(move || serve_by_stream(StreamOwned::new(session, socket)));
    }
}

/// One connection, until its client wants no more.
fn serve_by_stream(stream: StreamOwned<ServerConnection, TcpStream>) -> Result<()> {
    // The head and the body of an answer are written each by itself.
    stream.sock.set_nodelay(true)?;
    let port = stream.sock.peer_addr()?.port();
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let fields = head.to_ascii_lowercase();
        let field = |name: &str| fields.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if field("expect") == Some("100-continue") {
            stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut sent = vec![0; field("content-length").unwrap_or("0").parse()?];
        stream.read_exact(&mut sent)?;
        let target = head.split(' ').nth(1).context("no target")?;
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let answer = answer(head.starts_with("GET "), path, sent.into());
        let head = format!("HTTP/1.1 200 OK\r\nX-Client-Port: {port}\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.get_mut().write_all(head.as_bytes())?;
        stream.get_mut().write_all(&answer)?;
        if field("connection") == Some("close") {
            stream.get_mut().conn.send_close_notify();
            stream.get_mut().flush()?;
            return Ok(());
        }
    }
}
