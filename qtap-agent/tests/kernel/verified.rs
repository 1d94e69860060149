//! What the probes cost the verifier of this kernel, which rejects a program after a million instructions: the counts, and bounds on them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::lab::Lab;
use super::qtap::{exec, exec_script};
use super::scope::config;

/// Bounds on the verified instructions of each program, by its job: twice the worst measurement without `--java-agent`, which adds a third to `sys_exit`
/// (`docs/kernels.md`). A count that doubles means a path that the verifier walks once per way to reach it, and the next kernel may do so once more. The
/// test notices long before a kernel rejects it.
const CALLS: u32 = 212_000;
const TLS_ENDS: u32 = 47_000;
const TLS_SOCKETS: u32 = 18_000;
const ENDS: u32 = 6_000;
const GO_ENDS: u32 = 64_000;
const GO_BEGINNINGS: u32 = 14_000;
const RUSTLS_ENDS: u32 = 52_000;
const RUSTLS_BEGINNINGS: u32 = 11_000;
const OTHERS: u32 = 5_000;

const BUDGETS: [(&str, u32); 21] = [
    ("sys_exit", CALLS),
    ("io_uring_complete", CALLS),
    ("tls_exit", TLS_ENDS),
    ("tls_return", TLS_ENDS),
    ("tls_set_fd", TLS_SOCKETS),
    ("inet_sock_set_state", ENDS),
    ("tcp_destroy_sock", ENDS),
    ("tls_enter", OTHERS),
    ("tls_begin", OTHERS),
    ("tls_free", OTHERS),
    ("go_exit", GO_ENDS),
    ("go_enter", GO_BEGINNINGS),
    ("go_close", OTHERS),
    ("rustls_enter", RUSTLS_BEGINNINGS),
    ("rustls_exit", RUSTLS_ENDS),
    ("rustls_return", RUSTLS_ENDS),
    ("tls_set_bio", OTHERS),
    ("tls_bio_write", OTHERS),
    ("sched_process_exec", OTHERS),
    ("sched_process_exit", OTHERS),
    ("sched_process_fork", OTHERS),
];

#[test]
fn every_program_is_within_its_budget() {
    let Some(lab) = Lab::open() else { return };
    // With every option that enlarges the programs: the verifier treats an unwanted feature as a constant, and drops its code.
    let text = format!(
        "{}  audit_include_dns: true\n  endpoints: [{{domain: quiet.example, http: none}}]\n",
        config("level: full", "")
    );
    let config = lab.write("qtap.yaml", text.as_bytes()).display().to_string();
    let captured = exec(&lab, ["--config", &config, "--java-agent", "--log-level", "debug"], ["true"]);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let lines = captured.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let counts: BTreeMap<String, Value> = lines
        .filter(|line| line["message"] == "verified")
        .map(|line| (line["name"].as_str().unwrap().to_owned(), line["instructions"].clone()))
        .collect();
    let names: Vec<&str> = counts.keys().map(String::as_str).collect();
    let mut known = BUDGETS.map(|(name, _)| name);
    known.sort_unstable();
    assert_eq!(names, known, "each program has a budget: {}", captured.stderr);
    if counts.values().any(Value::is_null) {
        println!("skipped: this kernel does not count them (before 5.16)");
        return;
    }
    for (name, budget) in BUDGETS {
        let count = counts[name].as_u64().unwrap();
        println!("verified: {name} {count} of {budget}");
    }
    for (name, budget) in BUDGETS {
        let count = counts[name].as_u64().unwrap();
        assert!((1..=u64::from(budget)).contains(&count), "{name}: {count} instructions, at most {budget}");
    }
}

/// Where the kernel allows it: the tables of connections, sessions and goroutine calls have 65 536 entries each, of which a host uses a few.
#[test]
fn large_tables_take_memory_as_they_fill() {
    let Some(lab) = Lab::open() else { return };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    if version < (6, 1) {
        println!("skipped: Linux {} takes it when they are made", release.trim());
        return;
    }
    let told = lab.path("fdinfo").display().to_string();
    // One line for each file descriptor of qtap.
    let script = format!("for fd in /proc/$PPID/fdinfo/*; do tr '\\n' ' ' <$fd; echo; done >'{told}'");
    let captured = exec_script(&lab, &[], &script);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let told = std::fs::read_to_string(&told).unwrap();
    let of = |line: &str, name: &str| -> Option<u64> {
        line.split_once(&format!("{name}:"))?.1.split_whitespace().next()?.parse().ok()
    };
    let tables: Vec<&str> = told
        .lines()
        .filter(|line| of(line, "map_type") == Some(1) && of(line, "max_entries") == Some(65_536))
        .filter(|line| of(line, "value_size") >= Some(100))
        .collect();
    assert_eq!(tables.len(), 3, "{told}");
    for table in tables {
        let flags = table.split_once("map_flags:").unwrap().1.split_whitespace().next();
        assert_eq!(flags, Some("0x1"), "BPF_F_NO_PREALLOC: {table}");
        // Older kernels report what a table could take, whatever it takes.
        if version >= (6, 4) {
            assert!(of(table, "memlock").unwrap() < 4 << 20, "{table}");
        }
    }
}
