//! Building for another processor: missing packages, settings for cargo, libraries. In: a processor. Out: names of packages, a command, files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::processor::Processor;
use crate::shell;

/// Packages that building for another processor needs and that are not installed: the linker, and the C library.
pub(crate) fn missing(processor: &Processor) -> Vec<String> {
    let debian = processor.debian;
    let linker = shell::which(processor.linker).is_none();
    let library = !Path::new(&format!("/usr/{}-linux-gnu/include/stdio.h", processor.rust)).exists();
    let compiler = linker.then(|| format!("gcc-{}-linux-gnu", processor.rust.replace('_', "-")));
    compiler.into_iter().chain(library.then(|| format!("libc6-dev-{debian}-cross"))).collect()
}

/// Adds cargo's settings for the target; the standard library is built from source where the compiler lacks it. Returns the output
/// folder, with one folder per profile. It is separate from the host's, much of which would be rebuilt for the different settings.
pub(crate) fn build_for(processor: &Processor, cargo: &mut Command) -> Result<PathBuf> {
    let Processor { target, linker, .. } = processor;
    let words = target.replace('-', "_");
    let home = shell::target_dir()?.join("kernels").join(processor.debian).join("build");
    cargo.args(["--target", target, "--target-dir"]).arg(&home);
    cargo.env(format!("CARGO_TARGET_{}_LINKER", words.to_uppercase()), linker).env(format!("CC_{words}"), linker);
    let libraries = shell::capture(Command::new("rustc").args(["--print", "target-libdir", "--target", target]))?;
    if !PathBuf::from(libraries.trim()).exists() {
        // Only a compiler that takes itself for an unstable one accepts `build-std`.
        cargo.args(["-Z", "build-std"]).env("RUSTC_BOOTSTRAP", "1");
    }
    Ok(home.join(target))
}

/// One of the binary tools that come with the cross compiler: `strip`, `readelf`.
pub(crate) fn tool(processor: &Processor, name: &str) -> Command {
    Command::new(format!("{}-linux-gnu-{name}", processor.rust))
}

/// The library file for use at run time: the cross compiler's own copy of the C library, as packaged for the processor.
pub(crate) fn library(processor: &Processor, name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(format!("/usr/{}-linux-gnu/lib/{name}", processor.rust));
    path.exists().then_some(path).with_context(|| format!("no {name} of {} is there to be found", processor.debian))
}

/// True when the file is an ELF program of that processor: `e_machine` is at offset 18 of the header.
pub(crate) fn is_program_of(processor: &Processor, file: &Path) -> Result<bool> {
    let mut header = [0; 20];
    File::open(file).and_then(|mut file| file.read_exact(&mut header)).with_context(|| file.display().to_string())?;
    Ok(header.starts_with(b"\x7fELF") && u16::from_le_bytes([header[18], header[19]]) == processor.elf)
}
