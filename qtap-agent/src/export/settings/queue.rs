//! What a queue on disk needs to know: its bounds, what it does when it is full, when the disk has what was written, and what waits in it.

use super::{OtlpProtocol, StoreKind, StoreSettings};

impl StoreSettings {
    /// The form in which records wait for it: what was queued in one form is not sent in another.
    #[must_use]
    pub fn form(&self) -> Form {
        match &self.kind {
            StoreKind::Stdout(..) => Form::Json,
            StoreKind::Otlp(otlp) => match otlp.protocol {
                OtlpProtocol::Grpc | OtlpProtocol::HttpProtobuf => Form::Protobuf,
                OtlpProtocol::HttpJson => Form::Json,
            },
            StoreKind::S3(_) => Form::Object,
        }
    }
}

/// What queued records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OTLP in protobuf.
    Protobuf,
    /// OTLP in JSON.
    Json,
    /// Objects under their digests.
    Object,
}

impl Form {
    /// The word in the name of a queue's folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Form::Protobuf => "protobuf",
            Form::Json => "json",
            Form::Object => "object",
        }
    }
}

/// A queue on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSettings {
    /// Most bytes held.
    pub max_bytes: u64,
    /// Most records held; 0: as many as the bytes allow.
    pub max_records: u64,
    /// What happens when it is full.
    pub when_full: WhenFull,
    /// When what was written reaches the disk itself.
    pub fsync: Fsync,
}

impl Default for QueueSettings {
    fn default() -> Self {
        QueueSettings { max_bytes: 512 << 20, max_records: 0, when_full: WhenFull::DropOldest, fsync: Fsync::Interval }
    }
}

/// What a full queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Gives up the oldest that waits: objects first, then events, and these for events only.
    DropOldest,
    /// Gives up what comes.
    DropNewest,
    /// Lets the pipeline wait.
    Block,
}

/// When what was written reaches the disk itself, and so outlives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Once a second.
    Interval,
    /// Before it counts as accepted.
    Always,
    /// When the operating system sees fit.
    Never,
}
