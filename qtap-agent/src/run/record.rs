//! `qtap record`: writes the probes' records to a file, for a command or for the host. Nothing is parsed or exported.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::exec::follow;
use super::{Failure, live, runtime};
use crate::capture::kernel::{Live, Scope};
use crate::capture::source::Source;
use crate::cli::RecordArgs;
use crate::config::Settings;

/// Records the command or, without one, what `--pid` and `--cgroup` select, until SIGTERM or SIGINT. Returns the exit code.
///
/// # Errors
/// [`Failure`] if the host lacks what capture needs, or the file can't be written.
pub fn record(settings: &Settings, args: &RecordArgs) -> Result<u8, Failure> {
    let scope = if args.command.is_empty() { live::scope(&args.scope)? } else { Scope::Listed(Vec::new()) };
    let recording = live::recording(&args.output)?;
    let mut source = live::start(live::probes(settings, &args.capture, scope, Some(recording)))?;
    let mut events = Vec::new();
    let mut turn = |source: &mut Live, wait: Duration| {
        events.clear();
        source.poll(wait, &mut events).map(drop).map_err(|error| Failure::from(anyhow::Error::new(error)))
    };
    let code = if args.command.is_empty() {
        until_told(&mut source, &mut turn)?;
        live::catch_up(&mut source, &mut turn, live::CATCH_UP)?;
        0
    } else {
        follow(&args.command, &mut source, &mut turn)?
    };
    source.last_look(&mut Vec::new());
    source.flush().map_err(anyhow::Error::new)?;
    Ok(code)
}

fn until_told(
    source: &mut Live,
    turn: &mut dyn FnMut(&mut Live, Duration) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = runtime()?;
    let told = super::shared::Stop::default();
    let stop = told.clone();
    let _context = runtime.enter();
    let mut term = signal(SignalKind::terminate()).map_err(anyhow::Error::new)?;
    let mut int = signal(SignalKind::interrupt()).map_err(anyhow::Error::new)?;
    runtime.spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        stop.ask();
    });
    tracing::info!("recording");
    while !told.asked() {
        turn(source, Duration::from_millis(100))?;
    }
    Ok(())
}
