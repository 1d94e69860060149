//! qtap's own log: to stderr, so that records on stdout can be piped. In: level and form. Never payload, header values or
//! query strings: that is for those who log to see to; this file only decides where lines go.

mod flood;

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::Metadata;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use self::flood::Flood;
use crate::cli::LogEncoding;

static FLOOD: OnceLock<Flood> = OnceLock::new();

/// Where else lines go, beside stderr.
pub type Elsewhere = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging, once per process. `probes`: what the probes say of themselves is shown, whatever the level.
///
/// # Errors
/// When `level` is neither a level nor a filter, or logging was started before.
pub fn init(
    level: &str,
    probes: bool,
    encoding: Option<LogEncoding>,
    elsewhere: Option<Elsewhere>,
) -> Result<(), String> {
    // A bare level is qtap's own: what the libraries below it have to say at that level is for those who name them.
    let directives =
        if level.contains(['=', ',']) { level.to_owned() } else { format!("warn,qtap={level},qtap_agent={level}") };
    let directives = if probes { format!("{directives},probes=trace") } else { directives };
    let filter = EnvFilter::try_new(directives).map_err(|error| format!("--log-level {level}: {error}"))?;
    let terminal = std::io::stderr().is_terminal();
    let encoding = encoding.unwrap_or(if terminal { LogEncoding::Console } else { LogEncoding::Json });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match encoding {
        LogEncoding::Console => lines.with_ansi(terminal).boxed(),
        LogEncoding::Json => lines.json().flatten_event(true).boxed(),
    };
    // Spans are for elsewhere: a line says by itself what it is about.
    let lines = lines.with_filter(filter_fn(|metadata: &Metadata<'_>| metadata.is_event()));
    let flood = FLOOD.get_or_init(Flood::new).clone();
    let started = Registry::default().with(elsewhere).with(filter).with(flood).with(lines).try_init();
    started.map_err(|error| error.to_string())
}

/// Says what was held back until now: before the process ends.
pub fn tell_what_was_held_back() {
    if let Some(flood) = FLOOD.get() {
        flood.tell_all();
    }
}
