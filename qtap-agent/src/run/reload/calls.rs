//! When the config is reloaded, and how that is reported. In: SIGHUP, or changes of the source if it is watched. Out: another config in
//! force, or the old one; the log, and what `/status` and the metrics show.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Changed, Running};
use crate::admin::view::{ConfigView, ReloadView};
use crate::config::{Faults, Note, Settings, Source, Text};

/// Pause between reads of a file that may be being written, until two reads agree.
const SETTLE: Duration = Duration::from_millis(200);
/// Maximum number of such reads.
const SETTLES: usize = 10;

/// The source of the config, and what the command line adds to it.
pub(in crate::run) struct Origin {
    /// `None`: the built-in default.
    pub(in crate::run) source: Option<Source>,
    pub(in crate::run) env: fn(&str) -> Option<String>,
    pub(in crate::run) tags: Vec<String>,
    pub(in crate::run) http_buffer_size: usize,
}

/// A message to the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Call {
    /// Reload the config.
    Reload,
    /// qtap ends.
    End,
}

/// The state of the config, for whoever shows it.
#[derive(Debug, Clone, Default)]
pub(in crate::run) struct Told(Arc<Mutex<ConfigView>>);

impl Told {
    pub(in crate::run) fn new(source: Option<&Source>, watched: bool) -> Told {
        let now = unix_ns();
        let source = source.map(Source::name);
        let view =
            ConfigView { source, watched, since_unix_ns: now, last_success_unix_ns: now, ..ConfigView::default() };
        Told(Arc::new(Mutex::new(view)))
    }

    pub(in crate::run) fn get(&self) -> ConfigView {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, reload: ReloadView) {
        let mut view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reload.outcome {
            ACCEPTED => {
                view.reloads.accepted += 1;
                view.since_unix_ns = reload.unix_ns;
            }
            UNCHANGED => view.reloads.unchanged += 1,
            _ => view.reloads.refused += 1,
        }
        if reload.outcome != REFUSED {
            view.last_success_unix_ns = reload.unix_ns;
        }
        view.last_reload = Some(reload);
    }
}

const ACCEPTED: &str = "accepted";
const UNCHANGED: &str = "unchanged";
const REFUSED: &str = "refused";

/// The reload thread.
pub(in crate::run) struct Calls {
    pub(in crate::run) running: Running,
    pub(in crate::run) origin: Origin,
    pub(in crate::run) told: Told,
    /// How often the source is checked; `None`: it is not watched.
    pub(in crate::run) watch: Option<Duration>,
    /// What the source contained when it was last read, or why it could not be read.
    pub(in crate::run) seen: Option<Result<[u8; 32], String>>,
}

impl Calls {
    /// Processes calls until the end. The returned value holds the data directory, which qtap needs until the stores have ended.
    pub(in crate::run) fn spawn(mut self, calls: Receiver<Call>) -> std::io::Result<JoinHandle<Calls>> {
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            loop {
                let call = match self.watch {
                    Some(interval) => calls.recv_timeout(interval),
                    None => calls.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                match call {
                    Ok(Call::Reload) => self.reload(),
                    Err(RecvTimeoutError::Timeout) => self.look(),
                    Ok(Call::End) | Err(RecvTimeoutError::Disconnected) => return self,
                }
            }
        })
    }

    /// Reloads the config, even if its text is unchanged: what it refers to may have changed.
    pub(in crate::run) fn reload(&mut self) {
        let read = match &self.origin.source {
            None => None,
            Some(Source::Stdin) => {
                return self.refused(
                    "signal",
                    vec!["the config came from standard input, which can't be read again".to_owned()],
                );
            }
            Some(source) => Some(source.read(false)),
        };
        match read {
            None => self.turned("signal", Ok(None), Vec::new()),
            Some(read) => self.take("signal", read),
        }
    }

    /// Checks whether a watched source has changed.
    pub(in crate::run) fn look(&mut self) {
        let Some(source) = self.origin.source.clone().filter(|source| *source != Source::Stdin) else { return };
        let mut read = source.read(false);
        if self.seen.as_ref() == Some(&mark(&read)) {
            return;
        }
        for _ in 0..SETTLES {
            std::thread::sleep(SETTLE);
            let before = std::mem::replace(&mut read, source.read(false));
            if mark(&before) == mark(&read) {
                break;
            }
        }
        if self.seen.as_ref() != Some(&mark(&read)) {
            self.take("watch", read);
        }
    }

    fn take(&mut self, asked_by: &'static str, read: Result<Text, Faults>) {
        self.seen = Some(mark(&read));
        match read.and_then(|text| text.check(&self.origin.env)) {
            Ok((settings, notes)) => {
                let settings: Settings = settings.with(&self.origin.tags, self.origin.http_buffer_size);
                let turned = self.running.turn_to(settings);
                self.turned(asked_by, turned, notes);
            }
            Err(faults) => {
                tracing::error!("the config is refused, and the one before holds on\n{faults}");
                self.refused(asked_by, faults.0.iter().map(ToString::to_string).collect());
            }
        }
    }

    fn refused(&mut self, asked_by: &'static str, faults: Vec<String>) {
        self.told.tell(ReloadView { unix_ns: unix_ns(), asked_by, outcome: REFUSED, faults, ..ReloadView::default() });
    }

    fn turned(&mut self, asked_by: &'static str, turned: anyhow::Result<Option<Changed>>, notes: Vec<Note>) {
        let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        for note in &notes {
            tracing::warn!("{note}");
        }
        let view = ReloadView { unix_ns: unix_ns(), asked_by, outcome: UNCHANGED, notes, ..ReloadView::default() };
        match turned {
            Ok(None) if asked_by == "watch" => {}
            Ok(None) => {
                tracing::info!("the config says what it said before: nothing changes");
                self.told.tell(view);
            }
            Ok(Some(changed)) => {
                tracing::info!(
                    stores_added = ?changed.added, stores_changed = ?changed.changed, stores_gone = ?changed.gone,
                    new_connections_differ = changed.pipeline,
                    "another config holds"
                );
                if !changed.needs_restart.is_empty() {
                    tracing::warn!(keys = ?changed.needs_restart, "these hold after a restart");
                }
                let (stores_added, stores_changed, stores_gone) = (changed.added, changed.changed, changed.gone);
                let needs_restart = changed.needs_restart;
                self.told.tell(ReloadView {
                    outcome: ACCEPTED,
                    stores_added,
                    stores_changed,
                    stores_gone,
                    needs_restart,
                    ..view
                });
            }
            Err(error) => {
                let why = format!("{error:#}");
                tracing::error!(why, "the config can't be used, and the one before holds on");
                self.refused(asked_by, vec![why]);
            }
        }
    }
}

/// Distinguishes one reading of the source from another.
fn mark(read: &Result<Text, Faults>) -> Result<[u8; 32], String> {
    match read {
        Ok(text) => Ok(text.digest()),
        Err(faults) => Err(faults.to_string()),
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
