//! Answers of name servers. In: a stream of messages as TCP carries them, after a byte that says where it is cut. Out: nothing, or the promise that was
//! broken: however a stream is cut, the same messages come of it; what is read of a message is bounded; a prefix of a message is never read as more
//! than the whole.

use qtap_agent::dns::{Frames, answer};

use super::Gauge;

/// Records of a message that are looked at.
const RECORDS: usize = 64;
/// Text of one name: of a byte at most four.
const NAME_BYTES: usize = 4 * (255 + 64);

fn messages<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let (mut frames, mut offset, mut all) = (Frames::default(), 0, Vec::new());
    for part in parts {
        assert!(frames.take(offset, part), "nothing is missing");
        offset += part.len() as u64;
        all.extend(std::iter::from_fn(|| frames.next_message()).map(|message| message.to_vec()));
    }
    all
}

/// Reads the stream that `data` stands for.
pub(crate) fn run(data: &[u8], _gauge: Gauge<'_>) {
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = messages(std::iter::once(stream));
    assert_eq!(whole, messages(stream.chunks(usize::from(*cut).max(1))), "cut another way");
    for message in whole.iter().map(Vec::as_slice).chain([stream]) {
        let Some(read) = answer(message) else { continue };
        assert!(read.addresses.len() + read.aliases.len() <= RECORDS);
        assert!(read.aliases.iter().chain([&read.question]).all(|name| name.len() <= NAME_BYTES));
        let half = message.get(..message.len() / 2).and_then(answer);
        assert!(half.is_none_or(|half| half.question == read.question && half.addresses.len() <= read.addresses.len()));
    }
}
