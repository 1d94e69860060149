//! Lines among the fields of a head that are no fields (RFC 9112 §5): no colon, or no token before it. Most recipients pass over them, so such a line
//! costs itself and not the message. In: the bytes of a head or a trailer section. Out: the same without those lines, and how many bytes they
//! were; or `None`, where the two ends may have understood the message otherwise.

use super::token::Kind;
use crate::http::detect;

/// Names of the fields that say where a message ends, without what a damaged line may have between their words.
const FRAMING: [&[u8]; 2] = [b"contentlength", b"transferencoding"];

/// A head without the lines that are no fields.
pub(super) struct Sifted {
    pub(super) text: Vec<u8>,
    /// Bytes of the lines that are missing from it.
    pub(super) left_out: usize,
}

/// Leaves out the lines of `section` that are no fields, together with the lines that continue them (§5.2). `head_of`: whose head it is; a trailer
/// section is none.
pub(super) fn sift(section: &[u8], head_of: Option<Kind>) -> Option<Sifted> {
    let mut sifted = Sifted { text: Vec::with_capacity(section.len()), left_out: 0 };
    let mut leaves = false;
    for (nth, line) in section.split_inclusive(|b| *b == b'\n').enumerate() {
        let continues = matches!(line.first(), Some(b' ' | b'\t'));
        if head_of.is_some() && nth == 0 || matches!(line, b"\n" | b"\r\n") {
            leaves = false;
        } else if !continues {
            leaves = !is_field(line, head_of);
        }
        if !leaves {
            sifted.text.extend_from_slice(line);
        } else if may_be_missing(line) && (continues || !is_refused(line, head_of)) {
            sifted.left_out += line.len();
        } else {
            return None;
        }
    }
    (sifted.left_out > 0).then_some(sifted)
}

/// A name and its colon. In a response's head, white space between them is taken away (§5.1).
fn is_field(line: &[u8], head_of: Option<Kind>) -> bool {
    let name = line.iter().take_while(|b| detect::is_token(**b)).count();
    let blank = match head_of {
        None | Some(Kind::Request) => 0,
        Some(Kind::Response) => line.iter().skip(name).take_while(|b| is_blank(**b)).count(),
    };
    name > 0 && line.get(name + blank) == Some(&b':')
}

fn is_blank(b: u8) -> bool {
    b == b' ' || (b.is_ascii_control() && b != b'\n')
}

/// False if the line may have said where the message ends, or may begin the next one.
fn may_be_missing(line: &[u8]) -> bool {
    let letters: Vec<u8> = line.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    let frames = FRAMING.iter().any(|name| memchr::memmem::find(&letters, name).is_some());
    let starts = detect::response_start(line).is_some() || detect::request_start(line, true).is_some();
    !frames && !starts
}

/// In a request's head, a server refuses white space before the colon (§5.1).
fn is_refused(line: &[u8], head_of: Option<Kind>) -> bool {
    let content = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line);
    let name = content.split(|b| *b == b':').next().unwrap_or_default();
    head_of == Some(Kind::Request) && name.iter().any(|b| is_blank(*b))
}
