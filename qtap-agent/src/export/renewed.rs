//! What is made of files (certificates, keys) and made again when they change: a client, a channel. Asked for before each request; looks
//! at the files then, at most once a second. While new files cannot be used, what was made of the old ones stands.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stamp::Stamp;
use super::store::StartError;

/// How often files are looked at: a look costs a system call a file.
const LOOK: Duration = Duration::from_secs(1);

type Make<T> = Box<dyn Fn() -> Result<T, StartError> + Send + Sync>;

/// A thing, the files it is made of, and how to make it.
pub struct Renewed<T> {
    files: Vec<PathBuf>,
    make: Make<T>,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    thing: T,
    /// Counts how often it was made.
    number: u64,
    /// The state of the files it was made of, or that were last found unusable.
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
    /// True: to be made again whatever the files say.
    suspect: bool,
}

impl<T: Clone> Renewed<T> {
    /// Makes it for the first time.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, StartError> + Send + Sync + 'static,
    ) -> Result<Renewed<T>, StartError> {
        // Before the files are read: a change in between is found the next time.
        let stamps = stamps(&files);
        let held = Held { thing: make()?, number: 0, stamps, looked: Instant::now(), suspect: false };
        Ok(Renewed { files, make: Box::new(make), held: Mutex::new(held) })
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It, made of the files as they are now, and its number, which tells one making from another.
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
                // Files are often written one after the other: the next change, or look, may find them whole.
                Err(error) => tracing::warn!(%error, "changed certificate files cannot be used: the old ones stand"),
            }
            held.stamps = stamps;
        }
        (held.thing.clone(), held.number)
    }

    /// That of `number` does not answer: the next time another one is made. Later ones are not touched.
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
