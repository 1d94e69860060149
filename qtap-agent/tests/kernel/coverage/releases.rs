//! Programs of other releases of Debian, with the TLS libraries that they came with: each as in a container, under a root of its own that this host's process sees it by.

use std::path::Path;

use super::programs::{Place, Program, by_javascript, curl_by, nginx_by, wget_by};
use crate::python::tools;

/// Numbers of the releases.
const RELEASES: [&str; 2] = ["11", "13"];

/// Those of all releases that are unpacked here.
pub(super) fn all(place: &Place<'_>) -> Vec<Program> {
    RELEASES.into_iter().flat_map(|number| of(place, number)).collect()
}

fn of(place: &Place<'_>, number: &str) -> Vec<Program> {
    let root = tools().join(format!("debian-{number}/root"));
    if !root.join("usr/bin/curl").exists() {
        println!("skipped: no programs of Debian {number}");
        return Vec::new();
    }
    let named = |what: &str| format!("{what} of Debian {number}");
    let run = |program: &str| format!("sh '{}' {program}", enters(place, number, &root));
    vec![
        curl_by(&named("curl"), &run("curl")),
        wget_by(&named("wget"), &run("wget")),
        nginx_by(place, &named("nginx"), &run("nginx")),
        by_javascript(place, &named("Node"), &run("node")),
    ]
}

/// A script that runs its arguments under that root, in mounts of its own, where what they talk about lies where it lies here.
fn enters(place: &Place<'_>, number: &str, root: &Path) -> String {
    let scripts = crate::python::script("coverage");
    let text = format!(
        r#"exec unshare --mount sh -c '
mount -t tmpfs none "$0/tmp"
for folder in /dev /proc "$1" "$2"; do mkdir -p "$0$folder" && mount --rbind "$folder" "$0$folder"; done
root=$0
shift 2
exec chroot "$root" "$@"' '{}' '{}' '{}' "$@"
"#,
        root.display(),
        place.lab.dir().display(),
        scripts.display()
    );
    place.lab.write(&format!("in-{number}"), text.as_bytes()).display().to_string()
}
