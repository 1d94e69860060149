//! `qtap run`: captures the host, or the part of it that `--pid` or `--cgroup` name, until it is told to end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::engine::{Engine, Pace};
use super::pump::Pump;
use super::shared::{Shared, Stop};
use super::spool::Spool;
use super::{FLUSH_LIMIT, Failure, data_dir, live, runtime, tap_settings};
use crate::admin::view::{DataDirView, ProbeView, Snapshot};
use crate::admin::{self, State};
use crate::capture::kernel::Live;
use crate::cli::RunArgs;
use crate::config::Settings;
use crate::export::status::StoreStatus;
use crate::export::stdout::Output;
use crate::export::store::Store;
use crate::pipeline::Passed;
use crate::tap::Tap;

/// When memory is given back after the start: past the second for which the allocator keeps it.
const SETTLE: Duration = Duration::from_millis(1500);

/// Runs until SIGTERM or SIGINT. `telemetry`: the `OTEL_*` variables ask for qtap's own metrics.
///
/// # Errors
/// [`Failure`] when the host lacks what capture needs, a port is taken, or a store can't be started.
pub fn run(settings: &Settings, args: &RunArgs, telemetry: bool) -> Result<(), Failure> {
    let runtime = runtime()?;
    let scope = live::scope(&args.scope)?;
    let data = data_dir::open(settings, &args.data_dir).map_err(anyhow::Error::new)?;
    let folder = data.folder.as_ref();
    let spool = folder.map(|folder| Spool::of_data_dir(settings, folder)).unwrap_or_default();
    let (engine, intake) = Engine::start(settings, &Output::stdout(), runtime.handle(), &spool, Pace::LIVE, folder)?;
    let shared = Shared::default();
    let probes = live::probes(settings, &args.capture, scope, None);
    let mut source = live::start(probes)?;
    let view = view(&shared, &engine, &source, data.told.clone());
    let processes = {
        let shared = shared.clone();
        Arc::new(move || shared.get().processes.clone())
    };
    let state = State { snapshot: view, processes, http: Some(engine.families.clone()) };
    let telemetry = runtime.block_on(async {
        telemetry.then(|| admin::telemetry::start(admin::telemetry::Settings::default(), state.snapshot.clone()))
    });
    let telemetry = telemetry.transpose().context("qtap's own telemetry (OTEL_* variables)")?;
    let server = runtime.block_on(admin::serve(&args.httpd_listen.to_string(), state)).map_err(anyhow::Error::new)?;
    let stop = Stop::default();
    listen_for_end(&runtime, &stop, Arc::downgrade(engine.stores()))?;
    give_back_what_starting_took()?;
    let mut pump = Pump::new(Tap::new(tap_settings(settings, &spool)), intake, shared);
    let capture = std::thread::Builder::new().name("tap".to_owned()).spawn(move || {
        tracing::info!(version = super::VERSION, "ready: capturing");
        let ran = pump.run(&mut source, &stop);
        let mut last = Vec::new();
        source.last_look(&mut last);
        pump.feed_more(&mut last);
        pump.finish();
        ran
    });
    let ran = capture.context("thread")?.join().map_err(|_| anyhow::anyhow!("the capture thread failed"))?;
    runtime.block_on(async {
        server.stop().await;
        if let Some(telemetry) = telemetry {
            telemetry.stop().await;
        }
        super::report(&engine.shutdown(FLUSH_LIMIT).await);
    });
    ran.map_err(|error| Failure::from(anyhow::Error::new(error)))
}

/// Starting reads all of the kernel's type information, some 30 MB for a moment. The allocator keeps what was freed for a second, and
/// then lets go of it when next a thread ends, which in an idle agent none does: so this one does.
fn give_back_what_starting_took() -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name("settle".to_owned());
    thread.spawn(|| std::thread::sleep(SETTLE)).context("thread")?;
    Ok(())
}

/// SIGTERM and SIGINT ask for the end; a second one is the user's last word.
fn listen_for_end(runtime: &tokio::runtime::Runtime, stop: &Stop, stores: Weak<Vec<Store>>) -> anyhow::Result<()> {
    let _context = runtime.enter();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    runtime.spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("ending: what was captured is delivered first");
        stop.ask();
        // A queue that blocks may be what capture waits for.
        stores.upgrade().iter().flat_map(|stores| stores.iter()).for_each(Store::hurry);
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(1);
    });
    Ok(())
}

/// Counts of rules by name; several stacks may have rules of one name.
fn by_name<'a>(passed: impl Iterator<Item = &'a Passed>) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = Vec::new();
    for rule in passed {
        match counts.iter_mut().find(|(name, _)| *name == rule.rule) {
            Some((_, count)) => *count += rule.count(),
            None => counts.push((rule.rule.clone(), rule.count())),
        }
    }
    counts
}

/// How the agent is, put together whenever someone asks.
fn view(shared: &Shared, engine: &Engine, source: &Live, data_dir: DataDirView) -> admin::Supply<Snapshot> {
    let (shared, stores, passed) = (shared.clone(), Arc::downgrade(engine.stores()), engine.passed.clone());
    let probe = |(name, error): (String, Option<String>)| ProbeView {
        name,
        attached: error.is_none(),
        error,
        ..ProbeView::default()
    };
    let probes: Vec<ProbeView> = source.probes().map(probe).collect();
    Arc::new(move || {
        let seen = shared.get().clone();
        let stores = stores.upgrade();
        let statuses: Vec<StoreStatus> = stores.iter().flat_map(|stores| stores.iter().map(Store::status)).collect();
        let snapshot = super::shared::snapshot(&seen, &statuses, probes.clone());
        let rules = by_name(passed.iter().flat_map(|list| list.iter()));
        Snapshot { data_dir: Some(data_dir.clone()), rules, ..snapshot }
    })
}
