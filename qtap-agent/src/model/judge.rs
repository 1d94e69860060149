//! Is the body of an exchange wanted? Asked while the exchange runs, as soon as its heads are known; so that a body that nobody wants
//! is never kept. The one who asks does not know what is asked for, and the one who answers does not know when: between them stands
//! this word.

use std::fmt;
use std::sync::Arc;

use super::conn::ConnFacts;
use super::event::Host;
use super::exchange::HttpExchange;
use super::process::Process;

/// What becomes of the bodies of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// They are wanted, whatever is still to come.
    Yes,
    /// They are not, whatever is still to come.
    No,
    /// What is still to come decides: they are kept until then.
    Open,
}

/// Where an exchange happens, as far as it is known.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The host.
    pub host: Arc<Host>,
    /// The connection.
    pub conn: Arc<ConnFacts>,
    /// The process; none when it is not known (yet).
    pub process: Option<Arc<Process>>,
}

impl Scene {
    /// True when it is made of these very facts.
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

/// Who can tell. Clones ask the same one.
#[derive(Clone)]
pub struct Judge(Arc<Asked>);

impl Judge {
    /// `judge` is given an exchange that runs: the heads that are there are whole, bodies are not looked at.
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

/// Two are one when they ask the same one.
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
