//! What happens while the files of a lane can't be read. In: each failed read. Out: when to try again, later each time, and whether the error
//! is damage: a read that fails may succeed later, so only what a disk goes on failing to give, or is no longer there, is given up.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// Wait after the first failed read; doubles each time.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a disk may fail to give what it holds. A cable, a controller or a remote disk is back before; a bad block never is, and would
/// keep all that is behind it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Failed reads without a successful one in between; at first, none.
#[derive(Debug, Default)]
pub(super) struct Stall(Option<Failed>);

#[derive(Debug)]
struct Failed {
    since: Instant,
    until: Instant,
    wait: Duration,
    why: String,
}

impl Stall {
    /// Notes that a read failed.
    pub(super) fn begin(&mut self, error: &io::Error, now: Instant) {
        let (since, wait) =
            self.0.take().map_or((now, WAIT_MIN), |failed| (failed.since, (failed.wait * 2).min(WAIT_MAX)));
        self.0 = Some(Failed { since, until: now + wait, wait, why: error.to_string() });
    }

    /// Notes that a read succeeded.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// The time until the next try; zero when it is due, or nothing failed.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |failed| failed.until.saturating_duration_since(now))
    }

    /// Makes the next try due.
    pub(super) fn cut_short(&mut self, now: Instant) {
        if let Some(failed) = &mut self.0 {
            failed.until = now;
        }
    }

    /// Why the last read failed; none if it succeeded.
    pub(super) fn why(&self) -> Option<&str> {
        self.0.as_ref().map(|failed| failed.why.as_str())
    }

    /// True when what a read in `folder` failed for will not pass. A lack of descriptors or memory, a missing permission, a file system that is
    /// not mounted: all of these may.
    pub(super) fn is_damage(&self, error: &io::Error, folder: &Path, now: Instant) -> bool {
        let lasts = || self.0.as_ref().is_some_and(|failed| now.saturating_duration_since(failed.since) >= PATIENCE);
        match error.kind() {
            ErrorKind::NotFound => folder.is_dir(),
            _ => is_of_the_disk(error) && lasts(),
        }
    }
}

/// True for errors of the disk or its file system itself.
fn is_of_the_disk(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::STALE].contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_until_a_read_succeeds() {
        let (mut stall, start) = (Stall::default(), Instant::now());
        assert_eq!((stall.wait(start), stall.why()), (Duration::ZERO, None));
        let mut now = start;
        for wait in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            stall.begin(&Errno::MFILE.into(), now);
            assert_eq!(stall.wait(now), Duration::from_millis(wait));
            now += Duration::from_millis(wait);
            assert_eq!(stall.wait(now), Duration::ZERO);
        }
        assert!(stall.why().is_some_and(|why| why.contains("Too many open files")));
        stall.end();
        assert_eq!((stall.wait(now), stall.why()), (Duration::ZERO, None));
        stall.begin(&Errno::IO.into(), now);
        assert_eq!(stall.wait(now), WAIT_MIN);
        stall.cut_short(now);
        assert_eq!(stall.wait(now), Duration::ZERO);
    }

    #[test]
    fn only_what_does_not_pass_is_damage() {
        let (here, start) = (std::env::temp_dir(), Instant::now());
        let late = start + PATIENCE;
        for (errno, at_last) in [
            (Errno::IO, true),
            (Errno::UCLEAN, true),
            (Errno::BADMSG, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOMEM, false),
            (Errno::ACCESS, false),
            (Errno::ISDIR, false),
        ] {
            let (error, mut stall) = (io::Error::from(errno), Stall::default());
            assert!(!stall.is_damage(&error, &here, start), "{errno}");
            stall.begin(&error, start);
            assert!(!stall.is_damage(&error, &here, late - Duration::from_millis(1)), "{errno}");
            assert_eq!(stall.is_damage(&error, &here, late), at_last, "{errno}");
        }
        let gone = io::Error::from(Errno::NOENT);
        assert!(Stall::default().is_damage(&gone, &here, start));
        assert!(!Stall::default().is_damage(&gone, &here.join("not mounted"), start));
    }
}
