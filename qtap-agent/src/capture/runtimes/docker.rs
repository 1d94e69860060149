//! Docker Engine API over its UNIX socket: one request per container. podman's service answers in the same way.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::{ANSWER_BYTES, AskError, Facts, answer};
use crate::model::process::Container;

/// The fields of `ContainerInspect` that are read.
#[derive(Debug, Deserialize)]
struct Inspected {
    #[serde(rename = "Id", default)]
    id: String,
    /// With a leading slash.
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Config")]
    config: Option<Config>,
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(rename = "Image", default)]
    image: String,
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// Asks about a container; `None` if there is none with this id.
pub(super) async fn ask(socket: &Path, id: &str) -> Result<Option<Facts>, AskError> {
    let stream = UnixStream::connect(socket).await.map_err(AskError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The connection's task is aborted when this function returns, for whatever reason.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let request = Request::get(format!("/containers/{id}/json")).header("Host", "docker").body(Empty::<Bytes>::new());
    let Ok(request) = request else { return Ok(None) };
    let response = sender.send_request(request).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        other => return Err(AskError::Status(other.as_u16())),
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|_| AskError::Body)?;
    let inspected: Inspected = serde_json::from_slice(&body.to_bytes())?;
    if inspected.id != id {
        return Err(AskError::Another);
    }
    Ok(Some(facts(inspected)))
}

fn facts(inspected: Inspected) -> Facts {
    let (image, all) = inspected.config.map(|config| (config.image, config.labels)).unwrap_or_default();
    let labels = answer::labels(all.unwrap_or_default());
    let name = answer::name(inspected.name.strip_prefix('/').unwrap_or(&inspected.name));
    let pod = answer::pod_of(&labels);
    let container = Container { id: inspected.id, name, image_name: answer::name(&image), labels, awaited: false };
    Facts { container, pod }
}
