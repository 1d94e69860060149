//! The environment of a process, as it was when it executed its program. In: `/proc/PID/environ` (proc_pid_environ(5)), and names. Out: the
//! values of these names, and of no other: an environment holds secrets, so that nothing is kept of it that nobody asked for.

use std::collections::BTreeMap;

use super::procfs;

/// Bytes of a value that are kept.
const MAX_VALUE: usize = 4096;

/// The variables `names` of process `pid`, as far as it has them.
pub(super) fn read(pid: u32, names: &[String]) -> BTreeMap<String, String> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    pick(&procfs::environment(pid), names)
}

/// `NAME=value`, each with a zero behind it. Of a name that stands there twice the first holds, as with getenv(3).
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
    fn a_value_is_cut_between_characters() {
        let environ = ["A=", &"é".repeat(3000)].concat();
        let found = pick(environ.as_bytes(), &names(&["A"]));
        assert_eq!(found.get("A").map(String::len), Some(MAX_VALUE));
    }
}
