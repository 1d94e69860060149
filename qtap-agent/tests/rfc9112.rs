//! RFC 9112 and the parts of RFC 9110 that say where a message ends, section by section. The rows are written from their text; `docs/http.md` is the
//! readable version.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod talk;

use qtap_agent::model::conn::Direction;
use qtap_agent::model::message::Version;
use talk::plain::{GET, OK, ONE, request, response, usual};
use talk::{Say, case, check, hear, say};

const TWO: &[&str] = &["GET /a| -> 200|ok", "GET /a| -> 200|ok"];

#[test]
fn section_2_messages() {
    let cases = [
        case("2.1", "a request and its response", &[GET, OK], ONE, 0),
        request("2.2", "line feeds alone end lines", b"GET /1 HTTP/1.1\nHost: h\nX: y\n\n", "GET /1|"),
        response("2.2", "line feeds alone, in a response", b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx", "200|x"),
        request("2.2", "both kinds of line ends", b"GET /1 HTTP/1.1\r\nHost: h\nX: y\r\n\n", "GET /1|"),
        request("2.2", "an empty line before a request", b"\r\nGET /1 HTTP/1.1\r\n\r\n", "GET /1|"),
        request("2.2", "several, of either kind", b"\r\n\n\r\nGET /1 HTTP/1.1\r\n\r\n", "GET /1|"),
        case(
            "2.2",
            "an empty line after a body",
            &[b"> POST /1 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx\r\n", OK, GET, OK],
            &["POST /1|x -> 200|ok", "GET /a| -> 200|ok"],
            0,
        ),
        response(
            "2.2",
            "an empty line before a response",
            b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "200|x",
        ),
        request("2.2", "a bare CR in a value stands for a space", b"GET /1 HTTP/1.1\r\nX: a\rb\r\n\r\n", "GET /1|"),
        response(
            "2.2",
            "a bare CR in a value, in a response",
            b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 1\r\n\r\nx",
            "200|x",
        ),
        response(
            "2.2",
            "bare CRs and LFs in a body are octets",
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\r\r\n\n\r\n",
            "200|\\r\\r\\n\\n\\r\\n",
        ),
        case(
            "2.2",
            "a line before the fields that begins with a space is passed over",
            &[b"> GET /1 HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n", OK, GET, OK],
            &["GET /1| -> 200|ok", "GET /a| -> 200|ok"],
            0,
        ),
        case(
            "2.2",
            "the same in a response",
            &[GET, b"< HTTP/1.1 200 OK\r\n\tX: y\r\nContent-Length: 1\r\n\r\nx", GET, OK],
            &["GET /a| -> 200|x", "GET /a| -> 200|ok"],
            0,
        ),
        request("2.3", "HTTP/1.0", b"GET /1 HTTP/1.0\r\n\r\n", "GET /1|"),
        case(
            "2.3",
            "a higher minor version is HTTP/1.1",
            &[b"> GET /1 HTTP/1.2\r\n\r\n", OK],
            &["GET /1| -> 200|ok"],
            0,
        ),
    ];
    check(&cases, &usual());
}

#[test]
fn section_2_no_message() {
    let cases = [
        case("2.3", "HTTP/0.9: a line, then text to the end", &[b"> GET /\r\n", b"< <html>hello</html>\r\n"], &[], 27),
        case("2.2", "what is no request, at the beginning", &[b"> hello\r\n", b"< world\r\n"], &[], 14),
        case(
            "2.2",
            "what is no request, later",
            &[GET, OK, GET, OK, GET, OK, b"> \x00\x01\x02\r\n\r\n", GET, OK],
            &[ONE[0]; 4],
            7,
        ),
    ];
    check(&cases, &usual());
}

#[test]
fn section_3_the_request_line() {
    let mut cases = vec![
        request("3.1", "a method is case-sensitive", b"get /1 HTTP/1.1\r\n\r\n", "get /1|"),
        request("3.1", "any token is a method", b"!#$%&'*+-.^_`|~09aZ /1 HTTP/1.1\r\n\r\n", "!#$%&'*+-.^_`|~09aZ /1|"),
        request("3.1", "one letter", b"X /1 HTTP/1.1\r\n\r\n", "X /1|"),
        request(
            "3.2.1",
            "origin form",
            b"GET /where?q=now HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
            "GET /where?q=now|",
        ),
        request(
            "3.2.2",
            "absolute form",
            b"GET http://www.example.org/pub/WWW/TheProject.html HTTP/1.1\r\n\r\n",
            "GET http://www.example.org/pub/WWW/TheProject.html|",
        ),
        request("3.2.4", "asterisk form", b"OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS *|"),
        request("3", "more than one space", b"GET  /1   HTTP/1.1\r\n\r\n", "GET /1|"),
        request("3.2", "octets that are no ASCII, as UTF-8", b"GET /caf\xc3\xa9 HTTP/1.1\r\n\r\n", "GET /caf\u{e9}|"),
        request("3.2", "the same, as ISO-8859-1", b"GET /caf\xe9 HTTP/1.1\r\n\r\n", "GET /caf\u{e9}|"),
        request(
            "3.2",
            "characters that are not to stand there",
            b"GET /\"<>\\^`{|} HTTP/1.1\r\n\r\n",
            "GET /\"<>\\^`{|}|",
        ),
        request("3.2.2", "absolute form, of another scheme", b"GET ftp://h/1 HTTP/1.1\r\n\r\n", "GET ftp://h/1|"),
    ];
    let long = [b"GET /", "x".repeat(100_000).as_bytes(), b" HTTP/1.1\r\n\r\n"].concat();
    let target = format!("GET /{}|", "x".repeat(100_000));
    cases.push(request("3", "a long line", &long, &target));
    let methods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PRI", "PROPFIND", "QUERY", "M-SEARCH",
        "BREW",
    ];
    let said: Vec<Vec<u8>> =
        methods.iter().map(|method| format!("{method} /m HTTP/1.1\r\n\r\n").into_bytes()).collect();
    for (method, said) in methods.iter().zip(&said) {
        // An answer to HEAD has no body.
        let answer: &[u8] = if *method == "HEAD" { b"< HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" } else { OK };
        let body = if *method == "HEAD" { "" } else { "ok" };
        let said = [GET, OK, &[b"> ", &said[..]].concat()[..], answer];
        cases.push(case("3.1", "methods", &said, &[ONE[0], &format!("{method} /m| -> 200|{body}")], 0));
    }
    check(&cases, &usual());
}

#[test]
fn section_3_what_no_server_takes() {
    let cases = [
        case(
            "3.2",
            "a space in the target: the server refuses it, and so does qtap",
            &[
                GET,
                OK,
                GET,
                OK,
                GET,
                OK,
                b"> GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
                b"< HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
                GET,
                OK,
            ],
            &[ONE[0], ONE[0], ONE[0], "- -> 400| (unparsed)", ONE[0]],
            30,
        ),
        case(
            "5.1",
            "a space before the colon, likewise",
            &[
                GET,
                OK,
                GET,
                OK,
                GET,
                OK,
                b"> GET / HTTP/1.1\r\nHost : h\r\n\r\n",
                b"< HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
                GET,
                OK,
            ],
            &[ONE[0], ONE[0], ONE[0], "- -> 400| (unparsed)", ONE[0]],
            28,
        ),
    ];
    check(&cases, &usual());
}

#[test]
fn section_4_the_status_line() {
    let cases = [
        response("4", "a reason of several words", b"HTTP/1.1 200 All is well\r\nContent-Length: 0\r\n\r\n", "200|"),
        response("4", "no reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200|"),
        response("4", "no reason and no space before it", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200|"),
        response(
            "4",
            "a reason with octets that are no ASCII",
            b"HTTP/1.1 200 d\xe9j\xe0 vu\r\nContent-Length: 0\r\n\r\n",
            "200|",
        ),
        response(
            "4",
            "a reason with octets that it is not to have",
            b"HTTP/1.1 200 \x0ek\0\r\nContent-Length: 0\r\n\r\n",
            "200|",
        ),
        response("4", "a status code that nobody registered", b"HTTP/1.1 799 ?\r\nContent-Length: 0\r\n\r\n", "799|"),
        response("4", "more than one space", b"HTTP/1.1  200  OK\r\nContent-Length: 0\r\n\r\n", "200|"),
    ];
    check(&cases, &usual());
}

#[test]
fn section_5_fields() {
    let cases = [
        request("5", "an empty value", b"GET /1 HTTP/1.1\r\nX:\r\nY: \r\nHost: h\r\n\r\n", "GET /1|"),
        request("5", "no space, and much of it", b"GET /1 HTTP/1.1\r\nX:y\r\nY:   \t z \t \r\n\r\n", "GET /1|"),
        request(
            "9110 5.5",
            "a NUL, or another control, stands for a space",
            b"GET /1 HTTP/1.1\r\nX: a\0b\x7f\x1fc\r\n\r\n",
            "GET /1|",
        ),
        response(
            "5.1",
            "a space before the colon is taken away in a response",
            b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx",
            "200|x",
        ),
        request("5.2", "a folded line", b"GET /1 HTTP/1.1\r\nX: a\r\n b\r\n\t c\r\nHost: h\r\n\r\n", "GET /1|"),
        response("5.2", "a folded length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 1\r\n\r\nx", "200|x"),
        response(
            "5.2",
            "a fold ended by a line feed alone",
            b"HTTP/1.1 200 OK\nX: a\n b\nContent-Length: 1\n\nx",
            "200|x",
        ),
        response(
            "5.2",
            "a fold of nothing but space is no end of the head",
            b"HTTP/1.1 200 OK\r\nX: a\r\n \r\nContent-Length: 1\r\n\r\nx",
            "200|x",
        ),
    ];
    check(&cases, &usual());
    let text = b"> GET /1 HTTP/1.1\r\nX: caf\xe9\r\nY: \r\nZ: a\r\n  b\r\nW: 1\rHost: evil\r\nx: two\r\n\r\n";
    let heard = hear(&[say(text), say(OK)]);
    let fields = &heard.exchanges[0].request.as_ref().unwrap().fields;
    let values: Vec<_> = fields
        .0
        .iter()
        .map(|field| (field.name.text().unwrap(), field.value.bytes().unwrap().escape_ascii().to_string()))
        .collect();
    let want = [("X", "caf\\xe9"), ("Y", ""), ("Z", "a  b"), ("W", "1 Host: evil"), ("x", "two")];
    assert_eq!(
        values,
        want.map(|(name, value)| (name, value.to_owned())),
        "octets are kept, a CR is a space, folds are spaces, names stay as sent"
    );
}

/// §5: `field-line = field-name ":" OWS field-value OWS`, and a name is a token. What breaks this costs its line, unless the line may say how long the
/// message is (§6).
#[test]
fn section_5_lines_that_are_no_fields() {
    let mut cases = Vec::new();
    for line in ["no colon", "X(Y): 1", "My Header: 1", ": 1", "caf\u{e9}: 1", "X[0]: a: b", "nocolon\r\n folded: 1"] {
        let (said, lost) = (line.as_bytes(), line.len() as u64 + 2);
        for (before, behind) in [("", "Content-Length: 1\r\nX: y\r\n"), ("X : y\r\nContent-Length: 1\r\n", "")] {
            let head = ["< HTTP/1.1 200 OK\r\n", before].concat();
            let answer = [head.as_bytes(), said, b"\r\n", behind.as_bytes(), b"\r\nx"].concat();
            let want = ["GET /a| -> 200|x (unparsed)", ONE[0]];
            cases.push(case("5", "in a response", &[GET, &answer, GET, OK], &want, lost));
        }
        if !line.contains("no colon") && !line.contains("My Header") {
            let asked = [b"> PUT /1 HTTP/1.1\r\n", said, b"\r\nContent-Length: 1\r\n\r\nx"].concat();
            let want = ["PUT /1|x -> 200|ok (unparsed)", ONE[0]];
            cases.push(case("5", "in a request", &[&asked, OK, GET, OK], &want, lost));
        }
    }
    for line in ["Content Length: 1", "Content-Length 1", "(Transfer-Encoding): chunked", "Transfer\u{2010}Encoding: x"]
    {
        let answer = [b"< HTTP/1.1 200 OK\r\n", line.as_bytes(), b"\r\nX: y\r\n\r\nx"].concat();
        let lost = answer.len() as u64 - 2;
        cases.push(case("6", "what may say a length", &[GET, &answer], &["GET /a| -> - (unparsed)"], lost));
    }
    let two = b"< HTTP/1.1 103 Early Hints\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    cases.push(case(
        "2.1",
        "the next message",
        &[GET, two],
        &["GET /a| -> - (unparsed)", "- -> 200|ok (unparsed)"],
        26,
    ));
    check(&cases, &usual());
    let fields = hear(&[say(GET), say(b"< HTTP/1.1 200 OK\r\nA: b\r\nno colon\r\nX(: y\r\n z\r\nC: d\r\n\r\n")]);
    let fields = &fields.exchanges[0].response.as_ref().unwrap().fields;
    assert_eq!((fields.0.len(), fields.get("a"), fields.get("c")), (2, Some("b"), Some("d")));
}

#[test]
fn section_6_transfer_encoding() {
    let chunked = b"4\r\nWiki\r\n0\r\n\r\n";
    let with = |fields: &str| [b"HTTP/1.1 200 OK\r\n", fields.as_bytes(), b"\r\n", chunked].concat();
    let asked = |fields: &str| [b"POST /1 HTTP/1.1\r\n", fields.as_bytes(), b"\r\n", chunked].concat();
    let mut cases = Vec::new();
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: CHUNKED\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: , chunked , ,\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\tchunked\t\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
    ] {
        cases.push(response("6.1", "chunked is last", &with(fields), "200|Wiki"));
        cases.push(request("6.1", "chunked is last, in a request", &asked(fields), "POST /1|Wiki"));
    }
    for fields in [
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
    ] {
        let response = [b"< HTTP/1.1 200 OK\r\n", fields.as_bytes(), b"\r\nall of it"].concat();
        cases.push(case(
            "6.3",
            "chunked is not last: to the close",
            &[GET, &response],
            &["GET /a| -> 200|all of it"],
            0,
        ));
        let request = [b"> POST /1 HTTP/1.1\r\n", fields.as_bytes(), b"\r\nxyz"].concat();
        let bad = b"< HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        cases.push(case(
            "6.3",
            "chunked is not last, in a request: not knowable",
            &[&request, bad],
            &["POST /1| -> 400| (unparsed)"],
            3,
        ));
    }
    cases.push(case(
        "6.1",
        "in HTTP/1.0: read as it comes",
        &[b"> GET /a HTTP/1.0\r\n\r\n", b"< HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
        ONE,
        0,
    ));
    check(&cases, &usual());
}

#[test]
fn section_6_content_length() {
    let with = |fields: &str| [b"HTTP/1.1 200 OK\r\n", fields.as_bytes(), b"\r\nabc"].concat();
    let asked = |fields: &str| [b"POST /1 HTTP/1.1\r\n", fields.as_bytes(), b"\r\nabc"].concat();
    let mut cases = Vec::new();
    for fields in [
        "Content-Length: 3\r\n",
        "content-length:3\r\n",
        "Content-Length: 0003\r\n",
        "Content-Length: 0000000000000000000000000000003\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: 3,03\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3,\r\n",
    ] {
        cases.push(response("6.3", "lengths that agree", &with(fields), "200|abc"));
        cases.push(request("6.3", "lengths that agree, in a request", &asked(fields), "POST /1|abc"));
    }
    for fields in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3, 4\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 3 3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3.0\r\n",
        "Content-Length: three\r\n",
        "Content-Length:\r\n",
        "Content-Length: ,\r\n",
        "Content-Length: \"3\"\r\n",
        "Content-Length: 18446744073709551619\r\n",
        "Content-Length: 99999999999999999999999999999999\r\n",
    ] {
        let response = [&b"< "[..], &with(fields)].concat();
        cases.push(case("6.3", "lengths that are none", &[GET, &response], &["GET /a| -> 200| (unparsed)"], 3));
        let request = [&b"> "[..], &asked(fields)].concat();
        let bad = b"< HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        cases.push(case(
            "6.3",
            "lengths that are none, in a request",
            &[&request, bad],
            &["POST /1| -> 400| (unparsed)"],
            3,
        ));
    }
    let huge = b"< HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nabc";
    cases.push(case("6.2", "a huge length", &[GET, huge], &["GET /a| -> 200|abc (closed_early)"], 0));
    check(&cases, &usual());
}

#[test]
fn section_7_chunks() {
    let chunked = |body: &str| [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body.as_bytes()].concat();
    let mut cases = Vec::new();
    for body in [
        "4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n",
        "0004\r\nWiki\r\n0000000000000000000005\r\npedia\r\n0000000000000000000000000000000\r\n\r\n",
        "4;a\r\nWiki\r\n5 ;b=c; d = \"e\"\r\npedia\r\n0;z\r\n\r\n",
        "4;a=\"x;y\\\"z\"\r\nWiki\r\n5;a=\"0\"\r\npedia\r\n0\r\n\r\n",
        "4 \r\nWiki\r\n5\t\r\npedia\r\n0\r\n\r\n",
        "4\nWiki\n5\npedia\n0\n\n",
        "9\r\nWikipedia\r\n0\r\n\r\n",
        "4\r\nWiki\r\n5\r\npedia\r\n0\r\nExpires: Wed, 21 Oct 2015 07:28:00 GMT\r\nX: y\r\n\r\n",
    ] {
        cases.push(response("7.1", "chunks", &chunked(body), "200|Wikipedia"));
    }
    cases.push(response(
        "7.1",
        "hexadecimal in either case",
        &chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
        "200|01234567890123456789",
    ));
    cases.push(response("7.1", "no chunk but the last", &chunked("0\r\n\r\n"), "200|"));
    cases.push(response(
        "7.1",
        "chunks that hold line ends",
        &chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n"),
        "200|\\r\\n\\r\\n",
    ));
    for (body, seen, lost) in [
        ("x\r\nWiki\r\n0\r\n\r\n", "", 14),
        ("\r\nWiki\r\n0\r\n\r\n", "", 13),
        ("-4\r\nWiki\r\n0\r\n\r\n", "", 15),
        ("0x4\r\nWiki\r\n0\r\n\r\n", "", 16),
        ("4 4\r\nWiki\r\n0\r\n\r\n", "", 16),
        ("11111111111111111\r\nWiki\r\n0\r\n\r\n", "", 30),
        ("4\r\nWikixx\r\n0\r\n\r\n", "Wiki", 9),
    ] {
        let said = [&b"< "[..], &chunked(body)].concat();
        cases.push(case("7.1", "no chunks", &[GET, &said], &[&format!("GET /a| -> 200|{seen} (unparsed)")], lost));
    }
    check(&cases, &usual());
    let heard = hear(&[say(GET), Say::Down(chunked("1\r\nx\r\n0\r\nA: b\r\n fold\r\nC:\r\nA: d\r\n\r\n"))]);
    let trailers = &heard.exchanges[0].response.as_ref().unwrap().trailers;
    assert_eq!(trailers.all("a").collect::<Vec<_>>(), ["b fold", "d"], "7.1.2: trailers are fields like others");
    assert_eq!(trailers.get("c"), Some(""));
}

#[test]
fn section_8_messages_cut_off() {
    let cases = [
        case("8", "in the head", &[b"> GET / HTTP/1.1\r\nHost"], &[], 20),
        case(
            "8",
            "in a body of known length",
            &[GET, b"< HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
            &["GET /a| -> 200|half (closed_early)"],
            0,
        ),
        case(
            "8",
            "in a chunk",
            &[GET, b"< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"],
            &["GET /a| -> 200|half (closed_early)"],
            0,
        ),
        case(
            "8",
            "before the last chunk",
            &[GET, b"< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"],
            &["GET /a| -> 200|half (closed_early)"],
            0,
        ),
        case(
            "8",
            "in the trailers",
            &[GET, b"< HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n"],
            &["GET /a| -> 200|half (closed_early)"],
            6,
        ),
        case(
            "8",
            "in a request",
            &[b"> PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"],
            &["PUT /|half -> - (closed_early)"],
            0,
        ),
        case("9.5", "before the response", &[GET], &["GET /a| -> - (no_response)"], 0),
        case(
            "9.5",
            "408 to a request that was never made",
            &[GET, OK, b"< HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", b"~ 300"],
            &[ONE[0], "- -> 408| (no_request)"],
            0,
        ),
    ];
    check(&cases, &usual());
}

#[test]
fn section_9_connections() {
    let cases = [
        case("9.3", "kept alive", &[GET, OK, GET, OK], TWO, 0),
        case(
            "9.3",
            "HTTP/1.0, kept alive",
            &[
                b"> GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                b"< HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
                b"> GET /a HTTP/1.0\r\n\r\n",
                b"< HTTP/1.0 200 OK\r\n\r\nok",
            ],
            TWO,
            0,
        ),
        case(
            "9.3.2",
            "pipelined",
            &[b"> GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n", OK, OK, OK],
            &["GET /1| -> 200|ok", "GET /2| -> 200|ok", "GET /3| -> 200|ok"],
            0,
        ),
        case(
            "9.3.2",
            "pipelined after a close: the rest has no answer",
            &[b"> GET /1 HTTP/1.1\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n\r\n", OK],
            &["GET /1| -> 200|ok", "GET /2| -> - (no_response)"],
            0,
        ),
        case(
            "9.6",
            "closed by the server in the middle of a request",
            &[
                b"> PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf",
                b"< HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            ],
            &["PUT /|half -> 413| (closed_early)"],
            0,
        ),
    ];
    check(&cases, &usual());
}

/// The PROXY protocol of HAProxy, versions 1 and 2: a header that the side that connects sends before the first message.
#[test]
fn the_header_of_a_proxy_before_it() {
    let cases = [
        case(
            "PROXY",
            "in text",
            &[b"> PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\nGET /a HTTP/1.1\r\n\r\n", OK, GET, OK],
            TWO,
            0,
        ),
        case("PROXY", "of an unknown peer", &[b"> PROXY UNKNOWN\r\n", GET, OK], ONE, 0),
        case(
            "PROXY",
            "in binary",
            &[b"> \r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x9c\x40\x01\xbb", GET, OK, GET, OK],
            TWO,
            0,
        ),
        case(
            "PROXY",
            "a check of the proxy itself",
            &[b"> \r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /a HTTP/1.1\r\n\r\n", OK],
            ONE,
            0,
        ),
    ];
    check(&cases, &usual());
}

#[test]
fn versions_and_roles() {
    let heard = hear(&[say(b"> GET / HTTP/1.0\r\n\r\n"), say(b"< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    let exchange = &heard.exchanges[0];
    let versions = (exchange.request.as_ref().unwrap().version, exchange.response.as_ref().unwrap().version);
    assert_eq!(versions, (Version::Http10, Version::Http11), "each says its own");
    let heard = hear(&[Say::Down(GET[2..].to_vec()), Say::Up(OK[2..].to_vec())]);
    assert_eq!((heard.lines(), heard.exchanges[0].outgoing), (vec![ONE[0].to_owned()], false));
    let heard = hear(&[say(GET), Say::Lost(Direction::Received, 39), say(GET), say(OK)]);
    assert_eq!(heard.lines()[0], "GET /a| -> - (bytes_lost)", "a request without a response");
}
