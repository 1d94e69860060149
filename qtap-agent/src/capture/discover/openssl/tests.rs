//! The chooser on the libraries that this host has, held to its word by a walker that shares no code with it: it decodes one
//! instruction at a time along single paths through the function, as a processor would, and counts what it passes.

use iced_x86::{Decoder, DecoderOptions, FlowControl, InstructionInfoFactory, OpAccess, Register};

use super::*;
use crate::capture::sites::{ArgLocation, ExitSites, Machine, Reg};

#[test]
fn names_of_libraries() {
    for name in ["libssl.so.3", "libssl.so", "libssl.so.1.1", "libssl-8bd944e8.so.3", "/a/b/libssl.so.3"] {
        assert!(is_library_name(Path::new(name)), "{name}");
    }
    for name in ["libssl3.so", "libssl.a", "libcrypto.so.3", "libssl.sox", "ssl", "libssl", "libssl_conf.txt"] {
        assert!(!is_library_name(Path::new(name)), "{name}");
    }
}

#[test]
fn versions_are_found_in_text() {
    assert_eq!(version_in(b"x\0OpenSSL library\0OpenSSL 3.0.19 27 Jan 2026\0").as_deref(), Some("OpenSSL 3.0.19"));
    assert_eq!(version_in(b"OpenSSL 1.1.1w  11 Sep 2023").as_deref(), Some("OpenSSL 1.1.1w"));
    assert_eq!(version_in(b"\0LibreSSL 3.8.2\0").as_deref(), Some("LibreSSL 3.8.2"));
    assert_eq!(version_in(b"../BoringSSL/ssl").as_deref(), Some("BoringSSL"));
    assert_eq!(version_in(b"OpenSSL "), None);
    assert_eq!(version_in(b"needs OpenSSL 3.0 or OpenSSL 3.0.13").as_deref(), Some("OpenSSL 3.0.13"));
    assert_eq!(version_of_soname("libssl-8bd944e8.so.3").as_deref(), Some("OpenSSL 3"));
    assert_eq!(version_of_soname("libssl.so.1.1").as_deref(), Some("OpenSSL 1.1"));
    assert_eq!(version_of_soname("libssl-dbe77c63.so.1.1.1g").as_deref(), Some("OpenSSL 1.1.1g"));
    assert_eq!(version_of_soname("libssl.so.53"), None);
    assert_eq!(version_of_soname("envoy"), None);
}

#[test]
fn the_loaders_cache_is_read_by_its_strings() {
    let cache = b"glibc-ld.so.cache1.1\x01\0\0\0libssl.so.3\0/lib/x86_64-linux-gnu/libssl.so.3\0/lib/libz.so.1\0";
    assert_eq!(paths_in_cache(cache), [PathBuf::from("/lib/x86_64-linux-gnu/libssl.so.3")]);
}

#[test]
fn a_library_is_known_by_one_path_however_many_names_it_has() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("libssl.so.9"), b"x").unwrap();
    std::os::unix::fs::symlink("libssl.so.9", dir.path().join("libssl.so")).unwrap();
    let known = known_libraries(&[dir.path().to_owned()]);
    let here: Vec<_> = known.iter().filter(|path| path.ends_with("libssl.so.9")).collect();
    assert_eq!(here.len(), 1, "{known:?}");
}

#[test]
fn a_file_without_the_functions_is_no_such_library() {
    assert!(matches!(plan(Path::new("/bin/true")), Err(PlanError::NotOpenSsl)));
    assert!(matches!(plan(Path::new("/etc/passwd")), Err(PlanError::Elf(ElfError::NotElf))));
}

/// Libraries of this host, Node (which carries its own), and what `QTAP_TEST_TLS_FILES` names (separated by colons).
fn files() -> Vec<PathBuf> {
    let mut files = known_libraries(&[]);
    files.extend(["/usr/bin/node", "/usr/local/bin/node"].map(PathBuf::from));
    files.extend(std::env::var("QTAP_TEST_TLS_FILES").iter().flat_map(|list| list.split(':')).map(PathBuf::from));
    files
}

#[test]
fn sites_in_the_libraries_of_this_host_hold_what_was_promised() {
    let mut proven = 0;
    for path in files() {
        let Ok(elf) = Elf::open(&path) else { continue };
        let Ok(plan) = plan_of(&elf, &path) else { continue };
        println!("{}: {}", path.display(), plan.summary());
        if elf.machine() != Machine::X86_64 {
            continue;
        }
        for hook in &plan.hooks {
            let code = elf.code(&hook.symbol).unwrap();
            check(&code, hook);
            proven += 1;
        }
    }
    if proven == 0 {
        println!("skipped: no TLS library of the OpenSSL family for x86-64 here");
    }
}

/// What a walk down one path saw.
#[derive(Default)]
struct Walk {
    entries: u32,
    exits: u32,
    /// Offsets behind an exit site at which rax or foreign memory was written.
    spoilt: Option<u64>,
    returned: bool,
}

fn check(code: &[u8], hook: &Hook) {
    let exits = match &hook.sites.exit {
        Some(ExitSites::Emulated(offsets)) => offsets.as_slice(),
        Some(ExitSites::Return { .. }) | None => &[],
    };
    check_entry(code, hook);
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ hook.symbol.vaddr;
    let mut returned = 0;
    for _ in 0..2000 {
        let walk = walk(code, hook.sites.entry.offset, exits, &mut state);
        if !walk.returned {
            continue;
        }
        returned += 1;
        let name = hook.call.symbol();
        assert_eq!(walk.entries, 1, "{name}: entries on one path");
        if !exits.is_empty() {
            assert_eq!(walk.exits, 1, "{name}: exits on one path");
            assert_eq!(walk.spoilt, None, "{name}: written behind the exit site");
        }
    }
    assert!(exits.is_empty() || returned > 0, "{}: no walk returned", hook.call.symbol());
}

/// Walks one path: branches are taken by chance, calls are stepped over, a jump out of the function ends it.
fn walk(code: &[u8], entry: u64, exits: &[u64], state: &mut u64) -> Walk {
    let mut walk = Walk::default();
    let mut factory = InstructionInfoFactory::new();
    let mut at = 0u64;
    for _ in 0..4000 {
        let Some(bytes) = code.get(at as usize..).filter(|rest| !rest.is_empty()) else { return walk };
        let instruction = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE).decode();
        assert!(!instruction.is_invalid());
        walk.entries += u32::from(at == entry);
        walk.exits += u32::from(exits.contains(&at));
        let is_exit = exits.contains(&at);
        if walk.exits > 0 && !is_exit {
            let info = factory.info(&instruction);
            let writes = |access| {
                matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
            };
            let rax = info
                .used_registers()
                .iter()
                .any(|used| writes(used.access()) && used.register().full_register() == Register::RAX);
            let memory = info.used_memory().iter().any(|used| writes(used.access()) && used.base() != Register::RSP);
            if rax || memory {
                walk.spoilt.get_or_insert(at);
            }
        }
        at = match instruction.flow_control() {
            FlowControl::Return => {
                walk.returned = true;
                return walk;
            }
            FlowControl::UnconditionalBranch => instruction.near_branch_target(),
            FlowControl::ConditionalBranch => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                if *state & 0x100 == 0 { instruction.near_branch_target() } else { instruction.next_ip() }
            }
            FlowControl::Next => instruction.next_ip(),
            FlowControl::Call | FlowControl::IndirectCall => {
                if walk.exits > 0 {
                    walk.spoilt.get_or_insert(at);
                }
                instruction.next_ip()
            }
            FlowControl::IndirectBranch
            | FlowControl::Interrupt
            | FlowControl::XbeginXabortXend
            | FlowControl::Exception => return walk,
        };
        if at >= code.len() as u64 {
            return walk;
        }
    }
    walk
}

/// Interprets the entry block on made-up register values: at the site each argument must hold what it held at the start, and
/// the stack pointer must be as far away as was said.
fn check_entry(code: &[u8], hook: &Hook) {
    let entry = &hook.sites.entry;
    let mut values: std::collections::HashMap<Register, u64> = std::collections::HashMap::new();
    let initial = |reg: Register| 0x1111_0000_0000_0000u64 + reg as u64 * 0x1_0000_0101;
    let mut at = 0;
    while at < entry.offset {
        let instruction = Decoder::with_ip(64, &code[at as usize..], at, DecoderOptions::NONE).decode();
        assert_eq!(instruction.flow_control(), FlowControl::Next, "the block is straight");
        let mut factory = InstructionInfoFactory::new();
        let read = |values: &std::collections::HashMap<Register, u64>, reg: Register| {
            values.get(&reg.full_register()).copied().unwrap_or(initial(reg.full_register()))
        };
        let text = (instruction.mnemonic(), instruction.op0_register(), instruction.op1_register());
        let moved = match text {
            (iced_x86::Mnemonic::Mov, to, from) if to.is_gpr64() && from.is_gpr64() => Some(read(&values, from)),
            (iced_x86::Mnemonic::Mov, to, from) if to.is_gpr32() && from.is_gpr32() => {
                Some(read(&values, from) & 0xffff_ffff)
            }
            (iced_x86::Mnemonic::Sub, Register::RSP, Register::None) => {
                Some(read(&values, Register::RSP).wrapping_sub(instruction.immediate(1)))
            }
            _ => None,
        };
        for used in factory.info(&instruction).used_registers() {
            if matches!(
                used.access(),
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            ) {
                values.insert(used.register().full_register(), 0xdead_0000 + at);
            }
        }
        if let Some(value) = moved {
            values.insert(text.1.full_register(), value);
        }
        at = instruction.next_ip();
    }
    assert_eq!(at, entry.offset, "the site is at the start of an instruction");
    let get = |reg: Register| values.get(&reg).copied().unwrap_or(initial(reg));
    assert_eq!(get(Register::RSP).wrapping_add_signed(entry.sp_delta), initial(Register::RSP));
    for (arg, location) in hook.call.wanted().args.iter().zip(&entry.args) {
        let own = [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8][usize::from(arg.index)];
        let place = match location {
            ArgLocation::Own => own,
            ArgLocation::Copy(reg) => iced(*reg),
        };
        let mask = if arg.width == Width::Low32 { 0xffff_ffff } else { u64::MAX };
        assert_eq!(get(place) & mask, initial(own) & mask, "{}: argument {}", hook.call.symbol(), arg.index);
    }
}

fn iced(reg: Reg) -> Register {
    match reg {
        Reg::Rax => Register::RAX,
        Reg::Rcx => Register::RCX,
        Reg::Rdx => Register::RDX,
        Reg::Rbx => Register::RBX,
        Reg::Rsp => Register::RSP,
        Reg::Rbp => Register::RBP,
        Reg::Rsi => Register::RSI,
        Reg::Rdi => Register::RDI,
        Reg::R8 => Register::R8,
        Reg::R9 => Register::R9,
        Reg::R10 => Register::R10,
        Reg::R11 => Register::R11,
        Reg::R12 => Register::R12,
        Reg::R13 => Register::R13,
        Reg::R14 => Register::R14,
        Reg::R15 => Register::R15,
    }
}
