//! Every map: key → value, writer, reader, bound, reason. Sizes that the loader sets are placeholders here.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use qtap_common::feedback::End;
use qtap_common::globals::Wishes;
use qtap_common::go::{GoCalls, GoKey};
use qtap_common::jvm::Jvm;
use qtap_common::record::why;
use qtap_common::state::{Conn, FileKey, Losses, Session, SessionKey};

use crate::calls::Calls;
use crate::rustls::{Key, Thread};
use crate::scratch::Scratch;

/// Records. Writer: `emit`. Reader: the agent's ring thread. Bound: set by the loader from the buffer size. One ring, so that
/// events on different CPUs stay in one order.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// tgid → verdict (bits of `scope`). Writers: agent (start, on meeting a process), `scope` (fork, exec, exit, first sight). Bound: processes at once.
#[map]
pub static SCOPE: HashMap<u32, u8> = HashMap::with_max_entries(65_536, 0);

/// `sock` address → connection. Writers: `conn`; agent (removes those that ended). Reader: agent (sweeps). Not an LRU: an evicted entry would
/// be a silent loss; a full table is counted.
#[map]
pub static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(65_536, 0);

/// (tgid, `SSL*`) → session. Writers: `session`; agent (ends those of processes that ended). Reader: agent (sweeps).
#[map]
pub static SESSIONS: HashMap<SessionKey, Session> = HashMap::with_max_entries(65_536, 0);

/// (tgid, memory that a session reads its records from, or writes them to) → session, and which of the two. Writer and reader: `hello`, which removes an entry once its hello is
/// reported. An LRU: the session of an evicted entry is bound to no connection.
#[map]
pub static FED: LruHashMap<SessionKey, u64> = LruHashMap::with_max_entries(16_384, 0);

/// Thread (pid_tgid) → addresses at which the call that it made last to create a pair of BIOs was to store them. Writer and reader: `hello`, which removes an entry
/// when the thread gives a session its memory. An LRU: the session of an evicted entry is bound to no connection.
#[map]
pub static PAIRS: LruHashMap<u64, [u64; 2]> = LruHashMap::with_max_entries(4096, 0);

/// Thread (pid_tgid) → TLS calls under way on it. Writers: `session`, `begun`; removed when the thread ends. Bound: threads that use TLS.
#[map]
pub static CALLS: HashMap<u64, Calls> = HashMap::with_max_entries(32_768, 0);

/// (tgid, part of its memory) → TLS calls under way on the stack there, in programs that switch stacks. Writer and reader: `fibers`, `session`. An
/// LRU: nobody reports the end of a stack. The end of an evicted call is not seen.
#[map]
pub static FIBER_CALLS: LruHashMap<u64, Calls> = LruHashMap::with_max_entries(16_384, 0);

/// Process → how its messages are known. Writer: agent. Reader: `jvm`.
#[map]
pub static JVMS: HashMap<u32, Jvm> = HashMap::with_max_entries(1024, 0);

/// Process → 1: it switches stacks. Writers: agent, `fibers` (fork). Reader: `fibers`. An LRU: an evicted process is treated like any other.
#[map]
pub static FIBER_USERS: LruHashMap<u32, u8> = LruHashMap::with_max_entries(4096, 0);

/// Index 0: 1 when a process switches stacks. Writer: agent. Reader: `fibers`.
#[map]
pub static FIBER_SEEN: Array<u32> = Array::with_max_entries(1, 0);

/// Goroutine → TLS calls under way on it. Writer: `goroutine`; an entry goes with its last call. Reader: agent, which removes those of processes
/// that ended mid-call. Bound: goroutines inside a call, including those that wait for a request: as many as sessions. A full table is counted.
#[map]
pub static GO_CALLS: HashMap<GoKey, GoCalls> = HashMap::with_max_entries(65_536, 0);

/// (tgid, address of the object that encrypts or decrypts under it) → a key of rustls. Writer and reader: `rustls`. An LRU: the connection of an
/// evicted key is proven again, and reported as joined mid-stream.
#[map]
pub static RUSTLS_KEYS: LruHashMap<SessionKey, Key> = LruHashMap::with_max_entries(32_768, 0);

/// Thread → the state of rustls on it. Writer and reader: `rustls`. An LRU, as above.
#[map]
pub static RUSTLS_THREADS: LruHashMap<u64, Thread> = LruHashMap::with_max_entries(4096, 0);

/// Process → 1: it uses rustls. Writers: agent, `rustls`. Reader: `rustls`. An LRU: the next call of an evicted process puts it back.
#[map]
pub static RUSTLS_USERS: LruHashMap<u32, u8> = LruHashMap::with_max_entries(1024, 0);

/// Index 0: 1 when a process uses rustls. Writers: agent, `rustls`. Reader: `rustls`.
#[map]
pub static RUSTLS_SEEN: Array<u32> = Array::with_max_entries(1, 0);

/// (tgid, session) → 1: its beginning was seen (NSS created it, or a handshake began whose end can't be seen), and no byte of it yet. Writer and reader:
/// `begun`. An LRU: an evicted one counts as `LATE`.
#[map]
pub static BEGUN: LruHashMap<SessionKey, u8> = LruHashMap::with_max_entries(4096, 0);

/// System call number → `op`. Writer: agent, once. The numbers depend on the architecture.
#[map]
pub static SYSCALLS: Array<u8> = Array::with_max_entries(512, 0);

/// Index 0 → what is wanted and may change. Writer: agent, at start and when another config takes effect.
#[map]
pub static WISHES: Array<Wishes> = Array::with_max_entries(1, 0);

/// Work areas, `SCRATCH_SLOTS` a CPU. The loader sets the number. Not a per-CPU map: its values are too large for one.
#[map]
pub static SCRATCH: Array<Scratch> = Array::with_max_entries(2, 0);

/// Reason → losses that no record reports in place. Writer: `emit`. Reader: agent, once a second.
#[map]
pub static LOSSES: PerCpuArray<Losses> = PerCpuArray::with_max_entries(why::COUNT as u32, 0);

/// Index 0: 1 while the agent sleeps. Writers: agent (1), `emit` (0).
#[map]
pub static ASLEEP: Array<u32> = Array::with_max_entries(1, 0);

/// Executable files that were reported. The agent removes those it could not examine. An LRU: a second report costs an examination, not a loss.
#[map]
pub static MAPPED: LruHashMap<FileKey, u8> = LruHashMap::with_max_entries(4096, 0);

/// Connection or session → 1: no stack wants it. Writer: agent. Reader: `advice`, which removes it. An LRU: when an entry is evicted, its payload
/// is copied, not lost.
#[map]
pub static LEFT_ALONE: LruHashMap<u64, u8> = LruHashMap::with_max_entries(16_384, 0);

/// `sock` that is connecting → who made it. Writer and reader: `feedback`. Bound: connections that qtap and its stores are making at once. An
/// LRU: when an entry is evicted, its connection is captured at the other end.
#[map]
pub static MADE: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1024, 0);

/// Client's end, or the connection's sequence numbers → who made it. Writers: `feedback`, agent (start). Reader: `feedback`. An LRU, as above:
/// a busy store may make many connections, each with two entries.
#[map]
pub static FOUND_ENDS: LruHashMap<End, u8> = LruHashMap::with_max_entries(32_768, 0);

/// Process → 1: it receives what qtap exports. Writer: `feedback`. Readers: `feedback`, agent. Bound: stores on this host, with all their processes.
#[map]
pub static STORES: HashMap<u32, u8> = HashMap::with_max_entries(1024, 0);

/// Excluded connections and their bytes: those of qtap (0), those of stores (1). Writer: `feedback`. Reader: agent.
#[map]
pub static FEEDBACK: PerCpuArray<Losses> = PerCpuArray::with_max_entries(2, 0);
