//! Tries the image of another processor in a virtual machine: the file system as the engine exports it, plus the machine's `/proc`, `/sys` and
//! `/dev`. In: the image. Out: that its program starts, finds that it can capture, and captures a TLS exchange of a program outside of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Engine;
use crate::processor::Processor;
use crate::{kernel, shell};

/// The machine's kernel version; the processor is appended.
const KERNEL: &str = "6.12";

/// Time limit for the whole trial.
const LIMIT: Duration = Duration::from_secs(1200);

/// The script that the machine runs over the file system in `$image`. It prints a line for each step that succeeds.
const JOB: &str = r#"export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run/tmp
root=/run/image
mkdir $root && cp -a "$image"/. $root || exit 1
for name in proc sys dev; do
    mkdir -p $root/$name && mount --rbind /$name $root/$name || exit 1
done
inside() { chroot $root /usr/local/bin/qtap "$@"; }
inside version && echo "qtap-image: starts"
inside doctor && echo "qtap-image: doctor finds nothing that keeps it from capturing"

cd /run/tmp
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null
openssl s_server -quiet -accept 127.0.0.1:8443 -key key.pem -cert cert.pem -www </dev/null >/dev/null 2>&1 &
sh -c 'while :; do curl -sk -o /dev/null https://127.0.0.1:8443/page; sleep 1; done' &
client=$!
chroot $root /usr/local/bin/qtap run --pid $client >records 2>said &
qtap=$!
seconds=0
until grep '"qtap.artifact_record"' records | grep -q https://127.0.0.1:8443/page; do
    seconds=$((seconds+1))
    [ $seconds -lt 300 ] && kill -0 $qtap || { echo "qtap-image: nothing seen; its last words:"; tail -5 said; tail -3 records; exit 1; }
    sleep 1
done
grep -m1 '"qtap.artifact_record"' records | cut -c1-600
echo "qtap-image: sees an exchange over TLS"
kill -TERM $qtap
wait $qtap && echo "qtap-image: ends when it is told to"
"#;

/// The steps that it must have reported.
const STEPS: [&str; 4] = ["starts", "doctor finds", "sees an exchange over TLS", "ends when"];

/// Runs the trial.
pub(super) fn run(engine: Engine, image: &str, processor: &Processor, home: &Path) -> Result<()> {
    let folder = home.join("exported");
    export(engine, image, processor, &folder)?;
    let job = format!("image={}\n{JOB}", shell::quoted(&folder.display().to_string()));
    let mut said = String::new();
    kernel::in_machine(&format!("{KERNEL}-{}", processor.debian), &job, LIMIT, |line| {
        println!("{line}");
        said += line;
        said.push('\n');
    })?;
    match STEPS.iter().find(|step| !said.contains(&format!("qtap-image: {step}"))) {
        Some(step) => bail!("in the machine it was not said that it {step}"),
        None => Ok(()),
    }
}

/// Exports its file system through the engine, and checks the architecture that the image declares.
fn export(engine: Engine, image: &str, processor: &Processor, folder: &Path) -> Result<()> {
    let of =
        shell::capture(Command::new(engine.name).args(["image", "inspect", "--format", "{{.Architecture}}", image]))?;
    anyhow::ensure!(of.trim() == processor.debian, "the image says that it is for {}", of.trim());
    let create = ["create", "--platform", &processor.platform(), image];
    let container = shell::capture(Command::new(engine.name).args(create))?;
    let container = container.lines().last().context("no container was made")?.trim();
    let archive = folder.with_extension("tar");
    let exported = shell::run(Command::new(engine.name).args(["export", "--output"]).arg(&archive).arg(container));
    shell::run(Command::new(engine.name).args(["rm", container]))?;
    exported?;
    fs::create_dir_all(folder)?;
    shell::run(Command::new("tar").arg("-C").arg(folder).arg("-xf").arg(&archive))
}
