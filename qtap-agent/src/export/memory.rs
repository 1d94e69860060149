//! A store in memory, for tests: keeps what is sent to it and answers as the test sets. Its items are OTLP/JSON log records.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::exporter::{Exporter, Item, Prepared, Receipt, Takes};
use super::otlp::{Encoder, Encoding};
use super::refusal::Refusal;
use super::settings::ResourceSettings;
use crate::model::record::{Record, Severity};

/// The batches that were sent and the answers to give. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    batches: Vec<Vec<Item>>,
    answers: VecDeque<Result<Receipt, Refusal>>,
}

impl Memory {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the answer to a later request; when no answer is queued, a request is accepted.
    pub fn answer(&self, answer: Result<Receipt, Refusal>) {
        self.contents().answers.push_back(answer);
    }

    /// The batches that were accepted, in order.
    #[must_use]
    pub fn batches(&self) -> Vec<Vec<Item>> {
        self.contents().batches.clone()
    }

    /// The log records that were accepted, in order.
    #[must_use]
    pub fn records(&self) -> Vec<serde_json::Value> {
        let batches = self.batches();
        batches.iter().flatten().filter_map(|item| serde_json::from_slice(&item.payload).ok()).collect()
    }
}

/// Sends to a [`Memory`].
#[derive(Debug)]
pub struct MemoryExporter {
    encoder: Encoder,
    memory: Memory,
}

impl MemoryExporter {
    /// Keeps records of `takes` in `memory`.
    #[must_use]
    pub fn new(memory: Memory, takes: Takes) -> MemoryExporter {
        let resource = ResourceSettings { service_name: "qtap".to_owned(), ..ResourceSettings::default() };
        MemoryExporter { encoder: Encoder::new(takes, Encoding::Json, Severity::Trace, resource, "0.0.0"), memory }
    }
}

impl Exporter for MemoryExporter {
    fn prepare(&self, record: &Record) -> Prepared {
        self.encoder.prepare(record)
    }

    async fn send(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        let mut contents = self.memory.contents();
        let answer = contents.answers.pop_front().unwrap_or_else(|| Ok(Receipt::default()));
        if answer.is_ok() && !items.is_empty() {
            contents.batches.push(items.to_vec());
        }
        answer
    }
}
