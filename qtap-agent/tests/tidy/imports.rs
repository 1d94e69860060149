//! The import rule (ARCHITECTURE.md, "The rule"): which room may name which. In: the path of a file below `src/` and its tokens.
//! Out: the faults, each with its line.

use crate::lex::Token;

/// The columns: each may name `model` and itself.
const COLUMNS: [&str; 6] = ["capture", "stream", "http", "dns", "pipeline", "export"];

/// Every room of the library.
const ROOMS: [&str; 13] = [
    "admin", "capture", "cli", "config", "dns", "export", "http", "logging", "model", "pipeline", "run", "stream",
    "tap",
];

/// Modules that belong to `main`: no other room names them, except that `run` names `cli` for the parsed arguments.
const COMMAND_LINE: [&str; 3] = ["main", "cli", "logging"];

/// Violations of the import rule in the file at `path` (below `src/`, e.g. `export/otlp/map.rs`).
pub(crate) fn faults(path: &str, tokens: &[(usize, Token<'_>)]) -> Vec<(usize, String)> {
    let module = module_of(path);
    let home = match path {
        // The crate root declares the rooms.
        "lib.rs" => return Vec::new(),
        "main.rs" => "main",
        _ => module.first().copied().unwrap_or_default(),
    };
    if home != "main" && !ROOMS.contains(&home) {
        return vec![(1, format!("`{home}` is no room of the house"))];
    }
    let mut found = Vec::new();
    for (line, target) in paths_from_root(&module, tokens) {
        let mut names = target.iter().map(String::as_str);
        let (room, inside) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        if let Some(fault) = fault(home, room, inside) {
            found.push((line, fault));
        } else if home == "config" && inside.is_empty() && COLUMNS.contains(&room) {
            found.extend(beside_settings(room, tokens));
        }
    }
    // The table of networks exists once, for the probes and for the agent.
    if home != "capture" && path != "model/address.rs" {
        let strangers = tokens.iter().filter(|(_, token)| *token == Token::Word("qtap_common"));
        found.extend(strangers.map(|(line, _)| (*line, "only capture/ may use qtap_common".to_owned())));
    }
    found
}

/// Why `home` may not name `room`; none when it may.
fn fault(home: &str, room: &str, inside: &str) -> Option<String> {
    if room == home || (home == "run" && ROOMS.contains(&room) && !matches!(room, "main" | "logging")) {
        return None;
    }
    if !ROOMS.contains(&room) {
        return Some(format!("{home} names `{room}` of the crate root"));
    }
    let may = match home {
        "main" => matches!(room, "run" | "config") || COMMAND_LINE.contains(&room),
        "cli" | "logging" => room == "config" || COMMAND_LINE.contains(&room),
        "tap" => matches!(room, "stream" | "http" | "dns" | "model"),
        // A room imported as a whole is checked where it is used.
        "config" => room == "model" || matches!(inside, "" | "settings" | "Settings"),
        "admin" => room == "model",
        _ if COLUMNS.contains(&home) => room == "model",
        // model and run: above.
        _ => false,
    };
    (!may).then(|| format!("{home} may not name {room}"))
}

/// Uses of a column that was imported as a whole for anything but its settings.
fn beside_settings(room: &str, tokens: &[(usize, Token<'_>)]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, (line, token)) in tokens.iter().enumerate() {
        if *token == Token::Word(room)
            && is_path(tokens, at + 1)
            && !(at > 0 && is_sign(tokens, at - 1, ':'))
            && let Some((_, Token::Word(inside))) = tokens.get(at + 3)
            && !matches!(*inside, "settings" | "Settings")
        {
            found.push((*line, format!("config may name the settings of {room}, not its {inside}")));
        }
    }
    found
}

/// `export/otlp/map.rs` → export, otlp, map; `export/mod.rs` → export.
fn module_of(path: &str) -> Vec<&str> {
    let mut names: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if names.last() == Some(&"mod") {
        names.pop();
    }
    names
}

/// The first two names of every path in the file that starts at the crate root: written `crate::…`, `qtap_agent::…` or with
/// enough `super`s, alone or in braces.
fn paths_from_root(module: &[&str], tokens: &[(usize, Token<'_>)]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    // Inline modules, each with the brace depth at which it opened.
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while let Some((line, token)) = tokens.get(at) {
        let mut length = 1;
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => {
                depth -= 1;
                inline.retain(|opened| *opened < depth + 1);
            }
            Token::Word("mod") if is_sign(tokens, at + 2, '{') => inline.push(depth + 1),
            Token::Word("crate" | "qtap_agent") if is_path(tokens, at + 1) && !is_visibility(tokens, at) => {
                found.extend(children(tokens, at + 3).into_iter().map(|path| (*line, path)));
            }
            Token::Word("super") if is_path(tokens, at + 1) => {
                let supers = (0..).take_while(|n| is_super(tokens, at + 3 * n)).count();
                length = 3 * supers;
                if supers >= module.len() + inline.len() {
                    found.extend(children(tokens, at + length).into_iter().map(|path| (*line, path)));
                }
            }
            Token::Word(_) | Token::Text(_) | Token::Sign(_) => {}
        }
        at += length;
    }
    found
}

/// The path, or the paths in braces, at `at`, each cut after two names.
fn children(tokens: &[(usize, Token<'_>)], at: usize) -> Vec<Vec<String>> {
    if !is_sign(tokens, at, '{') {
        return vec![two_names(tokens, at)];
    }
    let (mut found, mut depth, mut begins) = (Vec::new(), 0, false);
    for (offset, (_, token)) in tokens[at..].iter().enumerate() {
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => depth -= 1,
            Token::Word(_) if depth == 1 && begins => found.push(two_names(tokens, at + offset)),
            Token::Word(_) | Token::Text(_) | Token::Sign(_) => {}
        }
        if depth == 0 {
            break;
        }
        begins = depth == 1 && matches!(token, Token::Sign('{' | ','));
    }
    found
}

fn two_names(tokens: &[(usize, Token<'_>)], at: usize) -> Vec<String> {
    let name = |at: usize| match tokens.get(at) {
        Some((_, Token::Word(word))) => Some((*word).to_owned()),
        Some((_, Token::Text(_) | Token::Sign(_))) | None => None,
    };
    let second = if is_path(tokens, at + 1) { name(at + 3) } else { None };
    name(at).into_iter().chain(second).collect()
}

fn is_sign(tokens: &[(usize, Token<'_>)], at: usize, sign: char) -> bool {
    tokens.get(at).is_some_and(|(_, token)| *token == Token::Sign(sign))
}

fn is_path(tokens: &[(usize, Token<'_>)], at: usize) -> bool {
    is_sign(tokens, at, ':') && is_sign(tokens, at + 1, ':')
}

fn is_super(tokens: &[(usize, Token<'_>)], at: usize) -> bool {
    tokens.get(at).is_some_and(|(_, token)| *token == Token::Word("super")) && is_path(tokens, at + 1)
}

/// `pub(in crate::…)` is not an import.
fn is_visibility(tokens: &[(usize, Token<'_>)], at: usize) -> bool {
    at > 0 && tokens.get(at - 1).is_some_and(|(_, token)| *token == Token::Word("in"))
}

#[cfg(test)]
mod tests {
    use super::faults;
    use crate::lex::tokens;

    fn count(path: &str, source: &str) -> usize {
        faults(path, &tokens(source)).len()
    }

    #[test]
    fn what_may_be_named() {
        for (path, source) in [
            ("stream/table.rs", "use crate::model::conn::ConnId; use super::reassembly::X; use crate::stream::Y;"),
            ("tap.rs", "use crate::{http, model::{event, loss}, stream::Table};"),
            ("run.rs", "use crate::{capture, cli, config, export};"),
            ("main.rs", "use qtap_agent::config; mod cli; use crate::cli::Args; use qtap_agent::run;"),
            ("config/export.rs", "use crate::export::settings::Settings; use crate::model::time;"),
            ("config/mod.rs", "use crate::pipeline; struct S { p: pipeline::settings::Settings }"),
            ("logging.rs", "use crate::cli::LogEncoding;"),
            ("export/otlp/map.rs", "use super::super::batch::Batch; use super::client;"),
            ("export/otlp/map.rs", "mod tests { use super::super::super::batch::Batch; }"),
            ("capture/decode.rs", "use qtap_common::Header;"),
            (
                "http/h1.rs",
                "// crate::stream is not named here\nlet x = \"crate::stream::x\"; pub(in crate::stream) fn f() {}",
            ),
        ] {
            assert_eq!(faults(path, &tokens(source)), [], "{path}: {source}");
        }
    }

    #[test]
    fn what_may_not() {
        assert_eq!(count("http/h1.rs", "use crate::stream::Table;"), 1);
        assert_eq!(count("http/h1.rs", "fn f() { crate::stream::g() }"), 1);
        assert_eq!(count("http/h1.rs", "use crate::{model::conn, stream::{self, Table}, capture};"), 2);
        assert_eq!(count("http/h1.rs", "use super::super::stream::Table;"), 1);
        assert_eq!(count("http/mod.rs", "use super::stream::Table;"), 1);
        assert_eq!(count("tap.rs", "use super::export::Batch;"), 1);
        assert_eq!(count("tap.rs", "mod tests { use super::super::export::Batch; }"), 1);
        assert_eq!(count("model/event.rs", "use crate::http::Method;"), 1);
        assert_eq!(count("export/batch.rs", "use crate::config::File;"), 1);
        assert_eq!(count("export/batch.rs", "use crate::run::Options;"), 1);
        assert_eq!(count("export/batch.rs", "use crate::VERSION;"), 1);
        assert_eq!(count("config/export.rs", "use crate::export::otlp::Client;"), 1);
        assert_eq!(count("config/mod.rs", "use crate::pipeline; fn f() { pipeline::apply() }"), 1);
        assert_eq!(count("run.rs", "use crate::logging;"), 1);
        assert_eq!(count("cli.rs", "use crate::run::Failure;"), 1);
        assert_eq!(count("main.rs", "use qtap_agent::export::Batch;"), 1);
        assert_eq!(count("stream/table.rs", "use qtap_common::Header;"), 1);
        assert_eq!(count("attic/mod.rs", ""), 1);
    }

    #[test]
    fn the_line_is_told() {
        assert_eq!(faults("http/h1.rs", &tokens("\n\nuse crate::stream::Table;"))[0].0, 3);
    }
}
