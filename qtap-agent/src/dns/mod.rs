//! Passive parser of name server answers (RFC 1035 §4). In: the bytes of a message, or of a stream of messages (RFC 1035 §4.2.2). Out:
//! [`DnsAnswer`]s. The bytes may be anything: what is not an answer is ignored, and a cut answer is reported as far as it goes. At most
//! one message is held, few pointers are followed, and no name is ever looked up.

mod frames;

use std::net::IpAddr;

pub use frames::Frames;

use crate::model::dns::DnsAnswer;

/// Records of an answer that are read: a name with more addresses is rotated anyway.
const RECORDS: u16 = 64;
/// Pointers followed within one name: each must point backwards, and a longer chain does not occur by accident.
const POINTERS: usize = 16;
/// Longest name (RFC 1035 §2.3.4).
const NAME_BYTES: usize = 255;

const HEADER_BYTES: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;

/// Parses a message; `None` if it is not an answer to one question.
#[must_use]
pub fn answer(message: &[u8]) -> Option<DnsAnswer> {
    let [_, _, high, low, questions @ .., _, _, _, _, _, _] = *message.first_chunk::<HEADER_BYTES>()?;
    let (is_response, opcode) = (high & 0x80 != 0, high >> 3 & 15);
    if !is_response || opcode != 0 || questions != [0, 1] {
        return None;
    }
    let mut reader = Reader { message, at: HEADER_BYTES };
    let question = reader.name()?;
    let (kind, class) = (reader.u16()?, reader.u16()?);
    if class != CLASS_IN {
        return None;
    }
    let mut answer = DnsAnswer { question, kind, code: low & 15, truncated: high & 2 != 0, ..DnsAnswer::default() };
    let records = u16::from_be_bytes([*message.get(6)?, *message.get(7)?]);
    for _ in 0..records.min(RECORDS) {
        if reader.record(&mut answer).is_none() {
            break;
        }
    }
    Some(answer)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.message.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    /// One resource record (RFC 1035 §4.1.3).
    fn record(&mut self, answer: &mut DnsAnswer) -> Option<()> {
        self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from_be_bytes(self.take()?);
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length).filter(|end| *end <= self.message.len())?;
        match (class, kind, length) {
            (CLASS_IN, TYPE_A, 4) => answer.addresses.push((IpAddr::from(self.take::<4>()?), ttl)),
            (CLASS_IN, TYPE_AAAA, 16) => {
                answer.addresses.push((IpAddr::from(self.take::<16>()?).to_canonical(), ttl));
            }
            (CLASS_IN, TYPE_CNAME, _) => answer.aliases.extend(self.name()),
            _ => {}
        }
        self.at = end;
        Some(())
    }

    /// A name, its labels joined by dots (RFC 1035 §4.1.4). Bytes other than letters, digits, `-`, `_` and `*` are written as `\` and their
    /// number, so that no two names look alike.
    fn name(&mut self) -> Option<String> {
        let (mut name, mut at, mut pointers) = (String::new(), self.at, 0);
        let mut after = None;
        loop {
            let length = *self.message.get(at)?;
            match length {
                0 => break,
                1..=63 => {
                    let label = self.message.get(at + 1..at + 1 + usize::from(length))?;
                    push_label(&mut name, label);
                    at += 1 + usize::from(length);
                }
                0xc0.. => {
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, *self.message.get(at + 1)?]));
                    after.get_or_insert(at + 2);
                    pointers += 1;
                    if to >= at || pointers > POINTERS {
                        return None;
                    }
                    at = to;
                }
                64..=0xbf => return None,
            }
            if name.len() > 4 * NAME_BYTES {
                return None;
            }
        }
        self.at = after.unwrap_or(at + 1);
        Some(name)
    }
}

fn push_label(name: &mut String, label: &[u8]) {
    if !name.is_empty() {
        name.push('.');
    }
    for byte in label {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*' => name.push(char::from(*byte)),
            b'A'..=b'Z' => name.push(char::from(byte.to_ascii_lowercase())),
            _ => name.push_str(&format!("\\{byte:03}")),
        }
    }
}

#[cfg(test)]
mod tests;
