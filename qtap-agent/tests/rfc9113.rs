//! RFC 9113 from outside: what two ends say in HTTP/2, and what qtap reports. The rows are written from its text; each is also passed in pieces of
//! one and of seven bytes. `docs/http.md` is the readable version.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod talk;

use std::sync::Arc;

use qtap_agent::http::Settings;
use qtap_agent::model::conn::Protocol;
use qtap_agent::model::exchange::HttpExchange;
use talk::frames::*;
use talk::{Case, Say, check, hear, say};

fn usual() -> Arc<Settings> {
    Arc::new(Settings::default())
}

/// The first exchange of a row.
fn first(said: &[Vec<u8>]) -> HttpExchange {
    hear(&row("", "", said, &[]).said).exchanges.remove(0)
}

#[test]
fn sections_4_and_6_frames_in_each_direction() {
    let up = [ask(1, "/a"), frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]), frame(PING, 0, 0, b"12345678")].concat();
    let padded = |kind, flags, stream, octets: &[u8], padding: u8| {
        frame(kind, flags | PADDED, stream, &[&[padding], octets, &vec![0; usize::from(padding)]].concat())
    };
    let with_priority =
        frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, &[&[0x80, 0, 0, 0, 15][..], &get("/a")].concat());
    let both = frame(
        HEADERS,
        END_HEADERS | END_STREAM | WITH_PRIORITY | PADDED,
        1,
        &[&[3, 0, 0, 0, 0, 15][..], &get("/a"), &[0; 3]].concat(),
    );
    let one = &["GET /a| -> 200|ok"][..];
    let cases = [
        row("8.1", "a request and its response", &[up.clone(), answer(1, b"ok")], one),
        row(
            "6.1",
            "a body in several frames, one of them empty",
            &[
                up.clone(),
                [
                    frame(HEADERS, 4, 1, OK),
                    frame(DATA, 0, 1, b"o"),
                    frame(DATA, 0, 1, b""),
                    frame(DATA, 0, 1, b"k"),
                    frame(DATA, 1, 1, b""),
                ]
                .concat(),
            ],
            one,
        ),
        row(
            "6.1",
            "padded data",
            &[
                up.clone(),
                [frame(HEADERS, 4, 1, OK), padded(DATA, 0, 1, b"o", 0), padded(DATA, 1, 1, b"k", 255)].concat(),
            ],
            one,
        ),
        row(
            "6.1",
            "nothing but padding",
            &[
                up.clone(),
                [frame(HEADERS, 4, 1, OK), padded(DATA, 0, 1, b"", 7), padded(DATA, 1, 1, b"ok", 7)].concat(),
            ],
            one,
        ),
        row("6.2", "padded headers", &[padded(HEADERS, 5, 1, &get("/a"), 100), answer(1, b"ok")], one),
        row("6.2", "headers with a priority", &[with_priority, answer(1, b"ok")], one),
        row("6.2", "both", &[both, answer(1, b"ok")], one),
        row(
            "6.3",
            "PRIORITY, before the stream and after it",
            &[
                [frame(PRIORITY, 0, 1, &[0; 5]), ask(1, "/a"), frame(PRIORITY, 0, 1, &[0; 5])].concat(),
                answer(1, b"ok"),
                frame(PRIORITY, 0, 1, &[0; 5]),
            ],
            one,
        ),
        row(
            "6.5",
            "SETTINGS and its acknowledgement",
            &[
                [
                    frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1, 0, 0x99, 0, 0, 0, 1]),
                    frame(SETTINGS, 1, 0, &[]),
                    ask(1, "/a"),
                ]
                .concat(),
                [frame(SETTINGS, 1, 0, &[]), answer(1, b"ok")].concat(),
            ],
            one,
        ),
        row(
            "6.7",
            "PING between the frames of a message",
            &[
                up.clone(),
                [frame(HEADERS, 4, 1, OK), frame(PING, 1, 0, b"12345678"), frame(DATA, 1, 1, b"ok")].concat(),
            ],
            one,
        ),
        row(
            "4.1",
            "a kind of frame that nobody knows is passed over",
            &[
                [frame(0xbb, 0xff, 1, b"what"), ask(1, "/a"), frame(0xfa, 0, 0, b"")].concat(),
                [frame(0x0a, 0, 0, b"alt-svc"), answer(1, b"ok")].concat(),
            ],
            one,
        ),
        row(
            "4.1",
            "flags that mean nothing",
            &[
                frame(HEADERS, 0xd2 | 5, 1, &get("/a")).clone(),
                [frame(HEADERS, 0xd2 | 4, 1, OK), frame(DATA, 0xf6 | 1, 1, b"ok")].concat(),
            ],
            one,
        ),
        row(
            "4.1",
            "the reserved bit of a stream",
            &[frame(HEADERS, 5, 0x8000_0001, &get("/a")), answer(1, b"ok")],
            one,
        ),
        row(
            "6.9",
            "WINDOW_UPDATE of a stream",
            &[[ask(1, "/a"), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 1, 0])].concat(), answer(1, b"ok")],
            one,
        ),
    ];
    // A flag defined for another frame type must not be read as PADDED; rows with undefined flags leave that bit out.
    check(&cases, &usual());
}

#[test]
fn section_4_3_and_6_10_header_blocks() {
    let block = [get("/a"), literal("x", "y")].concat();
    let train = |flags: u8| {
        let mut frames = frame(HEADERS, flags, 1, &block[..1]);
        for octet in &block[1..] {
            frames.extend(frame(CONTINUATION, 0, 1, &[*octet]));
        }
        frames.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
        frames
    };
    let one = &["GET /a| -> 200|ok"][..];
    let early_end = [frame(HEADERS, 0, 1, OK), frame(CONTINUATION, 4, 1, &[]), frame(DATA, 1, 1, b"ok")].concat();
    let trailers = [
        frame(HEADERS, 4, 1, OK),
        frame(DATA, 0, 1, b"ok"),
        frame(HEADERS, END_STREAM, 1, &literal("t", "")[..2]),
        frame(CONTINUATION, END_HEADERS, 1, &literal("t", "")[2..]),
    ]
    .concat();
    let cases = [
        row("6.10", "a train of CONTINUATION frames of one octet", &[train(END_STREAM), answer(1, b"ok")], one),
        row("6.10", "END_STREAM stands on HEADERS, END_HEADERS at the end", &[ask(1, "/a"), early_end], one),
        row("6.10", "trailers that are continued", &[ask(1, "/a"), trailers], one),
        row(
            "6.2",
            "an empty HEADERS frame, continued",
            &[
                [frame(HEADERS, END_STREAM, 1, &[]), frame(CONTINUATION, END_HEADERS, 1, &block)].concat(),
                answer(1, b"ok"),
            ],
            one,
        ),
    ];
    check(&cases, &usual());
    let exchange = first(&[train(END_STREAM), answer(1, b"ok")]);
    assert_eq!(exchange.request.unwrap().fields.get("x"), Some("y"));
}

#[test]
fn section_8_messages() {
    let informational = |status: &str| frame(HEADERS, 4, 1, &[vec![0x08], string(status)].concat());
    let post = frame(HEADERS, 4, 1, &[vec![0x83, 0x86, 0x04], string("/p")].concat());
    let with_trailers = |flags| {
        [frame(HEADERS, 4, 1, OK), frame(DATA, flags, 1, b"ok"), frame(HEADERS, 5, 1, &literal("x-end", "1"))].concat()
    };
    let cases = [
        row("8.1", "no body in either", &[ask(1, "/a"), frame(HEADERS, 5, 1, OK)], &["GET /a| -> 200|"]),
        row("8.1", "trailers", &[ask(1, "/a"), with_trailers(0)], &["GET /a| -> 200|ok"]),
        row(
            "8.1",
            "trailers that do not end the stream",
            &[
                ask(1, "/a"),
                [
                    frame(HEADERS, 4, 1, OK),
                    frame(DATA, 0, 1, b"ok"),
                    frame(HEADERS, 4, 1, &literal("x-end", "1")),
                    frame(DATA, 1, 1, b""),
                ]
                .concat(),
            ],
            &["GET /a| -> 200|ok (unparsed)"],
        ),
        row(
            "8.1",
            "a request with a body and trailers",
            &[
                [post.clone(), frame(DATA, 0, 1, b"abc"), frame(HEADERS, 5, 1, &literal("t", "t"))].concat(),
                answer(1, b"ok"),
            ],
            &["POST /p|abc -> 200|ok"],
        ),
        row(
            "8.1",
            "informational answers",
            &[ask(1, "/a"), [informational("100"), informational("103"), answer(1, b"ok")].concat()],
            &["GET /a| -> 100 103 200|ok"],
        ),
        row(
            "8.1",
            "the answer before the request ended",
            &[[post.clone(), frame(DATA, 0, 1, b"a")].concat(), answer(1, b"no"), frame(DATA, 1, 1, b"bc")],
            &["POST /p|abc -> 200|no"],
        ),
        row(
            "8.1",
            "an answer, then RST_STREAM(NO_ERROR) for the rest of the request",
            &[
                [post.clone(), frame(DATA, 0, 1, b"a")].concat(),
                [answer(1, b"no"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 0])].concat(),
            ],
            &["POST /p|a -> 200|no"],
        ),
        row(
            "8.5",
            "CONNECT: bytes of a tunnel are bodies",
            &[
                [
                    frame(HEADERS, 4, 1, &[vec![0x02], string("CONNECT"), vec![0x01], string("h:80")].concat()),
                    frame(DATA, 0, 1, b"hello"),
                ]
                .concat(),
                [frame(HEADERS, 4, 1, OK), frame(DATA, 1, 1, b"there")].concat(),
                frame(DATA, 1, 1, b"!"),
            ],
            &["CONNECT h:80|hello! -> 200|there"],
        ),
        row(
            "8.3",
            "a response to HEAD has a length and no body",
            &[
                frame(HEADERS, 5, 1, &[vec![0x02], string("HEAD"), vec![0x86, 0x84]].concat()),
                frame(HEADERS, 5, 1, &[OK, &[0x0f, 0x0d], &string("9")].concat()),
            ],
            &["HEAD /| -> 200|"],
        ),
    ];
    check(&cases, &usual());
    let response = first(&[ask(1, "/a"), with_trailers(0)]).response.unwrap();
    assert_eq!((response.trailers.get("x-end"), response.fields.0.len()), (Some("1"), 0));
    let request =
        first(&[frame(HEADERS, 5, 1, &[vec![0x82, 0x87, 0x84, 0x01], string("example.org")].concat()), answer(1, b"")])
            .request
            .unwrap();
    assert_eq!((request.scheme.as_deref(), request.authority.as_deref()), (Some("https"), Some("example.org")));
}

#[test]
fn section_8_4_push() {
    let promise = frame(PUSH_PROMISE, END_HEADERS, 1, &[&2u32.to_be_bytes()[..], &get("/style.css")].concat());
    let padded = frame(
        PUSH_PROMISE,
        END_HEADERS | PADDED,
        1,
        &[&[2][..], &2u32.to_be_bytes(), &get("/style.css"), &[0, 0]].concat(),
    );
    let split = [
        frame(PUSH_PROMISE, 0, 1, &[&2u32.to_be_bytes()[..], &get("/style.css")[..2]].concat()),
        frame(CONTINUATION, 4, 1, &get("/style.css")[2..]),
    ]
    .concat();
    let both = &["GET /a| -> 200|ok", "GET /style.css| -> 200|css"][..];
    let cases = [
        row(
            "8.4",
            "a promise is a request, its stream the answer",
            &[ask(1, "/a"), [promise.clone(), answer(1, b"ok"), answer(2, b"css")].concat()],
            both,
        ),
        row("6.6", "padded", &[ask(1, "/a"), [padded, answer(1, b"ok"), answer(2, b"css")].concat()], both),
        row("6.6", "continued", &[ask(1, "/a"), [split, answer(1, b"ok"), answer(2, b"css")].concat()], both),
        row(
            "8.4",
            "refused by the client",
            &[ask(1, "/a"), promise, frame(RST_STREAM, 0, 2, &[0, 0, 0, 8]), answer(1, b"ok")],
            &["GET /style.css| -> - (reset)", "GET /a| -> 200|ok"],
        ),
    ];
    check(&cases, &usual());
}

#[test]
fn section_5_streams_that_end_early() {
    let reset = |stream, code: u8| frame(RST_STREAM, 0, stream, &[0, 0, 0, code]);
    let half = [frame(HEADERS, 4, 1, OK), frame(DATA, 0, 1, b"half")].concat();
    let length = [OK.to_vec(), indexed("content-length", "4")].concat();
    let sized = [frame(HEADERS, 4, 1, &length), frame(DATA, 0, 1, b"half")].concat();
    let go_away = |last: u32| frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &[0, 0, 0, 0], b"debug"].concat());
    let cases = [
        row("5.4", "reset by the client", &[[ask(1, "/a"), reset(1, 8)].concat()], &["GET /a| -> - (reset)"]),
        row("5.4", "reset by the server", &[ask(1, "/a"), reset(1, 7)], &["GET /a| -> - (reset)"]),
        row(
            "5.4",
            "reset in the middle of a body",
            &[ask(1, "/a"), [half.clone(), reset(1, 2)].concat()],
            &["GET /a| -> 200|half (reset)"],
        ),
        row(
            "5.1",
            "what comes for a stream that was reset is no exchange, and the next is whole",
            &[
                [ask(1, "/a"), reset(1, 8), ask(3, "/b")].concat(),
                [frame(HEADERS, 4, 1, OK), frame(DATA, 1, 1, b""), answer(3, b"ok")].concat(),
            ],
            &["GET /a| -> - (reset)", "GET /b| -> 200|ok"],
        ),
        row(
            "5.1",
            "RST_STREAM after both ends",
            &[ask(1, "/a"), [answer(1, b"ok"), reset(1, 0)].concat(), reset(1, 8)],
            &["GET /a| -> 200|ok"],
        ),
        row(
            "6.8",
            "GOAWAY: streams above the last one were not processed",
            &[
                [ask(1, "/a"), ask(3, "/b"), ask(5, "/c")].concat(),
                [go_away(3), answer(1, b"1"), answer(3, b"2")].concat(),
            ],
            &["GET /c| -> - (reset)", "GET /a| -> 200|1", "GET /b| -> 200|2"],
        ),
        row(
            "6.8",
            "GOAWAY with the highest id: nothing ends",
            &[
                [ask(1, "/a"), ask(3, "/b")].concat(),
                [go_away(0x7fff_ffff), answer(3, b"2"), go_away(3), answer(1, b"1")].concat(),
            ],
            &["GET /b| -> 200|2", "GET /a| -> 200|1"],
        ),
        row(
            "6.8",
            "the client's GOAWAY",
            &[[ask(1, "/a"), go_away(0)].concat(), answer(1, b"ok")],
            &["GET /a| -> 200|ok"],
        ),
        row("5.1", "the connection closes first", &[ask(1, "/a"), half], &["GET /a| -> 200|half (closed_early)"]),
        row(
            "8.1.1",
            "the connection closes on content of its declared length",
            &[ask(1, "/a"), sized.clone()],
            &["GET /a| -> 200|half"],
        ),
        row(
            "8.1.1",
            "CANCEL on content of its declared length",
            &[ask(1, "/a"), sized, reset(1, 8)],
            &["GET /a| -> 200|half"],
        ),
    ];
    check(&cases, &usual());
}

#[test]
fn section_5_hundreds_of_streams_at_once() {
    let ids: Vec<u32> = (0..500).map(|n| 2 * n + 1).collect();
    let asked: Vec<u8> = ids.iter().flat_map(|id| ask(*id, &format!("/{id}"))).collect();
    // Heads first, then the frames of the bodies in turn, from the last stream to the first.
    let mut told: Vec<u8> = ids
        .iter()
        .rev()
        .flat_map(|id| frame(HEADERS, 4, *id, &[OK.to_vec(), literal("id", &id.to_string())].concat()))
        .collect();
    for part in 0..3u8 {
        told.extend(
            ids.iter().rev().flat_map(|id| frame(DATA, u8::from(part == 2), *id, format!("{id}.{part} ").as_bytes())),
        );
    }
    let want: Vec<String> = ids.iter().rev().map(|id| format!("GET /{id}| -> 200|{id}.0 {id}.1 {id}.2 ")).collect();
    let case = row("5", "five hundred", &[asked, told], &want.iter().map(String::as_str).collect::<Vec<_>>());
    check(&[case], &usual());
}

#[test]
fn section_3_upgrade_to_h2c() {
    let upgrade = "GET /1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let settings = frame(SETTINGS, 0, 0, &[]);
    let first_answer = frame(HEADERS, 4, 1, OK);
    let said = vec![
        Say::Up(upgrade.into()),
        Say::Down([switching.as_bytes(), &settings, &first_answer].concat()),
        Say::Up([PREFACE, &settings, &ask(3, "/3")].concat()),
        Say::Down([frame(DATA, 1, 1, b"one"), answer(3, b"three")].concat()),
    ];
    let heard = vec!["GET /1| -> 101 200|one".to_owned(), "GET /3| -> 200|three".to_owned()];
    let refused = vec![
        Say::Up(upgrade.into()),
        say(b"< HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"),
        Say::Up(b"GET /2 HTTP/1.1\r\n\r\n".to_vec()),
        say(b"< HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
    ];
    let post = upgrade.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\na");
    let early = vec![
        Say::Up(post.into()),
        Say::Down([switching.as_bytes(), &settings, &first_answer].concat()),
        Say::Up([b"bc", PREFACE, &settings, &ask(3, "/3")].concat()),
        Say::Down([frame(DATA, 1, 1, b"one"), answer(3, b"three")].concat()),
    ];
    let heard_early = vec!["POST /1|abc -> 101 200|one".to_owned(), heard[1].clone()];
    let in_h1 = vec!["GET /1| -> 200|1".to_owned(), "GET /2| -> 200|2".to_owned()];
    let cases = [
        Case { section: "7540 3.2", what: "accepted", said, heard, lost: 0 },
        Case { section: "9110 7.8", what: "before the request has ended", said: early, heard: heard_early, lost: 0 },
        Case { section: "7540 3.2", what: "passed over", said: refused, heard: in_h1, lost: 0 },
    ];
    check(&cases, &usual());
}

#[test]
fn section_3_inside_the_tunnel_of_a_connect() {
    let connected = "HTTP/1.1 200 OK\r\n\r\n";
    let settings = frame(SETTINGS, 0, 0, &[]);
    let asked = [PREFACE, &settings, &ask(1, "/1")].concat();
    let answered = [settings.clone(), answer(1, b"one")].concat();
    let said = vec![
        Say::Up(b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n".to_vec()),
        Say::Down(connected.into()),
        Say::Up(asked.clone()),
        Say::Down(answered.clone()),
        Say::Up(ask(3, "/3")),
        Say::Down(answer(3, b"three")),
    ];
    let server_first = vec![
        Say::Up(b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n".to_vec()),
        Say::Down([connected.as_bytes(), &answered[..settings.len()]].concat()),
        Say::Up(asked),
        Say::Down(answered[settings.len()..].to_vec()),
    ];
    let heard: Vec<String> =
        ["CONNECT h:80| -> 200|", "GET /1| -> 200|one", "GET /3| -> 200|three"].map(ToOwned::to_owned).into();
    let two = heard[..2].to_vec();
    let cases = [
        Case { section: "3.3", what: "the client's preface first", said, heard, lost: 0 },
        Case { section: "3.4", what: "the server's SETTINGS first", said: server_first, heard: two, lost: 0 },
    ];
    check(&cases, &usual());
}

/// §5.1: after END_STREAM a stream is half-closed, and what comes in that direction is no part of its message.
#[test]
fn section_5_frames_behind_the_end_of_a_message() {
    let (more, trailers) = (frame(DATA, 0, 1, b"more"), frame(HEADERS, 5, 1, &indexed("x", "y")));
    let asked = [ask(1, "/a"), more.clone(), trailers.clone(), ask(3, "/b")].concat();
    let put = [frame(HEADERS, 4, 1, &get("/a")), frame(DATA, 0, 1, b"a")].concat();
    let answered = [answer(1, b"ok"), more, trailers, answer(3, b"ok")].concat();
    let plain = [answer(1, b"ok"), answer(3, b"ok")].concat();
    let last = [frame(DATA, 1, 1, b"b"), ask(3, "/b")].concat();
    let want = ["GET /a| -> 200|ok", "GET /b| -> 200|ok"];
    let cases = [
        Case { lost: 4, ..row("5.1", "in a request", &[asked.clone(), plain.clone()], &want) },
        Case {
            lost: 4,
            ..row("5.1", "in a response", &[put, answered, last], &["GET /a|ab -> 200|ok", "GET /b| -> 200|ok"])
        },
    ];
    check(&cases, &usual());
    assert_eq!(first(&[asked, plain]).request.unwrap().trailers.0.len(), 0);
}

/// RFC 3986 §3.1: a scheme is case-insensitive, and lower case when normalised.
#[test]
fn section_8_a_scheme_in_capitals() {
    let block = [vec![0x82, 0x84], literal(":scheme", "HTTPS")].concat();
    let exchange = first(&[frame(HEADERS, 5, 1, &block), answer(1, b"")]);
    assert_eq!(exchange.request.unwrap().scheme.as_deref(), Some("https"));
}

#[test]
fn grpc_is_told_by_its_content_type() {
    let grpc = |status: &[u8]| [status, &literal("content-type", "application/grpc+proto")].concat();
    let call = [
        frame(HEADERS, 4, 1, &[get("/p.S/M"), literal("content-type", "application/grpc")].concat()),
        frame(DATA, 1, 1, b"\0\0\0\0\x01a"),
    ]
    .concat();
    let told = [
        frame(HEADERS, 4, 1, &grpc(OK)),
        frame(DATA, 0, 1, b"\0\0\0\0\x01b"),
        frame(HEADERS, 5, 1, &literal("grpc-status", "0")),
    ]
    .concat();
    let exchange = first(&[call.clone(), told]);
    assert_eq!((exchange.protocol, exchange.incomplete), (Protocol::Grpc, None));
    assert_eq!(exchange.response.unwrap().trailers.get("grpc-status"), Some("0"));
    let trailers_only = frame(HEADERS, 5, 1, &[grpc(OK), literal("grpc-status", "12")].concat());
    let exchange = first(&[call, trailers_only]);
    assert_eq!((exchange.protocol, exchange.response.unwrap().fields.get("grpc-status")), (Protocol::Grpc, Some("12")));
}
