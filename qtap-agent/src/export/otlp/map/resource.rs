//! The attributes of a resource, which say who observed. In: the store's settings, the host, and the origin if the name depends on it. Out:
//! attributes; configured ones replace derived ones.

use std::borrow::Cow;

use super::{Attribute, Attributes, Value};
use crate::export::settings::ResourceSettings;
use crate::model::event::Host;
use crate::model::process::{Pod, Process};
use crate::model::record::Origin;

/// `service.name` for a record of `origin`: the configured text, with `{process}` and `{k8s}` filled in.
#[must_use]
pub fn service_name<'a>(settings: &'a ResourceSettings, origin: &Origin) -> Cow<'a, str> {
    let template = settings.service_name.as_str();
    if !template.contains('{') {
        return Cow::Borrowed(template);
    }
    let process = origin.process.as_deref();
    let executable = process.map(Process::executable_name).filter(|name| !name.is_empty());
    let workload = process.and_then(|process| process.pod.as_deref()).and_then(pod_service).or(executable);
    // The name that the OpenTelemetry specification gives to a service without one.
    let unknown = "unknown_service";
    let filled =
        template.replace("{process}", executable.unwrap_or(unknown)).replace("{k8s}", workload.unwrap_or(unknown));
    Cow::Owned(filled)
}

/// The service name of a pod, in the order of the Kubernetes conventions, "Service attributes": annotation, well-known
/// labels, container name, pod name.
fn pod_service(pod: &Pod) -> Option<&str> {
    let annotation = pod.annotations.get("resource.opentelemetry.io/service.name");
    let label = |name: &str| pod.labels.get(name);
    annotation
        .or_else(|| label("app.kubernetes.io/instance"))
        .or_else(|| label("app.kubernetes.io/name"))
        .or(pod.container_name.as_ref())
        .map(String::as_str)
        .or(Some(pod.name.as_str()))
        .filter(|name| !name.is_empty())
}

/// The attributes of the resource; configured ones replace derived ones.
#[must_use]
pub fn resource<'a>(
    settings: &'a ResourceSettings,
    host: &'a Host,
    service_name: &'a str,
    version: &'a str,
) -> Vec<Attribute<'a>> {
    let mut out = Attributes(Vec::with_capacity(9 + settings.attributes.len()));
    out.text_if("service.name", Some(service_name));
    out.text_if("service.version", Some(version));
    out.text_if("deployment.environment.name", settings.environment.as_deref());
    out.text_if("environment", settings.environment.as_deref());
    out.text_if("host.name", Some(&host.name));
    out.text_if("host.id", Some(&host.id));
    out.text_if("k8s.node.name", host.node.as_deref());
    out.text_if("os.type", Some(&host.os_type));
    for (key, value) in &settings.attributes {
        out.0.retain(|(name, _)| name != key);
        out.0.push((Cow::Borrowed(key), Value::Text(Cow::Borrowed(value))));
    }
    out.0
}
