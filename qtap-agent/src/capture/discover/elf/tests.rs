//! The test program itself serves as the well-formed file; hostile files are made here.

use std::io::Write;

use super::*;

fn opened(bytes: &[u8]) -> Result<Elf, ElfError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Elf::open(file.path())
}

#[test]
fn this_program_is_read() {
    let elf = Elf::open(&std::env::current_exe().unwrap()).unwrap();
    assert_ne!(elf.machine(), Machine::Other(0));
    let found = elf.functions(&["main", "no_such_function"]).unwrap();
    let [main] = found.as_slice() else { panic!("{found:?}") };
    assert!(main.size > 0 && main.vaddr > 0);
    let code = elf.code(main).unwrap();
    assert_eq!(code.len() as u64, main.size);
    assert_eq!(elf.file_offset(main.vaddr), Some(main.file_offset));
    assert!(elf.section(".text", 16).unwrap().is_some_and(|text| text.len() == 16));
    assert!(elf.section(".nothing", 16).unwrap().is_none());
    let metadata = std::fs::metadata("/proc/self/exe").unwrap();
    assert_eq!(elf.id(), FileId { dev: metadata.dev(), ino: metadata.ino() });
}

#[test]
fn the_file_is_reached_when_its_name_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("library.so");
    std::fs::copy("/proc/self/exe", &name).unwrap();
    let elf = Elf::open(&name).unwrap();
    std::fs::remove_file(&name).unwrap();
    assert_eq!(Elf::open(&elf.lasting_path()).unwrap().id(), elf.id());
}

#[test]
fn what_is_no_64_bit_little_endian_elf_is_refused() {
    let mut bytes = [0u8; 64];
    assert!(matches!(opened(b""), Err(ElfError::NotElf)));
    assert!(matches!(opened(b"#!/bin/sh\n"), Err(ElfError::NotElf)));
    assert!(matches!(opened(&bytes), Err(ElfError::NotElf)));
    bytes[..6].copy_from_slice(b"\x7fELF\x01\x01");
    assert!(matches!(opened(&bytes), Err(ElfError::Class32)));
    assert!(matches!(opened(&bytes[..52]), Err(ElfError::Class32)), "a 32-bit header is shorter");
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x02");
    assert!(matches!(opened(&bytes), Err(ElfError::BigEndian)));
}

#[test]
fn what_is_not_there_or_no_file_is_told() {
    assert!(matches!(Elf::open(Path::new("/nowhere/libssl.so.3 (deleted)")), Err(ElfError::Gone)));
    assert!(matches!(Elf::open(Path::new("/")), Err(ElfError::NotElf)));
    assert!(matches!(Elf::open(Path::new("/dev/zero")), Err(ElfError::NotElf)));
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("libssl.so.3");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(matches!(Elf::open(&fifo), Err(ElfError::NotElf)), "and nobody waits for a writer");
}

#[test]
fn headers_that_point_beyond_the_file_are_refused() {
    let mut bytes = [0u8; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[16] = 3;
    assert!(opened(&bytes).unwrap().functions(&["x"]).unwrap().is_empty(), "no tables at all");
    bytes[0x38] = 1; // e_phnum
    bytes[0x20..0x28].fill(0xff); // e_phoff
    assert!(matches!(opened(&bytes), Err(ElfError::Damaged(_))));
    bytes[0x38] = 0;
    bytes[0x28] = 64; // e_shoff
    bytes[0x3c] = 1; // e_shnum
    assert!(matches!(opened(&bytes), Err(ElfError::Damaged(_))));
}

#[test]
fn sizes_that_no_file_has_are_not_allocated() {
    // e_shnum 0, and a first section whose size says 2^60 sections.
    let mut bytes = [0u8; 128];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[0x28] = 64;
    bytes[64 + 0x20 + 7] = 0x10;
    assert!(matches!(opened(&bytes), Err(ElfError::TooLarge(_))));
}

#[test]
fn damaged_copies_of_a_program_never_panic() {
    let mut whole = std::fs::read("/bin/true").unwrap();
    let size = whole.len();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for round in 0..400 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Half of the damage goes to the headers at the start, half to the section headers near the end.
        let at = if round % 2 == 0 { state as usize % 1024 } else { size - 1 - state as usize % 2048 };
        let before = whole[at];
        whole[at] = (state >> 32) as u8;
        if let Ok(elf) = opened(&whole) {
            let _ = (elf.build_id(), elf.soname(), elf.section(".rodata", 4096));
            for symbol in elf.functions(&["main", "_init", "free"]).unwrap_or_default() {
                let _ = elf.code(&symbol);
            }
        }
        whole[at] = before;
    }
}

#[test]
fn a_build_id_is_found_behind_other_notes() {
    let mut notes = Vec::new();
    for word in [4u32, 5, 1] {
        notes.extend_from_slice(&word.to_le_bytes());
    }
    notes.extend_from_slice(b"GNU\0hello\0\0\0");
    for word in [4u32, 3, 3] {
        notes.extend_from_slice(&word.to_le_bytes());
    }
    notes.extend_from_slice(b"GNU\0\xab\xcd\x01\0");
    assert_eq!(gnu_build_id(&notes).as_deref(), Some("abcd01"));
    assert_eq!(gnu_build_id(&notes[..30]), None);
    let mut hostile = u32::MAX.to_le_bytes().repeat(3);
    hostile.extend_from_slice(b"GNU\0");
    assert_eq!(gnu_build_id(&hostile), None);
}
