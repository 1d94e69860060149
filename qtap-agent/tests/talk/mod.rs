//! For tests of the `http` room from outside: what two ends say, and what is reported. In: tables of cases. Out: all cases that differ from the RFC,
//! together. Each is also passed byte by byte, and cut in two at every byte, which must make no difference.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

pub(crate) mod frames;
pub(crate) mod plain;

use std::sync::Arc;

use bytes::Bytes;
use qtap_agent::http::{Http, Settings, Sink};
use qtap_agent::model::conn::Direction;
use qtap_agent::model::exchange::HttpExchange;
use qtap_agent::model::loss::{Loss, Tally};
use qtap_agent::model::message::Body;
use qtap_agent::model::segment::{Gap, Segment};
use qtap_agent::model::time::KernelTime;

/// A step of a conversation.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// The client, which is the probed process.
    Up(Vec<u8>),
    /// The server.
    Down(Vec<u8>),
    /// Bytes of a direction that are lost.
    Lost(Direction, u64),
    /// A pause of this many milliseconds.
    Wait(u64),
}

/// A line of a table: `> ` bytes of the client, `< ` bytes of the server, `~ ` milliseconds to wait.
pub(crate) fn say(text: &[u8]) -> Say {
    let (mark, rest) = text.split_at(2);
    match mark {
        b"> " => Say::Up(rest.to_vec()),
        b"< " => Say::Down(rest.to_vec()),
        _ => Say::Wait(std::str::from_utf8(rest).unwrap().parse().unwrap()),
    }
}

/// What the channel reports.
pub(crate) struct Heard {
    pub exchanges: Vec<HttpExchange>,
    pub losses: Tally,
}

impl Heard {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.exchanges.iter().map(line).collect()
    }
}

/// Passes all of it to a channel, in pieces of at most `piece` bytes, and closes the channel.
pub(crate) fn tell(said: &[Say], settings: &Arc<Settings>, joined_late: bool, piece: usize) -> Heard {
    let mut http = Http::new(settings, joined_late);
    let (mut sink, mut offsets, mut now, mut given) = (Sink::default(), [0u64; 2], 0u64, 0u64);
    for say in said {
        now += 1;
        let (direction, bytes) = match say {
            Say::Up(bytes) => (Direction::Sent, bytes),
            Say::Down(bytes) => (Direction::Received, bytes),
            Say::Wait(ms) => {
                now += ms * 1_000_000;
                http.on_tick(KernelTime(now), &mut sink);
                continue;
            }
            Say::Lost(direction, len) => {
                let (direction, len, offset) = (*direction, *len, offsets[direction.index()]);
                let gap = Gap { direction, offset, len, reason: Loss::RingFull, time: KernelTime(now) };
                http.on_gap(gap, &mut sink);
                offsets[direction.index()] += len;
                given += len;
                continue;
            }
        };
        for part in bytes.chunks(piece) {
            let (time, payload) = (KernelTime(now), Bytes::copy_from_slice(part));
            let offset = offsets[direction.index()];
            http.on_segment(Segment { direction, offset, time, pid: 1, payload }, &mut sink);
            offsets[direction.index()] += part.len() as u64;
        }
        given += bytes.len() as u64;
    }
    http.on_close(KernelTime(now), false, &mut sink);
    assert_eq!(sink.captured + sink.losses.total_bytes(), given, "bytes counted and bytes given");
    Heard { exchanges: sink.exchanges, losses: sink.losses }
}

/// The same, captured from the first byte, in one piece and with default settings.
pub(crate) fn hear(said: &[Say]) -> Heard {
    tell(said, &Arc::new(Settings::default()), false, usize::MAX)
}

/// `METHOD TARGET|REQUEST BODY -> STATUS|RESPONSE BODY (why not whole)`, with `-` for a missing half.
pub(crate) fn line(exchange: &HttpExchange) -> String {
    let text = |body: &Body| body.to_bytes().escape_ascii().to_string();
    let request = exchange.request.as_ref().map_or("-".to_owned(), |r| {
        let part = |part: &Option<String>| part.clone().unwrap_or("?".to_owned());
        format!("{} {}|{}", part(&r.method), part(&r.target), text(&r.body))
    });
    let response = exchange.response.as_ref().map_or("-".to_owned(), |r| {
        let informational: String = r.informational.iter().map(|status| format!("{status} ")).collect();
        let status = r.status.map_or("?".to_owned(), |status| status.to_string());
        format!("{informational}{status}|{}", text(&r.body))
    });
    let why = exchange.incomplete.map_or(String::new(), |why| format!(" ({})", why.name()));
    format!("{request} -> {response}{why}")
}

/// A row of a table.
pub(crate) struct Case {
    /// Section of the RFC.
    pub section: &'static str,
    pub what: &'static str,
    pub said: Vec<Say>,
    pub heard: Vec<String>,
    /// Bytes that are in no exchange.
    pub lost: u64,
}

/// A row: section, description, what is said, the expected exchanges, and how many bytes are lost.
pub(crate) fn case(section: &'static str, what: &'static str, said: &[&[u8]], heard: &[&str], lost: u64) -> Case {
    let heard = heard.iter().map(|line| (*line).to_owned()).collect();
    Case { section, what, said: said.iter().map(|text| say(text)).collect(), heard, lost }
}

/// Every way to split one step of the conversation in two.
fn cut_in_two(said: &[Say]) -> impl Iterator<Item = Vec<Say>> + '_ {
    said.iter().enumerate().flat_map(move |(n, one)| {
        let (Say::Up(bytes) | Say::Down(bytes)) = one else { return Vec::new() };
        let again =
            |part: &[u8]| if matches!(one, Say::Up(_)) { Say::Up(part.to_vec()) } else { Say::Down(part.to_vec()) };
        let cut = |at: usize| [&said[..n], &[again(&bytes[..at]), again(&bytes[at..])], &said[n + 1..]].concat();
        (1..bytes.len()).map(cut).collect()
    })
}

/// The longest step that is cut at every byte.
const SHORT: usize = 600;

/// Asserts that every case is as expected; reports all that are not.
pub(crate) fn check(cases: &[Case], settings: &Arc<Settings>) {
    let mut faults = Vec::new();
    for case in cases {
        let short =
            case.said.iter().all(|say| !matches!(say, Say::Up(bytes) | Say::Down(bytes) if bytes.len() > SHORT));
        let cut = short.then(|| cut_in_two(&case.said)).into_iter().flatten();
        let cut = cut.map(|said| tell(&said, settings, false, usize::MAX));
        let pieces = [usize::MAX, 1, 7].map(|piece| tell(&case.said, settings, false, piece));
        for heard in pieces.into_iter().chain(cut) {
            let lost = heard.losses.total_bytes();
            if heard.lines() != case.heard || lost != case.lost {
                let (section, what) = (case.section, case.what);
                let (lines, want, want_lost) = (heard.lines(), &case.heard, case.lost);
                faults.push(format!(
                    "{section} {what}\n  heard {lines:?} lost {lost}\n  want  {want:?} lost {want_lost}"
                ));
                break;
            }
        }
    }
    assert!(faults.is_empty(), "{} of {}\n{}", faults.len(), cases.len(), faults.join("\n"));
}
