//! What the host's container runtimes report about a container: its name, image and labels, and the pod it belongs to.
//!
//! In: the id of a container, as its control group gives it, and the sockets named on the command line. Out: one [`Told`] for each id that was
//! asked about. Only sockets named there are opened, because whoever may talk to one of them may do anything on the host. Nothing is ever
//! changed through them, only read:
//!
//! | socket | requests |
//! |---|---|
//! | Docker, podman | `GET /containers/ID/json` (Docker Engine API) |
//! | CRI (containerd, CRI-O, cri-dockerd) | `runtime.v1.RuntimeService`: `ListContainers`, `ContainerStatus`, `PodSandboxStatus`, `ListPodSandbox` |
//! | containerd | `containerd.services.containers.v1.Containers/Get` |
//!
//! A thread of its own makes the requests (`asking`). A runtime that hangs, lies or sends without end costs time on that thread only, and a
//! bounded amount; nothing waits for it except the records of that container.

mod answer;
mod asking;
mod containerd;
mod cri;
mod docker;
mod grpc;
mod runtime;
pub mod table;

use std::path::PathBuf;

pub use asking::{Fared, Runtimes};
pub use runtime::RuntimeStatus;

use crate::model::process::{Container, Pod};

/// Most bytes read of one answer. A runtime's answer about a container is some ten KiB, environment and mounts included.
const ANSWER_BYTES: usize = 2 << 20;

/// The sockets that may be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Docker's, or that of podman, which answers as Docker does.
    pub docker: Option<PathBuf>,
    /// containerd's.
    pub containerd: Option<PathBuf>,
    /// That of a runtime that speaks CRI.
    pub cri: Option<PathBuf>,
}

/// The answer to the question what a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The id that was asked for.
    pub id: String,
    /// `None`: no runtime knew it in time.
    pub facts: Option<Facts>,
}

/// What a runtime reported about a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The container.
    pub container: Container,
    /// The pod it belongs to.
    pub pod: Option<Pod>,
}

/// Why a runtime did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket, or nobody listens on it.
    #[error("the socket can't be connected to: {0}")]
    Connect(std::io::Error),
    /// It took too long.
    #[error("no answer within {} ms", runtime::REQUEST_TIME.as_millis())]
    Timeout,
    /// Its answer is not HTTP, or ended too soon.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// It answered with a status other than success or "not found".
    #[error("it answered with status {0}")]
    Status(u16),
    /// Its answer can't be read, or exceeds the bound.
    #[error("its answer can't be read, or is more than {ANSWER_BYTES} bytes")]
    Body,
    /// Its answer has another form.
    #[error("its answer is not what was asked for: {0}")]
    Json(#[from] serde_json::Error),
    /// It answered for another container.
    #[error("it answered for another container")]
    Another,
    /// It does not speak gRPC.
    #[error("gRPC: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// It answered with an error.
    #[error("gRPC: {:?}: {}", .0.code(), .0.message())]
    Grpc(Box<tonic::Status>),
}

impl From<tonic::Status> for AskError {
    fn from(status: tonic::Status) -> AskError {
        AskError::Grpc(Box::new(status))
    }
}

#[cfg(test)]
mod tests;
