//! Establishes a gRPC connection: TCP, through a proxy if there is one, with TLS if asked. In: the target. Out: a stream for HTTP/2
//! with the server. The store's timeout bounds each step.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use reqwest::Url;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::export::lookup::Lookup;
use crate::export::proxy::{self, Via};
use crate::export::settings::TlsSettings;
use crate::export::tls::{self, TlsError};

/// The target and how to connect to it.
#[derive(Clone)]
pub(super) struct Dial {
    host: String,
    port: u16,
    via: Option<Via>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl Dial {
    /// A target from `url`, with TLS when its scheme is `https`. Reads the TLS files.
    ///
    /// # Errors
    /// When the TLS files can't be used, or the host is not valid as a name in a certificate.
    pub(super) fn new(url: &Url, tls: &TlsSettings, via: Option<Via>, timeout: Duration) -> Result<Dial, TlsError> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        let tls = if url.scheme() == "https" { Some(connector(tls, &host)?) } else { None };
        Ok(Dial { host, port, via, tls, timeout })
    }

    /// Connects; the stream is ready for HTTP/2.
    ///
    /// # Errors
    /// Says which step failed: name resolution, connection, proxy, TLS, or timeout.
    pub(super) async fn connect(&self) -> io::Result<Wire> {
        let stream = self.bounded(self.reach()).await?;
        match &self.tls {
            None => Ok(Wire::Plain(stream)),
            Some((connector, name)) => {
                let stream = self.bounded(connector.connect(name.clone(), stream)).await?;
                Ok(Wire::Encrypted(Box::new(stream)))
            }
        }
    }

    async fn reach(&self) -> io::Result<TcpStream> {
        let (host, port) = match &self.via {
            None => (self.host.as_str(), self.port),
            Some(via) => (via.host.as_str(), via.port),
        };
        let addresses = Lookup::within(self.timeout).addresses(host, port).await?;
        let mut stream = TcpStream::connect(addresses.as_slice()).await?;
        stream.set_nodelay(true)?;
        if let Some(via) = &self.via {
            // The proxy resolves the name; perhaps only the proxy can.
            let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
            proxy::tunnel(&mut stream, &format!("{host}:{}", self.port), via).await?;
        }
        Ok(stream)
    }

    async fn bounded<T>(&self, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::time::timeout(self.timeout, step).await.map_err(io::Error::from)?
    }
}

fn connector(tls: &TlsSettings, host: &str) -> Result<(TlsConnector, ServerName<'static>), TlsError> {
    let mut config = tls::client_config(tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = tls.server_name.clone().unwrap_or_else(|| host.to_owned());
    let name = ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// A connection, encrypted or not.
pub(super) enum Wire {
    /// TCP.
    Plain(TcpStream),
    /// TLS.
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Wire::Encrypted(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, from),
            Wire::Encrypted(stream) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(context, from),
            Wire::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, from),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(context),
            Wire::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
