//! Files that come and go: a file that had probes can be unmounted once no process uses it, and a file in its place is examined anew.

use super::lab::{Lab, libssl};
use super::nginx::Nginx;
use super::qtap::{Captured, exec_script};

/// Runs these lines in their own mount namespace. `own` is an empty directory, `put` mounts a file system there that has that library under that
/// name, and `ask` requests a path with a curl that looks for its libraries there first.
fn run(lab: &Lab, nginx: &Nginx, lines: &str) -> Captured {
    let ask = format!("{}/$1", nginx.https(""));
    let script = lab.write(
        "lines.sh",
        format!(
            "set -e
put() {{ mount -t tmpfs none own; cp \"$1\" own/\"$2\"; }}
ask() {{ LD_LIBRARY_PATH=$PWD/own curl -sSf -o /dev/null --cacert nginx/cert.pem {ask}; }}
# Probes hold a file system; without them it goes at the first attempt.
await_release() {{ for try in $(seq 300); do umount own 2>/dev/null && return; sleep 0.1; done; echo 'held for ever' >&2; exit 9; }}
{lines}"
        )
        .as_bytes(),
    );
    std::fs::create_dir(lab.path("own")).unwrap();
    let words = format!("cd '{}'; timeout 120 unshare -m sh '{}'", lab.dir().display(), script.display());
    // Longer than from one program to the next on a busy host: a library that is in use keeps its probes.
    let captured = exec_script(lab, &["--release-after", "3"], &words);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    captured
}

fn asked(captured: &Captured, path: &str) -> usize {
    captured.records.exchanges().iter().filter(|one| one.text("url.path") == path).count()
}

#[test]
fn what_nobody_uses_can_be_unmounted_and_is_probed_again_when_it_comes_back() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 1);
    nginx.serve("first", b"1");
    nginx.serve("second", b"2");
    let library = libssl().display().to_string();
    // The first programs may end before their library has its probes, or get them midway.
    let captured = run(
        &lab,
        &nginx,
        &format!(
            "put '{library}' libssl.so.3; for time in 1 2 3 4 5; do ask first; sleep 0.3; done
umount own 2>/dev/null && {{ echo 'it had no probes' >&2; exit 8; }}
await_release
put '{library}' libssl.so.3; for time in 1 2 3 4 5; do ask second; sleep 0.3; done"
        ),
    );
    for path in ["/first", "/second"] {
        assert!((3..=5).contains(&asked(&captured, path)), "{path}: {}", captured.records.told());
    }
}

/// A library that has the inode number of an earlier file that was examined and had nothing to probe.
#[test]
fn a_file_is_not_taken_for_another_that_had_its_number() {
    let Some(lab) = Lab::open() else { return };
    let nginx = Nginx::start(&lab, 1);
    nginx.serve("asked", b"1");
    let library = libssl();
    let other = library.with_file_name("libz.so.1").canonicalize().unwrap();
    // Copies with other inode numbers are kept, so that a later copy may get the right one.
    let captured = run(
        &lab,
        &nginx,
        &format!(
            "cp '{}' own/libz.so.1; number=$(stat -c %i own/libz.so.1); ask asked; sleep 0.5; rm own/libz.so.1
for try in $(seq 50); do cp '{}' own/libssl.so.3; [ $(stat -c %i own/libssl.so.3) = $number ] && break; mv own/libssl.so.3 own/$try; done
[ -e own/libssl.so.3 ] || mv own/$try own/libssl.so.3
stat -c \"$number %i\" own/libssl.so.3; for time in 1 2 3 4 5; do ask asked; sleep 0.3; done",
            other.display(),
            library.display()
        ),
    );
    let numbers = captured.stdout.lines().find_map(|line| line.split_once(' ')).unwrap();
    if numbers.0 != numbers.1 {
        println!("this file system gives no number twice: {numbers:?}");
    }
    assert!((4..=6).contains(&asked(&captured, "/asked")), "{}", captured.records.told());
}
