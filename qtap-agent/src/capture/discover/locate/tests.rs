//! Tests against programs that have symbols; these serve for comparison only.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::capture::sites::Body;

/// The same file without the tables of function boundaries.
fn without_tables(path: &Path) -> Elf {
    let folder = tempfile::tempdir().unwrap();
    let (mut bytes, copy) = (std::fs::read(path).unwrap(), folder.path().join("copy"));
    for name in [&b".eh_frame_hdr\0"[..], b".eh_frame\0"] {
        let names: Vec<usize> = memchr::memmem::find_iter(&bytes, name).collect();
        names.into_iter().for_each(|at| bytes[at + 1] = b'x');
    }
    std::fs::write(&copy, bytes).unwrap();
    let elf = Elf::open(&copy).unwrap();
    assert!(elf.unwinding().is_none());
    elf
}

/// The same file with a table of only three functions, as if only a library that was built differently had brought one.
fn with_few_described(path: &Path) -> Elf {
    let folder = tempfile::tempdir().unwrap();
    let (mut bytes, copy) = (std::fs::read(path).unwrap(), folder.path().join("copy"));
    let sections = Elf::open(path).unwrap().placed();
    let table = sections.iter().find(|section| section.name == ".eh_frame_hdr").unwrap();
    let count = usize::try_from(table.offset).unwrap() + 8;
    bytes[count..count + 4].copy_from_slice(&3u32.to_le_bytes());
    std::fs::write(&copy, bytes).unwrap();
    let elf = Elf::open(&copy).unwrap();
    assert_eq!(elf.unwinding().unwrap().count(), 3);
    elf
}

/// Compares the functions that were found with the symbols, as far as there are any: internal functions have no name in a table of exports.
fn compare(path: &Path) {
    let elf = Elf::open(path).unwrap();
    let located = locate(&elf).unwrap_or_else(|| panic!("{} has the library", path.display()));
    println!("{}: {:?}", path.display(), located.version);
    for (call, symbol) in &located.functions {
        println!("  {} at {:#x}, {} bytes", call.symbol(), symbol.vaddr, symbol.size);
        let names: &[&str] = match call {
            Call::ReadEx => &["SSL_read_ex", "ssl_read_internal"],
            Call::WriteEx => &["SSL_write_ex", "ssl_write_internal"],
            Call::WriteEx2 => &["SSL_write_ex2", "ssl_write_internal"],
            Call::BioWrite => &["BIO_write", "BIO_write_ex", "bio_write_intern"],
            _ => &[call.symbol()],
        };
        // A function that is not exported may have no name.
        let known = elf.functions(names).unwrap();
        let behind = names.len() > 1 && known.len() < names.len();
        // The compiler may split the greater part off a function; that part has the same arguments (`SSL_free.part.0`).
        let part = |of: &Symbol| {
            Body::of(&elf.code(of).unwrap(), of.vaddr).is_some_and(|body| body.goes_to.contains(&symbol.vaddr))
        };
        let behind = behind || (*call == Call::Free && known.iter().any(part));
        let known_at_all = elf.functions(&["SSL_new"]).unwrap().len() == 1;
        assert!(
            !known_at_all || behind || known.iter().any(|known| known.vaddr == symbol.vaddr),
            "{call:?} at {:#x}",
            symbol.vaddr
        );
    }
    let all: BTreeSet<u64> = located.functions.iter().map(|(_, symbol)| symbol.vaddr).collect();
    assert_eq!(all.len(), located.functions.len(), "each is one function");
    for wanted in [Call::DoHandshake, Call::Free, Call::BioWrite] {
        assert!(located.functions.iter().any(|(call, _)| *call == wanted), "{wanted:?}");
    }
    let without = locate(&without_tables(path)).unwrap_or_else(|| panic!("{} has it without tables", path.display()));
    assert_eq!(without.version, located.version);
    assert_eq!(without.functions.len(), located.functions.len(), "without tables the same is found");
    assert_eq!(locate(&with_few_described(path)).unwrap(), without, "nor is a table believed that tells of a few");
    for ((call, symbol), (of_tables, told)) in without.functions.iter().zip(&located.functions) {
        assert_eq!((call, symbol.vaddr, symbol.file_offset), (of_tables, told.vaddr, told.file_offset));
        println!("  {} without tables: {} of {} bytes", call.symbol(), symbol.size, told.size);
        assert!(symbol.size == told.size || symbol.size == 0, "{symbol:?} of {}", told.size);
    }
}

/// A program that contains OpenSSL; none when there is no compiler, or no static library to link.
fn program(folder: &Path) -> Option<PathBuf> {
    let (source, program) = (folder.join("program.c"), folder.join("program"));
    let code = "#include <openssl/ssl.h>\nint main(void){SSL*s=SSL_new(SSL_CTX_new(TLS_method()));char b[1];SSL_set_fd(s,0);\
        SSL_connect(s);SSL_write(s,b,1);SSL_read(s,b,1);SSL_shutdown(s);SSL_free(s);return 0;}";
    std::fs::write(&source, code).unwrap();
    let arguments = ["-O2", "-w", "-o"].map(PathBuf::from).into_iter().chain([program.clone(), source]);
    let libraries = ["-l:libssl.a", "-l:libcrypto.a", "-ldl", "-pthread"];
    let made = Command::new("cc").args(arguments).args(libraries).output().ok()?;
    made.status.success().then_some(program)
}

#[test]
fn openssl_is_found_where_its_symbols_say() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = program(folder.path()) else {
        return println!("skipped: no compiler, or no libssl.a");
    };
    compare(&program);
    let whole = locate(&Elf::open(&program).unwrap()).unwrap();
    assert!(Command::new("strip").arg(&program).status().unwrap().success());
    let stripped = Elf::open(&program).unwrap();
    assert!(stripped.functions(&["SSL_read"]).unwrap().is_empty());
    assert_eq!(locate(&stripped).unwrap(), whole, "without symbols the same is found");
}

/// Any other programs, for manual runs: `QTAP_TEST_TLS_FILES=FILE:FILE…`, e.g. Node's, which export their symbols.
#[test]
fn other_programs_are_found_where_their_symbols_say() {
    let files = std::env::var("QTAP_TEST_TLS_FILES").unwrap_or_default();
    files.split(':').filter(|path| !path.is_empty()).for_each(|path| compare(Path::new(path)));
}

#[test]
fn a_file_without_it_has_nothing() {
    assert_eq!(locate(&Elf::open(&std::env::current_exe().unwrap()).unwrap()), None);
}
