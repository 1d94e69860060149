//! Checks the stack depth of the probes. On kernels up to 6.12, nested functions share 512 bytes (`MAX_BPF_STACK`, `check_max_stack_depth` of the
//! verifier); later kernels give each program a stack of its own and do not complain. In: the object. Out: the deepest call path of
//! each program, and whether it is too deep.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// The limit for all functions on a call path together.
const MOST: u64 = 512;
/// A function's stack use is rounded up to a multiple of this.
const UNIT: u64 = 32;

/// A function's location: its section and its offset there.
type Place = (usize, u64);

/// A function: its name, its stack use, and the functions it calls.
#[derive(Debug, Default)]
struct Function {
    name: String,
    is_program: bool,
    stack: u64,
    calls: Vec<Place>,
}

/// Fails when a call path of a program is too deep; prints the deepest.
pub(super) fn check(object: &[u8]) -> Result<()> {
    let functions = functions(object).context("the object can't be read")?;
    let programs = functions.iter().filter(|(_, function)| function.is_program);
    let ways: Vec<(u64, String)> = programs.map(|(place, _)| deepest(&functions, *place, 0)).collect();
    let Some((depth, way)) = ways.iter().max() else { bail!("the object has no programs") };
    println!("the deepest stack: {depth} of {MOST} bytes: {way}");
    if *depth > MOST { bail!("kernels up to 6.12 refuse the probes: {depth} bytes of stack") } else { Ok(()) }
}

/// The deepest call path from a function on. The verifier allows eight levels of calls, and no recursion.
fn deepest(functions: &BTreeMap<Place, Function>, from: Place, level: u32) -> (u64, String) {
    let Some(function) = functions.get(&from).filter(|_| level < 8) else { return (0, String::new()) };
    let below = function.calls.iter().map(|to| deepest(functions, *to, level + 1)).max().unwrap_or_default();
    let own = function.stack.max(1).next_multiple_of(UNIT);
    let next = if below.1.is_empty() { String::new() } else { format!(" > {}", below.1) };
    (own + below.0, format!("{} ({own}){next}", function.name))
}

/// A little-endian number of `bytes` bytes at `at`.
fn number(data: &[u8], at: u64, bytes: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let read = data.get(at..at.checked_add(bytes)?)?;
    Some(read.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn text(data: &[u8], at: u64) -> Option<String> {
    let rest = data.get(usize::try_from(at).ok()?..)?;
    Some(String::from_utf8_lossy(&rest[..rest.iter().position(|byte| *byte == 0)?]).into_owned())
}

/// A section of an ELF file (`Elf64_Shdr`); only the fields used here.
struct Section {
    name: u64,
    kind: u64,
    at: u64,
    size: u64,
    link: usize,
    info: usize,
}

/// A symbol (`Elf64_Sym`).
struct Symbol {
    name: String,
    kind: u64,
    place: Place,
    size: u64,
}

const SYMBOLS: u64 = 2;
const RELOCATIONS: u64 = 9;
const KIND_FUNCTION: u64 = 2;
const KIND_SECTION: u64 = 3;

fn sections(data: &[u8]) -> Option<Vec<Section>> {
    let (start, size, count) = (number(data, 0x28, 8)?, number(data, 0x3a, 2)?, number(data, 0x3c, 2)?);
    let section = |index: u64| {
        let at = start + index * size;
        let field = |offset, bytes| number(data, at + offset, bytes);
        let (link, info) = (field(40, 4)? as usize, field(44, 4)? as usize);
        Some(Section { name: field(0, 4)?, kind: field(4, 4)?, at: field(24, 8)?, size: field(32, 8)?, link, info })
    };
    (0..count).map(section).collect()
}

fn symbols(data: &[u8], sections: &[Section]) -> Option<Vec<Symbol>> {
    let table = sections.iter().find(|section| section.kind == SYMBOLS)?;
    let names = sections.get(table.link)?.at;
    let symbol = |index: u64| {
        let at = table.at + index * 24;
        let name = text(data, names + number(data, at, 4)?)?;
        let place = (number(data, at + 6, 2)? as usize, number(data, at + 8, 8)?);
        Some(Symbol { name, kind: number(data, at + 4, 1)? & 15, place, size: number(data, at + 16, 8)? })
    };
    (0..table.size / 24).map(symbol).collect()
}

fn functions(data: &[u8]) -> Option<BTreeMap<Place, Function>> {
    let sections = sections(data)?;
    let symbols = symbols(data, &sections)?;
    let mut relocations = BTreeMap::new();
    for section in sections.iter().filter(|section| section.kind == RELOCATIONS) {
        for at in (section.at..section.at + section.size).step_by(16) {
            relocations.insert((section.info, number(data, at, 8)?), symbols.get(number(data, at + 12, 4)? as usize)?);
        }
    }
    let section_names = sections.get(number(data, 0x3e, 2)? as usize)?.at;
    let mut functions = BTreeMap::new();
    for symbol in symbols.iter().filter(|symbol| symbol.kind == KIND_FUNCTION && symbol.size > 0) {
        let section = sections.get(symbol.place.0)?;
        let at = usize::try_from(section.at + symbol.place.1).ok()?;
        let code = data.get(at..at.checked_add(symbol.size as usize)?)?;
        let (stack, named) = walked(code);
        let own = symbol.place;
        let calls = named.into_iter().filter_map(|one| called(&relocations, own, &one)).collect();
        let is_program = text(data, section_names + section.name)? != ".text";
        functions.insert(symbol.place, Function { name: plain(&symbol.name), is_program, stack, calls });
    }
    Some(functions)
}

/// An instruction that refers to something: a call of a function, or the load of an address, which may be a callback for a helper.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    at: u64,
    immediate: i64,
    is_call: bool,
}

/// The location that an instruction of the function at `own` refers to. The address of something that is no function matches none.
fn called(relocations: &BTreeMap<Place, &Symbol>, own: Place, named: &Named) -> Option<Place> {
    let at = (own.0, own.1 + named.at);
    let beyond = if named.is_call { (named.immediate + 1) * 8 } else { named.immediate };
    match relocations.get(&at) {
        Some(symbol) if symbol.kind == KIND_FUNCTION => Some(symbol.place),
        Some(symbol) if symbol.kind == KIND_SECTION => Some((symbol.place.0, beyond as u64)),
        None if named.is_call => Some((own.0, (at.1 as i64 + beyond) as u64)),
        _ => None,
    }
}

/// A function's stack use, and what it refers to: decoded instruction by instruction, eight bytes each (RFC 9669).
fn walked(code: &[u8]) -> (u64, Vec<Named>) {
    const FRAME: u8 = 10;
    let (mut lowest, mut named) = (0i64, Vec::new());
    // Registers that hold an address in the frame, with its offset from the frame's top.
    let mut addresses: BTreeMap<u8, i64> = BTreeMap::new();
    for (index, word) in code.chunks_exact(8).enumerate() {
        let [op, registers, low, high, rest @ ..] = word else { continue };
        let (to, from) = (registers & 15, registers >> 4);
        let offset = i64::from(i16::from_le_bytes([*low, *high]));
        let immediate = rest.iter().rev().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) as i32 as i64;
        match (op & 7, *op) {
            // Loads from the frame, and stores to it.
            (1, _) => {
                if from == FRAME {
                    lowest = lowest.min(offset);
                }
                // A loaded value is not an address in the frame, whatever the register held before.
                addresses.remove(&to);
            }
            (2 | 3, _) if to == FRAME => lowest = lowest.min(offset),
            (_, 0xbf) if from == FRAME => drop(addresses.insert(to, 0)),
            (_, 0x07) => {
                if let Some(address) = addresses.get_mut(&to) {
                    *address += immediate;
                    lowest = lowest.min(*address);
                }
            }
            // A call of a function in the object (for a helper, the second register is 0), or the load of an address.
            (_, 0x85) if from == 1 => named.push(Named { at: index as u64 * 8, immediate, is_call: true }),
            (_, 0x18) => named.push(Named { at: index as u64 * 8, immediate, is_call: false }),
            (4 | 7, _) => drop(addresses.remove(&to)),
            _ => {}
        }
    }
    (lowest.unsigned_abs(), named)
}

/// The part of a mangled name after the crate's: lengths and words, `4conn11tell_counts` is `conn::tell_counts`. Other names stay as they are.
fn plain(name: &str) -> String {
    let Some((_, mut rest)) = name.split_once("4qtap") else { return name.to_owned() };
    let mut words = Vec::new();
    loop {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (len, behind) = rest.split_at(digits);
        let Some(word) = len.parse().ok().and_then(|len: usize| behind.get(..len)) else { break };
        rest = &behind[word.len()..];
        words.push(word);
    }
    words.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, stack: u64, calls: &[Place]) -> Function {
        Function { name: name.to_owned(), is_program: false, stack, calls: calls.to_vec() }
    }

    #[test]
    fn instructions_tell_what_is_taken_and_who_is_called() {
        let code: [[u8; 8]; 6] = [
            [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0],       // *(u64 *)(r10 - 8) = r1
            [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],             // r2 = r10
            [0x07, 0x02, 0, 0, 0xd0, 0xff, 0xff, 0xff], // r2 += -48
            [0x85, 0x10, 0, 0, 5, 0, 0, 0],             // call pc + 5
            [0x85, 0x00, 0, 0, 1, 0, 0, 0],             // call of a helper
            [0x95, 0, 0, 0, 0, 0, 0, 0],                // exit
        ];
        let (stack, named) = walked(code.as_flattened());
        assert_eq!((stack, named), (48, vec![Named { at: 24, immediate: 5, is_call: true }]));
    }

    #[test]
    fn what_is_loaded_is_no_address_in_the_frame() {
        let code: [[u8; 8]; 4] = [
            [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],             // r2 = r10
            [0x07, 0x02, 0, 0, 0xf0, 0xff, 0xff, 0xff], // r2 += -16
            [0x79, 0xa2, 0xf0, 0xff, 0, 0, 0, 0],       // r2 = *(u64 *)(r10 - 16)
            [0x07, 0x02, 0, 0, 0x00, 0xb8, 0xff, 0xff], // r2 += -18432
        ];
        assert_eq!(walked(code.as_flattened()).0, 16);
    }

    #[test]
    fn the_deepest_way_counts_in_units() {
        let (door, shallow, deep, last) = ((3, 0), (1, 0), (1, 80), (1, 160));
        let functions = BTreeMap::from([
            (door, function("door", 33, &[shallow, deep])),
            (shallow, function("shallow", 100, &[])),
            (deep, function("deep", 8, &[last, (9, 9)])),
            (last, function("last", 200, &[])),
        ]);
        assert_eq!(deepest(&functions, door, 0), (64 + 32 + 224, "door (64) > deep (32) > last (224)".to_owned()));
        let endless = BTreeMap::from([(door, function("door", 1, &[door]))]);
        assert_eq!(deepest(&endless, door, 0).0, 8 * 32);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(check(b"\x7fELF").is_err() && check(&[0; 64]).is_err());
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(plain("_RNvNtCs1a2b_4qtap4conn11tell_counts"), "conn::tell_counts");
        assert_eq!(plain("sys_exit"), "sys_exit");
        assert_eq!(plain("_ZN4qtap9999"), "");
    }
}
