//! A virtual machine with another kernel and this host's files. In: an unpacked kernel, its processor, a root, a shell script. Out: the script's
//! output, line by line.
//!
//! Its root is this host's own, shared by virtiofs: what the tests need is there, and nothing is built or copied. For another processor it is a
//! folder of that processor's programs, with the workspace in it. The host exports the share read-only. There is no network and no disk; files written
//! in the machine are in its memory and are lost with it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::archive::Archive;
use super::packages::Image;
use super::{foreign, modules};
use crate::processor::Processor;
use crate::shell;

const INIT: &[u8] = include_bytes!("../../kernel/init.sh");
/// Enough for a ring, nginx, a Python with its packages, and what tests write.
const MEMORY: &str = "3072M";
/// Two, so that probes run concurrently.
const CPUS: &str = "2";
/// Longest that a machine takes to boot where KVM works: it boots within two seconds or never.
const TRIAL: Duration = Duration::from_secs(15);
/// Longest wait for the file server.
const SERVER: Duration = Duration::from_secs(10);
/// Where distributions install it.
const VIRTIOFSD: [&str; 3] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd"];
/// Part of the last line from a machine that ran its script to the end.
const ENDED: &str = "qtap-kernel: ended";
const BUSYBOX: &str = "/bin/busybox";

/// How the guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    /// Emulated by translation: ten to twenty times slower.
    Tcg,
}

impl Accelerator {
    /// Factor by which tests may wait longer.
    pub(super) fn slowness(self) -> u32 {
        match self {
            Accelerator::Kvm => 2,
            Accelerator::Tcg => 10,
        }
    }
}

/// What a machine is made of.
pub(super) struct Parts {
    pub(super) processor: &'static Processor,
    pub(super) image: Image,
    /// `None`: the host's own.
    pub(super) root: Option<PathBuf>,
}

/// The fastest accelerator that works here, determined once. Another processor's instructions are always translated.
pub(super) fn accelerator(parts: &Parts) -> Accelerator {
    static FOUND: OnceLock<Accelerator> = OnceLock::new();
    if !parts.processor.is_the_hosts() {
        return Accelerator::Tcg;
    }
    *FOUND.get_or_init(|| {
        let works = Path::new("/dev/kvm").exists() && {
            let mut up = false;
            let ended =
                run_by(Accelerator::Kvm, parts, "true", TRIAL, |line| up |= line.starts_with("qtap-kernel: up"));
            ended.is_ok() && up
        };
        let found = if works { Accelerator::Kvm } else { Accelerator::Tcg };
        println!("kernel: machines run by {found:?}");
        found
    })
}

/// True when a program that can serve this host's files is installed.
pub(super) fn has_file_server() -> bool {
    VIRTIOFSD.iter().any(|path| Path::new(path).exists())
}

/// Runs the script in a machine, for at most `limit`.
pub(super) fn run(parts: &Parts, job: &str, limit: Duration, hear: impl FnMut(&str)) -> Result<()> {
    run_by(accelerator(parts), parts, job, limit, hear)
}

/// A process that is killed when its owner is dropped.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This machine's own folder: qemu maps files in it, which another run must not overwrite.
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The server's socket, removed when dropped: the server leaves it behind.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn run_by(by: Accelerator, parts: &Parts, job: &str, limit: Duration, mut hear: impl FnMut(&str)) -> Result<()> {
    let home = Home(shell::target_dir()?.join(format!("kernels/machine-{}", std::process::id())));
    fs::create_dir_all(&home.0)?;
    let initrd = home.0.join("initrd");
    fs::write(&initrd, first_files(parts, job)?)?;
    let (_server, socket) = serve_files(&home.0, parts.root.as_deref())?;
    let (console, complaints) = (home.0.join("console"), home.0.join("qemu.err"));
    let mut qemu = qemu(by, parts, &initrd, &socket.0, &console);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&complaints)?);
    let mut machine = Kept(qemu.spawn().context("qemu does not start")?);
    let output = machine.0.stdout.take().context("qemu says nothing")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(output).split(b'\n').map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    let (start, mut ended) = (Instant::now(), false);
    loop {
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                // A truncated line may precede it on the same line.
                ended |= line.contains(ENDED);
                hear(line.trim_end_matches('\r'));
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // The machine then hangs instead of ending.
            Err(RecvTimeoutError::Timeout) if text(&complaints).contains("KVM internal error") => {
                bail!("KVM does not work")
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if start.elapsed() > limit {
            bail!("not done after {} s; the kernel's last words: {}", limit.as_secs(), last_lines(&console));
        }
    }
    let status = machine.0.wait()?;
    if !status.success() {
        bail!("qemu ended with {status}: {}", text(&complaints));
    }
    if !ended {
        bail!("the machine stopped by itself; the kernel's last words: {}", last_lines(&console));
    }
    Ok(())
}

fn qemu(by: Accelerator, parts: &Parts, initrd: &Path, socket: &Path, console: &Path) -> Command {
    let Parts { processor, image, .. } = parts;
    // So that the machine never outlives this command, however it ends.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", processor.qemu]).args(processor.board);
    match by {
        Accelerator::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
        Accelerator::Tcg => qemu.args(processor.translated),
    };
    qemu.args(["-smp", CPUS, "-m", MEMORY, "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot"]);
    // virtiofs requires memory that its server can map too.
    qemu.args([
        "-object",
        &format!("memory-backend-memfd,id=memory,size={MEMORY},share=on"),
        "-numa",
        "node,memdev=memory",
    ]);
    qemu.args(["-chardev", &format!("socket,id=files,path={}", socket.display())]);
    qemu.args(["-device", "vhost-user-fs-pci,chardev=files,tag=host"]);
    qemu.args(["-serial", &format!("file:{}", console.display())]).args(processor.voice_device);
    let said = format!("console={} quiet panic=-1 voice={}", processor.console, processor.voice);
    qemu.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(initrd).arg("-append").arg(said);
    qemu
}

/// The machine's initial file system.
fn first_files(parts: &Parts, job: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "proc", "sys", "dev", "host", "modules"] {
        archive.folder(folder);
    }
    let root = parts.root.as_deref().unwrap_or(Path::new("/"));
    let read = |name: &str| fs::read(foreign::within(root, Path::new(name)));
    let busybox = read(BUSYBOX).or_else(|_| read("/usr/bin/busybox")).context("no busybox")?;
    archive.file("bin/busybox", &busybox);
    for (number, (name, content)) in modules::ordered(&parts.image.modules)?.iter().enumerate() {
        archive.file(&format!("modules/{number:02}-{name}.ko"), content);
    }
    archive.file("init", INIT);
    archive.file("job", job.as_bytes());
    Ok(archive.finish())
}

/// Serves this host's files, or another root with the workspace in it, read-only, from a mount namespace of its own. Returns the socket too.
fn serve_files(home: &Path, root: Option<&Path>) -> Result<(Kept, Socket)> {
    let program = VIRTIOFSD.iter().find(|path| Path::new(path).exists()).context("no virtiofsd")?;
    // Not below the root, which can't be written from there.
    let socket = Socket(PathBuf::from(format!("/dev/shm/qtap-kernel-{}.sock", std::process::id())));
    let _ = fs::remove_file(&socket.0);
    let mut script = "set -e\nmount -t tmpfs tmpfs /run\n".to_owned();
    if let Some(root) = root {
        foreign::make_places(root)?;
        // The root first: it would hide what was mounted into it before.
        let mut binds = vec![(root.to_owned(), root.to_owned())];
        binds.extend(foreign::shared()?.into_iter().map(|path| (foreign::within(root, &path), path)));
        for (to, from) in binds {
            let [to, from] = [to, from].map(|path| shell::quoted(&path.display().to_string()));
            script += &format!("mount --bind {from} {to}\nmount -o remount,bind,ro {to}\n");
        }
    }
    script += "mount -o remount,bind,ro /\nexec \"$0\" \"$@\"";
    let source = root.unwrap_or(Path::new("/"));
    let mut server = Command::new("unshare");
    server.args(["--mount", "--propagation", "private", "sh", "-c", &script, program]);
    server.arg(format!("--socket-path={}", socket.0.display()));
    server.arg("-o").arg(format!("source={}", source.display()));
    server.args(["-o", "cache=always", "-o", "sandbox=chroot", "-o", "xattr", "--rlimit-nofile=0"]);
    let log = home.join("virtiofsd.err");
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
    let mut server = Kept(server.spawn().context("unshare does not start")?);
    let start = Instant::now();
    while !socket.0.exists() {
        if server.0.try_wait()?.is_some() || start.elapsed() > SERVER {
            bail!("virtiofsd does not serve: {}", text(&log));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok((server, socket))
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The last lines of a kernel's console, as one line.
fn last_lines(console: &Path) -> String {
    let said = text(console);
    let mut lines: Vec<&str> = said.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(5).collect();
    lines.reverse();
    lines.join(" / ")
}
