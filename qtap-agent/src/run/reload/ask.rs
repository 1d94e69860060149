//! `qtap reload-config`: makes a running qtap reload its config, and prints the result. The agent's page shows its process id and, after
//! the signal, the outcome. The page itself cannot change anything, so only those who may signal the process can reload.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::exit;
use crate::run::{Failure, page};

/// How long the agent may take to switch to another config: its stores may have requests in progress.
const LIMIT: Duration = Duration::from_secs(60);
/// How often the page is queried.
const PAUSE: Duration = Duration::from_millis(100);

/// Signals the agent whose page is at `page`, and prints the outcome. Returns the exit code.
///
/// # Errors
/// If there is no such agent, it may not be signalled, or it does not report an outcome.
#[cfg_attr(not(feature = "kernel"), allow(unreachable_pub))] // what is not captured is not reloaded
pub fn reload_config(page: SocketAddr, say: &mut dyn FnMut(&str)) -> Result<u8, Failure> {
    let before = status(page)?;
    let process = process_of(&before).with_context(|| {
        format!("the qtap at {page} runs on another host, or in a container whose processes can't be seen from here: call this where it runs")
    })?;
    kill_process(process, Signal::HUP).with_context(|| format!("process {process:?} can't be told"))?;
    let asked = Instant::now();
    loop {
        std::thread::sleep(PAUSE);
        let now = status(page)?;
        if count(&now) > count(&before) {
            return Ok(told(&now["config"]["last_reload"], say));
        }
        if asked.elapsed() > LIMIT {
            return Err(
                anyhow::anyhow!("no outcome after {} seconds: see the log of the agent", LIMIT.as_secs()).into()
            );
        }
    }
}

/// The status page's answer.
fn status(page: SocketAddr) -> anyhow::Result<Value> {
    let status = page::get(page, "/status")?;
    if !status["config"].is_object() {
        bail!("what answers at {page} is no qtap that can be told to reload");
    }
    Ok(status)
}

/// Attempts so far.
fn count(status: &Value) -> u64 {
    let reloads = &status["config"]["reloads"];
    ["accepted", "unchanged", "refused"].iter().filter_map(|outcome| reloads[*outcome].as_u64()).sum()
}

/// The agent's process, by its pid here. A signal to another process might end it, so both pid and start time must match.
fn process_of(status: &Value) -> Option<Pid> {
    let pid = i32::try_from(status["process"]["pid"].as_u64()?).ok()?;
    let started = status["process"]["started_ticks"].as_u64()?;
    let fits = |process: &procfs::process::Process| {
        let inner = || Some(process.status().ok()?.nspid?.last().copied());
        process.stat().is_ok_and(|stat| stat.starttime == started)
            && (process.pid() == pid || inner().flatten() == Some(pid))
    };
    let near = procfs::process::Process::new(pid).ok().filter(fits);
    let far = || procfs::process::all_processes().ok()?.flatten().find(fits);
    Pid::from_raw(near.or_else(far)?.pid())
}

/// Prints the outcome; returns its exit code.
fn told(reload: &Value, say: &mut dyn FnMut(&str)) -> u8 {
    let texts = |key: &str| {
        let items = reload[key].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    texts("notes").iter().for_each(|note| say(&format!("note: {note}")));
    match reload["outcome"].as_str() {
        Some("refused") => {
            texts("faults").iter().for_each(|fault| say(fault));
            say("refused: the config before holds on");
            return exit::USAGE;
        }
        Some("unchanged") => say("unchanged: the config says what it said before"),
        _ => say("accepted"),
    }
    for (key, what) in [("stores_added", "added"), ("stores_changed", "changed"), ("stores_gone", "gone")] {
        texts(key).iter().for_each(|id| say(&format!("store {id}: {what}")));
    }
    for key in texts("needs_restart") {
        say(&format!("{key}: holds after a restart"));
    }
    exit::OK
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use serde_json::json;

    use super::*;

    fn said(reload: &Value) -> (u8, String) {
        let mut lines = Vec::new();
        let code = told(reload, &mut |line| lines.push(line.to_owned()));
        (code, lines.join("\n"))
    }

    #[test]
    fn each_outcome_is_told_with_its_code() {
        let (code, text) = said(&json!({"outcome": "refused", "faults": ["f:1:1: a", "f:2:1: b"], "notes": []}));
        assert_eq!((code, text.as_str()), (2, "f:1:1: a\nf:2:1: b\nrefused: the config before holds on"));
        assert_eq!(said(&json!({"outcome": "unchanged"})).0, 0);
        let (code, text) = said(
            &json!({"outcome": "accepted", "notes": ["n"], "stores_added": ["a"], "needs_restart": ["tap.direction"]}),
        );
        assert_eq!(code, 0);
        assert!(text.starts_with("note: n\naccepted\nstore a: added\ntap.direction: holds after a restart"), "{text}");
    }

    #[test]
    fn the_process_is_known_by_number_and_start() {
        let own = procfs::process::Process::myself().unwrap();
        let started = own.stat().unwrap().starttime;
        let status = |ticks: u64| json!({"process": {"pid": std::process::id(), "started_ticks": ticks}});
        assert_eq!(process_of(&status(started)), Some(rustix::process::getpid()));
        assert_eq!(process_of(&status(started + 1)), None, "another process of that number");
    }

    #[test]
    fn where_no_agent_answers_that_is_said() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let page = listener.local_addr().unwrap();
        drop(listener);
        let error = reload_config(page, &mut |_| {}).unwrap_err();
        assert!(error.reason.to_string().contains("no qtap answers at"), "{:#}", error.reason);
    }
}
