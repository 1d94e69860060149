//! A gRPC server that compresses its response, as grpc-go does after a compressed request: the response is read, and nothing is sent twice.

use std::sync::{Arc, Mutex};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use qtap_agent::export::exporter::{Exporter as _, Receipt};
use qtap_agent::export::otlp::grpc::GrpcExporter;
use qtap_agent::export::settings::{Compression, OtlpSettings};
use tonic::codec::CompressionEncoding;

use super::conformance::{BOTH, settings};
use super::records::one_of_each;

/// The content encoding of each call received.
struct Server(Arc<Mutex<Vec<String>>>);

#[tonic::async_trait]
impl LogsService for Server {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        let encoding = request.metadata().get("grpc-encoding").map(|value| value.to_str().unwrap().to_owned());
        self.0.lock().unwrap().push(encoding.unwrap_or_default());
        let partial = ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "too old ".repeat(100) };
        Ok(tonic::Response::new(ExportLogsServiceResponse { partial_success: Some(partial) }))
    }
}

async fn server(encoding: CompressionEncoding, name: &'static str, calls: Arc<Mutex<Vec<String>>>) -> u16 {
    let service = LogsServiceServer::new(Server(calls)).accept_compressed(encoding).send_compressed(encoding);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            // grpc-go does not check whether the client accepts the encoding that it sent itself.
            let service = tower::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                request.headers_mut().insert("grpc-accept-encoding", http::HeaderValue::from_static(name));
                tower::ServiceExt::oneshot(service.clone(), request)
            });
            let service = TowerToHyperService::new(service);
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    let encodings = [
        (Compression::Gzip, CompressionEncoding::Gzip, "gzip"),
        (Compression::Zstd, CompressionEncoding::Zstd, "zstd"),
    ];
    for (compression, encoding, name) in encodings {
        let calls = Arc::default();
        let port = server(encoding, name, Arc::clone(&calls)).await;
        let exporter = GrpcExporter::new(&OtlpSettings { compression, ..settings(port) }, BOTH, "1.2.3").unwrap();
        let items: Vec<_> = one_of_each().iter().flat_map(|record| exporter.prepare(record).items).collect();
        let want = Receipt { rejected: 1, message: Some("too old ".repeat(100)) };
        assert_eq!(exporter.send(&items).await, Ok(want), "{name}");
        assert_eq!(*calls.lock().unwrap(), [name], "each batch was sent once, compressed");
    }
}
