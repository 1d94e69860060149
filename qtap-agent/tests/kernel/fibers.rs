//! Programs that switch stacks inside their TLS calls: a return probe on one of these would kill them.

use std::collections::BTreeMap;
use std::process::Command;

use super::lab::Lab;
use super::nginx::Nginx;
use super::python::script;
use super::qtap::exec;

const FIBERS: usize = 8;
const TIMES: usize = 25;

/// The program of `switching.c`. None where there is no library to link: the test is then skipped.
fn program(lab: &Lab) -> Option<String> {
    let program = lab.path("switching").display().to_string();
    let mut build = Command::new("cc");
    build.args(["-O2", "-o", &program]).arg(script("switching.c")).args(["-lssl", "-lcrypto"]);
    if !build.output().is_ok_and(|built| built.status.success()) {
        println!("skipped: no libssl to link (cargo xtask setup --for check)");
        return None;
    }
    Some(program)
}

/// The program ends well, and each fiber's exchanges are on a connection of their own, from the first on.
fn assert_safe_and_whole(lab: &Lab, nginx: &Nginx, options: &[&str], words: &[&str]) {
    let captured = exec(lab, options, words);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
    let records = captured.records.over_tcp();
    records.assert_whole();
    let mut fibers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for exchange in records.exchanges() {
        assert_eq!(exchange.int("server.port"), Some(i64::from(nginx.https)), "{exchange:?}");
        let name = exchange.text("url.path").trim_start_matches('/').to_owned();
        fibers.entry(exchange.connection()).or_default().push(name);
    }
    let found: Vec<_> = fibers.values().cloned().collect();
    let wanted = |fiber| (0..TIMES).map(|time| format!("{fiber}-{time}")).collect::<Vec<_>>();
    let missing: Vec<_> = (0..FIBERS).filter(|fiber| !found.contains(&wanted(*fiber))).collect();
    assert!(missing.is_empty() && found.len() == FIBERS, "fibers {missing:?} of {}: {found:?}", found.len());
    for closed in records.closed() {
        assert!(!closed.has("connection.tls.joined_late"), "{closed:?}");
        assert_eq!(closed.text("connection.binding"), "nested", "{closed:?}");
    }
}

#[test]
fn a_program_with_a_stack_for_each_connection() {
    let Some(lab) = Lab::open() else { return };
    let Some(program) = program(&lab) else { return };
    let nginx = Nginx::start(&lab, 9);
    for fiber in 0..FIBERS {
        (0..TIMES).for_each(|time| nginx.serve(&format!("{fiber}-{time}"), format!("{fiber}-{time}").as_bytes()));
    }
    let [port, fibers, times] = [nginx.https.into(), FIBERS, TIMES].map(|number: usize| number.to_string());
    let words = [program.as_str(), &port, &fibers, &times];
    assert_safe_and_whole(&lab, &nginx, &[], &words);
    assert_safe_and_whole(&lab, &nginx, &["--return-probes", "never"], &words);
    // Qtap does not know what the shell will start: the program has made its first calls before it was examined, and is safe all the same.
    let line = words.join(" ");
    let captured = exec(&lab, [""; 0], ["sh", "-c", &line]);
    assert_eq!(captured.code, Some(0), "{}", captured.stderr);
}
