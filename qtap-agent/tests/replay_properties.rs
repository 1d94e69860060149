//! Recordings that are damaged, or lack what a full ring would have lost: nothing breaks, every replay ends, and nothing untrue is
//! reported. In: the recordings of `replay/`, and generated ones. Each goes all the way: recording, tap, pipeline.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use qtap_agent::capture::ABI;
use qtap_agent::capture::recording::{Fact, Frame, Reader, Writer};
use qtap_agent::capture::replay::Replay;
use qtap_agent::capture::source::{Flow, Source};
use qtap_agent::config::Settings;
use qtap_agent::model::event::Host;
use qtap_agent::model::exchange::{Exchange, HttpExchange};
use qtap_agent::model::observation::Observation;
use qtap_agent::model::record::{Record, RecordKind};
use qtap_agent::model::time::KernelTime;
use qtap_agent::pipeline::settings::Level;
use qtap_agent::pipeline::{Pipeline, RedactionKey};
use qtap_agent::tap::{self, Tap};

/// Kinds and offsets in the probes' records (`qtap-common`).
const OPENED: u8 = 4;
const DATA: u8 = 5;
const SKIP: u8 = 6;
const CLOSED: u8 = 8;
const RECEIVED: u8 = 2;
const LATE: u8 = 4;
const RING_FULL: u8 = 2;
const KIND_AT: usize = 28;
const DATA_HEAD: usize = 40;

/// The process stays below this whatever the input (in kB).
const MOST_MEMORY_KB: u64 = 512 << 10;

/// The result of a recording.
#[derive(Default)]
struct Played {
    exchanges: Vec<HttpExchange>,
    /// Bytes that were reported as lost on connections.
    lost: u64,
    /// Bytes of artifacts.
    artifacts: usize,
    whole: bool,
}

fn play(recording: &[u8]) -> Played {
    let settings = Settings::built_in(Level::Full);
    let (mut tap, mut pipeline) =
        (Tap::new(tap::Settings::default()), Pipeline::new(settings.pipeline, &RedactionKey([7; 32])));
    let mut played = Played::default();
    let (mut events, mut seen, mut now) = (Vec::new(), Vec::new(), KernelTime(0));
    let Ok(mut source) = Replay::open(recording) else { return played };
    loop {
        let flow = source.poll(Duration::ZERO, &mut events);
        for event in events.drain(..) {
            now = event.time().map_or(now, |time| time.max(now));
            tap.on_event(event, &mut seen);
        }
        match flow {
            Ok(Flow::Open) => take(&mut seen, &mut pipeline, &mut played),
            ended => {
                played.whole = ended.is_ok();
                break;
            }
        }
    }
    tap.finish(now, &mut seen);
    take(&mut seen, &mut pipeline, &mut played);
    assert_eq!(tap.counters().connections_active(), 0);
    played
}

fn take(seen: &mut Vec<Observation>, pipeline: &mut Pipeline, played: &mut Played) {
    let mut records: Vec<Record> = Vec::new();
    for observation in seen.drain(..) {
        if let Observation::Exchange(seen) = &observation {
            let Exchange::Http(http) = &seen.exchange;
            played.exchanges.push((**http).clone());
        }
        if let Observation::Connection(seen) = &observation {
            played.lost = played.lost.max(seen.losses.total_bytes());
        }
        pipeline.apply(observation, &mut records);
        for record in records.drain(..) {
            if let RecordKind::Object(object) = record.kind {
                played.artifacts += object.data.len();
            }
        }
    }
}

/// The content of a whole exchange, without times.
fn said(exchange: &HttpExchange) -> String {
    let (request, response) = (exchange.request.as_ref(), exchange.response.as_ref());
    let request = request.map(|r| (&r.method, &r.target, &r.authority, &r.fields, r.body.to_bytes(), &r.trailers));
    let response = response.map(|r| (r.status, &r.fields, r.body.to_bytes(), &r.trailers));
    format!("{request:?} {response:?}")
}

/// The frames of the recordings in `replay/`, in order, except the large ones.
fn fixtures() -> &'static [(String, Vec<Frame>)] {
    static FIXTURES: OnceLock<Vec<(String, Vec<Frame>)>> = OnceLock::new();
    FIXTURES.get_or_init(|| {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replay");
        let mut cases: Vec<_> = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.retain(|path| path.is_dir());
        cases.sort();
        let read = |case: &std::path::PathBuf| {
            let bytes = std::fs::read(case.join("recording.qtap")).unwrap();
            (case.file_name().unwrap().to_string_lossy().into_owned(), frames(&bytes), bytes.len())
        };
        cases.iter().map(read).filter(|(.., len)| *len < 50_000).map(|(name, frames, _)| (name, frames)).collect()
    })
}

fn frames(recording: &[u8]) -> Vec<Frame> {
    Reader::new(recording, ABI).unwrap().map(Result::unwrap).collect()
}

fn write(frames: &[Frame]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), ABI).unwrap();
    for frame in frames {
        match frame {
            Frame::Kernel(bytes) => writer.kernel(bytes).unwrap(),
            Frame::Fact(fact) => writer.fact(fact).unwrap(),
        }
    }
    writer.into_inner()
}

fn is_data(frame: &Frame) -> bool {
    matches!(frame, Frame::Kernel(bytes) if bytes.get(KIND_AT) == Some(&DATA))
}

/// What the probes write in place of bytes that did not fit in the ring.
fn lost(data: &Bytes) -> Frame {
    let mut skip = data[..DATA_HEAD].to_vec();
    skip.extend_from_slice(&((data.len() - DATA_HEAD) as u64).to_ne_bytes());
    skip[24..28].copy_from_slice(&48_u32.to_ne_bytes());
    (skip[KIND_AT], skip[30]) = (SKIP, RING_FULL);
    Frame::Kernel(skip.into())
}

/// Loses `DATA` records as `losses` says: 0 keeps one, 1 loses it silently, 2 reports the loss.
fn lose(frames: &[Frame], losses: &[u8]) -> Vec<Frame> {
    let mut fates = losses.iter().cycle();
    let mut left = Vec::new();
    for frame in frames {
        let fate = if is_data(frame) { *fates.next().unwrap_or(&0) } else { 0 };
        match (frame, fate) {
            (_, 1) => {}
            (Frame::Kernel(data), 2) => left.push(lost(data)),
            (frame, _) => left.push(frame.clone()),
        }
    }
    left
}

fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Damages a recording frame by frame. The framing stays valid, so that the content is read.
fn mangle(frames: &[Frame], changes: &[(usize, usize, u8, u8)]) -> Vec<Frame> {
    let mut frames = frames.to_vec();
    for &(which, at, value, how) in changes {
        let which = which % frames.len().max(1);
        let Some(frame) = frames.get(which).cloned() else { continue };
        match (how % 5, frame) {
            (0, frame) => frames.insert(which / 2, frame),
            (1, _) => drop(frames.remove(which)),
            (2, Frame::Kernel(bytes)) => {
                let mut cut = bytes.slice(..at % (bytes.len() + 1)).to_vec();
                let len = (cut.len() as u32).to_ne_bytes();
                cut.get_mut(24..28).into_iter().for_each(|place| place.copy_from_slice(&len));
                frames[which] = Frame::Kernel(cut.into());
            }
            (_, Frame::Kernel(bytes)) => {
                let mut changed = bytes.to_vec();
                // Most of the meaning is in the first bytes.
                let at = if value % 2 == 0 { at % 56 } else { at } % changed.len().max(1);
                changed.get_mut(at).into_iter().for_each(|byte| *byte = value);
                frames[which] = Frame::Kernel(changed.into());
            }
            (_, Frame::Fact(_)) => frames.swap(which, at % which.max(1)),
        }
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mangled_recording_breaks_nothing(
        case in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<usize>(), any::<usize>(), any::<u8>(), any::<u8>()), 1..12),
    ) {
        let (name, frames) = case.get(fixtures());
        let played = play(&write(&mangle(frames, &changes)));
        prop_assert!(played.whole, "{}: every frame is well framed", name);
        prop_assert!(played.artifacts < 64 << 20);
        prop_assert!(peak_memory_kb() < MOST_MEMORY_KB);
    }

    #[test]
    fn a_damaged_file_gives_what_is_whole_before_the_damage(
        case in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let (_, frames) = case.get(fixtures());
        let mut bytes = write(frames);
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= value.max(1) }
        let before = play(&bytes);
        prop_assert!(!before.whole || cut, "a changed byte is noticed");
        let all: Vec<_> = play(&write(frames)).exchanges.iter().map(said).collect();
        for exchange in before.exchanges.iter().filter(|exchange| exchange.incomplete.is_none()) {
            prop_assert!(all.contains(&said(exchange)));
        }
    }

    #[test]
    fn what_the_ring_lost_is_missing_and_nothing_is_made_up(
        case in any::<prop::sample::Index>(),
        losses in prop::collection::vec(prop_oneof![4 => Just(0_u8), 1 => Just(1_u8), 1 => Just(2_u8)], 1..24),
    ) {
        let (name, frames) = case.get(fixtures());
        let all = play(&write(frames));
        let whole = |played: &Played| -> Vec<String> {
            played.exchanges.iter().filter(|exchange| exchange.incomplete.is_none()).map(said).collect()
        };
        let (true_ones, left) = (whole(&all), play(&write(&lose(frames, &losses))));
        let said_whole = whole(&left);
        for exchange in &said_whole {
            prop_assert!(true_ones.contains(exchange), "{}: never said: {}", name, exchange);
        }
        if said_whole.len() < true_ones.len() {
            let told = left.exchanges.iter().any(|exchange| exchange.incomplete.is_some());
            prop_assert!(told || left.lost > 0, "{}: an exchange is gone without a word", name);
        }
    }
}

// --- a connection whose exchanges are numbered -------------------------------------------------------------------------------

/// The form of one exchange.
#[derive(Debug, Clone)]
struct Said {
    upload: usize,
    download: usize,
    chunked: bool,
    /// Length of the pieces in which it is carried.
    piece: usize,
}

prop_compose! {
    fn said_so()(
        upload in prop_oneof![Just(0_usize), 1..3000_usize],
        download in prop_oneof![Just(0_usize), 1..3000_usize],
        chunked in any::<bool>(),
        piece in prop_oneof![1..40_usize, 100..4000_usize],
    ) -> Said {
        Said { upload, download, chunked, piece }
    }
}

/// Writes the records of one connection.
struct Probe {
    frames: Vec<Frame>,
    offsets: [u64; 2],
    now: u64,
}

impl Probe {
    fn record(&mut self, kind: u8, flags: u8, body: &[u8]) {
        self.now += 20_000;
        let mut record = self.now.to_ne_bytes().to_vec();
        record.extend_from_slice(&77_u64.to_ne_bytes());
        record.extend_from_slice(&42_u32.to_ne_bytes());
        record.extend_from_slice(&42_u32.to_ne_bytes());
        record.extend_from_slice(&(32 + body.len() as u32).to_ne_bytes());
        record.extend_from_slice(&[kind, flags, u8::from(kind == OPENED && flags == 0), 0]);
        record.extend_from_slice(body);
        self.frames.push(Frame::Kernel(record.into()));
    }

    fn open(late: bool) -> Probe {
        let host = Fact::Started(Host { name: "host".into(), ..Host::default() });
        let mut probe = Probe { frames: vec![Frame::Fact(host)], offsets: [0; 2], now: 1_000_000 };
        let mut body = 1_u64.to_ne_bytes().to_vec();
        body.extend_from_slice(&2_u16.to_ne_bytes());
        body.resize(48, 0);
        probe.record(OPENED, if late { LATE } else { 0 }, &body);
        probe
    }

    fn pass(&mut self, received: bool, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece) {
            let offset = &mut self.offsets[usize::from(received)];
            let mut body = offset.to_ne_bytes().to_vec();
            *offset += piece.len() as u64;
            body.extend_from_slice(piece);
            self.record(DATA, if received { RECEIVED } else { 0 }, &body);
        }
    }

    /// Lets time pass and closes the connection, with counts that match what was carried.
    fn close(mut self, lost: [u64; 2]) -> Vec<Frame> {
        let mut body = Vec::new();
        for (carried, lost) in self.offsets.into_iter().zip(lost) {
            for number in [carried, carried - lost, 0, 0, lost, carried] {
                body.extend_from_slice(&number.to_ne_bytes());
            }
        }
        body.extend_from_slice(&[0; 8]);
        self.record(CLOSED, 0, &body);
        for _ in 0..30 {
            self.now += 100_000_000;
            self.frames.push(Frame::Fact(Fact::Tick(KernelTime(self.now))));
        }
        self.frames
    }
}

fn request(number: usize, said: &Said) -> Vec<u8> {
    let body = format!("{number:04}").repeat(said.upload.div_ceil(4));
    format!("POST /{number} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn response(number: usize, said: &Said) -> Vec<u8> {
    let body = format!("{number:04}").repeat(said.download.div_ceil(4));
    let head = format!("HTTP/1.1 200 OK\r\nX-Number: {number}\r\n");
    if said.chunked {
        let chunk = if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
        return format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").into_bytes();
    }
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Exchanges on one connection, `together` of them pipelined at a time.
fn numbered(exchanges: &[Said], together: usize, late: bool) -> Probe {
    let mut probe = Probe::open(late);
    for (round, some) in exchanges.chunks(together).enumerate() {
        let numbers = || some.iter().enumerate().map(|(index, said)| (round * together + index, said));
        numbers().for_each(|(number, said)| probe.pass(false, &request(number, said), said.piece));
        numbers().for_each(|(number, said)| probe.pass(true, &response(number, said), said.piece));
    }
    probe
}

/// Every part of an exchange carries the same number.
fn agrees(exchange: &HttpExchange) -> Result<(), String> {
    let request = exchange.request.as_ref();
    let asked = request.and_then(|request| request.target.as_deref()?.strip_prefix('/')?.parse::<usize>().ok());
    let answered =
        exchange.response.as_ref().and_then(|response| response.fields.get("x-number")?.parse::<usize>().ok());
    if let (Some(asked), Some(answered)) = (asked, answered)
        && asked != answered
    {
        return Err(format!("/{asked} is paired with the answer to /{answered}: {:?}", exchange.incomplete));
    }
    let bodies = [(asked, request.map(|r| &r.body)), (answered, exchange.response.as_ref().map(|r| &r.body))];
    for (number, body) in bodies {
        if let (Some(number), Some(body)) = (number, body)
            && body.missing.is_empty()
            && exchange.incomplete.is_none()
        {
            let bytes = body.to_bytes();
            let pattern = format!("{number:04}");
            if bytes.chunks(4).any(|four| four != pattern.as_bytes()) {
                return Err(format!("a body of /{number} holds something else"));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn losses_never_pair_a_request_with_another_ones_answer(
        exchanges in prop::collection::vec(said_so(), 1..12),
        together in prop_oneof![2 => Just(1_usize), 1 => 1..5_usize],
        late in any::<bool>(),
        losses in prop::collection::vec(prop_oneof![6 => Just(0_u8), 1 => Just(1_u8), 1 => Just(2_u8)], 1..40),
    ) {
        let probe = numbered(&exchanges, together, late);
        let kept = lose(&probe.frames, &losses);
        let carried = |frames: &[Frame], received: bool| -> u64 {
            let len = |frame: &Frame| match frame {
                Frame::Kernel(bytes) if is_data(frame) && (bytes[29] & RECEIVED != 0) == received => {
                    (bytes.len() - DATA_HEAD) as u64
                }
                _ => 0,
            };
            frames.iter().map(len).sum()
        };
        let lost = [false, true].map(|received| carried(&probe.frames, received) - carried(&kept, received));
        let all = lost == [0; 2];
        let whole_len = exchanges.len();
        let played = play(&write(&Probe { frames: kept, ..probe }.close(lost)));
        for exchange in &played.exchanges {
            let verdict = agrees(exchange);
            prop_assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
        }
        let whole = played.exchanges.iter().filter(|exchange| exchange.incomplete.is_none()).count();
        prop_assert!(whole <= whole_len);
        if all {
            prop_assert_eq!(whole, whole_len);
            prop_assert_eq!(played.lost, 0);
        } else {
            prop_assert!(played.lost >= lost[0] + lost[1], "{} of {:?} bytes", played.lost, lost);
        }
    }
}

#[test]
fn fixtures_are_found() {
    assert!(fixtures().len() >= 14);
}
