//! The stdout protocol: JSON Lines, each line one OTLP/JSON request with one record, indented if the output is a terminal. In: records. Out:
//! lines. All stores of this kind share one [`Output`] and write whole records under its lock. If the reader has gone away, that is
//! reported and counted, but does not end the program.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::excerpt;
use super::exporter::{Exporter, Item, Prepared, Receipt, Takes};
use super::otlp::{Encoder, Encoding, json};
use super::refusal::Refusal;
use super::settings::ResourceSettings;
use crate::model::record::{Record, Severity};

/// Buffer size; each batch ends with a flush anyway.
const BUFFER_BYTES: usize = 64 << 10;

/// Where lines are written. Clones write to the same place.
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

    /// A new file, which only its owner can read, since records may hold bodies; an existing one is truncated.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn file(path: &Path) -> io::Result<Output> {
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(Output::to(Box::new(file), false))
    }

    /// Any writer.
    #[must_use]
    pub fn to(writer: Box<dyn Write + Send>, indented: bool) -> Output {
        Output { writer: Arc::new(Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, writer))), indented }
    }

    /// Writes the records and flushes. On failure, returns the number of records that may not have been written, and the error.
    pub(super) fn write(&self, payloads: &[bytes::Bytes]) -> Result<(), (usize, io::Error)> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, payload) in payloads.iter().enumerate() {
            writer.write_all(payload).map_err(|error| (payloads.len() - index, error))?;
        }
        writer.flush().map_err(|error| (payloads.len(), error))
    }
}

/// A store that writes lines to an output.
#[derive(Debug)]
pub struct StdoutExporter {
    encoder: Encoder,
    output: Output,
}

impl StdoutExporter {
    /// Writes records of `takes`, at or above severity `least`, to `output`.
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

    /// Makes the payload one line: a whole request with one record.
    fn line(&self, item: &mut Item) {
        // This encoder has no limits, so no request is too large.
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
    /// Here the payload of an item is the whole line.
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
        // A pipe with a slow reader blocks, so use a blocking thread.
        let output = self.output.clone();
        let payloads: Vec<bytes::Bytes> = items.iter().map(|item| item.payload.clone()).collect();
        let written = tokio::task::spawn_blocking(move || output.write(&payloads)).await;
        match written {
            Ok(Ok(())) => Ok(Receipt::default()),
            // Lines can't be taken back, so the rest after a failed write is not written again.
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_can_read_a_new_file() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("records.jsonl");
        Output::file(&path)?;
        assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        Ok(())
    }
}
