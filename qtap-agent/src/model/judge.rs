//! Whether the bodies of an exchange are wanted. The question is asked while the exchange is running, as soon as its heads are known, so that a body
//! that nobody wants is never kept. The caller does not know the rules, and whoever answers does not know when the question comes: this type
//! decouples the two.

use std::fmt;
use std::sync::Arc;

use super::conn::ConnFacts;
use super::event::Host;
use super::exchange::HttpExchange;
use super::process::Process;

/// What happens to the bodies of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Wanted, whatever follows.
    Yes,
    /// Not wanted, whatever follows.
    No,
    /// Depends on what follows: keep them until then.
    Open,
}

/// Where an exchange takes place, as far as is known.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The host.
    pub host: Arc<Host>,
    /// The connection.
    pub conn: Arc<ConnFacts>,
    /// The process; none when it is not known, or not yet.
    pub process: Option<Arc<Process>>,
}

impl Scene {
    /// True when it was built from these very `Arc`s.
    #[must_use]
    pub fn is(&self, conn: &Arc<ConnFacts>, process: Option<&Arc<Process>>) -> bool {
        let same = match (&self.process, process) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same && Arc::ptr_eq(&self.conn, conn)
    }
}

type Asked = dyn Fn(&HttpExchange, Option<&Scene>) -> Wanted + Send + Sync;

/// The function that decides. Clones share it.
#[derive(Clone)]
pub struct Judge(Arc<Asked>);

impl Judge {
    /// `judge` is given a running exchange: the heads that are present are complete; it must not look at the bodies.
    #[must_use]
    pub fn new(judge: impl Fn(&HttpExchange, Option<&Scene>) -> Wanted + Send + Sync + 'static) -> Judge {
        Judge(Arc::new(judge))
    }

    /// Are the bodies of `exchange` wanted?
    #[must_use]
    pub fn of(&self, exchange: &HttpExchange, scene: Option<&Scene>) -> Wanted {
        (self.0)(exchange, scene)
    }
}

/// Equal when they share the same function.
impl PartialEq for Judge {
    fn eq(&self, other: &Judge) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Judge {}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge(…)")
    }
}
