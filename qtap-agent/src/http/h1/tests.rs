//! HTTP/1 from outside: what passes, and which exchanges come out. Cases follow the sections of RFC 9112 and RFC 9110.

use crate::http::Settings;
use crate::http::script::{Script, lines};
use crate::model::conn::{Direction, Protocol};
use crate::model::exchange::Incomplete;
use crate::model::loss::Loss;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(path: &str) -> String {
    format!("GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn one_exchange() {
    let mut script = Script::new(false);
    script.up("POST /p HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\nabc").down(OK);
    assert_eq!(lines(script.close()), ["POST /p|abc -> 200|ok"]);
    let exchange = &script.sink.exchanges[0];
    assert_eq!((exchange.protocol, exchange.ordinal, exchange.outgoing, exchange.pid), (Protocol::Http1, 0, true, 7));
    let (request, response) = (exchange.request.as_ref().unwrap(), exchange.response.as_ref().unwrap());
    assert_eq!((request.authority.as_deref(), response.reason.as_ref()), (Some("example.org"), &b"OK"[..]));
    assert!(request.ended < response.ended);
    assert!(script.sink.losses.is_empty());
    assert_eq!(script.http.protocol(), Protocol::Http1, "after its close, too");
}

#[test]
fn a_server_is_asked() {
    let mut script = Script::new(false);
    script.down(GET).up(OK);
    assert_eq!(lines(script.close()), ["GET /a| -> 200|ok"]);
    assert!(!script.sink.exchanges[0].outgoing);
}

#[test]
fn keep_alive_and_pipelining() {
    let mut script = Script::new(false);
    script.up([get("1"), get("2")].concat()).down([ok("one"), ok("two")].concat()).up(get("3")).down(ok("three"));
    assert_eq!(lines(script.close()), ["GET /1| -> 200|one", "GET /2| -> 200|two", "GET /3| -> 200|three"]);
}

#[test]
fn heads_split_at_every_byte() {
    let mut script = Script::new(false);
    get("1").bytes().for_each(|b| {
        script.up([b]);
    });
    ok("one").bytes().for_each(|b| {
        script.down([b]);
    });
    assert_eq!(lines(script.close()), ["GET /1| -> 200|one"]);
}

#[test]
fn informational_answers_come_before_the_final_one() {
    let mut script = Script::new(false);
    script
        .up("PUT / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        .down("HTTP/1.1 100 Continue\r\n\r\n");
    script.up("x").down(format!("HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n{OK}"));
    assert_eq!(lines(script.close()), ["PUT /|x -> 100 103 200|ok"]);
}

#[test]
fn a_refusal_may_come_behind_the_size_of_a_chunk() {
    let mut script = Script::new(false);
    script.up("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n").up("5\r\n");
    script.down("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n").up("hello\r\n0\r\n\r\n").up(GET).down(OK);
    assert_eq!(lines(script.close()), ["PUT /a|hello -> 417|", "GET /a| -> 200|ok"]);
}

#[test]
fn what_came_of_a_refused_body_stands_before_the_hole_in_it() {
    let mut script = Script::new(false);
    script.up("PUT /a HTTP/1.1\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    script.down("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n").up("abc").gap(Direction::Sent, 4).up("hij");
    let exchange = &script.close()[0];
    let body = &exchange.request.as_ref().unwrap().body;
    assert_eq!((body.missing.as_slice(), body.to_bytes()), (std::slice::from_ref(&(3..7)), "abchij".into()));
}

#[test]
fn answers_without_a_body_whatever_they_say() {
    let mut script = Script::new(false);
    script.up("HEAD / HTTP/1.1\r\n\r\n").down("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    script.up(GET).down("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n");
    script.up(GET).down("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n").up(GET).down(OK);
    let want = ["HEAD /| -> 200|", "GET /a| -> 304|", "GET /a| -> 204|", "GET /a| -> 200|ok"];
    assert_eq!(lines(script.close()), want);
}

#[test]
fn chunks_with_extensions_and_trailers() {
    let mut script = Script::new(false);
    script.up(GET).down("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n");
    script.down("4;n=\"v\"\r\nWiki\r\n5\r\npedia\r\n0\r\nChecksum: 9\r\n\r\n").up(GET).down(OK);
    assert_eq!(lines(script.close()), ["GET /a| -> 200|Wikipedia", "GET /a| -> 200|ok"]);
    let response = script.sink.exchanges[0].response.as_ref().unwrap();
    assert_eq!((response.trailers.get("checksum"), response.body.size), (Some("9"), 9));
}

#[test]
fn a_million_chunks_of_one_byte_are_one_piece() {
    let mut script = Script::new(false);
    script.up(GET).down("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunks = b"1\r\nx\r\n".repeat(1000);
    (0..1000).for_each(|_| {
        script.down(&chunks);
    });
    script.down("0\r\n\r\n").close();
    let body = &script.sink.exchanges[0].response.as_ref().unwrap().body;
    assert_eq!((body.size, body.chunks.len()), (1_000_000, 2));
}

#[test]
fn a_body_may_last_to_the_close() {
    let mut script = Script::new(false);
    script.up("GET / HTTP/1.0\r\n\r\n").down("HTTP/1.0 200 OK\r\n\r\nall ").down("of it");
    assert_eq!(lines(script.close()), ["GET /| -> 200|all of it"]);
    let mut script = Script::new(false);
    script.up("GET / HTTP/1.0\r\n\r\n").down("HTTP/1.0 200 OK\r\n\r\nall ");
    assert_eq!(lines(script.end(true)), ["GET /| -> 200|all  (still_open)"]);
}

#[test]
fn what_the_close_cuts_off() {
    let mut script = Script::new(false);
    script.up([get("1"), get("2")].concat()).down("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    assert_eq!(lines(script.close()), ["GET /1| -> 200|half (closed_early)", "GET /2| -> - (no_response)"]);
    let mut script = Script::new(false);
    script.up("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf");
    assert_eq!(lines(script.close()), ["PUT /|half -> - (closed_early)"]);
    let mut script = Script::new(false);
    script.up("GET / HTTP/1.1\r\nHost");
    assert!(script.close().is_empty());
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), 20);
}

#[test]
fn an_answer_may_come_before_the_request_ended() {
    let mut script = Script::new(false);
    script.up("PUT / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc").down("HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n");
    assert!(script.sink.exchanges.is_empty());
    script.up("def").up(GET).down(OK);
    assert_eq!(lines(script.close()), ["PUT /|abcdef -> 413|", "GET /a| -> 200|ok"]);
}

#[test]
fn a_response_seen_before_its_request_waits_for_it() {
    let mut script = Script::new(false);
    script.down(ok("1")).down(ok("2")).wait(10).up(get("1")).up(get("2"));
    assert_eq!(lines(script.close()), ["GET /1| -> 200|1", "GET /2| -> 200|2"]);
}

#[test]
fn so_does_one_of_megabytes() {
    let mut script = Script::new(false);
    let piece = [b'b'; 4096];
    script.down(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 3 << 20));
    for _ in 0..(3 << 20) / piece.len() {
        script.down(piece);
    }
    let ended = script.wait(10).up(get("1")).close();
    let [one] = ended else { panic!("{} exchanges", ended.len()) };
    assert!(one.request.is_some() && one.response.is_some() && one.incomplete.is_none(), "{:?}", one.incomplete);
}

#[test]
fn but_not_for_long() {
    let mut script = Script::new(false);
    script.up(GET).down(OK).down("HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n").wait(100);
    assert_eq!(script.sink.exchanges.len(), 1);
    script.wait(100);
    assert_eq!(lines(&script.sink.exchanges), ["GET /a| -> 200|ok", "- -> 408| (no_request)"]);
    script.close();
}

#[test]
fn connect_and_upgrade_make_a_tunnel() {
    let mut script = Script::new(false);
    script.up("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n").down("HTTP/1.1 200 Connection established\r\n\r\n");
    script.up("\x16\x03hello").down("\x16\x03there").up("GET / HTTP/1.1\r\n\r\n");
    let want = ["CONNECT h:443|\u{16}\u{3}helloGET / HTTP/1.1\r\n\r\n -> 200|\u{16}\u{3}there"];
    assert_eq!(lines(script.close()), want);
    let mut script = Script::new(false);
    script.up("GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").up("early");
    script.down("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nframes").up(" late");
    assert_eq!(lines(script.close()), ["GET /ws|early late -> 101|frames"]);
}

#[test]
fn a_refused_upgrade_goes_on() {
    let mut script = Script::new(false);
    script.up("GET /1 HTTP/1.1\r\nUpgrade: h2c\r\n\r\n").up(get("2")).down(ok("1")).down(ok("2"));
    assert_eq!(lines(script.close()), ["GET /1| -> 200|1", "GET /2| -> 200|2"]);
}

#[test]
fn lengths_that_agree_and_lengths_that_do_not() {
    let mut script = Script::new(false);
    script.up(GET).down(OK).up(GET).down("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok");
    script.up(get("b")).down("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok?");
    script.up(get("c")).down(OK);
    let want = ["GET /a| -> 200|ok", "GET /a| -> 200|ok", "GET /b| -> 200| (unparsed)", "GET /c| -> 200|ok"];
    assert_eq!(lines(script.close()), want);
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), 3);
}

#[test]
fn empty_lines_bare_line_feeds_and_folds() {
    let mut script = Script::new(false);
    script.up("\r\n\r\nGET /1 HTTP/1.1\nHost: h\n\n\r\nGET /2 HTTP/1.1\r\nX: a\r\n b\r\n\r\n");
    script.down("HTTP/1.1 200\nContent-Length: 1\n\n1\r\n").down(ok("2"));
    assert_eq!(lines(script.close()), ["GET /1| -> 200|1", "GET /2| -> 200|2"]);
}

#[test]
fn a_hole_in_a_body_of_known_length_is_a_range() {
    let mut script = Script::new(false);
    script.up(get("1")).down("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab").gap(Direction::Received, 5).down("hij");
    script.up(get("2")).down(ok("2"));
    assert_eq!(lines(script.close()), ["GET /1| -> 200|abhij (bytes_lost)", "GET /2| -> 200|2"]);
    let body = &script.sink.exchanges[0].response.as_ref().unwrap().body;
    assert_eq!((body.size, body.missing.as_slice()), (10, std::slice::from_ref(&(2..7))));
    assert_eq!(script.sink.losses.bytes(Loss::RingFull), 5);
}

/// RFC 9112 §7.1: the data of a chunk, and the line end after it.
#[test]
fn a_hole_to_the_end_of_a_chunk_is_a_range() {
    let after = |hole: u64, rest: &'static str| {
        let mut script = Script::new(false);
        script.up(get("1")).down("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nab");
        script.gap(Direction::Received, hole).down(rest).up(get("2")).down(ok("2"));
        let told = lines(script.close());
        let body = &script.sink.exchanges[0].response.as_ref().unwrap().body;
        (told, body.size, body.missing.clone())
    };
    let (told, size, missing) = after(10, "2\r\nkl\r\n0\r\n\r\n");
    assert_eq!(told, ["GET /1| -> 200|abkl (bytes_lost)", "GET /2| -> 200|2"]);
    assert_eq!((size, missing.as_slice()), (12, std::slice::from_ref(&(2..10))));
    let (told, size, _) = after(9, "\n2\r\nkl\r\n0\r\n\r\n");
    assert_eq!(
        (told[0].as_str(), size),
        ("GET /1| -> 200|ab (bytes_lost)", 10),
        "in the middle of framing it is the end"
    );
}

/// A hole takes a whole request: its response must not be paired with the next one; pairing resumes as soon as order is certain.
#[test]
fn after_a_hole_in_requests_nothing_is_paired_wrongly() {
    let mut script = Script::new(false);
    for n in 1..=3 {
        script.up(get(&n.to_string())).down(ok(&n.to_string()));
    }
    script.gap(Direction::Sent, 28).down(ok("4")).up(get("5")).down(ok("5"));
    let want =
        ["GET /1| -> 200|1", "GET /2| -> 200|2", "GET /3| -> 200|3", "- -> 200|4 (bytes_lost)", "GET /5| -> 200|5"];
    assert_eq!(lines(script.close()), want);
}

#[test]
fn after_a_hole_among_pipelined_requests_there_are_halves_only() {
    let mut script = Script::new(false);
    script.up(get("1")).gap(Direction::Sent, 28).up(get("3")).down([ok("1"), ok("2"), ok("3")].concat());
    let want = ["GET /3| -> - (bytes_lost)", "GET /1| -> 200|1", "- -> 200|2 (bytes_lost)", "- -> 200|3 (bytes_lost)"];
    assert_eq!(lines(script.close()), want);
}

#[test]
fn a_hole_in_a_response_head_costs_that_response() {
    let mut script = Script::new(false);
    for n in 1..=3 {
        script.up(get(&n.to_string())).down(ok(&n.to_string()));
    }
    script.up(get("4")).down("HTTP/1.1 200 OK\r\nConte").gap(Direction::Received, 14).down("\r\nbody");
    script.up(get("5")).down(ok("5"));
    assert_eq!(lines(&script.close()[3..]), ["GET /4| -> - (bytes_lost)", "GET /5| -> 200|5"]);
}

#[test]
fn joined_in_the_middle_of_a_response() {
    let mut script = Script::new(true);
    script.down("the rest of a body\nof some length").up(get("1")).down(ok("1")).up(get("2")).down(ok("2"));
    assert_eq!(lines(script.close()), ["GET /1| -> 200|1", "GET /2| -> 200|2"]);
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), 33);
}

#[test]
fn joined_before_a_response_whose_request_was_not_seen() {
    let mut script = Script::new(true);
    script.down(ok("0")).up(get("1")).down(ok("1"));
    assert_eq!(lines(script.close()), ["- -> 200|0 (joined_late)", "GET /1| -> 200|1"]);
    assert!(script.sink.losses.is_empty(), "joined between two messages, nothing is lost");
    assert_eq!(script.http.protocol(), Protocol::Http1, "also when it is over");
}

#[test]
fn joined_between_two_messages_nothing_is_lost() {
    let mut script = Script::new(true);
    script.up(get("1")).down(ok("1"));
    assert_eq!(lines(script.close()), ["GET /1| -> 200|1"]);
    assert!(script.sink.losses.is_empty(), "{:?}", script.sink.losses);
}

#[test]
fn joined_in_the_middle_of_a_request_body() {
    let mut script = Script::new(true);
    script.up("}]}POST /1 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx").down(ok("1"));
    assert_eq!(lines(script.close()), ["POST /1|x -> 200|1"]);
}

#[test]
fn a_start_line_in_a_body_does_not_tell_who_asks() {
    let logged = "{\"log\":\"it said HTTP/1.1 502 Bad Gateway\"}\n{\"log\":1}\n";
    for body in [logged, "< HTTP/1.1 200 OK\r\n< Server: s\r\n"] {
        let mut script = Script::new(true);
        script.up(body).up(get("1")).down(ok("1"));
        assert_eq!(lines(script.close()), ["GET /1| -> 200|1"]);
    }
    let mut script = Script::new(true);
    script.down("GET /logged HTTP/1.1\n").down("\"quoted\"\n").up(get("1")).down(ok("1"));
    assert_eq!(lines(script.close()), ["GET /1| -> 200|1"]);
}

#[test]
fn trailers_that_cannot_be_read_are_missing_and_said_to_be() {
    let mut script = Script::new(false);
    script.up(GET).down(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nno field\r\nX : y\r\nC: d\r\n\r\n",
    );
    script.up(GET).down(OK);
    assert_eq!(lines(script.close()), ["GET /a| -> 200|x (unparsed)", "GET /a| -> 200|ok"]);
    let trailers = &script.sink.exchanges[0].response.as_ref().unwrap().trailers;
    assert_eq!((trailers.get("a"), trailers.get("c"), trailers.0.len()), (Some("b"), Some("d"), 2));
}

#[test]
fn a_bad_message_does_not_cost_the_connection() {
    let mut script = Script::new(false);
    for n in 1..=3 {
        script.up(get(&n.to_string())).down(ok(&n.to_string()));
    }
    script.up("G\0T / HTTP/1.1\r\nHost: h\r\n\r\n").down(ok("bad")).up(get("4")).down(ok("4"));
    assert_eq!(lines(&script.close()[3..]), ["- -> 200|bad (unparsed)", "GET /4| -> 200|4"]);
}

#[test]
fn a_head_above_the_limit_is_skipped_under_its_name() {
    let mut script = Script::with(Settings { head_limit: 100, ..Settings::default() }, false);
    script.up(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200)));
    script.close();
    assert_eq!(script.sink.losses.bytes(Loss::HeadLimit), 100);
}

#[test]
fn too_many_requests_in_flight() {
    let mut script = Script::with(Settings { max_in_flight: 2, ..Settings::default() }, false);
    script.up([get("1"), get("2"), get("3")].concat()).down([ok("1"), ok("2"), ok("3")].concat());
    script.up(get("4")).down(ok("4"));
    let three = ["GET /3| -> - (limit)", "GET /1| -> 200|1", "GET /2| -> 200|2", "- -> 200|3 (limit)"];
    assert_eq!(lines(&script.close()[..4]), three);
    assert_eq!(
        lines(&script.sink.exchanges[4..]),
        ["GET /4| -> 200|4"],
        "as many answers came as requests were left out"
    );
    assert_eq!(script.sink.losses.count(Loss::PipelineLimit), 1);
}

#[test]
fn something_else_is_only_counted() {
    let mut script = Script::new(false);
    script.up("EHLO mail\r\n").down("250 hello\r\n");
    assert!(!script.http.may_be_http());
    assert!(script.close().is_empty());
    assert_eq!(script.sink.losses.bytes(Loss::Unparsed), 22);
}

#[test]
fn a_request_waits_no_longer_than_its_reason() {
    let mut script = Script::new(false);
    script.up(GET);
    let exchange = &script.end(true)[0];
    assert_eq!(exchange.incomplete, Some(Incomplete::StillOpen));
}

#[test]
fn a_response_without_request_may_have_answered_a_head() {
    for size in [1, 3, 1000] {
        let mut script = Script::new(true);
        let answers = ["HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_owned(), ok("1")].concat();
        let (head, rest) = answers.split_at(41);
        script.down(head).up(get("1"));
        rest.as_bytes().chunks(size).for_each(|piece| {
            script.down(piece);
        });
        assert_eq!(lines(script.close()), ["- -> 200| (joined_late)", "GET /1| -> 200|1"]);
    }
    let mut script = Script::new(true);
    script.down("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nHT").down("ML").up(get("1")).down(ok("1"));
    assert_eq!(lines(script.close()), ["- -> 200|HTML (joined_late)", "GET /1| -> 200|1"]);
}

/// The hole that took a response is reported before its request (two threads, two records): the next response answers another request.
#[test]
fn a_client_that_waits_is_known_as_one_however_often_an_answer_is_lost() {
    let mut script = Script::new(false);
    let mut lost = 0;
    for n in 0..100 {
        script.up(get(&n.to_string()));
        // The ring was full: the hole is reported before the next response, when the next request has been seen.
        if n % 5 == 4 {
            lost = ok(&n.to_string()).len() as u64;
            continue;
        }
        if lost > 0 {
            script.gap(Direction::Received, std::mem::take(&mut lost));
        }
        script.down(ok(&n.to_string()));
    }
    let exchanges = script.close();
    let whole = exchanges.iter().filter(|exchange| exchange.incomplete.is_none()).count();
    assert_eq!(whole, 3 * 20 + 1, "all but that whose answer was lost, and the next");
    for line in lines(exchanges) {
        let paired = line.split_once(" -> ").filter(|(asked, answer)| *asked != "-" && answer.starts_with("200"));
        if let Some((asked, answer)) = paired {
            let number = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
            assert_eq!(format!("200{}", number(asked)), number(answer), "{line}");
        }
    }
}

#[test]
fn a_hole_told_before_the_request_it_concerns() {
    let mut script = Script::new(false);
    for n in 1..=3 {
        script.up(get(&n.to_string())).down(ok(&n.to_string()));
    }
    script.gap(Direction::Received, 39).up(get("4")).up(get("5")).down(ok("5")).up(get("6")).down(ok("6"));
    let want =
        ["GET /4| -> - (bytes_lost)", "GET /5| -> - (bytes_lost)", "- -> 200|5 (bytes_lost)", "GET /6| -> 200|6"];
    assert_eq!(lines(&script.close()[3..]), want);
}

/// Two requests are always in progress; a hole takes one. From outside the client seems to wait.
#[test]
fn a_client_that_pipelines_is_never_taken_for_one_that_waits() {
    let mut script = Script::new(false);
    script.up([get("1"), get("2")].concat());
    for n in 1..40 {
        script.down(ok(&n.to_string()));
        if n == 2 {
            script.gap(Direction::Sent, 28);
        } else {
            script.up(get(&(n + 2).to_string()));
        }
    }
    let pairs = script.close().iter().filter(|e| e.request.is_some() && e.response.is_some());
    assert_eq!(
        pairs.map(crate::http::script::line).collect::<Vec<_>>(),
        ["GET /1| -> 200|1", "GET /2| -> 200|2", "GET /3| -> 200|3"]
    );
}

#[test]
fn an_answer_lost_while_its_request_is_still_sent_is_not_the_next_one() {
    let mut script = Script::new(false);
    script.up("POST /0 HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").gap(Direction::Received, 30).down(ok("1"));
    script.up("defghi").up(get("1"));
    for exchange in script.close() {
        assert!(
            exchange.request.is_none() || exchange.response.is_none(),
            "{:?}",
            lines(std::slice::from_ref(exchange))
        );
    }
}

#[test]
fn an_answer_without_a_request_takes_certainty_from_those_after_it() {
    let mut script = Script::new(false);
    script.up(get("0")).down(ok("0")).down(ok("1")).wait(500).wait(500);
    script.up(get("1")).down(ok("2")).up(get("2"));
    assert_eq!(lines(&script.close()[..2]), ["GET /0| -> 200|0", "- -> 200|1 (no_request)"]);
    for exchange in &script.sink.exchanges[2..] {
        assert!(
            exchange.request.is_none() || exchange.response.is_none(),
            "{:?}",
            lines(std::slice::from_ref(exchange))
        );
    }
}
