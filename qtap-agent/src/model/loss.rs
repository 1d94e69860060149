//! Every reason why something that was carried did not arrive in a record, by name.

/// Why bytes or facts are missing. The list is closed: every drop has one of these reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum Loss {
    /// The ring buffer was full when the probe had a record to write.
    RingFull,
    /// The probe could not read the target's memory (paged out or unmapped).
    Fault,
    /// One call carried more than the per-call copy limit.
    CallLimit,
    /// Sent by `sendfile`: the bytes were never in the process's memory.
    Sendfile,
    /// Carried by a call that qtap counts but does not copy (`splice`, kernel TLS, …).
    UncapturedCall,
    /// Carried by a system call of the 32-bit ABI.
    CompatCall,
    /// Every scratch buffer of the CPU was in use.
    ScratchBusy,
    /// A call had more buffers (`iovec` entries or messages) than the probe walks.
    TooManyBuffers,
    /// The kernel's table of connections was full.
    ConnTableFull,
    /// The kernel's table of TLS sessions was full.
    SessionTableFull,
    /// TLS calls nested deeper than the probe follows.
    NestedTooDeep,
    /// The return of a call was never seen.
    CallUnfinished,
    /// The kernel's own count of the connection exceeds what the probes saw, or the ciphertext does not fit the plaintext.
    Unaccounted,
    /// The agent's table of connections was full.
    StreamTableFull,
    /// The reassembly window was full, or a hole stayed open for too long.
    ReorderWindow,
    /// The parser could not interpret the bytes.
    Unparsed,
    /// A message head larger than the limit.
    HeadLimit,
    /// More messages in flight than the parser tracks.
    PipelineLimit,
    /// Part of a body beyond the body limit.
    BodyLimit,
    /// The channel to the pipeline was full.
    PipelineFull,
    /// The channel or queue of an exporter was full.
    ExportFull,
    /// A store refused the record for good.
    ExportRejected,
    /// Not delivered within the limit at shutdown.
    Shutdown,
    /// A record from the ring that could not be decoded.
    Undecodable,
    /// A fact about a process arrived too late.
    ProcessUnknown,
    /// Not delivered within `retry.max_elapsed`.
    ExportExpired,
    /// All connections together held more than the agent's memory bound; those that held most dropped what they held.
    MemoryLimit,
    /// Attributes of a record were truncated or left out because the store accepts no more; the record itself was sent.
    AttributeLimit,
    /// A body too large for memory could not be stored on disk: too many bodies at once, too many bytes together, or the write failed.
    SpoolFull,
    /// Dropped from a store's full queue on disk to make room for newer records.
    QueueDropOldest,
    /// Dropped because a store's queue on disk had no room.
    QueueDropNewest,
    /// Could not be written to the queue, or was dropped for newer records, because the disk was full or failing.
    QueueUnwritable,
    /// Damaged in the queue's files.
    QueueDamaged,
    /// An exchange left out by a `sample` step, as configured.
    SampledOut,
    /// Belongs to a stack that captures nothing, counted once it was known that this holds for the whole connection: not a fault.
    NotWanted,
    /// A record waited for the container runtime's facts, and was sent without them.
    ContainerUnknown,
    /// Given up so that the agent stays within its CPU and memory limits.
    Shed,
    /// An exchange in calls of functions that were found by their code alone, and that no connection confirmed.
    Unproven,
}

impl Loss {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Loss; 38] = [
        Loss::RingFull,
        Loss::Fault,
        Loss::CallLimit,
        Loss::Sendfile,
        Loss::UncapturedCall,
        Loss::CompatCall,
        Loss::ScratchBusy,
        Loss::TooManyBuffers,
        Loss::ConnTableFull,
        Loss::SessionTableFull,
        Loss::NestedTooDeep,
        Loss::CallUnfinished,
        Loss::Unaccounted,
        Loss::StreamTableFull,
        Loss::ReorderWindow,
        Loss::Unparsed,
        Loss::HeadLimit,
        Loss::PipelineLimit,
        Loss::BodyLimit,
        Loss::PipelineFull,
        Loss::ExportFull,
        Loss::ExportRejected,
        Loss::Shutdown,
        Loss::Undecodable,
        Loss::ProcessUnknown,
        Loss::ExportExpired,
        Loss::MemoryLimit,
        Loss::AttributeLimit,
        Loss::SpoolFull,
        Loss::QueueDropOldest,
        Loss::QueueDropNewest,
        Loss::QueueUnwritable,
        Loss::QueueDamaged,
        Loss::SampledOut,
        Loss::NotWanted,
        Loss::ContainerUnknown,
        Loss::Shed,
        Loss::Unproven,
    ];

    /// The name used in metrics, attributes and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Loss::RingFull => "ring_full",
            Loss::Fault => "fault",
            Loss::CallLimit => "call_limit",
            Loss::Sendfile => "sendfile",
            Loss::UncapturedCall => "uncaptured_call",
            Loss::CompatCall => "compat_call",
            Loss::ScratchBusy => "scratch_busy",
            Loss::TooManyBuffers => "too_many_buffers",
            Loss::ConnTableFull => "conn_table_full",
            Loss::SessionTableFull => "session_table_full",
            Loss::NestedTooDeep => "nested_too_deep",
            Loss::CallUnfinished => "call_unfinished",
            Loss::Unaccounted => "unaccounted",
            Loss::StreamTableFull => "stream_table_full",
            Loss::ReorderWindow => "reorder_window",
            Loss::Unparsed => "unparsed",
            Loss::HeadLimit => "head_limit",
            Loss::PipelineLimit => "pipeline_limit",
            Loss::BodyLimit => "body_limit",
            Loss::PipelineFull => "pipeline_full",
            Loss::ExportFull => "export_full",
            Loss::ExportRejected => "export_rejected",
            Loss::Shutdown => "shutdown",
            Loss::Undecodable => "undecodable",
            Loss::ProcessUnknown => "process_unknown",
            Loss::ExportExpired => "export_expired",
            Loss::MemoryLimit => "memory_limit",
            Loss::AttributeLimit => "attribute_limit",
            Loss::SpoolFull => "spool_full",
            Loss::QueueDropOldest => "queue_drop_oldest",
            Loss::QueueDropNewest => "queue_drop_newest",
            Loss::QueueUnwritable => "queue_unwritable",
            Loss::QueueDamaged => "queue_damaged",
            Loss::SampledOut => "sampled_out",
            Loss::NotWanted => "not_wanted",
            Loss::ContainerUnknown => "container_unknown",
            Loss::Shed => "shed",
            Loss::Unproven => "unproven",
        }
    }
}

/// Occurrences and bytes per [`Loss`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; Loss::ALL.len()],
    bytes: [u64; Loss::ALL.len()],
    /// One bit per loss that occurred: `is_empty` is called for every segment.
    occurred: u64,
}

const _: () = assert!(Loss::ALL.len() <= u64::BITS as usize, "one bit a loss");

impl Default for Tally {
    fn default() -> Tally {
        Tally { counts: [0; Loss::ALL.len()], bytes: [0; Loss::ALL.len()], occurred: 0 }
    }
}

impl Tally {
    /// Counts one occurrence that lost `bytes`.
    pub fn add(&mut self, loss: Loss, bytes: u64) {
        self.add_many(loss, 1, bytes);
    }

    /// Counts `count` occurrences that lost `bytes` in total.
    pub fn add_many(&mut self, loss: Loss, count: u64, bytes: u64) {
        if count == 0 && bytes == 0 {
            return;
        }
        self.occurred |= 1 << loss as u64;
        if let (Some(c), Some(b)) = (self.counts.get_mut(loss as usize), self.bytes.get_mut(loss as usize)) {
            *c = c.saturating_add(count);
            *b = b.saturating_add(bytes);
        }
    }

    /// Adds another tally to this one.
    pub fn merge(&mut self, other: &Tally) {
        for (loss, count, bytes) in other.iter() {
            self.add_many(loss, count, bytes);
        }
    }

    /// The losses that occurred, each with its occurrences and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, u64, u64)> + '_ {
        Loss::ALL
            .into_iter()
            .zip(self.counts.iter().zip(&self.bytes))
            .filter(|(_, (c, b))| **c > 0 || **b > 0)
            .map(|(loss, (c, b))| (loss, *c, *b))
    }

    /// Moves what was counted under `loss` to `other`.
    pub fn rename(&mut self, loss: Loss, other: Loss) {
        let (count, bytes) = (self.count(loss), self.bytes(loss));
        if let (Some(c), Some(b)) = (self.counts.get_mut(loss as usize), self.bytes.get_mut(loss as usize)) {
            (*c, *b) = (0, 0);
        }
        self.occurred &= !(1 << loss as u64);
        self.add_many(other, count, bytes);
    }

    /// Bytes lost to `loss`.
    #[must_use]
    pub fn bytes(&self, loss: Loss) -> u64 {
        self.bytes.get(loss as usize).copied().unwrap_or(0)
    }

    /// Occurrences of `loss`.
    #[must_use]
    pub fn count(&self, loss: Loss) -> u64 {
        self.counts.get(loss as usize).copied().unwrap_or(0)
    }

    /// Bytes lost for any reason.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.bytes.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// True when nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.occurred == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_stands_at_its_number_and_has_its_own_name() {
        let mut names = std::collections::HashSet::new();
        for (index, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(loss as usize, index);
            assert!(names.insert(loss.name()), "{} twice", loss.name());
        }
    }

    #[test]
    fn the_docs_name_every_loss() {
        let docs = include_str!("../../../docs/records.md");
        for loss in Loss::ALL {
            let name = format!("`{}`", loss.name());
            assert!(docs.lines().any(|line| line.starts_with("| `") && line.contains(&name)), "{name}");
        }
    }

    #[test]
    fn a_tally_adds_up() {
        let mut tally = Tally::default();
        tally.add(Loss::RingFull, 10);
        tally.add(Loss::RingFull, 5);
        let mut other = Tally::default();
        other.add(Loss::Fault, 1);
        tally.merge(&other);
        assert_eq!(tally.bytes(Loss::RingFull), 15);
        assert_eq!(tally.count(Loss::RingFull), 2);
        assert_eq!(tally.total_bytes(), 16);
        assert_eq!(tally.iter().count(), 2);
        assert!(!tally.is_empty());
        tally = Tally::default();
        tally.add_many(Loss::Fault, 0, 0);
        assert!(tally.is_empty());
        tally.add(Loss::Unparsed, 3);
        tally.add(Loss::MemoryLimit, 4);
        tally.rename(Loss::Unparsed, Loss::MemoryLimit);
        assert_eq!(tally.iter().collect::<Vec<_>>(), [(Loss::MemoryLimit, 2, 7)]);
    }
}
