//! The repository's tasks as commands: `cargo xtask COMMAND`. Each command is a file; this one only reads the arguments.
#![allow(clippy::print_stdout, clippy::print_stderr)] // talking to a terminal is what it is for

mod apt;
mod bench;
mod bpf_toolchain;
mod chart;
mod check;
mod cross;
mod demo;
mod fuzz;
mod image;
mod java;
mod kernel;
mod nginx;
mod processor;
mod setup;
mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Every habit of the repository as a command.")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Finds or installs what the build, the demo and the checks need; says what it did.
    Setup {
        /// What the machine is to be fit for.
        #[arg(long = "for", value_enum, default_value = "check")]
        purpose: setup::Purpose,
    },
    /// Captures a real curl talking HTTPS to a real nginx, and shows the records.
    Demo,
    /// Format, lints, docs, dependencies, chart, tests.
    Check(check::Options),
    /// Renders the Helm chart and compares it with what is expected.
    Chart(chart::Options),
    /// The tests of the running kernel, here and on other kernels in virtual machines.
    Kernel(kernel::Options),
    /// Builds a container image of qtap with podman or docker, from this machine's own files.
    Image(image::Options),
    /// Compiles the agent for JVMs, which is committed as an archive.
    Java,
    /// What watching costs the watched server: prints a table.
    Bench(bench::Options),
    /// Runs the fuzz targets, one or all, and prints CPU time, executions and coverage.
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Setup { purpose } => setup::run(purpose),
        Task::Demo => demo::run(),
        // It prints its own last line.
        Task::Check(options) => return if check::run(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        Task::Chart(options) => chart::run(&options),
        Task::Kernel(options) => kernel::run(&options),
        Task::Image(options) => image::run(&options),
        Task::Java => java::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
