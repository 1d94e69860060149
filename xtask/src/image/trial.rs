//! Tries the image: a privileged container, and one with only the capabilities that the chart names, each watching programs of this host
//! and of other containers, run as the pages say. In: the image. Out: that each captured the TLS exchanges, and its memory use.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Engine;
use super::client::Clients;
use crate::nginx::Nginx;
use crate::shell;

/// How long a container may take to capture something: a debug build starts slowly.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program of this host that requests a page again and again, until it is ended, at most 1000 times.
const ASKS: &str = "i=0; while [ $i -lt 1000 ]; do curl -sk -o /dev/null \"$0\"; sleep 0.2; i=$((i+1)); done";

/// Requests of a container that runs for twelve seconds: the later half must be captured. Its library is new, and attaching blocks in the kernel
/// while a qtap that ended shortly before releases its probes one by one, a tenth of a second each.
const REQUESTS: u32 = 24;
/// Growth of resident memory during a trial that is not considered a leak: tables and buffers in use.
const GROWTH_KB: u64 = 32 << 10;

/// Runs the whole trial.
pub(super) fn run(engine: Engine, image: &str, containers: u32) -> Result<()> {
    let nginx = Nginx::start(&[("hello.json", b"{}\n"), ("other.json", b"{}\n")])?;
    let url = |page: &str| format!("https://127.0.0.1:{}/{page}", nginx.https_port);
    let mut capabilities = vec!["--cap-drop".to_owned(), "ALL".to_owned()];
    for name in chart_capabilities()? {
        capabilities.extend(["--cap-add".to_owned(), name]);
    }
    let levels = [("privileged", vec!["--privileged".to_owned()]), ("capabilities", capabilities)];
    for (level, rights) in &levels {
        over_the_host(engine, image, rights, &url("hello.json")).with_context(|| (*level).to_owned())?;
        over_containers(engine, image, rights, &url("other.json"), 1, REQUESTS).with_context(|| (*level).to_owned())?;
    }
    over_containers(engine, image, &levels[0].1, &url("other.json"), containers, 1)
}

/// Watches a program of the host.
fn over_the_host(engine: Engine, image: &str, rights: &[String], url: &str) -> Result<()> {
    let mut curl = Command::new("sh").args(["-c", ASKS, url]).stdin(Stdio::null()).spawn().context("sh")?;
    let start = Instant::now();
    let seen = Container::start(engine, image, curl.id(), rights)
        .and_then(|mut container| container.wait_for("an exchange", |container| Ok(container.exchanges()? > 0)));
    let _ = curl.kill();
    let _ = curl.wait();
    seen?;
    println!("image: an exchange of a program of the host seen {:.1} s after the start", start.elapsed().as_secs_f64());
    Ok(())
}

/// Watches `containers` containers, one after the other, each with its own TLS library, pid namespace and mount namespace.
fn over_containers(
    engine: Engine,
    image: &str,
    rights: &[String],
    url: &str,
    containers: u32,
    requests: u32,
) -> Result<()> {
    let home = shell::target_dir()?.join("image");
    let mut clients = Clients::prepare(engine, &home, url, containers, requests)?;
    let mut qtap = Container::start(engine, image, clients.pid(), rights)?;
    qtap.wait_for("readiness", |qtap| Ok(qtap.get("/readyz").is_ok()))?;
    let before = qtap.resident_kb()?;
    if !clients.run()? {
        bail!("a client did not get its answer");
    }
    // Exchanges may be missed while the library is not known yet, but none after that.
    let all = u64::from(containers * requests);
    let least = if containers == 1 { all / 2 } else { all - 2 };
    qtap.wait_for("the exchanges of other containers", |qtap| Ok(qtap.exchanges()? >= least))?;
    thread::sleep(Duration::from_secs(1));
    let (seen, after) = (qtap.exchanges()?, qtap.resident_kb()?);
    println!(
        "image: of {containers} containers with a TLS library of their own {seen} of {all} exchanges seen; resident memory {:.1} -> {:.1} MB",
        before as f64 / 1e3,
        after as f64 / 1e3
    );
    if seen > all {
        bail!("{seen} exchanges seen, and {all} made");
    }
    if after > before + GROWTH_KB {
        bail!("its memory grew by {} kB", after - before);
    }
    Ok(())
}

/// The capabilities in values.yaml.
fn chart_capabilities() -> Result<Vec<String>> {
    let text = fs::read_to_string(shell::workspace().join("charts/qtap/values.yaml"))?;
    let values: Value = serde_yaml::from_str(&text)?;
    let list = values["privileges"]["capabilities"].as_array().context("the chart names no capabilities")?;
    Ok(list.iter().filter_map(|name| name.as_str().map(ToOwned::to_owned)).collect())
}

/// A container of qtap; stopped when dropped.
struct Container {
    engine: Engine,
    name: String,
    process: Child,
    said: PathBuf,
    page: String,
}

impl Container {
    /// Starts a container that watches the process and its children.
    fn start(engine: Engine, image: &str, pid: u32, rights: &[String]) -> Result<Container> {
        let name = format!("qtap-trial-{}", process::id());
        let page = format!("127.0.0.1:{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let mut command = engine.run();
        command.args(["--name", &name, "--pid=host", "--network=host", "--read-only"]).args(rights);
        command.args([image, "run", "--pid", &pid.to_string(), "--httpd-listen", &page]);
        println!("$ {}", shell::describe(&command));
        let said = shell::target_dir()?.join("image/trial.out");
        let output = File::create(&said)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let process = command.spawn().with_context(|| format!("{} does not start", engine.name))?;
        Ok(Container { engine, name, process, said, page })
    }

    /// The number of exchanges that it reported.
    fn exchanges(&self) -> Result<u64> {
        let said = fs::read_to_string(&self.said)?;
        let told = |line: &&str| line.contains("\"qtap.artifact_record\"") && line.contains("https://");
        Ok(said.lines().filter(told).count() as u64)
    }

    fn get(&self, path: &str) -> Result<String> {
        shell::capture(Command::new("curl").args(["-sf", "--max-time", "5", &format!("http://{}{path}", self.page)]))
    }

    fn resident_kb(&self) -> Result<u64> {
        let status: Value = serde_json::from_str(&self.get("/status")?)?;
        Ok(status["resident_bytes"].as_u64().context("the status tells no memory")? / 1000)
    }

    fn wait_for(&mut self, what: &str, holds: impl Fn(&Container) -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if holds(self)? {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the container ended with {status}:\n{}", fs::read_to_string(&self.said)?);
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("{what}: not after {} s; {} has what it said", PATIENCE.as_secs(), self.said.display())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = shell::output_of(Command::new(self.engine.name).args(["stop", "--time", "15", &self.name]));
        let _ = self.process.wait();
    }
}
