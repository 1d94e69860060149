//! The environment of a process, as it was when it executed its program. In: what the kernel reported at `exec`, or `/proc/PID/environ`
//! (proc_pid_environ(5)), and names of variables. Out: the values of those names, and no others: an environment holds secrets, so nothing that was not asked
//! for is kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use qtap_common::record::EXEC_ENV;

use super::procfs;

/// Most bytes of a value that are kept.
const MAX_VALUE: usize = 4096;

/// What the kernel reported at `exec`, each variable terminated by NUL; empty when it could not report any.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(pub Vec<u8>);

impl Environment {
    /// The complete environment; none when it may be truncated. While the process lives, /proc has the rest.
    fn whole(&self) -> Option<&[u8]> {
        (1..EXEC_ENV).contains(&self.0.len()).then_some(self.0.as_slice())
    }

    /// The kernel's report if complete, else what /proc has, else the kernel's partial report.
    pub fn of(&self, pid: u32) -> Cow<'_, [u8]> {
        if let Some(whole) = self.whole() {
            return whole.into();
        }
        let read = procfs::environment(pid);
        if read.is_empty() { self.0.as_slice().into() } else { read.into() }
    }

    /// The variables in `names` that exist.
    pub fn variables(&self, pid: u32, names: &[String]) -> BTreeMap<String, String> {
        if names.is_empty() { BTreeMap::new() } else { pick(&self.of(pid), names) }
    }
}

/// It holds secrets: only its length is shown.
impl fmt::Debug for Environment {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Environment({} bytes)", self.0.len())
    }
}

/// Parses `NAME=value` entries, each terminated by a zero byte. If a name occurs twice the first wins, as with getenv(3).
fn pick(environ: &[u8], names: &[String]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in environ.split(|byte| *byte == 0) {
        let Some(at) = entry.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = entry.split_at(at);
        if let Some(name) = names.iter().find(|wanted| wanted.as_bytes() == name) {
            let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
            let end = value.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_VALUE).last();
            found.entry(name.clone()).or_insert_with(|| value.get(..end.unwrap_or(0)).unwrap_or_default().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_was_asked_for_is_kept() {
        let environ = b"PATH=/bin\0SECRET=s\0TEAM=a=b\0TEAM=later\0EMPTY=\0odd\0";
        let found = pick(environ, &names(&["TEAM", "EMPTY", "NONE"]));
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("EMPTY", ""), ("TEAM", "a=b")]);
        assert_eq!(pick(environ, &[]), BTreeMap::new());
    }

    #[test]
    fn of_a_process_that_is_gone_the_kernel_told() {
        const GONE: u32 = u32::MAX - 9;
        let told = |text: &[u8]| Environment(text.to_vec());
        let wanted = |told: Environment, pid| told.variables(pid, &names(&["TEAM"])).into_iter().next();
        assert_eq!(wanted(told(b"TEAM=red\0"), GONE), Some(("TEAM".into(), "red".into())));
        assert_eq!(wanted(Environment::default(), GONE), None);
        let mut long = b"TEAM=red\0A=".to_vec();
        long.resize(EXEC_ENV, b'a');
        assert_eq!(wanted(told(&long), GONE), Some(("TEAM".into(), "red".into())), "a part is better than nothing");
        let own = std::process::id();
        let path = |told: Environment| told.variables(own, &names(&["PATH"])).len();
        assert_eq!((path(told(b"A=1\0")), path(told(&long)), path(Environment::default())), (0, 1, 1));
    }

    #[test]
    fn a_value_is_cut_between_characters() {
        let environ = ["A=", &"é".repeat(3000)].concat();
        let found = pick(environ.as_bytes(), &names(&["A"]));
        assert_eq!(found.get("A").map(String::len), Some(MAX_VALUE));
    }
}
