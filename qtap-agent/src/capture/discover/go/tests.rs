//! Programs built with the installed Go in as many ways as possible, and damaged copies of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::capture::discover::engine::{Engine, Engines};
use crate::capture::discover::plan;
use crate::capture::sites::ExitSites;

const PROGRAM: &str = r#"package main

import (
	"crypto/tls"
	"net"
	"os"
)

func main() {
	listener, err := tls.Listen("tcp", os.Args[1], &tls.Config{})
	if err != nil {
		panic(err)
	}
	accepted, _ := listener.Accept()
	made := tls.Client(accepted, &tls.Config{})
	talk(made)
}

func talk(conn net.Conn) {
	buffer := make([]byte, 9)
	conn.Read(buffer)
	conn.Write(buffer)
	conn.Close()
}
"#;

/// A program installed with the test packages; Go itself is one of them.
fn installed(name: &str) -> Option<PathBuf> {
    let target = std::env::current_exe().ok()?;
    let target = target.ancestors().find(|dir| dir.join("qtap-tools").is_dir())?;
    let program = target.join("qtap-tools/python/bin").join(name);
    program.exists().then_some(program)
}

/// Builds the program; prints why and returns none when that fails.
fn build(go: &Path, dir: &Path, name: &str, cgo: &str, flags: &[&str]) -> Option<PathBuf> {
    let (source, out) = (dir.join("main.go"), dir.join(name));
    std::fs::write(&source, PROGRAM).unwrap();
    let cache = go.parent()?.parent()?.parent()?.join("go");
    let mut command = Command::new(go);
    command.env("GOCACHE", cache).env("CGO_ENABLED", cgo).env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod");
    let built = command.args(["build", "-o"]).arg(&out).args(flags).arg(&source).output().unwrap();
    if !built.status.success() {
        println!("not built: {name}: {}", String::from_utf8_lossy(&built.stderr));
    }
    built.status.success().then_some(out)
}

/// The hooks of a file: each call, and where its function begins.
fn starts(path: &Path) -> Vec<(Call, u64)> {
    let plan = plan::plan(path).unwrap();
    assert_eq!((plan.family, plan.library.as_str()), (Family::GoTls, "crypto/tls"));
    plan.hooks.iter().map(|hook| (hook.call, hook.symbol.vaddr)).collect()
}

#[test]
fn every_way_of_building_is_found_where_its_symbols_say() {
    let Some(go) = installed("go") else { return println!("skipped: no Go among the test packages") };
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&str, &str, &[&str]); 5] = [
        ("static", "0", &[]),
        ("pie", "0", &["-buildmode=pie"]),
        ("cgo", "1", &["-ldflags=-linkmode=external"]),
        ("cgo-pie", "1", &["-buildmode=pie", "-ldflags=-linkmode=external"]),
        ("unoptimised", "0", &["-gcflags=crypto/tls=-N -l"]),
    ];
    let mut seen = 0;
    for (name, cgo, flags) in cases {
        let stripped: Vec<String> = match flags.iter().find_map(|flag| flag.strip_prefix("-ldflags=")) {
            Some(linking) => {
                let others = flags.iter().filter(|flag| !flag.starts_with("-ldflags=")).map(ToString::to_string);
                others.chain([format!("-ldflags={linking} -s -w")]).collect()
            }
            None => flags.iter().map(ToString::to_string).chain(["-ldflags=-s -w".to_owned()]).collect(),
        };
        let stripped: Vec<&str> = stripped.iter().map(String::as_str).collect();
        let Some(whole) = build(&go, dir.path(), name, cgo, flags) else { continue };
        let Some(bare) = build(&go, dir.path(), &format!("{name}-stripped"), cgo, &stripped) else { continue };
        let (with, without) = (starts(&whole), starts(&bare));
        println!("{name}: {with:x?}\n{name}, stripped: {without:x?}");
        assert_eq!(with.len(), 5, "{name}");
        assert_eq!(without.len(), 5, "{name}, stripped");
        // The table of the unstripped program agrees with its symbols.
        let elf = Elf::open(&whole).unwrap();
        let by_table: Vec<(Call, u64)> =
            hooks(&elf, &[]).unwrap().iter().map(|hook| (hook.call, hook.symbol.vaddr)).collect();
        assert_eq!(by_table, with, "{name}");
        let plan = plan::plan(&bare).unwrap();
        assert!(plan.version.is_some_and(|version| version.starts_with("go1.")), "{name}");
        for hook in plan.hooks {
            let ends = matches!(&hook.sites.exit, Some(ExitSites::Rets(rets)) if !rets.is_empty());
            assert_eq!(ends, hook.call != Call::GoClose, "{name}: {}", hook.sites);
            assert!(hook.sites.entry.emulated(), "{name}: {}", hook.sites);
        }
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} ways could be built");
}

#[test]
fn a_program_as_it_comes_from_its_package_is_found() {
    let Some(caddy) = installed("caddy") else { return println!("skipped: no Caddy among the test packages") };
    let found: Vec<Call> = starts(&caddy).into_iter().map(|(call, _)| call).collect();
    let all = [Call::GoRead, Call::GoWrite, Call::GoClose, Call::GoClientHandshake, Call::GoServerHandshake];
    assert_eq!(found, all);
    let engine = Engines::default().of_file(&caddy, &caddy).unwrap();
    assert_eq!(engine.engine, Engine::Probed(Family::GoTls));
}

#[test]
fn damaged_copies_end_in_a_reason() {
    let Some(go) = installed("go") else { return println!("skipped: no Go among the test packages") };
    let dir = tempfile::tempdir().unwrap();
    let Some(bare) = build(&go, dir.path(), "bare", "0", &["-ldflags=-s -w"]) else { return };
    let whole = std::fs::read(&bare).unwrap();
    let elf = Elf::open(&bare).unwrap();
    let table = elf.placed().into_iter().find(|section| section.name.ends_with("gopclntab")).unwrap();
    let copy = dir.path().join("damaged");
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..60 {
        let mut bytes = whole.clone();
        match round % 3 {
            0 => bytes.truncate(random.usize(64..whole.len())),
            1 => {
                for _ in 0..8 {
                    let at = table.offset as usize + random.usize(8..72);
                    bytes[at] = random.u8(..);
                }
            }
            _ => {
                for _ in 0..4000 {
                    let at = random.usize(table.offset as usize..(table.offset + table.size) as usize);
                    bytes[at] = random.u8(..);
                }
            }
        }
        std::fs::write(&copy, &bytes).unwrap();
        // Whatever the damage, every hook lies in the file's code and is proven there.
        if let Ok(plan) = plan::plan(&copy) {
            assert!(plan.hooks.iter().all(|hook| hook.sites.entry.emulated()), "{round}");
        }
    }
    // Without the table, or for another machine: the names are still in the file, and the reason is reported.
    let refused = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        std::fs::write(&copy, &bytes).unwrap();
        plan::plan(&copy)
    };
    let without_table = refused(table.offset as usize, 0);
    assert!(matches!(without_table, Err(plan::PlanError::Go(NotGo::Unproven))), "{without_table:?}");
    let elsewhere = refused(18, 183);
    assert!(matches!(elsewhere, Err(plan::PlanError::Go(NotGo::Machine))), "{elsewhere:?}");
    let said = Engines::default().of_file(&copy, &copy).unwrap();
    assert_eq!(said.engine.unseen(), Some("Go is probed on x86-64 only"));
}

#[test]
fn the_version_of_a_go_program_is_read_from_its_head() {
    let mut head = b"\xff Go buildinf:\x08\x02".to_vec();
    head.resize(32, 0);
    head.extend(b"\x06go1.27\x05other");
    assert_eq!(version_in(&head).as_deref(), Some("go1.27"));
    head[15] = 0;
    assert_eq!(version_in(&head), None, "before Go 1.18 pointers stood there");
    for len in 0..head.len() {
        let _ = version_in(&head[..len]);
    }
    head[15] = 2;
    head[32] = 255;
    assert_eq!(version_in(&head), None);
}

/// The layout of Go 1.17 and earlier, patched into a current program.
#[test]
fn the_version_of_before_is_found_by_its_pointer() {
    let Some(caddy) = installed("caddy") else { return println!("skipped: no Caddy among the test packages") };
    let placed = Elf::open(&caddy).unwrap().placed();
    let info = placed.iter().find(|section| section.name == ".go.buildinfo").unwrap();
    let mut bytes = std::fs::read(&caddy).unwrap();
    let head = &mut bytes[usize::try_from(info.offset).unwrap()..][..64];
    head[15] = 0;
    head[16..24].copy_from_slice(&(info.vaddr + 32).to_le_bytes());
    head[32..40].copy_from_slice(&(info.vaddr + 48).to_le_bytes());
    head[40..48].copy_from_slice(&8_u64.to_le_bytes());
    head[48..56].copy_from_slice(b"go1.17.3");
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("caddy");
    std::fs::write(&copy, &bytes).unwrap();
    assert_eq!(version(&Elf::open(&copy).unwrap()).as_deref(), Some("go1.17.3"));
    for (at, nowhere) in [(16, u64::MAX), (16, 0), (32, u64::MAX - 7), (40, 0)] {
        let mut bytes = bytes.clone();
        let at = usize::try_from(info.offset).unwrap() + at;
        bytes[at..at + 8].copy_from_slice(&nowhere.to_le_bytes());
        std::fs::write(&copy, &bytes).unwrap();
        assert_eq!(version(&Elf::open(&copy).unwrap()), None, "{at}: {nowhere}");
    }
}
