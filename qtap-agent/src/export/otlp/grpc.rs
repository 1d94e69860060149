//! OTLP over gRPC: one unary call per batch over one HTTP/2 connection, made when it is first needed and again when it breaks. The
//! request is already encoded, so the codec passes bytes through.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder as WireEncoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::compress::Ladder;
use super::endpoint::{self, EndpointError};
use super::{Encoder, Encoding, receipt};
use crate::export::auth::Credentials;
use crate::export::exporter::{Exporter, Item, Prepared, Receipt, Takes};
use crate::export::refusal::Refusal;
use crate::export::retry::RETRY_AFTER_MAX;
use crate::export::settings::{Auth, Compression, OtlpSettings};
use crate::export::store::StartError;
use crate::export::tls;
use crate::model::record::Record;

/// The method (opentelemetry-proto, `collector/logs/v1/logs_service.proto`).
const EXPORT: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.logs.v1.LogsService/Export");

/// A ping this often while calls are under way finds connections that died without a word.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A store reached over OTLP/gRPC.
#[derive(Debug)]
pub struct GrpcExporter {
    channel: Channel,
    credentials: Credentials,
    encoder: Encoder,
    ladder: Arc<Ladder>,
    target: String,
}

impl GrpcExporter {
    /// Checks the settings; connects to nothing yet. Needs a runtime around it.
    ///
    /// # Errors
    /// When endpoint, headers or TLS files cannot be used.
    pub fn new(settings: &OtlpSettings, takes: Takes, version: &'static str) -> Result<GrpcExporter, StartError> {
        let url = endpoint::grpc(&settings.endpoint, settings.tls.enabled)?;
        let credentials = Credentials::new(&settings.headers, &settings.auth)?;
        if matches!(settings.auth, Auth::Query { .. }) {
            return Err(StartError::GrpcQuery);
        }
        let address = Address {
            host: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
            timeout: settings.timeout,
        };
        let authority = format!("{}:{}", url.host_str().unwrap_or_default(), address.port);
        let invalid = |error: &dyn std::fmt::Display| {
            StartError::Endpoint(EndpointError::Malformed(settings.endpoint.clone(), error.to_string()))
        };
        let origin: Uri = format!("{}://{authority}", url.scheme()).parse().map_err(|error| invalid(&error))?;
        let ladder = Arc::new(Ladder::new(settings.compression));
        // TLS is made by our own connector, from the same configuration as elsewhere: tonic is told of a plain address.
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .and_then(|endpoint| endpoint.user_agent(format!("qtap/{version}")))
            .map_err(|error| invalid(&error))?
            .origin(origin)
            .http2_keep_alive_interval(KEEPALIVE)
            .http2_adaptive_window(true);
        let channel = if url.scheme() == "https" {
            connect_tls(&endpoint, address, settings, Arc::clone(&ladder))?
        } else {
            connect_plain(&endpoint, address, Arc::clone(&ladder))
        };
        let encoder =
            Encoder::new(takes, Encoding::Protobuf, settings.min_severity, settings.resource.clone(), version);
        Ok(GrpcExporter { channel, credentials, encoder, ladder, target: authority })
    }

    async fn call(&self, message: Bytes, compression: Compression, metadata: MetadataMap) -> Result<Receipt, Status> {
        // Whatever was sent: grpc-go answers as it was asked, and an answer that can't be read would be sent for again.
        let mut client = tonic::client::Grpc::new(self.channel.clone())
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

    fn refusal(&self, status: &Status) -> Refusal {
        if let Some(cause) = std::error::Error::source(status) {
            return Refusal::transport(cause, &self.target);
        }
        let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Refusal::grpc(status.code(), status.message(), delay.map(|delay| delay.min(RETRY_AFTER_MAX)))
    }
}

impl Exporter for GrpcExporter {
    fn prepare(&self, record: &Record) -> Prepared {
        self.encoder.item(record).into()
    }

    async fn send(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        if items.is_empty() {
            return Ok(Receipt::default());
        }
        let message = Bytes::from(self.encoder.request(items));
        loop {
            let compression = self.ladder.current();
            let carried = self.credentials.carried().map_err(|error| Refusal::reconfigure(error.to_string()))?;
            let metadata = MetadataMap::from_headers(carried.headers);
            match self.call(message.clone(), compression, metadata).await {
                Ok(receipt) => {
                    self.ladder.prove();
                    return Ok(receipt);
                }
                // grpcio answers INTERNAL to zstd, others UNIMPLEMENTED (gRPC "Compression", test cases).
                Err(status)
                    if matches!(status.code(), Code::Internal | Code::Unimplemented)
                        && self.ladder.step_down(compression) => {}
                Err(status) => return Err(self.refusal(&status)),
            }
        }
    }
}

/// Where to connect to, and how long that may take.
#[derive(Debug, Clone)]
struct Address {
    host: String,
    port: u16,
    timeout: Duration,
}

impl Address {
    async fn connect(&self) -> io::Result<TcpStream> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(self.timeout, connecting).await.map_err(io::Error::from)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn connect_plain(endpoint: &Endpoint, address: Address, ladder: Arc<Ladder>) -> Channel {
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (address, ladder) = (address.clone(), Arc::clone(&ladder));
        async move {
            let stream = address.connect().await?;
            ladder.renew();
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    }))
}

fn connect_tls(
    endpoint: &Endpoint,
    address: Address,
    settings: &OtlpSettings,
    ladder: Arc<Ladder>,
) -> Result<Channel, StartError> {
    let mut config = tls::client_config(&settings.tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = settings.tls.server_name.clone().unwrap_or_else(|| address.host.clone());
    let name = ServerName::try_from(name.clone()).map_err(|_| tls::TlsError::ServerName(name))?;
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let (address, ladder) = (address.clone(), Arc::clone(&ladder));
        let (connector, name) = (connector.clone(), name.clone());
        async move {
            let stream = address.connect().await?;
            let handshake = connector.connect(name, stream);
            let stream = tokio::time::timeout(address.timeout, handshake).await.map_err(io::Error::from)??;
            ladder.renew();
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    })))
}

/// Sends what is already encoded, reads the answer.
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
