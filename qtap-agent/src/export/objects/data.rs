//! The data of an object: bytes in memory, or a file under the data directory. In: an item. Out: its length, all of its data, or
//! a part. A file is read only when its bytes are needed, and never whole unless it is small.

use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::export::exporter::Item;
use crate::export::refusal::Refusal;
use crate::model::spool::SpoolFile;

/// The data of one object.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Memory(Bytes),
    Spooled(Arc<SpoolFile>),
}

impl Data {
    pub(super) fn of(item: &Item) -> Data {
        match &item.spooled {
            Some(file) => Data::Spooled(Arc::clone(file)),
            None => Data::Memory(item.payload.clone()),
        }
    }

    /// Its length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Data::Memory(bytes) => bytes.len() as u64,
            Data::Spooled(file) => file.bytes(),
        }
    }

    /// All of it.
    pub(super) async fn all(&self) -> Result<Bytes, Refusal> {
        self.part(0, self.bytes()).await
    }

    /// The `len` bytes at `offset`.
    pub(super) async fn part(&self, offset: u64, len: u64) -> Result<Bytes, Refusal> {
        let size = usize::try_from(len).unwrap_or(usize::MAX);
        match self {
            Data::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(from..from.saturating_add(size).min(bytes.len())))
            }
            Data::Spooled(file) => {
                let file = Arc::clone(file);
                // Disk reads may block, so use a blocking thread.
                let read = tokio::task::spawn_blocking(move || {
                    let mut bytes = vec![0; size];
                    std::fs::File::open(file.path())?.read_exact_at(&mut bytes, offset)?;
                    Ok::<_, std::io::Error>(Bytes::from(bytes))
                });
                match read.await {
                    Ok(Ok(bytes)) => Ok(bytes),
                    Ok(Err(error)) => Err(unread(&error)),
                    Err(error) => Err(Refusal::wait(format!("reading the spooled file was interrupted: {error}"))),
                }
            }
        }
    }
}

/// A file that is gone or shorter stays so, and its object is refused for good; whatever else keeps it from being read may pass.
fn unread(error: &std::io::Error) -> Refusal {
    let why = format!("its spooled file cannot be read: {error}");
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::UnexpectedEof => Refusal::split(why),
        _ => Refusal::wait(why),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::export::refusal::Remedy;

    #[tokio::test]
    async fn a_file_that_cannot_be_read_for_a_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let remedy = async |path: &str| {
            let file = SpoolFile::new(folder.path().join(path), 4);
            Data::Spooled(Arc::new(file)).all().await.map_err(|refusal| refusal.remedy)
        };
        std::fs::write(folder.path().join("whole"), "body").unwrap();
        std::fs::write(folder.path().join("short"), "bod").unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(remedy("whole").await, Ok(Bytes::from_static(b"body")));
        assert_eq!(remedy("short").await, Err(Remedy::Split));
        assert_eq!(remedy("gone").await, Err(Remedy::Split));
        assert_eq!(remedy("folder").await, Err(Remedy::Wait(None)));
        for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::IO, rustix::io::Errno::NOMEM] {
            assert_eq!(unread(&errno.into()).remedy, Remedy::Wait(None), "{errno}");
        }
    }
}
