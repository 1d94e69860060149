//! Files that can't be read for a while: too few descriptors, a disk that hiccups. Nothing of it is lost, and nobody hammers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;

use super::super::disk::DiskQueue;
use super::super::segment::fault::{FAILED, READ};
use super::{Bench, LARGE, LIMITS, SEGMENT_BYTES, item, numbers, segments};
use crate::export::exporter::{Class, Item};
use crate::export::settings::{QueueSettings, WhenFull};
use crate::export::status::Board;
use crate::model::loss::Loss;
use crate::model::spool::SpoolFile;

/// Longer than the first wait.
const A_WHILE: Duration = Duration::from_millis(150);

#[test]
fn a_read_that_fails_once_costs_nothing() {
    for error in [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOMEM, Errno::ACCESS] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::open(folder.path(), LARGE);
        (0..4).for_each(|group| assert_eq!(bench.push(Class::Event, group * 5..group * 5 + 5), 5));
        assert_eq!(numbers(&bench.queue.take(Class::Event)), [0, 1, 2]);
        FAILED.set(0);
        READ.set(Some(error));
        let mut seen = Vec::new();
        for _ in 0..1000 {
            seen.extend(numbers(&bench.queue.take(Class::Event)));
        }
        // What had been read before, and then one try.
        assert!(seen.iter().copied().eq(3..3 + seen.len() as u64) && seen.len() < 10, "{seen:?}");
        assert_eq!((FAILED.get(), bench.queue.held().0), (1, 20), "{error}");
        let told = bench.board.read().queue_error.unwrap();
        assert!(told.contains("can't be read") && told.contains(&error.to_string()), "{told}");
        READ.set(None);
        sleep(A_WHILE);
        let rest = bench.drain(Class::Event);
        assert!(rest.iter().copied().eq(3 + seen.len() as u64..20), "{error}: {rest:?}");
        assert_eq!((bench.lost(Loss::QueueDamaged), bench.board.read().queue_error), ((0, 0), None), "{error}");
    }
}

/// A queue that is full, and whose oldest can't be read: they stay, and the newest are counted.
#[test]
fn what_cannot_be_read_is_not_given_up_for_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let settings = QueueSettings { max_records: 10, when_full: WhenFull::DropOldest, ..LARGE };
    let bench = Bench::open(folder.path(), settings);
    assert_eq!(bench.push(Class::Event, 0..10), 10);
    READ.set(Some(Errno::MFILE));
    assert_eq!(bench.push(Class::Event, 10..15), 0);
    READ.set(None);
    assert_eq!((bench.lost(Loss::QueueDropNewest).0, bench.lost(Loss::QueueDropOldest).0), (5, 0));
    sleep(A_WHILE);
    assert_eq!(bench.push(Class::Event, 15..17), 2);
    assert_eq!((bench.drain(Class::Event), bench.lost(Loss::QueueDamaged)), ((2..10).chain(15..17).collect(), (0, 0)));
}

/// The file of an object can't be linked for a moment, which on a full disk takes room too.
#[test]
fn a_body_that_cannot_be_lent_at_once_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let queue = folder.path().join("queue");
    let path = folder.path().join("body");
    fs::write(&path, "body").unwrap();
    let spooled = Some(Arc::new(SpoolFile::new(path, 4)));
    let bench = Bench::open(&queue, LARGE);
    bench.queue.append(vec![Item { spooled, payload: bytes::Bytes::new(), ..item(Class::Object, 0, 8) }]);
    // A folder can't be linked.
    let (kept, aside) = (queue.join("objects/00000000000000000000.spool"), queue.join("aside"));
    fs::rename(&kept, &aside).unwrap();
    fs::create_dir(&kept).unwrap();
    for _ in 0..100 {
        assert!(bench.queue.take(Class::Object).is_empty());
    }
    assert_eq!((bench.queue.held().0, bench.lost(Loss::QueueDamaged)), (1, (0, 0)));
    fs::remove_dir(&kept).unwrap();
    fs::rename(&aside, &kept).unwrap();
    sleep(A_WHILE);
    let batch = bench.queue.take(Class::Object);
    assert_eq!(fs::read_to_string(batch.items[0].spooled.as_ref().unwrap().path()).unwrap(), "body");
    // One that is gone is lost, and counted.
    bench.queue.settle(&batch);
    drop(batch);
    let path = folder.path().join("body");
    fs::write(&path, "body").unwrap();
    let spooled = Some(Arc::new(SpoolFile::new(path, 4)));
    bench.queue.append(vec![Item { spooled, payload: bytes::Bytes::new(), ..item(Class::Object, 0, 8) }]);
    fs::remove_file(queue.join("objects/00000000000000000001.spool")).unwrap();
    assert!(bench.queue.take(Class::Object).is_empty());
    assert_eq!((bench.queue.held().0, bench.lost(Loss::QueueDamaged).0), (0, 1));
}

/// A segment that can be opened, and not read, until this is dropped.
struct Hidden(PathBuf, PathBuf);

impl Hidden {
    fn new(folder: &Path) -> Hidden {
        let path = segments(folder, Class::Event).swap_remove(1);
        let hidden = Hidden(path.clone(), folder.join("aside"));
        fs::rename(&path, &hidden.1).unwrap();
        fs::create_dir(path).unwrap();
        hidden
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).unwrap();
        fs::rename(&self.1, &self.0).unwrap();
    }
}

/// Takes and settles batches until none comes for some time.
async fn pump(queue: &Arc<DiskQueue>) -> Vec<u64> {
    let mut seen = Vec::new();
    while let Ok(Some(batch)) = tokio::time::timeout(Duration::from_millis(400), queue.next()).await {
        seen.extend(numbers(&batch));
        queue.settle(&batch);
    }
    seen
}

/// Workers wait for a file that can't be read, and go on where they were; at the end nobody waits, and it stays for the next start.
#[tokio::test]
async fn workers_wait_for_a_file_that_cannot_be_read() {
    for ends in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::open(folder.path(), LARGE);
        (0..4).for_each(|group| assert_eq!(bench.push(Class::Event, group * 5..group * 5 + 5), 5));
        drop(bench);
        let board = Arc::new(Board::new("s", "test"));
        let open = || {
            let told = Arc::clone(&board);
            Arc::new(DiskQueue::with_segments(SEGMENT_BYTES, folder.path(), LARGE, LIMITS, true, told).unwrap())
        };
        let mut queue = open();
        let hidden = Hidden::new(folder.path());
        let mut seen = pump(&queue).await;
        assert!(seen.iter().copied().eq(0..seen.len() as u64) && !seen.is_empty() && seen.len() < 20, "{seen:?}");
        assert!(board.read().queue_error.is_some());
        if ends {
            queue.close();
            let none = tokio::time::timeout(Duration::from_secs(5), queue.next()).await;
            assert!(none.is_ok_and(|batch| batch.is_none()));
            assert_eq!(queue.held().0, 20 - seen.len() as u64);
        }
        drop(hidden);
        if ends {
            queue = open();
        } else {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        seen.extend(pump(&queue).await);
        assert!(seen.iter().copied().eq(0..20), "{seen:?}");
        assert_eq!((queue.held().0, board.read().losses.count(Loss::QueueDamaged)), (0, 0));
        assert_eq!(board.read().queue_error, None);
    }
}
