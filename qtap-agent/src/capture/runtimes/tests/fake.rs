//! Fake runtimes: servers on UNIX sockets that stop when they are dropped.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

pub(super) const A: &str = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988";
pub(super) const B: &str = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

pub(super) fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"))
}

/// A server on a socket, with a thread of its own.
pub(super) struct Server {
    pub(super) socket: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn run<F, S>(socket: &Path, serve: F) -> Server
    where
        F: FnOnce(UnixListener) -> S + Send + 'static,
        S: Future<Output = ()>,
    {
        let (end, ended) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let path = socket.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap_or_else(|error| panic!("{error}")).block_on(async {
                let _ = std::fs::remove_file(&path);
                let listener = UnixListener::bind(&path).unwrap_or_else(|error| panic!("{error}"));
                let _ = ready.send(());
                tokio::select! { () = serve(listener) => {}, _ = ended => {} }
            });
        });
        let _ = is_ready.recv();
        Server { socket: socket.to_owned(), end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A server's answer to a request, which it receives as text.
pub(super) type Says = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// HTTP as bytes: each connection is read up to the end of a head, answered with whatever `says` gives, and then closed.
pub(super) fn http(socket: &Path, says: Says) -> Server {
    Server::run(socket, move |listener| async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let says = Arc::clone(&says);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    match stream.read(&mut byte).await {
                        Ok(1) => head.extend_from_slice(&byte),
                        _ => return,
                    }
                }
                let answer = says(&String::from_utf8_lossy(&head));
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            });
        }
    })
}

/// Takes connections and says nothing, ever.
pub(super) fn hung(socket: &Path) -> Server {
    Server::run(socket, |listener| async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    })
}

/// An answer without an end, sent as fast as it is read.
pub(super) fn endless(socket: &Path) -> Server {
    Server::run(socket, |listener| async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
                while stream.write_all(&chunk).await.is_ok() {}
            });
        }
    })
}

/// An HTTP answer.
pub(super) fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into()
}

/// A field of a protobuf message: its number and its content.
pub(super) fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut out = Vec::new();
    let mut varint = |mut value: usize| {
        while value >= 0x80 {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    varint(usize::from(number) << 3 | 2);
    varint(content.len());
    out.extend_from_slice(content);
    out
}

/// A map of text to text is a list of messages of two fields.
pub(super) fn map(number: u8, pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(key, value)| field(number, [field(1, key), field(2, value)].concat())).collect()
}

/// A gRPC method's answer to a request: a message, a status, or a message after a delay.
pub(super) enum Reply {
    Message(Vec<u8>),
    Status(u16),
    After(Duration, Vec<u8>),
}

/// Methods by path, and the requests so far: path, `containerd-namespace`, message.
pub(super) type Method = Box<dyn Fn(&str, &[u8]) -> Reply + Send + Sync>;
pub(super) type Asked = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A gRPC server: hyper's HTTP/2, messages framed by hand. It answers an unknown method with UNIMPLEMENTED.
pub(super) fn grpc(socket: &Path, methods: HashMap<&'static str, Method>) -> (Server, Asked) {
    let (methods, asked) = (Arc::new(methods), Asked::default());
    let seen = Arc::clone(&asked);
    let server = Server::run(socket, move |listener| async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (methods, seen) = (Arc::clone(&methods), Arc::clone(&seen));
            let service =
                hyper::service::service_fn(move |request| call(Arc::clone(&methods), Arc::clone(&seen), request));
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move {
                let _ = served.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (server, asked)
}

fn call(
    methods: Arc<HashMap<&'static str, Method>>,
    seen: Asked,
    request: Request<Incoming>,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>, hyper::Error>> + Send>> {
    Box::pin(async move {
        let path = request.uri().path().to_owned();
        let namespace = request.headers().get("containerd-namespace").and_then(|value| value.to_str().ok());
        let namespace = namespace.unwrap_or_default().to_owned();
        let bytes = request.into_body().collect().await?.to_bytes();
        let message = bytes.get(5..).unwrap_or_default().to_vec();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push((path.clone(), namespace.clone(), message.clone()));
        let reply = methods.get(path.as_str()).map_or(Reply::Status(12), |method| method(&namespace, &message));
        let (message, status) = match reply {
            Reply::Message(message) => (Some(message), 0),
            Reply::Status(status) => (None, status),
            Reply::After(delay, message) => {
                tokio::time::sleep(delay).await;
                (Some(message), 0)
            }
        };
        let mut frames = Vec::new();
        if let Some(message) = message {
            let mut framed = BytesMut::new();
            framed.put_u8(0);
            framed.put_u32(message.len() as u32);
            framed.put_slice(&message);
            frames.push(Ok(Frame::data(framed.freeze())));
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.into());
        frames.push(Ok(Frame::trailers(trailers)));
        let body = StreamBody::new(Stream(frames.into_iter()));
        let response = Response::builder().header("content-type", "application/grpc").body(body.boxed());
        Ok(response.unwrap_or_else(|_| Response::new(Full::default().boxed())))
    })
}

/// A body of frames that are already there.
struct Stream(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

impl futures_core::Stream for Stream {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
