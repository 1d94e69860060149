//! Lines of text that are not records (access logs), written to the same [`Output`] as the records of the stdout protocol: whole lines under
//! its lock, in order, by a separate thread, so that a slow reader delays nothing else. In: text of whole lines. Out: the text, or a
//! count of the lines that were dropped. Lines are kept in memory only.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::stdout::Output;
use crate::model::loss::{Loss, Tally};

/// Texts that may wait; each holds the lines of one pass of the pipeline.
const WAITING: usize = 256;
/// Bytes that may wait: what a busy host produces while a reader pauses for a few seconds.
const WAITING_BYTES: usize = 64 << 20;
/// Polling interval of waits.
const LOOK: Duration = Duration::from_millis(1);

/// A queue of lines to an output.
#[derive(Debug)]
pub struct Lines {
    sender: SyncSender<String>,
    writer: JoinHandle<()>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Waiting bytes and lines.
    bytes: AtomicUsize,
    lines: AtomicUsize,
    lost: Mutex<Tally>,
}

impl Shared {
    fn wait(&self, text: &str) {
        self.bytes.fetch_add(text.len(), Ordering::Relaxed);
        self.lines.fetch_add(count(text), Ordering::Relaxed);
    }

    fn wait_no_more(&self, text: &str) {
        self.bytes.fetch_sub(text.len(), Ordering::Relaxed);
        self.lines.fetch_sub(count(text), Ordering::Relaxed);
    }

    fn lose(&self, loss: Loss, text: &str) {
        self.lost().add_many(loss, count(text) as u64, text.len() as u64);
    }

    fn lost(&self) -> MutexGuard<'_, Tally> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

impl Lines {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the thread can't be created.
    pub fn start(output: Output) -> std::io::Result<Lines> {
        let (sender, receiver) = sync_channel(WAITING);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let writer =
            std::thread::Builder::new().name("lines".to_owned()).spawn(move || write(&receiver, &output, &theirs))?;
        Ok(Lines { sender, writer, shared })
    }

    /// Queues whole lines. If there is no space they are dropped and counted or, when `waits`, the call blocks until there is.
    pub fn offer(&self, text: String, waits: bool) {
        if text.is_empty() {
            return;
        }
        while self.shared.bytes.load(Ordering::Relaxed) > WAITING_BYTES && !self.writer.is_finished() {
            if !waits {
                return self.shared.lose(Loss::ExportFull, &text);
            }
            std::thread::sleep(LOOK);
        }
        self.shared.wait(&text);
        let left = if waits {
            self.sender.send(text).err().map(|error| error.0)
        } else {
            match self.sender.try_send(text) {
                Ok(()) => None,
                Err(TrySendError::Full(text) | TrySendError::Disconnected(text)) => Some(text),
            }
        };
        if let Some(text) = left {
            self.shared.wait_no_more(&text);
            self.shared.lose(Loss::ExportFull, &text);
        }
    }

    /// The lines dropped so far.
    #[must_use]
    pub fn lost(&self) -> Tally {
        self.shared.lost().clone()
    }

    /// Waits, for at most `limit`, until all lines are written; returns what was dropped.
    #[must_use]
    pub fn finish(self, limit: Duration) -> Tally {
        let Lines { sender, writer, shared } = self;
        drop(sender);
        let start = Instant::now();
        while !writer.is_finished() && start.elapsed() < limit {
            std::thread::sleep(LOOK);
        }
        let mut lost = shared.lost().clone();
        if !writer.is_finished() {
            let (lines, bytes) = (shared.lines.load(Ordering::Relaxed), shared.bytes.load(Ordering::Relaxed));
            lost.add_many(Loss::Shutdown, lines as u64, bytes as u64);
        }
        lost
    }
}

/// Writes until the channel closes. A partly written line can't be taken back, so the rest after a failed write is not written again.
fn write(receiver: &Receiver<String>, output: &Output, shared: &Shared) {
    let mut is_broken = false;
    for text in receiver {
        let written = output.write(&[Bytes::copy_from_slice(text.as_bytes())]);
        shared.wait_no_more(&text);
        if let Err((_, error)) = written {
            shared.lose(Loss::ExportRejected, &text);
            if !is_broken {
                tracing::warn!(%error, "access logs can't be written");
            }
            is_broken = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};

    /// Keeps what is written; a test blocks writes by holding the lock.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn lines_arrive_in_order() -> io::Result<()> {
        let kept = Kept::default();
        let lines = Lines::start(Output::to(Box::new(kept.clone()), true))?;
        for number in 0..2000 {
            lines.offer(format!("{number}\n"), true);
        }
        assert!(lines.finish(LIMIT).is_empty());
        let wanted: String = (0..2000).map(|number| format!("{number}\n")).collect();
        assert_eq!(*kept.0.lock().unwrap_or_else(PoisonError::into_inner), wanted.into_bytes());
        Ok(())
    }

    #[test]
    fn a_slow_reader_makes_nobody_wait_and_what_is_left_out_is_counted() -> io::Result<()> {
        let kept = Kept::default();
        let held = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = Lines::start(Output::to(Box::new(kept.clone()), false))?;
        for _ in 0..WAITING + 50 {
            lines.offer("a\nb\n".to_owned(), false);
        }
        // The writer may hold one text.
        let lost = lines.lost().count(Loss::ExportFull);
        assert!((49 * 2..=50 * 2).contains(&lost), "{lost}");
        let large = "x".repeat(WAITING_BYTES / 2 + 1) + "\n";
        drop(held);
        assert_eq!(lines.finish(LIMIT).count(Loss::ExportFull), lost);

        let held = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = Lines::start(Output::to(Box::new(kept.clone()), false))?;
        for _ in 0..4 {
            lines.offer(large.clone(), false);
        }
        assert!(lines.lost().count(Loss::ExportFull) >= 1, "bytes are bounded too");
        let late = lines.finish(Duration::from_millis(20));
        assert!(late.count(Loss::Shutdown) >= 1 && late.count(Loss::Shutdown) + late.count(Loss::ExportFull) == 4);
        drop(held);
        Ok(())
    }

    #[test]
    fn a_reader_that_went_away_is_counted() -> io::Result<()> {
        let lines = Lines::start(Output::to(Box::new(Broken), false))?;
        lines.offer("a\nb\n".to_owned(), true);
        assert_eq!(lines.finish(LIMIT).count(Loss::ExportRejected), 2);
        Ok(())
    }
}
