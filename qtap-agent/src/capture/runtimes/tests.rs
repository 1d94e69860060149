//! Runtimes that answer and runtimes that misbehave: what is reported, how long it takes, and that nothing else is delayed.
//!
//! Docker's answers are HTTP written by hand. CRI and containerd are gRPC servers with messages of their own, encoded field by field with the
//! published numbers, so that a wrong number in the code is not repeated in the test.

mod cri;
mod docker;
mod fake;
mod table;

use std::time::{Duration, Instant};

use self::fake::{A, B};
use super::{Runtimes, Settings, Told};

/// Longest wait for an answer: longer than a question may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for one answer and returns it with the time it took.
fn answer(runtimes: &mut Runtimes) -> (Told, Duration) {
    let start = Instant::now();
    loop {
        if let Some(told) = runtimes.answer() {
            return (told, start.elapsed());
        }
        assert!(start.elapsed() < PATIENCE, "no answer");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ask(settings: &Settings, id: &str) -> (Told, Duration, Runtimes) {
    let mut runtimes = Runtimes::start(settings).unwrap_or_default().unwrap_or_else(|| panic!("nobody is asked"));
    assert!(runtimes.ask(id));
    let (told, took) = answer(&mut runtimes);
    assert_eq!(told.id, id);
    (told, took, runtimes)
}

#[test]
fn without_a_socket_nobody_is_asked() {
    assert!(Runtimes::start(&Settings::default()).is_ok_and(|runtimes| runtimes.is_none()));
}

#[test]
fn a_socket_that_is_not_there_is_no_fault_of_the_capture() {
    let dir = fake::dir();
    let settings = Settings { docker: Some(dir.path().join("none.sock")), ..Settings::default() };
    let (told, took, runtimes) = ask(&settings, A);
    assert_eq!(told.facts, None);
    assert!(took < Duration::from_secs(4), "{took:?}");
    let status = runtimes.fared().statuses().remove(0);
    assert_eq!((status.kind, status.told, status.not_found), ("docker", 0, 0));
    assert!(status.failed > 0 && status.error.is_some_and(|error| error.contains("can't be connected to")));
    assert_ne!(A, B);
}
