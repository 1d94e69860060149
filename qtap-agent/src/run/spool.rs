//! Where bodies too large for memory are reassembled: for `qtap run`, `<data-dir>/spool`, which it has to itself; for `qtap exec` and
//! `qtap replay`, a folder of their own below the system's for temporary files, deleted at the end. In: settings. Out: the folder, if
//! bodies of that size are wanted at all.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::Settings;
#[cfg(any(feature = "kernel", test))]
use crate::export::data_dir::DataDir;
use crate::export::excerpt;
use crate::export::settings::StoreKind;
use crate::pipeline::settings::Locator;
use crate::pipeline::spool::Folder;

/// Size in bytes above which a body is put on disk: twice the default limit of what is kept, so that by default nothing changes; and
/// small enough that a hundred such transfers at once fit into memory while their pieces pass.
pub(super) const LARGE_BYTES: usize = 4 << 20;
/// How many bodies of the largest kept size fit on disk together, both as carried and as documents that stores have not taken.
const BODIES: u64 = 8;
/// Minimum limit in bytes for all files, however small that size is.
const LEAST_BYTES: u64 = 1 << 30;

/// The folder, and what is deleted with it at the end.
#[derive(Debug, Default)]
pub(super) struct Spool {
    pub(super) folder: Option<Folder>,
    temporary: Option<PathBuf>,
}

impl Spool {
    /// Opens it below the data directory. If that fails, qtap starts nevertheless: bodies are then kept in memory.
    #[cfg(any(feature = "kernel", test))]
    pub(super) fn of_data_dir(settings: &Settings, data_dir: &DataDir) -> Spool {
        if !wants(settings) {
            return Spool::default();
        }
        warn(settings);
        match open(settings, &data_dir.spool()) {
            Ok(folder) => Spool { folder: Some(folder), temporary: None },
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "large bodies are kept in memory");
                Spool::default()
            }
        }
    }

    /// Opens it below the system's folder for temporary files (`TMPDIR`).
    ///
    /// # Errors
    /// If it can't be created.
    pub(super) fn temporary(settings: &Settings) -> anyhow::Result<Spool> {
        if !wants(settings) {
            return Ok(Spool::default());
        }
        warn(settings);
        // In a folder that everybody may write to: what is there already, another user's or a link, is refused.
        let path = std::env::temp_dir().join(format!("qtap-spool-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        std::fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        Ok(Spool { folder: Some(open(settings, &path)?), temporary: Some(path) })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

/// True if bodies of that size are kept, and some store takes objects.
pub(super) fn wants(settings: &Settings) -> bool {
    let pipeline = &settings.pipeline;
    pipeline.keeps_bodies() && !pipeline.locators.is_empty() && settings.tap.http_buffer_size > LARGE_BYTES
}

/// Warns if objects of large bodies may arrive cut, or not at all.
fn warn(settings: &Settings) {
    for (store, why) in doubts(settings) {
        tracing::warn!(store, "{why}");
    }
}

/// The store of large objects, with what it cannot take of them.
fn doubts(settings: &Settings) -> Vec<(&str, String)> {
    let large = Locator::first_for(&settings.pipeline.locators, LARGE_BYTES as u64);
    let store = large.and_then(|locator| settings.stores.iter().find(|store| store.id == locator.store));
    let Some(store) = store else { return Vec::new() };
    let kept = settings.tap.http_buffer_size as u64;
    let most = match store.kind {
        StoreKind::S3(_) => u64::MAX,
        StoreKind::Otlp(_) => excerpt::OTLP_BYTES,
        StoreKind::Stdout(..) => excerpt::LINE_BYTES,
    };
    let mut doubts = Vec::new();
    if kept > most {
        let why = format!(
            "of a large object this store gets its first {} MiB: put a store of type s3 with `min_bytes` before it",
            most >> 20
        );
        doubts.push((store.id.as_str(), why));
    }
    // In base64 a body takes a third more.
    let largest = (kept / 3 * 4).min(most);
    if let Some(queue) = store.queue.filter(|queue| queue.max_bytes < largest) {
        let why = format!(
            "its queue holds {} MiB, and one object may have {} MiB (--http-buffer-size): what is larger than the queue is dropped; raise `queue.max_bytes`",
            queue.max_bytes >> 20,
            largest >> 20
        );
        doubts.push((store.id.as_str(), why));
    }
    doubts
}

fn open(settings: &Settings, path: &Path) -> anyhow::Result<Folder> {
    let kept = settings.tap.http_buffer_size as u64;
    let most = kept.saturating_mul(BODIES).max(LEAST_BYTES);
    Folder::open(path, most, kept).with_context(|| format!("{} can't be used", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::config::{Level, Source, load};

    #[test]
    fn there_is_a_folder_where_large_bodies_are_kept() {
        let settings = |level, size| Settings::built_in(level).with(&[], size);
        for (level, size, wanted) in
            [(Level::Full, 1 << 30, true), (Level::Full, LARGE_BYTES, false), (Level::Details, 1 << 30, false)]
        {
            let spool = Spool::temporary(&settings(level, size)).unwrap();
            let path = spool.temporary.clone();
            assert_eq!((spool.folder.is_some(), path.as_ref().is_some_and(|path| path.exists())), (wanted, wanted));
            drop(spool);
            assert!(path.is_none_or(|path| !path.exists()), "gone at the end");
        }
    }

    #[test]
    fn what_a_store_cannot_take_is_told() {
        let doubts_of = |store: &str, size: usize| {
            let text = format!(
                "version: 2\nservices: {{object_stores: [{store}]}}\nstacks: {{s: {{plugins: [{{type: http_capture, config: {{level: full}}}}]}}}}\n"
            );
            let source = Source::Text { name: "f".to_owned(), text };
            let settings = load(source, &|_| None).unwrap_or_else(|faults| panic!("{faults}")).0.with(&[], size);
            doubts(&settings).into_iter().map(|(store, why)| format!("{store}: {why}")).collect::<Vec<_>>().join("\n")
        };
        let s3 = "{type: s3, bucket: b}";
        assert_eq!(doubts_of(s3, 300 << 20), "");
        assert!(doubts_of(s3, 1 << 30).starts_with("s3: its queue holds 512 MiB, and one object may have 1365 MiB"));
        assert_eq!(doubts_of("{type: s3, bucket: b, queue: {max_bytes: 8gb}}", 1 << 30), "");
        assert!(
            doubts_of("{type: otel}", 8 << 20).starts_with("otel: of a large object this store gets its first 2 MiB")
        );
        assert_eq!(doubts_of("{type: stdout}", 64 << 20), "");
        assert!(doubts_of("{type: stdout}", 1 << 30).contains("its first 128 MiB"));
        let both = "{type: s3, bucket: b, min_bytes: 1mb, queue: {max_bytes: 8gb}}, {type: otel}";
        assert_eq!(doubts_of(both, 1 << 30), "");
    }
}
