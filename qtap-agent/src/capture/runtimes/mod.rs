//! What the container runtimes of the host tell of a container: its name, image and labels, and the pod it belongs to.
//!
//! In: the id of a container, as its control group tells it, and the sockets that the command line names. Out: [`Told`], once for each id that was
//! asked for. No socket is opened that was not named: who may speak at one of these may do anything on the host. Nothing is ever changed
//! there, only looked at:
//!
//! | socket | asked for |
//! |---|---|
//! | Docker, podman | `GET /containers/ID/json` (Docker Engine API) |
//! | CRI (containerd, CRI-O, cri-dockerd) | `runtime.v1.RuntimeService`: `ListContainers`, `ContainerStatus`, `PodSandboxStatus`, `ListPodSandbox` |
//! | containerd | `containerd.services.containers.v1.Containers/Get` |
//!
//! The asking is a thread's of its own (`asking`): whoever hangs, lies or talks without end costs time there, which is bounded, and no
//! one waits for it but the records of that container.

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

/// Bytes of one answer that are read at most: what a runtime tells of a container is some ten KiB, environment and mounts included.
const ANSWER_BYTES: usize = 2 << 20;

/// The sockets that may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Of Docker, or of podman, which answers as Docker does.
    pub docker: Option<PathBuf>,
    /// Of containerd.
    pub containerd: Option<PathBuf>,
    /// Of a runtime that speaks CRI.
    pub cri: Option<PathBuf>,
}

/// What became of the question who a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The id that was asked for.
    pub id: String,
    /// None: no runtime knew it in time.
    pub facts: Option<Facts>,
}

/// What a runtime told of a container.
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
    /// There is no socket, or nobody behind it.
    #[error("the socket can't be connected to: {0}")]
    Connect(std::io::Error),
    /// It took too long.
    #[error("no answer within {} ms", runtime::REQUEST_TIME.as_millis())]
    Timeout,
    /// What it said is not HTTP, or ended too soon.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// It said something else than yes or no.
    #[error("it answered with status {0}")]
    Status(u16),
    /// Its answer has no end, or none within the bound.
    #[error("its answer can't be read, or is more than {ANSWER_BYTES} bytes")]
    Body,
    /// Its answer is something else.
    #[error("its answer is not what was asked for: {0}")]
    Json(#[from] serde_json::Error),
    /// It told of another container.
    #[error("it answered for another container")]
    Another,
    /// It does not speak gRPC.
    #[error("gRPC: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// It refused.
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
