//! Settings of the probes for live capture. In: the command line and the config. Out: the settings.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use super::{Failure, descriptors};
use crate::capture::discover::call::Family;
use crate::capture::discover::procfs;
use crate::capture::host::{Facts, findings};
use crate::capture::kernel::{Cgroup, Directions, Guard, Live, Scope, Settings as Probes, Wishes, trial};
use crate::capture::runtimes;
use crate::cli::{CaptureArgs, FeedbackGuard, ReturnProbes, ScopeArgs, SocketArgs, TlsProbe};
use crate::config::{self, DirectionFilter, Settings, TapSettings};
use crate::model::host::Report;

/// Where the version 2 control group hierarchy is mounted: first the mount point on hybrid hosts, then the usual one, which is its parent.
const CGROUP_MOUNTS: [&str; 2] = ["sys/fs/cgroup/unified", "sys/fs/cgroup"];
/// Bytes of a call copied beyond the body limit: space for the head that precedes a body.
const HEAD_ROOM: u64 = 64 << 10;
/// Smallest ring buffer: 50 ms of 160 MB/s.
const RING_MIN: u64 = 8 << 20;
/// Largest ring buffer.
const RING_MAX: u64 = 256 << 20;

/// How long the end of the capture may take to read what the ring holds by then.
pub(super) const CATCH_UP: Duration = Duration::from_secs(10);

/// Reads all that the ring holds by now, within `limit`: after a burst that is more than one turn reads.
pub(super) fn catch_up<E>(
    source: &mut Live,
    turn: &mut dyn FnMut(&mut Live, Duration) -> Result<(), E>,
    limit: Duration,
) -> Result<(), E> {
    let (now, begun) = (procfs::now(), Instant::now());
    while !source.has_taken_until(now) {
        if begun.elapsed() > limit {
            tracing::warn!(
                seconds = limit.as_secs(),
                "the capture ends; what the ring buffer still holds is not reported"
            );
            break;
        }
        turn(source, Duration::ZERO)?;
    }
    Ok(())
}

/// Settings of the probes.
pub(super) fn probes(
    settings: &Settings,
    capture: &CaptureArgs,
    scope: Scope,
    recording: Option<Box<dyn Write + Send>>,
) -> Probes {
    let call_limit = (settings.tap.http_buffer_size as u64).saturating_add(HEAD_ROOM);
    Probes {
        scope,
        filters: settings.tap.filters.clone(),
        wishes: wishes(&settings.tap),
        guard: match capture.protection.feedback_guard {
            FeedbackGuard::All => Guard::All,
            FeedbackGuard::Own => Guard::Own,
            FeedbackGuard::Off => Guard::Off,
        },
        advice: settings.pipeline.wants().leaves_some_alone(),
        dns: settings.tap.reads_dns,
        call_limit,
        ring_bytes: capture.ring_size.unwrap_or_else(|| ring_bytes(call_limit)),
        tls: families(&capture.tls_probes),
        jvms: capture.java_agent,
        plain_sites: capture.plain_sites,
        return_probes: capture.return_probes == ReturnProbes::Auto,
        release_after: Duration::from_secs(capture.release_after),
        runtimes: runtimes(&capture.sockets),
        variables: settings.pipeline.variables(),
        node: capture.node_name.clone().filter(|name| !name.is_empty()),
        trace: capture.bpf_trace,
        recording,
    }
}

/// The container runtimes to query.
fn runtimes(sockets: &SocketArgs) -> runtimes::Settings {
    runtimes::Settings {
        docker: sockets.docker_socket_endpoint.0.clone(),
        containerd: sockets.containerd_socket_endpoint.0.clone(),
        cri: sockets.cri_runtime_socket_endpoint.0.clone(),
    }
}

/// The part of the config that applies to the probes and may change while they run.
pub(super) fn wishes(tap: &TapSettings) -> Wishes {
    Wishes {
        directions: match tap.direction {
            DirectionFilter::All => Directions::All,
            DirectionFilter::Ingress => Directions::Ingress,
            DirectionFilter::Egress => Directions::Egress,
            DirectionFilter::EgressInternal => Directions::EgressInternal,
            DirectionFilter::EgressExternal => Directions::EgressExternal,
        },
        ignore_loopback: tap.ignore_loopback,
        http: tap.http_wanted,
    }
}

/// Families of TLS libraries to probe; none: TLS is not probed.
fn families(wanted: &[TlsProbe]) -> Vec<Family> {
    let of = |probe: &TlsProbe| match probe {
        TlsProbe::All => Family::ALL.to_vec(),
        TlsProbe::None => Vec::new(),
        TlsProbe::Openssl => vec![Family::OpenSsl],
        TlsProbe::Gnutls => vec![Family::GnuTls],
        TlsProbe::Nss => vec![Family::Nss],
        TlsProbe::Go => vec![Family::GoTls],
        TlsProbe::Rustls => vec![Family::Rustls],
    };
    if wanted.contains(&TlsProbe::None) { Vec::new() } else { wanted.iter().flat_map(of).collect() }
}

/// Size of the ring buffer by default.
pub(super) fn usual_ring() -> u32 {
    ring_bytes((config::HTTP_BUFFER_SIZE as u64).saturating_add(HEAD_ROOM))
}

/// A ring buffer for twice what one call may deliver: while one is read, the next may arrive.
fn ring_bytes(call_limit: u64) -> u32 {
    let wanted = call_limit.saturating_mul(2).next_power_of_two();
    u32::try_from(wanted.clamp(RING_MIN, RING_MAX)).unwrap_or(u32::MAX)
}

/// What is captured, by `--pid` and `--cgroup`; neither: every process.
pub(super) fn scope(wanted: &ScopeArgs) -> anyhow::Result<Scope> {
    if !wanted.cgroup.is_empty() {
        return Ok(Scope::Cgroups(wanted.cgroup.iter().map(|path| cgroup(path)).collect::<anyhow::Result<_>>()?));
    }
    if let Some(gone) = wanted.pid.iter().find(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
        bail!("--pid {gone}: there is no such process");
    }
    Ok(if wanted.pid.is_empty() { Scope::Everyone } else { Scope::Listed(wanted.pid.clone()) })
}

fn cgroup(path: &Path) -> anyhow::Result<Cgroup> {
    cgroup_of(Path::new("/"), path)
        .with_context(|| format!("--cgroup {}: no such control group of the version 2 hierarchy", path.display()))
}

/// A control group of the version 2 hierarchy mounted below `root`: its id is its inode number. `path` may include the mount point or not.
fn cgroup_of(root: &Path, path: &Path) -> Option<Cgroup> {
    let path = path.strip_prefix("/").unwrap_or(path);
    CGROUP_MOUNTS.iter().find_map(|mount| {
        let below = path.strip_prefix(mount).unwrap_or(path);
        let directory = root.join(mount).join(below);
        // Groups of version 1 have no such file, and ids that mean nothing to the probes.
        let metadata = directory.join("cgroup.controllers").exists().then(|| directory.metadata().ok())??;
        let depth = below.components().filter(|part| matches!(part, Component::Normal(_))).count();
        Some(Cgroup { id: metadata.ino(), level: u32::try_from(depth).unwrap_or(u32::MAX) })
    })
}

/// Starts the probes.
pub(super) fn start(probes: Probes) -> Result<Live, Failure> {
    let ring_bytes = probes.ring_bytes;
    descriptors::raise();
    Live::start(probes).map_err(|error| {
        let report = Report::of(findings(&Facts::read(trial::of_failure(&error, ring_bytes))));
        Failure::host(why(&trial::words(&error), &report))
    })
}

/// Why capture can't start, what the host lacks according to the doctor, and the remedies.
fn why(error: &str, report: &Report) -> anyhow::Error {
    let lines = report.wanting().map(|one| {
        let remedy = one.remedy.as_deref().unwrap_or_default();
        format!("\n  {}: {}. What helps: {remedy}", one.requirement, one.found)
    });
    let wanting: String = lines.collect();
    anyhow!("live capture can't start: {error}{wanting}\n`qtap doctor` says how this host is")
}

/// Opens the file of a recording. It contains plaintext, so a new file is readable by its owner only.
pub(super) fn recording(path: &Path) -> anyhow::Result<Box<dyn Write + Send>> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("{} can't be written", path.display()))?;
    Ok(Box::new(std::io::BufWriter::with_capacity(1 << 20, file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::Finding;

    #[test]
    fn a_recording_is_its_owners_alone() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("r.qtap");
        recording(&path)?.flush()?;
        assert_eq!(path.metadata()?.mode() & 0o777, 0o600);
        Ok(())
    }

    /// Creates directories below `root`, with a file in each.
    fn groups(root: &Path, of: &[(&str, &str)]) -> anyhow::Result<()> {
        for (group, file) in of {
            std::fs::create_dir_all(root.join(group))?;
            std::fs::write(root.join(group).join(file), "")?;
        }
        Ok(())
    }

    #[test]
    fn a_control_group_is_found_in_both_layouts_and_none_of_version_1_is_taken_for_one() -> anyhow::Result<()> {
        let (pure, hybrid) = (tempfile::tempdir()?, tempfile::tempdir()?);
        groups(pure.path(), &[("sys/fs/cgroup/kubepods/pod1", "cgroup.controllers")])?;
        groups(
            hybrid.path(),
            &[
                ("sys/fs/cgroup/unified/kubepods/pod1", "cgroup.controllers"),
                ("sys/fs/cgroup/memory/kubepods/pod1", "cgroup.procs"),
            ],
        )?;
        let id_of = |root: &Path, group: &str| root.join(group).metadata().map(|metadata| metadata.ino());
        let wanted = (id_of(pure.path(), "sys/fs/cgroup/kubepods/pod1")?, 2);
        let found = |root: &tempfile::TempDir, path: &str| {
            cgroup_of(root.path(), Path::new(path)).map(|group| (group.id, group.level))
        };
        for path in ["/kubepods/pod1", "kubepods/pod1", "/sys/fs/cgroup/kubepods/pod1"] {
            assert_eq!(found(&pure, path), Some(wanted), "{path}");
        }
        let wanted = (id_of(hybrid.path(), "sys/fs/cgroup/unified/kubepods/pod1")?, 2);
        for path in ["/kubepods/pod1", "/sys/fs/cgroup/unified/kubepods/pod1"] {
            assert_eq!(found(&hybrid, path), Some(wanted), "{path}");
        }
        for path in ["/sys/fs/cgroup/memory/kubepods/pod1", "/memory/kubepods/pod1", "/kubepods/pod2"] {
            assert_eq!(found(&hybrid, path), None, "{path}");
        }
        Ok(())
    }

    #[test]
    fn a_start_that_fails_says_what_is_missing_and_what_helps() {
        let gone = Finding::missing("type_information", "no such file", "nothing", "another kernel");
        let report =
            Report::of(vec![gone, Finding::not_tried("ring"), Finding::degraded("cgroups", "none", "e", "mount")]);
        let said = why("refused", &report).to_string();
        assert!(
            said.contains("\n  type_information: no such file. What helps: another kernel\n`qtap doctor`"),
            "{said}"
        );
        assert!(said.starts_with("live capture can't start: refused"), "{said}");
    }

    #[test]
    fn families_are_those_that_are_named() {
        assert_eq!(families(&[TlsProbe::All]), Family::ALL);
        assert_eq!(families(&[TlsProbe::Gnutls]), [Family::GnuTls]);
        assert_eq!(
            families(&[TlsProbe::Openssl, TlsProbe::Gnutls, TlsProbe::Nss, TlsProbe::Go, TlsProbe::Rustls]),
            Family::ALL
        );
        assert!(families(&[TlsProbe::None, TlsProbe::Openssl]).is_empty());
    }

    #[test]
    fn the_ring_holds_two_calls_within_its_bounds() {
        assert_eq!(ring_bytes(0), 8 << 20);
        assert_eq!(ring_bytes((2 << 20) + HEAD_ROOM), 8 << 20);
        assert_eq!(ring_bytes((64 << 20) + HEAD_ROOM), 256 << 20);
        assert_eq!(ring_bytes(2 << 30), 256 << 20);
    }
}
