//! An in-process server for object stores: answers each request as the test says, and keeps the requests.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

/// The parts of a request that tests examine.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The requests, in order.
pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// The response: status, headers, body. None: the connection is cut once the request's body has begun.
pub(crate) type Answer = Option<(u16, Vec<(&'static str, String)>, String)>;

/// A response with only a status.
pub(crate) fn status(code: u16) -> Answer {
    Some((code, Vec::new(), String::new()))
}

/// An error response in the form of S3.
pub(crate) fn error(code: u16, word: &str) -> Answer {
    Some((code, Vec::new(), format!("<?xml version=\"1.0\"?><Error><Code>{word}</Code><Message>m</Message></Error>")))
}

/// Starts it; returns its port and the log of requests.
pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (u16, Log) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (log, answer) = (Log::default(), Arc::new(answer));
    let kept = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (log, answer) = (Arc::clone(&kept), Arc::clone(&answer));
            let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
                serve(request, Arc::clone(&log), Arc::clone(&answer))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, log)
}

async fn serve(
    request: hyper::Request<Incoming>,
    log: Log,
    answer: Arc<impl Fn(&Asked) -> Answer>,
) -> Result<hyper::Response<Full<Bytes>>, std::io::Error> {
    let (parts, mut body) = request.into_parts();
    let mut asked =
        Asked { line: format!("{} {}", parts.method, parts.uri), headers: parts.headers, body: Bytes::new() };
    let Some((code, headers, text)) = answer(&asked) else {
        let _ = body.frame().await;
        log.lock().unwrap().push(asked);
        return Err(std::io::Error::other("cut"));
    };
    asked.body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    log.lock().unwrap().push(asked);
    let mut response = hyper::Response::builder().status(code);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(text.into())).unwrap())
}

/// The request lines of the log.
pub(crate) fn lines(log: &Log) -> Vec<String> {
    log.lock().unwrap().iter().map(|asked| asked.line.clone()).collect()
}
