//! Flags that keep qtap's own traffic out of the capture. In: arguments and environment. Out: [`ProtectionArgs`].

use clap::{Args, ValueEnum};

/// How qtap keeps out of what it captures.
#[derive(Debug, Clone, Args)]
pub struct ProtectionArgs {
    /// What is left out because qtap's own exports would come back by it: the other ends of its connections on this host, and what those who
    /// accept them send on (all), the other ends alone (own), or nothing but qtap itself (off).
    #[arg(long, env = "QTAP_FEEDBACK_GUARD", default_value = "all", value_name = "WHAT")]
    pub feedback_guard: FeedbackGuard,
}

/// What of qtap's exports is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FeedbackGuard {
    /// The other ends of its connections, and the connections that those who accept them make.
    All,
    /// The other ends of its connections.
    Own,
    /// Nothing but qtap itself.
    Off,
}
