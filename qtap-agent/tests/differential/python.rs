//! The stacks behind `stacks.py`. In: cases. Out: what each stack read; None for a stack that is not installed. None for all without Python.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::engine::{Engine, general_purpose::STANDARD};
use serde_json::{Value, json};

use super::Read;

/// Bytes for one stack.
pub(crate) struct Case {
    pub(crate) stack: &'static str,
    /// True: the stack is a server and the bytes are requests. False: it is a client, which has sent the requests `asked`.
    pub(crate) server: bool,
    pub(crate) asked: Vec<(String, String)>,
    pub(crate) data: Vec<u8>,
}

/// What a stack read, and why it stopped.
pub(crate) type Answer = (Vec<Read>, Option<String>);

/// The interpreter that has the packages: QTAP_TEST_PYTHON, else the one that `cargo xtask setup` installed.
fn interpreter() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("QTAP_TEST_PYTHON") {
        return Some(named.into());
    }
    let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../qtap-tools/python/bin/python");
    if made.exists() {
        return Some(made);
    }
    println!("skipped: no Python with the test packages (cargo xtask setup, or QTAP_TEST_PYTHON)");
    None
}

/// Runs all cases.
pub(crate) fn run(cases: &[Case]) -> Option<Vec<Option<Answer>>> {
    let list: Vec<Value> = cases
        .iter()
        .map(|case| {
            let role = if case.server { "server" } else { "client" };
            json!({"stack": case.stack, "role": role, "asked": case.asked, "data": STANDARD.encode(&case.data)})
        })
        .collect();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/differential/stacks.py");
    let mut command = Command::new(interpreter()?);
    let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = Value::from(list).to_string();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "stacks.py ended with {}", output.status);
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), cases.len());
    let answer = |answer: &Value| {
        let messages = answer.get("messages")?.as_array()?.iter().map(read).collect();
        Some((messages, answer["error"].as_str().map(str::to_owned)))
    };
    Some(answers.iter().map(answer).collect())
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    serde_json::from_value(value.clone()).unwrap()
}

fn read(message: &Value) -> Read {
    let text = |name: &str| message[name].as_str().map(str::to_owned);
    let reset = message["reset"].as_bool().unwrap();
    Read {
        method: text("method"),
        target: text("target"),
        status: message["status"].as_u64().map(|status| status as u16),
        informational: serde_json::from_value(message["informational"].clone()).unwrap(),
        fields: pairs(&message["fields"]),
        body: STANDARD.decode(message["body"].as_str().unwrap()).unwrap(),
        trailers: pairs(&message["trailers"]),
        ended: message["ended"].as_bool().unwrap() && !reset,
    }
}
