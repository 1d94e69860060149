//! The same bytes given to qtap and to real stacks: hyper and, where `cargo xtask setup` installed its Python, h11, h2 and nghttp2. In: random
//! conversations with fixed seeds, whole and damaged. Out: every message that another stack read to its end and qtap read differently.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so, and a comparison says how much it compared")]

mod hyper_stack;
mod ours;
mod python;
mod talk1;
mod talk2;

use fastrand::Rng;

/// Number of conversations of each kind.
const CONVERSATIONS: u64 = 150;
/// Number of damaged ones of each kind.
const DAMAGES: u64 = 600;

/// A request or a response, as some stack read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Read {
    pub(crate) method: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) informational: Vec<u16>,
    /// In order, with names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether the message was read to its end.
    pub(crate) ended: bool,
}

/// What two ends say, in order; `asked` has the method and target of each request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversation {
    pub(crate) turns: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) asked: Vec<(String, String)>,
}

impl Conversation {
    fn up(&self) -> Vec<u8> {
        self.turns.iter().flat_map(|turn| turn.0.clone()).collect()
    }

    fn down(&self) -> Vec<u8> {
        self.turns.iter().flat_map(|turn| turn.1.clone()).collect()
    }
}

/// Changes, removes, doubles or inserts a few bytes in one turn of one direction.
fn damage(conversation: &Conversation, up: bool, rng: &mut Rng) -> Conversation {
    let mut damaged = conversation.clone();
    let turn = rng.usize(..damaged.turns.len());
    let bytes = if up { &mut damaged.turns[turn].0 } else { &mut damaged.turns[turn].1 };
    for _ in 0..rng.usize(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.usize(..bytes.len());
        match rng.u8(..5) {
            0 => bytes[at] = rng.u8(..),
            1 => bytes[at] ^= 1 << rng.u8(..8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, *rng.choice(b"\r\n :,;0a\t\0").unwrap()),
            _ => bytes.insert(at, bytes[at]),
        }
    }
    damaged
}

/// Asserts that the complete messages of `theirs` are the first of `ours`; returns how many were compared.
fn compare_in_order(what: &str, ours: &[Read], theirs: &[Read]) -> usize {
    let ended: Vec<&Read> = theirs.iter().take_while(|read| read.ended).collect();
    for (n, their) in ended.iter().enumerate() {
        assert_eq!(ours.get(n), Some(*their), "{what}: message {n}");
    }
    ended.len()
}

/// Asserts that the complete messages of `theirs` are among `ours`; returns how many were compared.
fn compare_as_sets(what: &str, ours: &[Read], theirs: &[Read]) -> usize {
    let ended = theirs.iter().filter(|read| read.ended);
    ended.map(|their| assert!(ours.contains(their), "{what}: {their:?}\n is not among {ours:#?}")).count()
}

/// No two stacks agree on damaged field names and values, on octets that are not ASCII, or on messages without a method or a status.
/// What is compared of the others: their content and length.
fn essential(reads: Vec<Read>, requests: bool) -> Vec<Read> {
    let ascii = |text: Option<String>| text.map(|text| text.chars().filter(char::is_ascii).collect());
    let bare = |read: Read| Read {
        method: ascii(read.method).filter(|_| requests),
        target: ascii(read.target).filter(|_| requests),
        status: read.status.filter(|_| !requests),
        fields: Vec::new(),
        trailers: Vec::new(),
        ..read
    };
    let is_one = |read: &Read| if requests { read.method.is_some() } else { read.status.is_some() };
    reads.into_iter().filter(is_one).map(bare).collect()
}

#[test]
fn hyper_reads_the_same() {
    let mut compared = 0;
    for seed in 0..CONVERSATIONS {
        let said = talk1::conversation(&mut Rng::with_seed(seed));
        let (requests, responses) = ours::hear(&said);
        let what = format!("seed {seed}");
        let (served, received) = (hyper_stack::serve(&said.up()), hyper_stack::ask(&said));
        assert_eq!((served.len(), received.len()), (said.asked.len(), said.asked.len()), "{what}");
        compared += compare_in_order(&what, &requests, &served) + compare_in_order(&what, &responses, &received);
    }
    println!("{compared} messages compared with hyper");
}

#[test]
fn hyper_reads_the_same_of_what_is_damaged() {
    let mut compared = 0;
    for seed in 0..DAMAGES {
        let mut rng = Rng::with_seed(seed);
        let whole = talk1::conversation(&mut rng);
        let said = damage(&whole, true, &mut rng);
        let what = format!("damaged, seed {seed}: {}", said.up().escape_ascii());
        compared += compare_in_order(
            &what,
            &essential(ours::hear(&said).0, true),
            &essential(hyper_stack::serve(&said.up()), true),
        );
        let said = damage(&whole, false, &mut rng);
        let what = format!("damaged, seed {seed}: {}", said.down().escape_ascii());
        compared +=
            compare_in_order(&what, &essential(ours::hear(&said).1, false), &essential(hyper_stack::ask(&said), false));
    }
    println!("{compared} messages of damaged conversations compared with hyper");
}

/// Compares with a stack of the Python helper; skipped without Python.
fn with_python(stack: &'static str, make: fn(&mut Rng) -> Conversation, damaged: bool) {
    let count = if damaged { DAMAGES } else { CONVERSATIONS };
    let mut cases = Vec::new();
    let mut said = Vec::new();
    for seed in 0..count {
        let mut rng = Rng::with_seed(seed);
        let whole = make(&mut rng);
        for up in [true, false] {
            let one = if damaged { damage(&whole, up, &mut rng) } else { whole.clone() };
            let data = if up { one.up() } else { one.down() };
            cases.push(python::Case { stack, server: up, asked: whole.asked.clone(), data });
            said.push((one, up));
        }
    }
    let Some(answers) = python::run(&cases) else { return };
    let mut compared = 0;
    for (n, ((one, up), answer)) in said.iter().zip(answers).enumerate() {
        let Some((theirs, error)) = answer else {
            println!("skipped: {stack} can't be had here");
            return;
        };
        let (requests, responses) = ours::hear(one);
        let ours = if *up { requests } else { responses };
        let bytes = if *up { one.up() } else { one.down() };
        let what = format!("{stack}, case {n}: {}", bytes.escape_ascii());
        if !damaged {
            let ended = theirs.iter().filter(|read| read.ended).count();
            assert_eq!((ended, error), (one.asked.len(), None), "{what}: the other stack reads all of it");
        }
        let (ours, theirs) = if damaged { (essential(ours, *up), essential(theirs, *up)) } else { (ours, theirs) };
        compared += if stack == "h11" {
            compare_in_order(&what, &ours, &theirs)
        } else {
            compare_as_sets(&what, &ours, &theirs)
        };
    }
    let kind = if damaged { "damaged" } else { "whole" };
    println!("{compared} messages of {} {kind} byte streams compared with {stack}", cases.len());
}

#[test]
fn h11_reads_the_same() {
    with_python("h11", talk1::conversation, false);
}

#[test]
fn h11_reads_the_same_of_what_is_damaged() {
    with_python("h11", talk1::conversation, true);
}

#[test]
fn python_h2_reads_the_same() {
    with_python("h2", talk2::conversation, false);
}

#[test]
fn python_h2_reads_the_same_of_what_is_damaged() {
    with_python("h2", talk2::conversation, true);
}

#[test]
fn nghttp2_reads_the_same() {
    with_python("nghttp2", talk2::conversation, false);
}

#[test]
fn nghttp2_reads_the_same_of_what_is_damaged() {
    with_python("nghttp2", talk2::conversation, true);
}
