//! Golden artifacts: the exact bytes that are written.
#![allow(clippy::unwrap_used)] // the tests unwrap values that are expected to be there

use super::*;

/// As computed with `sha256sum`.
const REQUEST_DIGEST: &str = "2d66f0f9a00bfc787311365db68c918160d1ab335cd9089330f8709d566f6d1c";
const RESPONSE_DIGEST: &str = "3c42c70dc17f17b02103c56fe9d89a2a1cd0703e9bd65eae5b4ea4ddda5c4a16";

#[test]
fn json_artifacts_are_these() {
    let records = json(Level::Full, http());
    let wanted = format!(
        concat!(
            r#"{{"method":"POST","url":"https://shop.example:8443/pay?id=7","target":"/pay?id=7","protocol":"HTTP/1.1","#,
            r#""headers":[{{"name":"Host","value":"shop.example:8443"}},{{"name":"User-Agent","value":"curl/8"}},"#,
            r#"{{"name":"Content-Type","value":"application/json"}},"#,
            r#"{{"name":"traceparent","value":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}],"#,
            r#""body":{{"size":15,"kept":15,"encoding":"text","data":"{{\"sum\":\"1 000\"}}","digest":"sha256:{}"}},"#,
            r#""started_at":"2026-01-02T03:04:05.100000000Z","ended_at":"2026-01-02T03:04:05.110000000Z"}}"#,
        ),
        REQUEST_DIGEST
    );
    assert_eq!(data(&records[1]), wanted);
    let wanted = format!(
        concat!(
            r#"{{"status":200,"reason":"OK","informational":[100],"protocol":"HTTP/1.1","#,
            r#""headers":[{{"name":"Content-Type","value":"text/plain"}},{{"name":"X-A","value":"1"}},{{"name":"X-A","value":"2"}}],"#,
            r#""body":{{"size":5,"kept":5,"encoding":"text","data":"paid\n","digest":"sha256:{}"}},"#,
            r#""started_at":"2026-01-02T03:04:05.112000000Z","ended_at":"2026-01-02T03:04:05.130000000Z"}}"#,
        ),
        RESPONSE_DIGEST
    );
    assert_eq!(data(&records[2]), wanted);
    let details = apply(bare(settings(Level::Details, Format::Json, Artifacts::Split)), seen(http()));
    let body = format!(r#""body":{{"size":5,"kept":5,"digest":"sha256:{RESPONSE_DIGEST}"}},"#);
    assert!(data(&details[2]).contains(&body), "{}", data(&details[2]));
    assert_eq!(object(&records[1]).content_type, "application/json");
}

#[test]
fn http_artifacts_are_the_messages() {
    let records = apply(settings(Level::Full, Format::Http, Artifacts::Split), seen(http()));
    assert_eq!(
        data(&records[1]),
        "POST /pay?id=7 HTTP/1.1\r\nHost: shop.example:8443\r\nUser-Agent: curl/8\r\nContent-Type: application/json\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n{\"sum\":\"1 000\"}"
    );
    let wanted = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: 1\r\nX-A: 2\r\n\r\npaid\n";
    assert_eq!(data(&records[2]), wanted);
    assert_eq!(object(&records[2]).content_type, "message/http");
    let details = apply(settings(Level::Details, Format::Http, Artifacts::Split), seen(http()));
    assert_eq!(data(&details[2]), wanted.trim_end_matches("paid\n"));
}

/// RFC 9112 §6.3: what ends with its head has no last chunk, and a tunnel no chunks, whatever the fields say.
#[test]
fn an_answer_without_a_body_is_its_head() {
    let chunked = || fields(&[("Transfer-Encoding", "chunked")]);
    for (method, status, text, wanted) in [
        ("HEAD", 200, "", ""),
        ("GET", 304, "", ""),
        ("GET", 204, "", ""),
        ("CONNECT", 200, "\x16\x03", "\x16\x03"),
        ("GET", 101, "NOTICE", "NOTICE"),
        ("GET", 200, "", "0\r\n\r\n"),
        ("CONNECT", 407, "no", "2\r\nno\r\n0\r\n\r\n"),
    ] {
        let request = Request { method: Some(method.to_owned()), ..http().request.unwrap() };
        let response = Response { status: Some(status), fields: chunked(), body: body(text.as_bytes()), ..response() };
        let http = HttpExchange { request: Some(request), response: Some(response), ..http() };
        let records = apply(settings(Level::Full, Format::Http, Artifacts::Split), seen(http));
        let head = format!("HTTP/1.1 {status} OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(data(&records[2]), [&head, wanted].concat(), "{method}");
    }
}

#[test]
fn http2_is_written_in_the_form_of_http1() {
    let mut http = HttpExchange { protocol: Protocol::Http2, ..http() };
    if let (Some(request), Some(response)) = (&mut http.request, &mut http.response) {
        (request.version, response.version) = (Version::Http2, Version::Http2);
        request.fields = fields(&[("accept", "a\r\nevil: b")]);
        request.body = Body::default();
        request.method = Some("GET".to_owned());
        response.reason = Bytes::new();
        response.fields = fields(&[("content-length", "5")]);
        response.trailers = fields(&[("x-sum", "9")]);
    }
    let records = apply(settings(Level::Full, Format::Http, Artifacts::Split), seen(http));
    let request = "GET /pay?id=7 HTTP/1.1\r\nHost: shop.example:8443\r\naccept: a  evil: b\r\n\r\n";
    assert_eq!(data(&records[1]), request);
    let response = "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\npaid\n\r\n0\r\nx-sum: 9\r\n\r\n";
    assert_eq!(data(&records[2]), response);
}

#[test]
fn text_artifacts_are_for_reading() {
    let records = apply(settings(Level::Full, Format::Text, Artifacts::Transaction), seen(http()));
    assert_eq!(
        data(&records[1]),
        "POST https://shop.example:8443/pay?id=7 HTTP/1.1\nHost: shop.example:8443\nUser-Agent: curl/8\n\
         Content-Type: application/json\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\n\
         {\"sum\":\"1 000\"}\n\nHTTP/1.1 200 OK\nContent-Type: text/plain\nX-A: 1\nX-A: 2\n\npaid\n"
    );
}

#[test]
fn what_is_missing_from_a_body_is_said() {
    let cut = Body {
        chunks: vec![Bytes::from_static("abc".as_bytes()), Bytes::from_static(b"h\xc3")],
        size: 100,
        truncated: true,
        missing: std::iter::once(3..5).collect(),
        ..Body::default()
    };
    let cut_http = HttpExchange { response: Some(Response { body: cut, ended: None, ..response() }), ..http() };
    let records = json(Level::Full, cut_http.clone());
    assert!(object(&records[2]).truncated && !object(&records[1]).truncated);
    assert_eq!(object(&records[2]).missing.first(), Some(&(3..5)));
    let text = data(&records[2]);
    assert!(text.contains(r#""body":{"size":100,"kept":4,"truncated":true,"missing":[[3,5]],"encoding":"#), "{text}");
    assert!(text.contains(r#""data":"abch","digest":"#) && text.ends_with(r#""ended_at":null}"#), "{text}");
    let records = apply(settings(Level::Full, Format::Text, Artifacts::Split), seen(cut_http));
    assert!(data(&records[2]).ends_with("abch\n[truncated: 4 of 100 bytes kept]\n[missing: bytes 3 to 5]\n"));
}

#[test]
fn coded_bodies_stand_as_carried_and_as_decoded() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"hello").unwrap();
    let carried = encoder.finish().unwrap();
    let with = |body: &[u8]| {
        let fields = fields(&[("content-encoding", "gzip")]);
        HttpExchange { response: Some(Response { body: self::body(body), fields, ..response() }), ..http() }
    };
    let records = json(Level::Full, with(&carried));
    let read: serde_json::Value = serde_json::from_slice(&object(&records[2]).data).unwrap();
    assert_eq!(read["body"]["encoding"], "base64");
    assert_eq!(read["body"]["size"], carried.len());
    let hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let decoded = serde_json::json!({"size": 5, "digest": hello, "encoding": "text", "data": "hello"});
    assert_eq!(read["body"]["decoded"], decoded);
    assert_eq!(artifact(&records[0]).response_body_size, Some(carried.len() as u64));
    let records = json(Level::Full, with(b"not gzip"));
    let read: serde_json::Value = serde_json::from_slice(&object(&records[2]).data).unwrap();
    assert_eq!(read["body"]["decoded"]["failed"], "gzip");
    let records = apply(settings(Level::Full, Format::Text, Artifacts::Split), seen(with(&carried)));
    assert!(data(&records[2]).contains("\n\nhello\n[25 bytes as carried, decoded here]\n"), "{}", data(&records[2]));
}

#[test]
fn unknown_fields_are_null_and_never_guessed() {
    let unknown = Fields(vec![
        Field { name: known("a"), value: FieldText::Unknown },
        Field { name: FieldText::Unknown, value: FieldText::Unknown },
        Field { name: known("b"), value: FieldText::Known(Bytes::from_static(b"\xe9")) },
    ]);
    let http = HttpExchange { response: Some(Response { fields: unknown, status: None, ..response() }), ..http() };
    let records = json(Level::Full, http.clone());
    let wanted = r#""headers":[{"name":"a","value":null},{"name":null,"value":null},{"name":"b","value":"é"}]"#;
    assert!(data(&records[2]).contains(wanted), "{}", data(&records[2]));
    assert!(data(&records[2]).starts_with(r#"{"status":null,"#));
    let records = apply(settings(Level::Details, Format::Http, Artifacts::Split), seen(http));
    assert_eq!(&object(&records[2]).data[..], b"HTTP/1.1 ? OK\r\nb: \xe9\r\n\r\n");
}

/// RFC 9113 §8.2.3: an intermediary joins them.
#[test]
fn the_pieces_of_a_cookie_field_are_one_line_of_http1() {
    let asked = |version| {
        let head = fields(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]);
        let http = HttpExchange { request: Some(Request { version, fields: head, ..request() }), ..http() };
        let records = apply(bare(settings(Level::Details, Format::Http, Artifacts::Split)), seen(http));
        String::from_utf8_lossy(&object(&records[1]).data).into_owned()
    };
    assert!(asked(Version::Http2).ends_with("\r\ncookie: a=1; b=2\r\nx: y\r\n\r\n"), "{}", asked(Version::Http2));
    assert!(asked(Version::Http11).ends_with("\r\ncookie: a=1\r\nx: y\r\ncookie: b=2\r\n\r\n"), "as it was sent");
}
