//! What is left out because it is qtap's own exports, at their receiving end and behind it. The probes decide; this file tells them what they
//! can't know, and reads what they counted.
//!
//! In: qtap's own sockets, once; the probes' tables. Out: sums, and the processes that receive what qtap exports.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use aya::maps::{HashMap as KernelMap, MapData, PerCpuArray};
use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process};
use qtap_common::feedback::{End, MADE_BY_QTAP};
use qtap_common::globals::option;
use qtap_common::net::Address;
use qtap_common::state::Losses;

use crate::capture::discover::procfs::executable;

/// How much is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Guard {
    /// The receiving ends of qtap's own connections, and connections made by the processes that accept them.
    #[default]
    All,
    /// The receiving ends only.
    Own,
    /// Nothing except qtap itself.
    Off,
}

/// What was left out so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Connections with qtap.
    pub qtap: Sum,
    /// Connections that stores made.
    pub stores: Sum,
    /// Processes that receive what qtap exports: process id → executable.
    pub processes: BTreeMap<u32, String>,
}

/// A number of connections and of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Connections.
    pub connections: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The tables in which the probes keep this.
pub(super) struct FeedbackTables {
    pub(super) ends: KernelMap<MapData, End, u8>,
    pub(super) stores: KernelMap<MapData, u32, u8>,
    pub(super) sums: PerCpuArray<MapData, Losses>,
}

impl Guard {
    /// Converts to what the probes read.
    pub(super) fn told(self) -> u32 {
        match self {
            Guard::All => option::GUARD_OWN | option::GUARD_STORES,
            Guard::Own => option::GUARD_OWN,
            Guard::Off => 0,
        }
    }
}

impl FeedbackTables {
    /// Tells the probes about connections that qtap made before they were attached: `qtap run` starts its exporters first.
    pub(super) fn tell_own(&mut self) {
        for end in own_ends() {
            if let Err(error) = self.ends.insert(end, MADE_BY_QTAP, 0) {
                tracing::warn!(%error, "a connection of qtap's own may be captured at its other end");
            }
        }
    }

    /// What was left out so far. `seen` holds the processes that were already reported; it is updated.
    pub(super) fn read(&self, seen: &mut BTreeMap<u32, String>) -> Feedback {
        let stores: HashSet<u32> = self.stores.keys().flatten().collect();
        seen.retain(|pid, _| stores.contains(pid));
        for pid in stores {
            seen.entry(pid).or_insert_with(|| {
                let name = executable(pid).unwrap_or_default();
                tracing::info!(
                    pid,
                    executable = name,
                    "receives what qtap exports: connections that it makes are left out"
                );
                name
            });
        }
        Feedback { qtap: self.sum(0), stores: self.sum(1), processes: seen.clone() }
    }

    fn sum(&self, index: u32) -> Sum {
        let Ok(per_cpu) = self.sums.get(&index, 0) else { return Sum::default() };
        per_cpu.iter().fold(Sum::default(), |sum, one| Sum {
            connections: sum.connections + one.count,
            bytes: sum.bytes + one.bytes,
        })
    }
}

/// The client ends of this process's connections.
fn own_ends() -> Vec<End> {
    let Ok(me) = Process::myself() else { return Vec::new() };
    let inode = |target: FDTarget| if let FDTarget::Socket(inode) = target { Some(inode) } else { None };
    let own: HashSet<u64> = me.fd().into_iter().flatten().flatten().filter_map(|fd| inode(fd.target)).collect();
    let all = me.tcp().unwrap_or_default().into_iter().chain(me.tcp6().unwrap_or_default());
    all.filter(|entry| own.contains(&entry.inode)).filter_map(|entry| end(&entry)).collect()
}

/// `None` for a socket that is neither connected nor connecting.
fn end(entry: &TcpNetEntry) -> Option<End> {
    matches!(entry.state, TcpState::Established | TcpState::SynSent).then(|| {
        let local = entry.local_address;
        End::new(address(local), local.port(), entry.remote_address.port())
    })
}

fn address(of: SocketAddr) -> Address {
    match of.ip() {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn own_connections_are_found_by_their_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", to)).unwrap();
        let from = client.local_addr().unwrap().port();
        let loopback = Address::v4([127, 0, 0, 1]);
        assert!(own_ends().contains(&End::new(loopback, from, to)));
        drop(client);
        assert!(!own_ends().contains(&End::new(loopback, from, to)), "closed");
    }

    #[test]
    fn stores_are_guarded_only_where_qtap_is() {
        assert_eq!(Guard::Off.told(), 0);
        assert_eq!(Guard::All.told() & Guard::Own.told(), Guard::Own.told());
        assert_ne!(Guard::All.told(), Guard::Own.told());
    }
}
