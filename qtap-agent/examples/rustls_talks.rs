//! HTTPS through rustls in the ways that Rust programs use it: what the kernel tests capture, and its peer.
//!
//! ```text
//! rustls_talks client ureq|reqwest1|reqwest2 URL CA COUNT
//! rustls_talks client stream|early ADDRESS NAME CA
//! rustls_talks server hyper|stream PORT CERT KEY
//! ```
//!
//! The clients get COUNT bodies of all sizes and put as many, and hold each answer against what it has to be: by ureq, by reqwest over HTTP/1.1 or HTTP/2 with
//! several requests at once, or once by hand. The servers are hyper, and threads that do it by hand; they print `listening PORT`, and end when their standard
//! input does. RUSTLS_TALKS_TLS12=1 leaves nothing but TLS 1.2, RUSTLS_TALKS_TICKETS=0 makes a server send no session tickets.

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
        ["client", "ureq", url, ca, count] => ask_by_ureq(url, ca, count.parse()?),
        ["client", "reqwest1", url, ca, count] => ask_by_reqwest(Version::HTTP_11, url, ca, count.parse()?),
        ["client", "reqwest2", url, ca, count] => ask_by_reqwest(Version::HTTP_2, url, ca, count.parse()?),
        ["client", way @ ("stream" | "early"), address, name, ca] => ask_by_stream(address, name, ca, way == "early"),
        ["server", "hyper", port, cert, key] => {
            serve(port, server_config(cert, key, &["h2", "http/1.1"])?, serve_by_hyper)
        }
        ["server", "stream", port, cert, key] => {
            serve(port, server_config(cert, key, &["http/1.1"])?, serve_by_threads)
        }
        _ => bail!("client ureq|reqwest1|reqwest2|stream|early or server hyper|stream, and what each needs"),
    }
}

fn is(variable: &str, value: &str) -> bool {
    std::env::var_os(variable).is_some_and(|it| it == value)
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
    size: usize,
}

impl Ask {
    /// Each of `number` has a query that no other has.
    fn both(url: &str, number: usize) -> [Ask; 2] {
        let size = SIZES[number % SIZES.len()];
        let get = Ask { method: Method::GET, url: format!("{url}/seen/{size}?get-{number}"), size };
        [get, Ask { method: Method::PUT, url: format!("{url}/put/{number}-{size}?put-{number}"), size }]
    }

    fn is_put(&self) -> bool {
        self.method == Method::PUT
    }

    /// The answer holds what was asked for, or says back what was put; a server of files has nothing to say to that.
    fn check(&self, body: &[u8]) -> Result<()> {
        let right = body == pattern(self.size) || self.is_put() && body.is_empty();
        ensure!(right, "{} {}: an answer of {} bytes", self.method, self.url, body.len());
        Ok(())
    }
}

fn ask_by_ureq(url: &str, ca: &str, count: usize) -> Result<()> {
    let roots: Vec<_> = certificates(ca)?.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()).collect();
    let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&roots)).build();
    let agent = ureq::Agent::config_builder().proxy(None).tls_config(tls).build().new_agent();
    for ask in (0..count).flat_map(|number| Ask::both(url, number)) {
        let answer =
            if ask.is_put() { agent.put(&ask.url).send(pattern(ask.size)) } else { agent.get(&ask.url).call() };
        ask.check(&answer?.body_mut().read_to_vec()?)?;
    }
    Ok(())
}

#[tokio::main]
async fn ask_by_reqwest(version: Version, url: &str, ca: &str, count: usize) -> Result<()> {
    let roots: Vec<_> =
        certificates(ca)?.iter().map(|der| reqwest::Certificate::from_der(der)).collect::<Result<_, _>>()?;
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only(roots);
    let client = if version == Version::HTTP_11 { builder.http1_only() } else { builder }.build()?;
    // The first alone: over HTTP/2 all others then find a connection that they share.
    ask_each(client.clone(), version, url.to_owned(), 0, count.min(1)).await?;
    let mut asking = JoinSet::new();
    for first in 1..=AT_ONCE {
        asking.spawn(ask_each(client.clone(), version, url.to_owned(), first, count));
    }
    while let Some(asked) = asking.join_next().await {
        asked??;
    }
    Ok(())
}

/// One number after the other, as far apart as there are others that ask.
async fn ask_each(client: reqwest::Client, version: Version, url: String, first: usize, count: usize) -> Result<()> {
    for ask in (first..count).step_by(AT_ONCE).flat_map(|number| Ask::both(&url, number)) {
        let request = client.request(ask.method.clone(), &ask.url);
        let request = if ask.is_put() {
            // Of an empty body hyper says no length, and nginx wants one.
            request.header("content-length", ask.size).body(pattern(ask.size))
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

/// What is said to a request: as many bytes as the last part of the path says, or what was put.
fn answer(is_get: bool, path: &str, sent: Bytes) -> Bytes {
    let size = path.rsplit('/').next().and_then(|part| part.parse().ok()).unwrap_or(0);
    if is_get { pattern(size).into() } else { sent }
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
