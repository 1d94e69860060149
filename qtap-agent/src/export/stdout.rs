//! The stdout protocol: JSON Lines, each line one OTLP/JSON request with one record; indented for a reader when the output is a
//! terminal. All stores of this kind share one [`Output`] and write whole records under its lock. A reader that went away is
//! reported and counted, never an error that ends the program.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::excerpt;
use super::exporter::{Exporter, Item, Prepared, Receipt, Takes};
use super::otlp::{Encoder, Encoding, json};
use super::refusal::Refusal;
use super::settings::ResourceSettings;
use crate::model::record::{Record, Severity};

/// Bytes gathered before they are written; a batch ends with a flush anyway.
const BUFFER_BYTES: usize = 64 << 10;

/// Where lines go. Copies write to the same place.
#[derive(Clone)]
pub struct Output {
    writer: Arc<Mutex<BufWriter<Box<dyn Write + Send>>>>,
    indented: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("indented", &self.indented).finish_non_exhaustive()
    }
}

impl Output {
    /// Standard output, indented when it is a terminal.
    #[must_use]
    pub fn stdout() -> Output {
        let stdout = io::stdout();
        let indented = stdout.is_terminal();
        Output::to(Box::new(stdout), indented)
    }

    /// A new file; one that exists is emptied.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn file(path: &Path) -> io::Result<Output> {
        Ok(Output::to(Box::new(File::create(path)?), false))
    }

    /// Any writer.
    #[must_use]
    pub fn to(writer: Box<dyn Write + Send>, indented: bool) -> Output {
        Output { writer: Arc::new(Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, writer))), indented }
    }

    /// Writes the records and flushes; the number that did not make it, and why.
    pub(super) fn write(&self, payloads: &[bytes::Bytes]) -> Result<(), (usize, io::Error)> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, payload) in payloads.iter().enumerate() {
            writer.write_all(payload).map_err(|error| (payloads.len() - index, error))?;
        }
        writer.flush().map_err(|error| (payloads.len(), error))
    }
}

/// A store that is a stream of lines.
#[derive(Debug)]
pub struct StdoutExporter {
    encoder: Encoder,
    output: Output,
}

impl StdoutExporter {
    /// Writes records of `takes`, at or above `least`, to `output`.
    #[must_use]
    pub fn new(
        resource: ResourceSettings,
        least: Severity,
        takes: Takes,
        output: Output,
        version: &'static str,
    ) -> StdoutExporter {
        StdoutExporter { encoder: Encoder::new(takes, Encoding::Json, least, resource, version), output }
    }

    /// One line: a whole request with one record.
    fn line(&self, item: &mut Item) {
        // Without limits there is no request that is too large.
        let mut line = self.encoder.request(std::slice::from_ref(item)).unwrap_or_default();
        if self.output.indented {
            line = json::pretty(&line);
        }
        line.push(b'\n');
        item.payload = line.into();
        item.resource = bytes::Bytes::new();
    }
}

impl Exporter for StdoutExporter {
    /// The payload is the whole line.
    fn prepare(&self, record: &Record) -> Prepared {
        let mut prepared = self.encoder.prepare(&excerpt::of(record, excerpt::LINE_BYTES));
        for item in &mut prepared.items {
            self.line(item);
        }
        prepared
    }

    async fn send(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        if items.is_empty() {
            return Ok(Receipt::default());
        }
        // A pipe whose reader is slow blocks: on a thread that may.
        let output = self.output.clone();
        let payloads: Vec<bytes::Bytes> = items.iter().map(|item| item.payload.clone()).collect();
        let written = tokio::task::spawn_blocking(move || output.write(&payloads)).await;
        match written {
            Ok(Ok(())) => Ok(Receipt::default()),
            // Lines cannot be taken back, so what a failed write left over is not written again.
            Ok(Err((rejected, error))) => {
                let message = if error.kind() == io::ErrorKind::BrokenPipe {
                    "the reader of the output has gone away".to_owned()
                } else {
                    format!("the output cannot be written: {error}")
                };
                Ok(Receipt { rejected: rejected as u64, message: Some(message) })
            }
            Err(error) => Err(Refusal::wait(format!("writing the output was interrupted: {error}"))),
        }
    }
}
