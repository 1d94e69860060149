//! One runtime: its socket, how to ask it, and how that went. A runtime that fails is not asked for a while, longer each time, so that one that
//! hangs does not delay those after it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{AskError, Facts, Settings, containerd, cri, docker};

/// How long one request may take, connecting included: an idle runtime takes milliseconds, a busy one a few hundred.
pub(super) const REQUEST_TIME: Duration = Duration::from_millis(750);
/// How long a runtime is not asked after its first failure.
const SILENCE: Duration = Duration::from_millis(250);
/// How long at most, after further ones.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// The protocol it speaks.
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
    /// Failures since its last answer.
    in_a_row: u32,
    silent_until: Option<Instant>,
}

/// How requests to a runtime went since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// `cri`, `docker` or `containerd`.
    pub kind: &'static str,
    /// Path of its socket.
    pub socket: String,
    /// Containers that it reported.
    pub told: u64,
    /// Questions that it answered with "not found".
    pub not_found: u64,
    /// Questions that it did not answer.
    pub failed: u64,
    /// The last error; `None` if it has answered since.
    pub error: Option<String>,
}

/// The runtimes that may be asked, the one that knows most about a container first.
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

    /// How requests to it went.
    pub(super) fn status(&self) -> RuntimeStatus {
        self.health().status.clone()
    }

    /// Asks about a container. `None` if the runtime does not know the id, does not answer, or is not to be asked now.
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
