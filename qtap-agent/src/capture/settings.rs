//! Which processes are left out, as the configuration file asks for. The values are checked; nothing is looked up here.

/// Processes that are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    /// Groups of well-known programs.
    pub groups: Vec<Group>,
    /// Programs named in the file.
    pub custom: Vec<Custom>,
}

/// Programs that belong together; [`Group::programs`] lists their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Kubernetes itself.
    Kubernetes,
    /// Container runtimes.
    ContainerRuntimes,
    /// Agents that Amazon runs on an EKS node.
    Eks,
    /// Agents that Google runs on a GKE node.
    Gke,
    /// Other qtap processes; an agent never captures itself anyway.
    Qtap,
}

/// A filter: some executables, and what is left out of their activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// Which executables.
    pub exe: Match,
    /// What is left out. Empty: everything, as if the processes did not exist.
    pub only: Vec<Aspect>,
}

/// How the path of an executable is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The path equals this text.
    Exact(String),
    /// The path begins with it.
    Prefix(String),
    /// The path ends with it.
    Suffix(String),
    /// The path contains it.
    Contains(String),
    /// The expression matches somewhere in the path.
    Regex(Pattern),
}

/// A regular expression; matching takes time linear in the length of the text.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

/// Most bytes that a compiled expression may take.
const PATTERN_BYTES: usize = 1 << 20;

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let built = regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
        built.map(Pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line says what is wrong; those before it show where.
            other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// A part of a process's activity that a filter can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// Payload of any protocol, including TLS hello messages. Connections are still reported and counted.
    Data,
    /// Answers from name servers.
    Dns,
    /// Plaintext of TLS sessions.
    Tls,
    /// HTTP, inside TLS or not.
    Http,
}

impl Match {
    /// True if this matches the executable at `path`.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        match self {
            Match::Exact(text) => path == text,
            Match::Prefix(text) => path.starts_with(text),
            Match::Suffix(text) => path.ends_with(text),
            Match::Contains(text) => path.contains(text),
            Match::Regex(pattern) => pattern.0.is_match(path),
        }
    }
}

impl Group {
    /// Every group by its name in the file.
    pub const NAMES: [(&'static str, Group); 5] = [
        ("kubernetes", Group::Kubernetes),
        ("container-runtimes", Group::ContainerRuntimes),
        ("eks", Group::Eks),
        ("gke", Group::Gke),
        ("qtap", Group::Qtap),
    ];

    /// Names of its executables, without directories, because those differ between distributions.
    #[must_use]
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Group::Kubernetes => &[
                "cloud-controller-manager",
                "coredns",
                "etcd",
                "k0s",
                "k3s",
                "kube-apiserver",
                "kube-controller-manager",
                "kube-proxy",
                "kube-scheduler",
                "kubelet",
                "kubelite",
                "metrics-server",
                "node-problem-detector",
                "pause",
                "rke2",
            ],
            Group::ContainerRuntimes => &[
                "buildkitd",
                "conmon",
                "conmonrs",
                "containerd",
                "containerd-shim",
                "containerd-shim-runc-v1",
                "containerd-shim-runc-v2",
                "cri-dockerd",
                "crio",
                "crun",
                "docker-proxy",
                "dockerd",
                "podman",
                "runc",
            ],
            Group::Eks => &[
                "amazon-ssm-agent",
                "aws-ebs-csi-driver",
                "aws-efs-csi-driver",
                "aws-eks-nodeagent",
                "aws-k8s-agent",
                "aws-vpc-cni",
                "eks-node-monitoring-agent",
                "eks-pod-identity-agent",
                "nodeadm",
                "ssm-agent-worker",
                "ssm-session-worker",
            ],
            Group::Gke => &[
                "event-exporter",
                "fluent-bit-gke-exporter",
                "gce-pd-csi-driver",
                "gke-exec-auth-plugin",
                "gke-metadata-server",
                "gke-metrics-agent",
                "google_guest_agent",
                "google_osconfig_agent",
                "ip-masq-agent",
                "netd",
                "prometheus-to-sd",
                "proxy-agent",
            ],
            Group::Qtap => &["qtap"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_stand_once_in_the_order_of_the_alphabet() {
        for (name, group) in Group::NAMES {
            let programs = group.programs();
            assert!(programs.windows(2).all(|pair| pair[0] < pair[1]), "{name}: {programs:?}");
            assert!(programs.iter().all(|program| !program.contains('/')), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_expression_is_said_in_a_line() {
        assert_eq!(Pattern::new("a(").map_err(|why| why.lines().count()), Err(1));
        assert!(Pattern::new("(").is_err_and(|why| why.contains("unclosed group")));
        assert!(Pattern::new("(a{1000}){1000}").is_err_and(|why| why == "it is too large"));
        assert_eq!(Pattern::new("^/usr/"), Pattern::new("^/usr/"));
    }
}
