//! The list of mounts (proc_pid_mountinfo(5)), as far as the checks need it. In: its text. Out: what is mounted, and how `/proc` hides processes.

use super::facts::Cgroups;

/// One mount.
struct Mount<'a> {
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// Every line that can be parsed: `36 35 98:0 ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS`.
fn all(text: &str) -> impl Iterator<Item = Mount<'_>> {
    text.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut words = filesystem.split(' ');
        let kind = words.next()?;
        Some(Mount { point: mount.split(' ').nth(4)?, kind, options: words.nth(1)? })
    })
}

/// True when a file system of this kind is mounted.
pub(super) fn has(text: &str, kind: &str) -> bool {
    all(text).any(|mount| mount.kind == kind)
}

/// How `/proc` hides processes of other users; `None` if it doesn't.
pub(super) fn hidepid(text: &str) -> Option<String> {
    // Of several mounts on `/proc`, the last one is on top.
    let proc = all(text).filter(|mount| mount.kind == "proc" && mount.point == "/proc").last()?;
    let value = proc.options.split(',').find_map(|option| option.strip_prefix("hidepid="))?;
    (!matches!(value, "0" | "off")).then(|| value.to_owned())
}

/// Which control-group hierarchies are mounted.
pub(super) fn cgroups(text: &str) -> Cgroups {
    match (has(text, "cgroup"), has(text, "cgroup2")) {
        (false, false) => Cgroups::None,
        (true, false) => Cgroups::V1,
        (false, true) => Cgroups::V2,
        (true, true) => Cgroups::Hybrid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROC: &str = "25 1 0:21 / /proc rw,relatime shared:13 - proc proc rw\n";
    const V1: &str = "30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    const V2: &str = "40 29 0:36 / /sys/fs/cgroup/unified rw master:1 - cgroup2 cgroup rw\n";

    #[test]
    fn control_groups_are_told_apart() {
        assert_eq!(cgroups(PROC), Cgroups::None);
        assert_eq!(cgroups(V1), Cgroups::V1);
        assert_eq!(cgroups(V2), Cgroups::V2);
        assert_eq!(cgroups(&[V1, V2].concat()), Cgroups::Hybrid);
        assert_eq!(cgroups("- cgroup2\nnonsense\n 1 - cgroup2 x"), Cgroups::None, "no line of a mount");
    }

    #[test]
    fn what_proc_hides_is_read_of_the_one_on_top() {
        let hiding = "26 1 0:21 / /proc rw - proc proc rw,gid=4,hidepid=invisible\n";
        assert_eq!(hidepid(PROC), None);
        assert_eq!(hidepid(&[PROC, hiding].concat()).as_deref(), Some("invisible"));
        assert_eq!(hidepid(&[hiding, PROC].concat()), None);
        assert_eq!(hidepid("26 1 0:21 / /proc rw - proc proc rw,hidepid=off\n"), None);
        assert_eq!(hidepid("26 1 0:21 / /mnt/proc rw - proc proc rw,hidepid=2\n"), None, "another place");
    }
}
