//! What all runtimes' answers have in common: labels by which Kubernetes marks the containers of a pod, and bounds on what is kept of names and
//! labels that others chose.

use std::collections::BTreeMap;

use crate::model::process::Pod;

/// Labels, or annotations, that are kept of one container or pod; the first in the order of their names.
const LABELS: usize = 256;
/// Longest name of a label: Kubernetes allows a prefix of 253 and a name of 63.
const LABEL_NAME_BYTES: usize = 512;
/// Longest value: what is longer is a document (`kubectl`'s last applied configuration), no label.
const LABEL_VALUE_BYTES: usize = 4 << 10;
/// Longest name of a container, image or pod.
const NAME_BYTES: usize = 1 << 10;

/// The name that kubelets give a pod's own container, where they name it.
const POD_CONTAINER: &str = "POD";

/// Labels within the bounds; those beyond them are left out whole, since half a label is another one.
pub(super) fn labels(all: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let fits = |(name, value): &(String, String)| name.len() <= LABEL_NAME_BYTES && value.len() <= LABEL_VALUE_BYTES;
    let mut kept: BTreeMap<String, String> = all.into_iter().filter(fits).collect();
    if let Some(beyond) = kept.keys().nth(LABELS).cloned() {
        kept.split_off(&beyond);
    }
    kept
}

/// A name; none when it is empty, or longer than names are.
pub(super) fn name(text: &str) -> Option<String> {
    (!text.is_empty() && text.len() <= NAME_BYTES).then(|| text.to_owned())
}

/// The pod that a container's labels tell of: every kubelet puts them there, whatever the runtime.
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
