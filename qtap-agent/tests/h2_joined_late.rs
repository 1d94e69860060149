//! HTTP/2 joined mid-stream, or with a hole, at every frame and every byte: nothing is guessed. Also measures the share of header fields that is
//! known.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod talk;

use std::sync::Arc;

use qtap_agent::http::Settings;
use qtap_agent::model::conn::Direction;
use qtap_agent::model::exchange::HttpExchange;
use talk::frames::*;
use talk::{Say, tell};

fn usual() -> Arc<Settings> {
    Arc::new(Settings::default())
}

/// A connection whose exchanges differ in both directions, as single frames, so that it can be joined and split at each.
fn conversation() -> Vec<Say> {
    let mut said =
        vec![Say::Up(PREFACE.to_vec()), Say::Up(frame(SETTINGS, 0, 0, &[])), Say::Down(frame(SETTINGS, 0, 0, &[]))];
    for n in 0..12u32 {
        let id = 2 * n + 1;
        let field = if n % 3 == 0 { indexed("x", &format!("value {n}")) } else { vec![0xbe] };
        said.push(Say::Up(frame(HEADERS, 4, id, &[get(&format!("/{n}")), field].concat())));
        said.push(Say::Up(frame(DATA, 1, id, format!("ask {n}").as_bytes())));
        said.push(Say::Down(frame(HEADERS, 4, id, &[OK.to_vec(), indexed("n", &n.to_string())].concat())));
        said.push(Say::Down(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0])));
        said.push(Say::Down(frame(DATA, 1, id, format!("answer {n}").as_bytes())));
    }
    said
}

/// What is known of an exchange must be what was sent; what is not known is marked as unknown.
fn assert_nothing_is_guessed(exchange: &HttpExchange) {
    let number = |text: Option<&str>| text.and_then(|text| text.rsplit([' ', '/']).next()?.parse::<u32>().ok());
    let (request, response) = (exchange.request.as_ref(), exchange.response.as_ref());
    let path = number(request.and_then(|request| request.target.as_deref()));
    let told = number(response.and_then(|response| response.fields.get("n")));
    if let (Some(path), Some(told)) = (path, told) {
        assert_eq!(path, told, "a request with another's answer");
    }
    let text = |body: Option<&qtap_agent::model::message::Body>| {
        body.map(|body| body.to_bytes()).filter(|body| !body.is_empty())
    };
    for (number, what, body) in
        [(path, "ask", text(request.map(|r| &r.body))), (told, "answer", text(response.map(|r| &r.body)))]
    {
        if let (Some(number), Some(body)) = (number, body) {
            let whole = format!("{what} {number}");
            assert!(body == whole || exchange.incomplete.is_some(), "{body:?} is not {whole}");
        }
    }
    if let Some(number) = path {
        let value = request.and_then(|request| request.fields.get("x"));
        let latest = format!("value {}", number - number % 3);
        assert!(value.is_none_or(|value| value == latest), "{value:?} was guessed for {number}");
    }
}

#[test]
fn joined_before_every_frame() {
    let said = conversation();
    let all = tell(&said, &usual(), false, usize::MAX);
    assert_eq!(all.exchanges.len(), 12);
    assert!(all.losses.is_empty());
    for start in 0..said.len() {
        let heard = tell(&said[start..], &usual(), true, usize::MAX);
        heard.exchanges.iter().for_each(assert_nothing_is_guessed);
        let whole = heard.exchanges.iter().filter(|exchange| exchange.incomplete.is_none()).count();
        let left = said[start..].iter().filter(|say| matches!(say, Say::Up(bytes) if bytes[3] == DATA)).count();
        assert!(whole + 3 >= left, "joined at {start}: {whole} of {left} are whole: {:?}", heard.lines());
    }
}

#[test]
fn joined_before_every_byte() {
    let said = conversation();
    let flat: Vec<(Direction, u8)> = said
        .iter()
        .flat_map(|say| match say {
            Say::Up(bytes) => bytes.iter().map(|byte| (Direction::Sent, *byte)).collect::<Vec<_>>(),
            Say::Down(bytes) => bytes.iter().map(|byte| (Direction::Received, *byte)).collect(),
            Say::Lost(..) | Say::Wait(_) => Vec::new(),
        })
        .collect();
    for start in 0..flat.len() {
        let mut rest: Vec<Say> = Vec::new();
        for (direction, byte) in &flat[start..] {
            match (direction, rest.last_mut()) {
                (Direction::Sent, Some(Say::Up(bytes))) | (Direction::Received, Some(Say::Down(bytes))) => {
                    bytes.push(*byte)
                }
                (Direction::Sent, _) => rest.push(Say::Up(vec![*byte])),
                (Direction::Received, _) => rest.push(Say::Down(vec![*byte])),
            }
        }
        tell(&rest, &usual(), true, usize::MAX).exchanges.iter().for_each(assert_nothing_is_guessed);
    }
}

#[test]
fn a_hole_anywhere_is_never_filled_by_guessing() {
    let said = conversation();
    for (at, lost) in said.iter().enumerate() {
        let (direction, bytes) = match lost {
            Say::Up(bytes) => (Direction::Sent, bytes),
            Say::Down(bytes) => (Direction::Received, bytes),
            Say::Lost(..) | Say::Wait(_) => continue,
        };
        for (from, len) in [(0, bytes.len()), (0, 1), (bytes.len() / 2, 1), (bytes.len() - 1, 1)] {
            let part = |range: std::ops::Range<usize>| match direction {
                Direction::Sent => Say::Up(bytes[range].to_vec()),
                Direction::Received => Say::Down(bytes[range].to_vec()),
            };
            let hole = [part(0..from), Say::Lost(direction, len as u64), part(from + len..bytes.len())];
            let holed = [&said[..at], &hole, &said[at + 1..]].concat();
            tell(&holed, &usual(), false, usize::MAX).exchanges.iter().for_each(assert_nothing_is_guessed);
        }
    }
}
