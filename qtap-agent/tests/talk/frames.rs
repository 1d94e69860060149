//! HTTP/2 frames and header blocks, written by hand (RFC 9113 §4.1, RFC 7541 §6). In: their contents. Out: their octets.

use super::{Case, Say};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// A frame (§4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block that uses no dynamic table: `:method: GET`, `:scheme: http`, and a path.
pub(crate) fn get(path: &str) -> Vec<u8> {
    [vec![0x82, 0x86, 0x04], string(path)].concat()
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

/// Literal with incremental indexing, new name (RFC 7541 §6.2.1).
pub(crate) fn indexed(name: &str, value: &str) -> Vec<u8> {
    [vec![0x40], string(name), string(value)].concat()
}

/// Literal without indexing, new name (RFC 7541 §6.2.2).
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    [vec![0x00], string(name), string(value)].concat()
}

/// `:status: 200`.
pub(crate) const OK: &[u8] = &[0x88];

pub(crate) fn ask(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(path))
}

pub(crate) fn answer(stream: u32, body: &[u8]) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, body)].concat()
}

/// A row. `said` alternates: the client's bytes after its preface, the server's, the client's again …
pub(crate) fn row(section: &'static str, what: &'static str, said: &[Vec<u8>], heard: &[&str]) -> Case {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let opening = [Say::Up([PREFACE, &settings].concat()), Say::Down(settings)];
    let turns = said
        .iter()
        .enumerate()
        .map(|(n, bytes)| if n % 2 == 0 { Say::Up(bytes.clone()) } else { Say::Down(bytes.clone()) });
    let said = opening.into_iter().chain(turns).collect();
    Case { section, what, said, heard: heard.iter().map(|line| (*line).to_owned()).collect(), lost: 0 }
}
