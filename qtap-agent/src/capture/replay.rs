//! A recording as a source: the recorded ring records, decoded as live ones are, and the facts that were written between them.

use std::io::Read;
use std::time::Duration;

use qtap_common::ABI;

use super::decode::{Decoded, Decoder};
use super::recording::{Fact, Frame, Reader, RecordingError};
use super::source::{Flow, Source, SourceError};
use crate::model::event::Event;
use crate::model::loss::Loss;
use crate::model::time::KernelTime;

/// Most frames processed by one poll.
const FRAMES_PER_POLL: usize = 4096;

/// A recording being replayed.
pub struct Replay<R> {
    frames: Reader<R>,
    decoder: Decoder,
    now: KernelTime,
}

impl<R: Read> Replay<R> {
    /// Opens a recording.
    ///
    /// # Errors
    /// [`RecordingError`] if it is not a recording, or has another ABI.
    pub fn open(from: R) -> Result<Replay<R>, RecordingError> {
        Ok(Replay { frames: Reader::new(from, ABI)?, decoder: Decoder::default(), now: KernelTime(0) })
    }

    fn play(&mut self, frame: Frame, out: &mut Vec<Event>) {
        match frame {
            Frame::Kernel(bytes) => match self.decoder.decode_shared(&bytes) {
                Ok(Decoded::Event(event)) => out.push(event),
                // The agent recorded what it derived from these as facts of their own.
                Ok(Decoded::Exec(_) | Decoded::Forked { .. } | Decoded::Exited { .. } | Decoded::Mapped { .. }) => {}
                Err(_) => out.push(Event::Lost { reason: Loss::Undecodable, count: 1, bytes: 0, time: self.now }),
            },
            Frame::Fact(Fact::Library(library)) => self.decoder.library(library),
            Frame::Fact(fact) => {
                if let Fact::Tick(now) = fact {
                    self.now = now;
                }
                out.extend(fact.into_event());
            }
        }
    }
}

impl<R: Read> Source for Replay<R> {
    fn poll(&mut self, _timeout: Duration, out: &mut Vec<Event>) -> Result<Flow, SourceError> {
        for _ in 0..FRAMES_PER_POLL {
            match self.frames.next() {
                Some(Ok(frame)) => self.play(frame, out),
                Some(Err(damage)) => return Err(SourceError(Box::new(damage))),
                None => return Ok(Flow::Ended),
            }
        }
        Ok(Flow::Open)
    }
}
