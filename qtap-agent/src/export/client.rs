//! HTTP clients of every store and token endpoint: TLS as the settings say, through the proxy that the environment names, made again
//! when a certificate file changes. Redirects are not followed, because a POST would become a GET (RFC 9110 §15.4.2).

use std::time::Duration;

use reqwest::{Client, Proxy, Url};

use super::proxy::{self, Via};
use super::renewed::Renewed;
use super::settings::{ProxySettings, TlsSettings};
use super::store::StartError;
use super::tls;

/// Connections that are not used are closed after this: before most servers and load balancers (60 s and more) do, so that no
/// request meets a connection that is being closed.
const IDLE: Duration = Duration::from_secs(50);

/// TCP asks this often whether an idle connection is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// A client for one target.
#[derive(Debug)]
pub struct HttpClient {
    client: Renewed<Client>,
    via: Option<Via>,
}

impl HttpClient {
    /// Checks the settings; connects to nothing.
    ///
    /// # Errors
    /// When TLS files or the proxy cannot be used.
    pub fn new(
        target: &Url,
        tls: &TlsSettings,
        proxies: &ProxySettings,
        version: &'static str,
    ) -> Result<HttpClient, StartError> {
        let via = proxy::via(proxies, target)?;
        let encrypted = target.scheme() == "https";
        let files = if encrypted { tls.files() } else { Vec::new() };
        let (tls, through) = (tls.clone(), via.clone());
        let client = Renewed::new(files, move || make(encrypted.then_some(&tls), through.as_ref(), version))?;
        Ok(HttpClient { client, via })
    }

    /// The client, of the files as they are now, and its number for [`HttpClient::suspect`].
    #[must_use]
    pub fn current(&self) -> (Client, u64) {
        self.client.current()
    }

    /// There was no answer: the next request is made by a new client, on a new connection, with the system's roots read again.
    pub fn suspect(&self, number: u64) {
        self.client.suspect(number);
    }

    /// What messages call a target that is reached with this: with the proxy, if there is one.
    #[must_use]
    pub fn name(&self, target: &Url) -> String {
        let port = target.port_or_known_default().unwrap_or_default();
        through(&format!("{}:{port}", target.host_str().unwrap_or_default()), self.via.as_ref())
    }
}

/// `authority`, and the proxy on the way to it.
#[must_use]
pub fn through(authority: &str, via: Option<&Via>) -> String {
    match via {
        None => authority.to_owned(),
        Some(via) => format!("{authority} (through the proxy {})", via.name()),
    }
}

fn make(tls: Option<&TlsSettings>, via: Option<&Via>, version: &str) -> Result<Client, StartError> {
    let config = match tls {
        Some(tls) => tls::client_config(tls)?,
        None => tls::plaintext_config()?,
    };
    let failed = |error: reqwest::Error| StartError::Client(error.without_url().to_string());
    let mut builder = Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(format!("qtap/{version}"))
        .tcp_nodelay(true)
        .tcp_keepalive(TCP_KEEPALIVE)
        .pool_idle_timeout(IDLE)
        // Only the settings say which proxy, not the library's own look at the environment.
        .no_proxy();
    if let Some(via) = via {
        let mut proxy = Proxy::all(format!("http://{}", via.name())).map_err(failed)?;
        if let Some(value) = &via.authorization {
            proxy = proxy.custom_http_auth(value.clone());
        }
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(failed)
}
