//! Hellos of TLS behind what was said in the clear: a tunnel's, which CONNECT made, whose session is given memory instead of the socket. (Where it is given the
//! socket, nothing of them is copied there.)
//!
//! In: pieces of a socket's plaintext. Out: by what each hello is known, once; and what they said, for the connection that a session is joined to. It need not be a
//! tunnel: what only looks like a hello is known by what no session has.

use super::handshake::Handshake;
use super::pair::Pair;
use crate::model::conn::{Direction, Random, TlsFacts};
use crate::stream::hello::{Hello, begins};

/// Both directions, from where a piece begins as a hello does.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    readers: Pair<Option<Handshake>>,
    said: Pair<Option<Hello>>,
}

impl Tunnel {
    /// True when a piece is worth showing to it.
    #[inline]
    pub(super) fn wants(this: Option<&Tunnel>, direction: Direction, payload: &[u8]) -> bool {
        begins(payload) || this.is_some_and(|this| this.readers.of(direction).is_some())
    }

    /// Takes a piece that is wanted; gives what the hello that ends in it is known by.
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

    /// What the hellos said, where it is not known better.
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
