//! `qtap run`: captures the host, or the part of it selected by `--pid` or `--cgroup`, until it is asked to end.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::engine::{Engine, Pace};
use super::keeper::Keeper;
use super::privileges::{self, Errands};
use super::probes;
use super::processes::Look;
use super::pump::{Pump, WAIT};
use super::reload::calls::{Call, Calls, Origin, Told};
use super::reload::{Change, Running};
use super::shared::{Shared, Stop};
use super::spool::Spool;
use super::stores;
use super::{FLUSH_LIMIT, Failure, data_dir, doctor, live, runtime, tap_settings};
use crate::admin::telemetry::{Asked, Bridge};
use crate::admin::view::{DataDirView, FeedbackView, RingView, RuntimeView, Snapshot, StoreProcessView};
use crate::admin::{self, State};
use crate::capture::kernel::standing::RingUse;
use crate::capture::kernel::{Live, trial};
use crate::capture::runtimes::RuntimeStatus;
use crate::capture::source::{Flow, SourceError};
use crate::cli::RunArgs;
use crate::config::Settings;
use crate::export::stdout::Output;
use crate::model::host::Report;
use crate::tap::Tap;

/// When memory is returned after the start: later than the second for which the allocator keeps it.
const SETTLE: Duration = Duration::from_millis(1500);

/// How often the probes' totals are read for status requests.
const LOOK: Duration = Duration::from_secs(1);

/// Which of qtap's own signals are exported, and where its log and its spans are left for that.
#[derive(Debug, Default)]
pub struct Telemetry {
    /// Which signals.
    pub asked: Asked,
    /// Part of the logging setup.
    pub bridge: Bridge,
}

impl Telemetry {
    /// Reads the environment variables; also returns, in words, what they request that is not available.
    #[must_use]
    pub fn by(env: &dyn Fn(&str) -> Option<String>) -> (Telemetry, Vec<String>) {
        let (asked, unknown) = Asked::by(env);
        (Telemetry { asked, bridge: Bridge::default() }, unknown)
    }
}

/// Runs until SIGTERM or SIGINT; SIGHUP reloads the config. `env` looks up variables; `telemetry`: qtap's own signals that `OTEL_*` variables request.
///
/// # Errors
/// [`Failure`] if the host lacks what capture needs, a port is taken, or a store can't be started.
pub fn run(
    settings: &Settings,
    args: &RunArgs,
    env: fn(&str) -> Option<String>,
    telemetry: &Telemetry,
) -> Result<(), Failure> {
    // Must run before any other thread exists.
    let (folders, port) = (folders(settings, args), args.httpd_listen.port());
    privileges::give_up(Errands { folders: &folders, port, loads_agents: args.capture.java_agent });
    let runtime = runtime()?;
    // Whoever has seen the page may send the signal, so listen before the page is served.
    let (call, called) = mpsc::channel();
    listen_for_reload(&runtime, call.clone())?;
    let scope = live::scope(&args.scope)?;
    let data = data_dir::open(settings, &args.data_dir).map_err(anyhow::Error::new)?;
    let folder = data.folder.as_ref();
    let spool = folder.map(|folder| Spool::of_data_dir(settings, folder)).unwrap_or_default();
    let (engine, intake) = Engine::start(settings, &Output::stdout(), runtime.handle(), &spool, Pace::LIVE, folder)?;
    let shared = Shared::default();
    let probes = live::probes(settings, &args.capture, scope, None);
    let ring_bytes = probes.ring_bytes;
    let mut source = live::start(probes)?;
    let host = Arc::new(doctor::examine(trial::of_running(&source, ring_bytes), &args.data_dir));
    doctor::warn(&host);
    let (records, source_of_config) = (&args.capture.records, args.source());
    let config = Told::new(source_of_config.as_ref(), args.watch().is_some());
    let data_dir = Arc::new(Mutex::new(data.told.clone()));
    let view = view(&shared, &engine, &source, &data_dir, &config, host);
    let processes = Arc::new(Look::new(shared.clone(), source.standing(), &args.scope));
    let state =
        State { snapshot: view, processes: Arc::new(move || processes.view()), http: Some(engine.families.clone()) };
    let telemetry = runtime.block_on(async {
        let start = || admin::telemetry::start(telemetry.asked, &telemetry.bridge, state.snapshot.clone());
        telemetry.asked.anything().then(start)
    });
    let telemetry = telemetry.transpose().context("qtap's own telemetry (OTEL_* variables)")?;
    let server = runtime.block_on(admin::serve(&args.httpd_listen.to_string(), state)).map_err(anyhow::Error::new)?;
    let stop = Stop::default();
    listen_for_end(&runtime, &stop, engine.stores().look())?;
    give_back_what_starting_took()?;
    let mut pump = Pump::new(Tap::new(tap_settings(settings, &spool)), intake, shared);
    let mut keeper = Keeper::new(&args.limits, &mut pump);
    let (changes, to_change) = mpsc::sync_channel(1);
    let running = Running {
        settings: settings.clone(),
        started: settings.clone(),
        data,
        told: data_dir,
        data_dir: args.data_dir.clone(),
        spool,
        stores: engine.stores().look(),
        changes,
        runtime: runtime.handle().clone(),
        output: Output::stdout(),
        stop: stop.clone(),
    };
    let (tags, http_buffer_size) = (records.tags.0.clone(), records.http_buffer_size);
    let origin = Origin { source: source_of_config, env, tags, http_buffer_size };
    let calls = Calls { running, origin, told: config, watch: args.watch(), seen: None };
    let reloading = calls.spawn(called).context("thread")?;
    let capture = std::thread::Builder::new().name("tap".to_owned()).spawn(move || {
        tracing::info!(version = super::VERSION, "ready: capturing");
        let ran = capture_until(&stop, &mut pump, &mut source, &mut keeper, &to_change);
        let mut turn = |source: &mut Live, wait| pump.turn(source, wait).map(drop);
        let ran = ran.and_then(|()| live::catch_up(&mut source, &mut turn, live::CATCH_UP));
        let mut last = Vec::new();
        source.last_look(&mut last);
        pump.feed_more(&mut last);
        pump.finish();
        ran
    });
    let ran = capture.context("thread")?.join().map_err(|_| anyhow::anyhow!("the capture thread failed"))?;
    let _ = call.send(Call::End);
    let held = reloading.join();
    runtime.block_on(async {
        server.stop().await;
        if let Some(telemetry) = telemetry {
            telemetry.stop().await;
        }
        super::report(&engine.shutdown(FLUSH_LIMIT).await);
    });
    drop(held);
    // A write that its reader does not take would be waited for without end.
    runtime.shutdown_background();
    ran.map_err(|error| Failure::from(anyhow::Error::new(error)))
}

/// Captures until the end is requested; switches to another config in between.
fn capture_until(
    stop: &Stop,
    pump: &mut Pump,
    source: &mut Live,
    keeper: &mut Keeper,
    to_change: &mpsc::Receiver<Change>,
) -> Result<(), SourceError> {
    let mut looked = Instant::now();
    while !stop.asked() {
        if let Ok(mut change) = to_change.try_recv() {
            if let Some(tap) = change.tap.take() {
                let mut events = Vec::new();
                if let Err(error) = source.wish(live::wishes(&tap)) {
                    tracing::error!(%error, "the probes keep to what they were told before");
                }
                source.filter(tap.filters, &mut events);
                pump.feed_more(&mut events);
            }
            pump.turn_over(change);
        }
        if pump.turn(source, WAIT)? == Flow::Ended {
            break;
        }
        keeper.keep(source, pump);
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            pump.shared.get().feedback = feedback(source);
        }
    }
    Ok(())
}

/// Paths that are written to: the data directory, stores that are a folder, sockets of container runtimes.
fn folders<'a>(settings: &'a Settings, args: &'a RunArgs) -> Vec<&'a Path> {
    let stores = settings.stores.iter().filter_map(|store| store.kind.folder());
    let sockets = &args.capture.sockets;
    let sockets =
        [&sockets.docker_socket_endpoint, &sockets.containerd_socket_endpoint, &sockets.cri_runtime_socket_endpoint];
    let sockets = sockets.into_iter().filter_map(|socket| socket.0.as_deref());
    std::iter::once(args.data_dir.as_path()).chain(stores).chain(sockets).collect()
}

/// What was left out because it is qtap's own exports.
fn feedback(source: &mut Live) -> FeedbackView {
    let seen = source.feedback();
    let process = |(pid, executable)| StoreProcessView { pid, executable };
    FeedbackView {
        qtap_connections: seen.qtap.connections,
        qtap_bytes: seen.qtap.bytes,
        store_connections: seen.stores.connections,
        store_bytes: seen.stores.bytes,
        store_processes: seen.processes.into_iter().map(process).collect(),
    }
}

/// Frees the memory of the start, which reads all of the kernel's type information, some 30 MB for a moment. The allocator keeps freed memory
/// for a second and releases it when the next thread ends; in an idle agent none does, so this thread does.
fn give_back_what_starting_took() -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name("settle".to_owned());
    thread.spawn(|| std::thread::sleep(SETTLE)).context("thread")?;
    Ok(())
}

/// SIGTERM and SIGINT request the end; a second one exits at once.
fn listen_for_end(runtime: &tokio::runtime::Runtime, stop: &Stop, stores: stores::Look) -> anyhow::Result<()> {
    let _context = runtime.enter();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    runtime.spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("ending: what was captured is delivered first");
        stop.ask();
        // Capture may be waiting for a queue that blocks.
        stores.hurry();
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        std::process::exit(1);
    });
    Ok(())
}

/// SIGHUP requests a reload of the config. It also arrives when the terminal on which qtap was started goes away: then it requests the end.
fn listen_for_reload(runtime: &tokio::runtime::Runtime, call: mpsc::Sender<Call>) -> anyhow::Result<()> {
    let _context = runtime.enter();
    let mut hup = signal(SignalKind::hangup())?;
    let on_terminal = || std::io::IsTerminal::is_terminal(&std::io::stdin());
    let started_on_terminal = on_terminal();
    runtime.spawn(async move {
        while hup.recv().await.is_some() {
            if started_on_terminal && !on_terminal() {
                tracing::info!("the terminal is gone");
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
            } else if call.send(Call::Reload).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The agent's state, assembled on each request.
fn view(
    shared: &Shared,
    engine: &Engine,
    source: &Live,
    data_dir: &Arc<Mutex<DataDirView>>,
    config: &Told,
    host: Arc<Report>,
) -> admin::Supply<Snapshot> {
    let (shared, data_dir, config) = (shared.clone(), Arc::clone(data_dir), config.clone());
    let (stores, passed) = (engine.stores().look(), engine.passed.clone());
    let (standing, runtimes) = (source.standing(), source.runtimes());
    Arc::new(move || {
        let seen = shared.get().clone();
        let RingUse { waiting_bytes, full } = standing.ring();
        let ring = RingView { bytes_used: waiting_bytes, full };
        let snapshot = super::shared::snapshot(&seen, &stores.statuses(), probes::view(&standing), ring);
        let data_dir = data_dir.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let host = Some(Report::clone(&host));
        let runtimes = runtimes.statuses().into_iter().map(runtime_view).collect();
        Snapshot {
            data_dir: Some(data_dir),
            config: Some(config.get()),
            rules: passed.sums(),
            host,
            runtimes,
            ..snapshot
        }
    })
}

fn runtime_view(status: RuntimeStatus) -> RuntimeView {
    let RuntimeStatus { kind, socket, told, not_found, failed, error } = status;
    RuntimeView { kind, socket, told, not_found, failed, error }
}
