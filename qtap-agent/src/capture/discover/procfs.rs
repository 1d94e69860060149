//! Processes and the host, as `/proc` describes them.
//!
//! In: `/proc` (proc_pid_stat(5), proc_pid_status(5)), `/etc/machine-id`. Out: the model's `Process` and `Host`. A process that vanished, or whose id
//! was reused while it was being read, is none. Containers and pods are known by the ids in control groups only; no runtime is
//! queried.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::time::{ClockId, Timespec, clock_gettime};

use super::cgroup;
use super::environ::Environment;
use super::users::Users;
use crate::model::event::Host;
use crate::model::process::{Container, Pod, Process};
use crate::model::time::{KernelTime, WallClock};

/// Path of a program that was mounted alone, once its mount is detached: `runc` runs itself that way while it sets up a container.
const NOWHERE: &str = "/";
/// Files with the machine id (`man 5 machine-id`): in a container that shares the host's pid namespace the host's id, else its own.
const MACHINE_IDS: [&str; 3] = ["/proc/1/root/etc/machine-id", "/etc/machine-id", "/var/lib/dbus/machine-id"];
/// Longest command line kept, in bytes.
const MAX_COMMAND: usize = 4096;
/// Largest other file of a process read, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// Most of an environment that is read: what the kernel once allowed for the environment and the arguments together.
const MAX_ENVIRONMENT: u64 = 128 << 10;
/// Largest table of UNIX sockets read, in bytes.
const MAX_SOCKETS: u64 = 64 << 20;
/// Ticks of `starttime` per second: `USER_HZ`, which is 100 wherever Linux is built with its own headers.
const TICKS_PER_SECOND: u64 = 100;

/// A process that was alive while it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Living {
    /// Its description.
    pub process: Process,
    /// When it started, to a hundredth of a second; together with the pid it identifies the process for good.
    pub started: KernelTime,
}

/// A process's parent; none when the process does not exist (any more).
#[must_use]
pub fn parent(pid: u32) -> Option<u32> {
    Some(Stat::read(pid)?.parent)
}

/// Reads a process, and the environment variables named; none when the process does not exist (any more). A kernel thread has an
/// empty executable path.
#[must_use]
pub fn process(pid: u32, users: &mut Users, variables: &[String]) -> Option<Living> {
    let before = Stat::read(pid)?;
    let executable_path = executable(pid).unwrap_or_default();
    let command = read_start(&format!("/proc/{pid}/cmdline"), MAX_COMMAND as u64).unwrap_or_default();
    let user_id = effective_user(&read_start(&format!("/proc/{pid}/status"), MAX_FILE)?)?;
    let env = Environment::default().variables(pid, variables);
    let (container, pod) = container(pid);
    // Id and start time are as before: everything read in between belongs to one process.
    if Stat::read(pid)? != before {
        return None;
    }
    let process = Process {
        pid,
        parent_pid: before.parent,
        executable_path,
        command: joined(&command),
        user_id,
        user_name: users.name(user_id),
        env,
        container,
        pod,
    };
    Some(Living { process, started: before.started })
}

/// The container that a process runs in, and its pod, by their ids; also none when it can't be read, or the process is ending.
#[must_use]
pub fn container(pid: u32) -> (Option<Arc<Container>>, Option<Arc<Pod>>) {
    let place = read_start(&format!("/proc/{pid}/cgroup"), MAX_FILE).and_then(|cgroup| cgroup::place(&cgroup));
    let Some(cgroup::Place { container: id, pod }) = place else { return (None, None) };
    let pod = pod.map(|uid| Arc::new(Pod { uid: Some(uid), ..Pod::default() }));
    (Some(Arc::new(Container { id, ..Container::default() })), pod)
}

/// The path of a process's executable, as the process sees it; none for a kernel thread, or when it can't be read.
#[must_use]
pub fn executable(pid: u32) -> Option<String> {
    Some(path_of(std::fs::read_link(format!("/proc/{pid}/exe")).ok()?.as_os_str().as_bytes(), pid))
}

/// The target of `/proc/PID/exe`; where it is only [`NOWHERE`], the program's name on the command line, if there is one.
fn path_of(link: &[u8], pid: u32) -> String {
    let path = String::from_utf8_lossy(link.strip_suffix(b" (deleted)").unwrap_or(link)).into_owned();
    if path != NOWHERE {
        return path;
    }
    let command = read_start(&format!("/proc/{pid}/cmdline"), MAX_COMMAND as u64).unwrap_or_default();
    let first = command.split(|byte| *byte == 0).next().filter(|first| !first.is_empty());
    first.map_or(path, |first| String::from_utf8_lossy(first).into_owned())
}

/// The environment that a process was given, each variable terminated by NUL; empty when it can't be read.
#[must_use]
pub fn environment(pid: u32) -> Vec<u8> {
    read_start(&format!("/proc/{pid}/environ"), MAX_ENVIRONMENT).unwrap_or_default()
}

/// Arguments joined by spaces, truncated to [`MAX_COMMAND`] bytes between characters.
fn joined(cmdline: &[u8]) -> String {
    let end = cmdline.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let bytes: Vec<u8> = cmdline.iter().take(end).map(|&byte| if byte == 0 { b' ' } else { byte }).collect();
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    while text.len() > MAX_COMMAND {
        text.pop();
    }
    text
}

/// The effective id of `Uid:` in `/proc/PID/status`: real, effective, saved, file system.
fn effective_user(status: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(status);
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    started: KernelTime,
}

impl Stat {
    fn read(pid: u32) -> Option<Stat> {
        Stat::parse(&read_start(&format!("/proc/{pid}/stat"), MAX_FILE)?)
    }

    /// The second field is the name in parentheses, which may contain anything; the fields after it are numbered from 3.
    fn parse(stat: &[u8]) -> Option<Stat> {
        let after = stat.get(stat.iter().rposition(|&byte| byte == b')')? + 1..)?;
        let text = std::str::from_utf8(after).ok()?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        let ticks: u64 = fields.get(19)?.parse().ok()?;
        Some(Stat { parent, started: KernelTime(ticks.checked_mul(1_000_000_000 / TICKS_PER_SECOND)?) })
    }
}

fn read_start(path: &str, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The host and its clock. What can't be determined is empty.
#[must_use]
pub fn host() -> Host {
    let names = rustix::system::uname();
    let text = |path: &str| {
        read_start(path, MAX_FILE).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default()
    };
    let mut ids = MACHINE_IDS.iter().map(|path| text(path)).filter(|id| !id.is_empty());
    Host {
        name: names.nodename().to_string_lossy().into_owned(),
        id: ids.next().unwrap_or_default(),
        node: None,
        boot_id: text("/proc/sys/kernel/random/boot_id"),
        os_type: "linux".to_owned(),
        kernel: names.release().to_string_lossy().into_owned(),
        clock: wall_clock(),
    }
}

/// Wall-clock time minus time since boot. Of several readings, the one taken within the shortest interval wins.
#[must_use]
pub fn wall_clock() -> WallClock {
    let reading = |_| {
        let before = nanoseconds(clock_gettime(ClockId::Boottime));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = nanoseconds(clock_gettime(ClockId::Boottime));
        let apart = after.saturating_sub(before);
        (apart, wall.saturating_sub(before.saturating_add(apart / 2)))
    };
    let best = (0..5).map(reading).min_by_key(|&(apart, _)| apart);
    WallClock { boot_unix_ns: best.map_or(0, |(_, boot)| boot) }
}

/// True while there is a process with this pid, including a zombie that nobody has waited for.
#[must_use]
pub fn lives(pid: u32) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}

/// The current time, on the clock of the probes' timestamps.
#[must_use]
pub fn now() -> KernelTime {
    KernelTime(nanoseconds(clock_gettime(ClockId::Boottime)))
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Inodes of all UNIX sockets in this network namespace and in those of the given processes; empty when they can't be read.
#[must_use]
pub fn unix_socket_inodes(pids: &HashSet<u32>) -> HashSet<u64> {
    let of_one = |table: &str| read_start(table, MAX_SOCKETS).map(|table| parse_unix(&table)).unwrap_or_default();
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let mut inodes = of_one("/proc/net/unix");
    let mut seen = HashSet::from([namespace("self")]);
    for pid in pids {
        let theirs = namespace(&pid.to_string());
        if theirs.is_some() && seen.insert(theirs) {
            inodes.extend(of_one(&format!("/proc/{pid}/net/unix")));
        }
    }
    inodes
}

/// `Num RefCount Protocol Flags Type St Inode Path`: one socket per line, below a heading.
fn parse_unix(table: &[u8]) -> HashSet<u64> {
    let text = String::from_utf8_lossy(table);
    text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(6)?.parse().ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let living = process(std::process::id(), &mut Users::default(), &["PATH".to_owned()]).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(living.process.executable_path, exe.to_string_lossy());
        assert!(living.process.command.starts_with(&std::env::args().next().unwrap()));
        assert_eq!(living.process.user_id, rustix::process::geteuid().as_raw());
        assert_eq!(
            living.process.parent_pid,
            rustix::process::getppid().unwrap().as_raw_nonzero().get().cast_unsigned()
        );
        assert_eq!(living.process.env.get("PATH"), std::env::var("PATH").ok().as_ref());
        assert!(living.started > KernelTime(0) && living.started <= now());
        assert!(
            environment(std::process::id()).split(|byte| *byte == 0).any(|variable| variable.starts_with(b"PATH="))
        );
    }

    #[test]
    fn a_program_whose_mount_has_no_place_is_called_as_its_command_line_does() {
        let own = std::process::id();
        assert_eq!(Some(path_of(b"/", own)), std::env::args().next());
        assert_eq!(path_of(b"/usr/bin/runc (deleted)", own), "/usr/bin/runc");
        assert_eq!(path_of(b"/", u32::MAX), "/", "nobody who could be asked");
    }

    #[test]
    fn a_vanished_process_is_none() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(process(pid, &mut Users::default(), &[]), None);
        assert_eq!(process(u32::MAX, &mut Users::default(), &[]), None);
    }

    #[test]
    fn arguments_are_joined_and_cut() {
        assert_eq!(joined(b"curl\0-sk\0https://h/\0"), "curl -sk https://h/");
        assert_eq!(joined(b"nginx: worker process\0\0\0\0\0"), "nginx: worker process");
        assert_eq!(joined(b""), "");
        assert_eq!(joined(&[b'a'; 5000]).len(), MAX_COMMAND);
        let wide = "é".repeat(3000);
        assert!(joined(&[b"x", wide.as_bytes()].concat()).len() < MAX_COMMAND);
        assert_eq!(joined(b"bad \xff byte\0"), "bad \u{fffd} byte");
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = b"42 (a) S 1 (x) R 7 42 42 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 5678 1000 10 184";
        assert_eq!(Stat::parse(stat), Some(Stat { parent: 7, started: KernelTime(56_780_000_000) }));
        assert_eq!(Stat::parse(b"42 (a) S 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn the_effective_user_is_the_second() {
        assert_eq!(effective_user(b"Name:\tx\nUid:\t1000\t33\t1000\t1000\n"), Some(33));
        assert_eq!(effective_user(b"Name:\tx\n"), None);
    }

    #[test]
    fn the_host_and_its_clock() {
        let host = host();
        assert_eq!(host.os_type, "linux");
        assert!(!host.kernel.is_empty());
        let wall = host.clock.unix_ns(now());
        let system = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        assert!(wall.abs_diff(system) < 1_000_000_000, "{wall} {system}");
    }

    #[test]
    fn sockets_are_told_by_inode() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            ffff8880: 00000002 00000000 00010000 0001 01 12345 /run/x.sock\n\
            ffff8881: 00000003 00000000 00000000 0001 03 12346\nbroken\n";
        assert_eq!(parse_unix(table), HashSet::from([12345, 12346]));
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let link = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&one))).unwrap();
        let inode = link.to_string_lossy().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!(unix_socket_inodes(&HashSet::from([std::process::id(), u32::MAX])).contains(&inode));
    }
}
