//! Every map: key → value, writer, reader, bound, why. Sizes are placeholders where the loader sets them.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use qtap_common::feedback::End;
use qtap_common::globals::Wishes;
use qtap_common::go::{GoCalls, GoKey};
use qtap_common::record::why;
use qtap_common::state::{Conn, FileKey, Losses, Session, SessionKey};

use crate::rustls::{Key, Thread};
use crate::scratch::Scratch;
use crate::session::Calls;

/// Records. Writer: `emit`. Reader: the agent's ring thread. Bound: set by the loader from the buffer size. One ring, so that
/// what happened on two CPUs stays in one order.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// tgid → verdict (`scope::IN`, `scope::OUT`). Writers: agent (start), `scope` (fork, exit, first sight). Bound: processes at once.
#[map]
pub static SCOPE: HashMap<u32, u8> = HashMap::with_max_entries(65_536, 0);

/// `sock` address → connection. Writer: `conn`. Reader: agent (sweeps). Not an LRU: what is forgotten would be lost in silence;
/// a full table is counted.
#[map]
pub static CONNS: HashMap<u64, Conn> = HashMap::with_max_entries(65_536, 0);

/// (tgid, `SSL*`) → session. Writer: `session`. Reader: agent (sweeps).
#[map]
pub static SESSIONS: HashMap<SessionKey, Session> = HashMap::with_max_entries(65_536, 0);

/// (tgid, memory that a session reads its records from) → session. Writer and reader: `hello`, which takes out what has told its hello. An LRU: what is
/// forgotten is a session bound to no connection.
#[map]
pub static FED: LruHashMap<SessionKey, u64> = LruHashMap::with_max_entries(16_384, 0);

/// Thread (pid_tgid) → TLS calls under way on it. Writer: `session`; removed when the thread ends. Bound: threads that use TLS.
#[map]
pub static CALLS: HashMap<u64, Calls> = HashMap::with_max_entries(32_768, 0);

/// Goroutine → TLS calls under way on it. Writer: `goroutine`; an entry goes with the last call. Reader: agent, which takes out those of processes that ended
/// in the middle. Bound: goroutines inside a call, which those are that wait for a request: as many as sessions. A full table is counted.
#[map]
pub static GO_CALLS: HashMap<GoKey, GoCalls> = HashMap::with_max_entries(65_536, 0);

/// (tgid, address of the object that encrypts or decrypts under it) → a key of rustls. Writer and reader: `rustls`. An LRU: what is forgotten is proven anew, and
/// told as joined late.
#[map]
pub static RUSTLS_KEYS: LruHashMap<SessionKey, Key> = LruHashMap::with_max_entries(32_768, 0);

/// Thread → what goes on there in rustls. Writer and reader: `rustls`. An LRU, as above.
#[map]
pub static RUSTLS_THREADS: LruHashMap<u64, Thread> = LruHashMap::with_max_entries(4096, 0);

/// Process → 1: it uses rustls. Writers: agent, `rustls`. Reader: `rustls`. An LRU: the next call of one that is forgotten puts it back.
#[map]
pub static RUSTLS_USERS: LruHashMap<u32, u8> = LruHashMap::with_max_entries(1024, 0);

/// Index 0: 1 when a process uses rustls. Writers: agent, `rustls`. Reader: `rustls`.
#[map]
pub static RUSTLS_SEEN: Array<u32> = Array::with_max_entries(1, 0);

/// (tgid, session) → 1: NSS made it, and no call of it ended yet. Writer: `begun`. Reader: `begun`, which takes it out. An LRU: what is forgotten is told as joined late.
#[map]
pub static IMPORTED: LruHashMap<SessionKey, u8> = LruHashMap::with_max_entries(4096, 0);

/// System call number → `op`. Writer: agent, once. The numbers are the architecture's.
#[map]
pub static SYSCALLS: Array<u8> = Array::with_max_entries(512, 0);

/// Index 0 → what is wanted and may change. Writer: agent, at the start and when another config holds.
#[map]
pub static WISHES: Array<Wishes> = Array::with_max_entries(1, 0);

/// Work areas, `SCRATCH_SLOTS` a CPU. The loader sets the number. Not a per-CPU map: its values are too large for one.
#[map]
pub static SCRATCH: Array<Scratch> = Array::with_max_entries(2, 0);

/// Reason → losses that no record tells in place. Reader: agent, once a second.
#[map]
pub static LOSSES: PerCpuArray<Losses> = PerCpuArray::with_max_entries(why::COUNT as u32, 0);

/// Index 0: 1 while the agent sleeps. Writers: agent (1), `emit` (0).
#[map]
pub static ASLEEP: Array<u32> = Array::with_max_entries(1, 0);

/// Executable files that were told. The agent takes out what it could not look at. An LRU: telling one twice costs a look, not a loss.
#[map]
pub static MAPPED: LruHashMap<FileKey, u8> = LruHashMap::with_max_entries(4096, 0);

/// Connection or session → 1: nobody wants it. Writer: agent. Reader: `advice`, which takes it out. An LRU: what is forgotten is copied, and
/// not lost.
#[map]
pub static LEFT_ALONE: LruHashMap<u64, u8> = LruHashMap::with_max_entries(16_384, 0);

/// `sock` that is connecting → who made it. Writer and reader: `feedback`. Bound: connections of qtap and its stores under way at once. An LRU:
/// what is forgotten is captured at its other end.
#[map]
pub static MADE: LruHashMap<u64, u8> = LruHashMap::with_max_entries(1024, 0);

/// Client's end, or the connection by its numbers → who made it. Writers: `feedback`, agent (start). Reader: `feedback`. An LRU, as above: a busy store may make many; each is in it
/// twice.
#[map]
pub static FOUND_ENDS: LruHashMap<End, u8> = LruHashMap::with_max_entries(32_768, 0);

/// Process → 1: it receives what qtap exports. Writer: `feedback`. Reader: agent. Bound: stores on this host, with the processes they are made of.
#[map]
pub static STORES: HashMap<u32, u8> = HashMap::with_max_entries(1024, 0);

/// Connections and bytes left out for that: of qtap's (0), of stores (1). Reader: agent.
#[map]
pub static FEEDBACK: PerCpuArray<Losses> = PerCpuArray::with_max_entries(2, 0);
