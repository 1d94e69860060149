//! The probes' tables, as the agent reads and writes them. In: the loaded object. Out: typed tables, and advice written into one of them.

use std::collections::HashMap;

use aya::Ebpf;
use aya::maps::{Array, HashMap as KernelMap, MapData, MapError, PerCpuArray};
use qtap_common::feedback::{MAP_FEEDBACK, MAP_FOUND_ENDS, MAP_STORES};
use qtap_common::globals::Wishes;
use qtap_common::go::{GoCalls, GoFrame, GoKey, MAP_GO_CALLS};
use qtap_common::jvm::{Jvm, MAP_JVMS};
use qtap_common::state::{
    Conn, FileKey, Losses, MAP_CONNS, MAP_FIBER_SEEN, MAP_FIBER_USERS, MAP_LEFT_ALONE, MAP_LOSSES, MAP_MAPPED,
    MAP_RUSTLS_SEEN, MAP_RUSTLS_USERS, MAP_SCOPE, MAP_SESSIONS, MAP_WISHES, Session, SessionKey,
};

use crate::capture::kernel::KernelError;
use crate::capture::kernel::feedback::FeedbackTables;
use crate::model::conn::{Channel, ConnId, SessionId};

/// The probes' tables, as the agent reads them.
pub(super) struct Tables {
    pub(super) scope: KernelMap<MapData, u32, u8>,
    pub(super) conns: KernelMap<MapData, u64, Conn>,
    pub(super) sessions: KernelMap<MapData, SessionKey, Session>,
    pub(super) losses: PerCpuArray<MapData, Losses>,
    pub(super) wishes: Array<MapData, Wishes>,
    pub(super) feedback: FeedbackTables,
    left_alone: KernelMap<MapData, u64, u8>,
    go_calls: KernelMap<MapData, GoKey, GoCalls>,
    mapped: KernelMap<MapData, FileKey, u8>,
    rustls_users: KernelMap<MapData, u32, u8>,
    rustls_seen: Array<MapData, u32>,
    fiber_users: KernelMap<MapData, u32, u8>,
    fiber_seen: Array<MapData, u32>,
    jvms: KernelMap<MapData, u32, Jvm>,
}

impl Tables {
    /// Takes them out of the object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Tables, KernelError> {
        let mut map = |name: &'static str| ebpf.take_map(name).ok_or(KernelError::Object(name));
        Ok(Tables {
            scope: KernelMap::try_from(map(MAP_SCOPE)?)?,
            conns: KernelMap::try_from(map(MAP_CONNS)?)?,
            sessions: KernelMap::try_from(map(MAP_SESSIONS)?)?,
            losses: PerCpuArray::try_from(map(MAP_LOSSES)?)?,
            wishes: Array::try_from(map(MAP_WISHES)?)?,
            feedback: FeedbackTables {
                ends: KernelMap::try_from(map(MAP_FOUND_ENDS)?)?,
                stores: KernelMap::try_from(map(MAP_STORES)?)?,
                sums: PerCpuArray::try_from(map(MAP_FEEDBACK)?)?,
            },
            go_calls: KernelMap::try_from(map(MAP_GO_CALLS)?)?,
            left_alone: KernelMap::try_from(map(MAP_LEFT_ALONE)?)?,
            mapped: KernelMap::try_from(map(MAP_MAPPED)?)?,
            rustls_users: KernelMap::try_from(map(MAP_RUSTLS_USERS)?)?,
            rustls_seen: Array::try_from(map(MAP_RUSTLS_SEEN)?)?,
            fiber_users: KernelMap::try_from(map(MAP_FIBER_USERS)?)?,
            fiber_seen: Array::try_from(map(MAP_FIBER_SEEN)?)?,
            jvms: KernelMap::try_from(map(MAP_JVMS)?)?,
        })
    }

    /// Makes the probes report the next process that maps one of these files for execution, as if none had been reported.
    pub(super) fn tell_again(&mut self, is: impl Fn(FileKey) -> bool) {
        let told: Vec<FileKey> = self.mapped.keys().flatten().filter(|file| is(*file)).collect();
        for file in told {
            // An entry that is gone needs no removal.
            let _ = self.mapped.remove(&file);
        }
    }

    /// A process uses rustls: what it receives is inspected even before its first probed call.
    pub(super) fn uses_rustls(&mut self, pid: u32) {
        let told = self.rustls_users.insert(pid, 1, 0).and_then(|()| self.rustls_seen.set(0, 1, 0));
        if let Err(error) = told {
            tracing::debug!(pid, %error, "known for its rustls with its first call");
        }
    }

    /// A process switches stacks inside its TLS calls: these are kept by stack.
    pub(super) fn uses_fibers(&mut self, pid: u32) {
        let told = self.fiber_users.insert(pid, 1, 0).and_then(|()| self.fiber_seen.set(0, 1, 0));
        if let Err(error) = told {
            tracing::warn!(pid, %error, "switches stacks, and is treated as if it did not: some of its TLS is lost");
        }
    }

    /// What a process writes with this mark is a message of qtap's agent in it.
    pub(super) fn hear_jvm(&mut self, pid: u32, jvm: Jvm) -> Result<(), MapError> {
        self.jvms.insert(pid, jvm, 0)
    }

    /// No longer.
    pub(super) fn forget_jvm(&mut self, pid: u32) {
        // The process may be gone, and its entry evicted.
        let _ = self.jvms.remove(&pid);
    }

    /// The process executes another program, which does not switch stacks.
    pub(super) fn uses_no_fibers(&mut self, pid: u32) {
        // Most processes never did.
        let _ = self.fiber_users.remove(&pid);
    }

    /// Removes the calls of goroutines whose process ended, or was killed, during them: nobody else will.
    pub(super) fn forget_goroutines(&mut self, is_over: impl Fn(u32) -> bool) {
        let mut known: HashMap<u32, bool> = HashMap::new();
        let is_gone = |key: &GoKey| *known.entry(key.tgid).or_insert_with(|| is_over(key.tgid));
        let over: Vec<GoKey> = self.go_calls.keys().flatten().filter(is_gone).collect();
        for key in over {
            // A call whose entry is gone has ended.
            let _ = self.go_calls.remove(&key);
        }
    }

    /// Removes and returns the calls of a process's goroutines, which ended with it.
    pub(super) fn take_goroutines(&mut self, pid: u32) -> Vec<GoFrame> {
        let keys: Vec<GoKey> = self.go_calls.keys().flatten().filter(|key| key.tgid == pid).collect();
        let mut frames = Vec::new();
        for key in keys {
            if let Ok(calls) = self.go_calls.get(&key, 0) {
                frames.extend(calls.frames.into_iter().take(calls.depth as usize));
            }
            let _ = self.go_calls.remove(&key);
        }
        frames
    }

    /// Nobody wants these channels. If that can't be written, they are copied anyway.
    pub(super) fn leave_alone(&mut self, channels: &[Channel]) {
        for channel in channels {
            let (Channel::Socket(ConnId(id)) | Channel::Session(SessionId(id))) = *channel;
            if let Err(error) = self.left_alone.insert(id, 1, 0) {
                tracing::debug!(%error, "copied, though nobody wants it");
            }
        }
    }
}
