//! User names, from the host's user database.
//!
//! In: `/etc/passwd` (passwd(5)), read again when it changes. Out: the name of a user id, or none. Directory services and the user
//! databases of containers are not queried: their answers are not in a file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::SystemTime;

/// Largest database read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The user database, cached.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    read: Option<(SystemTime, u64)>,
    names: HashMap<u32, String>,
}

impl Default for Users {
    fn default() -> Users {
        Users::of(PathBuf::from("/etc/passwd"))
    }
}

impl Users {
    /// The database at `path`.
    #[must_use]
    pub fn of(path: PathBuf) -> Users {
        Users { path, read: None, names: HashMap::new() }
    }

    /// The name of a user; none when the database has none or can't be read.
    pub fn name(&mut self, user_id: u32) -> Option<String> {
        self.refresh();
        self.names.get(&user_id).cloned()
    }

    fn refresh(&mut self) {
        let stamp = std::fs::metadata(&self.path)
            .ok()
            .filter(|metadata| metadata.len() <= MAX_BYTES)
            .and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        if stamp == self.read {
            return;
        }
        self.read = stamp;
        self.names = std::fs::read(&self.path).map(|bytes| parse(&bytes)).unwrap_or_default();
    }
}

/// The first name of each user id; lines that are not entries are skipped.
fn parse(bytes: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(user_id)) = (fields.next(), fields.next(), fields.next())
            && let Ok(user_id) = user_id.parse()
            && !name.is_empty()
            && !name.starts_with('#')
        {
            names.entry(user_id).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_the_first_of_an_id_wins() {
        let names =
            parse(b"root:x:0:0:root:/root:/bin/sh\n# c:x:5\n\ntoor:x:0:0::/:/bin/sh\nwww:x:33:33::/:\nbad:x:y:\n");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&33).map(String::as_str), Some("www"));
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn a_change_is_seen_and_a_missing_file_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        let mut users = Users::of(path.clone());
        assert_eq!(users.name(7), None);
        std::fs::write(&path, "seven:x:7:7::/:\n").unwrap();
        assert_eq!(users.name(7).as_deref(), Some("seven"));
        std::fs::write(&path, "another-seven:x:7:7::/:\n").unwrap();
        assert_eq!(users.name(7).as_deref(), Some("another-seven"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(users.name(7), None);
    }
}
