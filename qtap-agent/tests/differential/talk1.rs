//! Random HTTP/1.1 conversations. In: a random number generator. Out: what both ends say, with all the framings of RFC 9112.

use fastrand::Rng;

use super::Conversation;

const VALUES: [&str; 6] = ["", "x", "a b\tc", "caf\u{e9}", "\"q;,=\"", "0123456789abcdef0123456789abcdef"];

fn fields(rng: &mut Rng) -> String {
    (0..rng.usize(..4))
        .map(|n| format!("X-{n}:{}{}\r\n", " ".repeat(rng.usize(..3)), rng.choice(VALUES).unwrap()))
        .collect()
}

fn body(rng: &mut Rng) -> Vec<u8> {
    let len = *rng.choice(&[0, 1, 5, 100, 3000]).unwrap();
    (0..len).map(|_| *rng.choice(b"ab\r\n0;HTTP/1.1 200 OK\xff\0").unwrap()).collect()
}

/// A head and body, framed by Content-Length or chunked.
fn framed(rng: &mut Rng, head: String, body: &[u8]) -> Vec<u8> {
    if rng.bool() {
        return [head.as_bytes(), format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    }
    let mut bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rng.usize(1..=rest.len()));
        let extension = *rng.choice(&["", "", ";a", ";a=b", ";a=\"b;c\"", ";a;b=c"]).unwrap();
        bytes.extend(format!("{}{:x}{extension}\r\n", "0".repeat(rng.usize(..3)), chunk.len()).bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend(b"\r\n");
        rest = after;
    }
    bytes.extend(b"0\r\n");
    if rng.bool() {
        bytes.extend(b"X-Trailer: t\r\n");
    }
    bytes.extend(b"\r\n");
    bytes
}

/// The response to `method`.
fn response(rng: &mut Rng, method: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(..3) {
        bytes.extend(
            *rng.choice(&[&b"HTTP/1.1 102 Processing\r\n\r\n"[..], b"HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n"])
                .unwrap(),
        );
    }
    let head = |status: &str, rng: &mut Rng| format!("HTTP/1.1 {status}\r\n{}", fields(rng));
    match rng.u8(..6) {
        0 => bytes.extend(format!("{}\r\n", head("204 No Content", rng)).bytes()),
        1 => bytes.extend(format!("{}Content-Length: 17\r\n\r\n", head("304 Not Modified", rng)).bytes()),
        _ if method == "HEAD" => bytes.extend(format!("{}Content-Length: 17\r\n\r\n", head("200 OK", rng)).bytes()),
        _ => {
            let (status, body) = (*rng.choice(&["200 OK", "404 ", "500 Internal Server Error"]).unwrap(), body(rng));
            let head = head(status, rng);
            bytes.extend(framed(rng, head, &body));
        }
    }
    bytes
}

/// A conversation of a few exchanges, in turns.
pub(crate) fn conversation(rng: &mut Rng) -> Conversation {
    let mut said = Conversation::default();
    for n in 0..rng.usize(1..7) {
        let method = *rng.choice(&["GET", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"]).unwrap();
        let target = format!("/{n}?{}", rng.u16(..));
        let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{}", fields(rng));
        let request = if matches!(method, "POST" | "PUT" | "PROPFIND") {
            let body = body(rng);
            framed(rng, head, &body)
        } else {
            format!("{head}\r\n").into_bytes()
        };
        said.turns.push((request, response(rng, method)));
        said.asked.push((method.to_owned(), target));
    }
    said
}
