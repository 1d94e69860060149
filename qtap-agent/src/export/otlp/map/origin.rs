//! The attributes that all records of a connection share, which say where it happened. In: an origin. Out: attributes, in a fixed order.

use std::borrow::Cow;

use super::{Attribute, Attributes, Value};
use crate::model::process::Process;
use crate::model::record::Origin;

/// The attributes that all records of one origin share.
#[must_use]
pub fn origin(origin: &Origin) -> Vec<Attribute<'_>> {
    let mut out = Attributes(Vec::with_capacity(32));
    out.text_if("connection.id", Some(&origin.connection_id));
    out.text_if("connection.direction", origin.direction);
    out.text_if("network.transport", origin.transport);
    out.text_if("network.type", origin.network_type);
    out.text_if("network.protocol.name", origin.protocol_name);
    out.text_if("network.protocol.version", origin.protocol_version);
    out.text_if("connection.protocol", origin.protocol);
    out.address("client.address", "client.port", origin.client.as_ref());
    out.address("server.address", "server.port", origin.server.as_ref());
    out.address("network.peer.address", "network.peer.port", origin.peer.as_ref());
    out.address("network.local.address", "network.local.port", origin.local.as_ref());
    if let Some(process) = origin.process.as_deref() {
        self::process(&mut out, process);
    }
    out.texts_if("tags", &origin.tags);
    out.0
}

fn process<'a>(out: &mut Attributes<'a>, process: &'a Process) {
    out.int("process.pid", u64::from(process.pid));
    out.text_if("process.executable.path", Some(&process.executable_path));
    out.text_if("process.executable.name", Some(process.executable_name()));
    out.text_if("process.command", Some(&process.command));
    out.int("process.user.id", u64::from(process.user_id));
    out.text_if("process.user.name", process.user_name.as_deref());
    if let Some(container) = process.container.as_deref() {
        out.text_if("container.id", Some(&container.id));
        out.text_if("container.name", container.name.as_deref());
        let (image, tag) = container.image_name.as_deref().map(image).unwrap_or_default();
        out.text_if("container.image.name", Some(image));
        if !tag.is_empty() {
            out.put("container.image.tags", Value::Texts(vec![Cow::Borrowed(tag)]));
        }
    }
    if let Some(pod) = process.pod.as_deref() {
        out.text_if("k8s.pod.name", Some(&pod.name));
        out.text_if("k8s.pod.uid", pod.uid.as_deref());
        out.text_if("k8s.namespace.name", Some(&pod.namespace));
        out.text_if("k8s.container.name", pod.container_name.as_deref());
    }
}

/// Splits `REGISTRY:PORT/NAME:TAG@DIGEST` into the name, without tag and digest, and the tag. A bare digest is returned as the name.
fn image(reference: &str) -> (&str, &str) {
    let named = reference.split_once('@').map_or(reference, |(named, _)| named);
    if reference.starts_with("sha256:") {
        return (reference, "");
    }
    match named.rsplit_once(':') {
        // A colon before the last path segment belongs to a port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        Some(_) | None => (named, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::image;

    #[test]
    fn an_image_is_parted_from_its_tag() {
        for (reference, name, tag) in [
            ("nginx", "nginx", ""),
            ("nginx:1.27", "nginx", "1.27"),
            ("docker.io/library/nginx:1.27-alpine", "docker.io/library/nginx", "1.27-alpine"),
            ("registry.example.com:5000/shop/web", "registry.example.com:5000/shop/web", ""),
            ("registry.example.com:5000/shop/web:v2", "registry.example.com:5000/shop/web", "v2"),
            ("quay.io/a/b:v1@sha256:00ff", "quay.io/a/b", "v1"),
            ("quay.io/a/b@sha256:00ff", "quay.io/a/b", ""),
            ("sha256:00ff", "sha256:00ff", ""),
            ("", "", ""),
        ] {
            assert_eq!(image(reference), (name, tag), "{reference}");
        }
    }
}
