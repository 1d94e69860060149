//! Something built from files (certificates, keys), such as a client or a channel, and rebuilt when they change. In: the files, and a function that
//! builds it. Out: the current one, for each request; files are checked then, at most once a second. If new files are unusable, the old one stays.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stamp::Stamp;
use super::store::StartError;

/// Minimum time between checks; a check costs one system call per file.
const LOOK: Duration = Duration::from_secs(1);

type Make<T> = Box<dyn Fn() -> Result<T, StartError> + Send + Sync>;

/// The thing, the files it is built from, and the function that builds it.
pub struct Renewed<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    thing: T,
    /// How often it was rebuilt.
    number: u64,
    /// The state of the files that it was built from, or that were last found unusable.
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
    /// True when it must be rebuilt even if the files did not change.
    suspect: bool,
}

impl<T: Clone> Renewed<T> {
    /// Builds it for the first time.
    ///
    /// # Errors
    /// When it can't be built.
    pub fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, StartError> + Send + Sync + 'static,
    ) -> Result<Renewed<T>, StartError> {
        // Taken before the files are read, so that the next check notices a change in between.
        let stamps = stamps(&files);
        let held = Held { thing: make()?, number: 0, stamps, looked: Instant::now(), suspect: false };
        Ok(Renewed { files, make: Box::new(make), held: Mutex::new(held) })
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thing, built from the files as they are now, and its number, which is different after each rebuild.
    pub fn current(&self) -> (T, u64) {
        let mut held = self.held();
        let look = !self.files.is_empty() && held.looked.elapsed() >= LOOK;
        if look {
            held.looked = Instant::now();
        }
        let stamps = if look { stamps(&self.files) } else { held.stamps.clone() };
        let changed = stamps != held.stamps;
        if changed || held.suspect {
            match (self.make)() {
                Ok(thing) => {
                    held.thing = thing;
                    held.number += 1;
                    held.suspect = false;
                    if changed {
                        tracing::info!("certificate files have changed: new connections are made with them");
                    }
                }
                // Files are often written one after the other; after the next change they may be complete.
                Err(error) => tracing::warn!(%error, "changed certificate files cannot be used: the old ones stand"),
            }
            held.stamps = stamps;
        }
        (held.thing.clone(), held.number)
    }

    /// Marks the thing with this `number` as not answering: the next call of `current` rebuilds it. Does nothing if a later one exists.
    pub fn suspect(&self, number: u64) {
        let mut held = self.held();
        held.suspect |= held.number == number;
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

impl<T> std::fmt::Debug for Renewed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewed").field("files", &self.files).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn made_again_when_a_file_changes_or_it_is_suspect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let read = {
            let path = path.clone();
            move || {
                let text = std::fs::read_to_string(&path).map_err(|error| StartError::Client(error.to_string()))?;
                text.parse::<u32>().map_err(|error| StartError::Client(error.to_string()))
            }
        };
        let renewed = Renewed::new(vec![path.clone()], read).unwrap();
        let look = || {
            std::thread::sleep(LOOK);
            renewed.current()
        };
        assert_eq!(look(), (1, 0));
        std::fs::write(&path, "half").unwrap();
        assert_eq!(look(), (1, 0));
        std::fs::write(&path, "2").unwrap();
        assert_eq!((renewed.current(), look()), ((1, 0), (2, 1)));
        renewed.suspect(0);
        assert_eq!(renewed.current(), (2, 1));
        renewed.suspect(1);
        assert_eq!(renewed.current(), (2, 2));
    }
}
