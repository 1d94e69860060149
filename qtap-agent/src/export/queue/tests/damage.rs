//! Truncated and damaged files: for every byte of a small log, intact entries are returned and the rest is counted.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Bench, LARGE, cost, item, segments};
use crate::export::exporter::Class;
use crate::export::queue::segment::HEAD_BYTES;
use crate::model::loss::Loss;

/// A log of one segment with five entries, in its own folder.
fn log() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    Bench::open(folder.path(), LARGE).push(Class::Event, 0..5);
    let [segment] = <[PathBuf; 1]>::try_from(segments(folder.path(), Class::Event)).unwrap();
    let bytes = fs::read(&segment).unwrap();
    assert_eq!(bytes.len() as u64, HEAD_BYTES + 5 * cost());
    (folder, segment, bytes)
}

/// Removes the ledger, as if nothing had been settled.
fn forget(folder: &Path) {
    fs::remove_file(folder.join("events/settled")).unwrap();
}

#[test]
fn a_torn_tail_is_cut_at_the_last_intact_entry() {
    let (folder, segment, bytes) = log();
    for cut in 0..bytes.len() {
        for rest in [b"".as_slice(), b"\0\0\0\0", b"\xf1q\x1a\xe5\xff\xff"] {
            fs::write(&segment, [&bytes[..cut], rest].concat()).unwrap();
            forget(folder.path());
            let bench = Bench::open(folder.path(), LARGE);
            let whole = (cut as u64).saturating_sub(HEAD_BYTES) / cost();
            assert_eq!(bench.queue.held(), (whole, whole * cost()), "{cut}");
            // New entries are appended after the intact ones.
            bench.push(Class::Event, 100..102);
            let want: Vec<u64> = (0..whole).chain(100..102).collect();
            assert_eq!(bench.drain(Class::Event), want, "{cut}");
            let torn = (cut as u64 + rest.len() as u64).saturating_sub(HEAD_BYTES + whole * cost());
            let counted = if (cut + rest.len()) as u64 <= HEAD_BYTES { 0 } else { torn };
            assert_eq!(bench.lost(Loss::QueueDamaged), (0, counted), "{cut}");
            drop(bench);
            for path in segments(folder.path(), Class::Event) {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn damage_in_the_middle_costs_what_is_damaged() {
    let (folder, segment, bytes) = log();
    for at in 0..bytes.len() {
        let mut hurt = bytes.clone();
        hurt[at] ^= 0x11;
        fs::write(&segment, &hurt).unwrap();
        forget(folder.path());
        let bench = Bench::open(folder.path(), LARGE);
        let entry = (at as u64).checked_sub(HEAD_BYTES).map(|at| at / cost());
        let want: Vec<u64> = (0..5).filter(|number| Some(*number) != entry).collect();
        assert_eq!(bench.drain(Class::Event), want, "{at}");
        let want = match entry {
            None => (0, 0),
            // Truncated like an incomplete tail: it is not known that it was an entry.
            Some(4) => (0, cost()),
            Some(_) => (1, cost()),
        };
        assert_eq!(bench.lost(Loss::QueueDamaged), want, "{at}");
        assert_eq!(bench.queue.held(), (0, 0));
        drop(bench);
        segments(folder.path(), Class::Event).iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}

/// Whole blocks are missing, as after a power failure: every missing record is counted, those before and after are returned.
#[test]
fn a_hole_over_several_segments() {
    let folder = tempfile::tempdir().unwrap();
    Bench::open(folder.path(), LARGE).push(Class::Event, 0..5);
    let bench = Bench::open(folder.path(), LARGE);
    (1..10).for_each(|group| assert_eq!(bench.push(Class::Event, group * 5..group * 5 + 5), 5));
    drop(bench);
    let all = segments(folder.path(), Class::Event);
    assert_eq!(all.len(), 10);
    let zeros = vec![0; all[3].metadata().unwrap().len() as usize];
    fs::write(&all[3], &zeros).unwrap();
    fs::write(&all[4], &zeros[..HEAD_BYTES as usize]).unwrap();
    fs::remove_file(&all[5]).unwrap();
    let bench = Bench::open(folder.path(), LARGE);
    let want: Vec<u64> = (0..15).chain(30..50).collect();
    assert_eq!(bench.drain(Class::Event), want);
    assert_eq!(bench.lost(Loss::QueueDamaged).0, 15);
    assert_eq!(bench.queue.held(), (0, 0));
}

/// The first segment is missing.
#[test]
fn a_hole_at_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), LARGE);
    (0..4).for_each(|group| assert_eq!(bench.push(Class::Event, group * 5..group * 5 + 5), 5));
    bench.queue.settle(&bench.queue.take(Class::Event));
    drop(bench);
    fs::remove_file(&segments(folder.path(), Class::Event)[0]).unwrap();
    let bench = Bench::open(folder.path(), LARGE);
    assert_eq!(bench.drain(Class::Event), (5..20).collect::<Vec<_>>());
    // Three of the five were settled.
    assert_eq!((bench.lost(Loss::QueueDamaged).0, bench.queue.held()), (2, (0, 0)));
}

#[test]
fn a_segment_of_another_version_is_set_aside() {
    let (folder, segment, bytes) = log();
    let mut other = bytes.clone();
    other[8] = 9;
    let crc = crc32fast::hash(&other[..24]).to_le_bytes();
    other[24..28].copy_from_slice(&crc);
    fs::write(&segment, &other).unwrap();
    let bench = Bench::open(folder.path(), LARGE);
    assert_eq!(bench.queue.held(), (0, 0));
    assert_eq!(bench.lost(Loss::QueueDamaged).1, other.len() as u64);
    assert_eq!(fs::read(segment.with_extension("seg.unknown")).unwrap(), other);
    bench.push(Class::Event, [7]);
    assert_eq!(bench.drain(Class::Event), [7]);
}

/// A body that holds a whole segment of another queue of the same kind, and one damaged entry: nothing in the body is mistaken for an entry.
#[test]
fn what_a_body_holds_is_no_entry() {
    let (_, _, inner) = log();
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::open(folder.path(), LARGE);
    bench.push(Class::Event, [1]);
    bench.queue.append(vec![crate::export::exporter::Item { payload: inner.into(), ..item(Class::Event, 2, 8) }]);
    bench.push(Class::Event, [3]);
    drop(bench);
    let second = &segments(folder.path(), Class::Event)[1];
    let mut bytes = fs::read(second).unwrap();
    bytes[HEAD_BYTES as usize + 4] ^= 1;
    fs::write(second, bytes).unwrap();
    let bench = Bench::open(folder.path(), LARGE);
    assert_eq!(bench.drain(Class::Event), [1, 3]);
    assert_eq!(bench.lost(Loss::QueueDamaged).0, 1);
}

/// Spooled files are linked in, lent, removed when settled, and removed at the start when they belong to no entry.
#[test]
fn spooled_files_live_as_long_as_their_entries() {
    let folder = tempfile::tempdir().unwrap();
    let queue = folder.path().join("queue");
    let spool = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, name).unwrap();
        let spooled = Some(std::sync::Arc::new(crate::model::spool::SpoolFile::new(path, name.len() as u64)));
        crate::export::exporter::Item { spooled, payload: bytes::Bytes::new(), ..item(Class::Object, 0, 8) }
    };
    let files = || {
        let names = fs::read_dir(queue.join("objects")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| !name.to_str().unwrap().ends_with(".seg") && name != "settled").count()
    };
    let bench = Bench::open(&queue, LARGE);
    bench.queue.append(vec![spool("first"), spool("second"), spool("third")]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the queue's own names are the only ones left");
    let held = bench.queue.held();
    drop(bench);
    fs::write(queue.join("objects/00000000000000000099.spool"), "nobody's").unwrap();
    let bench = Bench::open(&queue, LARGE);
    assert_eq!((bench.queue.held(), files()), (held, 3));
    let batch = bench.queue.take(Class::Object);
    let data: Vec<_> =
        batch.items.iter().map(|item| fs::read_to_string(item.spooled.as_ref().unwrap().path()).unwrap()).collect();
    assert_eq!(data, ["first", "second", "third"]);
    let (one, rest) = batch.halves();
    bench.queue.settle(&one);
    drop((one, rest));
    // Released but not settled: available again after a restart.
    drop(bench);
    assert_eq!(files(), 1);
    let bench = Bench::open(&queue, LARGE);
    let batch = bench.queue.take(Class::Object);
    assert_eq!(fs::read_to_string(batch.items[0].spooled.as_ref().unwrap().path()).unwrap(), "third");
    bench.queue.settle(&batch);
    drop(batch);
    assert_eq!((bench.queue.held(), files()), ((0, 0), 0));
}
