//! What may be between a store and its server: TLS in front of a plain receiver, a proxy that tunnels or forwards, one that cuts, one
//! that goes silent. It runs in this process, on loopback, and ends with the test's runtime.

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a relay does with its next connections.
#[derive(Clone)]
pub(crate) enum Manner {
    /// Forwards bytes.
    Plain,
    /// Speaks TLS with the client.
    Tls(Arc<ServerConfig>),
    /// Acts as a proxy. With credentials, it requires them as the value of `Proxy-Authorization`.
    Proxy(Option<String>),
    /// Acts as a proxy that answers `CONNECT` with this and closes.
    Refuse(&'static str),
    /// Forwards this many bytes of the client, then closes.
    Cut(usize),
    /// Reads and never answers.
    Silent,
}

/// A relay to one server.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    manner: Arc<Mutex<Manner>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    pub(crate) async fn start(to: u64, manner: Manner) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let relay = Relay { port, manner: Arc::new(Mutex::new(manner)), heads: Arc::default() };
        let running = relay.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let relay = running.clone();
                tokio::spawn(async move { relay.serve(stream, to).await });
            }
        });
        relay
    }

    /// Changes the manner for the next connections.
    pub(crate) fn become_of(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Request lines and headers that a proxy received.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    async fn serve(&self, mut client: TcpStream, to: u64) -> Option<()> {
        let manner = self.manner.lock().unwrap().clone();
        match manner {
            Manner::Plain => join(client, to).await,
            Manner::Tls(config) => join(TlsAcceptor::from(config).accept(client).await.ok()?, to).await,
            Manner::Refuse(answer) => {
                let head = head(&mut client).await?;
                self.heads.lock().unwrap().push(head);
                client.write_all(answer.as_bytes()).await.ok()
            }
            Manner::Cut(bytes) => {
                let mut server = TcpStream::connect(("127.0.0.1", to as u16)).await.ok()?;
                let mut some = (&mut client).take(bytes as u64);
                tokio::io::copy(&mut some, &mut server).await.ok().map(|_| ())
            }
            Manner::Silent => tokio::io::copy(&mut client, &mut tokio::io::sink()).await.ok().map(|_| ()),
            Manner::Proxy(credentials) => self.proxy(client, to, credentials).await,
        }
    }

    /// Whatever name is requested, it connects to the one server.
    async fn proxy(&self, mut client: TcpStream, to: u64, credentials: Option<String>) -> Option<()> {
        let head = head(&mut client).await?;
        self.heads.lock().unwrap().push(head.clone());
        let wanted = credentials.map(|value| format!("\r\nproxy-authorization: {}\r\n", value.to_ascii_lowercase()));
        if wanted.is_some_and(|wanted| !head.to_ascii_lowercase().contains(&wanted)) {
            let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
            return client.write_all(answer.as_bytes()).await.ok();
        }
        if head.starts_with("CONNECT ") {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
            return join(client, to).await;
        }
        // Converts the absolute form of a request (RFC 9112 §3.2.2) to the origin form.
        let mut server = TcpStream::connect(("127.0.0.1", to as u16)).await.ok()?;
        let (line, rest) = head.split_once("\r\n")?;
        let mut words = line.split(' ');
        let (method, url) = (words.next()?, words.next()?);
        let path = url.strip_prefix("http://")?.split_once('/')?.1;
        server.write_all(format!("{method} /{path} HTTP/1.1\r\n{rest}").as_bytes()).await.ok()?;
        copy_bidirectional(&mut client, &mut server).await.ok().map(|_| ())
    }
}

async fn join(mut client: impl AsyncRead + AsyncWrite + Unpin, to: u64) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", to as u16)).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok().map(|_| ())
}

/// Reads up to the empty line.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut out = Vec::new();
    while !out.ends_with(b"\r\n\r\n") {
        out.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(out).ok()
}
