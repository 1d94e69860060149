//! How many first requests of short-lived programs are captured: curl requests a page from nginx over TLS, each time in a new process. In:
//! a release build. Out: for each kind of program, how many there were, and for how many the request was captured in full. It asserts nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::advice::list;
use super::stage::Stage;
use super::{SETTLE, build, free_port, machine, table};
use crate::nginx::Nginx;
use crate::shell;

/// Programs of each kind.
const PROGRAMS: usize = 200;
/// Longest that all programs of one kind may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest wait until the probes of an earlier qtap are gone: they are detached one after the other.
const DETACHING: Duration = Duration::from_secs(1200);
/// First argument of a qtap process that holds such probes.
const HOLDER: &[u8] = b"__hold-probes-until-qtap-ended";

/// Which TLS library a program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The host's, which existed when qtap started.
    Hosts,
    /// A file that appeared later, shared by all programs.
    Shared,
    /// A file that appeared later, a different one for each program.
    Own,
    /// Like `Own`, for programs that read the host's certificate authorities before the request, as curl does by default.
    Careful,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Hosts, Kind::Shared, Kind::Careful, Kind::Own];

    fn title(self) -> &'static str {
        match self {
            Kind::Hosts => "the host's, known before",
            Kind::Shared => "one that came later, the same for all (the first program is the first to have it)",
            Kind::Own => "one of its own, which nobody had before",
            Kind::Careful => "one of its own; the program reads the host's authorities first, as curl does by itself",
        }
    }

    /// The library directories of all programs to be run; empty for the host's library.
    fn libraries(self, folder: &Path) -> Result<Vec<String>> {
        let library = hosts_library()?;
        let name = library.file_name().context("a library has a name")?;
        let put = |directory: PathBuf| {
            fs::create_dir_all(&directory)?;
            fs::copy(&library, directory.join(name))?;
            anyhow::Ok(directory.to_string_lossy().into_owned())
        };
        match self {
            Kind::Hosts => Ok(vec![String::new(); PROGRAMS]),
            Kind::Shared => Ok(vec![put(folder.join("shared"))?; PROGRAMS]),
            Kind::Own | Kind::Careful => {
                (0..PROGRAMS).map(|number| put(folder.join(format!("own-{number}")))).collect()
            }
        }
    }
}

/// Waits until no process detaches probes any more: attaching has to wait for that (`capture/kernel/holder.rs`).
fn until_probes_are_gone() -> Result<()> {
    let start = Instant::now();
    while holders()? > 0 {
        ensure!(start.elapsed() < DETACHING, "probes of a qtap before are still being detached");
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// The number of processes that hold the probes of a qtap that ended.
fn holders() -> Result<usize> {
    let command_lines = fs::read_dir("/proc")?.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    Ok(command_lines.filter(|line| line.split(|&byte| byte == 0).nth(1) == Some(HOLDER)).count())
}

/// The result for one kind.
struct Outcome {
    captured: usize,
    /// Median time from the start of a program to its end, ms.
    program_ms: f64,
}

/// Runs the programs of each kind.
pub(super) fn run() -> Result<()> {
    build()?;
    let nginx = Nginx::start(&[("hello.json", b"{}\n")])?;
    let mut outcomes = Vec::new();
    for kind in Kind::ALL {
        println!("bench: {PROGRAMS} programs; their TLS library: {}", kind.title());
        outcomes.push((kind, measure(kind, &nginx)?));
    }
    println!("\n{}. curl, one process after the other, one request each; the release build.\n", machine());
    println!(
        "| the program's TLS library | programs | first requests captured | a program takes, ms |\n|---|---|---|---|"
    );
    for (kind, Outcome { captured, program_ms }) in outcomes {
        println!("| {} | {PROGRAMS} | {captured} | {program_ms:.0} |", kind.title());
    }
    Ok(())
}

fn measure(kind: Kind, nginx: &Nginx) -> Result<Outcome> {
    let folder = shell::target_dir()?.join("qtap-bench/discovery");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    // Before the agent starts, and outside its scope: otherwise it would already know the files that are meant to be new.
    let libraries = kind.libraries(&folder)?;
    until_probes_are_gone()?;
    let authorities = (kind == Kind::Careful).then(|| bundle(nginx, &folder)).transpose()?;
    let mut programs = Programs::start(authorities.as_deref())?;
    let out = folder.join("records.jsonl");
    let arguments = ["run", "--pid", "{pid}", "--httpd-listen", &format!("127.0.0.1:{}", free_port()?), "--data-dir"];
    let arguments = arguments.iter().map(|&argument| argument.to_owned());
    let data = folder.join("data").to_string_lossy().into_owned();
    let watcher = Stage::qtap(arguments.chain([data]).collect(), &out)?.start(programs.0.id())?;
    let mut times = Vec::new();
    let start = Instant::now();
    for (number, directory) in libraries.iter().enumerate() {
        ensure!(start.elapsed() < PATIENCE, "{number} programs took more than {} s", PATIENCE.as_secs());
        let began = Instant::now();
        programs.one(&format!("https://127.0.0.1:{}/hello.json?{number}", nginx.https_port), directory)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    thread::sleep(SETTLE);
    drop(watcher);
    let told = fs::read_to_string(&out).with_context(|| format!("{}", out.display()))?;
    Ok(Outcome { captured: captured(&told)?, program_ms: table::middle(times) })
}

/// A bundle of the host's certificate authorities, as Debian keeps them, and the server's own certificate.
fn bundle(nginx: &Nginx, folder: &Path) -> Result<PathBuf> {
    let (hosts, path) = (Path::new("/etc/ssl/certs/ca-certificates.crt"), folder.join("authorities.pem"));
    let mut all = fs::read(hosts).with_context(|| format!("{}: install ca-certificates", hosts.display()))?;
    all.extend(nginx.certificate()?);
    fs::write(&path, all)?;
    Ok(path)
}

/// The host's libssl, as curl loads it.
fn hosts_library() -> Result<PathBuf> {
    let listed = Command::new("sh").args(["-c", "ldd \"$(command -v curl)\""]).output().context("no ldd")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let path = listed.lines().find_map(|line| line.trim().strip_prefix("libssl.so")?.split_whitespace().nth(2));
    Ok(PathBuf::from(path.context("curl has no libssl")?))
}

/// A shell that runs a curl for each line it reads, and reports when that has ended.
struct Programs(Child);

impl Programs {
    /// `authorities`: the file that the programs read before the request; `None`: they accept any certificate.
    fn start(authorities: Option<&Path>) -> Result<Programs> {
        let script =
            "while read -r url libraries; do LD_LIBRARY_PATH=$libraries curl $0 -o /dev/null \"$url\"; echo $?; done";
        let mut shell = Command::new("sh");
        match authorities {
            Some(path) => shell.args(["-c", script, "-s"]).env("CURL_CA_BUNDLE", path),
            None => shell.args(["-c", script, "-sk"]),
        };
        Ok(Programs(shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("no shell")?))
    }

    fn one(&mut self, url: &str, libraries: &str) -> Result<()> {
        use std::io::Read as _;
        writeln!(self.0.stdin.as_mut().context("standard input is piped")?, "{url} {libraries}")?;
        let mut said = [0; 2];
        self.0.stdout.as_mut().context("standard output is piped")?.read_exact(&mut said)?;
        ensure!(said == *b"0\n", "curl failed: {}", String::from_utf8_lossy(&said));
        Ok(())
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number of complete exchanges, at most one for each program.
fn captured(told: &str) -> Result<usize> {
    let mut programs = std::collections::BTreeSet::new();
    for line in told.lines().filter(|line| line.contains("qtap.artifact_record")) {
        let line: Value = serde_json::from_str(line)?;
        let scopes = list(&line["resourceLogs"]).flat_map(|all| list(&all["scopeLogs"]));
        for record in scopes.flat_map(|all| list(&all["logRecords"])) {
            let attribute = |name: &str| list(&record["attributes"]).find(|one| one["key"] == name);
            let query = attribute("url.query").and_then(|query| query["value"]["stringValue"].as_str());
            if let (Some(query), None) = (query, attribute("qtap.incomplete")) {
                programs.insert(query.to_owned());
            }
        }
    }
    Ok(programs.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::captured;

    #[test]
    fn whole_exchanges_count_once_a_program() {
        let record = |query: &str, more: &[(&str, &str)]| {
            let attributes: Vec<_> = [("url.query", query)]
                .iter()
                .chain(more)
                .map(|(key, value)| serde_json::json!({"key": key, "value": {"stringValue": value}}))
                .collect();
            let records = serde_json::json!([{"eventName": "qtap.artifact_record", "attributes": attributes}]);
            serde_json::json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string()
        };
        let told =
            [record("1", &[]), record("1", &[]), record("2", &[("qtap.incomplete", "no_response")]), record("3", &[])];
        assert_eq!(captured(&told.join("\n")).unwrap(), 2);
    }
}
