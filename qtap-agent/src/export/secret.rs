//! Text that must not be shown: given as it is, or in a file that is read again when it changes. What is held is wiped from memory
//! when it is let go of; copies that leave here (a header, a request's body) are not. Never in `Debug`, never in an error.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::stamp::Stamp;

/// Most bytes of a file that holds a secret: a key in PEM form has a few kilobytes.
pub const MAX_SECRET_BYTES: u64 = 64 << 10;

/// A secret. Copies share what they know of its file.
#[derive(Clone, Default)]
pub struct Secret(Option<Arc<Source>>);

enum Source {
    Text(Zeroizing<String>),
    File { path: PathBuf, known: Mutex<Known> },
}

/// What a file held when it was last read.
struct Known {
    stamp: Option<Stamp>,
    text: Zeroizing<String>,
}

impl Secret {
    /// The text itself.
    pub fn text(text: impl Into<String>) -> Secret {
        Secret(Some(Arc::new(Source::Text(Zeroizing::new(text.into())))))
    }

    /// The file's text, without the line end.
    ///
    /// # Errors
    /// When it cannot be read, is not UTF-8, or is larger than [`MAX_SECRET_BYTES`] (`FileTooLarge`).
    pub fn file(path: PathBuf) -> io::Result<Secret> {
        let known = Mutex::new(read(&path)?);
        Ok(Secret(Some(Arc::new(Source::File { path, known }))))
    }

    /// The secret as it is now. A file that was changed is read again; while it cannot be read, the old text stands.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        match self.0.as_deref() {
            None => Zeroizing::default(),
            Some(Source::Text(text)) => text.clone(),
            Some(Source::File { path, known }) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                if Stamp::of(path) != known.stamp
                    && let Ok(now) = read(path)
                {
                    *known = now;
                }
                known.text.clone()
            }
        }
    }

    /// True when it may change: it stands in a file.
    #[must_use]
    pub fn may_change(&self) -> bool {
        matches!(self.0.as_deref(), Some(Source::File { .. }))
    }
}

fn read(path: &Path) -> io::Result<Known> {
    // Before the text: a change in between is found the next time.
    let stamp = Stamp::of(path);
    let mut text = Zeroizing::new(String::with_capacity(1024));
    let bytes = std::fs::File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if bytes as u64 > MAX_SECRET_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let kept = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(kept);
    Ok(Known { stamp, text })
}

impl PartialEq for Secret {
    /// Equal texts, or the same file.
    fn eq(&self, other: &Secret) -> bool {
        match (self.0.as_deref(), other.0.as_deref()) {
            (None, None) => true,
            (Some(Source::Text(a)), Some(Source::Text(b))) => a == b,
            (Some(Source::File { path: a, .. }), Some(Source::File { path: b, .. })) => a == b,
            (None | Some(Source::Text(_) | Source::File { .. }), _) => false,
        }
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes_and_kept_while_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "first\r\n").unwrap();
        let secret = Secret::file(path.clone()).unwrap();
        let copy = secret.clone();
        assert_eq!(*secret.reveal(), "first");
        std::fs::write(&path, "the second\n").unwrap();
        assert_eq!((secret.reveal().as_str(), copy.reveal().as_str()), ("the second", "the second"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*secret.reveal(), "the second");
        std::fs::write(&path, "third").unwrap();
        assert_eq!(*secret.reveal(), "third");
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "x".repeat(65_537)).unwrap();
        assert_eq!(Secret::file(path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn it_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::text("hunter2")), "Secret(…)");
        assert_eq!((Secret::text("a") == Secret::text("a"), Secret::text("a") == Secret::text("b")), (true, false));
    }
}
