//! Checks whether records wait in the folder of a queue that no store opens. Read-only, because a queue of this run may still be drained.

use std::fs;
use std::path::Path;

use super::ledger::{self, Settled};
use super::segment::{Opened, Segment, Step};

/// False when the folder of a store holds nothing to deliver; true also when that can't be determined.
pub(in crate::export) fn may_hold(folder: &Path) -> bool {
    let Ok(lanes) = fs::read_dir(folder) else { return true };
    lanes.flatten().any(|lane| !lane.path().is_dir() || !is_settled(&lane.path()))
}

/// True when every entry of a lane is settled.
fn is_settled(lane: &Path) -> bool {
    let Ok(files) = fs::read_dir(lane) else { return false };
    let mut segments = Vec::new();
    for file in files.flatten() {
        match Segment::open(&file.path()) {
            Ok(Some(Opened::Segment(segment))) => segments.push(segment),
            Ok(Some(Opened::Empty(_)) | None) => {}
            Ok(Some(Opened::Unknown(_))) | Err(_) => return false,
        }
    }
    segments.sort_by_key(|segment| segment.first);
    let Some(last) = segments.pop() else { return true };
    let settled = ledger::read(&lane.join("settled")).unwrap_or_else(|| Settled::below(0));
    let begin = segments.first().map_or(last.first, |segment| segment.first);
    end_of(&last).is_some_and(|end| settled.unsettled_in(begin, end) == 0)
}

/// One past the number of its last entry; none if the segment is damaged.
fn end_of(segment: &Segment) -> Option<u64> {
    let (mut reader, mut end) = (segment.reader().ok()?, segment.first);
    loop {
        match reader.next(segment.len, u64::MAX).ok()? {
            Step::Entry(head, _) => end = head.seq + 1,
            Step::Damage(_) => return None,
            Step::End => return Some(end),
        }
    }
}
