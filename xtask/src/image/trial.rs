//! The image, tried: a container with every privilege, and one with just the capabilities that the chart names, each over programs of this
//! host, as the pages say to run it. In: the image. Out: that each saw an exchange over TLS.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::nginx::Nginx;
use crate::shell;

/// How long a container may take to see something: a build for debugging takes long to start.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program of this host asks for a page, again and again, until it is ended; or so often.
const ASKS: &str = "i=0; while [ $i -lt 1000 ]; do curl -sk -o /dev/null \"$0\"; sleep 0.2; i=$((i+1)); done";

/// Runs both.
pub(super) fn run(builder: &str, image: &str, home: &Path) -> Result<()> {
    let nginx = Nginx::start(&[("hello.json", b"{}\n")])?;
    let url = format!("https://127.0.0.1:{}/hello.json", nginx.https_port);
    let mut curl = Command::new("sh").args(["-c", ASKS, &url]).stdin(Stdio::null()).spawn().context("sh")?;
    let mut capabilities = vec!["--cap-drop".to_owned(), "ALL".to_owned()];
    for name in chart_capabilities()? {
        capabilities.extend(["--cap-add".to_owned(), name]);
    }
    let levels = [("privileged", vec!["--privileged".to_owned()]), ("capabilities", capabilities)];
    let tried = levels.iter().try_for_each(|(level, rights)| {
        let start = Instant::now();
        Container::start(builder, image, home, curl.id(), rights)?.wait_for_an_exchange()?;
        println!("image: {level}: an exchange over TLS seen {:.1} s after the start", start.elapsed().as_secs_f64());
        Ok(())
    });
    let _ = curl.kill();
    let _ = curl.wait();
    tried
}

/// Those of values.yaml.
fn chart_capabilities() -> Result<Vec<String>> {
    let text = fs::read_to_string(shell::workspace().join("charts/qtap/values.yaml"))?;
    let values: Value = serde_yaml::from_str(&text)?;
    let list = values["privileges"]["capabilities"].as_array().context("the chart names no capabilities")?;
    Ok(list.iter().filter_map(|name| name.as_str().map(ToOwned::to_owned)).collect())
}

/// A container, which is stopped when this is dropped.
struct Container<'a> {
    builder: &'a str,
    name: String,
    engine: Child,
    said: &'a Path,
}

impl<'a> Container<'a> {
    fn start(builder: &'a str, image: &str, home: &'a Path, pid: u32, rights: &[String]) -> Result<Container<'a>> {
        let name = format!("qtap-trial-{}", process::id());
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(builder);
        // Where cgroups are of both versions, crun can't make a container.
        if builder == "podman" && shell::which("runc").is_some() {
            command.args(["--runtime", "runc"]);
        }
        command.args(["run", "--rm", "--name", &name, "--pid=host", "--network=host", "--read-only"]);
        // Who may not raise limits can't ask for the usual ones.
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]).args(rights);
        command.args([image, "run", "--pid", &pid.to_string(), "--httpd-listen", &format!("127.0.0.1:{port}")]);
        println!("$ {}", shell::describe(&command));
        let output = File::create(home.join("trial.out"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let engine = command.spawn().with_context(|| format!("{builder} does not start"))?;
        Ok(Container { builder, name, engine, said: home })
    }

    fn wait_for_an_exchange(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let said = fs::read_to_string(self.said.join("trial.out")).unwrap_or_default();
            let seen = |line: &str| line.contains("\"qtap.artifact_record\"") && line.contains("https://");
            if said.lines().any(seen) {
                return Ok(());
            }
            if let Some(status) = self.engine.try_wait()? {
                bail!("the container ended with {status}:\n{said}");
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("no exchange seen after {} s; {}/trial.out has what it said", PATIENCE.as_secs(), self.said.display())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = shell::output_of(Command::new(self.builder).args(["stop", "--time", "15", &self.name]));
        let _ = self.engine.wait();
    }
}
