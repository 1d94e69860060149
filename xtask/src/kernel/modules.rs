//! Modules that a machine needs before it has its root: which ones, and in which order. In: the folder of a kernel's modules. Out: names and
//! contents, each after its dependencies. Modules built into the kernel are left out.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use memchr::memmem;

use crate::shell;

/// For the root, the machine's output, the network devices that tests use beside loopback, address translation by nftables, and kernel TLS with its
/// cipher. No module depends on the cipher's parts: the kernel requests them when keys are set, and nothing loads modules on request in a machine.
const WANTED: [&str; 14] = [
    "virtio_pci",
    "virtio_console",
    "virtiofs",
    "overlay",
    "veth",
    "dummy",
    "nft_chain_nat",
    "nft_nat",
    "nft_redir",
    "nft_ct",
    "tls",
    "ctr",
    "ghash_generic",
    "gcm",
];

/// A module: its name and its content.
pub(super) type Module = (String, Vec<u8>);

/// All wanted modules and their dependencies, dependencies first.
pub(super) fn ordered(folder: &Path) -> Result<Vec<Module>> {
    let mut files = HashMap::new();
    find(&folder.join("kernel"), &mut files)?;
    let mut found = Vec::new();
    for name in WANTED {
        add(name, &files, &mut found)?;
    }
    Ok(found)
}

/// Finds the files of modules below `folder`, by module name.
fn find(folder: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if let Some((name, _)) = path.file_name().unwrap_or_default().to_string_lossy().split_once(".ko") {
            files.insert(name.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

fn add(name: &str, files: &HashMap<String, PathBuf>, found: &mut Vec<Module>) -> Result<()> {
    let Some(path) = files.get(name) else { return Ok(()) };
    if found.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let content = read(path)?;
    for needed in depends(&content) {
        add(&needed, files, found)?;
    }
    found.push((name.to_owned(), content));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension == "ko") {
        return fs::read(path).with_context(|| path.display().to_string());
    }
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => bail!("{}: compressed in a way that is not known", path.display()),
    };
    let output = shell::output_of(Command::new(program).arg("-dc").arg(path))?;
    if !output.status.success() {
        bail!("{program} can't read {}", path.display());
    }
    Ok(output.stdout)
}

/// The dependencies that a module declares in its section `.modinfo`.
fn depends(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = memmem::find(content, KEY) else { return Vec::new() };
    let rest = &content[at + KEY.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
    let names = String::from_utf8_lossy(&rest[..end]).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::depends;

    #[test]
    fn a_module_says_what_it_depends_on() {
        assert_eq!(
            depends(b"\x7fELF\0license=GPL\0depends=fuse,virtio-ring\0name=virtiofs\0"),
            ["fuse", "virtio_ring"]
        );
        assert!(depends(b"license=GPL\0depends=\0name=fuse\0").is_empty());
        assert!(depends(b"no module").is_empty());
    }
}
