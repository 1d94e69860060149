//! HTTP/2 from outside: frames built by hand (RFC 9113), header blocks of indexed fields and plain literals (RFC 7541).

use h2::frame::{Head, Kind};

use crate::http::Settings;
use crate::http::detect::PREFACE;
use crate::http::script::{Script, lines};
use crate::model::conn::{Direction, Protocol};
use crate::model::exchange::Incomplete;
use crate::model::loss::Loss;

const END: u8 = 0x1;
const WHOLE: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Head::new(kind, flags, stream.into()).encode(payload.len(), &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// A literal without indexing, with a new name.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, name.len() as u8];
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(value.len() as u8);
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// GET, http, and a path.
fn ask(path: &str) -> Vec<u8> {
    [vec![0x82, 0x86], literal(":path", path)].concat()
}

fn settings() -> Vec<u8> {
    frame(Kind::Settings, 0, 0, &[0, 3, 0, 0, 0, 100])
}

fn opening() -> Vec<u8> {
    [PREFACE.to_vec(), settings()].concat()
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(Kind::Headers, END | WHOLE, stream, &ask(path))
}

fn ok(stream: u32, body: &str) -> Vec<u8> {
    [frame(Kind::Headers, WHOLE, stream, &[0x88]), frame(Kind::Data, END, stream, body.as_bytes())].concat()
}

#[test]
fn by_prior_knowledge() {
    let mut script = Script::new(false);
    script.up(opening()).down(settings()).up(get(1, "/a")).down(ok(1, "one"));
    assert_eq!(lines(&script.sink.exchanges), ["GET /a| -> 200|one"]);
    assert_eq!(script.http.protocol(), Protocol::Http2);
    let exchange = &script.close()[0];
    assert!(exchange.outgoing);
    assert_eq!(exchange.request.as_ref().unwrap().scheme.as_deref(), Some("http"));
}

#[test]
fn the_server_may_speak_first() {
    let mut script = Script::new(false);
    script.down(settings()).up(opening()).up(get(1, "/a")).down(ok(1, "one"));
    assert_eq!(lines(script.close()), ["GET /a| -> 200|one"]);
}

#[test]
fn every_byte_by_itself() {
    let mut script = Script::new(false);
    [opening(), get(1, "/a")].concat().iter().for_each(|b| {
        script.up([*b]);
    });
    [settings(), ok(1, "one")].concat().iter().for_each(|b| {
        script.down([*b]);
    });
    assert_eq!(lines(script.close()), ["GET /a| -> 200|one"]);
}

#[test]
fn interleaved_streams_with_priority_padding_and_continuation() {
    let block = ask("/padded");
    let padded = [&[3u8][..], &[0, 0, 0, 0, 7], &block, &[0, 0, 0]].concat();
    let (start, rest) = block.split_at(4);
    let mut script = Script::new(false);
    script.up(opening()).up(frame(Kind::Headers, END | WHOLE | PADDED | PRIORITY, 1, &padded));
    script.up(frame(Kind::Headers, 0, 3, start)).up(frame(Kind::Continuation, 0, 3, &[]));
    script.up(frame(Kind::Continuation, WHOLE, 3, rest)).up(frame(Kind::Priority, 0, 9, &[0, 0, 0, 0, 1]));
    script.down(settings()).down(frame(Kind::Headers, WHOLE, 3, &[0x88])).down(frame(Kind::Headers, WHOLE, 1, &[0x8d]));
    script.down(frame(Kind::Data, PADDED, 1, b"\x02oneXX")).down(frame(Kind::Data, END, 3, b"three"));
    script.up(frame(Kind::Data, END | PADDED, 3, b"\x00body")).down(frame(Kind::Data, END | PADDED, 1, b"\x03XXX"));
    assert_eq!(lines(script.close()), ["GET /padded|body -> 200|three", "GET /padded| -> 404|one"]);
    let ordinals: Vec<_> = script.sink.exchanges.iter().map(|e| e.ordinal).collect();
    assert_eq!(ordinals, [1, 0]);
}

#[test]
fn informational_answers_trailers_and_grpc() {
    let mut script = Script::new(false);
    let call = [vec![0x83, 0x86], literal(":path", "/s/m"), literal("content-type", "application/grpc+proto")].concat();
    script.up(opening()).up(frame(Kind::Headers, WHOLE, 1, &call)).up(frame(Kind::Data, END, 1, b"\0\0\0\0\0"));
    script.down(frame(Kind::Headers, WHOLE, 1, &literal(":status", "103"))).down(frame(
        Kind::Headers,
        WHOLE,
        1,
        &[0x88],
    ));
    script.down(frame(Kind::Headers, WHOLE | END, 1, &literal("grpc-status", "0")));
    assert_eq!(script.http.protocol(), Protocol::Grpc);
    assert_eq!(lines(script.close()), ["POST /s/m|\0\0\0\0\0 -> 103 200|"]);
    let exchange = &script.sink.exchanges[0];
    assert_eq!(exchange.protocol, Protocol::Grpc);
    assert_eq!(exchange.response.as_ref().unwrap().trailers.get("grpc-status"), Some("0"));
}

#[test]
fn a_promise_is_a_request() {
    let mut script = Script::new(false);
    script.up(opening()).up(get(1, "/a"));
    script.down(frame(Kind::PushPromise, WHOLE, 1, &[&[0, 0, 0, 2][..], &ask("/pushed")].concat()));
    script.down(ok(2, "push")).down(ok(1, "one"));
    assert_eq!(lines(script.close()), ["GET /pushed| -> 200|push", "GET /a| -> 200|one"]);
}

#[test]
fn resets_and_going_away() {
    let mut script = Script::new(false);
    script.up(opening()).up([get(1, "/a"), get(3, "/b"), get(5, "/c")].concat());
    script.down(frame(Kind::Headers, WHOLE, 1, &[0x88])).down(frame(Kind::Data, 0, 1, b"par"));
    script.down(frame(Kind::Reset, 0, 1, &[0, 0, 0, 8])).down(frame(Kind::Data, 0, 1, b"late"));
    script.down(frame(Kind::GoAway, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0])).down(ok(3, "two"));
    assert_eq!(lines(script.close()), ["GET /c| -> - (reset)", "GET /b| -> 200|two", "GET /a| -> 200|par (reset)"]);
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), 4);
}

/// On a server: what it reads after its GOAWAY was sent before that arrived.
#[test]
fn what_was_on_its_way_to_a_server_that_said_go_away() {
    let go_away = |last: u8| frame(Kind::GoAway, 0, 0, &[0, 0, 0, last, 0, 0, 0, 0]);
    let mut script = Script::new(false);
    script.down(opening()).up(settings()).down(get(1, "/a")).up([go_away(127), go_away(1), ok(1, "one")].concat());
    script.down([get(3, "/b"), frame(Kind::Headers, WHOLE, 5, &ask("/c"))].concat());
    assert_eq!(lines(script.close()), ["GET /a| -> 200|one", "GET /b| -> - (reset)", "GET /c| -> - (reset)"]);
}

/// On a server: its client has read everything and resets before the call that wrote the last of it returns.
#[test]
fn what_was_being_sent_when_a_reset_came_is_of_its_exchange() {
    let cancel = |stream| frame(Kind::Reset, 0, stream, &[0, 0, 0, 8]);
    let server = |max_in_flight| {
        let mut script = Script::with(Settings { max_in_flight, ..Settings::default() }, false);
        script.down(opening()).up(settings()).down(get(1, "/a"));
        script
    };
    let mut script = server(100);
    script.down(cancel(1)).wait(199).up(ok(1, "one"));
    assert_eq!(lines(&script.sink.exchanges), ["GET /a| -> 200|one"]);

    // The last octets of the response arrive in pieces, and the wait ends between them.
    let mut script = server(100);
    script.up(frame(Kind::Headers, WHOLE, 1, &[0x88])).down(cancel(1)).up(frame(Kind::Data, 0, 1, b"on")).wait(199);
    assert_eq!(script.sink.exchanges.len(), 0);
    script.wait(1).up(frame(Kind::Data, END, 1, b"e"));
    assert_eq!(lines(script.close()), ["GET /a| -> 200|on (reset)"]);
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), 1);

    // The connection ends first, or there are too many streams: nothing is lost by that.
    let mut script = server(3);
    for stream in (3..41).step_by(2) {
        script.down([get(stream, "/b"), cancel(stream)].concat());
    }
    script.down(cancel(1)).up(ok(39, "b"));
    let heard = lines(script.close());
    assert_eq!(heard.iter().filter(|line| *line == "GET /b| -> - (reset)").count(), 18, "{heard:?}");
    assert_eq!(heard[18..], ["GET /b| -> 200|b", "GET /a| -> - (reset)"]);
    assert_eq!(script.sink.losses.total_bytes(), 0);
    assert!(script.sink.losses.is_empty());
}

#[test]
fn what_the_close_cuts_off() {
    let mut script = Script::new(false);
    script.up(opening()).up([get(1, "/a"), get(3, "/b")].concat()).down(frame(Kind::Headers, WHOLE, 1, &[0x88]));
    assert_eq!(lines(script.close()), ["GET /a| -> 200| (closed_early)", "GET /b| -> - (no_response)"]);
}

/// Content of the declared length: its reader may leave without waiting for the end of the stream (RFC 9113 §8.1.1, §7).
#[test]
fn content_of_the_declared_length_is_whole_when_its_reader_goes() {
    let sized = |stream, body: &[u8]| {
        let head = [vec![0x88], literal("content-length", "4")].concat();
        [frame(Kind::Headers, WHOLE, stream, &head), frame(Kind::Data, 0, stream, body)].concat()
    };
    let of = |body: &[u8], end: Option<(bool, u8)>| {
        let mut script = Script::new(false);
        script.up(opening()).up(get(1, "/a")).down(sized(1, body));
        match end {
            Some((true, code)) => script.up(frame(Kind::Reset, 0, 1, &[0, 0, 0, code])),
            Some((false, code)) => script.down(frame(Kind::Reset, 0, 1, &[0, 0, 0, code])),
            None => &mut script,
        };
        lines(script.close()).concat()
    };
    let (no_error, internal_error, stream_closed, cancel) = (0, 2, 5, 8);
    for end in [None, Some((true, no_error)), Some((true, stream_closed)), Some((true, cancel))] {
        assert_eq!(of(b"four", end), "GET /a| -> 200|four", "{end:?}");
    }
    let mut script = Script::new(false);
    script.up(opening()).up(get(1, "/a")).down(sized(1, b"four"));
    assert_eq!(lines(script.end(true)), ["GET /a| -> 200|four (still_open)"]);
    // Shorter, longer, or reset by its writer.
    assert_eq!(of(b"fou", None), "GET /a| -> 200|fou (closed_early)");
    assert_eq!(of(b"fours", None), "GET /a| -> 200|fours (closed_early)");
    assert_eq!(of(b"fou", Some((true, cancel))), "GET /a| -> 200|fou (reset)");
    for end in [(true, internal_error), (false, internal_error), (false, cancel)] {
        assert_eq!(of(b"four", Some(end)), "GET /a| -> 200|four (reset)", "{end:?}");
    }
}

#[test]
fn a_request_of_the_declared_length_that_was_answered_is_whole_at_the_close() {
    let mut script = Script::new(false);
    let head = [vec![0x83, 0x86], literal(":path", "/a"), literal("content-length", "4")].concat();
    script
        .up(opening())
        .up(frame(Kind::Headers, WHOLE, 1, &head))
        .up(frame(Kind::Data, 0, 1, b"four"))
        .down(ok(1, "one"));
    assert_eq!(lines(script.close()), ["POST /a|four -> 200|one"]);
}

/// An answer to HEAD, or a 304, has no content, whatever length it declares (RFC 9110 §6.4.1).
#[test]
fn what_has_no_content_is_whole_with_its_head() {
    let head = [vec![2, 4], b"HEAD".to_vec(), vec![0x86], literal(":path", "/a")].concat();
    let sized = literal("content-length", "100");
    for (asked, status) in [(head, vec![0x88]), (ask("/a"), vec![0x8b])] {
        let mut script = Script::new(false);
        script.up(opening()).up(frame(Kind::Headers, END | WHOLE, 1, &asked));
        script.down(frame(Kind::Headers, WHOLE, 1, &[status, sized.clone()].concat()));
        assert_eq!(script.close().last().unwrap().incomplete, None);
    }
}

/// A stream opened before capture began lacks a head, and is reported so once its content has the declared length.
#[test]
fn joined_late_content_of_the_declared_length_is_not_all() {
    let sized = [vec![0x88], literal("content-length", "2")].concat();
    let answer = [frame(Kind::Headers, WHOLE, 1, &sized), frame(Kind::Data, 0, 1, b"ok")].concat();
    for request_is_seen in [true, false] {
        let mut script = Script::new(true);
        script.up(get(3, "/b")).down(ok(3, "two"));
        if request_is_seen {
            script.up(frame(Kind::Data, END, 1, b"the rest"));
        }
        script.down(&answer);
        assert_eq!(script.close().last().unwrap().incomplete, Some(Incomplete::JoinedLate), "{request_is_seen}");
    }
    let mut script = Script::new(true);
    script.up(get(3, "/b")).down(ok(3, "two")).down(&answer).up(frame(Kind::Reset, 0, 1, &[0, 0, 0, 8]));
    assert_eq!(script.close().last().unwrap().incomplete, Some(Incomplete::JoinedLate));
}

/// After the end of the response, NO_ERROR from either side ends a request whose rest is unwanted; after content of merely its declared length it does not.
#[test]
fn what_is_left_of_a_request_is_of_no_interest_once_it_is_answered() {
    let head = [vec![0x83, 0x86], literal(":path", "/a")].concat();
    let sized = [vec![0x88], literal("content-length", "2")].concat();
    let declared = [frame(Kind::Headers, WHOLE, 1, &sized), frame(Kind::Data, 0, 1, b"no")].concat();
    for (answer, incomplete) in [(ok(1, "no"), None), (declared, Some(Incomplete::Reset))] {
        for by_client in [true, false] {
            let mut script = Script::new(false);
            script.up(opening()).up(frame(Kind::Headers, WHOLE, 1, &head)).down(&answer);
            let reset = frame(Kind::Reset, 0, 1, &[0; 4]);
            if by_client {
                script.up(reset)
            } else {
                script.down(reset)
            };
            assert_eq!(script.close().last().unwrap().incomplete, incomplete, "{by_client}");
        }
    }
}

/// The status of a gRPC call is in its trailers: without them it is incomplete, whatever its length.
#[test]
fn a_grpc_call_without_trailers_is_cut_off() {
    let mut script = Script::new(false);
    let call = [vec![0x83, 0x86], literal(":path", "/s/m"), literal("content-type", "application/grpc")].concat();
    script.up(opening()).up(frame(Kind::Headers, WHOLE | END, 1, &call));
    let head = [vec![0x88], literal("content-type", "application/grpc"), literal("content-length", "5")].concat();
    script.down(frame(Kind::Headers, WHOLE, 1, &head)).down(frame(Kind::Data, 0, 1, b"\0\0\0\0\0"));
    assert_eq!(script.close().last().unwrap().incomplete, Some(Incomplete::ClosedEarly));
}

#[test]
fn an_upgrade_makes_the_request_stream_1() {
    let mut script = Script::new(false);
    script.up(
        "GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
    );
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_vec();
    script.down([switched, settings(), ok(1, "first")].concat()).up(opening()).up(get(3, "/3")).down(ok(3, "third"));
    assert_eq!(lines(script.close()), ["GET /u| -> 101 200|first", "GET /3| -> 200|third"]);
    assert!(script.sink.losses.is_empty());
}

#[test]
fn a_response_seen_before_its_request_waits_for_it() {
    let mut script = Script::new(false);
    script.up(opening()).down(settings()).down(ok(1, "one")).wait(10).up(get(1, "/a")).down(ok(3, "two")).wait(300);
    assert_eq!(lines(script.close()), ["GET /a| -> 200|one", "- -> 200|two (no_request)"]);
}

#[test]
fn a_hole_in_data_is_a_range() {
    let mut script = Script::new(false);
    script.up(opening()).up(get(1, "/a"));
    let answer = ok(1, "0123456789");
    let (before, after) = answer.split_at(answer.len() - 8);
    script
        .down(settings())
        .down(before)
        .gap(Direction::Received, 5)
        .down(&after[5..])
        .up(get(3, "/b"))
        .down(ok(3, "b"));
    assert_eq!(lines(script.close()), ["GET /a| -> 200|01789 (bytes_lost)", "GET /b| -> 200|b"]);
    assert_eq!(script.sink.exchanges[0].response.as_ref().unwrap().body.missing, std::slice::from_ref(&(2..7)));
}

#[test]
fn a_hole_over_frames_costs_what_was_open_and_names_of_the_table() {
    let mut script = Script::new(false);
    let indexed = [&[0x88, 0x40][..], &literal("k", "v")[1..]].concat();
    script.up(opening()).up([get(1, "/a"), get(3, "/b")].concat());
    script.down(frame(Kind::Headers, WHOLE, 1, &indexed)).gap(Direction::Received, 100);
    script.down(frame(Kind::Data, END, 1, b"end")).down(frame(Kind::Headers, WHOLE | END, 3, &[0x88, 0xbe]));
    assert_eq!(lines(script.close()), ["GET /a| -> 200|end (bytes_lost)", "GET /b| -> 200| (bytes_lost)"]);
    let field = &script.sink.exchanges[1].response.as_ref().unwrap().fields.0[0];
    assert_eq!(field.name.text(), None);
}

#[test]
fn joined_late_in_the_middle_of_a_frame() {
    let mut script = Script::new(true);
    let rest = b"some data of a frame that began before".to_vec();
    script.down([rest, frame(Kind::Data, END, 1, b"x"), frame(Kind::Ping, 0, 0, &[0; 8]), settings()].concat());
    script.up(get(9, "/a")).down(ok(9, "nine"));
    let all = lines(script.close());
    assert!(all.contains(&"GET /a| -> 200|nine".to_owned()), "{all:?}");
}

#[test]
fn joined_late_with_fields_that_are_not_known() {
    let mut script = Script::new(true);
    script.up(frame(Kind::Headers, END | WHOLE, 9, &[0x82, 0x86, 0xbe, 0xbf])).down(ok(9, "nine"));
    assert_eq!(lines(script.close()), ["GET ?| -> 200|nine (fields_unknown)"]);
}

#[test]
fn joined_late_while_a_download_runs() {
    let mut script = Script::new(true);
    script.up(get(9, "/a")).down(frame(Kind::Data, 0, 5, b"tail")).down(frame(Kind::Data, END, 5, b"end")).wait(300);
    script.down(ok(9, "nine"));
    assert_eq!(lines(script.close()), ["- -> ?|tailend (joined_late)", "GET /a| -> 200|nine"]);
}

#[test]
fn a_block_above_the_limit_costs_its_own_exchange() {
    let mut script = Script::with(Settings { head_limit: 200, ..Settings::default() }, false);
    let long = [ask("/long"), literal("x", &"x".repeat(120)), literal("y", &"y".repeat(120))].concat();
    script.up(opening()).up(frame(Kind::Headers, END | WHOLE, 1, &long)).down(ok(1, "one"));
    script.up(get(3, "/b")).down(ok(3, "two"));
    assert_eq!(lines(script.close()), ["GET /long| -> 200|one (limit)", "GET /b| -> 200|two"]);
    let request = script.sink.exchanges[0].request.as_ref().unwrap();
    assert_eq!((request.fields.get("x").map(str::len), request.fields.get("y")), (Some(120), None));
    assert_eq!(script.sink.losses.bytes(Loss::HeadLimit), long.len() as u64 - 200);
}

/// In one padded frame with a priority, in a train of frames, as a promise: later blocks refer to what it inserted, and are whole.
#[test]
fn a_block_above_the_limit_does_what_it_does_to_the_table() {
    let indexed = |name: &str, value: &str| [&[0x40], &literal(name, value)[1..]].concat();
    let long = [indexed(":path", "/kept"), literal("y", &"y".repeat(120)).repeat(9), indexed("z", "behind")].concat();
    let block = [vec![0x82, 0x86], long].concat();
    let all = END | WHOLE | PADDED | PRIORITY;
    let one = frame(Kind::Headers, all, 1, &[&[3, 0, 0, 0, 0, 7][..], &block, &[0; 3]].concat());
    let train = |kind, flags, before: &[u8]| {
        let mut frames = frame(kind, flags, 1, &[before, &block[..50]].concat());
        block[50..].chunks(150).for_each(|part| frames.extend(frame(Kind::Continuation, 0, 1, part)));
        [frames, frame(Kind::Continuation, WHOLE, 1, &[])].concat()
    };
    let next = frame(Kind::Headers, END | WHOLE, 3, &[0x82, 0x86, 0xbf, 0xbe]);
    let heard = ["GET /kept| -> 200|one (limit)", "GET /kept| -> 200|two"];
    let tell = |first: Vec<u8>, piece: usize| {
        let mut script = Script::with(Settings { head_limit: 200, ..Settings::default() }, false);
        script.up(opening()).down(settings());
        [first, next.clone()].concat().chunks(piece).for_each(|part| {
            script.up(part);
        });
        script.down([ok(1, "one"), ok(3, "two")].concat());
        assert_eq!(lines(script.close()), heard, "{piece}");
        assert_eq!(script.sink.exchanges[1].request.as_ref().unwrap().fields.get("z"), Some("behind"));
        assert_eq!(script.sink.losses.bytes(Loss::HeadLimit), block.len() as u64 - 200);
        assert_eq!(script.sink.losses.total_bytes(), block.len() as u64 - 200);
    };
    for piece in [1, 7, 100, 10_000] {
        tell(one.clone(), piece);
        tell(train(Kind::Headers, END, &[]), piece);
    }
    for pushed in [
        frame(Kind::PushPromise, WHOLE, 1, &[&[0, 0, 0, 2][..], &block].concat()),
        train(Kind::PushPromise, 0, &[0, 0, 0, 2]),
    ] {
        let mut script = Script::with(Settings { head_limit: 200, ..Settings::default() }, false);
        script.up([opening(), get(1, "/a")].concat()).down(settings()).down(pushed);
        script.down([ok(2, "pushed"), frame(Kind::Headers, END | WHOLE, 1, &[0x88, 0xbe])].concat());
        assert_eq!(lines(script.close()), ["GET /kept| -> 200|pushed (limit)", "GET /a| -> 200|"]);
        assert_eq!(script.sink.exchanges[1].response.as_ref().unwrap().fields.get("z"), Some("behind"));
    }
}

/// Octets of it cut off, or lost, void the table as for any other block.
#[test]
fn a_block_above_the_limit_that_ends_too_soon() {
    let value = [vec![0x82, 0x86, 0x84, 0, 1, b'x', 0x7f, 0xff, 0x07], vec![b'x'; 900]].concat();
    let tell = |gap: u64| {
        let mut script = Script::with(Settings { head_limit: 200, ..Settings::default() }, false);
        let block = frame(Kind::Headers, END | WHOLE, 1, &value);
        script.up(opening()).down(settings()).up(&block[..500]);
        if gap > 0 {
            script.gap(Direction::Sent, gap);
        }
        script.up(&block[500 + gap as usize..]).up([get(3, "/b"), get(5, "/c"), get(7, "/d")].concat());
        script.down([ok(1, "one"), ok(3, "two")].concat());
        lines(script.close())[..2].to_vec()
    };
    assert_eq!(tell(0), ["GET /| -> 200|one (unparsed)", "GET /b| -> 200|two"]);
    assert_eq!(tell(10), ["GET /b| -> 200|two", "- -> 200|one (bytes_lost)"]);
}

#[test]
fn an_endless_train_of_continuation_is_bounded() {
    let mut script = Script::with(Settings { head_limit: 1000, ..Settings::default() }, false);
    script.up(opening()).up(frame(Kind::Headers, END, 1, &ask("/")));
    (0..100).for_each(|_| {
        script.up(frame(Kind::Continuation, 0, 1, &literal("x", &"x".repeat(100))));
    });
    script.up(frame(Kind::Continuation, WHOLE, 1, &[])).down(ok(1, "one"));
    assert_eq!(lines(script.close()), ["GET /| -> 200|one (limit)"]);
    assert_eq!(script.sink.losses.bytes(Loss::HeadLimit), (ask("/").len() + 100 * 104) as u64 - 1000);
}

#[test]
fn too_many_streams() {
    let mut script = Script::with(Settings { max_in_flight: 2, ..Settings::default() }, false);
    script.up(opening()).up([get(1, "/a"), get(3, "/b"), get(5, "/c")].concat());
    assert_eq!(
        lines(script.close()),
        ["GET /a| -> - (limit)", "GET /b| -> - (no_response)", "GET /c| -> - (no_response)"]
    );
}

/// More streams than a list of ended ones would hold: what arrives for one that is over opens no exchange, and evicts none.
#[test]
fn what_comes_for_a_stream_that_is_over_is_no_exchange_however_many_ended_since() {
    let ids = || (1..=2000).step_by(2);
    let mut script = Script::with(Settings { max_in_flight: 100, ..Settings::default() }, false);
    script.up(opening()).up(ids().map(|id| get(id, "/a")).collect::<Vec<_>>().concat()).down(settings());
    script.down(ids().map(|id| ok(id, "one")).collect::<Vec<_>>().concat());
    let heard = lines(script.close());
    let count = |line: &str| heard.iter().filter(|heard| *heard == line).count();
    assert_eq!((count("GET /a| -> - (limit)"), count("GET /a| -> 200|one"), heard.len()), (900, 100, 1000));
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), 3 * 900);

    let mut script = Script::new(false);
    let cancelled = |id| [get(id, "/a"), frame(Kind::Reset, 0, id, &[0, 0, 0, 8])].concat();
    script.up(opening()).up(ids().map(cancelled).collect::<Vec<_>>().concat()).down(settings());
    script.down(ids().map(|id| ok(id, "one")).collect::<Vec<_>>().concat()).up(get(2001, "/b")).down(ok(2001, "b"));
    let heard = lines(script.close());
    assert_eq!(heard.iter().filter(|line| *line == "GET /a| -> - (reset)").count(), 1000);
    assert_eq!(heard[1000..], ["GET /b| -> 200|b"]);
}

#[test]
fn frames_that_are_none_are_counted_and_frames_are_found_again() {
    let mut script = Script::new(false);
    script
        .up(opening())
        .up(get(1, "/a"))
        .down(settings())
        .down(frame(Kind::Ping, 0, 0, b"short"))
        .down("junk junk junk");
    let pings = frame(Kind::Ping, 0, 0, &[0; 8]).repeat(3);
    script.down(pings).up(get(3, "/b")).down(ok(3, "two"));
    let all = lines(script.close());
    assert_eq!(all, ["GET /b| -> 200|two", "GET /a| -> - (bytes_lost)"]);
}

#[test]
fn a_promise_above_the_limit_does_not_hide_the_answer() {
    let mut script = Script::with(Settings { head_limit: 200, ..Settings::default() }, false);
    let promise =
        [&[0, 0, 0, 2][..], &ask("/pushed"), &literal("x", &"x".repeat(120)), &literal("y", &"y".repeat(120))];
    script.up(opening()).up(get(1, "/a")).down(settings());
    script.down(frame(Kind::PushPromise, WHOLE, 1, &promise.concat())).down(ok(1, "one"));
    assert_eq!(lines(script.close()), ["GET /a| -> 200|one", "GET /pushed| -> - (limit)"]);
}

#[test]
fn fields_that_no_frame_should_make_are_bounded() {
    let mut script = Script::with(Settings { head_limit: 100, ..Settings::default() }, false);
    script.up(opening()).up(frame(Kind::Headers, END | WHOLE, 1, &[0x82; 100])).down(ok(1, "one"));
    let exchange = &script.close()[0];
    assert_eq!(exchange.incomplete.map(|why| why.name()), Some("limit"));
}

#[test]
fn a_stream_that_was_reset_is_not_opened_again() {
    let mut script = Script::new(true);
    script.up(get(9, "/a")).down(frame(Kind::Headers, WHOLE, 9, &[0x88])).gap(Direction::Received, 30);
    script.up(frame(Kind::Reset, 0, 9, &[0, 0, 0, 8])).down(frame(Kind::Data, END, 9, b"late"));
    assert_eq!(lines(script.close()), ["GET /a| -> 200| (bytes_lost)"]);
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), 4);
}

#[test]
fn a_hole_behind_a_reset_is_none_of_its_stream() {
    let mut script = Script::new(false);
    script.up(opening()).down(settings()).up([get(1, "/a"), get(3, "/b")].concat());
    script.down(frame(Kind::Headers, WHOLE, 1, &[0x88])).down(frame(Kind::Reset, 0, 1, &[0, 0, 0, 2]));
    script.gap(Direction::Received, 30);
    assert_eq!(lines(script.close()), ["GET /a| -> 200| (reset)", "GET /b| -> - (bytes_lost)"]);
}

/// An HTTP/1 server addressed with HTTP/2 by prior knowledge: its answer is not a frame, though it could be the beginning of a long one.
#[test]
fn an_answer_of_http1_is_not_taken_for_a_frame() {
    let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    for piece in [1, 9, 1000] {
        let mut script = Script::new(false);
        script.up(opening()).up(get(1, "/a"));
        refusal.as_bytes().chunks(piece).for_each(|part| {
            script.down(part);
        });
        assert_eq!(lines(script.close()), ["GET /a| -> - (unparsed)"]);
        assert_eq!(script.sink.losses.bytes(Loss::Unparsed), refusal.len() as u64);
    }
}

/// The hole came first, whether the body was passed on in the meantime or not.
#[test]
fn a_hole_in_a_body_is_the_cause_whatever_ends_its_stream() {
    let of = |large_bytes, reset: bool| {
        let mut script = Script::with(Settings { large_bytes, part_bytes: 8, ..Settings::default() }, false);
        script.up(opening()).down(settings()).up(get(1, "/a")).down(frame(Kind::Headers, WHOLE, 1, &[0x88]));
        let data = frame(Kind::Data, 0, 1, b"0123456789");
        script.down(&data[..12]).gap(Direction::Received, 4).down(&data[16..]).down(frame(Kind::Data, 0, 1, b"ab"));
        if reset {
            script.down(frame(Kind::Reset, 0, 1, &[0, 0, 0, 8]));
        }
        script.close().last().unwrap().incomplete
    };
    for (large_bytes, reset) in [(None, false), (Some(2), false), (None, true), (Some(2), true)] {
        assert_eq!(of(large_bytes, reset), Some(Incomplete::BytesLost), "{large_bytes:?} {reset}");
    }
}

/// RFC 9113 §6.3: an error of the stream, not of the connection.
#[test]
fn a_priority_of_another_length_costs_no_other_stream() {
    let mut script = Script::new(false);
    script.up(opening()).down(settings()).up(get(1, "/a")).up(frame(Kind::Priority, 0, 3, &[0; 4])).up(get(5, "/b"));
    script.down([ok(1, "one"), ok(5, "two")].concat());
    assert_eq!(lines(script.close()), ["GET /a| -> 200|one", "GET /b| -> 200|two"]);
    assert!(script.sink.losses.is_empty(), "{:?}", script.sink.losses);
}

#[test]
fn a_path_that_is_no_utf8_is_read_as_a_target_of_http1_is() {
    let mut script = Script::new(false);
    let head = [0x82, 0x86, 0x04, 2, b'/', 0xe9];
    script.up(opening()).down(settings()).up(frame(Kind::Headers, END | WHOLE, 1, &head)).down(ok(1, ""));
    assert_eq!(lines(script.close()), ["GET /\u{e9}| -> 200|"]);
}
