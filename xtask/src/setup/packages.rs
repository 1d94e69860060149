//! Programs from the distribution. What is already present, from whatever source, is left alone; the rest is installed with apt
//! in one go, without starting any service. Without the right to install, it prints the command to run instead.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Purpose, report};
use crate::shell;

/// A requirement, and the Debian/Ubuntu package that meets it.
struct Need {
    purpose: Purpose,
    package: &'static str,
    met_by: Test,
}

/// How to check that a requirement is met.
enum Test {
    /// This program is installed.
    Program(&'static str),
    /// One of these files exists.
    File(&'static [&'static str]),
    /// The first `python3` on the PATH can create virtual environments.
    PythonVenv,
}

const NEEDS: [Need; 20] = [
    Need { purpose: Purpose::Build, package: "gcc", met_by: Test::Program("cc") },
    Need {
        purpose: Purpose::Build,
        package: "libc6-dev",
        met_by: Test::File(&["/usr/include/stdio.h", "/usr/local/include/stdio.h"]),
    },
    Need { purpose: Purpose::Demo, package: "nginx", met_by: Test::Program("nginx") },
    Need { purpose: Purpose::Demo, package: "curl", met_by: Test::Program("curl") },
    Need { purpose: Purpose::Demo, package: "openssl", met_by: Test::Program("openssl") },
    Need {
        purpose: Purpose::Check,
        package: "libssl-dev",
        met_by: Test::File(&["/usr/include/openssl/ssl.h", "/usr/local/include/openssl/ssl.h"]),
    },
    Need { purpose: Purpose::Check, package: "wget", met_by: Test::Program("wget") },
    Need { purpose: Purpose::Check, package: "gnutls-bin", met_by: Test::Program("gnutls-serv") },
    Need { purpose: Purpose::Check, package: "libnss3-tools", met_by: Test::Program("pk12util") },
    Need { purpose: Purpose::Check, package: "git", met_by: Test::Program("git") },
    Need { purpose: Purpose::Check, package: "nghttp2-client", met_by: Test::Program("h2load") },
    Need { purpose: Purpose::Check, package: "nghttp2-server", met_by: Test::Program("nghttpd") },
    Need { purpose: Purpose::Check, package: "wrk", met_by: Test::Program("wrk") },
    Need { purpose: Purpose::Check, package: "tinyproxy-bin", met_by: Test::Program("tinyproxy") },
    Need {
        purpose: Purpose::Check,
        package: "squid",
        met_by: Test::File(&["/usr/sbin/squid", "/usr/local/sbin/squid"]),
    },
    Need { purpose: Purpose::Check, package: "nftables", met_by: Test::File(&["/usr/sbin/nft", "/sbin/nft"]) },
    Need { purpose: Purpose::Check, package: "nodejs", met_by: Test::Program("node") },
    Need { purpose: Purpose::Check, package: "python3", met_by: Test::Program("python3") },
    Need { purpose: Purpose::Check, package: "python3-venv", met_by: Test::PythonVenv },
    Need { purpose: Purpose::Bench, package: "tshark", met_by: Test::Program("tshark") },
];

/// Requirements of tests that otherwise report themselves as skipped; not every release has these packages.
const WHERE_OFFERED: [Need; 2] = [
    Need {
        purpose: Purpose::Check,
        package: "libcurl3-nss",
        met_by: Test::File(&["/usr/lib/x86_64-linux-gnu/libcurl-nss.so.4", "/usr/lib64/libcurl-nss.so.4"]),
    },
    Need {
        purpose: Purpose::Check,
        package: "lighttpd-mod-nss",
        met_by: Test::File(&["/usr/lib/lighttpd/mod_nss.so", "/usr/lib64/lighttpd/mod_nss.so"]),
    },
];

/// Installs what `purpose` requires and is missing. Returns true when something was installed.
pub(super) fn ensure(purpose: Purpose) -> Result<bool> {
    let offered = WHERE_OFFERED.iter().filter(|need| is_met(&need.met_by) || is_offered(need.package));
    let wanted: Vec<&Need> = NEEDS.iter().chain(offered).filter(|need| need.purpose <= purpose).collect();
    let missing: Vec<&str> = wanted.iter().filter(|need| !is_met(&need.met_by)).map(|need| need.package).collect();
    if missing.is_empty() {
        report("packages", format_args!("all {} found", wanted.len()));
        return Ok(false);
    }
    report("packages", format_args!("missing: {}", missing.join(" ")));
    install(&missing)?;
    let still: Vec<&str> = wanted.iter().filter(|need| !is_met(&need.met_by)).map(|need| need.package).collect();
    if !still.is_empty() {
        bail!("installed, and still not found: {}", still.join(" "));
    }
    report("packages", format_args!("installed {}", missing.join(" ")));
    Ok(true)
}

fn is_met(test: &Test) -> bool {
    match test {
        Test::Program(name) => shell::which(name).is_some(),
        Test::File(paths) => paths.iter().any(|path| Path::new(path).exists()),
        // An environment that an earlier run created is proof; asking Python takes a while.
        Test::PythonVenv => {
            super::python::is_ready()
                || shell::capture(Command::new("python3").args(["-c", "import venv, ensurepip"])).is_ok()
        }
    }
}

/// True when this release has the package, according to apt's lists.
fn is_offered(package: &str) -> bool {
    shell::capture(Command::new("apt-cache").args(["show", package])).is_ok()
}

/// Installs Debian packages; the lists are fetched again when a package is unknown.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let script = install_script(packages);
    if shell::which("apt-get").is_none() {
        bail!("this is no Debian or Ubuntu; please install by your own means: {}", packages.join(" "));
    }
    let mut command = match privilege() {
        Privilege::Root => Command::new("sh"),
        Privilege::Sudo => {
            let mut sudo = Command::new("sudo");
            sudo.arg("sh");
            sudo
        }
        Privilege::None => {
            let list = packages.join(" ");
            bail!(
                "no right to install packages; please run, then try again:\n  sudo apt-get install -y --no-install-recommends {list}"
            )
        }
    };
    // Not through shell::run: sudo may ask for a password at the terminal.
    println!("$ apt-get install {}", packages.join(" "));
    let status = command.args(["-c", &script]).status()?;
    if !status.success() {
        bail!("apt-get ended with {status}");
    }
    Ok(())
}

/// The installation as a shell script. A `policy-rc.d` that exits with 101 keeps Debian from starting the services it installs
/// (invoke-rc.d(8)); an existing one belongs to the owner and is kept.
fn install_script(packages: &[&str]) -> String {
    let list = packages.join(" ");
    format!(
        r#"export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy"
fi
install() {{ apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 {list} > /dev/null; }}
apt-get install -s {list} > /dev/null 2>&1 && install || {{ apt-get update -qq && install; }}
"#
    )
}

/// How packages can be installed.
enum Privilege {
    Root,
    Sudo,
    None,
}

fn privilege() -> Privilege {
    if shell::is_root() {
        return Privilege::Root;
    }
    let sudo = shell::which("sudo").is_some();
    let silent = || shell::capture(Command::new("sudo").args(["-n", "true"])).is_ok();
    if sudo && (shell::has_terminal() || silent()) { Privilege::Sudo } else { Privilege::None }
}
