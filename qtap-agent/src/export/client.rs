//! HTTP clients of all stores and token endpoints: TLS as the settings say, through the proxy that the settings name, rebuilt when a
//! certificate file changes. Redirects are not followed, because a POST would become a GET (RFC 9110 §15.4.2).

use std::time::Duration;

use reqwest::{Client, Proxy, Url};

use super::lookup::Lookup;
use super::proxy::{self, Via};
use super::renewed::Renewed;
use super::settings::{ProxySettings, TlsSettings};
use super::store::StartError;
use super::tls;

/// Idle connections are closed after this time: before most servers and load balancers close them (after 60 s or more), so that no
/// request is sent on a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(50);

/// Interval of the TCP keepalive probes on an idle connection.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// A client for one target.
#[derive(Debug)]
pub struct HttpClient {
    client: Renewed<Client>,
    via: Option<Via>,
}

impl HttpClient {
    /// Checks the settings; does not connect. A request may take `limit` as a whole; the caller holds it to that.
    ///
    /// # Errors
    /// When the TLS files or the proxy can't be used.
    pub fn new(
        target: &Url,
        tls: &TlsSettings,
        proxies: &ProxySettings,
        limit: Duration,
        version: &'static str,
    ) -> Result<HttpClient, StartError> {
        let via = proxy::via(proxies, target)?;
        let encrypted = target.scheme() == "https";
        let files = if encrypted { tls.files() } else { Vec::new() };
        let (tls, through) = (tls.clone(), via.clone());
        let client = Renewed::new(files, move || {
            make(encrypted.then_some(&tls), through.as_ref(), Lookup::within(limit), version)
        })?;
        Ok(HttpClient { client, via })
    }

    /// The current client, built from the files as they are now, and its number for [`HttpClient::suspect`].
    #[must_use]
    pub fn current(&self) -> (Client, u64) {
        self.client.current()
    }

    /// Call this when there was no answer: the next request uses a new client, on a new connection, with the system's root certificates read again.
    pub fn suspect(&self, number: u64) {
        self.client.suspect(number);
    }

    /// The name of a target in messages, including the proxy, if there is one.
    #[must_use]
    pub fn name(&self, target: &Url) -> String {
        let port = target.port_or_known_default().unwrap_or_default();
        through(&format!("{}:{port}", target.host_str().unwrap_or_default()), self.via.as_ref())
    }
}

/// `authority`, followed by the proxy, if there is one.
#[must_use]
pub fn through(authority: &str, via: Option<&Via>) -> String {
    match via {
        None => authority.to_owned(),
        Some(via) => format!("{authority} (through the proxy {})", via.name()),
    }
}

fn make(tls: Option<&TlsSettings>, via: Option<&Via>, lookup: Lookup, version: &str) -> Result<Client, StartError> {
    let config = match tls {
        Some(tls) => tls::client_config(tls)?,
        None => tls::plaintext_config()?,
    };
    let failed = |error: reqwest::Error| StartError::Client(error.without_url().to_string());
    let mut builder = Client::builder()
        .tls_backend_preconfigured(config)
        .dns_resolver(lookup)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(format!("qtap/{version}"))
        .tcp_nodelay(true)
        .tcp_keepalive(TCP_KEEPALIVE)
        .pool_idle_timeout(IDLE)
        // The proxy comes only from the settings; reqwest must not read the environment itself.
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
