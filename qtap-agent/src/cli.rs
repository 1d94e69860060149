//! The command line: commands and flags, each flag with its environment variable. In: arguments and environment. Out:
//! [`Cli`]. Only parses: the commands are carried out elsewhere.

mod limits;
mod listen;
#[cfg(test)]
mod page;
mod probes;
mod protection;
mod sockets;
mod watch;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::limits::LimitsArgs;
pub use self::probes::{ReturnProbes, TlsProbe};
pub use self::protection::{FeedbackGuard, ProtectionArgs};
pub use self::sockets::{Socket, SocketArgs};
pub use self::watch::Watch;
use crate::config;

/// Exit codes of qtap.
pub mod exit {
    /// Success.
    pub const OK: u8 = 0;
    /// A failure without a code of its own.
    pub const FAILED: u8 = 1;
    /// The config or the command line is wrong. clap uses the same code.
    pub const USAGE: u8 = 2;
    /// The host lacks something that is needed: privilege, BTF, tracefs.
    pub const HOST: u8 = 3;
    /// The recording is damaged, or has another ABI.
    pub const RECORDING: u8 = 4;
}

/// Captures what processes say over TLS and plain sockets, and exports it as linked OTLP records.
///
/// Without a command: `run`.
#[derive(Debug, Parser)]
#[command(name = "qtap", disable_version_flag = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
}

impl Cli {
    /// Parses the process's arguments and environment; exits when they are wrong or ask for help.
    #[must_use]
    pub fn parse() -> Cli {
        <Cli as Parser>::parse_from(with_command(std::env::args_os().collect()))
    }
}

/// Inserts `run` where the command belongs, when there is none: flags that every command takes may come before it.
fn with_command(mut args: Vec<OsString>) -> Vec<OsString> {
    // The usual flags for the version, which people try on an unknown program.
    if let Some(first) = args.get_mut(1).filter(|first| *first == "--version" || *first == "-V") {
        *first = OsString::from("version");
    }
    let mut at = 1;
    while let Some(arg) = args.get(at).and_then(|arg| arg.to_str()).filter(|arg| arg.starts_with("--log-")) {
        at += if arg.contains('=') { 1 } else { 2 };
    }
    let is_flag = |arg: &OsString| arg.to_string_lossy().starts_with('-') && arg != "-h" && arg != "--help";
    if args.get(at).is_none_or(is_flag) {
        args.insert(at.min(args.len()), OsString::from("run"));
    }
    args
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Least severe log line that is written, or a filter such as `info,qtap_agent::capture=debug` [default: info; warn for
    /// commands whose own output matters: exec, replay, record of a command]
    #[arg(long, env = "LOG_LEVEL", global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Form of log lines on stderr; console on a terminal, else json.
    #[arg(long, env = "LOG_ENCODING", global = true, value_name = "FORM")]
    pub log_encoding: Option<LogEncoding>,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogEncoding {
    /// Lines for people.
    Console,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Captures the host as the config says.
    Run(RunArgs),
    /// Captures one command and its children, from its first byte, and ends with it and its exit code.
    Exec(ExecArgs),
    /// Writes a recording of the host, or of one command, that `replay` reads.
    Record(RecordArgs),
    /// Runs a recording through the same pipeline, unprivileged.
    Replay(ReplayArgs),
    /// Tells a running qtap to read its config again, and prints what became of it.
    ReloadConfig(ReloadConfigArgs),
    /// Says of a running qtap, per process: its TLS library, what is probed of it, what of its traffic is not seen, and why.
    Processes(ProcessesArgs),
    /// Says what live capture wants of this host, what of it is there, and what helps.
    Doctor(DoctorArgs),
    /// Prints a JSON Schema of the config, for editors.
    Schema,
    /// Checks a config, or several: every fault at once, with its line and what would be right.
    Validate(ValidateArgs),
    /// Sends one sample record or object to each store of the config and says what became of it.
    TestConnection(TestConnectionArgs),
    /// Prints version, git revision and ABI number.
    Version,
}

impl Command {
    /// The default log level: for commands with output of their own, only problems are worth a line.
    #[must_use]
    pub fn log_level(&self) -> &'static str {
        match self {
            Command::Exec(_) | Command::Replay(_) => "warn",
            // Doctor reports its findings itself.
            Command::Doctor(_) => "error",
            Command::Record(args) if !args.command.is_empty() => "warn",
            Command::Run(_)
            | Command::Record(_)
            | Command::Validate(_)
            | Command::ReloadConfig(_)
            | Command::Processes(_)
            | Command::Schema
            | Command::TestConnection(_)
            | Command::Version => "info",
        }
    }

    /// True when the probes are to log what they do.
    #[must_use]
    pub fn traces_probes(&self) -> bool {
        match self {
            Command::Run(RunArgs { capture, .. })
            | Command::Exec(ExecArgs { capture, .. })
            | Command::Record(RecordArgs { capture, .. }) => capture.bpf_trace,
            Command::Replay(_)
            | Command::Doctor(_)
            | Command::ReloadConfig(_)
            | Command::Processes(_)
            | Command::Schema
            | Command::Validate(_)
            | Command::TestConnection(_)
            | Command::Version => false,
        }
    }
}

/// `qtap run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Of whom.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Directory for what must outlive the process: the queues of stores, what they refused, and bodies too large for memory. One qtap at a
    /// time.
    #[arg(long, env = "DATA_DIR", default_value = "/var/lib/qtap", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Address of health, metrics and status.
    #[arg(long, env = "HTTPD_LISTEN", default_value = "127.0.0.1:10001", value_name = "ADDRESS:PORT", value_parser = listen::parse)]
    pub httpd_listen: SocketAddr,
    /// What the agent itself may use.
    #[command(flatten)]
    pub limits: LimitsArgs,
    /// Look for changes of the config, this often (a file: 2s, a URL: 30s, unless told otherwise), and go over to it when it is valid.
    #[arg(
        long, env = "QTAP_CONFIG_WATCH", value_name = "INTERVAL", num_args = 0..=1, require_equals = true,
        default_value = "false", hide_default_value = true, default_missing_value = "true", value_parser = watch::parse
    )]
    pub config_watch: Watch,
}

impl RunArgs {
    /// Where the config is read from; none for the built-in default.
    #[must_use]
    pub fn source(&self) -> Option<config::Source> {
        self.config.source().map(|source| source.with_copies(&self.data_dir))
    }

    /// How often to check the config for changes; `None`: never.
    #[must_use]
    pub fn watch(&self) -> Option<Duration> {
        self.config_watch.of(&self.config.source()?)
    }
}

/// `qtap reload-config`.
#[derive(Debug, Clone, Args)]
pub struct ReloadConfigArgs {
    /// Address of the running qtap's health, metrics and status.
    #[arg(long, env = "HTTPD_LISTEN", default_value = "127.0.0.1:10001", value_name = "ADDRESS:PORT", value_parser = listen::parse)]
    pub httpd_listen: SocketAddr,
}

/// `qtap processes`.
#[derive(Debug, Clone, Args)]
pub struct ProcessesArgs {
    /// Address of the running qtap's health, metrics and status.
    #[arg(long, env = "HTTPD_LISTEN", default_value = "127.0.0.1:10001", value_name = "ADDRESS:PORT", value_parser = listen::parse)]
    pub httpd_listen: SocketAddr,
    /// As the agent says it, in JSON.
    #[arg(long)]
    pub json: bool,
}

/// `qtap doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// As one JSON object.
    #[arg(long)]
    pub json: bool,
    /// The directory that `run` is to have.
    #[arg(long, env = "DATA_DIR", default_value = "/var/lib/qtap", value_name = "DIR")]
    pub data_dir: PathBuf,
}

/// `qtap exec`.
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// The config; without one everything goes to stdout, bodies too.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// File for the records of the stdout protocol, instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Also write a recording of what the probes said, for `qtap replay`
    #[arg(long, value_name = "FILE")]
    pub recording: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(last = true, required = true, num_args = 1.., value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `qtap record`.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// The config: what to capture, of which only `tap` matters here.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Of whom, without a command.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// The recording.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The command and its arguments; without one the host is recorded until a signal comes.
    #[arg(last = true, num_args = 0.., value_name = "CMD", conflicts_with_all = ["pid", "cgroup"])]
    pub command: Vec<OsString>,
}

/// `qtap replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// The config; without one everything goes to stdout.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Bodies and tags, as in the run that is replayed.
    #[command(flatten)]
    pub records: RecordsArgs,
    /// File for the records of the stdout protocol, instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The recording.
    #[arg(value_name = "FILE")]
    pub recording: PathBuf,
}

/// `qtap validate`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    /// The config: a file, a URL, or `-` for standard input. Several are checked one after the other, each by itself.
    #[arg(value_name = "FILE|URL|-", required = true, num_args = 1..)]
    pub files: Vec<String>,
}

/// `qtap test-connection`.
#[derive(Debug, Clone, Args)]
pub struct TestConnectionArgs {
    /// The config.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only the store of this id.
    #[arg(long, value_name = "ID")]
    pub store: Option<String>,
}

/// Which config.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The config: a file, an `http://` or `https://` URL, or `-` for standard input. Without one the built-in default holds.
    #[arg(long, env = "QTAP_CONFIG", value_name = "FILE|URL")]
    pub config: Option<String>,
}

impl ConfigArgs {
    /// Where the config is read from; none for the built-in default. A variable that is empty counts as not set.
    #[must_use]
    pub fn source(&self) -> Option<config::Source> {
        self.config.as_deref().filter(|name| !name.is_empty()).map(config::Source::named)
    }
}

/// What the records of a run or replay hold.
#[derive(Debug, Clone, Args)]
pub struct RecordsArgs {
    /// Bytes of a body that are kept, per direction: 512kb, 64mb … up to 2gb.
    #[arg(long, env = "HTTP_BUFFER_SIZE", default_value = "2mb", value_name = "SIZE", value_parser = buffer_size)]
    pub http_buffer_size: usize,
    /// Tags on every record: `key:value,key:value`.
    #[arg(long, env = "QTAP_TAGS", value_name = "K:V,…", default_value = "", hide_default_value = true, value_parser = tags)]
    pub tags: Tags,
}

/// Each is `key:value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(pub Vec<String>);

/// What is captured.
#[derive(Debug, Clone, Args)]
pub struct CaptureArgs {
    /// Bodies and tags.
    #[command(flatten)]
    pub records: RecordsArgs,
    /// How qtap keeps out of it.
    #[command(flatten)]
    pub protection: ProtectionArgs,
    /// TLS libraries whose calls are probed.
    #[arg(long, env = "TLS_PROBES", default_value = "all", value_name = "LIST", value_delimiter = ',')]
    pub tls_probes: Vec<TlsProbe>,
    /// Probes on the returns of functions, which replace return addresses: where a function has no better site (auto), or not at all (never), for
    /// programs that switch stacks inside their TLS calls.
    #[arg(long, env = "RETURN_PROBES", value_enum, default_value = "auto", value_name = "WHEN")]
    pub return_probes: ReturnProbes,
    /// Loads an agent into the JVMs that are captured, because nothing else sees into Java's own TLS (JSSE): the one thing that qtap puts into other
    /// programs.
    #[arg(long, env = "JAVA_AGENT", value_parser = clap::builder::FalseyValueParser::new())]
    pub java_agent: bool,
    /// Container runtimes that are asked.
    #[command(flatten)]
    pub sockets: SocketArgs,
    /// What Kubernetes calls the node: `k8s.node.name` of every record.
    #[arg(long, env = "K8S_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// The probes log what they do: connections, and what TLS session is whose.
    #[arg(long, env = "BPF_TRACE", value_parser = clap::builder::FalseyValueParser::new())]
    pub bpf_trace: bool,
    /// Bytes of the ring between probes and agent, a power of two; without it, what two calls may bring.
    #[arg(long, hide = true, value_name = "SIZE", value_parser = ring_size)]
    pub ring_size: Option<u32>,
    /// Probes stand at function entry and return, whatever the code looks like: what chosen sites are compared with.
    #[arg(long, hide = true)]
    pub plain_sites: bool,
    /// Seconds that probes stay in a file that no process uses any more and that is not of the host's own system.
    #[arg(long, hide = true, default_value_t = 300, value_name = "SECONDS")]
    pub release_after: u64,
}

/// Whose connections are captured; neither flag: everyone's.
#[derive(Debug, Clone, Args)]
pub struct ScopeArgs {
    /// Only this process and its children; may be repeated.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,
    /// Only processes of this cgroup, a directory below the cgroup file system; may be repeated.
    #[arg(long, value_name = "PATH", conflicts_with = "pid")]
    pub cgroup: Vec<PathBuf>,
}

/// The executable file of a command, found the way `execvp` finds it.
#[must_use]
pub fn program_of(command: &[OsString]) -> Option<PathBuf> {
    let name = Path::new(command.first()?);
    if name.components().count() > 1 {
        return Some(name.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The output of `qtap version`; the caller knows git's `revision` and the `abi` number of the probes.
#[must_use]
pub fn version_text(revision: Option<&str>, abi: u32) -> String {
    let less = if cfg!(feature = "kernel") { "" } else { ", without live capture" };
    format!("qtap {} (revision {}, ABI {abi}){less}", env!("CARGO_PKG_VERSION"), revision.unwrap_or("unknown"))
}

/// The kernel requires a power of two, and whole pages.
fn ring_size(text: &str) -> Result<u32, String> {
    let size = u32::try_from(config::size(text)?).map_err(|_| "at most 2gb".to_owned())?;
    if size.is_power_of_two() && size >= 4096 { Ok(size) } else { Err("a power of two, 4kb or more".to_owned()) }
}

fn buffer_size(text: &str) -> Result<usize, String> {
    let size = config::size(text)?;
    if size > config::MAX_HTTP_BUFFER_SIZE {
        return Err("at most 2gb".to_owned());
    }
    usize::try_from(size).map_err(|_| "more than this machine can address".to_owned())
}

fn tags(text: &str) -> Result<Tags, String> {
    let tag = |tag: &str| match tag.split_once(':') {
        Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
            Ok(format!("{}:{}", key.trim(), value.trim()))
        }
        _ => Err(format!("`{tag}` is not `key:value`")),
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(tag).collect::<Result<_, _>>().map(Tags)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        read(line).map(|cli| cli.command)
    }

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(with_command(line.split_whitespace().map(OsString::from).collect()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn alone_it_runs() {
        let Command::Run(run) = parse("qtap").unwrap() else { panic!("not run") };
        assert_eq!(run.data_dir, PathBuf::from("/var/lib/qtap"));
        assert_eq!(run.httpd_listen.to_string(), "127.0.0.1:10001");
        assert_eq!(run.capture.records.http_buffer_size, 2 << 20);
        assert_eq!(run.capture.tls_probes, [TlsProbe::All]);
        let Command::Run(run) = parse("qtap --config x.yaml --pid 7 --pid 8").unwrap() else { panic!("not run") };
        assert_eq!((run.config.config.as_deref(), run.scope.pid.as_slice()), (Some("x.yaml"), [7, 8].as_slice()));
    }

    #[test]
    fn sockets_of_runtimes_are_taken() {
        let Command::Run(run) =
            parse("qtap --docker-socket-endpoint unix:///d --containerd-socket-endpoint /c").unwrap()
        else {
            panic!("not run")
        };
        let sockets = run.capture.sockets;
        let path = |path: &str| Socket(Some(PathBuf::from(path)));
        assert_eq!((sockets.docker_socket_endpoint, sockets.containerd_socket_endpoint), (path("/d"), path("/c")));
        assert_eq!(sockets.cri_runtime_socket_endpoint, Socket(None));
        let exec = parse("qtap exec --cri-runtime-socket-endpoint unix:///r -- true").unwrap();
        let Command::Exec(exec) = exec else { panic!("not exec") };
        assert_eq!(exec.capture.sockets.cri_runtime_socket_endpoint, path("/r"));
        assert!(parse("qtap --docker-socket-endpoint tcp://127.0.0.1:2375").is_err());
    }

    #[test]
    fn commands_beside_others_are_quiet() {
        for (line, level) in [
            ("qtap", "info"),
            ("qtap record -o r.qtap", "info"),
            ("qtap record -o r.qtap -- wget x", "warn"),
            ("qtap exec -- wget x", "warn"),
            ("qtap replay r.qtap", "warn"),
            ("qtap doctor", "error"),
        ] {
            assert_eq!(parse(line).unwrap().log_level(), level, "{line}");
            assert_eq!(read(line).unwrap().global.log_level, None, "{line}");
        }
    }

    #[test]
    fn run_is_put_where_no_command_stands() {
        for (line, with) in [
            ("qtap", "qtap run"),
            ("qtap --config validate", "qtap run --config validate"),
            ("qtap --log-level debug", "qtap --log-level debug run"),
            ("qtap --log-level=debug --pid 1", "qtap --log-level=debug run --pid 1"),
            ("qtap --log-level debug version", "qtap --log-level debug version"),
            ("qtap --log-level", "qtap --log-level run"),
            ("qtap --help", "qtap --help"),
            ("qtap --version", "qtap version"),
            ("qtap -V", "qtap version"),
            ("qtap fly", "qtap fly"),
        ] {
            let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
            assert_eq!(with_command(words(line)), words(with), "{line}");
        }
    }

    #[test]
    fn empty_counts_as_not_set() {
        assert_eq!(tags(""), Ok(Tags::default()));
        assert_eq!(tags("a:b, c:d:e,"), Ok(Tags(vec!["a:b".to_owned(), "c:d:e".to_owned()])));
        assert_eq!(ConfigArgs { config: Some(String::new()) }.source(), None);
        assert_eq!(ConfigArgs { config: Some("-".to_owned()) }.source(), Some(config::Source::Stdin));
    }

    #[test]
    fn every_flag_of_run() {
        let line = "qtap run --config q.yaml --log-level debug --log-encoding json --data-dir /d --httpd-listen [::1]:9 \
                    --tls-probes openssl --http-buffer-size 64mb --tags a:b,c:d --cgroup /x --cgroup /y --bpf-trace";
        let Cli { command, global } = read(line).unwrap();
        let Command::Run(run) = command else { panic!("not run") };
        assert_eq!((global.log_level.as_deref(), global.log_encoding), (Some("debug"), Some(LogEncoding::Json)));
        assert_eq!(run.capture.records.http_buffer_size, 64 << 20);
        assert_eq!(run.capture.records.tags.0, ["a:b", "c:d"]);
        assert_eq!(run.scope.cgroup.len(), 2);
        assert_eq!(run.capture.tls_probes, [TlsProbe::Openssl]);
        assert!(run.capture.bpf_trace);
        assert_eq!(run.httpd_listen.port(), 9);
    }

    #[test]
    fn the_config_is_watched_when_asked() {
        let run = |line: &str| match parse(line).unwrap() {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        };
        let watch = |line: &str| run(line).watch().map(|interval| interval.as_secs());
        assert_eq!(watch("qtap --config q.yaml"), None);
        assert_eq!(watch("qtap --config q.yaml --config-watch"), Some(2));
        assert_eq!(watch("qtap --config-watch --config https://x/q.yaml"), Some(30));
        assert_eq!(watch("qtap --config https://x/q.yaml --config-watch=1m"), Some(60));
        assert_eq!(watch("qtap --config q.yaml --config-watch=false"), None);
        assert_eq!((watch("qtap --config - --config-watch"), watch("qtap --config-watch")), (None, None));
        assert!(
            parse("qtap --config q.yaml --config-watch=1ms").is_err() && parse("qtap --config-watch=often").is_err()
        );
        let copied = config::Source::Url { url: "https://x/q.yaml".to_owned(), copies: Some(PathBuf::from("/d")) };
        assert_eq!(run("qtap --config https://x/q.yaml --data-dir /d").source(), Some(copied));
    }

    #[test]
    fn commands_after_two_dashes() {
        let Command::Exec(exec) = parse("qtap exec -o out.jsonl -- curl -sk https://x/").unwrap() else {
            panic!("not exec")
        };
        assert_eq!(exec.command, ["curl", "-sk", "https://x/"]);
        assert_eq!(exec.output, Some(PathBuf::from("out.jsonl")));
        let Command::Record(record) = parse("qtap record -o r.qtap").unwrap() else { panic!("not record") };
        assert!(record.command.is_empty());
        let Command::Record(record) = parse("qtap record -o r.qtap -- wget x").unwrap() else { panic!("not record") };
        assert_eq!(record.command.len(), 2);
    }

    #[test]
    fn the_other_commands() {
        assert!(matches!(parse("qtap replay r.qtap --config -"), Ok(Command::Replay(_))));
        assert!(matches!(parse("qtap validate -"), Ok(Command::Validate(args)) if args.files == ["-"]));
        assert!(matches!(parse("qtap validate a.yaml b.yaml"), Ok(Command::Validate(args)) if args.files.len() == 2));
        assert!(matches!(parse("qtap test-connection --store otel"), Ok(Command::TestConnection(_))));
        assert!(matches!(parse("qtap schema"), Ok(Command::Schema)));
        assert!(
            matches!(parse("qtap reload-config --httpd-listen 127.0.0.1:9"), Ok(Command::ReloadConfig(args)) if args.httpd_listen.port() == 9)
        );
        assert!(matches!(parse("qtap processes --json"), Ok(Command::Processes(args)) if args.json));
        assert!(matches!(parse("qtap version"), Ok(Command::Version)));
    }

    #[test]
    fn a_command_is_found_as_a_shell_finds_it() {
        let found = |name: &str| program_of(&[OsString::from(name)]);
        assert!(found("sh").is_some_and(|path| path.is_absolute() && path.ends_with("sh")));
        assert_eq!(found("./no-such"), Some(PathBuf::from("./no-such")));
        assert_eq!(found("no-such-command-anywhere"), None);
        assert_eq!(program_of(&[]), None);
    }

    #[test]
    fn version_names_all_three() {
        let text = version_text(Some("abc1234"), 7);
        let end = if cfg!(feature = "kernel") { "ABI 7)" } else { "ABI 7), without live capture" };
        assert!(text.starts_with("qtap ") && text.contains("(revision abc1234, ") && text.ends_with(end), "{text}");
        assert!(version_text(None, 1).contains("revision unknown"));
    }

    #[test]
    fn wrong_usage_is_exit_2() {
        for line in [
            "qtap fly",
            "qtap exec",
            "qtap record",
            "qtap validate",
            "qtap run --http-buffer-size 3gb",
            "qtap run --http-buffer-size big",
            "qtap run --tags nonsense",
            "qtap run --httpd-listen nowhere",
            "qtap run --pid 0",
            "qtap run --pid 1 --cgroup /x",
            "qtap exec --pid 1 -- true",
            "qtap record -o r.qtap --pid 1 -- true",
            "qtap run --tls-probes jsse",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), i32::from(exit::USAGE), "{line}");
        }
    }
}
