//! Names that name servers gave for addresses. In: answers. Out: the name by which a process knows an address: the one it asked for itself,
//! otherwise the last one that any process asked for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::dns::DnsAnswer;
use crate::model::time::KernelTime;

/// Maximum number of names: a busy host talks to some thousands of addresses, each entered for its process and for all. The oldest is evicted.
const MOST: usize = 65_536;
/// Minimum time a name is remembered: programs use addresses for longer than the TTL allows.
const LEAST: Duration = Duration::from_secs(60);
/// Maximum time a name is remembered.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Stands for all processes in place of a pid.
const ANYONE: u32 = 0;

type Key = (u32, IpAddr);

/// The names.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<Key, Known>,
    /// In the order in which they were learned, some more than once.
    order: VecDeque<(Key, u64)>,
    learnt: u64,
}

#[derive(Debug)]
struct Known {
    name: Arc<str>,
    until: KernelTime,
    nth: u64,
}

impl Names {
    /// Process `pid` received an answer at `time`.
    pub(super) fn learn(&mut self, pid: u32, answer: &DnsAnswer, time: KernelTime) {
        if answer.code != 0 || answer.question.is_empty() {
            return;
        }
        let name: Arc<str> = Arc::from(answer.question.as_str());
        for (ip, ttl) in &answer.addresses {
            let until = time.plus(Duration::from_secs(u64::from(*ttl)).clamp(LEAST, LONGEST));
            for of in [pid, ANYONE] {
                self.learnt += 1;
                self.known.insert((of, *ip), Known { name: Arc::clone(&name), until, nth: self.learnt });
                self.order.push_back(((of, *ip), self.learnt));
            }
        }
        while self.order.len() > MOST {
            let Some((key, nth)) = self.order.pop_front() else { break };
            if self.known.get(&key).is_some_and(|known| known.nth == nth) {
                self.known.remove(&key);
            }
        }
    }

    /// The name of `ip` at `time` for process `pid`.
    pub(super) fn of(&self, pid: u32, ip: IpAddr, time: KernelTime) -> Option<&str> {
        let fresh = |key: Key| self.known.get(&key).filter(|known| known.until > time);
        let known = fresh((pid, ip)).or_else(|| fresh((ANYONE, ip)))?;
        Some(&known.name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn answer(question: &str, addresses: &[(&str, u32)]) -> DnsAnswer {
        let addresses = addresses.iter().map(|(ip, ttl)| (ip.parse().unwrap(), *ttl)).collect();
        DnsAnswer { question: question.to_owned(), addresses, ..DnsAnswer::default() }
    }

    fn at(seconds: u64) -> KernelTime {
        KernelTime(seconds * 1_000_000_000)
    }

    #[test]
    fn a_process_knows_the_name_it_asked_for() {
        let mut names = Names::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        names.learn(1, &answer("a.org", &[("192.0.2.1", 300)]), at(10));
        names.learn(2, &answer("b.org", &[("192.0.2.1", 0)]), at(20));
        assert_eq!(names.of(1, ip, at(21)), Some("a.org"));
        assert_eq!(names.of(3, ip, at(21)), Some("b.org"), "the last that anyone asked for");
        assert_eq!(names.of(2, ip, at(79)), Some("b.org"), "for a minute at least");
        assert_eq!(names.of(3, ip, at(80)), None);
        assert_eq!((names.of(1, ip, at(309)), names.of(1, ip, at(310))), (Some("a.org"), None));
        let failed = DnsAnswer { code: 3, ..answer("c.org", &[("192.0.2.9", 300)]) };
        names.learn(1, &failed, at(10));
        assert_eq!(names.of(1, "192.0.2.9".parse().unwrap(), at(11)), None);
    }

    #[test]
    fn the_oldest_names_go() {
        let mut names = Names::default();
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..MOST as u32 {
            let addresses = vec![(ip(n), 300)];
            names.learn(7, &DnsAnswer { question: "x".to_owned(), addresses, ..DnsAnswer::default() }, at(1));
        }
        assert!(names.known.len() <= MOST && names.order.len() <= MOST);
        assert_eq!(names.of(7, ip(0), at(2)), None);
        assert_eq!(names.of(7, ip(MOST as u32 - 1), at(2)), Some("x"));
    }
}
