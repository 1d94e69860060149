//! Processes, the containers they run in, and the pods of those containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A process as it was when first seen; read while it was alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Process {
    /// Thread-group id in the host's pid namespace (`process.pid`).
    pub pid: u32,
    /// Parent's thread-group id; 0 when not known.
    pub parent_pid: u32,
    /// Path of the executable as the process sees it (`process.executable.path`).
    pub executable_path: String,
    /// The command line: arguments joined by spaces (`process.command`), truncated to 4 KiB.
    pub command: String,
    /// Effective user id.
    pub user_id: u32,
    /// Name of that user, where the host's user database has one.
    pub user_name: Option<String>,
    /// The environment variables that rules ask for, by name; no others.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The container it runs in.
    pub container: Option<Arc<Container>>,
    /// The pod that container belongs to.
    pub pod: Option<Arc<Pod>>,
}

impl Process {
    /// Last component of the executable's path (`process.executable.name`).
    #[must_use]
    pub fn executable_name(&self) -> &str {
        self.executable_path.rsplit('/').next().unwrap_or(&self.executable_path)
    }

    /// True while more facts about its container and pod may arrive.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.container.as_ref().is_some_and(|container| container.awaited)
    }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Container {
    /// Full id, hexadecimal.
    pub id: String,
    /// Name, if a runtime reported it.
    pub name: Option<String>,
    /// Image as the runtime names it: a repository, usually with a tag or digest.
    pub image_name: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// True while a runtime is being asked for the remaining facts, and for the pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaited: bool,
}

/// A Kubernetes pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Pod {
    /// Pod name; empty while only its uid is known.
    pub name: String,
    /// Namespace; empty likewise.
    pub namespace: String,
    /// Name of the container within the pod.
    pub container_name: Option<String>,
    /// Pod uid.
    pub uid: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}
