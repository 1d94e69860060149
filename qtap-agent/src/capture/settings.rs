//! Which processes are left out, as the file asks for it: checked, nothing looked up.

/// Processes that are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    /// Programs that are known.
    pub groups: Vec<Group>,
    /// Programs that the file names.
    pub custom: Vec<Custom>,
}

/// Programs that belong together: [`Group::programs`] are their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Kubernetes itself.
    Kubernetes,
    /// What runs containers.
    ContainerRuntimes,
    /// What Amazon puts on a node of EKS.
    Eks,
    /// What Google puts on a node of GKE.
    Gke,
    /// Other qtaps; one never looks at itself.
    Qtap,
}

/// Executables, and what is left out of what they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// Which.
    pub exe: Match,
    /// What; empty: all of it, as if they were not there.
    pub only: Vec<Aspect>,
}

/// How the path of an executable is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// It is this.
    Exact(String),
    /// It begins so.
    Prefix(String),
    /// It ends so.
    Suffix(String),
    /// This stands in it.
    Contains(String),
    /// This is found in it.
    Regex(Pattern),
}

/// A regular expression, which takes time in proportion to what it is held against.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

/// Bytes that a compiled expression may take.
const PATTERN_BYTES: usize = 1 << 20;

impl Pattern {
    /// Reads an expression.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let built = regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
        built.map(Pattern).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line says what; those before it show where.
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

/// A part of what processes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// Payload of any protocol, the hello messages of TLS too: their connections are told and counted.
    Data,
    /// Answers of name servers.
    Dns,
    /// What they say inside TLS.
    Tls,
    /// HTTP, inside TLS and not.
    Http,
}

impl Match {
    /// True when the executable at `path` is meant.
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

    /// Names of its executables, without their folders: those differ between distributions.
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
