//! `qtap`: arguments, environment, logging, exit code. `run` carries out the commands.

use std::io::Write as _;
use std::process::ExitCode;

use qtap_agent::cli::{Cli, Command, RecordsArgs, Tags, TestConnectionArgs, exit, version_text};
use qtap_agent::config::{self, Level, Settings, Source};
use qtap_agent::{logging, run};

/// Records are allocated on one thread and freed on another, many thousand per second: the C library's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "kernel")]
    if let Some(code) = run::errand(std::env::args_os()) {
        return code.into();
    }
    let Cli { command, global } = Cli::parse();
    // An empty variable counts as not set.
    #[cfg(feature = "kernel")]
    let (wanted, notes) = telemetry(&command);
    let level = global.log_level.as_deref().filter(|level| !level.is_empty()).unwrap_or(command.log_level());
    #[cfg(feature = "kernel")]
    let elsewhere = wanted.asked.anything().then(|| Box::new(wanted.bridge.clone()) as logging::Elsewhere);
    #[cfg(not(feature = "kernel"))]
    let elsewhere = None;
    if let Err(reason) = logging::init(level, command.traces_probes(), global.log_encoding, elsewhere) {
        say(&reason);
        return exit::USAGE.into();
    }
    #[cfg(feature = "kernel")]
    let done = {
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        act(command, wanted)
    };
    #[cfg(not(feature = "kernel"))]
    let done = act(command);
    logging::tell_what_was_held_back();
    match done {
        Ok(code) => code.into(),
        Err(failure) => {
            say(&format!("{:#}", failure.reason));
            failure.code.into()
        }
    }
}

/// The final message of a command, for people, on stderr.
#[allow(clippy::print_stderr)] // the last word of a command, also when logging is off
fn say(text: &str) {
    eprintln!("qtap: {text}");
}

/// Prints the output that a command was asked for. A reader that closes the pipe early is no error.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn act(command: Command, #[cfg(feature = "kernel")] wanted: run::Telemetry) -> Result<u8, run::Failure> {
    match command {
        #[cfg(feature = "kernel")]
        Command::Run(args) => {
            let settings = load(args.source(), &args.capture.records, Level::Summary)?;
            run::run(&settings, &args, environment, &wanted).map(|()| exit::OK)
        }
        #[cfg(feature = "kernel")]
        Command::Exec(args) => run::exec(&load(args.config.source(), &args.capture.records, Level::Full)?, &args),
        #[cfg(feature = "kernel")]
        Command::Record(args) => run::record(&load(args.config.source(), &args.capture.records, Level::Full)?, &args),
        #[cfg(not(feature = "kernel"))]
        Command::Run(_) | Command::Exec(_) | Command::Record(_) | Command::ReloadConfig(_) | Command::Processes(_) => {
            Err(run::Failure::host(anyhow::anyhow!("this qtap was built without live capture (the feature `kernel`)")))
        }
        Command::Replay(args) => {
            let settings = load(args.config.source(), &args.records, Level::Full)?;
            run::replay(&settings, &args).map(|()| exit::OK)
        }
        Command::Validate(args) => {
            let mut code = exit::OK;
            for file in &args.files {
                let verdict = config::validate(Source::named(file), &environment);
                print(&verdict.text);
                code = code.max(if verdict.valid { exit::OK } else { exit::USAGE });
            }
            Ok(code)
        }
        Command::Doctor(args) => Ok(run::doctor(&args, &mut print)),
        Command::Schema => {
            print(&format!("{:#}", config::schema()));
            Ok(exit::OK)
        }
        #[cfg(feature = "kernel")]
        Command::Processes(args) => run::processes(&args, &mut print),
        #[cfg(feature = "kernel")]
        Command::ReloadConfig(args) => run::reload_config(args.httpd_listen, &mut print),
        Command::TestConnection(args) => connect(&args),
        Command::Version => {
            print(&version_text(option_env!("QTAP_GIT_REVISION"), run::ABI));
            Ok(exit::OK)
        }
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The telemetry of qtap's own that the variables of the OpenTelemetry specification ask for, for the one long-running command; and notes on
/// what they ask for that is not available.
#[cfg(feature = "kernel")]
fn telemetry(command: &Command) -> (run::Telemetry, Vec<String>) {
    match command {
        Command::Run(_) => run::Telemetry::by(&environment),
        _ => Default::default(),
    }
}

/// Protects the secrets of a config: from here on this process makes no core dump, and other processes of the same user can't inspect it.
/// `execve` resets this, so a command that qtap runs is not affected.
fn keep_to_ourselves() {
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "core dumps are not prevented");
    }
}

/// The settings from the config's source, or the built-in ones.
fn load(from: Option<Source>, records: &RecordsArgs, built_in: Level) -> Result<Settings, run::Failure> {
    let settings = match from {
        None => Settings::built_in(built_in),
        Some(source) => {
            keep_to_ourselves();
            let loaded = config::load(source, &environment);
            let (settings, notes) = loaded.map_err(|faults| run::Failure {
                code: exit::USAGE,
                reason: anyhow::anyhow!("the config is not valid\n{faults}"),
            })?;
            for note in notes {
                tracing::warn!("{note}");
            }
            settings
        }
    };
    Ok(settings.with(&records.tags.0, records.http_buffer_size))
}

/// Sends one sample to each store.
fn connect(args: &TestConnectionArgs) -> Result<u8, run::Failure> {
    let records = RecordsArgs { http_buffer_size: config::HTTP_BUFFER_SIZE, tags: Tags::default() };
    let settings = load(args.config.source(), &records, Level::Summary)?;
    run::test_connection(&settings, args.store.as_deref(), &mut |verdict| say(verdict))
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn no_core_dump_holds_a_config() {
        super::keep_to_ourselves();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}
