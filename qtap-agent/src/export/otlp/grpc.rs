//! OTLP over gRPC: one unary call per batch over one HTTP/2 connection, which is made when first needed, and again when it breaks, does not
//! answer in time, or certificate files change. The request is already encoded, so the codec passes bytes through.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder as WireEncoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::compress::Ladder;
use super::dial::Dial;
use super::endpoint::{self, EndpointError};
use super::{Encoder, Encoding, receipt};
use crate::export::auth::{Authorizer, Carried};
use crate::export::client::through;
use crate::export::exporter::{Exporter, Item, Prepared, Receipt, Takes};
use crate::export::proxy;
use crate::export::refusal::Refusal;
use crate::export::renewed::Renewed;
use crate::export::retry::RETRY_AFTER_MAX;
use crate::export::settings::{Auth, Compression, OtlpSettings};
use crate::export::store::StartError;
use crate::model::record::Record;

/// The method (opentelemetry-proto, `collector/logs/v1/logs_service.proto`).
const EXPORT: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.logs.v1.LogsService/Export");

/// An HTTP/2 PING is sent when nothing was read for this long during a call. Go servers close connections that send PINGs more often, or
/// outside a call.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection that does not answer a PING within this time is dead; this matters only if the store's timeout is longer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A store reached over OTLP/gRPC.
#[derive(Debug)]
pub struct GrpcExporter {
    channel: Renewed<Channel>,
    authorizer: Authorizer,
    encoder: Encoder,
    ladder: Arc<Ladder>,
    target: String,
}

impl GrpcExporter {
    /// Checks the settings; does not connect yet. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the endpoint, headers, proxy or TLS files can't be used.
    pub fn new(settings: &OtlpSettings, takes: Takes, version: &'static str) -> Result<GrpcExporter, StartError> {
        let url = endpoint::grpc(&settings.endpoint, settings.tls.enabled)?;
        if matches!(settings.auth, Auth::Query { .. }) {
            return Err(StartError::GrpcQuery);
        }
        let authorizer = Authorizer::new(settings, version)?;
        let via = proxy::via(&settings.proxy, &url)?;
        let authority =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let target = through(&authority, via.as_ref());
        let ladder = Arc::new(Ladder::new(settings.compression));
        let invalid = |error: &dyn std::fmt::Display| {
            StartError::Endpoint(EndpointError::Malformed(endpoint::shown(&settings.endpoint), error.to_string()))
        };
        let origin: Uri = format!("{}://{authority}", url.scheme()).parse().map_err(|error| invalid(&error))?;
        // Our own connector does TLS, with the same configuration as elsewhere, so tonic gets a plaintext address.
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .and_then(|endpoint| endpoint.user_agent(format!("qtap/{version}")))
            .map_err(|error| invalid(&error))?
            .origin(origin)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .http2_adaptive_window(true);
        let files = if url.scheme() == "https" { settings.tls.files() } else { Vec::new() };
        let channel = {
            let (tls, timeout, ladder) = (settings.tls.clone(), settings.timeout, Arc::clone(&ladder));
            Renewed::new(files, move || {
                let dial = Dial::new(&url, &tls, via.clone(), timeout)?;
                Ok(connect(&endpoint, dial, Arc::clone(&ladder)))
            })?
        };
        let encoder = Encoder::for_store(settings, takes, Encoding::Protobuf, version);
        Ok(GrpcExporter { channel, authorizer, encoder, ladder, target })
    }

    async fn call(&self, message: Bytes, compression: Compression, metadata: MetadataMap) -> Result<Receipt, Status> {
        let (channel, number) = self.channel.current();
        let mut unanswered = Unanswered { channel: &self.channel, number, armed: true };
        let answer = call(channel, message, compression, metadata).await;
        unanswered.armed = answer.as_ref().is_err_and(|status| std::error::Error::source(status).is_some());
        answer
    }

    fn refusal(&self, status: &Status, carried: &Carried) -> Refusal {
        if let Some(cause) = std::error::Error::source(status) {
            return Refusal::transport(cause, &self.target);
        }
        let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Refusal::grpc(status.code(), &carried.hide(status.message()), delay.map(|delay| delay.min(RETRY_AFTER_MAX)))
    }
}

/// A call in progress. If it ends without an answer (including a timeout), the connection is replaced: it may be dead, and the kernel
/// needs a quarter of an hour to report that.
struct Unanswered<'c> {
    channel: &'c Renewed<Channel>,
    number: u64,
    armed: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.channel.suspect(self.number);
        }
    }
}

async fn call(
    channel: Channel,
    message: Bytes,
    compression: Compression,
    metadata: MetadataMap,
) -> Result<Receipt, Status> {
    // Always accept compressed answers: grpc-go answers with the compression of the request, and an unreadable answer would cause a resend.
    let mut client = tonic::client::Grpc::new(channel)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    match compression {
        Compression::None => {}
        Compression::Gzip => client = client.send_compressed(CompressionEncoding::Gzip),
        Compression::Zstd => client = client.send_compressed(CompressionEncoding::Zstd),
    }
    client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    let mut request = Request::new(message);
    *request.metadata_mut() = metadata;
    let answer = client.unary(request, EXPORT, Passthrough).await?.into_inner();
    let partial = answer.partial_success;
    Ok(partial.map(|partial| receipt(partial.rejected_log_records, partial.error_message)).unwrap_or_default())
}

impl Exporter for GrpcExporter {
    fn prepare(&self, record: &Record) -> Prepared {
        self.encoder.prepare(record)
    }

    async fn send(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        if items.is_empty() {
            return Ok(Receipt::default());
        }
        let message = Bytes::from(self.encoder.request(items)?);
        let mut renewed = false;
        loop {
            let compression = self.ladder.current();
            let carried = self.authorizer.carried().await?;
            let metadata = MetadataMap::from_headers(carried.headers.clone());
            let status = match self.call(message.clone(), compression, metadata).await {
                Ok(receipt) => {
                    self.ladder.prove();
                    return Ok(Receipt { message: receipt.message.map(|text| carried.hide(&text)), ..receipt });
                }
                Err(status) => status,
            };
            match status.code() {
                // grpcio answers INTERNAL to zstd, others answer UNIMPLEMENTED (gRPC "Compression", test cases).
                Code::Internal | Code::Unimplemented if self.ladder.step_down(compression) => {}
                Code::Unauthenticated if !renewed && self.authorizer.refused(&carried).await => renewed = true,
                _ => return Err(self.refusal(&status, &carried)),
            }
        }
    }
}

fn connect(endpoint: &Endpoint, dial: Dial, ladder: Arc<Ladder>) -> Channel {
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (dial, ladder) = (dial.clone(), Arc::clone(&ladder));
        async move {
            let stream = dial.connect().await?;
            ladder.renew();
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    }))
}

/// Sends bytes that are already encoded, and decodes the answer.
#[derive(Debug, Clone, Copy, Default)]
struct Passthrough;

impl Codec for Passthrough {
    type Encode = Bytes;
    type Decode = ExportLogsServiceResponse;
    type Encoder = Passthrough;
    type Decoder = Passthrough;

    fn encoder(&mut self) -> Self::Encoder {
        Passthrough
    }

    fn decoder(&mut self) -> Self::Decoder {
        Passthrough
    }
}

impl WireEncoder for Passthrough {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(item.len());
        out.put(item);
        Ok(())
    }
}

impl Decoder for Passthrough {
    type Item = ExportLogsServiceResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let answer = ExportLogsServiceResponse::decode(from);
        answer.map(Some).map_err(|error| Status::internal(format!("the answer is not OTLP: {error}")))
    }
}
