//! Finds functions in a file without unwinding tables, from its code: they begin at call targets, or after gap filling, and end before the next.
//!
//! In: an open file's code. Out: functions for which it is proven that the code before them, decoded instruction by instruction from the start of an earlier
//! one, ends exactly where they begin: none begins inside an instruction, or where another continues. Only aligned functions are found; compilers align them.

use std::collections::BTreeSet;
use std::iter;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction as Decoded, Mnemonic};

use super::text;
use crate::capture::discover::elf::{Elf, Placed, Symbol};

/// Alignment of functions (`-falign-functions` of GCC and Clang on x86-64, from `-O2`).
const ALIGNED: u64 = 16;
/// The byte that linkers fill gaps in code with: `int3`.
const FILLING: u8 = 0xcc;
/// Most bytes of code that are read for one function.
const READ: u64 = 64 << 10;
/// Number of earlier possible starts that are tried for a place.
const TRIED: usize = 4;

/// Possible starts of functions.
pub(super) struct Starts<'a> {
    elf: &'a Elf,
    code: Placed,
    /// One bit per aligned place in the code.
    marked: Vec<u64>,
}

/// A function, decoded to its end.
struct Extent {
    /// Its start.
    start: u64,
    /// The address after its last instruction.
    end: u64,
    /// Start of the next function.
    next: u64,
    /// False when it may be more than one function: one that is called only through pointers may begin after what looks like the end of another.
    is_one: bool,
}

impl<'a> Starts<'a> {
    pub(super) fn of(elf: &'a Elf, code: &Placed) -> Starts<'a> {
        let places = code.size.div_ceil(ALIGNED) + 1;
        let marked = vec![0; usize::try_from(places.div_ceil(64)).unwrap_or(0)];
        let mut starts = Starts { elf, code: code.clone(), marked };
        text::pieces(elf, code, |piece, vaddr| {
            text::branches(piece, vaddr)
                .filter(|(at, _)| is_call(piece, vaddr, *at))
                .for_each(|(_, to)| starts.mark(to));
            behind_filling(piece, vaddr).for_each(|place| starts.mark(place));
        });
        starts
    }

    fn mark(&mut self, place: u64) {
        if let Some((word, bit)) = self.bit_of(place)
            && let Some(word) = self.marked.get_mut(word)
        {
            *word |= bit;
        }
    }

    fn is_marked(&self, place: u64) -> bool {
        let word = self.bit_of(place).and_then(|(word, bit)| Some(self.marked.get(word)? & bit));
        word.is_some_and(|word| word != 0)
    }

    fn bit_of(&self, place: u64) -> Option<(usize, u64)> {
        let within = place.checked_sub(self.code.vaddr).filter(|within| *within < self.code.size)?;
        let index = within.wrapping_add(self.code.vaddr % ALIGNED) / ALIGNED;
        place.is_multiple_of(ALIGNED).then_some((usize::try_from(index / 64).ok()?, 1 << (index % 64)))
    }

    /// Possible starts before `place`, nearest first.
    fn before(&self, place: u64) -> impl Iterator<Item = u64> + '_ {
        let from = place.saturating_sub(1);
        let until = self.code.vaddr.max(place.saturating_sub(READ));
        iter::successors(Some(from - from % ALIGNED), |place| place.checked_sub(ALIGNED))
            .take_while(move |place| *place >= until)
            .filter(|place| self.is_marked(*place))
            .take(TRIED)
    }

    /// Start of the function that contains `place`.
    pub(super) fn around(&self, place: u64) -> Option<u64> {
        self.proven(place).map(|extent| extent.start)
    }

    /// The function that begins at `start`, up to its latest possible end, and whether that size is certain; none unless its start is proven.
    pub(super) fn function(&self, start: u64, name: &str) -> Option<(Symbol, bool)> {
        let extent = self.proven(start).filter(|extent| extent.start == start)?;
        let file_offset = self.elf.file_offset(start)?;
        Some((Symbol { name: name.to_owned(), vaddr: start, size: extent.end - start, file_offset }, extent.is_one))
    }

    /// The function that contains `place`, if an earlier function ends before it.
    fn proven(&self, place: u64) -> Option<Extent> {
        self.before(place + 1).find_map(|start| self.reached(start, place))
    }

    /// The same, reached function by function from the possible start `from`. The first function is not proven.
    fn reached(&self, from: u64, place: u64) -> Option<Extent> {
        let within = from.checked_sub(self.code.vaddr)?;
        // The code after `place` is read up to its function's end.
        let size = self.code.size.checked_sub(within)?.min(2 * READ);
        let part = Placed { vaddr: from, offset: self.code.offset.checked_add(within)?, size, ..self.code.clone() };
        let code = self.elf.bytes_of(&part, 2 * READ).ok()?;
        let mut start = from;
        loop {
            let rest = code.get(usize::try_from(start - from).ok()?..)?;
            let extent = extent(rest, start, |place| self.is_marked(place))?;
            if place < extent.end {
                return (start > from).then_some(extent);
            }
            start = Some(extent.next).filter(|next| *next <= place)?;
        }
    }
}

/// Decodes code from `start` to where control flow does not continue and another function begins; none when it is not code, or continues for too long. Another
/// function begins where `may_begin` says so or, in a function without indirect branches, where none of its branches leads.
fn extent(code: &[u8], start: u64, may_begin: impl Fn(u64) -> bool) -> Option<Extent> {
    let (mut end, mut behind, mut furthest, mut known) = (start, Behind::GoesOn, start, true);
    // Aligned places into which control does not fall, except by the return of a call; targets of conditional branches; functions that return.
    let (mut entered, mut branched_to, mut returning) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for decoded in &mut Decoder::with_ip(64, code, start, DecoderOptions::NONE) {
        let place = decoded.ip();
        let is_over = match behind {
            Behind::GoesOn => false,
            Behind::MayReturn(_) => may_begin(place),
            Behind::Stops => may_begin(place) || (known && place > furthest && place.is_multiple_of(ALIGNED)),
        };
        if is_over && !is_filling(&decoded) {
            let is_inside = |(place, called): &(u64, Option<u64>)| {
                branched_to.contains(place) || called.is_some_and(|called| returning.contains(&called))
            };
            return Some(Extent { start, end, next: place, is_one: entered.iter().all(is_inside) });
        }
        match decoded.mnemonic() {
            Mnemonic::INVALID => return None,
            Mnemonic::Int3 => behind = Behind::Stops,
            Mnemonic::Nop => {}
            _ => {
                match behind {
                    Behind::Stops if place.is_multiple_of(ALIGNED) => entered.push((place, None)),
                    Behind::MayReturn(called) if place.is_multiple_of(ALIGNED) => entered.push((place, Some(called))),
                    Behind::MayReturn(called) => returning.extend((place == end).then_some(called)),
                    Behind::GoesOn | Behind::Stops => {}
                }
                behind = Behind::of(&decoded);
                end = decoded.next_ip();
                known &= decoded.flow_control() != FlowControl::IndirectBranch;
                let target = Some(decoded.near_branch_target()).filter(|_| decoded.flow_control() != FlowControl::Call);
                let inside = target.filter(|target| target.wrapping_sub(start) < READ && !may_begin(*target));
                furthest = furthest.max(inside.unwrap_or(0));
                let is_branch = decoded.flow_control() == FlowControl::ConditionalBranch;
                branched_to.extend(target.filter(|_| is_branch));
            }
        }
    }
    None
}

fn is_filling(decoded: &Decoded) -> bool {
    matches!(decoded.mnemonic(), Mnemonic::Int3 | Mnemonic::Nop)
}

/// Control flow after an instruction.
#[derive(Clone, Copy)]
enum Behind {
    /// Continues with the next instruction.
    GoesOn,
    /// Continues there if the called function, whose start this is, returns. Some functions end with a call of a function that does not.
    MayReturn(u64),
    /// Does not continue there.
    Stops,
}

impl Behind {
    fn of(decoded: &Decoded) -> Behind {
        match decoded.flow_control() {
            FlowControl::Next
            | FlowControl::ConditionalBranch
            | FlowControl::XbeginXabortXend
            | FlowControl::Interrupt => Behind::GoesOn,
            FlowControl::Call | FlowControl::IndirectCall => Behind::MayReturn(decoded.near_branch_target()),
            FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::Exception => Behind::Stops,
        }
    }
}

fn is_call(piece: &[u8], vaddr: u64, at: u64) -> bool {
    usize::try_from(at - vaddr).ok().and_then(|at| piece.get(at)) == Some(&0xe8)
}

/// Aligned places directly after filling.
fn behind_filling(code: &[u8], vaddr: u64) -> impl Iterator<Item = u64> {
    let first = (ALIGNED - vaddr % ALIGNED) as usize;
    let is_filling = move |at: usize| code.get(at) == Some(&FILLING);
    let aligned = (first..code.len()).step_by(ALIGNED as usize);
    aligned.filter(move |at| is_filling(at - 1) && !is_filling(*at)).map(move |at| vaddr + at as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Where the function at 0x1000 ends, and where the next one begins.
    fn read(code: &[u8], may_begin: &[u64]) -> Option<(u64, u64)> {
        let extent = extent(code, 0x1000, |place| may_begin.contains(&place))?;
        Some((extent.end - 0x1000, extent.next - 0x1000))
    }

    #[test]
    fn a_function_ends_where_control_does_and_another_may_begin() {
        // ret, filling, and a function; the same with nops; a function that ends with a call.
        let filled = [&[0xc3][..], &[0xcc; 15], &[0x55; 16]].concat();
        assert_eq!(read(&filled, &[]), Some((1, 0x10)));
        assert_eq!(read(&[&[0xc3][..], &[0x90; 15], &[0x55; 16]].concat(), &[]), Some((1, 0x10)));
        let called = [&[0x55; 11][..], &[0xe8, 0, 0, 0, 0], &[0x55; 16]].concat();
        assert_eq!(read(&called, &[0x1010]), Some((0x10, 0x10)));
        assert_eq!(read(&called, &[]), None, "it may return");
        // Control flow continues; another function would begin inside an instruction; not code.
        assert_eq!(read(&[0x55; 32], &[0x1010]), None);
        let inside = [&[0xc3][..], &[0xcc; 14], &[0xb8, 1, 0, 0, 0], &[0x55; 12]].concat();
        assert_eq!(read(&inside, &[0x1010]), None);
        assert_eq!(read(&[0x06; 32], &[0x1010]), None);
    }

    #[test]
    fn a_function_goes_on_where_its_ways_lead() {
        // je to the code after the ret; the same, where another function may begin; je to the possible start of another function.
        let jumping =
            |distance: u8| [&[0x74, distance, 0xc3][..], &[0xcc; 13], &[0xc3], &[0xcc; 15], &[0x55; 16]].concat();
        assert_eq!(read(&jumping(14), &[]), Some((0x11, 0x20)));
        assert_eq!(read(&jumping(14), &[0x1010]), Some((3, 0x10)));
        assert_eq!(read(&jumping(30), &[0x1020]), Some((3, 0x10)));
        // jmp through a table: it may lead there.
        let table = [&[0xff, 0xe0][..], &[0xcc; 14], &[0xc3], &[0xcc; 15], &[0x55; 16]].concat();
        assert_eq!((read(&table, &[]), read(&table, &[0x1020])), (None, Some((0x11, 0x20))));
    }

    #[test]
    fn what_may_be_two_functions_is_said_to() {
        let is_one = |code: &[u8]| extent(code, 0x1000, |place| place == 0x1020).map(|extent| extent.is_one);
        // A call, nops, and code that is either reached by the call's return or another function; the same without nops.
        let at_once = [&[0x55; 11][..], &[0xe8, 0, 1, 0, 0], &[0xc3], &[0x90; 15], &[0x55; 16]].concat();
        assert_eq!(is_one(&at_once), Some(false));
        let after_call = [&[0xe8, 0, 1, 0, 0][..], &[0x90; 11], &[0xc3], &[0x90; 15], &[0x55; 16]].concat();
        assert_eq!(is_one(&after_call), Some(false));
        // je to that code: it is reached from here. jmp to it: a loop, or a tail call.
        let branched = [&[0x74, 0x0e][..], &after_call[..5], &after_call[7..]].concat();
        assert_eq!(is_one(&branched), Some(true));
        assert_eq!(is_one(&[&[0xeb, 0x0e][..], &branched[2..]].concat()), Some(false));
        // The called function is seen to return at another call of it.
        let returns = [&[0xe8, 0, 1, 0, 0][..], &[0x55; 6], &[0xe8, 0xf5, 0, 0, 0], &at_once[16..]].concat();
        assert_eq!(is_one(&returns), Some(true));
    }

    #[test]
    fn aligned_places_behind_filling() {
        let mut code = [0xcc_u8; 48];
        code[8] = 0xc3;
        code[24] = 0x90;
        assert_eq!(behind_filling(&code, 0x1008).collect::<Vec<_>>(), [0x1010, 0x1020]);
        assert_eq!(behind_filling(&[0x90; 40], 0x1000).count() + behind_filling(&[], 0).count(), 0);
    }
}
