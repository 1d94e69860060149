//! Tests of the queue on disk through its interface: against a model (`model`), with truncated and damaged files (`damage`), on full disks
//! (`space`), with files that can't be read for a while (`unreadable`), and at its bounds (`bounds`).

mod bounds;
mod damage;
mod model;
mod space;
mod unreadable;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::DiskQueue;
use super::frame;
use crate::export::batch::Batch;
use crate::export::exporter::{Class, Item};
use crate::export::settings::{BatchSettings, Fsync, QueueSettings, WhenFull};
use crate::export::status::Board;
use crate::model::loss::Loss;

/// An entry in these tests takes about a hundred bytes.
const SEGMENT_BYTES: u64 = 600;

const LIMITS: BatchSettings = BatchSettings { max_records: 3, max_bytes: 200, interval: Duration::ZERO };

const LARGE: QueueSettings =
    QueueSettings { max_bytes: 1 << 20, max_records: 0, when_full: WhenFull::DropOldest, fsync: Fsync::Never };

/// A queue and the board on which it counts losses.
struct Bench {
    queue: DiskQueue,
    board: Arc<Board>,
}

impl Bench {
    fn open(folder: &Path, settings: QueueSettings) -> Bench {
        let board = Arc::new(Board::new("s", "test"));
        let queue =
            DiskQueue::with_segments(SEGMENT_BYTES, folder, settings, LIMITS, true, Arc::clone(&board)).unwrap();
        Bench { queue, board }
    }

    fn push(&self, class: Class, numbers: impl IntoIterator<Item = u64>) -> u64 {
        self.queue.append(numbers.into_iter().map(|number| item(class, number, 40)).collect())
    }

    fn lost(&self, loss: Loss) -> (u64, u64) {
        let losses = self.board.read().losses;
        (losses.count(loss), losses.bytes(loss))
    }

    /// Takes and settles everything that waits.
    fn drain(&self, class: Class) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let batch = self.queue.take(class);
            if batch.is_empty() {
                return all;
            }
            all.extend(numbers(&batch));
            self.queue.settle(&batch);
        }
    }
}

/// An item whose payload contains its number.
fn item(class: Class, number: u64, size: usize) -> Item {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(size.max(8), b'x');
    Item {
        class,
        resource: bytes::Bytes::from_static(b"resource"),
        name: String::new(),
        content_type: String::new(),
        payload: payload.into(),
        spooled: None,
    }
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.items.iter().map(|item| u64::from_le_bytes(item.payload[..8].try_into().unwrap())).collect()
}

/// Bytes that an item of `push` takes.
fn cost() -> u64 {
    frame::len(&item(Class::Event, 0, 40)) as u64
}

/// The segments of a lane, in order.
fn segments(folder: &Path, class: Class) -> Vec<PathBuf> {
    let lane = match class {
        Class::Event => "events",
        Class::Object => "objects",
    };
    let entries = std::fs::read_dir(folder.join(lane)).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "seg")).collect();
    all.sort();
    all
}
