//! Dead letters: records that a store will never accept, kept where an operator finds them. In: a refused item and the reason. Out: a line in
//! `<store>.jsonl`, an OTLP/JSON request with that one record, whatever form the store takes, so that it can be read, and sent again as it is
//! (`curl -H 'content-type: application/json' --data-binary @line URL`). Beside `resourceLogs` it has a `deadLetter` member, which receivers
//! ignore, as the specification demands. An object of an object store is kept as a file in `<store>.objects`, named by its digest. Size is
//! bounded: at the limit, file and folder are renamed with the suffix `.1`, replacing the previous ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::exporter::Item;
use super::otlp::readable;

/// Bytes of lines and objects before rotation: a store keeps at most twice this.
pub const MAX_BYTES: u64 = 64 << 20;

/// The dead letters of one store.
#[derive(Debug)]
pub struct DeadLetters {
    store: String,
    lines: PathBuf,
    objects: PathBuf,
    max_bytes: u64,
    /// Bytes kept since the last rotation; none: not measured yet.
    kept: Mutex<Option<u64>>,
}

impl DeadLetters {
    /// The dead letters of `store`, at `base` with the extensions `.jsonl` and `.objects`. Files are created only when there is a letter.
    #[must_use]
    pub fn new(store: &str, base: &Path, max_bytes: u64) -> DeadLetters {
        let with = |ending: &str| {
            let mut name = base.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        DeadLetters {
            store: store.to_owned(),
            lines: with(".jsonl"),
            objects: with(".objects"),
            max_bytes,
            kept: Mutex::new(None),
        }
    }

    /// Keeps an item that the store refused, with the reason.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&self, item: &Item, why: &str) -> io::Result<()> {
        let written = self.write(item, why);
        if let Err(error) = &written {
            tracing::warn!(store = %self.store, file = %self.lines.display(), %error, "a refused record can't be kept");
        }
        written
    }

    fn write(&self, item: &Item, why: &str) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.lines.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let before = kept.unwrap_or_else(|| size(&self.lines) + folder_size(&self.objects));
        let line = self.line(item, why);
        let object = if item.name.is_empty() { 0 } else { data_bytes(item) };
        let mut total = before + line.len() as u64 + if object <= self.max_bytes { object } else { 0 };
        if before > 0 && total > self.max_bytes {
            self.put_aside()?;
            total -= before;
        }
        if !item.name.is_empty() && object <= self.max_bytes {
            self.write_object(item)?;
        }
        let mut file = File::options().append(true).create(true).mode(0o600).open(&self.lines)?;
        let end = file.metadata()?.len();
        // Half a line on a full disk would spoil the next one.
        file.write_all(&line).inspect_err(|_| drop(file.set_len(end)))?;
        *kept = Some(total);
        Ok(())
    }

    fn put_aside(&self) -> io::Result<()> {
        let aside = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".1");
            PathBuf::from(name)
        };
        let objects = aside(&self.objects);
        missing_is_fine(fs::remove_dir_all(&objects))?;
        missing_is_fine(fs::rename(&self.objects, objects))?;
        missing_is_fine(fs::rename(&self.lines, aside(&self.lines)))
    }

    fn write_object(&self, item: &Item) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.objects)?;
        let path = self.objects.join(&item.name);
        match &item.spooled {
            // The same digest means the same content, so an existing file is kept.
            Some(file) => match file.link(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => fs::copy(file.path(), &path).map(drop),
                other => other,
            },
            None => {
                let options = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
                options?.write_all(&item.payload)
            }
        }
    }

    /// The line for an item.
    fn line(&self, item: &Item, why: &str) -> Vec<u8> {
        let time = httpdate::fmt_http_date(SystemTime::now());
        let mut letter = json!({ "store": self.store, "time": time, "reason": why });
        let mut line = if item.name.is_empty() {
            readable::request(item)
        } else {
            let bytes = data_bytes(item);
            letter["digest"] = item.name.clone().into();
            letter["contentType"] = item.content_type.clone().into();
            letter["sizeBytes"] = bytes.into();
            letter["kept"] = (bytes <= self.max_bytes).into();
            Value::Object(serde_json::Map::new())
        };
        line["deadLetter"] = letter;
        let mut line = line.to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

fn data_bytes(item: &Item) -> u64 {
    item.spooled.as_ref().map_or(item.payload.len() as u64, |file| file.bytes())
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

fn folder_size(folder: &Path) -> u64 {
    fs::read_dir(folder).map_or(0, |entries| entries.flatten().map(|entry| size(&entry.path())).sum())
}

fn missing_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use crate::export::exporter::Class;
    use crate::export::small_disk::SmallDisk;

    fn object(name: &str, data: &[u8]) -> Item {
        Item {
            class: Class::Object,
            resource: bytes::Bytes::new(),
            name: name.to_owned(),
            content_type: "text/plain".to_owned(),
            payload: bytes::Bytes::copy_from_slice(data),
            spooled: None,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_object_is_a_file_and_a_line_that_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new("s 3", &folder.path().join("d/s%203"), 1000);
        letters.keep(&object("abc", b"data"), "EntityTooLarge").unwrap();
        let line: Value = serde_json::from_slice(&fs::read(folder.path().join("d/s%203.jsonl")).unwrap()).unwrap();
        let letter = &line["deadLetter"];
        assert_eq!(
            (&letter["store"], &letter["reason"], &letter["digest"], &letter["kept"]),
            (&json!("s 3"), &json!("EntityTooLarge"), &json!("abc"), &json!(true))
        );
        assert_eq!(fs::read(folder.path().join("d/s%203.objects/abc")).unwrap(), b"data");
        let spool = folder.path().join("spool");
        fs::write(&spool, b"spooled").unwrap();
        let spooled = crate::model::spool::SpoolFile::new(spool, 7);
        let item = Item { spooled: Some(std::sync::Arc::new(spooled)), ..object("def", b"") };
        letters.keep(&item, "no").unwrap();
        drop(item);
        assert_eq!(fs::read(folder.path().join("d/s%203.objects/def")).unwrap(), b"spooled");
    }

    #[test]
    fn a_line_that_does_not_fit_on_the_disk_leaves_no_half() {
        let Some(disk) = SmallDisk::mount(64) else { return };
        let letters = DeadLetters::new("s", &disk.path().join("s"), MAX_BYTES);
        letters.keep(&object("a", b""), "no").unwrap();
        let filler = disk.fill();
        let file = File::options().write(true).open(&filler).unwrap();
        file.set_len(file.metadata().unwrap().len() - 12_288).unwrap();
        drop(file);
        letters.keep(&object("b", b""), &"x".repeat(40_000)).unwrap_err();
        fs::remove_file(filler).unwrap();
        letters.keep(&object("c", b""), "no").unwrap();
        let lines = fs::read_to_string(disk.path().join("s.jsonl")).unwrap();
        let digest = |line| serde_json::from_str::<Value>(line).unwrap()["deadLetter"]["digest"].clone();
        assert_eq!(lines.lines().map(digest).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("s");
        let total = |folder: &Path| {
            let below = |name: &str| folder_size(&folder.join(name));
            folder_size(folder) + below("s.objects") + below("s.objects.1")
        };
        for number in 0..40 {
            // A new instance each time, as after a restart.
            let letters = DeadLetters::new("s", &base, 2000);
            letters.keep(&object(&format!("{number:02}"), &[b'x'; 300]), "no").unwrap();
            assert!(total(folder.path()) <= 4000 + 3 * 4096, "{}", total(folder.path()));
        }
        assert_eq!(names(folder.path()), ["s.jsonl", "s.jsonl.1", "s.objects", "s.objects.1"]);
        assert!(folder.path().join("s.objects/39").exists() && !folder.path().join("s.objects.1/00").exists());
        let letters = DeadLetters::new("s", &base, 2000);
        letters.keep(&object("huge", &[b'x'; 3000]), "no").unwrap();
        assert!(!folder.path().join("s.objects/huge").exists());
        let lines = fs::read_to_string(folder.path().join("s.jsonl")).unwrap();
        let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!((&last["deadLetter"]["kept"], &last["deadLetter"]["sizeBytes"]), (&json!(false), &json!(3000)));
    }
}
