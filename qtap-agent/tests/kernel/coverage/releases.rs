//! Programs of other Debian releases with the TLS libraries that they shipped, each in its own root, as in a container.

use std::path::Path;

use super::programs::{Place, Program, by_javascript, curl_by, nginx_by, wget_by};
use crate::python::tools;

/// Release numbers of Debian.
const RELEASES: [&str; 2] = ["11", "13"];

/// The programs of all releases that are unpacked here.
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

/// A script that runs its arguments in that root, in its own mounts. The files they use keep their paths.
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
