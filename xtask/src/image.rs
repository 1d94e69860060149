//! `cargo xtask image`: a container image with qtap and its run-time needs, and nothing else: no shell, no packages, no base image. In: the
//! program built here, for this processor or another, its shared libraries, and the certificate authorities that this machine trusts. Out: an
//! image in podman's or docker's store, and its size. No registry is contacted.

mod client;
mod foreign;
mod layout;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::processor::Processor;
use crate::{cross, setup, shell};

/// What `cargo xtask image` is told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the image.
    #[arg(long, default_value = "qtap:latest")]
    tag: String,
    /// A program that is built already, instead of a release build.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// For which machines, as podman and docker name them: this one's where it is not given; linux/arm64, whose program is built here too.
    #[arg(long, value_name = "PLATFORM", value_parser = Processor::of_platform)]
    platform: Option<&'static Processor>,
    /// Also try it: as root, privileged and with the capabilities that the chart names, over programs of this host and of other containers. That of another processor in a machine of
    /// it, emulated, over a program there.
    #[arg(long = "try")]
    try_it: bool,
    /// Of the trial: how many containers come and go.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    containers: u32,
    /// Build no image: lay out its file system in this folder. What the Dockerfile does inside.
    #[arg(long, value_name = "DIR", conflicts_with = "try_it")]
    layout: Option<PathBuf>,
}

/// Programs that build images; the first available one is used.
const BUILDERS: [(&str, &[&str]); 2] = [("podman", &["build", "--isolation", "chroot"]), ("docker", &["build"])];

/// Where distributions keep the trusted certificate authorities, as one file.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Where the program looks for them first.
const AUTHORITIES_INSIDE: &str = "etc/ssl/certs/ca-certificates.crt";

const PROGRAM_INSIDE: &str = "usr/local/bin/qtap";

/// The Containerfile: a file system, and a program in it as the entry point.
const CONTAINERFILE: &str = "FROM scratch
COPY root/ /
ENTRYPOINT [\"/usr/local/bin/qtap\"]
";

/// Builds the image.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.layout {
        Some(folder) => fill(folder, &program(options)?, options.foreign()),
        // The engine is searched for first: the build of the program takes minutes.
        None => assemble(options, Engine::find()?),
    }
}

impl Options {
    /// The processor, when it is not this machine's.
    fn foreign(&self) -> Option<&'static Processor> {
        self.platform.filter(|processor| !processor.is_the_hosts())
    }
}

fn program(options: &Options) -> Result<PathBuf> {
    let program = match (&options.program, options.foreign()) {
        (Some(program), _) => program.clone(),
        (None, None) => build()?,
        (None, Some(processor)) => build_for(processor)?,
    };
    if let Some(processor) = options.platform
        && !cross::is_program_of(processor, &program)?
    {
        anyhow::bail!("{} is no program of {}", program.display(), processor.debian);
    }
    refuse_without_capture(&program)?;
    Ok(program)
}

fn assemble(options: &Options, engine: Engine) -> Result<()> {
    let foreign = options.foreign();
    if options.try_it && foreign.is_none() {
        engine.makes_containers()?;
    }
    let program = program(options)?;
    let home = shell::target_dir()?.join(foreign.map_or("image".to_owned(), |other| format!("image-{}", other.debian)));
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| home.display().to_string())?;
    }
    fill(&home.join("root"), &program, foreign)?;
    let megabytes = engine.build(&options.tag, &home, options.platform)?;
    println!("image: {} by {}, {megabytes:.1} MB", options.tag, engine.name);
    match foreign {
        _ if !options.try_it => Ok(()),
        None => trial::run(engine, &options.tag, options.containers),
        Some(processor) => foreign::run(engine, &options.tag, processor, &home),
    }
}

/// True when the engine works: docker's client without its daemon does not.
fn answers(engine: &str) -> bool {
    let mut info = Command::new(engine);
    info.arg("info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    info.status().is_ok_and(|status| status.success())
}

/// A program that builds and runs images.
#[derive(Debug, Clone, Copy)]
struct Engine {
    name: &'static str,
    build: &'static [&'static str],
}

impl Engine {
    fn find() -> Result<Engine> {
        let there: Vec<_> = BUILDERS.iter().filter(|(name, _)| shell::which(name).is_some()).collect();
        let found = there.iter().find(|(name, _)| answers(name));
        found.map(|(name, build)| Engine { name, build }).with_context(|| match there.first() {
            Some((name, _)) => {
                format!("{name} is there, but `{name} info` fails: start its daemon, or apt-get install podman")
            }
            None => "neither podman nor docker is there: apt-get install podman".to_owned(),
        })
    }

    /// Builds the image of `home/root`, whose first program is its entry point, for this machine or another platform. Returns its size in MB.
    fn build(self, tag: &str, home: &Path, of: Option<&Processor>) -> Result<f64> {
        fs::write(home.join("Containerfile"), CONTAINERFILE)?;
        let mut command = Command::new(self.name);
        command.args(self.build);
        if let Some(processor) = of {
            command.args(["--platform", &processor.platform()]);
        }
        command.args(["--tag", tag, "--file"]).arg(home.join("Containerfile")).arg(home);
        shell::run(&mut command)?;
        let size = shell::capture(Command::new(self.name).args(["image", "inspect", "--format", "{{.Size}}", tag]))?;
        let bytes: f64 = size.trim().parse().with_context(|| format!("{} says that its size is {size}", self.name))?;
        Ok(bytes / 1e6)
    }

    /// Fails where crun can't create containers: with control groups of both versions.
    fn makes_containers(self) -> Result<()> {
        let of_both = Path::new("/sys/fs/cgroup/unified").exists();
        anyhow::ensure!(
            self.name != "podman" || !of_both || shell::which("runc").is_some(),
            "control groups of both versions are mounted here, with which podman's crun makes no container: apt-get install runc"
        );
        Ok(())
    }

    /// The command `run`, with the options that this machine needs.
    fn run(self) -> Command {
        let mut command = Command::new(self.name);
        if self.name == "podman" && shell::which("runc").is_some() {
            command.args(["--runtime", "runc"]);
        }
        // The default limits can't be requested without the right to raise limits.
        command.args(["run", "--rm", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]);
        command
    }
}

fn build() -> Result<PathBuf> {
    shell::run(shell::cargo().args(["build", "--release", "--package", "qtap-agent"]))?;
    Ok(shell::target_dir()?.join("release/qtap"))
}

/// Builds the program for another processor, and installs what that needs.
fn build_for(processor: &Processor) -> Result<PathBuf> {
    let missing = cross::missing(processor);
    if !missing.is_empty() {
        setup::install(&missing.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    let mut cargo = shell::cargo();
    cargo.args(["build", "--release", "--package", "qtap-agent"]);
    let built = cross::build_for(processor, &mut cargo)?;
    shell::run(&mut cargo)?;
    Ok(built.join("release/qtap"))
}

/// Refuses a program built without live capture: it runs, but can't do what the image is for.
fn refuse_without_capture(program: &Path) -> Result<()> {
    // A program for another processor can't be run here to ask it.
    let said = shell::capture(Command::new(program).arg("version")).unwrap_or_default();
    anyhow::ensure!(
        !said.contains("without live capture"),
        "{} is built without live capture: build it with `cargo build --release --package qtap-agent`",
        program.display()
    );
    Ok(())
}

/// Lays out the file system of the image.
fn fill(root: &Path, program: &Path, foreign: Option<&Processor>) -> Result<()> {
    let mut strip = match foreign {
        None => {
            layout::program(root, program, PROGRAM_INSIDE)?;
            Command::new("strip")
        }
        Some(processor) => {
            layout::foreign_program(root, program, PROGRAM_INSIDE, processor)?;
            cross::tool(processor, "strip")
        }
    };
    shell::run(strip.arg(root.join(PROGRAM_INSIDE)))?;
    let authorities = AUTHORITIES.iter().find(|path| Path::new(path).exists());
    let authorities = authorities.context("this machine trusts nobody: install ca-certificates")?;
    layout::place(Path::new(authorities), &root.join(AUTHORITIES_INSIDE))
}
