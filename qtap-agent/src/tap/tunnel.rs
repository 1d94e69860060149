//! TLS hellos that follow plaintext: those of a tunnel made by CONNECT, whose session uses memory instead of the socket. (If it uses the
//! socket, nothing of them is copied there.)
//!
//! In: pieces of a socket's plaintext. Out: the random of each hello, once; and their contents, for the connection that a session is joined to.
//! There need not be a tunnel: what only looks like a hello has a random that no session has.

use super::handshake::Handshake;
use super::pair::Pair;
use crate::model::conn::{Direction, Random, TlsFacts};
use crate::stream::hello::{Hello, begins};

/// Both directions, from a piece that begins like a hello.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    readers: Pair<Option<Handshake>>,
    said: Pair<Option<Hello>>,
}

impl Tunnel {
    /// True if a piece should be passed to `read`.
    #[inline]
    pub(super) fn wants(this: Option<&Tunnel>, direction: Direction, payload: &[u8]) -> bool {
        begins(payload) || this.is_some_and(|this| this.readers.of(direction).is_some())
    }

    /// Takes a piece that is wanted; returns the random of the hello that ends in it.
    pub(super) fn read(&mut self, direction: Direction, offset: u64, payload: &[u8]) -> Option<Random> {
        if self.said.of(direction).is_some() {
            return None;
        }
        if begins(payload) {
            *self.readers.of_mut(direction) = Some(Handshake::default());
        }
        let reader = self.readers.of_mut(direction).as_mut()?;
        let hello = reader.read(direction, offset, payload);
        if hello.is_some() || reader.is_over_for(direction) {
            *self.readers.of_mut(direction) = None;
        }
        let hello = hello?;
        let (Hello::Client { random, .. } | Hello::Server { random, .. }) = &hello;
        let random = *random;
        *self.said.of_mut(direction) = Some(hello);
        Some(random)
    }

    /// Fills in the contents of the hellos where nothing better is known.
    pub(super) fn tell(&self, tls: &mut TlsFacts) {
        for hello in [&self.said.sent, &self.said.received].into_iter().flatten() {
            match hello {
                Hello::Client { server_name, .. } if tls.sni.is_none() => tls.sni.clone_from(server_name),
                Hello::Server { version, alpn, .. } => {
                    if tls.version.is_none() {
                        tls.version.clone_from(version);
                    }
                    if tls.alpn.is_none() {
                        tls.alpn.clone_from(alpn);
                    }
                }
                Hello::Client { .. } => {}
            }
        }
    }
}
