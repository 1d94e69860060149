//! The coverage table: what qtap sees of each program, on each side, over each version of HTTP (`cargo xtask kernel coverage`).
//!
//! Only the program under test is captured; its peer is not, and knows what was exchanged. The program GETs and PUTs files. The records are checked
//! against what was asked: every exchange, the bytes of every body, the ports of both ends. Where anything is missing, qtap has to say why.

mod go;
mod libraries;
mod nss;
mod programs;
mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use super::lab::{Guarded, Lab, digest, noise, output_of, wait_for_port, wait_until};
use super::nginx::{Nginx, certificate};
use super::qtap::{Agent, get, text};
use super::records::{Record, Records};
use super::scope::config;
use programs::{How, Place, Program, Talk};

/// Sizes in bytes of the files: none, one, a few, as many as a TLS record holds and one more (RFC 8446, section 5.1), many.
const SIZES: [usize; 6] = [0, 1, 1000, 16_384, 16_385, 100_000];
/// Selects programs: parts of their names, separated by commas.
const ONLY: &str = "QTAP_COVERAGE_ONLY";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn number(self) -> &'static str {
        match self {
            Version::One => "1.1",
            Version::Two => "2",
        }
    }
}

/// One request, with a unique query.
#[derive(Debug, Clone)]
struct Ask {
    query: String,
    size: usize,
    url: String,
    /// The file that a PUT sends.
    file: Option<PathBuf>,
}

impl Ask {
    /// curl arguments for this request.
    fn by_curl(&self, version: &str) -> String {
        let put = self.file.as_ref().map(|file| format!("-T '{}'", file.display())).unwrap_or_default();
        format!("-sfk {version} -o /dev/null -w '%{{url}} %{{local_port}}\\n' {put} '{}'", self.url)
    }
}

/// A first request, and the list of all requests: a GET and a PUT of each size.
fn asks(lab: &Lab, base: &str, name: &str) -> (Vec<Ask>, Vec<Ask>) {
    let ask = |put: bool, size: usize, query: String| {
        let folder = if put { "put" } else { "seen" };
        let file = put.then(|| lab.path(&format!("{size}.bin")));
        Ask { url: format!("{base}/{folder}/{size}.bin?{query}"), query, size, file }
    };
    let each = |size: &usize| [false, true].map(|put| ask(put, *size, format!("{name}-{put}-{size}")));
    (vec![ask(false, 1000, format!("{name}-first"))], SIZES.iter().flat_map(each).collect())
}

/// A command for the peer of the program. It uses its own copy of OpenSSL, which has no probes: its traps would count as the program's.
fn peer(lab: &Lab, program: &str) -> Command {
    let (own, listed) = (lab.path("peer"), output_of(Command::new("ldconfig").arg("-p")));
    std::fs::create_dir_all(&own).unwrap();
    for line in listed.lines().filter(|line| line.trim_start().starts_with("libssl.so")) {
        let file = Path::new(line.rsplit(' ').next().unwrap());
        let copy = own.join(file.file_name().unwrap());
        // Copied once: another program may be running from the existing copy.
        if !copy.exists() {
            std::fs::copy(file, copy).unwrap();
        }
    }
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", own);
    command
}

/// A shell that runs the lines it is given, one after another.
struct Shell {
    child: Guarded,
    input: ChildStdin,
    dir: PathBuf,
    told: u32,
}

impl Shell {
    fn start(dir: &Path) -> Shell {
        let mut command = Command::new("sh");
        let log = std::fs::File::create(dir.join("said")).unwrap();
        command.current_dir(dir).stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = Guarded(command.spawn().unwrap());
        let input = child.0.stdin.take().unwrap();
        Shell { child, input, dir: dir.to_owned(), told: 0 }
    }

    /// Sends a line without waiting for it.
    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Runs a line and waits for its end, calling `meanwhile` repeatedly. Returns false when the line failed.
    fn run(&mut self, line: &str, mut meanwhile: impl FnMut()) -> bool {
        self.told += 1;
        let done = self.dir.join(format!("done-{}", self.told));
        self.tell(&format!("timeout 60 sh <<'LINE'\n{line}\nLINE\necho $? > made; mv made '{}'", done.display()));
        wait_until("the line is done", || {
            meanwhile();
            done.exists()
        });
        text(&done).trim() == "0"
    }
}

/// Makes the kernel count how often probes run, until this is dropped.
struct Counted(String);

impl Counted {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

    fn begin() -> Counted {
        let before = std::fs::read_to_string(Counted::SWITCH).unwrap();
        std::fs::write(Counted::SWITCH, "1").unwrap();
        Counted(before)
    }

    /// How often the function probes ran, once the count has stayed the same over two updates of the agent's metrics.
    fn traps(agent: &Agent) -> f64 {
        let now = || -> f64 {
            let page = get(agent.port, "/metrics").unwrap_or_default();
            let calls = page.lines().filter_map(|line| line.strip_prefix("qtap_probe_calls_total{probe=\""));
            let of_functions =
                calls.filter(|line| ["tls_", "go_", "rustls_"].iter().any(|name| line.starts_with(name)));
            of_functions.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let mut before = now();
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(2100));
            let after = now();
            if after == before {
                break;
            }
            before = after;
        }
        before
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = std::fs::write(Counted::SWITCH, &self.0);
    }
}

/// The requests of one talk, and what they cost.
struct Asked {
    first: Ask,
    asks: Vec<Ask>,
    /// By query: the local port of the client that asked a server.
    ports: BTreeMap<String, i64>,
    traps: f64,
    failed: bool,
    /// The reasons qtap gave meanwhile for not seeing HTTPS of some processes.
    unseen: BTreeSet<String>,
}

#[test]
#[ignore = "a table, by cargo xtask kernel coverage: it takes minutes, and programs that nothing else needs"]
fn of_each_program() {
    let only = std::env::var(ONLY).unwrap_or_default();
    let words: Vec<String> = only.split(',').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
    let names: Vec<String> = {
        let Some(lab) = Lab::open() else { return };
        certificate(lab.dir());
        let nginx = Nginx::start(&lab, 9);
        programs::all(&Place { lab: &lab, nginx: &nginx }, &words).into_iter().map(|program| program.name).collect()
    };
    let _counted = Counted::begin();
    let mut silent = Vec::new();
    // The test harness has begun a line when tests run one after another.
    println!("\n{HEAD}");
    for name in names {
        let Some(lab) = Lab::open() else { return };
        certificate(lab.dir());
        let nginx = Nginx::start_by(&lab, 9, peer(&lab, "nginx"));
        for size in SIZES {
            lab.write(&format!("{size}.bin"), &noise(size));
            nginx.serve(&format!("{size}.bin"), &noise(size));
        }
        let place = Place { lab: &lab, nginx: &nginx };
        let programs = programs::all(&place, std::slice::from_ref(&name));
        let program = programs.into_iter().find(|program| program.name == name).unwrap();
        for row in rows(&place, &program) {
            println!("{}", row.line(&program));
            if row.is_whole() == row.why.is_empty() {
                continue;
            }
            silent.push(format!("{name}: {row:?}"));
        }
    }
    assert!(silent.is_empty(), "not whole, and qtap does not say why: {silent:#?}");
}

/// All talks of one program.
fn rows(place: &Place<'_>, program: &Program) -> Vec<Row> {
    let mut shell = Shell::start(place.lab.dir());
    for line in &program.started {
        shell.tell(&format!("timeout 200 {line} < /dev/null & servers=\"$servers $!\""));
    }
    for talk in &program.talks {
        if let How::Serves(port) | How::PassesOn(port) = talk.how {
            wait_for_port(port);
        }
    }
    let settings = place.lab.write("qtap.yaml", config("level: full", "").as_bytes()).display().to_string();
    let pid = shell.child.pid().to_string();
    let mut arguments = vec!["--config", &settings, "--pid", &pid];
    arguments.extend(program.java_agent.then_some("--java-agent"));
    let agent = Agent::start(place.lab, arguments);
    let mut asked: Vec<Asked> = program.talks.iter().map(|talk| perform(place, talk, &mut shell, &agent)).collect();
    // A program that ends at once can't be asked about later; the reasons of its other talks apply to it.
    let unseen: BTreeSet<String> = asked.iter().flat_map(|asked| asked.unseen.clone()).collect();
    asked.iter_mut().for_each(|asked| asked.unseen.clone_from(&unseen));
    shell.tell("kill $servers; wait; exit");
    let _ = shell.child.end_within(super::lab::PATIENCE);
    std::thread::sleep(Duration::from_secs(1));
    let records = agent.stop().records;
    let both = program.talks.iter().zip(&asked);
    both.map(|(talk, asked)| Row::of(place, talk, asked, &records)).collect()
}

fn perform(place: &Place<'_>, talk: &Talk, shell: &mut Shell, agent: &Agent) -> Asked {
    let base = match talk.how {
        How::Serves(port) => format!("https://127.0.0.1:{port}"),
        How::PassesOn(port) => format!("http://127.0.0.1:{port}"),
        How::Asks(_) => format!("https://127.0.0.1:{}", place.nginx.https),
    };
    let (first, asks) = asks(place.lab, &base, &format!("{:?}-{}", talk.side, talk.version.number()));
    let plan = place.lab.path("plan");
    let mut unseen = BTreeSet::new();
    let mut ask = |asks: &[Ask]| -> (bool, String) {
        let lines = asks.iter().map(|ask| match &ask.file {
            Some(file) => format!("PUT {} {}\n", ask.url, file.display()),
            None => format!("GET {}\n", ask.url),
        });
        std::fs::write(&plan, lines.collect::<String>()).unwrap();
        if let How::Asks(line) = &talk.how {
            return (shell.run(&line(asks, &plan), || unseen.extend(reasons(agent))), String::new());
        }
        let version = if talk.version == Version::Two && talk.side == Side::Server { "--http2" } else { "--http1.1" };
        let words: Vec<_> = asks.iter().map(|ask| ask.by_curl(version)).collect();
        let asked = peer(place.lab, "sh").args(["-c", &format!("curl {}", words.join(" --next "))]).output().unwrap();
        let said = [&asked.stdout[..], &asked.stderr].concat();
        (asked.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (well_at_first, said) = ask(&first);
    assert!(well_at_first, "{base}: {said}{}", text(&place.lab.path("said")));
    let before = Counted::traps(agent);
    let (well, said) = ask(&asks);
    let traps = Counted::traps(agent) - before;
    if !well {
        println!("{base}: {said}{}", text(&place.lab.path("said")));
    }
    if let How::Serves(_) | How::PassesOn(_) = talk.how {
        unseen.extend(reasons(agent));
    }
    let port_of = |line: &str| {
        let (url, port) = line.split_once(' ')?;
        Some((url.split_once('?')?.1.to_owned(), port.parse().ok()?))
    };
    let ports = said.lines().filter_map(port_of).collect();
    Asked { first: first[0].clone(), asks, ports, traps, failed: !well, unseen }
}

/// Why qtap does not see all of the processes that have connections, as `qtap processes` reports it. Files are given without their directories.
fn reasons(agent: &Agent) -> Vec<String> {
    let page = get(agent.port, "/processes").unwrap_or_default();
    let page: serde_json::Value =
        page.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).unwrap_or_default();
    let processes = page["processes"].as_array().cloned().unwrap_or_default();
    let talking = processes.iter().filter(|one| one["tls_connections"].as_u64() > Some(0));
    let short = |reason: &str| {
        let words = reason.split(' ').map(|word| word.rsplit('/').next().unwrap_or_default());
        words.collect::<Vec<_>>().join(" ")
    };
    talking.filter_map(|one| one["reason"].as_str()).map(short).collect()
}

/// What was reported of one talk.
#[derive(Debug)]
struct Row {
    side: Side,
    version: Version,
    asked: usize,
    told: usize,
    bodies: usize,
    peers: usize,
    first: bool,
    library: BTreeSet<String>,
    binding: BTreeSet<String>,
    traps: f64,
    why: BTreeSet<String>,
}

const HEAD: &str = "| program | version | side | HTTP | exchanges | bodies exact | peer right | its first request | library | bound by | traps per exchange | why not whole |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | ---: | --- |";

impl Row {
    fn of(place: &Place<'_>, talk: &Talk, asked: &Asked, records: &Records) -> Row {
        // A proxy makes the same requests once more without TLS.
        let mut plain = vec![place.nginx.http];
        plain.extend(if let How::PassesOn(port) = talk.how { Some(port) } else { None });
        let mut row = Row {
            side: talk.side,
            version: talk.version,
            asked: asked.asks.len(),
            told: 0,
            bodies: 0,
            peers: 0,
            first: told(records, &asked.first, &plain).len() == 1,
            library: BTreeSet::new(),
            binding: BTreeSet::new(),
            traps: asked.traps / asked.asks.len() as f64,
            why: BTreeSet::new(),
        };
        let port = match talk.how {
            How::Serves(port) => port,
            How::Asks(_) | How::PassesOn(_) => place.nginx.https,
        };
        for ask in &asked.asks {
            let found = told(records, ask, &plain);
            let [exchange] = found[..] else { continue };
            row.told += usize::from(exchange.text("network.protocol.version") == talk.version.number());
            let exact = is_exact(records, exchange, ask);
            if !exact {
                let of = |one: &&Record| one.connection() == exchange.connection();
                println!("not exact: {ask:?}: {exchange:?} of {:?}", records.connections().into_iter().rfind(of));
            }
            row.bodies += usize::from(exact);
            row.peers += usize::from(is_peer(records, exchange, talk.side, port, asked.ports.get(&ask.query)));
            let of = |one: &&Record| one.connection() == exchange.connection();
            if let Some(connection) = records.connections().into_iter().rfind(of) {
                row.library.insert(connection.text("connection.tls.library").to_owned());
                row.binding.insert(connection.text("connection.binding").to_owned());
            }
        }
        if asked.failed {
            row.why.insert("the program failed".to_owned());
        }
        if !row.is_whole() {
            row.why.extend(asked.unseen.iter().cloned());
        }
        if !row.is_whole() && row.why.is_empty() {
            for closed in records.closed().into_iter().filter(|one| one.int("server.port") == Some(i64::from(port))) {
                let reason = closed.text("connection.tls.uninspected_reason");
                row.why.extend((!reason.is_empty()).then(|| reason.to_owned()));
                row.why.extend(closed.losses().keys().map(|loss| format!("lost: {loss}")));
            }
        }
        row
    }

    fn is_whole(&self) -> bool {
        [self.told, self.bodies, self.peers].iter().all(|count| *count == self.asked)
    }

    fn line(&self, program: &Program) -> String {
        let joined = |texts: &BTreeSet<String>| texts.iter().cloned().collect::<Vec<_>>().join(", ");
        let of = |count: usize| format!("{count} of {}", self.asked);
        let cells = [
            program.name.clone(),
            program.version.clone(),
            format!("{:?}", self.side).to_lowercase(),
            self.version.number().to_owned(),
            of(self.told),
            of(self.bodies),
            of(self.peers),
            if self.first { "seen" } else { "missed" }.to_owned(),
            joined(&self.library),
            joined(&self.binding),
            format!("{:.1}", self.traps),
            joined(&self.why),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

/// The exchanges reported for a request, except those at these ports.
fn told<'a>(records: &'a Records, ask: &Ask, plain: &[u16]) -> Vec<&'a Record> {
    let is_plain = |one: &Record| plain.iter().any(|port| one.int("server.port") == Some(i64::from(*port)));
    let is = |one: &&Record| one.text("url.query") == ask.query && !is_plain(one);
    records.exchanges().into_iter().filter(is).collect()
}

/// The exchange has the file, byte for byte.
fn is_exact(records: &Records, exchange: &Record, ask: &Ask) -> bool {
    let side = if ask.file.is_some() { "request" } else { "response" };
    let size = exchange.int(&format!("http.{side}.body.size")).unwrap_or(0);
    if size != ask.size as i64 {
        return false;
    }
    let name = exchange.text(&format!("artifact.{side}.digest"));
    let object = records.objects().into_iter().find(|object| object.text("artifact.digest") == name);
    size == 0 || object.is_some_and(|object| object.artifact()["body"]["digest"] == digest(&noise(ask.size)))
}

/// The ports match those that the peer saw: nginx reports them in its response, curl in its output.
fn is_peer(records: &Records, exchange: &Record, side: Side, port: u16, local: Option<&i64>) -> bool {
    let right = exchange.text("server.address") == "127.0.0.1" && exchange.int("server.port") == Some(i64::from(port));
    let seen = match side {
        Side::Server => local.copied(),
        Side::Client => {
            let response = records.artifact_of(exchange, "response").to_string();
            let after = response.to_ascii_lowercase().split("x-client-port").nth(1).map(ToOwned::to_owned);
            let digits = |text: String| {
                text.chars()
                    .skip_while(|one| !one.is_ascii_digit())
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
            };
            after.map(digits).and_then(|digits| digits.parse().ok())
        }
    };
    right && seen.is_some() && exchange.int("client.port") == seen
}
