//! Parses a test program's output as it comes. In: lines of `--show-output`, one test at a time. Out: test names by result, counts of the verifier.

use std::collections::BTreeMap;

/// The results of the tests on one kernel.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) passed: Vec<String>,
    pub(super) failed: Vec<String>,
    /// Each with the reason that it gave.
    pub(super) skipped: Vec<(String, String)>,
    /// Instructions that the verifier walked, by program.
    pub(super) verified: BTreeMap<String, u64>,
    /// The kernel's release, as the machine reported it.
    pub(super) release: Option<String>,
    /// The last line of the tests has been read.
    pub(super) ended: bool,
    /// The test whose result has not been read yet.
    running: Option<String>,
    /// The test whose heading precedes the current lines.
    heading: Option<String>,
}

impl Outcome {
    /// Takes one more line.
    pub(super) fn hear(&mut self, line: &str) {
        if let Some(release) = line.strip_prefix("qtap-kernel: up ") {
            self.release = Some(release.to_owned());
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.heading = Some(name.to_owned());
        } else if let Some(reason) = line.strip_prefix("skipped: ") {
            self.skip(reason);
        } else if let Some(rest) = line.strip_prefix("verified: ") {
            let mut words = rest.split_whitespace();
            if let (Some(name), Some(Ok(count))) = (words.next(), words.next().map(str::parse)) {
                self.verified.insert(name.to_owned(), count);
            }
        } else if line.starts_with("test result: ") {
            self.ended = true;
        } else {
            self.hear_test(line);
        }
    }

    /// `test a::b ... ok`. Output that bypasses the harness may appear before the last word, or break the line.
    fn hear_test(&mut self, line: &str) {
        if let Some((name, _)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            self.running = Some(name.to_owned());
        }
        let Some(name) = &self.running else { return };
        let list = match line {
            _ if line.ends_with("FAILED") => &mut self.failed,
            _ if line.ends_with("ok") => &mut self.passed,
            _ if line.ends_with("ignored") => {
                self.skipped.push((name.clone(), "takes minutes (check --long)".to_owned()));
                self.running = None;
                return;
            }
            _ => return,
        };
        list.push(name.clone());
        self.running = None;
    }

    /// Moves the test under the heading from passed to skipped.
    fn skip(&mut self, reason: &str) {
        let Some(name) = &self.heading else { return };
        if let Some(at) = self.passed.iter().position(|passed| passed == name) {
            self.passed.remove(at);
            self.skipped.push((name.clone(), reason.to_owned()));
        }
    }

    /// No more lines come: a test without a result failed.
    pub(super) fn close(&mut self) {
        if let Some(name) = self.running.take() {
            self.failed.push(format!("{name} (did not end)"));
        } else if !self.ended {
            self.failed.push("the program of tests (did not end)".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    fn of(text: &str) -> Outcome {
        let mut outcome = Outcome::default();
        text.lines().for_each(|line| outcome.hear(line));
        outcome.close();
        outcome
    }

    #[test]
    fn names_are_known_by_how_they_ended() {
        let outcome = of(
            "qtap-kernel: up 6.1.0\nrunning 5 tests\ntest a::x ... ok\ntest a::y ... FAILED\ntest b ... noise of a child\nmore\nok\n\
             test c ... ignored\ntest d ... ok\n\nsuccesses:\n\n---- a::x stdout ----\nverified: sys_exit 99452 of 200000\n\n---- d stdout ----\n\
             skipped: no node\nskipped: no go\n\nfailures:\n\n---- a::y stdout ----\nskipped: half\n\nfailures:\n    a::y\n\ntest result: FAILED. 2 passed",
        );
        assert_eq!(outcome.passed, ["a::x", "b"]);
        assert_eq!(outcome.failed, ["a::y"]);
        let skipped: Vec<(&str, &str)> =
            outcome.skipped.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
        assert_eq!(skipped, [("c", "takes minutes (check --long)"), ("d", "no node")]);
        assert_eq!(outcome.verified.get("sys_exit"), Some(&99_452));
        assert_eq!(outcome.release.as_deref(), Some("6.1.0"));
    }

    #[test]
    fn what_does_not_end_failed() {
        assert_eq!(of("test a ... ok\ntest b ... ").failed, ["b (did not end)"]);
        assert_eq!(of("qtap-kernel: the module fuse is refused").failed, ["the program of tests (did not end)"]);
    }
}
