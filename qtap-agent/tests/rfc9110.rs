//! RFC 9110, as far as it says where a message ends and what comes before and after a response (§6.4, §7, §9.3, §10.1, §15), and the limits of qtap.
//! The rows are written from its text; `docs/http.md` is the readable version.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod talk;

use std::sync::Arc;

use qtap_agent::http::Settings;
use qtap_agent::model::loss::Loss;
use talk::plain::{GET, OK, ONE, request, response, usual};
use talk::{Say, case, check, hear, say, tell};

#[test]
fn section_6_the_length_of_a_body() {
    let cases = [
        case("6.3", "HEAD: no body, whatever it says", &[b"> HEAD / HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"> HEAD / HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", GET, OK], &["HEAD /| -> 200|", "HEAD /| -> 200|", ONE[0]], 0),
        response("6.3", "204", b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", "204|"),
        response("6.3", "304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", "304|"),
        response("6.3", "205 has the body that it says", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "205|"),
        response("6.3", "an error has a body", b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nwhy", "500|why"),
        case("6.3", "pipelined, with and without bodies", &[b"> HEAD / HTTP/1.1\r\n\r\nGET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3"], &["HEAD /| -> 200|", "GET /1| -> 304|", "GET /2| -> 204|", "GET /3| -> 200|3"], 0),
        case("6.3", "a response without a length: to the close", &[GET, b"< HTTP/1.1 200 OK\r\n\r\nall ", b"< of it"], &["GET /a| -> 200|all of it"], 0),
        case("6.3", "the same, empty", &[GET, b"< HTTP/1.1 200 OK\r\n\r\n"], &["GET /a| -> 200|"], 0),
        request("6.3", "a request without a length has no body", b"POST /1 HTTP/1.1\r\nHost: h\r\n\r\n", "POST /1|"),
        request("6.3", "a GET may have one", b"GET /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nxy", "GET /1|xy"),
    ];
    check(&cases, &usual());
}

/// §9.3.2, §15.4.5: "the server MUST NOT send content". Where one does, exactly as long as its fields say, it belongs to no message.
#[test]
fn section_9_content_that_nobody_is_to_send() {
    let head = b"> HEAD / HTTP/1.1\r\n\r\n";
    let mut cases = Vec::new();
    for body in ["hello", "Hello", "HTTP/", "a\n\nb\n", "<\r\n\r\n", "HTTP/1"] {
        let answer = format!("< HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
        let unchanged = format!("< HTTP/1.1 304 Not Modified\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let lost = body.len() as u64;
        cases.push(case("9.3.2", body, &[head, &answer, GET, OK], &["HEAD /| -> 200|", ONE[0]], lost));
        cases.push(case("9.3.2", body, &[head, &answer], &["HEAD /| -> 200|"], lost));
        let got = ["GET /a| -> 304|", ONE[0]];
        cases.push(case("15.4.5", body, &[GET, unchanged.as_bytes(), GET, OK], &got, lost));
        let both = [b"> HEAD / HTTP/1.1\r\n\r\n", &GET[2..]].concat();
        let answers = [&answer[..], &OK[2..]].concat();
        cases.push(case("9.3.2", "pipelined", &[&both, &answers], &["HEAD /| -> 200|", ONE[0]], lost));
    }
    let longer = b"< HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!";
    let unknown = ["HEAD /| -> 200|", "GET /a| -> - (unparsed)"];
    cases.push(case("9.3.2", "content of another length", &[head, longer, GET, OK], &unknown, 46));
    check(&cases, &usual());
}

#[test]
fn rfc9110_expectations_informational_answers_and_switches() {
    let put = b"> PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let cases = [
        case("10.1.1", "the body waits for 100", &[put, b"< HTTP/1.1 100 Continue\r\n\r\n", b"> abc", OK], &["PUT /|abc -> 100 200|ok"], 0),
        case("10.1.1", "the body does not wait", &[put, b"> abc", b"< HTTP/1.1 100 Continue\r\n\r\n", OK], &["PUT /|abc -> 100 200|ok"], 0),
        case("10.1.1", "no 100 comes", &[put, b"> abc", OK], &["PUT /|abc -> 200|ok"], 0),
        case("10.1.1", "refused, and the connection is closed", &[put, b"< HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"], &["PUT /| -> 417| (closed_early)"], 0),
        case("10.1.1", "refused, and the body comes all the same", &[put, b"< HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", b"> abc", GET, OK], &["PUT /|abc -> 417|", ONE[0]], 0),
        case("10.1.1", "refused, and the next request comes instead of the body", &[b"> PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4000\r\n\r\n", b"< HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno", GET, OK], &["PUT /| -> 417|no", ONE[0]], 0),
        case("10.1.1", "the same, of a method that nobody knows", &[b"> PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4000\r\n\r\n", b"< HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", b"> ASK /1 HTTP/1.1\r\n\r\n", OK], &["PUT /| -> 401|", "ASK /1| -> 200|ok"], 0),
        case("10.1.1", "the same, of a body in chunks", &[b"> PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n", b"< HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", GET, OK], &["PUT /| -> 417|", ONE[0]], 0),
        case("10.1.1", "refused, and a body that begins as a request might", &[b"> PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"< HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", b"> GET x", GET, OK], &["PUT /|GET x -> 417|", ONE[0]], 0),
        case("10.1.1", "the same, in chunks", &[b"> PUT / HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", b"< HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", b"> 3\r\nabc\r\n0\r\n\r\n", GET, OK], &["PUT /|abc -> 413|", ONE[0]], 0),
        case("10.1.1", "not refused, and a body that looks like a request", &[b"> PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 19\r\n\r\n", b"< HTTP/1.1 100 Continue\r\n\r\n", b"> GET /b HTTP/1.1\r\n\r\n", OK], &["PUT /|GET /b HTTP/1.1\\r\\n\\r\\n -> 100 200|ok"], 0),
        case("15.2", "several informational answers", &[GET, b"< HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n", OK], &["GET /a| -> 100 102 103 200|ok"], 0),
        case("15.2", "an informational answer with a length has no body", &[GET, b"< HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", OK], &["GET /a| -> 103 200|ok"], 0),
        case("15.2.2", "101 to something that is not known", &[b"> GET /t HTTP/1.1\r\nUpgrade: IRC/6.9\r\nConnection: Upgrade\r\n\r\n", b"< HTTP/1.1 101 Switching Protocols\r\nUpgrade: IRC/6.9\r\n\r\nNOTICE", b"> NICK"], &["GET /t|NICK -> 101|NOTICE"], 0),
        case(
            "9.3.6",
            "what a tunnel carries may begin with an empty line",
            &[
                b"> CONNECT h:80 HTTP/1.1\r\n\r\n",
                b"> \r\n\r\nhello",
                b"< HTTP/1.1 200 OK\r\n\r\n\r\nthere",
            ],
            &["CONNECT h:80|\\r\\n\\r\\nhello -> 200|\\r\\nthere"],
            0,
        ),
        case("7.8", "the protocol changes behind the request, whenever the answer comes", &[b"> POST /t HTTP/1.1\r\nUpgrade: IRC/6.9\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\na", b"< HTTP/1.1 101 Switching Protocols\r\nUpgrade: IRC/6.9\r\n\r\nNOTICE", b"> bcGET /a HTTP/1.1\r\n\r\n", OK], &["POST /t|abcGET /a HTTP/1.1\\r\\n\\r\\n -> 101|NOTICEHTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"], 0),
        case("7.8", "the same, of a request in chunks", &[b"> POST /t HTTP/1.1\r\nUpgrade: IRC/6.9\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"< HTTP/1.1 101 Switching Protocols\r\nUpgrade: IRC/6.9\r\n\r\n", b"> 0\r\n\r\n\r\nNICK"], &["POST /t|a\\r\\nNICK -> 101|"], 0),
        case("9.3.6", "a tunnel behind a CONNECT that has a body", &[b"> CONNECT h:80 HTTP/1.1\r\nContent-Length: 3\r\n\r\na", b"< HTTP/1.1 200 OK\r\n\r\n220 mail\r\n", b"> bcEHLO me\r\n"], &["CONNECT h:80|abcEHLO me\\r\\n -> 200|220 mail\\r\\n"], 0),
        case("7.8", "an upgrade that is passed over", &[b"> GET /1 HTTP/1.1\r\nUpgrade: IRC/6.9\r\n\r\nGET /a HTTP/1.1\r\n\r\n", OK, OK], &["GET /1| -> 200|ok", ONE[0]], 0),
        case("9.3.6", "CONNECT: 2xx makes a tunnel", &[b"> CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", b"< HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"> EHLO me\r\n", b"< 250 you\r\n"], &["CONNECT h:80|EHLO me\\r\\n -> 200|250 you\\r\\n"], 0),
        case("9.3.6", "HTTP in the clear inside a tunnel", &[b"> CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", b"< HTTP/1.1 200 OK\r\n\r\n", GET, OK, GET, OK], &["CONNECT h:80| -> 200|", ONE[0], ONE[0]], 0),
        case("9.3.6", "HTTP inside a tunnel, the request with the CONNECT", &[b"> CONNECT h:80 HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\n\r\n", OK], &["CONNECT h:80| -> 200|", ONE[0]], 0),
        case("9.3.6", "a tunnel inside a tunnel", &[b"> CONNECT h:80 HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\n\r\n", b"> CONNECT i:443 HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\n\r\n", b"> \x16\x03", b"< \x16\x03"], &["CONNECT h:80| -> 200|", "CONNECT i:443|\\x16\\x03 -> 200|\\x16\\x03"], 0),
        case("9.3.6", "a tunnel in which the server speaks first", &[b"> CONNECT h:25 HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\n\r\n", b"< 220 mail\r\n", b"> EHLO me\r\n"], &["CONNECT h:25|EHLO me\\r\\n -> 200|220 mail\\r\\n"], 0),
        case("9.3.6", "a tunnel that nobody uses", &[b"> CONNECT h:80 HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\n\r\n"], &["CONNECT h:80| -> 200|"], 0),
        case("9.3.6", "CONNECT: refused, then again", &[b"> CONNECT h:80 HTTP/1.1\r\n\r\n", b"< HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno", b"> CONNECT h:80 HTTP/1.1\r\n\r\n", b"< HTTP/1.1 200 OK\r\n\r\n", b"> \x16\x03", b"< \x16\x03"], &["CONNECT h:80| -> 407|no", "CONNECT h:80|\\x16\\x03 -> 200|\\x16\\x03"], 0),
        case("7.5", "an early answer while the body goes on", &[b"> PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"< HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno", b"> 1\r\nb\r\n0\r\n\r\n", GET, OK], &["PUT /|ab -> 400|no", ONE[0]], 0),
    ];
    check(&cases, &usual());
}

#[test]
fn limits_have_names() {
    let small = Arc::new(Settings { head_limit: 200, ..Settings::default() });
    let x = "x".repeat(300);
    let requests = [
        format!("GET /{x} HTTP/1.1\r\nHost: h\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nX: {x}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(60)),
    ];
    for request in requests {
        let said = [
            say(GET),
            say(OK),
            say(GET),
            say(OK),
            say(GET),
            say(OK),
            Say::Up(request.into_bytes()),
            say(b"< HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n"),
            say(GET),
            say(OK),
        ];
        let heard = tell(&said, &small, false, usize::MAX);
        assert_eq!(heard.lines()[3..], ["- -> 431| (limit)", ONE[0]], "a head above the limit costs its own exchange");
        assert!(heard.losses.bytes(Loss::HeadLimit) >= 200);
    }
    let trailers = format!("0\r\nX: {x}\r\n\r\n");
    let said = [
        say(GET),
        Say::Down(
            [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"[..], trailers.as_bytes()].concat(),
        ),
    ];
    let heard = tell(&said, &small, false, usize::MAX);
    assert_eq!(heard.lines(), ["GET /a| -> 200|ok (limit)"]);
    let extension = format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(20_000));
    let said = [
        say(GET),
        Say::Down([&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], extension.as_bytes()].concat()),
    ];
    let heard = hear(&said);
    assert_eq!(heard.lines(), ["GET /a| -> 200| (unparsed)"], "a line before a chunk is 16 KiB at most");
    let bodies = Arc::new(Settings { body_limit: 1, ..Settings::default() });
    let heard = tell(&[say(GET), say(OK)], &bodies, false, usize::MAX);
    let body = &heard.exchanges[0].response.as_ref().unwrap().body;
    assert_eq!((heard.lines(), body.size, body.truncated), (vec!["GET /a| -> 200|o".to_owned()], 2, true));
    assert_eq!(heard.losses.bytes(Loss::BodyLimit), 1);
}
