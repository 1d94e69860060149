//! A store that takes everything: gRPC over HTTP/2, this same program as another process. Messages are read and answered, nothing is decoded.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener as StdListener;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::{RecvStream, server};
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};

/// Window of a connection and of a stream: no sender ever waits for it.
const WINDOW_BYTES: u32 = 64 << 20;
/// An uncompressed message of no bytes.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// The process.
pub(super) struct Sink {
    child: Child,
    pub(super) port: u16,
}

impl Sink {
    /// Ends it.
    pub(super) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Pins a process, all its threads to come, to a core; left as it is where that can't be.
pub(super) fn pin(pid: u32, core: usize) {
    let mut taskset = Command::new("taskset");
    let _ = taskset.args(["-a", "-c", "-p", &core.to_string(), &pid.to_string()]).stdout(Stdio::null()).status();
}

/// Starts it on a port; 0: any.
pub(super) fn start(port: u16) -> Result<Sink> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args(["--sink", &port.to_string()]).stdout(Stdio::piped()).spawn()?;
    pin(child.id(), 1);
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    Ok(Sink { child, port: line.trim().parse()? })
}

/// What the other process does.
pub(super) fn serve(port: u16) -> Result<()> {
    let listener = StdListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            // An error ends that connection, as a client going away does.
            tokio::spawn(connection(stream));
        }
    })
}

async fn connection(stream: TcpStream) -> Result<()> {
    let mut builder = server::Builder::new();
    builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        tokio::spawn(answer(request.into_body(), respond));
    }
    Ok(())
}

async fn answer(mut body: RecvStream, mut respond: server::SendResponse<Bytes>) -> Result<()> {
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    let response = Response::builder().header("content-type", "application/grpc").body(())?;
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(Bytes::from_static(EMPTY_MESSAGE), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)?;
    Ok(())
}
