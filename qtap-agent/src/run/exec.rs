//! `qtap exec -- CMD`: captures that command and its children, from first byte to last, and returns the command's exit code.

use std::time::{Duration, Instant};

use super::child::Child;
use super::engine::{Engine, Pace};
use super::pump::Pump;
use super::shared::Shared;
use super::spool::Spool;
use super::{FLUSH_LIMIT, Failure, live, output, runtime, tap_settings};
use crate::capture::kernel::{Live, Scope};
use crate::cli::{self, ExecArgs};
use crate::config::Settings;
use crate::tap::Tap;

/// Silence after the command's exit, and after all that the ring held by then, that counts as the end of its traffic: the kernel closes its open connections in the meantime.
const QUIET: Duration = Duration::from_millis(150);
/// Maximum wait for that silence.
const LINGER: Duration = Duration::from_secs(2);

/// Runs the command. Returns its exit code.
///
/// # Errors
/// [`Failure`] if the host lacks what capture needs, or a store can't be started. The command is not run then.
pub fn exec(settings: &Settings, args: &ExecArgs) -> Result<u8, Failure> {
    let output = output(args.output.as_deref())?;
    let runtime = runtime()?;
    let recording = args.recording.as_deref().map(live::recording).transpose()?;
    let probes = live::probes(settings, &args.capture, Scope::Listed(Vec::new()), recording);
    let mut source = live::start(probes)?;
    let spool = Spool::temporary(settings)?;
    let (engine, intake) = Engine::start(settings, &output, runtime.handle(), &spool, Pace::LIVE, None)?;
    let mut pump = Pump::new(Tap::new(tap_settings(settings, &spool)), intake, Shared::default());
    let code = follow(&args.command, &mut source, &mut |source, wait| {
        pump.turn(source, wait).map(drop).map_err(|error| Failure::from(anyhow::Error::new(error)))
    })?;
    let mut last = Vec::new();
    source.last_look(&mut last);
    pump.feed_more(&mut last);
    pump.finish();
    source.flush().map_err(anyhow::Error::new)?;
    super::report(&runtime.block_on(engine.shutdown(FLUSH_LIMIT)));
    // A write that its reader does not take would be waited for without end.
    runtime.shutdown_background();
    Ok(code)
}

/// Starts the command in scope and polls until it has exited and nothing more arrives. Returns its exit code.
pub(super) fn follow(
    command: &[std::ffi::OsString],
    source: &mut Live,
    turn: &mut dyn FnMut(&mut Live, Duration) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    if let Some(program) = cli::program_of(command) {
        source.expect(&program);
    }
    let child = Child::start(command)?;
    source.include(child.pid()).map_err(anyhow::Error::new)?;
    let running = child.go()?;
    while !running.ended() {
        turn(source, Duration::from_millis(20))?;
    }
    live::catch_up(source, turn, Duration::MAX)?;
    let ended = Instant::now();
    let mut seen = source.records();
    let mut quiet_since = ended;
    while quiet_since.elapsed() < QUIET && ended.elapsed() < LINGER {
        turn(source, Duration::from_millis(20))?;
        if source.records() != seen {
            seen = source.records();
            quiet_since = Instant::now();
        }
    }
    running.code()
}
