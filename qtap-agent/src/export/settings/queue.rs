//! The settings of a queue on disk: its bounds, what it does when full, when writes are synced to disk, and the form of its records.

use super::{OtlpProtocol, StoreKind, StoreSettings};

impl StoreSettings {
    /// The form of the queued records: records queued in one form are not sent in another.
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

/// The form of queued records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OTLP in protobuf.
    Protobuf,
    /// OTLP in JSON.
    Json,
    /// Objects, keyed by digest.
    Object,
}

impl Form {
    /// The word for this form in the name of a queue's folder.
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
    /// Maximum number of bytes.
    pub max_bytes: u64,
    /// Maximum number of records; 0: no limit besides the bytes.
    pub max_records: u64,
    /// What happens when the queue is full.
    pub when_full: WhenFull,
    /// When writes are synced to disk.
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
    /// Drops the oldest waiting records: objects first, then events, but events only to make space for events.
    DropOldest,
    /// Drops the incoming record.
    DropNewest,
    /// Makes the pipeline wait.
    Block,
}

/// When writes are synced to disk, so that they survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Once a second.
    Interval,
    /// Before a record counts as accepted.
    Always,
    /// When the operating system decides.
    Never,
}
