//! What need not be copied any more: channels whose exchanges go through a stack that captures nothing. In: what is known of a connection, and its
//! exchanges as they are told. Out: the channels, as advice to the source. What still comes of them is counted and not read.
//!
//! TLS is left alone as soon as a session is joined to a connection whose server name leads to such a stack. A plain connection is only known by the
//! hosts of its requests, and may ask for another one next (a proxy's does): so one that a process here opened is left alone after a few
//! in a row for one host, and one that was accepted never is.

use super::common::Common;
use super::conn::{Conn, Socket};
use crate::model::conn::{Channel, Role, TlsFacts};
use crate::model::exchange::HttpExchange;
use crate::model::observation::Observation;
use crate::model::process::Process;
use crate::model::route::Facts;
use crate::model::time::KernelTime;

/// Exchanges in a row, for one host that nobody wants to know of, after which a plain connection is left alone: so many that a proxy which sends
/// what it gets from several hosts down one connection has mostly shown so before.
const IN_A_ROW: u32 = 4;

/// Exchanges of a connection that nobody wants, in a row.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    host: Option<String>,
    count: u32,
}

impl Conn {
    /// An exchange is told: does anybody want it?
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

    /// Leaves the channel of its socket alone, when that is due.
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

    /// True when by its server name nobody wants what is said inside TLS.
    pub(super) fn is_unwanted_by_name(&self, common: &Common) -> bool {
        let named = self.facts.tls.as_ref().is_some_and(|TlsFacts { sni, .. }| sni.is_some());
        common.leaves_some_alone && named && !self.appetite(common).exchanges
    }
}
