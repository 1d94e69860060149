//! The executable files that processes map, and the paths by which the agent can open them.
//!
//! In: `/proc` (proc_pid_maps(5)). Out: each executable file mapping once, and a path that really leads to the mapped file,
//! whatever mount namespace or container the process is in. A process that vanished maps nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::elf::FileId;

/// Most bytes that are read of one process's maps: some 100 000 mappings.
const MAX_BYTES: u64 = 16 << 20;

/// A file that a process has mapped for execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Which file, as the kernel shows it in the map.
    pub id: FileId,
    /// Path as the process sees it, without ` (deleted)`.
    pub path: PathBuf,
    /// True when the file's name is gone, or leads to another file by now.
    pub deleted: bool,
    /// First address of the file's first executable mapping; with `end` it names the entry in `map_files`.
    pub start: u64,
    /// The address after its last byte.
    pub end: u64,
}

/// Ids of all existing processes (thread groups).
#[must_use]
pub fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The files that a process has mapped for execution, each once; empty when the process vanished or may not be inspected.
#[must_use]
pub fn executable_mappings(pid: u32) -> Vec<Mapping> {
    let mut bytes = Vec::new();
    let Ok(file) = std::fs::File::open(format!("/proc/{pid}/maps")) else { return Vec::new() };
    if file.take(MAX_BYTES).read_to_end(&mut bytes).is_err() {
        return Vec::new();
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Vec<Mapping> {
    let mut seen = BTreeSet::new();
    let lines = bytes.split(|&byte| byte == b'\n');
    lines.filter_map(parse_line).filter(|mapping| seen.insert(mapping.id)).collect()
}

/// `7f52d2c00000-7f52d2c26000 r-xp 00000000 08:02 173521 /usr/lib/x86_64-linux-gnu/libc.so.6`; none for a mapping that is
/// not executable or not a file.
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let (range, rest) = field(line)?;
    let (permissions, rest) = field(rest)?;
    let (_offset, rest) = field(rest)?;
    let (device, rest) = field(rest)?;
    let (inode, rest) = field(rest)?;
    let path = rest.get(rest.iter().position(|&byte| byte != b' ')?..)?;
    let ino = std::str::from_utf8(inode).ok()?.parse().ok()?;
    if permissions.get(2) != Some(&b'x') || ino == 0 || path.first() != Some(&b'/') {
        return None;
    }
    let (start, end) = pair(range, '-')?;
    let (major, minor) = pair(device, ':')?;
    let dev = rustix::fs::makedev(u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    Some(Mapping { id: FileId { dev, ino }, path: unescaped(path), deleted, start, end })
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = line.iter().position(|&byte| byte != b' ')?;
    let line = line.get(start..)?;
    let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    Some((line.get(..end)?, line.get(end..)?))
}

fn pair(text: &[u8], separator: char) -> Option<(u64, u64)> {
    let (one, other) = std::str::from_utf8(text).ok()?.split_once(separator)?;
    Some((u64::from_str_radix(one, 16).ok()?, u64::from_str_radix(other, 16).ok()?))
}

/// The kernel writes a line feed in a name as `\012`.
fn unescaped(path: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(b"\\012") {
            out.push(b'\n');
            rest = tail;
        } else {
            out.push(first);
            rest = tail;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// A path, valid here and now, that leads to the mapped file: through the process's root when the name still leads to the
/// same file, else through its `map_files` entry, which deleted files require. None when neither works, or the process vanished.
#[must_use]
pub fn path_from_here(pid: u32, mapping: &Mapping) -> Option<PathBuf> {
    let named = in_root_of(pid, &mapping.path);
    let found = id_of(&named);
    if found == Some(mapping.id) {
        return Some(named);
    }
    // On stacked file systems the map shows another device than `stat` does, for the same inode.
    let link = entry_of(pid, mapping);
    let behind = id_of(&link);
    if behind.is_some_and(|id| id.ino == mapping.id.ino) {
        // People read the path: better its name.
        return Some(if behind == found { named } else { link });
    }
    found.is_some_and(|id| id.ino == mapping.id.ino && !mapping.deleted).then_some(named)
}

/// The same for the file `id`, as `stat` gives it, whichever of `mappings` that is. On stacked file systems older kernels (6.1; not 6.18) show the underlying
/// file's device and inode number in the map: then it is the mapping whose name, or whose `map_files` entry, leads to `id`.
#[must_use]
pub fn path_among(pid: u32, id: FileId, mappings: &[Mapping]) -> Option<PathBuf> {
    if let Some(mapping) = mappings.iter().find(|mapping| mapping.id == id) {
        return path_from_here(pid, mapping);
    }
    let paths = mappings.iter().flat_map(|mapping| [in_root_of(pid, &mapping.path), entry_of(pid, mapping)]);
    paths.into_iter().find(|path| id_of(path) == Some(id))
}

fn entry_of(pid: u32, mapping: &Mapping) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end))
}

/// Translates a path in a process's view to a path in the agent's.
#[must_use]
pub fn in_root_of(pid: u32, path: &Path) -> PathBuf {
    let inner = path.as_os_str().as_bytes();
    let inner = inner.get(inner.iter().position(|&byte| byte != b'/').unwrap_or(inner.len())..).unwrap_or_default();
    Path::new(&format!("/proc/{pid}/root")).join(OsStr::from_bytes(inner))
}

/// The file that a path leads to; none when it leads to none.
#[must_use]
pub fn id_of(path: &Path) -> Option<FileId> {
    let metadata = std::fs::metadata(path).ok()?;
    metadata.is_file().then(|| FileId { dev: metadata.dev(), ino: metadata.ino() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
55d0a0000000-55d0a0002000 r--p 00000000 08:02 1234                       /usr/bin/cat
55d0a0002000-55d0a0007000 r-xp 00002000 08:02 1234                       /usr/bin/cat
7f0000000000-7f0000021000 rwxp 00000000 00:00 0
7f0000030000-7f0000050000 r-xp 00001000 fd:01 77   /opt/with space/lib.so (deleted)
7f0000060000-7f0000070000 r-xp 00001000 fd:01 77   /opt/with space/lib.so (deleted)
7f0000080000-7f0000090000 r-xp 00000000 fd:01 78                         /opt/line\\012feed.so
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn executable_files_are_told_once() {
        let found = parse(MAPS);
        let cat = Mapping {
            id: FileId { dev: rustix::fs::makedev(8, 2), ino: 1234 },
            path: PathBuf::from("/usr/bin/cat"),
            deleted: false,
            start: 0x55d0_a000_2000,
            end: 0x55d0_a000_7000,
        };
        assert_eq!(found.first(), Some(&cat));
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!((found[1].path.as_path(), found[1].deleted), (Path::new("/opt/with space/lib.so"), true));
        assert_eq!(found[2].path, PathBuf::from("/opt/line\nfeed.so"));
    }

    #[test]
    fn cut_off_lines_are_passed_over() {
        for len in 0..MAPS.len() {
            let _ = parse(&MAPS[..len]);
        }
        assert!(parse(b"zz-yy r-xp 0 0:0 1 /x\n7f r-xp\n\n    \n").is_empty());
    }

    #[test]
    fn this_process_maps_its_own_program() {
        let pid = std::process::id();
        assert!(processes().contains(&pid));
        let exe = std::env::current_exe().unwrap().canonicalize().unwrap();
        let mappings = executable_mappings(pid);
        let mine = mappings.iter().find(|mapping| mapping.path == exe).unwrap();
        let path = path_from_here(pid, mine).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().ino(), std::fs::metadata(&exe).unwrap().ino());
    }

    #[test]
    fn a_file_has_its_name_though_the_map_shows_another_device() {
        let pid = std::process::id();
        let mut mapping = executable_mappings(pid).into_iter().next().unwrap();
        mapping.id.dev += 1;
        assert_eq!(path_from_here(pid, &mapping), Some(in_root_of(pid, &mapping.path)));
        let gone = Mapping { path: "/none".into(), ..mapping.clone() };
        assert_eq!(path_from_here(pid, &gone), Some(entry_of(pid, &gone)));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_taken() {
        let pid = std::process::id();
        let mut mapping = executable_mappings(pid).into_iter().next().unwrap();
        mapping.id.ino += 1;
        assert_eq!(path_from_here(pid, &mapping), None);
    }

    #[test]
    fn a_file_is_found_though_the_map_shows_the_one_below() {
        let pid = std::process::id();
        let mut mappings = executable_mappings(pid);
        let ids: Vec<FileId> = mappings.iter().map(|mapping| mapping.id).collect();
        for (mapping, id) in mappings.iter_mut().zip(&ids) {
            mapping.id = FileId { dev: id.dev + 1, ino: id.ino + 1 };
        }
        let found = path_among(pid, ids[0], &mappings).unwrap();
        assert_eq!(id_of(&found), Some(ids[0]));
        let mappings_as_they_are = executable_mappings(pid);
        assert_eq!(path_among(pid, ids[0], &mappings_as_they_are), path_from_here(pid, &mappings_as_they_are[0]));
        assert_eq!(path_among(pid, FileId { dev: ids[0].dev, ino: u64::MAX }, &mappings), None);
    }

    #[test]
    fn a_process_that_is_not_there_maps_nothing() {
        assert!(executable_mappings(u32::MAX).is_empty());
    }

    #[test]
    fn paths_in_another_root_stay_in_it() {
        assert_eq!(in_root_of(7, Path::new("/usr/lib/x.so")), PathBuf::from("/proc/7/root/usr/lib/x.so"));
        assert_eq!(in_root_of(7, Path::new("//x")), PathBuf::from("/proc/7/root/x"));
    }
}
