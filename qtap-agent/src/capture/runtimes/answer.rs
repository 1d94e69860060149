//! What the answers of all runtimes have in common: the labels with which Kubernetes marks the containers of a pod, and bounds on names and
//! labels, which others chose.

use std::collections::BTreeMap;

use crate::model::process::Pod;

/// Most labels, or annotations, kept of one container or pod: the first in the order of their names.
const LABELS: usize = 256;
/// Longest name of a label: Kubernetes allows a prefix of 253 bytes and a name of 63.
const LABEL_NAME_BYTES: usize = 512;
/// Longest value: anything longer is a document (`kubectl`'s last applied configuration), not a label.
const LABEL_VALUE_BYTES: usize = 4 << 10;
/// Longest name of a container, image or pod.
const NAME_BYTES: usize = 1 << 10;

/// The name that kubelets give to a pod's own container, if they name it.
const POD_CONTAINER: &str = "POD";

/// The labels within the bounds. Others are left out entirely, because half a label is a different label.
pub(super) fn labels(all: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let fits = |(name, value): &(String, String)| name.len() <= LABEL_NAME_BYTES && value.len() <= LABEL_VALUE_BYTES;
    let mut kept: BTreeMap<String, String> = all.into_iter().filter(fits).collect();
    if let Some(beyond) = kept.keys().nth(LABELS).cloned() {
        kept.split_off(&beyond);
    }
    kept
}

/// A name; `None` if it is empty or too long.
pub(super) fn name(text: &str) -> Option<String> {
    (!text.is_empty() && text.len() <= NAME_BYTES).then(|| text.to_owned())
}

/// The pod that a container's labels describe: every kubelet sets them, whatever the runtime.
pub(super) fn pod_of(labels: &BTreeMap<String, String>) -> Option<Pod> {
    let label = |name: &str| labels.get(name).and_then(|value| self::name(value));
    Some(Pod {
        name: label("io.kubernetes.pod.name")?,
        namespace: label("io.kubernetes.pod.namespace")?,
        uid: label("io.kubernetes.pod.uid"),
        container_name: label("io.kubernetes.container.name").filter(|name| name != POD_CONTAINER),
        ..Pod::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_pod_has_a_name_and_a_namespace() {
        let mut marked = map(&[("io.kubernetes.pod.name", "web-0"), ("io.kubernetes.container.name", "app")]);
        assert_eq!(pod_of(&marked), None);
        marked.insert("io.kubernetes.pod.namespace".to_owned(), "shop".to_owned());
        let pod = pod_of(&marked).unwrap_or_default();
        assert_eq!((pod.name.as_str(), pod.container_name.as_deref(), pod.uid), ("web-0", Some("app"), None));
        marked.insert("io.kubernetes.container.name".to_owned(), "POD".to_owned());
        assert_eq!(pod_of(&marked).and_then(|pod| pod.container_name), None);
    }

    #[test]
    fn what_others_chose_has_bounds() {
        let many = (0..1000).map(|number| (format!("l{number:04}"), String::new()));
        let kept = labels(many);
        assert_eq!((kept.len(), kept.keys().next_back().map(String::as_str)), (LABELS, Some("l0255")));
        let long =
            [("a".repeat(513), "x".to_owned()), ("b".to_owned(), "y".repeat(4097)), ("c".to_owned(), "z".repeat(4096))];
        assert_eq!(labels(long).keys().collect::<Vec<_>>(), ["c"]);
        assert_eq!((name(""), name(&"n".repeat(1025)), name("n")), (None, None, Some("n".to_owned())));
    }
}
