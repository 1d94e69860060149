//! A command that waits at a gate until it is in scope, so that none of its bytes is missed.
//!
//! The child is qtap itself with the hidden first argument [`GATE`]: it stops, is added to the scope while it is stopped, and
//! becomes the command when it is continued. Its process id stays the same.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, WaitOptions, getpgrp, getpid, kill_process, waitpid};
use rustix::termios::tcgetpgrp;

use super::{Failure, descriptors};

/// First argument with which qtap stops, and then becomes the command that follows.
pub(super) const GATE: &str = "__become-when-continued";
/// Exit codes of a shell if a command can't be found, and if it can't be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// Stops until continued, then becomes the command. Returns only if that fails, with the exit code.
#[must_use]
pub(super) fn gate(mut command: impl Iterator<Item = OsString>) -> u8 {
    // If it cannot stop, the command starts a moment too early: its first bytes may be missed, nothing else.
    let _ = kill_process(getpid(), Signal::STOP);
    let Some(program) = command.next() else { return NOT_FOUND };
    let error = Command::new(&program).args(command).exec();
    tracing::debug!(%error, "exec");
    eprintln_plain(&program, &error);
    if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE }
}

/// Prints as a shell would; the log is not set up in a process that is about to become another one.
fn eprintln_plain(program: &OsStr, error: &std::io::Error) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "qtap: {}: {error}", program.to_string_lossy());
}

/// A command waiting at the gate.
pub(super) struct Child {
    child: std::process::Child,
    pid: Pid,
}

/// A running command.
pub(super) struct Running {
    status: Arc<OnceLock<std::io::Result<ExitStatus>>>,
}

impl Child {
    /// Starts the command, up to the gate.
    pub(super) fn start(command: &[OsString]) -> anyhow::Result<Child> {
        let qtap = std::env::current_exe().context("qtap's own executable")?;
        let child = Command::new(qtap).arg(GATE).args(command).spawn().context("the command can't be started")?;
        let pid = Pid::from_child(&child);
        match waitpid(Some(pid), WaitOptions::UNTRACED).context("the command")? {
            Some((_, status)) if status.stopped() => {
                descriptors::restore(pid);
                Ok(Child { child, pid })
            }
            _ => bail!("the command ended before it began"),
        }
    }

    /// Its process id, the same before and after the gate.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Lets the command run. From now on signals that ask qtap to end are forwarded to it.
    pub(super) fn go(mut self) -> anyhow::Result<Running> {
        let pid = self.pid;
        pass_on_signals(pid)?;
        kill_process(pid, Signal::CONT).context("the command can't be continued")?;
        let status = Arc::new(OnceLock::new());
        let told = Arc::clone(&status);
        std::thread::Builder::new().name("wait".to_owned()).spawn(move || {
            let _ = told.set(self.child.wait());
        })?;
        Ok(Running { status })
    }
}

/// Forwards SIGTERM, SIGHUP and SIGINT to the command; except a terminal's SIGINT, which the command receives itself.
fn pass_on_signals(pid: Pid) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _context = runtime.enter();
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hup = signal(SignalKind::hangup())?;
    drop(_context);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    _ = int.recv() => if !has_terminal() { let _ = kill_process(pid, Signal::INT); },
                    _ = term.recv() => { let _ = kill_process(pid, Signal::TERM); }
                    _ = hup.recv() => { let _ = kill_process(pid, Signal::HUP); }
                }
            }
        });
    })?;
    Ok(())
}

/// True if the terminal's keys go to qtap's process group, and so to the command in it.
fn has_terminal() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    tcgetpgrp(&terminal).is_ok_and(|foreground| foreground == getpgrp())
}

impl Running {
    /// True once the command has exited.
    pub(super) fn ended(&self) -> bool {
        self.status.get().is_some()
    }

    /// Its exit code; if a signal ended it, 128 plus the signal's number, as in shells.
    pub(super) fn code(&self) -> Result<u8, Failure> {
        match self.status.get() {
            Some(Ok(status)) => {
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
                Ok(u8::try_from(code).unwrap_or(1))
            }
            Some(Err(error)) => Err(Failure::from(anyhow::anyhow!("the command can't be waited for: {error}"))),
            None => Err(Failure::from(anyhow::anyhow!("the command has not ended"))),
        }
    }
}
