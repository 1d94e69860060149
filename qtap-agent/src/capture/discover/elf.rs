//! Reads ELF files written by others: what a file is, where its functions are, and their bytes.
//!
//! In: a path (a library, an executable, or `/proc/PID/root/…`). Out: class, machine, build id, soname, symbols by name, and
//! bytes. Only the requested parts are read, each with a bound; nothing that the file says about itself is
//! trusted before it is checked against the file's size. It never maps a file, and never follows references to other files.

mod calls;
mod functions;
mod loaded;
mod stubs;
mod symbols;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use object::LittleEndian as LE;
use object::elf::{self, Dyn64, FileHeader64, ProgramHeader64, SectionHeader64};
use object::pod;

pub use self::calls::CallSite;
pub use self::functions::Functions;
pub use self::loaded::{Placed, Relocations};
pub use self::stubs::Stub;
use crate::capture::sites::Machine;

/// Largest part read at once (a symbol or string table), in bytes: a browser's is a tenth of it.
const MAX_PART: u64 = 256 << 20;
/// Largest function read, in bytes.
const MAX_CODE: u64 = 1 << 20;
/// Most program headers.
const MAX_SEGMENTS: u64 = 4096;
/// Most section headers.
const MAX_SECTIONS: u64 = 1 << 17;
/// Largest note segment or section read, in bytes.
const MAX_NOTES: u64 = 1 << 20;

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// The file does not exist, or no longer exists.
    #[error("the file is gone")]
    Gone,
    /// The system refused to read it.
    #[error("unreadable: {0}")]
    Read(#[source] io::Error),
    /// Not an ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// A 32-bit file: its calls pass arguments differently.
    #[error("a 32-bit ELF file, which is not probed")]
    Class32,
    /// A big-endian file.
    #[error("a big-endian ELF file, which is not probed")]
    BigEndian,
    /// A part lies beyond the file's end, or contradicts another.
    #[error("damaged ELF file: {0}")]
    Damaged(&'static str),
    /// A part exceeds the largest size that is read.
    #[error("ELF file with {0} too large to be read")]
    TooLarge(&'static str),
}

impl From<io::Error> for ElfError {
    fn from(error: io::Error) -> ElfError {
        match error.kind() {
            io::ErrorKind::NotFound => ElfError::Gone,
            io::ErrorKind::UnexpectedEof => ElfError::Damaged("a part beyond the file's end"),
            _ => ElfError::Read(error),
        }
    }
}

/// Identity of a file, independent of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device, as `stat` gives it.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

/// Identity of a file on overlayfs, independent of where it is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Below {
    ino: u64,
    len: u64,
    changed: (i64, i64),
    build_id: String,
}

/// Distinguishes a file from a later one that reuses its inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    len: u64,
    changed: (i64, i64),
}

/// A function's symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Name, without a version.
    pub name: String,
    /// Virtual address, as linked.
    pub vaddr: u64,
    /// Size in bytes; 0 when the file doesn't say.
    pub size: u64,
    /// Offset in the file.
    pub file_offset: u64,
}

/// An open ELF file.
#[derive(Debug)]
pub struct Elf {
    file: File,
    len: u64,
    id: FileId,
    stamp: Stamp,
    machine: Machine,
    segments: Vec<ProgramHeader64<LE>>,
    sections: Vec<SectionHeader64<LE>>,
    symbols: symbols::Tables,
}

impl Elf {
    /// Opens a file and reads its headers.
    ///
    /// # Errors
    /// [`ElfError`] for anything but a 64-bit little-endian ELF file.
    pub fn open(path: &Path) -> Result<Elf, ElfError> {
        // A FIFO or a device under a name that looks like a library must not block the agent.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ElfError::NotElf);
        }
        let id = FileId { dev: metadata.dev(), ino: metadata.ino() };
        let stamp = Stamp { len: metadata.len(), changed: (metadata.ctime(), metadata.ctime_nsec()) };
        let mut elf = Elf {
            file,
            len: metadata.len(),
            id,
            stamp,
            machine: Machine::Other(0),
            segments: Vec::new(),
            sections: Vec::new(),
            symbols: symbols::Tables::default(),
        };
        elf.read_headers()?;
        Ok(elf)
    }

    /// A path that leads to this very file for as long as `self` is held, whatever happens to the name it was opened by: that name may begin with the
    /// `/proc/PID/root` of a process that can end at any moment.
    #[must_use]
    pub fn lasting_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    fn read_headers(&mut self) -> Result<(), ElfError> {
        if self.len < 6 {
            return Err(ElfError::NotElf);
        }
        check_ident(&self.part(0, 6, 6, "header")?)?;
        let bytes = self.part(0, 64, 64, "header")?;
        let (header, _) = pod::from_bytes::<FileHeader64<LE>>(&bytes).map_err(|()| ElfError::Damaged("header"))?;
        self.machine = match header.e_machine.get(LE) {
            elf::EM_X86_64 => Machine::X86_64,
            elf::EM_AARCH64 => Machine::Aarch64,
            other => Machine::Other(other.0),
        };
        let count = u64::from(header.e_phnum.get(LE));
        self.segments = self.table(header.e_phoff.get(LE), count, MAX_SEGMENTS, "program headers")?;
        let offset = header.e_shoff.get(LE);
        if offset == 0 {
            return Ok(());
        }
        let mut count = u64::from(header.e_shnum.get(LE));
        if count == 0 {
            // ELF specification: with 0xff00 sections or more, the count is in the size field of the first one.
            let first: Vec<SectionHeader64<LE>> = self.table(offset, 1, 1, "section headers")?;
            count = first.first().map_or(0, |section| section.sh_size.get(LE));
        }
        self.sections = self.table(offset, count, MAX_SECTIONS, "section headers")?;
        Ok(())
    }

    /// The file's identity.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Size and change time: they differ for a new file that was given the inode number of a deleted one.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// On overlayfs each mount has its own device number, so that one underlying file looks like a different file in each: this recognises it again. None on
    /// other file systems. Inode numbers are those of the underlying file (`Documentation/filesystems/overlayfs.rst`, inode properties).
    #[must_use]
    pub fn below(&self) -> Option<Below> {
        /// `OVERLAYFS_SUPER_MAGIC` of `linux/magic.h`.
        const OVERLAYFS: u64 = 0x794c_7630;
        let system = rustix::fs::fstatfs(&self.file).ok()?;
        let metadata = self.file.metadata().ok().filter(|_| system.f_type.cast_unsigned() == OVERLAYFS)?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Some(Below { ino: metadata.ino(), len: metadata.len(), changed, build_id: self.build_id()? })
    }

    /// Its instruction set.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// The GNU build id, as lower-case hexadecimal; none when the file has none, or it can't be read.
    #[must_use]
    pub fn build_id(&self) -> Option<String> {
        let in_segments = self.segments.iter().filter(|segment| segment.p_type.get(LE) == elf::PT_NOTE);
        let in_sections = self.sections.iter().filter(|section| section.sh_type.get(LE) == elf::SHT_NOTE);
        let places = in_segments
            .map(|segment| (segment.p_offset.get(LE), segment.p_filesz.get(LE)))
            .chain(in_sections.map(|section| (section.sh_offset.get(LE), section.sh_size.get(LE))));
        for (offset, size) in places {
            if let Some(id) = self.part(offset, size, MAX_NOTES, "notes").ok().and_then(|notes| gnu_build_id(&notes)) {
                return Some(id);
            }
        }
        None
    }

    /// The name that a library gives itself (`DT_SONAME`); none when there is none, or it can't be read.
    #[must_use]
    pub fn soname(&self) -> Option<String> {
        let section = self.sections.iter().find(|section| section.sh_type.get(LE) == elf::SHT_DYNAMIC)?;
        let entries: Vec<Dyn64<LE>> = self.entries(section, "dynamic section").ok()?;
        let entry = entries.iter().find(|entry| entry.d_tag.get(LE) == elf::DT_SONAME)?;
        let strings = self.linked_strings(section).ok()?;
        let name = string_at(&strings, entry.d_val.get(LE))?;
        (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
    }

    /// Offset in the file of the executable byte at `vaddr`.
    #[must_use]
    pub fn file_offset(&self, vaddr: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let executable = segment.p_type.get(LE) == elf::PT_LOAD && segment.p_flags.get(LE).0 & elf::PF_X.0 != 0;
            let within = vaddr.checked_sub(segment.p_vaddr.get(LE))?;
            (executable && within < segment.p_filesz.get(LE))
                .then(|| segment.p_offset.get(LE).checked_add(within))
                .flatten()
        })
    }

    /// The bytes of a function; empty when its symbol has no size.
    ///
    /// # Errors
    /// [`ElfError`] when it reaches beyond the file or is too large.
    pub fn code(&self, symbol: &Symbol) -> Result<Vec<u8>, ElfError> {
        self.part(symbol.file_offset, symbol.size, MAX_CODE, "function")
    }

    /// The bytes of the section of that name, truncated to `limit`; none when there is no such section.
    ///
    /// # Errors
    /// [`ElfError`] when the section reaches beyond the file.
    pub fn section(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ElfError> {
        let Some(names) = self.section_names()? else { return Ok(None) };
        let found = self.sections.iter().find(|section| {
            section.sh_type.get(LE) == elf::SHT_PROGBITS
                && string_at(&names, u64::from(section.sh_name.get(LE))) == Some(name.as_bytes())
        });
        found
            .map(|section| self.part(section.sh_offset.get(LE), section.sh_size.get(LE).min(limit), limit, "section"))
            .transpose()
    }

    fn section_names(&self) -> Result<Option<Vec<u8>>, ElfError> {
        let bytes = self.part(0, 64, 64, "header")?;
        let (header, _) = pod::from_bytes::<FileHeader64<LE>>(&bytes).map_err(|()| ElfError::Damaged("header"))?;
        let mut index = u64::from(header.e_shstrndx.get(LE).0);
        if index == u64::from(elf::SHN_XINDEX.0) {
            index = self.sections.first().map_or(0, |section| u64::from(section.sh_link.get(LE)));
        }
        let Some(section) = usize::try_from(index).ok().and_then(|index| self.sections.get(index)) else {
            return Ok(None);
        };
        self.part(section.sh_offset.get(LE), section.sh_size.get(LE), MAX_PART, "section names").map(Some)
    }

    fn entries<T: pod::Pod + Clone>(
        &self,
        section: &SectionHeader64<LE>,
        what: &'static str,
    ) -> Result<Vec<T>, ElfError> {
        let count = section.sh_size.get(LE) / size_of::<T>() as u64;
        self.table(section.sh_offset.get(LE), count, MAX_PART / size_of::<T>() as u64, what)
    }

    fn linked_strings(&self, section: &SectionHeader64<LE>) -> Result<Vec<u8>, ElfError> {
        let linked = self.sections.get(section.sh_link.get(LE) as usize);
        let linked = linked.ok_or(ElfError::Damaged("a link to no section"))?;
        self.part(linked.sh_offset.get(LE), linked.sh_size.get(LE), MAX_PART, "strings")
    }

    fn table<T: pod::Pod + Clone>(
        &self,
        offset: u64,
        count: u64,
        most: u64,
        what: &'static str,
    ) -> Result<Vec<T>, ElfError> {
        if count > most {
            return Err(ElfError::TooLarge(what));
        }
        let bytes = self.part(offset, count.saturating_mul(size_of::<T>() as u64), MAX_PART, what)?;
        let (entries, _) = pod::slice_from_bytes::<T>(&bytes, count as usize).map_err(|()| ElfError::Damaged(what))?;
        Ok(entries.to_vec())
    }

    /// Reads a part, after checking it against its bound and the file's size.
    fn part(&self, offset: u64, size: u64, most: u64, what: &'static str) -> Result<Vec<u8>, ElfError> {
        if size > most {
            return Err(ElfError::TooLarge(what));
        }
        if offset.checked_add(size).is_none_or(|end| end > self.len) {
            return Err(ElfError::Damaged(what));
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

fn check_ident(bytes: &[u8]) -> Result<(), ElfError> {
    match bytes {
        [0x7f, b'E', b'L', b'F', 2, 1, ..] => Ok(()),
        [0x7f, b'E', b'L', b'F', 1, ..] => Err(ElfError::Class32),
        [0x7f, b'E', b'L', b'F', 2, 2, ..] => Err(ElfError::BigEndian),
        _ => Err(ElfError::NotElf),
    }
}

fn string_at(strings: &[u8], offset: u64) -> Option<&[u8]> {
    let rest = strings.get(usize::try_from(offset).ok()?..)?;
    rest.get(..memchr::memchr(0, rest)?)
}

/// The descriptor of the first `NT_GNU_BUILD_ID` note (type 3, owner `GNU`): three words, then name and descriptor,
/// each padded to 4 bytes.
fn gnu_build_id(notes: &[u8]) -> Option<String> {
    let mut rest = notes;
    while let Some((head, after)) = rest.split_first_chunk::<12>() {
        let word = |at: usize| {
            let four = head.get(at..at + 4)?;
            Some(u32::from_le_bytes(four.try_into().ok()?))
        };
        let (name_len, desc_len, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let name = after.get(..name_len)?;
        let after = after.get(name_len.checked_next_multiple_of(4)?..)?;
        let desc = after.get(..desc_len)?;
        if name == b"GNU\0" && kind == 3 && (1..=64).contains(&desc_len) {
            return Some(desc.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        rest = after.get(desc_len.checked_next_multiple_of(4)?..)?;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
