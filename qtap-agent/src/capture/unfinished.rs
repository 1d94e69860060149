//! TLS calls whose end no probe saw because the process ended during them. In: what the call was given. Out: the record that a probe would write.

use qtap_common::record::{Skip, flag, kind, why};

use crate::model::conn::SessionId;
use crate::model::time::KernelTime;

/// The record for bytes that a TLS session was sending.
#[must_use]
pub fn sent(session: SessionId, pid: u32, time: KernelTime, offset: u64, bytes: u64) -> Vec<u8> {
    let len = size_of::<Skip>() as u32;
    let mut record = Vec::with_capacity(size_of::<Skip>());
    [time.0, session.0].iter().for_each(|word| record.extend(word.to_ne_bytes()));
    [pid, pid, len].iter().for_each(|word| record.extend(word.to_ne_bytes()));
    record.extend([kind::SKIP, flag::SESSION, why::CALL_UNFINISHED, 0]);
    [offset, bytes].iter().for_each(|word| record.extend(word.to_ne_bytes()));
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::decode::{Decoded, Decoder};
    use crate::model::conn::{Channel, Direction};
    use crate::model::event::{Event, Skip};
    use crate::model::loss::Loss;

    #[test]
    fn what_a_call_without_an_end_was_writing_is_a_hole() {
        let record = sent(SessionId(7), 3, KernelTime(5), 100, 20);
        let Ok(Decoded::Event(Event::Skipped(skipped))) = Decoder::default().decode(&record) else { panic!() };
        assert_eq!((skipped.channel, skipped.direction), (Channel::Session(SessionId(7)), Direction::Sent));
        assert_eq!((skipped.offset, skipped.len, skipped.pid), (100, 20, 3));
        assert_eq!(skipped.why, Skip::Lost(Loss::CallUnfinished));
    }
}
