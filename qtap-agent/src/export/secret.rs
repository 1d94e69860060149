//! Secret text, given directly, or in a file that is read again when it changes. The stored text is wiped from memory when it is
//! dropped; copies that leave this module (a header, a request body) are not. It never appears in `Debug` or in an error.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::stamp::Stamp;

/// Maximum size of a secret file: a PEM key has a few kilobytes.
pub const MAX_SECRET_BYTES: u64 = 64 << 10;

/// A secret. Clones share the state of its file.
#[derive(Clone, Default)]
pub struct Secret(Option<Arc<Source>>);

enum Source {
    Text(Zeroizing<String>),
    File { path: PathBuf, known: Mutex<Known> },
}

/// The content of a file when it was last read.
struct Known {
    stamp: Option<Stamp>,
    text: Zeroizing<String>,
}

impl Secret {
    /// A secret given directly.
    pub fn text(text: impl Into<String>) -> Secret {
        Secret(Some(Arc::new(Source::Text(Zeroizing::new(text.into())))))
    }

    /// A secret in a file; its trailing line ends are removed.
    ///
    /// # Errors
    /// When the file can't be read, is not UTF-8, or is larger than [`MAX_SECRET_BYTES`] (`FileTooLarge`).
    pub fn file(path: PathBuf) -> io::Result<Secret> {
        let known = Mutex::new(read(&path)?);
        Ok(Secret(Some(Arc::new(Source::File { path, known }))))
    }

    /// The current secret. A changed file is read again; while it can't be read, the old text stays in use.
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

    /// True when the secret may change, because it is in a file.
    #[must_use]
    pub fn may_change(&self) -> bool {
        matches!(self.0.as_deref(), Some(Source::File { .. }))
    }
}

fn read(path: &Path) -> io::Result<Known> {
    // Taken before the text is read, so that the next check notices a change in between.
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
