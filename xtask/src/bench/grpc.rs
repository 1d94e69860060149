//! The sink's gRPC port: OTLP over gRPC (HTTP/2 without TLS). Each call's message is counted and answered with an empty response
//! and status OK (gRPC over HTTP/2, "Responses"). Only the frame around the message is decoded.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use bytes::Bytes;
use h2::{RecvStream, server};
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};

use super::sink::Counts;

/// Window of a connection and of a stream: so large that no sender ever waits for it.
const WINDOW_BYTES: u32 = 64 << 20;
/// An uncompressed message of zero bytes.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// Listens on a free port; the thread ends with the process.
pub(super) fn start(counts: &Arc<Counts>) -> Result<u16> {
    let listener = StdListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let counts = Arc::clone(counts);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // An error ends the thread; the agent then reports that it can't deliver.
    thread::spawn(move || runtime.block_on(listen(listener, counts)));
    Ok(port)
}

async fn listen(listener: StdListener, counts: Arc<Counts>) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // An error ends only this connection, just as when the client closes it.
        tokio::spawn(serve(stream, Arc::clone(&counts)));
    }
}

async fn serve(stream: TcpStream, counts: Arc<Counts>) -> Result<()> {
    let mut builder = server::Builder::new();
    builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        tokio::spawn(answer(request.into_body(), respond, Arc::clone(&counts)));
    }
    Ok(())
}

async fn answer(mut body: RecvStream, mut respond: server::SendResponse<Bytes>, counts: Arc<Counts>) -> Result<()> {
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        message.extend_from_slice(&data);
    }
    counts.take(&message);
    let head = Response::builder().header("content-type", "application/grpc").body(())?;
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(Bytes::from_static(EMPTY_MESSAGE), false)?;
    let status = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    Ok(stream.send_trailers(status)?)
}
