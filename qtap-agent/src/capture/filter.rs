//! Which processes are left out, and what of them. In: the path of a process's executable, and its environment. Out: bits of the verdict that
//! the probes apply to it. Nothing here reads a file or writes a table.

use qtap_common::state::scope;

use super::settings::{Aspect, Filters};

/// The environment variable by which a process asks not to be captured.
pub const STRATEGY: &str = "QTAP_STRATEGY";

/// The value of [`STRATEGY`] that asks for that.
const IGNORE: &[u8] = b"ignore";

/// What the configured filters leave out of the process whose executable is at `path`.
#[must_use]
pub fn of_program(filters: &Filters, path: &str) -> u8 {
    let name = name(path);
    if filters.groups.iter().any(|group| group.programs().contains(&name)) {
        return scope::LEFT_OUT;
    }
    let those = filters.custom.iter().filter(|custom| custom.exe.holds(path));
    those.fold(0, |bits, custom| match custom.only.as_slice() {
        [] => bits | scope::LEFT_OUT,
        only => only.iter().fold(bits, |bits, aspect| bits | bit(*aspect)),
    })
}

/// A program's name: the last component of its path. A container runtime sets up containers from a copy of itself in a memory file
/// (`/memfd:runc_cloned:/proc/self/exe`); the name is then that of the runtime (`runc`).
fn name(path: &str) -> &str {
    let copied = path.strip_prefix("/memfd:").and_then(|rest| rest.strip_suffix("_cloned:/proc/self/exe"));
    copied.unwrap_or_else(|| path.rsplit('/').next().unwrap_or(path))
}

fn bit(aspect: Aspect) -> u8 {
    match aspect {
        Aspect::Data => scope::NO_DATA,
        Aspect::Dns => scope::NO_DNS,
        Aspect::Tls => scope::NO_TLS,
        Aspect::Http => scope::NO_HTTP,
    }
}

/// What a process asks for in its own environment, given as in `/proc/PID/environ`: each variable ends with NUL. If a name occurs twice, the
/// first one counts, as it does for `getenv`.
#[must_use]
pub fn of_environment(environment: &[u8]) -> u8 {
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(STRATEGY.as_bytes())?.strip_prefix(b"="));
    if value == Some(IGNORE) { scope::IGNORED } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::settings::{Custom, Group, Match, Pattern};

    fn custom(exe: Match, only: &[Aspect]) -> Filters {
        Filters { groups: Vec::new(), custom: vec![Custom { exe, only: only.to_vec() }] }
    }

    #[test]
    fn each_strategy_compares_the_path_its_own_way() {
        let text = |text: &str| text.to_owned();
        let regex = Match::Regex(Pattern::new(r"^/opt/[a-z]+/bin/curl$").unwrap_or_else(|why| panic!("{why}")));
        for (exe, yes, no) in [
            (Match::Exact(text("/usr/bin/curl")), "/usr/bin/curl", "/usr/bin/curl2"),
            (Match::Prefix(text("/usr/bin/")), "/usr/bin/curl", "/opt/usr/bin/curl"),
            (Match::Suffix(text("/curl")), "/opt/x/bin/curl", "/opt/x/bin/acurl"),
            (Match::Contains(text("/x/")), "/opt/x/bin/curl", "/opt/xx/bin/curl"),
            (regex, "/opt/x/bin/curl", "/opt/x1/bin/curl"),
        ] {
            let filters = custom(exe.clone(), &[]);
            assert_eq!((of_program(&filters, yes), of_program(&filters, no)), (scope::LEFT_OUT, 0), "{exe:?}");
        }
    }

    #[test]
    fn aspects_of_all_filters_that_hold_are_left_out() {
        let any = || Match::Prefix("/".to_owned());
        assert_eq!(of_program(&custom(any(), &[Aspect::Tls]), "/a"), scope::NO_TLS);
        let mut filters = custom(any(), &[Aspect::Data, Aspect::Dns]);
        filters.custom.push(Custom { exe: any(), only: vec![Aspect::Http] });
        assert_eq!(of_program(&filters, "/a"), scope::NO_DATA | scope::NO_DNS | scope::NO_HTTP);
        assert_eq!(of_program(&filters, ""), 0, "a kernel thread has no executable");
    }

    #[test]
    fn groups_know_their_programs_by_name() {
        for (group, path) in [
            (Group::Kubernetes, "/usr/local/bin/kubelet"),
            (Group::ContainerRuntimes, "/usr/bin/containerd-shim-runc-v2"),
            (Group::ContainerRuntimes, "/memfd:runc_cloned:/proc/self/exe"),
            (Group::ContainerRuntimes, "runc"),
            (Group::Eks, "/app/aws-k8s-agent"),
            (Group::Gke, "/gke-metadata-server"),
            (Group::Qtap, "/usr/bin/qtap"),
        ] {
            let filters = Filters { groups: vec![group], custom: Vec::new() };
            assert_eq!(of_program(&filters, path), scope::LEFT_OUT, "{group:?}");
            assert_eq!(of_program(&filters, "/usr/bin/curl"), 0, "{group:?}");
            assert_eq!(of_program(&filters, &format!("{path}/tool")), 0, "{group:?}");
            assert_eq!(of_program(&filters, "/memfd:x_cloned:/proc/self/exe"), 0, "{group:?}");
        }
    }

    #[test]
    fn a_process_asks_to_be_left_alone() {
        for (environment, ignored) in [
            (&b"A=1\0QTAP_STRATEGY=ignore\0B=2\0"[..], true),
            (b"QTAP_STRATEGY=ignore", true),
            (b"QTAP_STRATEGY=observe\0QTAP_STRATEGY=ignore\0", false),
            (b"QTAP_STRATEGY=ignored\0", false),
            (b"QTAP_STRATEGY=\0", false),
            (b"MY_QTAP_STRATEGY=ignore\0X=QTAP_STRATEGY=ignore\0", false),
            (b"", false),
        ] {
            assert_eq!(of_environment(environment) == scope::IGNORED, ignored, "{environment:?}");
        }
    }
}
