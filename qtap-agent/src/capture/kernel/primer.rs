//! Keeps the kernel ready to put in probes, for programs that are over in milliseconds.
//!
//! Putting in a probe holds up every fork for a moment, and before the first one after a pause the kernel waits until each CPU knows that forks may have to wait
//! (`percpu_down_write` of `dup_mmap_sem`, `kernel/events/uprobes.c`): some 10 ms, in which a program of a moment asks and ends. Those that follow within about as long
//! don't wait. So whenever a program starts, a probe is put in at once that nobody ever meets, in a file that nobody maps: the wait is over, or half over, when the
//! program has mapped a library that is to be probed. In: that a program starts. Out: nothing.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use qtap_common::state::Cookie;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::uprobes::{Loaded, Place};

/// Size of the file in bytes; each probe has a byte of its own.
const SIZE: u64 = 4096;
/// Programs may start faster than it is of use to be ready anew.
const PAUSE: Duration = Duration::from_millis(4);
/// Probes that wait to be taken out again; beyond them none is put in.
const WAITING: usize = 64;

/// The threads that do it; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Primer(SyncSender<()>);

impl Primer {
    /// None when there is no such file, or no thread: probes are put in as fast as the kernel does by itself.
    pub(super) fn start(program: Loaded) -> Option<Primer> {
        let file = memfd_create("qtap-primer", MemfdFlags::CLOEXEC).ok()?;
        ftruncate(&file, SIZE).ok()?;
        let (starts, started) = sync_channel(1);
        let (old, taken_out) = sync_channel(WAITING);
        // Taking one out takes the kernel longer than putting one in.
        thread("qtap-unprime", move || taken_out.iter().for_each(drop::<OwnedFd>))?;
        thread("qtap-prime", move || prime(&program, &file, &started, &old))?;
        Some(Primer(starts))
    }

    /// A program starts.
    pub(super) fn started(&self) {
        // When it is told of one already, that will do for both.
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
            // When too many wait, this one is taken out here, which makes others wait for it: as it should.
            Ok(link) => drop(old.try_send(link)),
            Err(reason) => {
                tracing::debug!(%reason, "probes are put in as fast as the kernel does by itself");
                return;
            }
        }
        std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
    }
}
