//! gRPC calls over a UNIX socket, on a connection made for one question: a runtime that was restarted, or hangs, leaves no state behind here.

use std::io;
use std::path::Path;

use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::{ANSWER_BYTES, AskError};

/// A runtime at its socket.
pub(super) struct Peer {
    channel: Channel,
}

impl Peer {
    /// Connects.
    pub(super) async fn connect(socket: &Path) -> Result<Peer, AskError> {
        let stream = UnixStream::connect(socket).await.map_err(AskError::Connect)?;
        let mut stream = Some(TokioIo::new(stream));
        let once = tower::service_fn(move |_: Uri| {
            let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            std::future::ready(stream)
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(once).await?;
        Ok(Peer { channel })
    }

    /// Calls `method`; `None` if the answer is "not found". `namespace`: where containerd is to search.
    pub(super) async fn call<Q, A>(
        &self,
        method: &'static str,
        question: Q,
        namespace: Option<&'static str>,
    ) -> Result<Option<A>, AskError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
        client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let mut request = Request::new(question);
        if let Some(namespace) = namespace {
            request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(namespace));
        }
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        match client.unary(request, PathAndQuery::from_static(method), codec).await {
            Ok(answer) => Ok(Some(answer.into_inner())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }
}
