//! HotSpot's attach protocol: has a running JVM load a Java agent, as `jcmd PID JVMTI.agent_load` does.
//!
//! In: a process, an archive, its options. Out: the JVM's answer. A file `.attach_pid` and the signal SIGQUIT make the JVM listen at a UNIX socket in its
//! `/tmp` (`attachListener_linux.cpp`). It is sent only where it is caught, and where there is the thread that HotSpot handles signals with: any other
//! program would end by it, or do what it does then.
//!
//! All of it is done as the JVM's own user, on a thread that becomes that user: what it may not do, qtap does not do there either, and a JVM trusts nobody else.
//! Only the effective ids change: the thread's real ones stay qtap's, so that this user can't signal it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mknodat, openat, openat2, statat, unlinkat,
};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{
    Gid, Pid, PidfdFlags, Signal, Uid, getegid, geteuid, getgid, getuid, pidfd_open, pidfd_send_signal,
};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// How long a JVM that starts may take until it catches the signal: a container with a tenth of a CPU needs most of it.
const READY: Duration = Duration::from_secs(60);
/// How long it may take until it listens, and until it has loaded the agent.
const ANSWER: Duration = Duration::from_secs(30);
/// How often the two are looked for.
const STEP: Duration = Duration::from_millis(20);
/// Most bytes of an answer: it has two lines.
const ANSWER_BYTES: usize = 4096;

/// Why an agent was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process ended.
    #[error("it ended")]
    Gone,
    /// No HotSpot, or one that does not use signals.
    #[error("it does not listen to SIGQUIT")]
    Deaf,
    /// Its options forbid it.
    #[error("its options forbid it ({0})")]
    Forbidden(&'static str),
    /// It did not create its socket.
    #[error("it did not answer within {}s", ANSWER.as_secs())]
    Silent,
    /// Nobody reads the pipe.
    #[error(
        "the agent of another qtap is in it, or what another version of qtap left, or this one could not start there"
    )]
    Busy,
    /// qtap may not act as its user.
    #[error("its user: {0} (it wants the capabilities SETUID and SETGID)")]
    User(io::Error),
    /// It said no.
    #[error("it refused: {0}")]
    Refused(String),
    /// A file or its socket could not be used.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
}

/// Options that forbid to load agents, or leave SIGQUIT to the system, which ends the program.
const FORBIDDING: [&str; 4] =
    ["-XX:+DisableAttachMechanism", "-XX:-EnableDynamicAgentLoading", "-Xrs", "-XX:+ReduceSignalUsage"];

/// A running JVM.
#[derive(Debug)]
pub struct Target {
    /// Its process id in its own namespace.
    inner: u32,
    pid: u32,
    process: OwnedFd,
    /// Its `/tmp`, which is the JVM's place for this, whatever `java.io.tmpdir` is.
    tmp: OwnedFd,
}

impl Target {
    /// The JVM in process `pid`; waits until it catches SIGQUIT. The thread becomes the JVM's user, for good.
    ///
    /// # Errors
    /// If it ends, its options forbid agents, it never catches the signal, or qtap may not act as its user.
    pub fn wait_for(pid: u32) -> Result<Target, AttachError> {
        let process = Pid::from_raw(pid.cast_signed()).ok_or(AttachError::Gone)?;
        let process = pidfd_open(process, PidfdFlags::empty()).map_err(|_| AttachError::Gone)?;
        if let Some(option) = forbidding(pid) {
            return Err(AttachError::Forbidden(option));
        }
        let begun = Instant::now();
        loop {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| AttachError::Gone)?;
            let status = Status::of(&status).ok_or(AttachError::Gone)?;
            if status.catches(Signal::QUIT) && handles_signals(pid) {
                let tmp = tmp_of(pid).map_err(in_tmp)?;
                become_user(status.uid, status.gid).map_err(|error| AttachError::User(error.into()))?;
                return Ok(Target { inner: status.inner, pid, process, tmp });
            }
            if begun.elapsed() > READY {
                return Err(AttachError::Deaf);
            }
            // Most are ready within a second.
            std::thread::sleep(STEP.max(begun.elapsed() / 20));
        }
    }

    /// Creates a file in its `/tmp`.
    ///
    /// # Errors
    /// When there is one, or none can be made.
    pub fn file(&self, name: &str) -> Result<File, AttachError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(openat(&self.tmp, name, flags, Mode::RUSR | Mode::WUSR).map_err(in_tmp)?.into())
    }

    /// Creates a pipe there, and opens its end for writing: who opens the other one then does not wait.
    ///
    /// # Errors
    /// As for a file.
    pub fn pipe(&self, name: &str) -> Result<OwnedFd, AttachError> {
        mknodat(&self.tmp, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map_err(in_tmp)?;
        let opened = |flags| {
            let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            openat(&self.tmp, name, flags, Mode::empty()).map_err(in_tmp)
        };
        // The end for writing is not to be had unless there is one for reading (fifo(7)).
        let _reading = opened(OFlags::RDONLY)?;
        opened(OFlags::WRONLY)
    }

    /// Removes one of them.
    pub fn remove(&self, name: &str) {
        let _ = unlinkat(&self.tmp, name, AtFlags::empty());
    }

    fn has(&self, name: &str) -> bool {
        statat(&self.tmp, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Has it load the Java agent `archive`, a path of its own.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub fn load(&self, archive: &str, options: &str) -> Result<(), AttachError> {
        let mut socket = self.connect()?;
        let mut request = Vec::new();
        for part in ["1", "load", "instrument", "false"] {
            request.extend_from_slice(part.as_bytes());
            request.push(0);
        }
        request.extend_from_slice(format!("{archive}={options}\0").as_bytes());
        let failed = |error| AttachError::Io("its socket", error);
        socket.write_all(&request).map_err(failed)?;
        let mut answer = Vec::new();
        let begun = Instant::now();
        let mut part = [0; 1024];
        loop {
            // One limit for all of it: who answers need not be a JVM.
            let left = ANSWER.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()).ok_or(AttachError::Silent)?;
            socket.set_read_timeout(Some(left)).map_err(failed)?;
            match socket.read(&mut part) {
                Ok(0) => break,
                Ok(count) if answer.len() + count > ANSWER_BYTES => return Err(AttachError::Silent),
                Ok(count) => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(AttachError::Silent),
                Err(error) => return Err(failed(error)),
            }
        }
        outcome(&String::from_utf8_lossy(&answer))
    }

    fn connect(&self) -> Result<UnixStream, AttachError> {
        let socket = format!(".java_pid{}", self.inner);
        if !self.has(&socket) {
            self.wake(&socket)?;
        }
        self.connect_to(&socket).map_err(|error| AttachError::Io("its socket", error.into()))
    }

    /// By way of the socket's own descriptor: the JVM's `/tmp` need not be reachable by a path, and what lies there may be a link to a socket of the host.
    fn connect_to(&self, name: &str) -> rustix::io::Result<UnixStream> {
        let place = openat(&self.tmp, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let file = fstat(&place)?;
        if FileType::from_raw_mode(file.st_mode) != FileType::Socket || file.st_uid != geteuid().as_raw() {
            return Err(rustix::io::Errno::NOTSOCK);
        }
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(ANSWER))?;
        connect(&socket, &SocketAddrUnix::new(format!("/proc/self/fd/{}", place.as_raw_fd()))?)?;
        Ok(socket.into())
    }

    /// Makes it listen.
    fn wake(&self, socket: &str) -> Result<(), AttachError> {
        let trigger = format!(".attach_pid{}", self.inner);
        let made = self.file(&trigger);
        // One that is there already is as good if it is of this user: without it the JVM would print its threads at the signal. It stays.
        let is_ours = made.is_ok();
        let owner = statat(&self.tmp, &trigger, AtFlags::SYMLINK_NOFOLLOW).map(|file| file.st_uid);
        if owner != Ok(geteuid().as_raw()) {
            return Err(made.err().unwrap_or(AttachError::Gone));
        }
        if !handles_signals(self.pid) {
            return Err(AttachError::Gone);
        }
        let sent = pidfd_send_signal(&self.process, Signal::QUIT);
        let begun = Instant::now();
        let outcome = loop {
            if sent.is_err() {
                break Err(AttachError::Gone);
            }
            if self.has(socket) {
                break Ok(());
            }
            if begun.elapsed() > ANSWER {
                break Err(AttachError::Silent);
            }
            std::thread::sleep(STEP);
        };
        if is_ours {
            self.remove(&trigger);
        }
        outcome
    }
}

/// The `/tmp` of a process. Links in it lead within its own root: it may be a container's, and want to lead elsewhere.
fn tmp_of(pid: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
    openat2(root, "tmp", flags, Mode::empty(), ResolveFlags::IN_ROOT)
}

fn in_tmp(error: rustix::io::Errno) -> AttachError {
    AttachError::Io("its /tmp", error.into())
}

/// What `/proc/PID/status` says.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    inner: u32,
    uid: u32,
    gid: u32,
    caught: u64,
}

impl Status {
    fn of(text: &str) -> Option<Status> {
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let effective = |name| line(name)?.split_whitespace().nth(1)?.parse().ok();
        Some(Status {
            inner: line("NSpid:")?.split_whitespace().next_back()?.parse().ok()?,
            uid: effective("Uid:")?,
            gid: effective("Gid:")?,
            caught: u64::from_str_radix(line("SigCgt:")?.trim(), 16).ok()?,
        })
    }

    fn catches(&self, signal: Signal) -> bool {
        self.caught >> (signal.as_raw() - 1) & 1 == 1
    }
}

/// True when somebody has a pipe open whose end for writing this is (poll(2): an error, when nobody reads).
pub fn is_read(pipe: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(pipe, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).is_ok() && !polled[0].revents().contains(PollFlags::ERR)
}

/// This thread acts as that user and group from now on, and as no other group.
fn become_user(uid: u32, gid: u32) -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if user == geteuid() && group == getegid() {
        return Ok(());
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(getgid(), group, getgid())?;
    set_thread_res_uid(getuid(), user, getuid())
}

/// True when the process has the thread with which HotSpot handles signals. With `-Xrs` it has none; nor has OpenJ9 one of this name.
fn handles_signals(pid: u32) -> bool {
    // "Signal Dispatcher", cut to what the kernel keeps.
    let is_it = |name: String| name.trim_end() == "Signal Dispatch";
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).any(is_it)
}

/// The option of a JVM that forbids to load an agent, if it has one. (Options in files that it names are not looked into.)
fn forbidding(pid: u32) -> Option<&'static str> {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let (arguments, environment) = (read("cmdline"), read("environ"));
    let variables = environment.split(|byte| *byte == 0).filter(|variable| {
        ["JAVA_TOOL_OPTIONS=", "JDK_JAVA_OPTIONS=", "_JAVA_OPTIONS="]
            .iter()
            .any(|name| variable.starts_with(name.as_bytes()))
    });
    let in_variables =
        variables.flat_map(|variable| variable.split(|byte| byte.is_ascii_whitespace() || *byte == b'='));
    let words: Vec<&[u8]> = arguments.split(|byte| *byte == 0).collect();
    let given = |option: &str| {
        // `NAME=-XX:+X` is split at the first sign, and `+X` has none.
        words.contains(&option.as_bytes()) || in_variables.clone().any(|word| word == option.as_bytes())
    };
    FORBIDDING.into_iter().find(|option| given(option))
}

/// The answer: the status of the command in a line of its own, then the agent's: `return code: 0` since 9, `0` before, or what went wrong.
fn outcome(answer: &str) -> Result<(), AttachError> {
    let mut lines = answer.lines();
    let status = lines.next().unwrap_or_default().trim();
    let rest = lines.next().unwrap_or_default().trim();
    let code = rest.strip_prefix("return code:").map_or(rest, str::trim);
    if status == "0" && (code == "0" || code.is_empty()) {
        return Ok(());
    }
    Err(AttachError::Refused(if rest.is_empty() { status.to_owned() } else { rest.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_who_it_is_and_what_it_catches() {
        let text = "Name:\tjava\nNSpid:\t900\t7\nUid:\t0\t1001\t0\t0\nGid:\t0\t1002\t0\t0\nSigCgt:\t2000000181005ccf\n";
        let status = Status::of(text).expect("a status");
        assert_eq!((status.inner, status.uid, status.gid), (7, 1001, 1002));
        assert!(status.catches(Signal::QUIT));
        assert!(!Status { caught: 0b11, ..status }.catches(Signal::QUIT));
        assert_eq!(Status::of("Name:\tjava\n"), None);
    }

    /// As JVMs answer since 9, and before.
    #[test]
    fn answers_are_read() {
        for good in ["0\n0\n", "0\nreturn code: 0\n"] {
            assert!(outcome(good).is_ok(), "{good}");
        }
        for (bad, why) in
            [("0\nreturn code: 102\n", "return code: 102"), ("100\n", "100"), ("", ""), ("0\n102\n", "102")]
        {
            let refused = outcome(bad).expect_err(bad).to_string();
            assert_eq!(refused, format!("it refused: {why}"), "{bad}");
        }
    }
}
