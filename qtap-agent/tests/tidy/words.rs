//! Words that belong to one room: attribute names to `export/otlp/map.rs`, the environment to `config/` and the command line; and
//! words that belong nowhere: paths of one machine. In: tokens or text of a file. Out: faults with their lines.

use crate::lex::Token;

/// The one file that knows attribute names, and the folder of its parts.
const MAP: &str = "export/otlp/map.rs";
const MAP_ROOM: &str = "export/otlp/map/";

/// Names that are used only as attributes: `http.duration_ms`, for example, is also a field of rules.
const ATTRIBUTES: [&str; 115] = [
    "artifact.chunk",
    "artifact.chunk_offset",
    "artifact.chunks",
    "artifact.content_type",
    "artifact.data",
    "artifact.digest",
    "artifact.missing",
    "artifact.part",
    "artifact.parts",
    "artifact.request.digest",
    "artifact.request.url",
    "artifact.response.digest",
    "artifact.response.url",
    "artifact.size_bytes",
    "artifact.truncated",
    "artifact.type",
    "client.address",
    "client.port",
    "connection.binding",
    "connection.bytes_received",
    "connection.bytes_sent",
    "connection.captured_bytes",
    "connection.direction",
    "connection.duration_ms",
    "connection.endpoint_id",
    "connection.finalized",
    "connection.id",
    "connection.loss.unaccounted",
    "connection.lost_bytes",
    "connection.part",
    "connection.protocol",
    "connection.request_id",
    "connection.requests",
    "connection.sampled_out",
    "connection.state",
    "connection.tls.inspected",
    "connection.tls.joined_late",
    "connection.tls.library",
    "connection.tls.sni",
    "connection.tls.uninspected_reason",
    "container.id",
    "container.image.name",
    "container.image.tags",
    "container.name",
    "deployment.environment.name",
    "event.type",
    "host.id",
    "host.name",
    "http.request.body.size",
    "http.request.header.content-type",
    "http.request.header.tracestate",
    "http.request.method",
    "http.request_transfer_ms",
    "http.response.body.size",
    "http.response.header.content-type",
    "http.response.status_code",
    "http.response_transfer_ms",
    "http.time_to_first_byte_ms",
    "issue.category",
    "issue.duration_ms",
    "issue.error_type",
    "issue.method",
    "issue.name",
    "issue.reasons",
    "issue.request.digest",
    "issue.request.url",
    "issue.response.digest",
    "issue.response.url",
    "issue.status_code",
    "issue.url",
    "k8s.container.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "log.record.uid",
    "network.peer.address",
    "network.protocol.name",
    "network.protocol.version",
    "network.transport",
    "network.type",
    "process.command",
    "process.executable.name",
    "process.executable.path",
    "process.pid",
    "process.user.id",
    "process.user.name",
    "qtap.incomplete",
    "qtap.truncated_attributes",
    "request.auth.digest",
    "request.auth.source",
    "request.auth.type",
    "request.body_bytes",
    "request.duration_ms",
    "request.path_template",
    "request.response_body_bytes",
    "request.status_code",
    "rpc.request.message_bytes",
    "rpc.request.message_count",
    "rpc.response.message_bytes",
    "rpc.response.message_count",
    "rpc.status_code",
    "rpc.status_message",
    "rpc.system.name",
    "server.address",
    "server.port",
    "tls.next_protocol",
    "tls.protocol.version",
    "url.full",
    "user_agent.original",
    "websocket.request.close_code",
    "websocket.request.message_bytes",
    "websocket.request.message_count",
    "websocket.response.close_code",
    "websocket.response.message_bytes",
    "websocket.response.message_count",
];

/// The tokens that are not inside `#[cfg(test)]` items.
pub(crate) fn without_tests<'s>(tokens: &[(usize, Token<'s>)]) -> Vec<(usize, Token<'s>)> {
    let signs = |at: usize, signs: &str| {
        signs
            .chars()
            .enumerate()
            .all(|(n, sign)| tokens.get(at + n).is_some_and(|(_, token)| *token == Token::Sign(sign)))
    };
    let word = |at: usize, word: &str| tokens.get(at).is_some_and(|(_, token)| *token == Token::Word(word));
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if signs(at, "#[") && word(at + 2, "cfg") && signs(at + 3, "(") && word(at + 4, "test") && signs(at + 5, ")]") {
            at = end_of_item(tokens, at + 7);
        } else {
            kept.push(*token);
            at += 1;
        }
    }
    kept
}

/// The index after the block or semicolon that ends the item.
fn end_of_item(tokens: &[(usize, Token<'_>)], start: usize) -> usize {
    let mut depth = 0usize;
    for (offset, (_, token)) in tokens.iter().enumerate().skip(start) {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}') if depth == 1 => return offset + 1,
            Token::Sign('}' | ')' | ']') => depth = depth.saturating_sub(1),
            Token::Sign(';') if depth == 0 => return offset + 1,
            Token::Sign(_) | Token::Word(_) | Token::Text(_) => {}
        }
    }
    tokens.len()
}

/// Attribute names outside the file that maps them.
pub(crate) fn attribute_names(path: &str, code: &[(usize, Token<'_>)]) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    for (line, token) in code.iter().filter(|_| path != MAP && !path.starts_with(MAP_ROOM)) {
        if let Token::Text(text) = token
            && ATTRIBUTES.contains(text)
        {
            faults.push((*line, format!("the attribute name {text:?} belongs to {MAP}")));
        }
    }
    faults
}

/// Reads of the environment outside `config/` and the command line.
pub(crate) fn environment(path: &str, code: &[(usize, Token<'_>)]) -> Vec<(usize, String)> {
    if path.starts_with("config/") || ["config.rs", "main.rs", "cli.rs"].contains(&path) {
        return Vec::new();
    }
    let reads = |window: &[(usize, Token<'_>)]| match window {
        [(line, Token::Word("env")), (_, Token::Sign(':')), (_, Token::Sign(':')), (_, Token::Word(name))] => {
            ["var", "var_os", "vars", "vars_os"].contains(name).then_some(*line)
        }
        _ => None,
    };
    let lines = code.windows(4).filter_map(reads);
    lines.map(|line| (line, "only config/ and the command line read the environment".to_owned())).collect()
}

/// Prefixes of paths that exist on one machine only. Each is written in two halves, so that this file contains none.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tmp/", "wt/")];

/// Such paths in the text, including comments and strings. `/proc/PID/root/…` is not one: a match must be the beginning of a path, with
/// no path component before it.
pub(crate) fn machine_paths(source: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    for (line, text) in (1..).zip(source.lines()) {
        for path in MACHINE_PATHS {
            let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "}>*_.".contains(c));
            if text.match_indices(path).any(|(at, _)| begins(at)) {
                faults.push((line, format!("a path of one machine: {path}")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{attribute_names, environment, machine_paths, without_tests};
    use crate::lex::tokens;

    #[test]
    fn attribute_names_belong_to_the_map() {
        let source = "fn f() { put(\"connection.id\"); }";
        assert_eq!(attribute_names("pipeline/apply.rs", &tokens(source)).len(), 1);
        assert_eq!(attribute_names("export/otlp/map.rs", &tokens(source)), []);
        assert_eq!(
            attribute_names("pipeline/rule.rs", &tokens("// \"connection.id\"\nlet x = \"http.req.method\";")),
            []
        );
    }

    #[test]
    fn tests_may_name_them() {
        let source = "fn f() {}\n#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests { fn g() { put(\"connection.id\") } }\nfn h() { put(\"url.full\") }";
        let faults = attribute_names("pipeline/apply.rs", &without_tests(&tokens(source)));
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].0, 5);
    }

    #[test]
    fn the_environment_belongs_to_config() {
        let source = "fn f() { std::env::var(\"X\"); env::var_os(\"Y\"); env!(\"Z\"); std::env::consts::ARCH; }";
        assert_eq!(environment("export/auth.rs", &tokens(source)).len(), 2);
        assert_eq!(environment("config/mod.rs", &tokens(source)), []);
        assert_eq!(environment("main.rs", &tokens(source)), []);
    }

    #[test]
    fn machine_paths_are_found_and_proc_is_not_one() {
        for path in super::MACHINE_PATHS {
            assert_eq!(machine_paths(&format!("x\nlet y = \"{path}x\";")).len(), 1, "{path}");
        }
        let root = super::MACHINE_PATHS[1];
        for before in ["/proc/1", "/proc/{pid}", "/proc/PID", "/proc/<pid>", "/proc/*"] {
            assert_eq!(machine_paths(&format!("\"{before}{root}usr\"")), [], "{before}");
        }
    }
}
