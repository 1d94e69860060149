//! Full disks: the newest intact records are kept, losses are counted, and the queue resumes when there is space again.

use super::super::segment::fault::{ERROR, ROOM, SYNC};
use super::{Bench, LARGE, cost, segments};
use crate::export::exporter::Class;
use crate::export::settings::{Fsync, QueueSettings, WhenFull};
use crate::export::small_disk::SmallDisk;
use crate::model::loss::Loss;

#[test]
fn the_newest_are_kept_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), LARGE);
    (0..4).for_each(|group| assert_eq!(bench.push(Class::Event, group * 5..group * 5 + 5), 5));
    ROOM.set(Some(0));
    // A disk that takes nothing at all: everything that waits is dropped in vain, and then the new records too.
    assert_eq!(bench.push(Class::Event, 20..25), 0);
    assert_eq!((bench.lost(Loss::QueueUnwritable).0, bench.queue.held()), (25, (0, 0)));
    assert!(bench.board.read().queue_error.is_some_and(|error| error.contains("No space left")));
    ROOM.set(None);
    assert_eq!(bench.push(Class::Event, 25..30), 5);
    assert_eq!(bench.board.read().queue_error, None);
    assert_eq!(bench.drain(Class::Event), (25..30).collect::<Vec<_>>());
    assert_eq!(bench.lost(Loss::QueueDamaged), (0, 0));
}

/// What waits is intact, and space is not what is missing: dropping it would help nobody.
#[test]
fn a_disk_that_fails_otherwise_costs_the_new_records_only() {
    for error in [rustix::io::Errno::ROFS, rustix::io::Errno::IO, rustix::io::Errno::MFILE] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::open(folder.path(), LARGE);
        assert_eq!(bench.push(Class::Event, 0..5), 5);
        ERROR.set(error);
        ROOM.set(Some(0));
        assert_eq!(bench.push(Class::Event, 5..7), 0);
        assert_eq!((bench.lost(Loss::QueueUnwritable).0, bench.queue.held().0), (2, 5));
        ROOM.set(None);
        ERROR.set(rustix::io::Errno::NOSPC);
        assert_eq!(bench.push(Class::Event, 7..9), 2);
        assert_eq!(bench.drain(Class::Event), [0, 1, 2, 3, 4, 7, 8]);
    }
}

/// With `fsync: always` a record is accepted once it is on the disk; one that is counted as lost is not delivered after a restart.
#[test]
fn what_cannot_be_synced_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let settings = QueueSettings { when_full: WhenFull::DropNewest, fsync: Fsync::Always, ..LARGE };
    let bench = Bench::open(folder.path(), settings);
    assert_eq!(bench.push(Class::Event, 0..2), 2);
    SYNC.set(true);
    assert_eq!(bench.push(Class::Event, 2..5), 0);
    SYNC.set(false);
    assert_eq!(bench.lost(Loss::QueueUnwritable).0, 3);
    drop(bench);
    let bench = Bench::open(folder.path(), settings);
    assert_eq!(bench.push(Class::Event, 5..6), 1);
    assert_eq!((bench.drain(Class::Event), bench.lost(Loss::QueueDamaged)), (vec![0, 1, 5], (0, 0)));
}

/// A write that fails in the middle of a group leaves nothing behind, whichever byte it fails at.
#[test]
fn a_write_that_is_cut_short_leaves_no_trace() {
    for room in 0..(3 * cost() as usize) {
        let folder = tempfile::tempdir().unwrap();
        let settings = QueueSettings { when_full: WhenFull::DropNewest, ..LARGE };
        let bench = Bench::open(folder.path(), settings);
        bench.push(Class::Event, 0..2);
        ROOM.set(Some(room));
        assert_eq!(bench.push(Class::Event, 2..5), 0);
        ROOM.set(None);
        assert_eq!(bench.push(Class::Event, 5..7), 2);
        drop(bench);
        let bench = Bench::open(folder.path(), settings);
        assert_eq!((bench.drain(Class::Event), bench.lost(Loss::QueueDamaged)), (vec![0, 1, 5, 6], (0, 0)));
    }
}

/// Entries in flight are kept although the disk is full.
#[test]
fn what_is_out_is_not_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), LARGE);
    (0..4).for_each(|group| assert_eq!(bench.push(Class::Event, group * 5..group * 5 + 5), 5));
    let batch = bench.queue.take(Class::Event);
    ROOM.set(Some(0));
    bench.push(Class::Event, 20..22);
    ROOM.set(None);
    assert_eq!(bench.queue.held().0, batch.len() as u64);
    drop((batch, bench));
    assert_eq!(Bench::open(folder.path(), LARGE).drain(Class::Event), [0, 1, 2]);
}

/// A real full filesystem.
#[test]
fn on_a_small_filesystem_the_newest_are_kept() {
    let Some(folder) = SmallDisk::mount(256) else { return };
    let bench = Bench::open(folder.path(), LARGE);
    let groups = 2000;
    for group in 0..groups {
        // Everything is accepted, because there is always something older to drop.
        assert_eq!(bench.push(Class::Event, group * 5..group * 5 + 5), 5);
    }
    let (held, _) = bench.queue.held();
    let (lost, _) = bench.lost(Loss::QueueUnwritable);
    assert_eq!(held + lost, 5 * groups);
    // A file of five entries takes a page.
    assert!(held > 200, "{held}");
    drop(bench);
    let bench = Bench::open(folder.path(), LARGE);
    assert_eq!(bench.drain(Class::Event), (lost..5 * groups).collect::<Vec<_>>());
    assert_eq!(bench.lost(Loss::QueueDamaged), (0, 0));
    assert!(segments(folder.path(), Class::Event).len() <= 1);
}
