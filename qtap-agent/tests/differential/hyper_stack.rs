//! hyper as a server that reads requests and as a client that reads responses, over in-memory pipes. In: bytes. Out: the messages it read.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Conversation, Read};

fn pairs(fields: &HeaderMap) -> Vec<(String, String)> {
    let latin1 = |bytes: &[u8]| bytes.iter().map(|b| char::from(*b)).collect::<String>();
    fields.iter().map(|(name, value)| (name.as_str().to_owned(), latin1(value.as_bytes()))).collect()
}

/// Adds the body to a message whose head was read.
async fn finish(mut read: Read, body: Incoming) -> Read {
    if let Some(Ok(whole)) = at_most(body.collect()).await {
        read.ended = true;
        read.trailers = whole.trailers().map(pairs).unwrap_or_default();
        read.body = whole.to_bytes().to_vec();
    }
    read
}

/// Runs the future on a paused clock, which advances only when nothing can make progress: a timeout of a second then ends at once.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(work)
}

/// Gives up on what would wait for ever.
async fn at_most<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(1), work).await.ok()
}

/// The requests that a server reads.
pub(crate) fn serve(bytes: &[u8]) -> Vec<Read> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let target = Some(head.uri.to_string());
            let read =
                Read { method: Some(head.method.to_string()), target, fields: pairs(&head.headers), ..Read::default() };
            let read = finish(read, body).await;
            seen.lock().unwrap().push(read);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    run(async {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (mut answers, mut asks) = tokio::io::split(near);
        let writer = async move {
            asks.write_all(bytes).await.unwrap();
            asks.shutdown().await.unwrap();
            let mut ignored = Vec::new();
            answers.read_to_end(&mut ignored).await.unwrap_or_default();
        };
        let server =
            hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(far), service);
        let _ = at_most(async { tokio::join!(server, writer) }).await;
    });
    seen.lock().unwrap().clone()
}

/// Answers each incoming request with the bytes of its turn.
async fn answer(mut pipe: DuplexStream, turns: Vec<Vec<u8>>) {
    let mut heard = Vec::new();
    for turn in turns {
        loop {
            if let Some(end) = memchr::memmem::find(&heard, b"\r\n\r\n") {
                heard.drain(..end + 4);
                break;
            }
            if pipe.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                return;
            }
        }
        if pipe.write_all(&turn).await.is_err() {
            return;
        }
    }
}

/// The responses that a client reads. It sends each request after reading the response before.
pub(crate) fn ask(said: &Conversation) -> Vec<Read> {
    let turns: Vec<Vec<u8>> = said.turns.iter().map(|turn| turn.1.clone()).collect();
    run(async {
        let (near, far) = tokio::io::duplex(1 << 20);
        let server = tokio::spawn(answer(far, turns));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut seen = Vec::new();
        for (method, target) in &said.asked {
            let request = Request::builder().method(method.as_str()).uri(target).header("Host", "h");
            let informational = Arc::new(Mutex::new(Vec::new()));
            let mut request = request.body(Empty::<Bytes>::new()).unwrap();
            let heard = Arc::clone(&informational);
            hyper::ext::on_informational(&mut request, move |response| {
                heard.lock().unwrap().push(response.status().as_u16())
            });
            if !matches!(at_most(sender.ready()).await, Some(Ok(()))) {
                break;
            }
            let Some(Ok(response)) = at_most(sender.send_request(request)).await else { break };
            let (head, body) = response.into_parts();
            let read = Read { status: Some(head.status.as_u16()), fields: pairs(&head.headers), ..Read::default() };
            let mut read = finish(read, body).await;
            read.informational = std::mem::take(&mut informational.lock().unwrap());
            let ended = read.ended;
            seen.push(read);
            if !ended {
                break;
            }
        }
        drop(sender);
        driver.abort();
        server.abort();
        seen
    })
}
