//! Bounds: the oldest waiting entries are dropped, bodies first, with exact counts; entries in flight are kept; a queue that blocks waits.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, LARGE, cost, numbers, segments};
use crate::export::exporter::Class;
use crate::export::queue::may_hold;
use crate::export::settings::{Fsync, QueueSettings, WhenFull};
use crate::model::loss::Loss;

#[test]
fn the_oldest_objects_go_first_then_the_oldest_events() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), QueueSettings { max_records: 10, ..LARGE });
    bench.push(Class::Event, 0..4);
    bench.push(Class::Object, 10..16);
    bench.push(Class::Event, 4..8);
    assert_eq!(bench.lost(Loss::QueueDropOldest), (4, 4 * cost()));
    // An object can displace only objects.
    bench.push(Class::Object, [16]);
    bench.push(Class::Event, 8..12);
    assert_eq!(bench.lost(Loss::QueueDropOldest).0, 9);
    bench.push(Class::Object, [17]);
    assert_eq!((bench.lost(Loss::QueueDropOldest).0, bench.lost(Loss::QueueDropNewest).0), (9, 1));
    assert_eq!(bench.drain(Class::Event), (2..12).collect::<Vec<_>>());
    assert_eq!(bench.drain(Class::Object), Vec::<u64>::new());
}

#[test]
fn what_is_out_is_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), QueueSettings { max_records: 4, ..LARGE });
    bench.push(Class::Event, 0..4);
    let batch = bench.queue.take(Class::Event);
    assert_eq!(numbers(&batch), [0, 1, 2]);
    bench.push(Class::Event, 4..10);
    assert_eq!(bench.lost(Loss::QueueDropOldest).0, 6);
    let rest = bench.queue.take(Class::Event);
    assert_eq!(numbers(&rest), [9]);
    // Everything is in flight, so now the newest is dropped.
    bench.push(Class::Event, [10]);
    assert_eq!(bench.lost(Loss::QueueDropNewest).0, 1);
    drop((rest, bench));
    let bench = Bench::open(folder.path(), LARGE);
    assert_eq!(bench.drain(Class::Event), [0, 1, 2, 9]);
}

#[test]
fn the_files_are_bounded_too() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), QueueSettings { max_bytes: 6000, ..LARGE });
    for group in 0..400 {
        bench.push(Class::Event, group * 5..group * 5 + 5);
        let files: u64 = segments(folder.path(), Class::Event).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(files <= 6000 + 2 * 600 + 32 * 12, "{files}");
    }
}

#[test]
fn one_that_is_larger_than_everything_is_dropped_itself() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), QueueSettings { max_bytes: 4000, ..LARGE });
    bench.push(Class::Event, 0..3);
    assert_eq!(bench.queue.append(vec![super::item(Class::Event, 9, 5000)]), 0);
    assert_eq!((bench.lost(Loss::QueueDropNewest).0, bench.lost(Loss::QueueDropOldest).0), (1, 0));
    assert_eq!(bench.drain(Class::Event), [0, 1, 2]);
}

#[test]
fn block_blocks_until_something_is_settled_and_drops_nothing() {
    for fsync in [Fsync::Never, Fsync::Always, Fsync::Interval] {
        let folder = tempfile::tempdir().unwrap();
        let settings = QueueSettings { max_records: 4, when_full: WhenFull::Block, max_bytes: 1 << 20, fsync };
        let bench = Arc::new(Bench::open(folder.path(), settings));
        let appending = std::thread::spawn({
            let bench = Arc::clone(&bench);
            move || bench.push(Class::Event, 0..40)
        });
        let mut seen = Vec::new();
        while seen.len() < 40 {
            std::thread::sleep(Duration::from_millis(2));
            assert!(bench.queue.held().0 <= 4);
            assert!(!appending.is_finished() || seen.len() + 4 >= 40);
            let batch = bench.queue.take(Class::Event);
            seen.extend(numbers(&batch));
            bench.queue.settle(&batch);
            bench.queue.sync();
        }
        assert_eq!(appending.join().unwrap(), 40);
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
        assert!(bench.board.read().losses.is_empty());
        // In a hurry it accepts everything although it is full.
        bench.queue.hurry();
        assert_eq!(bench.push(Class::Event, 40..60), 20);
        assert_eq!(bench.queue.held().0, 20);
        // Afterwards it accepts nothing until there is space.
        bench.queue.calm();
        let appending = std::thread::spawn({
            let bench = Arc::clone(&bench);
            move || bench.push(Class::Event, 60..61)
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!appending.is_finished() && bench.queue.held().0 == 20);
        while bench.queue.held().0 > 1 || !appending.is_finished() {
            bench.queue.settle(&bench.queue.take(Class::Event));
        }
    }
}

#[test]
fn whether_something_waits_is_told_without_opening_it() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!may_hold(folder.path()), "empty");
    {
        let bench = Bench::open(folder.path(), LARGE);
        assert!(!may_hold(folder.path()), "begun");
        bench.push(Class::Event, 0..20);
        bench.push(Class::Object, 0..1);
        assert!(may_hold(folder.path()));
        bench.drain(Class::Event);
        assert!(may_hold(folder.path()), "an object");
        bench.drain(Class::Object);
        assert!(!may_hold(folder.path()), "all is settled");
        bench.push(Class::Event, 20..21);
    }
    assert!(may_hold(folder.path()), "nobody has it open");
    let bench = Bench::open(folder.path(), LARGE);
    bench.drain(Class::Event);
    assert!(!may_hold(folder.path()));
}
