//! Overlayfs, as containers use it: each mount has its own device number, but the file below is the same. It gets its probes once.

use std::process::Command;

use super::lab::{Lab, libssl};
use super::nginx::Nginx;
use super::qtap::exec_script;

/// Mounts the same directories in each of `containers` mount namespaces, and runs a few curls with the library in each. The last curl of the first
/// namespace waits until the library has its probes, which may in turn wait for those that an earlier qtap released.
fn script(lab: &Lab, url: &str, containers: u32) -> String {
    let library = libssl().file_name().unwrap().to_string_lossy().into_owned();
    let (dir, log) = (lab.dir().display(), lab.path("qtap.err").display().to_string());
    format!(
        "set -e; i=0; while [ $i -lt {containers} ]; do i=$((i+1)); unshare --mount sh -ec '
mount -t overlay overlay -o lowerdir=\"{dir}/lower:{dir}/empty\" \"{dir}/merged\"
n=0; while [ $n -lt 4 ]; do n=$((n+1))
if [ $0.$n = 1.4 ]; then for try in $(seq 600); do grep -q \"TLS library attached.*/merged/libssl\" \"{log}\" && break; LD_PRELOAD=\"{dir}/merged/{library}\" sleep 0.1; done; fi
LD_LIBRARY_PATH=\"{dir}/merged\" curl -sk -o /dev/null \"{url}?$0.$n\"; sleep 0.5; done' $i; done"
    )
}

/// False, with a message, where overlays can't be mounted, as in some containers.
fn can_mount(lab: &Lab) -> bool {
    let dir = lab.dir().display();
    let mount = format!("mount -t overlay overlay -o lowerdir='{dir}/lower:{dir}/empty' '{dir}/merged'");
    let can =
        Command::new("unshare").args(["--mount", "sh", "-c", &mount]).status().is_ok_and(|status| status.success());
    if !can {
        println!("skipped: no overlay can be mounted here");
    }
    can
}

#[test]
fn a_file_that_many_mounts_show_is_probed_once() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 9);
    nginx.serve("a.txt", b"a\n");
    for folder in ["lower", "empty", "merged"] {
        std::fs::create_dir(lab.path(folder)).unwrap();
    }
    let from = libssl();
    std::fs::copy(&from, lab.path("lower").join(from.file_name().unwrap())).unwrap();
    if !can_mount(&lab) {
        return;
    }
    let captured = exec_script(&lab, &["--log-level", "info"], &script(&lab, &nginx.https("/a.txt"), 3));
    let attached = |line: &&str| line.contains("TLS library attached") && line.contains("/merged/libssl.so");
    let times = captured.stderr.lines().filter(attached).count();
    assert_eq!(times, 1, "{}", captured.stderr);
    // The first requests in the first namespace may precede the discovery of their library.
    let records = captured.records;
    for query in ["1.4", "2.1", "2.4", "3.1", "3.4"] {
        let seen = records.exchanges().iter().filter(|one| one.text("url.query") == query).count();
        assert_eq!(seen, 1, "{query}: {}", records.told());
    }
}
