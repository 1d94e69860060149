//! Finds channels that need not be copied any more: those whose exchanges go through a stack that captures nothing. In: what is known of a
//! connection, and its exchanges. Out: the channels, as advice to the source. What still arrives of them is counted and not parsed.
//!
//! A TLS session is no longer copied as soon as it is joined to a connection whose server name leads to such a stack. A plain connection
//! is only known by the hosts of its requests, and its next request may name another host (a proxy's does): so one opened by a local process
//! is no longer copied after a few requests in a row for one host, and an accepted one always is.

use super::common::Common;
use super::conn::{Conn, Socket};
use crate::model::conn::{Channel, Role, TlsFacts};
use crate::model::exchange::HttpExchange;
use crate::model::observation::Observation;
use crate::model::process::Process;
use crate::model::route::Facts;
use crate::model::time::KernelTime;

/// Consecutive exchanges for one unwanted host after which a plain connection is no longer copied: enough that a proxy which forwards requests
/// for several hosts on one connection has most likely shown another host before.
const IN_A_ROW: u32 = 4;

/// Consecutive unwanted exchanges of a connection.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    host: Option<String>,
    count: u32,
}

impl Conn {
    /// Notes, for an exchange being reported, whether anybody wants it.
    pub(super) fn note_want(&mut self, exchange: &HttpExchange, process: Option<&Process>, common: &Common) {
        if !common.leaves_some_alone || exchange.part.is_some_and(|part| !part.last) {
            return;
        }
        let host = exchange.request.as_ref().and_then(|request| request.authority.as_deref());
        let wants = &common.http.of(self.facts.opened).wants;
        if host.is_none() || wants.appetite_of(&Facts::of(&self.facts, process, host)).exchanges {
            self.quiet = Quiet::default();
        } else if self.quiet.host.as_deref() == host {
            self.quiet.count += 1;
        } else {
            self.quiet = Quiet { host: host.map(str::to_owned), count: 1 };
        }
    }

    /// Stops copying the channel of its socket, if that is due.
    pub(super) fn leave_alone_if_quiet(&mut self, time: KernelTime, common: &mut Common, out: &mut Vec<Observation>) {
        let plain = self.facts.role == Role::Client && self.facts.tls.is_none();
        if self.quiet.count < IN_A_ROW || !plain || !matches!(self.key, Channel::Socket(_)) {
            return;
        }
        self.quiet = Quiet::default();
        let Socket::Plain(stream) = &mut self.socket else { return };
        if stream.leave_alone(time, &mut common.sink) {
            common.unwanted.push(self.key);
            self.settle(common, time, out);
        }
    }

    /// True if, by the server name, nobody wants the plaintext of the TLS session.
    pub(super) fn is_unwanted_by_name(&self, common: &Common) -> bool {
        let named = self.facts.tls.as_ref().is_some_and(|TlsFacts { sni, .. }| sni.is_some());
        common.leaves_some_alone && named && !self.appetite(common).exchanges
    }
}
