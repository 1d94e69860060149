//! containerd's own container service, `containerd.services.containers.v1`: only the message fields that are read here, with their
//! numbers from `containers.proto`. A container belongs to a namespace: that of Kubernetes, Docker or nerdctl.

use std::collections::HashMap;
use std::path::Path;

use prost::Message;

use super::grpc::Peer;
use super::{AskError, Facts, answer};
use crate::model::process::{Container as Known, Pod};

const GET: &str = "/containerd.services.containers.v1.Containers/Get";

/// The namespaces that are searched, in this order.
const NAMESPACES: [&str; 3] = ["k8s.io", "moby", "default"];

/// The label in which nerdctl keeps a container's name.
const NERDCTL_NAME: &str = "nerdctl/name";

#[derive(Clone, PartialEq, Message)]
struct GetContainerRequest {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct GetContainerResponse {
    #[prost(message, optional, tag = "1")]
    container: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
struct Container {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(map = "string, string", tag = "2")]
    labels: HashMap<String, String>,
    #[prost(string, tag = "3")]
    image: String,
    /// The id of the container that is its pod's sandbox; since containerd 1.7.
    #[prost(string, tag = "11")]
    sandbox: String,
}

/// Asks about a container; `None` if there is none with this id.
pub(super) async fn ask(socket: &Path, id: &str) -> Result<Option<Facts>, AskError> {
    let peer = Peer::connect(socket).await?;
    for namespace in NAMESPACES {
        if let Some(container) = get(&peer, id, namespace).await? {
            return Ok(Some(of_container(&peer, container, namespace).await?));
        }
    }
    Ok(None)
}

async fn get(peer: &Peer, id: &str, namespace: &'static str) -> Result<Option<Container>, AskError> {
    let question = GetContainerRequest { id: id.to_owned() };
    let answer: Option<GetContainerResponse> = peer.call(GET, question, Some(namespace)).await?;
    match answer.and_then(|answer| answer.container) {
        Some(container) if container.id != id => Err(AskError::Another),
        container => Ok(container),
    }
}

async fn of_container(peer: &Peer, container: Container, namespace: &'static str) -> Result<Facts, AskError> {
    let Container { id, labels, image, sandbox } = container;
    let labels = answer::labels(labels);
    let mut pod = answer::pod_of(&labels);
    if let Some(pod) = pod.as_mut().filter(|_| !sandbox.is_empty() && sandbox != id)
        && let Some(sandbox) = get(peer, &sandbox, namespace).await?
    {
        // The labels of a pod are on its sandbox, along with others that the runtime added.
        *pod = Pod { labels: answer::labels(sandbox.labels), ..std::mem::take(pod) };
    }
    let named = pod.as_ref().and_then(|pod| pod.container_name.clone());
    let name = named.or_else(|| labels.get(NERDCTL_NAME).and_then(|name| answer::name(name)));
    Ok(Facts { container: Known { id, name, image_name: answer::name(&image), labels, awaited: false }, pod })
}
