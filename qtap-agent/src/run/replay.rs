//! `qtap replay`: runs a recording through the same tap, pipeline and stores as live capture. No kernel, no privilege.

use std::fs::File;
use std::io::BufReader;

use anyhow::Context;

use super::engine::{Engine, Pace};
use super::pump::Pump;
use super::shared::{Shared, Stop};
use super::spool::Spool;
use super::{FLUSH_LIMIT, Failure, output, runtime, tap_settings};
use crate::capture::replay::Replay;
use crate::cli::ReplayArgs;
use crate::config::Settings;
use crate::tap::Tap;

/// Replays a recording. Everything before a damaged part is replayed; then the damage is returned as the failure.
///
/// # Errors
/// [`Failure`] with the exit code for a damaged or incompatible recording, or for a store that can't be started.
pub fn replay(settings: &Settings, args: &ReplayArgs) -> Result<(), Failure> {
    let path = &args.recording;
    let file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    let which = || path.display().to_string();
    let mut source = Replay::open(BufReader::new(file)).with_context(which).map_err(Failure::recording)?;
    let output = output(args.output.as_deref())?;
    let runtime = runtime()?;
    let spool = Spool::temporary(settings)?;
    let (engine, intake) = Engine::start(settings, &output, runtime.handle(), &spool, Pace::REPLAY, None)?;
    let mut pump = Pump::new(Tap::new(tap_settings(settings, &spool)), intake, Shared::default());
    let played = pump.run(&mut source, &Stop::default());
    pump.finish();
    super::report(&runtime.block_on(engine.shutdown(FLUSH_LIMIT)));
    runtime.shutdown_background();
    played.with_context(which).map_err(Failure::recording)
}
