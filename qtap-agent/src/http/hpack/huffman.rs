//! The Huffman code of HPACK (RFC 7541 Appendix B). In: the octets of a Huffman-coded string literal. Out: the text, or the fact that
//! the coding is invalid. It allocates no more than the caller's buffer needs (at most 8/5 of the input).
//!
//! The code is canonical: codes of one length are consecutive and in the order of their symbols, so the lengths alone define it.
//! A state machine with one state per inner node of the code tree is built from them once; it consumes four bits per step.

use std::sync::LazyLock;

use bytes::{BufMut, BytesMut};

/// Code lengths in bits of the symbols 0 to 255 and of EOS (RFC 7541 Appendix B).
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

/// The end-of-string symbol; a string must never contain it (RFC 7541 §5.2).
const EOS: u16 = 256;

/// The effect of four bits in one state.
#[derive(Clone, Copy, Default)]
struct Step {
    /// The state after them.
    next: u8,
    /// The symbol they completed, if [`Step::emits`]. Codes have at least five bits, so there is never more than one.
    symbol: u8,
    /// A symbol was completed.
    emits: bool,
    /// A string may end here: at most seven bits are left over, all ones (RFC 7541 §5.2).
    may_end: bool,
    /// EOS was completed, which is invalid.
    fails: bool,
}

/// One row per state; state 0 is the root of the code tree.
static MACHINE: LazyLock<Vec<[Step; 16]>> = LazyLock::new(build);

/// A child in the code tree.
#[derive(Clone, Copy)]
enum Child {
    Node(u8),
    Symbol(u16),
}

/// An inner node: its children, its depth, and whether its path is all ones.
#[derive(Clone, Copy)]
struct Node {
    children: [Option<Child>; 2],
    depth: u8,
    ones: bool,
}

fn tree() -> Vec<Node> {
    let root = Node { children: [None; 2], depth: 0, ones: true };
    let mut nodes = vec![root];
    let mut code: u32 = 0;
    for length in 1..=30u8 {
        code <<= 1;
        for (symbol, _) in LENGTHS.iter().enumerate().filter(|(_, l)| **l == length) {
            plant(&mut nodes, code, length, symbol as u16);
            code += 1;
        }
    }
    nodes
}

/// Puts `symbol` at the end of the path that `code` spells, most significant of its `length` bits first.
fn plant(nodes: &mut Vec<Node>, code: u32, length: u8, symbol: u16) {
    let mut at = 0usize;
    for depth in 1..=length {
        let bit = ((code >> (length - depth)) & 1) as usize;
        let fresh = nodes.len();
        let Some(node) = nodes.get_mut(at) else { return };
        let ones = node.ones && bit == 1;
        let Some(child) = node.children.get_mut(bit) else { return };
        if depth == length {
            *child = Some(Child::Symbol(symbol));
            return;
        }
        match *child {
            Some(Child::Node(next)) => at = usize::from(next),
            Some(Child::Symbol(_)) | None => {
                *child = Some(Child::Node(fresh as u8));
                nodes.push(Node { children: [None; 2], depth, ones });
                at = fresh;
            }
        }
    }
}

fn build() -> Vec<[Step; 16]> {
    let nodes = tree();
    (0..nodes.len()).map(|state| std::array::from_fn(|bits| step(&nodes, state, bits))).collect()
}

fn step(nodes: &[Node], state: usize, bits: usize) -> Step {
    let mut step = Step::default();
    let mut at = state;
    for shift in [3, 2, 1, 0] {
        let child = nodes.get(at).and_then(|node| node.children.get((bits >> shift) & 1).copied().flatten());
        match child {
            Some(Child::Node(next)) => at = usize::from(next),
            Some(Child::Symbol(EOS)) | None => {
                step.fails = true;
                return step;
            }
            Some(Child::Symbol(symbol)) => {
                step.symbol = symbol as u8;
                step.emits = true;
                at = 0;
            }
        }
    }
    step.next = at as u8;
    step.may_end = nodes.get(at).is_some_and(|node| node.ones && node.depth < 8);
    step
}

/// Appends the decoded `coded` to `text`. False if it is invalid: `text` then holds what came before the fault.
pub(super) fn decode(coded: &[u8], text: &mut BytesMut) -> bool {
    let machine = MACHINE.as_slice();
    text.reserve(coded.len() * 8 / 5);
    let mut last = Step { may_end: true, ..Step::default() };
    for &octet in coded {
        for bits in [octet >> 4, octet & 15] {
            let Some(&step) = machine.get(usize::from(last.next)).and_then(|row| row.get(usize::from(bits))) else {
                return false;
            };
            if step.fails {
                return false;
            }
            if step.emits {
                text.put_u8(step.symbol);
            }
            last = step;
        }
    }
    last.may_end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        decode(coded, &mut out).then(|| out.to_vec())
    }

    #[test]
    fn strings_of_rfc7541_appendix_c() {
        let www = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(text(&www).as_deref(), Some(&b"www.example.com"[..]));
        assert_eq!(text(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).as_deref(), Some(&b"no-cache"[..]));
        assert_eq!(text(&[0x64, 0x02]).as_deref(), Some(&b"302"[..]));
        assert_eq!(text(&[]).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn the_tree_is_full_and_has_256_inner_nodes() {
        let nodes = tree();
        assert_eq!(nodes.len(), 256);
        assert!(nodes.iter().all(|node| node.children.iter().all(Option::is_some)));
    }

    #[test]
    fn padding_must_be_ones_and_shorter_than_an_octet() {
        assert_eq!(text(&[0b0000_0111]).as_deref(), Some(&b"0"[..]));
        assert_eq!(text(&[0b0000_0110]), None, "padding with a zero");
        assert_eq!(text(&[0b0000_0111, 0xff]), None, "padding of eleven bits");
        assert_eq!(text(&[0xff, 0xff, 0xff, 0xff]), None, "EOS");
    }
}
