//! Kubernetes' Container Runtime Interface, `runtime.v1`: only the message fields that are read here, with their numbers from `api.proto`.
//!
//! A container's entry in the list names its sandbox; its status has the name of the image; the sandbox's status has the labels and annotations
//! of the pod. An id that is no container's may be that of a sandbox: of the process that holds the pod's namespaces.

use std::collections::HashMap;
use std::path::Path;

use prost::Message;

use super::grpc::Peer;
use super::{AskError, Facts, answer};
use crate::model::process::{Container as Known, Pod};

const LIST: &str = "/runtime.v1.RuntimeService/ListContainers";
const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const LIST_SANDBOX: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const SANDBOX_STATUS: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";

/// `ContainerFilter`, `PodSandboxFilter`.
#[derive(Clone, PartialEq, Message)]
struct Filter {
    #[prost(string, tag = "1")]
    id: String,
}

/// `ListContainersRequest`, `ListPodSandboxRequest`.
#[derive(Clone, PartialEq, Message)]
struct ListRequest {
    #[prost(message, optional, tag = "1")]
    filter: Option<Filter>,
}

#[derive(Clone, PartialEq, Message)]
struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Container>,
}

#[derive(Clone, PartialEq, Message)]
struct Container {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    image: Option<ImageSpec>,
    #[prost(map = "string, string", tag = "8")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
    #[prost(string, tag = "18")]
    user_specified_image: String,
}

/// `ContainerStatusRequest`, `PodSandboxStatusRequest`.
#[derive(Clone, PartialEq, Message)]
struct StatusRequest {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerStatus {
    #[prost(message, optional, tag = "8")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<PodSandboxStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatus {
    #[prost(message, optional, tag = "2")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(map = "string, string", tag = "7")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "8")]
    annotations: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
}

/// Asks about a container, or about the sandbox of a pod; `None` if there is neither with this id.
pub(super) async fn ask(socket: &Path, id: &str) -> Result<Option<Facts>, AskError> {
    let peer = Peer::connect(socket).await?;
    let filter = || ListRequest { filter: Some(Filter { id: id.to_owned() }) };
    let listed: Option<ListContainersResponse> = peer.call(LIST, filter(), None).await?;
    let containers = listed.map(|listed| listed.containers).unwrap_or_default();
    if let Some(container) = containers.into_iter().find(|container| container.id == id) {
        return Ok(Some(of_container(&peer, container).await?));
    }
    let listed: Option<ListPodSandboxResponse> = peer.call(LIST_SANDBOX, filter(), None).await?;
    if !listed.is_some_and(|listed| listed.items.iter().any(|sandbox| sandbox.id == id)) {
        return Ok(None);
    }
    let container = Known { id: id.to_owned(), ..Known::default() };
    Ok(Some(Facts { container, pod: pod(&peer, id).await? }))
}

async fn of_container(peer: &Peer, container: Container) -> Result<Facts, AskError> {
    let Container { id, pod_sandbox_id, metadata, image, labels } = container;
    let name = metadata.and_then(|metadata| answer::name(&metadata.name));
    let status: Option<ContainerStatusResponse> = peer.call(STATUS, StatusRequest { id: id.clone() }, None).await?;
    let stated = status.and_then(|status| status.status).and_then(|status| status.image);
    let labels = answer::labels(labels);
    // If the sandbox is already gone, the labels are used.
    let of_sandbox = pod(peer, &pod_sandbox_id).await?;
    let pod = of_sandbox.or_else(|| answer::pod_of(&labels)).map(|pod| Pod { container_name: name.clone(), ..pod });
    let image_name = image_name([stated, image].into_iter().flatten());
    Ok(Facts { container: Known { id, name, image_name, labels, awaited: false }, pod })
}

/// The image by name, as the runtime has it or as the pod asked for it; by its digest only if no name is given.
fn image_name(specs: impl Iterator<Item = ImageSpec>) -> Option<String> {
    let all: Vec<String> = specs.flat_map(|spec| [spec.image, spec.user_specified_image]).collect();
    let is_name = |image: &&String| !image.is_empty() && !image.starts_with("sha256:");
    let by_name = all.iter().find(is_name).or_else(|| all.iter().find(|image| !image.is_empty()));
    by_name.and_then(|image| answer::name(image))
}

async fn pod(peer: &Peer, sandbox: &str) -> Result<Option<Pod>, AskError> {
    if sandbox.is_empty() {
        return Ok(None);
    }
    let question = StatusRequest { id: sandbox.to_owned() };
    let answer: Option<PodSandboxStatusResponse> = peer.call(SANDBOX_STATUS, question, None).await?;
    let Some(status) = answer.and_then(|answer| answer.status) else { return Ok(None) };
    let metadata = status.metadata.unwrap_or_default();
    Ok(Some(Pod {
        name: answer::name(&metadata.name).unwrap_or_default(),
        namespace: answer::name(&metadata.namespace).unwrap_or_default(),
        container_name: None,
        uid: answer::name(&metadata.uid),
        labels: answer::labels(status.labels),
        annotations: answer::labels(status.annotations),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_called_by_its_name_where_it_has_one() {
        let spec =
            |image: &str, user: &str| ImageSpec { image: image.to_owned(), user_specified_image: user.to_owned() };
        let of = |specs: &[ImageSpec]| image_name(specs.iter().cloned());
        assert_eq!(
            of(&[spec("docker.io/library/nginx:1", ""), spec("sha256:00", "nginx:1")]).as_deref(),
            Some("docker.io/library/nginx:1")
        );
        assert_eq!(of(&[spec("sha256:00", "nginx:1")]).as_deref(), Some("nginx:1"));
        assert_eq!(of(&[spec("sha256:00", "")]).as_deref(), Some("sha256:00"));
        assert_eq!(of(&[]), None);
    }
}
