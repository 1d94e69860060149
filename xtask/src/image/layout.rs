//! File systems of images: a program with the shared libraries that it maps, copied from this machine, or, for another processor, from the
//! cross compiler. In: the program. Out: a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::processor::Processor;
use crate::{cross, shell};

/// Copies `program` to the path `inside` below `root`, with its libraries at the paths where it looks for them.
pub(super) fn program(root: &Path, program: &Path, inside: &str) -> Result<()> {
    place(program, &root.join(inside))?;
    for library in libraries(program)? {
        place(&library, &root.join(library.strip_prefix("/").unwrap_or(&library)))?;
    }
    Ok(())
}

/// The same for another processor's program, which can't be run to list its libraries: readelf lists those that it and they need.
pub(super) fn foreign_program(root: &Path, program: &Path, inside: &str, processor: &Processor) -> Result<()> {
    place(program, &root.join(inside))?;
    let read = |file: &Path| shell::capture(cross::tool(processor, "readelf").args(["-dlW"]).arg(file));
    let said = read(program)?;
    let folder = root.join(format!("lib/{}-linux-gnu", processor.rust));
    let interpreter = said.lines().find_map(interpreter_of);
    let mut known: Vec<String> = Vec::new();
    if let Some(path) = interpreter {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        place(&cross::library(processor, &name)?, &root.join(path.trim_start_matches('/')))?;
        known.push(name);
    }
    let mut waiting = needed(&said);
    while let Some(name) = waiting.pop() {
        if !known.contains(&name) {
            let library = cross::library(processor, &name)?;
            place(&library, &folder.join(&name))?;
            waiting.extend(needed(&read(&library)?));
            known.push(name);
        }
    }
    Ok(())
}

/// `      [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]`
fn interpreter_of(line: &str) -> Option<&str> {
    line.trim().strip_prefix("[Requesting program interpreter: ")?.strip_suffix(']')
}

/// ` 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]`
fn needed(said: &str) -> Vec<String> {
    let names = said.lines().filter(|line| line.contains("(NEEDED)")).filter_map(|line| line.split_once('['));
    names.filter_map(|(_, rest)| rest.split_once(']')).map(|(name, _)| name.to_owned()).collect()
}

/// Copies the file that a path resolves to.
pub(super) fn place(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("a file has a folder")?)?;
    fs::copy(from, to).map(|_| ()).with_context(|| format!("{} to {}", from.display(), to.display()))
}

/// The files that the dynamic linker maps for the program, including the linker itself.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let said = shell::capture(Command::new("ldd").arg(program))?;
    if said.contains("not found") {
        bail!("{} misses libraries:\n{said}", program.display());
    }
    Ok(said.lines().filter_map(library_of).collect())
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or `/lib64/ld-linux-x86-64.so.2 (0x…)`; the kernel's vDSO has no file.
fn library_of(line: &str) -> Option<PathBuf> {
    let line = line.split(" (0x").next()?.trim();
    let path = line.split(" => ").last()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_paths() {
        let of = |line: &str| library_of(line).map(|path| path.display().to_string());
        let libc = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f757fd3e000)";
        assert_eq!(of(libc).as_deref(), Some("/lib/x86_64-linux-gnu/libc.so.6"));
        let linker = "\t/lib64/ld-linux-x86-64.so.2 (0x00007f7582a8d000)";
        assert_eq!(of(linker).as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        let on_arm64 = "\t/lib/ld-linux-aarch64.so.1 (0x0000ffffa5d8d000)";
        assert_eq!(of(on_arm64).as_deref(), Some("/lib/ld-linux-aarch64.so.1"));
        assert_eq!(of("\tlinux-vdso.so.1 (0x00007f7582a8b000)"), None);
        assert_eq!(of("\tstatically linked"), None);
    }

    #[test]
    fn what_a_program_of_another_processor_names_is_read() {
        let said = "  INTERP         0x000270 0x0000000000000270 0x0000000000000270 0x00001b 0x00001b R   0x1
      [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]
 0x0000000000000001 (NEEDED)             Shared library: [libgcc_s.so.1]
 0x0000000000000001 (NEEDED)             Shared library: [ld-linux-aarch64.so.1]
 0x000000000000000e (SONAME)             Library soname: [libm.so.6]
";
        assert_eq!(said.lines().find_map(interpreter_of), Some("/lib/ld-linux-aarch64.so.1"));
        assert_eq!(needed(said), ["libgcc_s.so.1", "ld-linux-aarch64.so.1"]);
    }
}
