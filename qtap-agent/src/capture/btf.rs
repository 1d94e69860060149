//! The running kernel's type information (BTF): the offsets of members in its structures.
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux` or another BTF blob (Documentation/bpf/btf.rst). Out: member offsets and
//! structure sizes in bytes and, with [`offsets()`], everything the probes need. The input is treated as hostile: every length is
//! bounded, every reference is checked, and no chain is followed for more than a fixed number of steps.

mod offsets;

use std::collections::HashMap;
use std::path::Path;

pub use offsets::{ABSENT, KernelOffsets, offsets};

/// Where the kernel exposes its own BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Largest blob accepted, in bytes: ten times what today's kernels carry.
const MAX_BYTES: usize = 64 << 20;

/// Most steps through nested anonymous members and type aliases; the kernel nests a handful.
const MAX_DEPTH: u32 = 32;

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;

/// Why type information can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel exposes none, or it can't be read.
    #[error("{path}: {source}")]
    Read {
        /// What was opened.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Larger than the limit.
    #[error("type information of more than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// Not BTF of this machine's byte order, or of another version.
    #[error("not BTF version 1 in this byte order")]
    NotBtf,
    /// A part reaches beyond the blob, or the kind of a type is unknown.
    #[error("damaged type information: {0}")]
    Damaged(&'static str),
    /// A required member does not exist.
    #[error("the kernel's type information has no {0}")]
    Missing(String),
}

/// Type information, indexed.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type begins, by type id less one (id 0 is `void`).
    types: Vec<usize>,
    strings: std::ops::Range<usize>,
    /// Id of each named structure or union that has a definition.
    structs: HashMap<Vec<u8>, u32>,
}

/// The three words that a type begins with.
#[derive(Debug, Clone, Copy)]
struct Head {
    name: u32,
    info: u32,
    size_or_type: u32,
}

impl Head {
    fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// True when member offsets carry a bit-field size in their upper 8 bits.
    fn kind_flag(self) -> bool {
        self.info >> 31 != 0
    }

    fn is_composite(self) -> bool {
        matches!(self.kind(), KIND_STRUCT | KIND_UNION)
    }

    /// Number of bytes after the three words; `None` for an unknown kind.
    fn trailing(self) -> Option<usize> {
        let each = match self.kind() {
            // ptr, fwd, typedef, volatile, const, restrict, func, float, type_tag
            2 | 7..=12 | 16 | 18 => return Some(0),
            // int, var, decl_tag
            1 | 14 | 17 => return Some(4),
            // array
            3 => return Some(12),
            // struct, union, datasec, enum64
            KIND_STRUCT | KIND_UNION | 15 | 19 => 12,
            // enum, func_proto
            6 | 13 => 8,
            _ => return None,
        };
        self.count().checked_mul(each)
    }
}

/// A member found.
#[derive(Debug, Clone, Copy)]
struct Member {
    type_id: u32,
    bits: u32,
    bit_field: bool,
}

impl Btf {
    /// Reads the BTF of the running kernel.
    ///
    /// # Errors
    /// [`BtfError`] when there is none or it is damaged.
    pub fn of_kernel() -> Result<Btf, BtfError> {
        Btf::read(Path::new(VMLINUX))
    }

    /// Reads a blob from a file.
    ///
    /// # Errors
    /// [`BtfError`] when it can't be read or is damaged.
    pub fn read(path: &Path) -> Result<Btf, BtfError> {
        use std::io::Read;
        let failed = |source| BtfError::Read { path: path.display().to_string(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        Btf::parse(bytes)
    }

    /// Indexes a blob.
    ///
    /// # Errors
    /// [`BtfError`] when it is damaged.
    pub fn parse(bytes: Vec<u8>) -> Result<Btf, BtfError> {
        if bytes.len() > MAX_BYTES {
            return Err(BtfError::TooLarge);
        }
        if bytes.get(..2) != Some(&MAGIC.to_ne_bytes()) || bytes.get(2) != Some(&1) {
            return Err(BtfError::NotBtf);
        }
        let header = word(&bytes, 4).ok_or(BtfError::Damaged("header"))? as usize;
        if header < HEADER_LEN {
            return Err(BtfError::Damaged("header"));
        }
        let types = part(&bytes, header, 8).ok_or(BtfError::Damaged("types beyond the end"))?;
        let strings = part(&bytes, header, 16).ok_or(BtfError::Damaged("strings beyond the end"))?;
        let mut btf = Btf { bytes, types: Vec::new(), strings, structs: HashMap::new() };
        btf.index(types)?;
        Ok(btf)
    }

    fn index(&mut self, range: std::ops::Range<usize>) -> Result<(), BtfError> {
        let mut at = range.start;
        while at < range.end {
            let head = self.head_at(at).ok_or(BtfError::Damaged("a type is cut off"))?;
            let trailing = head.trailing().ok_or(BtfError::Damaged("a kind of type not known"))?;
            let next = at.saturating_add(12).saturating_add(trailing);
            if next > range.end {
                return Err(BtfError::Damaged("a type is cut off"));
            }
            self.types.push(at);
            if head.is_composite() && head.name != 0 {
                let name = self.name(head.name).ok_or(BtfError::Damaged("a name beyond the strings"))?.to_vec();
                let id = self.types.len() as u32;
                self.structs.entry(name).or_insert(id);
            }
            at = next;
        }
        Ok(())
    }

    /// Size of `structure` in bytes.
    #[must_use]
    pub fn struct_size(&self, structure: &str) -> Option<u32> {
        let id = *self.structs.get(structure.as_bytes())?;
        Some(self.head(id)?.size_or_type)
    }

    /// Offset in bytes of a member of `structure`, given as a dotted path of names, such as `__sk_common.skc_family`.
    /// Anonymous structures and unions are searched too; a path can't go through a pointer. `None` for bit-fields.
    #[must_use]
    pub fn member_offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = *self.structs.get(structure.as_bytes())?;
        let mut bits = 0u32;
        let mut bit_field = false;
        for name in path.split('.') {
            let member = self.member(self.composite(id)?, name.as_bytes(), MAX_DEPTH)?;
            bits = bits.checked_add(member.bits)?;
            bit_field |= member.bit_field;
            id = member.type_id;
        }
        (!bit_field && bits.is_multiple_of(8)).then_some(bits / 8)
    }

    /// The structure or union behind typedefs, qualifiers and type tags.
    fn composite(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
            let head = self.head(id)?;
            match head.kind() {
                KIND_STRUCT | KIND_UNION => return Some(id),
                8..=11 | 18 => id = head.size_or_type,
                _ => return None,
            }
        }
        None
    }

    fn member(&self, id: u32, name: &[u8], depth: u32) -> Option<Member> {
        let depth = depth.checked_sub(1)?;
        let head = self.head(id)?;
        let first = self.type_at(id)?.checked_add(12)?;
        for index in 0..head.count() {
            let at = first.checked_add(index.checked_mul(12)?)?;
            let (name_at, type_id, offset) =
                (word(&self.bytes, at)?, word(&self.bytes, at + 4)?, word(&self.bytes, at + 8)?);
            let (bits, bit_field) =
                if head.kind_flag() { (offset & 0x00ff_ffff, offset >> 24 != 0) } else { (offset, false) };
            if name_at == 0 {
                let Some(inner) = self.composite(type_id) else { continue };
                if let Some(found) = self.member(inner, name, depth) {
                    return Some(Member { bits: found.bits.checked_add(bits)?, ..found });
                }
            } else if self.name(name_at)? == name {
                return Some(Member { type_id, bits, bit_field });
            }
        }
        None
    }

    fn type_at(&self, id: u32) -> Option<usize> {
        self.types.get((id as usize).checked_sub(1)?).copied()
    }

    fn head(&self, id: u32) -> Option<Head> {
        self.head_at(self.type_at(id)?)
    }

    fn head_at(&self, at: usize) -> Option<Head> {
        Some(Head {
            name: word(&self.bytes, at)?,
            info: word(&self.bytes, at.checked_add(4)?)?,
            size_or_type: word(&self.bytes, at.checked_add(8)?)?,
        })
    }

    fn name(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.bytes.get(self.strings.clone())?.get(offset as usize..)?;
        rest.get(..memchr::memchr(0, rest)?)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

/// The part of the blob whose offset (from the header's end) and length are stored at `at` in the header.
fn part(bytes: &[u8], header: usize, at: usize) -> Option<std::ops::Range<usize>> {
    let start = header.checked_add(word(bytes, at)? as usize)?;
    let end = start.checked_add(word(bytes, at + 4)? as usize)?;
    (end <= bytes.len()).then_some(start..end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use super::*;

    /// Builds a blob: types as words, names as a string table.
    struct Blob {
        types: Vec<u32>,
        strings: Vec<u8>,
    }

    impl Blob {
        fn new() -> Blob {
            Blob { types: Vec::new(), strings: vec![0] }
        }

        fn name(&mut self, name: &str) -> u32 {
            if name.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend_from_slice(name.as_bytes());
            self.strings.push(0);
            at
        }

        fn push(&mut self, name: &str, kind: u32, flag: bool, count: u32, size_or_type: u32, rest: &[u32]) {
            let name = self.name(name);
            self.types.extend([name, count | kind << 24 | u32::from(flag) << 31, size_or_type]);
            self.types.extend(rest);
        }

        fn composite(&mut self, name: &str, kind: u32, flag: bool, size: u32, members: &[(&str, u32, u32)]) {
            let mut rest = Vec::new();
            for &(member, type_id, offset) in members {
                rest.extend([self.name(member), type_id, offset]);
            }
            self.push(name, kind, flag, members.len() as u32, size, &rest);
        }

        fn bytes(&self) -> Vec<u8> {
            let mut out = vec![0x9f, 0xeb, 1, 0];
            let types = self.types.len() as u32 * 4;
            for word in [24, 0, types, types, self.strings.len() as u32] {
                out.extend_from_slice(&u32::to_le_bytes(word));
            }
            for word in &self.types {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&self.strings);
            out
        }
    }

    /// One type of every kind, and structures that nest.
    fn sample() -> Blob {
        let mut blob = Blob::new();
        blob.push("int", 1, false, 0, 4, &[32]); // 1
        blob.push("", 2, false, 0, 1, &[]); // 2 ptr
        blob.push("", 3, false, 0, 0, &[1, 1, 4]); // 3 array
        blob.composite("", 5, false, 8, &[("left", 1, 0), ("right", 1, 32)]); // 4 anonymous union
        blob.composite("inner", 4, false, 16, &[("first", 1, 0), ("", 4, 64)]); // 5
        blob.push("inner_t", 8, false, 0, 5, &[]); // 6 typedef
        blob.push("", 10, false, 0, 6, &[]); // 7 const
        blob.composite("outer", 4, true, 40, &[("flag", 1, 1 << 24 | 3), ("nested", 7, 64), ("link", 2, 256)]); // 8
        blob.push("e", 6, false, 1, 4, &[0, 1]);
        blob.push("fwd", 7, false, 0, 0, &[]);
        blob.push("", 9, false, 0, 1, &[]);
        blob.push("", 11, false, 0, 1, &[]);
        blob.push("f", 12, false, 0, 14, &[]);
        blob.push("", 13, false, 2, 1, &[0, 1, 0, 2]);
        blob.push("v", 14, false, 0, 1, &[1]);
        blob.push(".data", 15, false, 1, 4, &[15, 0, 4]);
        blob.push("float", 16, false, 0, 4, &[]);
        blob.push("tag", 17, false, 0, 5, &[0]);
        blob.push("user", 18, false, 0, 5, &[]); // 19 type_tag
        blob.push("e64", 19, false, 1, 8, &[0, 1, 0]);
        blob.composite("last", 4, false, 24, &[("tagged", 19, 64)]); // 21
        blob
    }

    #[test]
    fn members_are_found_through_names_aliases_and_anonymous_members() {
        let btf = Btf::parse(sample().bytes()).unwrap();
        assert_eq!(btf.member_offset("inner", "first"), Some(0));
        assert_eq!(btf.member_offset("inner", "right"), Some(12));
        assert_eq!(btf.member_offset("outer", "nested.right"), Some(20));
        assert_eq!(btf.member_offset("outer", "link"), Some(32));
        assert_eq!(btf.member_offset("last", "tagged.left"), Some(16));
        assert_eq!((btf.struct_size("outer"), btf.struct_size("inner")), (Some(40), Some(16)));
    }

    #[test]
    fn what_is_not_there_is_none() {
        let btf = Btf::parse(sample().bytes()).unwrap();
        assert_eq!(btf.member_offset("outer", "flag"), None, "a bit-field has no byte offset");
        assert_eq!(btf.member_offset("outer", "link.first"), None, "a pointer ends the path");
        assert_eq!(btf.member_offset("outer", "nested.none"), None);
        assert_eq!(btf.member_offset("fwd", "x"), None, "a declaration has no members");
        assert_eq!(btf.member_offset("nobody", "x"), None);
        assert_eq!(btf.member_offset("outer", ""), None);
    }

    #[test]
    fn structures_that_contain_themselves_end() {
        let mut blob = Blob::new();
        blob.composite("loop", 4, false, 8, &[("", 1, 0)]);
        blob.push("again", 8, false, 0, 2, &[]);
        blob.composite("alias", 4, false, 8, &[("x", 2, 0)]);
        let btf = Btf::parse(blob.bytes()).unwrap();
        assert_eq!(btf.member_offset("loop", "x"), None);
        assert_eq!(btf.member_offset("alias", "x.y"), None);
    }

    #[test]
    fn damage_is_refused() {
        assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::NotBtf)));
        assert!(matches!(Btf::parse(vec![0xeb, 0x9f, 1, 0]), Err(BtfError::NotBtf)));
        let whole = sample().bytes();
        for len in 4..whole.len() {
            assert!(Btf::parse(whole[..len].to_vec()).is_err(), "cut at {len}");
        }
        let mut unknown = Blob::new();
        unknown.push("x", 20, false, 0, 0, &[]);
        assert!(matches!(Btf::parse(unknown.bytes()), Err(BtfError::Damaged(_))));
    }

    #[test]
    fn flipped_bits_never_panic() {
        let whole = sample().bytes();
        for at in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = (btf.member_offset("outer", "nested.right"), btf.struct_size("outer"));
            }
        }
    }

    #[test]
    fn a_missing_member_is_named() {
        let error = offsets(&Btf::parse(sample().bytes()).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "the kernel's type information has no task_struct.files");
    }

    #[test]
    fn the_running_kernel_has_all_that_is_needed() {
        let Ok(btf) = Btf::of_kernel() else {
            println!("skipped: no {VMLINUX} here");
            return;
        };
        let found = offsets(&btf).unwrap();
        assert_eq!((found.unix_address_name - found.unix_address_len) % 4, 0);
        assert!(btf.struct_size("task_struct").unwrap() > found.task_comm);
        assert!(found.sock_skc_family < btf.struct_size("sock").unwrap());
        assert_ne!(found.file_private_data, ABSENT);
        // struct sock_common opens with skc_daddr and skc_rcv_saddr since 3.6.
        assert_eq!((found.sock_skc_daddr, found.sock_skc_rcv_saddr), (0, 4));
    }
}
