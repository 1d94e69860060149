//! One runtime: its socket, how it is asked, and how it fared. One that fails is left alone for a while, longer each time, so that what hangs
//! does not hold up those behind it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{AskError, Facts, Settings, containerd, cri, docker};

/// How long one request may take, connecting included: an idle runtime takes milliseconds, a busy one some hundred.
pub(super) const REQUEST_TIME: Duration = Duration::from_millis(750);
/// How long one that failed is left alone at first.
const SILENCE: Duration = Duration::from_millis(250);
/// And at most.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cri,
    Docker,
    Containerd,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Cri => "cri",
            Kind::Docker => "docker",
            Kind::Containerd => "containerd",
        }
    }
}

/// A runtime.
#[derive(Debug)]
pub(super) struct Runtime {
    kind: Kind,
    socket: PathBuf,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    status: RuntimeStatus,
    /// Failures since it answered last.
    in_a_row: u32,
    silent_until: Option<Instant>,
}

/// How a runtime fared since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// `cri`, `docker` or `containerd`.
    pub kind: &'static str,
    /// Path of its socket.
    pub socket: String,
    /// Containers that it told of.
    pub told: u64,
    /// Questions that it answered with no.
    pub not_found: u64,
    /// Questions that it did not answer.
    pub failed: u64,
    /// Why, the last time; none when it answered since.
    pub error: Option<String>,
}

/// Those that may be asked, the one that knows most of a container first.
pub(super) fn all(settings: &Settings) -> Vec<Runtime> {
    let sockets =
        [(Kind::Cri, &settings.cri), (Kind::Docker, &settings.docker), (Kind::Containerd, &settings.containerd)];
    sockets.into_iter().filter_map(|(kind, socket)| Some(Runtime::new(kind, socket.as_deref()?))).collect()
}

impl Runtime {
    fn new(kind: Kind, socket: &Path) -> Runtime {
        let status =
            RuntimeStatus { kind: kind.name(), socket: socket.display().to_string(), ..RuntimeStatus::default() };
        let health = Health { status, ..Health::default() };
        Runtime { kind, socket: socket.to_owned(), health: Mutex::new(health) }
    }

    /// How it fared.
    pub(super) fn status(&self) -> RuntimeStatus {
        self.health().status.clone()
    }

    /// Asks for a container; none: it knows none of this id, does not answer, or is left alone.
    pub(super) async fn ask(&self, id: &str) -> Option<Facts> {
        if self.health().silent_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let asked = async {
            match self.kind {
                Kind::Cri => cri::ask(&self.socket, id).await,
                Kind::Docker => docker::ask(&self.socket, id).await,
                Kind::Containerd => containerd::ask(&self.socket, id).await,
            }
        };
        match tokio::time::timeout(REQUEST_TIME, asked).await.unwrap_or(Err(AskError::Timeout)) {
            Ok(facts) => {
                self.answered(facts.is_some());
                facts
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn answered(&self, told: bool) {
        let mut health = self.health();
        if health.in_a_row > 0 {
            tracing::info!(runtime = self.kind.name(), "the container runtime answers again");
        }
        let count = if told { &mut health.status.told } else { &mut health.status.not_found };
        *count += 1;
        (health.in_a_row, health.silent_until, health.status.error) = (0, None, None);
    }

    fn failed(&self, error: &AskError) {
        let mut health = self.health();
        if health.in_a_row == 0 {
            let socket = self.socket.display();
            tracing::warn!(runtime = self.kind.name(), %socket, reason = %error, "the container runtime can't be asked");
        }
        health.status.failed += 1;
        health.status.error = Some(error.to_string());
        let silence = SILENCE.saturating_mul(1 << health.in_a_row.min(8)).min(SILENCE_MAX);
        health.in_a_row = health.in_a_row.saturating_add(1);
        health.silent_until = Instant::now().checked_add(silence);
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
