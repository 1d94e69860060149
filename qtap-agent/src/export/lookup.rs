//! Looks up the names of stores, proxies and token endpoints as the system does (`getaddrinfo`), within a limit: a name server that does not answer
//! is told from a store that does not.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No name server answered within this time.
    #[error("no answer from the name server (DNS) within {0:?}")]
    Silent(Duration),
    /// The name servers can't be reached, or have trouble themselves (`EAI_AGAIN`).
    #[error("no answer from the name server (DNS)")]
    Trouble(#[source] io::Error),
    /// The name servers do not know it, or it can be no name.
    #[error("the name is not known (DNS)")]
    Unknown(#[source] io::Error),
}

/// Looks up names, each within the same limit.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    limit: Duration,
}

impl Lookup {
    /// Lookups for requests that may take `request` as a whole: nine tenths of it. The rest would hardly do for the request, and does for an
    /// error that names the cause.
    #[must_use]
    pub fn within(request: Duration) -> Lookup {
        Lookup { limit: request / 10 * 9 }
    }

    /// The addresses of a host; an address stands for itself.
    ///
    /// # Errors
    /// When there is none, with a [`LookupError`] inside.
    pub async fn addresses(self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.bounded(async { Ok(lookup_host((host, port)).await?.collect()) }).await.map_err(io::Error::other)
    }

    async fn bounded<T>(self, asked: impl Future<Output = io::Result<T>>) -> Result<T, LookupError> {
        match tokio::time::timeout(self.limit, asked).await {
            Ok(answer) => answer.map_err(sorted),
            Err(_) => Err(LookupError::Silent(self.limit)),
        }
    }
}

/// `getaddrinfo`'s error by its text, which is all that `std` passes on: of `EAI_AGAIN` in glibc and in musl.
fn sorted(error: io::Error) -> LookupError {
    let text = error.to_string();
    if ["Temporary failure in name resolution", "Try again"].iter().any(|words| text.ends_with(words)) {
        LookupError::Trouble(error)
    } else {
        LookupError::Unknown(error)
    }
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = *self;
        Box::pin(async move {
            let addresses = lookup.addresses(name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::refusal::explain;

    fn words(error: LookupError) -> String {
        explain(&io::Error::other(error), "h:1")
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_is_silent_is_told_from_a_store_that_is() {
        let lookup = Lookup::within(Duration::from_secs(5));
        let silent = lookup.bounded(std::future::pending::<io::Result<()>>()).await.expect_err("no answer");
        assert_eq!(
            words(silent),
            "h:1: no answer from the name server (DNS) within 4.5s: is it reachable from here (/etc/resolv.conf)?"
        );
    }

    /// The texts of `gai_strerror` in glibc and musl, as `std` wraps them.
    #[test]
    fn a_name_server_in_trouble_is_told_from_a_name_that_is_not_known() {
        let said =
            |text: &str| words(sorted(io::Error::other(format!("failed to lookup address information: {text}"))));
        for text in ["Temporary failure in name resolution", "Try again"] {
            assert_eq!(
                said(text),
                "h:1: no answer from the name server (DNS): is it reachable from here (/etc/resolv.conf)?"
            );
        }
        for text in ["Name or service not known", "Name does not resolve", "No address associated with hostname"] {
            assert_eq!(said(text), "h:1: the name is not known (DNS): is the endpoint spelt right?");
        }
    }

    #[tokio::test]
    async fn addresses_stand_for_themselves() {
        let lookup = Lookup::within(Duration::from_secs(5));
        for (host, address) in [("127.0.0.1", "127.0.0.1:7"), ("::1", "[::1]:7")] {
            assert_eq!(lookup.addresses(host, 7).await.expect("an address"), [address.parse().expect("an address")]);
        }
    }
}
