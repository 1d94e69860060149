//! The data of an object: bytes in memory, or a file under the data directory. In: an item. Out: its length, all of its data, or
//! a part. A file is read only when its bytes are needed, and never whole unless it is small.

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
                    // A file that is gone or shorter stays so: the object is refused permanently.
                    Ok(Err(error)) => Err(Refusal::split(format!("its spooled file cannot be read: {error}"))),
                    Err(error) => Err(Refusal::wait(format!("reading the spooled file was interrupted: {error}"))),
                }
            }
        }
    }
}
