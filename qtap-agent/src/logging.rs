//! qtap's own log, written to stderr, so that records on stdout can be piped. In: level and encoding. Log lines must never hold payload,
//! header values or query strings; the code that logs is responsible for that, this file only decides where lines go.

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

/// An additional destination of events and spans, beside stderr.
pub type Elsewhere = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging, once per process. `probes`: the probes' own log is shown, whatever the level.
///
/// # Errors
/// When `level` is neither a level nor a filter, or logging was already started.
pub fn init(
    level: &str,
    probes: bool,
    encoding: Option<LogEncoding>,
    elsewhere: Option<Elsewhere>,
) -> Result<(), String> {
    // A bare level applies to qtap only: to see the libraries below it at that level, name them in a filter.
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
    // Spans are for `elsewhere` only: a log line is complete by itself.
    let lines = lines.with_filter(filter_fn(|metadata: &Metadata<'_>| metadata.is_event()));
    let flood = FLOOD.get_or_init(Flood::new).clone();
    let started = Registry::default().with(elsewhere).with(filter).with(flood).with(lines).try_init();
    started.map_err(|error| error.to_string())
}

/// Reports the lines held back so far; to be called before the process ends.
pub fn tell_what_was_held_back() {
    if let Some(flood) = FLOOD.get() {
        flood.tell_all();
    }
}
