//! The initial file system of a machine: a cpio archive in `newc` format (`Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel).
//! In: names and contents. Out: bytes.

/// An archive under construction.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    /// Number of entries so far; also the inode number of the next.
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const END: &str = "TRAILER!!!";

impl Archive {
    /// Adds a folder; its parents must be added first.
    pub(super) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, &[]);
    }

    /// Adds an executable file.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, content);
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        // After the magic: inode, mode, owner, group, links, time, size, device (two), represented device (two), name length, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_stand_at_multiples_of_four() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.file("init", b"#!/x\n");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let starts: Vec<usize> = (0..bytes.len()).step_by(4).filter(|at| bytes[*at..].starts_with(b"070701")).collect();
        assert_eq!(starts.len(), 3);
        assert_eq!(&bytes[starts[1] + 110..starts[1] + 115], b"init\0");
        assert_eq!(&bytes[starts[1] + 54..starts[1] + 62], b"00000005", "its size");
        assert!(bytes[starts[1] + 116..].starts_with(b"#!/x\n"));
    }
}
