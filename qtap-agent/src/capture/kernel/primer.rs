//! Keeps the kernel prepared for new probes, for programs that end within milliseconds.
//!
//! Attaching a probe blocks every fork for a moment. For the first one after a pause, the kernel waits until each CPU knows that forks may have to
//! wait (`percpu_down_write` of `dup_mmap_sem`, `kernel/events/uprobes.c`): some 10 ms, in which a short-lived program sends a request and ends.
//! Those that follow within about that time don't wait. So when a program starts, a probe that never fires is attached at once, in a file that nobody
//! maps: when the program has mapped a library to be probed, the wait is over, or half over. In: that a program starts. Out: nothing.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use qtap_common::state::Cookie;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::uprobes::{Loaded, Place};

/// Size of the file in bytes; each probe has a byte of its own.
const SIZE: u64 = 4096;
/// Shortest time between two such probes: programs may start faster than another one helps.
const PAUSE: Duration = Duration::from_millis(4);
/// Most probes that wait to be detached; beyond it, the thread that attaches them detaches its own first.
const WAITING: usize = 64;

/// The sender to the threads that do it; they end when it is dropped.
#[derive(Debug)]
pub(super) struct Primer(SyncSender<()>);

impl Primer {
    /// `None` if the file or a thread can't be created: probes are then attached as fast as the kernel does it by itself.
    pub(super) fn start(program: Loaded) -> Option<Primer> {
        let file = memfd_create("qtap-primer", MemfdFlags::CLOEXEC).ok()?;
        ftruncate(&file, SIZE).ok()?;
        let (starts, started) = sync_channel(1);
        let (old, taken_out) = sync_channel(WAITING);
        // Detaching takes the kernel longer than attaching.
        thread("qtap-unprime", move || taken_out.iter().for_each(drop::<OwnedFd>))?;
        thread("qtap-prime", move || prime(&program, &file, &started, &old))?;
        Some(Primer(starts))
    }

    /// A program has started.
    pub(super) fn started(&self) {
        // If a start is already waiting, it will do for both.
        let _ = self.0.try_send(());
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Option<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).ok().map(drop)
}

fn prime(program: &Loaded, file: &OwnedFd, started: &Receiver<()>, old: &SyncSender<OwnedFd>) {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    for number in 0.. {
        let Ok(()) = started.recv() else { return };
        let begun = Instant::now();
        let place = Place { file_offset: number % SIZE, cookie: Cookie(0) };
        match program.attach(&path, &[place], None) {
            // If too many wait, this one is detached here, which delays those that follow, as intended.
            Ok(link) => drop(old.try_send(link)),
            Err(reason) => {
                tracing::debug!(%reason, "probes are put in as fast as the kernel does by itself");
                return;
            }
        }
        std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
    }
}
