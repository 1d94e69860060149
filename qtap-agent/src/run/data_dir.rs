//! The data directory of `qtap run`: opened if a store has a queue on disk, or if bodies too large for memory are wanted; and its state for
//! `/status`. A config with nothing but stdout stores touches no disk.

use std::path::Path;

use super::spool;
use crate::admin::view::DataDirView;
use crate::config::Settings;
use crate::export::data_dir::{DataDir, DataDirError};

/// The result of opening it.
pub(super) struct Taken {
    /// The directory; `None`: not needed, or not usable.
    pub(super) folder: Option<DataDir>,
    /// Its state for `/status`.
    pub(super) told: DataDirView,
}

impl Taken {
    /// Looks for queues that belong to no store of this config. At the start, empty ones are ignored; later one may just be draining.
    pub(super) fn look(&mut self, settings: &Settings, at_start: bool) {
        let Some(folder) = &self.folder else { return };
        let queued = settings.stores.iter().filter(|store| store.queue.is_some());
        let known = queued.map(|store| (store.id.as_str(), store.form()));
        self.told.left_over = folder.left_over(known);
        self.told.left_over.retain(|queue| !at_start || folder.may_hold(queue));
        for queue in &self.told.left_over {
            tracing::warn!(
                data_dir = self.told.path,
                queue,
                "records of a store that is no longer in the config, or is sent to in another form or without a queue now, wait in a queue; \
                 bring it back to deliver them, or delete the folder"
            );
        }
    }
}

/// Opens the directory at `path`, if a queue on disk or large bodies need it.
///
/// # Errors
/// If another qtap uses it. A directory that can't be written is reported instead, and records wait in memory.
pub(super) fn open(settings: &Settings, path: &Path) -> Result<Taken, DataDirError> {
    let mut told = DataDirView { path: path.display().to_string(), ..DataDirView::default() };
    if settings.stores.iter().all(|store| store.queue.is_none()) && !spool::wants(settings) {
        return Ok(Taken { folder: None, told });
    }
    match DataDir::open(path) {
        Ok(folder) => {
            told.used = true;
            let mut taken = Taken { folder: Some(folder), told };
            taken.look(settings, true);
            Ok(taken)
        }
        Err(error @ DataDirError::InUse { .. }) => Err(error),
        Err(error @ DataDirError::Unwritable { .. }) => {
            tracing::error!(%error, "records wait in memory, and are lost when qtap ends before they are delivered");
            told.error = Some(error.to_string());
            Ok(Taken { folder: None, told })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::config::{Level, Source, load};

    fn settings(text: &str) -> Settings {
        let source = Source::Text { name: "f".to_owned(), text: text.to_owned() };
        load(source, &|_| None).unwrap_or_else(|faults| panic!("{faults}")).0
    }

    #[test]
    fn stdout_stores_touch_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let taken = open(&Settings::built_in(Level::Summary), &path).unwrap();
        assert!(taken.folder.is_none() && !taken.told.used && !path.exists());
    }

    #[test]
    fn a_second_one_is_refused_and_left_over_queues_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings("version: 2\nservices: {event_stores: [{type: otel}]}\n");
        std::fs::create_dir_all(folder.path().join("queue/emptied+json/events")).unwrap();
        std::fs::create_dir_all(folder.path().join("queue/gone+json/events")).unwrap();
        let segment = folder.path().join("queue/gone+json/events/00000000000000000000-00000007.seg");
        std::fs::write(segment, [1; 100]).unwrap();
        std::fs::create_dir_all(folder.path().join("queue/otel+protobuf")).unwrap();
        let first = open(&settings, folder.path()).unwrap();
        assert!(first.told.used && first.told.left_over == ["gone+json"]);
        assert!(
            open(&settings, folder.path()).is_err_and(|error| error.to_string().contains("in use by another qtap"))
        );
    }

    #[test]
    fn one_that_cannot_be_written_is_told() {
        let settings = settings("version: 2\nservices: {event_stores: [{type: otel}]}\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        let taken = open(&settings, &file.path().join("data")).unwrap();
        assert!(taken.folder.is_none() && taken.told.error.is_some_and(|error| error.contains("can't be written")));
    }
}
