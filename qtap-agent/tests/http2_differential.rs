//! A real HTTP/2 client and server (the `h2` crate's, with its own encoder) talk over a pipe. The bytes at the client's end are given to
//! the `http` room, and its exchanges must be what the two said to one another.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use qtap_agent::http::{Http, Settings, Sink};
use qtap_agent::model::conn::{Direction, Protocol};
use qtap_agent::model::exchange::HttpExchange;
use qtap_agent::model::message::Fields;
use qtap_agent::model::segment::Segment;
use qtap_agent::model::time::KernelTime;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

type Log = Arc<Mutex<Vec<(Direction, Bytes)>>>;

/// One end of a pipe that records the bytes in both directions.
struct Noted {
    pipe: DuplexStream,
    log: Log,
}

impl AsyncRead for Noted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.pipe).poll_read(cx, buf);
        let new = &buf.filled()[before..];
        if !new.is_empty() {
            self.log.lock().unwrap().push((Direction::Received, Bytes::copy_from_slice(new)));
        }
        poll
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let poll = Pin::new(&mut self.pipe).poll_write(cx, buf);
        if let Poll::Ready(Ok(len)) = &poll {
            self.log.lock().unwrap().push((Direction::Sent, Bytes::copy_from_slice(&buf[..*len])));
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// The body of the `n`th request. Its size grows so that windows, frames and tables are all exceeded.
fn body(n: usize) -> Bytes {
    (0..n * 997).map(|i| (i * 7 + n) as u8).collect()
}

fn value(n: usize, k: usize) -> String {
    format!("value {n} of {k} {}", "é~x".repeat((n * k) % 40))
}

/// Answers every request with its own body, header fields and trailers.
async fn serve(pipe: DuplexStream, table: u32) {
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(1 << 20).initial_window_size(1 << 20);
    builder.initial_connection_window_size(1 << 24).max_frame_size(16_384 + table % 1000);
    let mut server = builder.handshake::<_, Bytes>(pipe).await.unwrap();
    while let Some(accepted) = server.accept().await {
        let Ok((request, mut respond)) = accepted else { break };
        tokio::spawn(async move {
            let (head, mut incoming) = request.into_parts();
            let mut all = Vec::new();
            while let Some(Ok(data)) = incoming.data().await {
                incoming.flow_control().release_capacity(data.len()).unwrap();
                all.extend_from_slice(&data);
            }
            let mut response = Response::builder().status(200 + (all.len() % 5) as u16);
            for (name, value) in head.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-")) {
                response = response.header(name, value);
            }
            let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from(all), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", "true".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        });
    }
}

async fn ask(pipe: Noted, count: usize, table: u32) {
    let mut builder = h2::client::Builder::new();
    builder.header_table_size(table).initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
    let (client, connection) = builder.handshake::<_, Bytes>(pipe).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut answers = Vec::new();
    for n in 0..count {
        let mut client = client.clone().ready().await.unwrap();
        let mut request = Request::builder().method("POST").uri(format!("http://example.org/{n}"));
        for k in 0..n % 12 {
            request = request.header(format!("x-field-{k}"), value(n, k).as_bytes());
        }
        let (answer, mut stream) = client.send_request(request.body(()).unwrap(), false).unwrap();
        stream.send_data(body(n), true).unwrap();
        answers.push(answer);
        if n % 8 == 7 {
            drain(std::mem::take(&mut answers)).await;
        }
    }
    drain(answers).await;
    drop(client);
    driver.abort();
}

async fn drain(answers: Vec<h2::client::ResponseFuture>) {
    for answer in answers {
        let mut incoming = answer.await.unwrap().into_body();
        while let Some(data) = incoming.data().await {
            incoming.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
        incoming.trailers().await.unwrap();
    }
}

fn talk(count: usize, table: u32) -> Vec<(Direction, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let log = Log::default();
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(serve(far, table));
        ask(Noted { pipe: near, log: Arc::clone(&log) }, count, table).await;
        server.abort();
    });
    drop(runtime);
    Arc::into_inner(log).unwrap().into_inner().unwrap()
}

fn listen(log: &[(Direction, Bytes)], joined_late: bool) -> (Vec<HttpExchange>, Sink) {
    let mut http = Http::new(&Arc::new(Settings::default()), joined_late);
    let mut sink = Sink::default();
    for (n, (direction, payload)) in log.iter().enumerate() {
        let time = KernelTime(n as u64);
        let segment = Segment { direction: *direction, offset: 0, time, pid: 1, payload: payload.clone() };
        http.on_segment(segment, &mut sink);
    }
    http.on_close(KernelTime(log.len() as u64), false, &mut sink);
    let given: u64 = log.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!(sink.captured + sink.losses.total_bytes(), given);
    (std::mem::take(&mut sink.exchanges), sink)
}

fn number(exchange: &HttpExchange) -> Option<usize> {
    exchange.request.as_ref()?.target.as_deref()?.strip_prefix('/')?.parse().ok()
}

fn assert_fields(n: usize, fields: &Fields) {
    for k in 0..n % 12 {
        assert_eq!(fields.get(&format!("x-field-{k}")), Some(value(n, k).as_str()));
    }
}

fn compare(count: usize, table: u32) {
    let (exchanges, sink) = listen(&talk(count, table), false);
    assert_eq!(exchanges.len(), count);
    assert!(sink.losses.is_empty());
    for exchange in &exchanges {
        let n = number(exchange).unwrap();
        assert_eq!((exchange.ordinal, exchange.incomplete, exchange.protocol), (n as u64, None, Protocol::Http2));
        let (request, response) = (exchange.request.as_ref().unwrap(), exchange.response.as_ref().unwrap());
        assert_eq!((request.method.as_deref(), request.authority.as_deref()), (Some("POST"), Some("example.org")));
        assert_eq!(response.status, Some(200 + (body(n).len() % 5) as u16));
        assert_eq!((request.body.to_bytes(), response.body.to_bytes()), (body(n), body(n)));
        assert_fields(n, &request.fields);
        assert_fields(n, &response.fields);
        assert_eq!(response.trailers.get("x-end"), Some("true"));
    }
}

#[test]
fn what_a_real_client_and_server_say() {
    compare(100, 4096);
}

#[test]
fn with_tables_of_other_sizes() {
    for table in [0, 100, 65_536] {
        compare(40, table);
    }
}

/// Joined at any point, no exchange contradicts what was said.
#[test]
fn joined_at_any_time() {
    let log = talk(60, 4096);
    for start in 0..log.len() {
        let (exchanges, _) = listen(&log[start..], true);
        for exchange in exchanges.iter().filter(|exchange| exchange.incomplete.is_none()) {
            let Some(n) = number(exchange) else { continue };
            let (request, response) = (exchange.request.as_ref().unwrap(), exchange.response.as_ref().unwrap());
            assert_eq!((request.body.to_bytes(), response.body.to_bytes()), (body(n), body(n)));
            assert_fields(n, &request.fields);
            assert_fields(n, &response.fields);
        }
    }
}

/// A client that repeats a request, with only the path and an id changing.
async fn browse(pipe: Noted, count: usize) {
    let (mut client, connection) = h2::client::handshake(pipe).await.unwrap();
    let driver = tokio::spawn(connection);
    for n in 0..count {
        client = client.ready().await.unwrap();
        let request = Request::builder()
            .uri(format!("https://shop.example.org/items/{n}"))
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
            .header("accept", "application/json")
            .header("accept-language", "en-US,en;q=0.5")
            .header("accept-encoding", "gzip, deflate, br, zstd")
            .header("cookie", "session=9c2f7b1e4d; theme=dark")
            .header("referer", "https://shop.example.org/")
            .header(
                "x-request-id",
                format!("{:032x}", (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            );
        let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
        let mut incoming = answer.await.unwrap().into_body();
        while let Some(data) = incoming.data().await {
            incoming.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
    }
    drop(client);
    driver.abort();
}

/// Answers each request with a few header fields.
async fn serve_items(pipe: DuplexStream) {
    let mut server = h2::server::handshake(pipe).await.unwrap();
    while let Some(Ok((_, mut respond))) = server.accept().await {
        let response = Response::builder().header("content-type", "application/json").header("server", "shop");
        let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from_static(br#"{"item": "a lamp", "price": 12}"#), true).unwrap();
    }
}

fn visit(count: usize) -> Vec<(Direction, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let log = Log::default();
    runtime.block_on(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(serve_items(far));
        browse(Noted { pipe: near, log: Arc::clone(&log) }, count).await;
        server.abort();
    });
    drop(runtime);
    Arc::into_inner(log).unwrap().into_inner().unwrap()
}

/// Counts a request's header fields: all; those with known name and value; those with known value.
fn known_fields(exchange: &HttpExchange) -> Option<[usize; 3]> {
    let request = exchange.request.as_ref()?;
    let pseudo = [&request.method, &request.target, &request.scheme, &request.authority];
    let pseudo = pseudo.into_iter().filter(|field| field.is_some()).count();
    let values = request.fields.0.iter().filter(|field| field.value.bytes().is_some());
    let both = values.clone().filter(|field| field.name.bytes().is_some());
    Some([request.fields.0.len(), both.count(), values.count()].map(|count| pseudo + count))
}

/// The figure of `docs/http.md`: after joining mid-stream, the share of a request's header fields that is known, by the number of requests since. A
/// field is known once the encoder writes it out again, which it does when its table has evicted it; a name that is only ever
/// written as a reference to the field before it stays unknown.
#[test]
#[allow(clippy::print_stdout, reason = "the figure is for reading")]
fn fields_are_learnt_again() {
    const REQUESTS: usize = 300;
    let log = visit(REQUESTS);
    let mut by_request = vec![[0usize; 3]; REQUESTS];
    // Only once the table is full: from then on every starting point is alike.
    for start in log.len() / 3..log.len() / 2 {
        let (exchanges, _) = listen(&log[start..], true);
        let known = exchanges.iter().filter_map(known_fields);
        for (sum, one) in by_request.iter_mut().zip(known) {
            (0..3).for_each(|n| sum[n] += one[n]);
        }
    }
    let share = |request: usize, of: usize| by_request[request - 1][of] as f64 / by_request[request - 1][0] as f64;
    for request in [1, 2, 5, 10, 20, 30, 40, 50, 100] {
        let (both, values) = (100.0 * share(request, 1), 100.0 * share(request, 2));
        println!("request {request:>3} after joining: {both:>5.1} % of fields known, {values:>5.1} % of values");
    }
    assert!(share(1, 1) > 0.3, "what is in the static table, or written out, is known at once");
    assert!(share(60, 2) > 0.999, "when every entry was written out again, all values are known");
    assert!(share(60, 1) > 0.9, "and all names but that of one field in eleven");
}
