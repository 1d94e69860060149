//! Messages of qtap's agent inside a JVM. It writes each to the null device, in one call; the probe on system calls recognises them by a mark that the
//! agent outside chose at random for that process.

/// Process → [`Jvm`]. Writer: agent, before it loads its archive into a JVM.
pub const MAP_JVMS: &str = "JVMS";

/// A JVM with qtap's agent in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jvm {
    /// What its messages begin with.
    pub mark: [u64; 2],
    /// Nanoseconds since boot when the agent was loaded: what is older was not seen from its beginning.
    pub since: u64,
    /// Number of the library, as in the records of sessions.
    pub library: u32,
    /// Zero.
    pub pad: u32,
}

/// What precedes a message's payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// [`Jvm::mark`].
    pub mark: [u64; 2],
    /// One of [`message`].
    pub kind: u8,
    /// 0 sent, 1 received.
    pub direction: u8,
    /// Zero.
    pub pad: u16,
    /// Bytes of payload that follow.
    pub len: u32,
    /// The session: a number that no other one of the process has, and that is no address.
    pub session: u64,
    /// Nanoseconds since the call began.
    pub age: u64,
}

/// Kinds of messages.
pub mod message {
    /// Plaintext that a session moved.
    pub const DATA: u8 = 1;
    /// The first bytes of a record that a session wrote or is fed, up to the random of a hello.
    pub const HELLO: u8 = 2;
    /// The descriptor of a session's socket: four bytes.
    pub const SOCKET: u8 = 3;
    /// The session is gone.
    pub const ENDED: u8 = 4;
    /// Plaintext was moved that could not be told: eight bytes, how much.
    pub const LOST: u8 = 5;
}

const _: () = assert!(size_of::<Jvm>() == 32);
const _: () = assert!(size_of::<Message>() == 40);

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (asserted above), any bit pattern is valid.
unsafe impl aya::Pod for Jvm {}
