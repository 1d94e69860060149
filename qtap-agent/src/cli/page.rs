//! Checks that the page about the command line matches the program: each flag with its variable, default and commands, and no others. Tests only.

use std::collections::BTreeMap;

use clap::{Arg, Command, CommandFactory};

use super::Cli;

const PAGE: &str = include_str!("../../../docs/command-line.md");

/// A flag as the page describes it: its names, variable, default, commands.
type Row = [String; 4];

fn coded(word: &str) -> String {
    format!("`{word}`")
}

fn shown(flag: &Arg) -> Option<(String, Row)> {
    let long = flag.get_long().filter(|long| *long != "help" && !flag.is_hide_set())?;
    let short = flag.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let variable = flag.get_env().map(|name| coded(&name.to_string_lossy())).unwrap_or_default();
    let hidden = flag.is_hide_default_value_set() || !flag.get_action().takes_values();
    let default = flag.get_default_values().first().filter(|_| !hidden).map(|value| coded(&value.to_string_lossy()));
    Some((long.to_owned(), [format!("{short}`--{long}`"), variable, default.unwrap_or_default(), String::new()]))
}

/// Every flag of the program, by its long name.
fn taken() -> BTreeMap<String, Row> {
    let cli = Cli::command();
    let mut all: BTreeMap<String, Row> = BTreeMap::new();
    for command in cli.get_subcommands() {
        for (long, row) in command.get_arguments().filter_map(shown) {
            let known = all.entry(long).or_insert_with(|| row.clone());
            assert_eq!(known[..3], row[..3], "the same flag is the same everywhere");
            known[3] = format!("{} {}", known[3], coded(command.get_name())).trim().to_owned();
        }
    }
    for (long, mut row) in cli.get_arguments().filter_map(shown) {
        row[3] = "all".to_owned();
        all.insert(long, row);
    }
    all
}

/// The cells of the table below a heading, without the last column.
fn table(heading: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let below = PAGE.split_once(heading).map_or("", |(_, below)| below);
    let lines = below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    lines.skip(2).map(|line| line.trim_matches('|').split(" |").map(str::trim).collect())
}

#[test]
fn each_flag_stands_on_the_page_as_it_is() {
    let taken = taken();
    let told: Vec<Vec<&str>> = table("## Flags").map(|row| row[..4].to_vec()).collect();
    for row in taken.values() {
        assert!(told.iter().any(|told| told == row), "the page lacks {row:?}; it has {told:#?}");
    }
    assert_eq!(told.len(), taken.len(), "the page has flags that the program lacks");
}

#[test]
fn each_command_stands_on_the_page() {
    let told: Vec<&str> =
        table("## Commands").filter_map(|row| row[0].strip_prefix("`qtap ")?.split([' ', '`']).next()).collect();
    let cli = Cli::command();
    let names: Vec<&str> = cli.get_subcommands().map(Command::get_name).collect();
    assert_eq!(told, names);
}
