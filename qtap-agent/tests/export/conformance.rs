//! What every implementer of `Exporter` must do, whatever its protocol: OTLP over gRPC, HTTP with protobuf and with JSON, S3,
//! lines, memory. The servers here are small and in-process; third-party receivers are in `otlp` and `s3`.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value;
use prost::Message as _;
use qtap_agent::export::exporter::{Exporter, Item, Receipt, Takes};
use qtap_agent::export::memory::{Memory, MemoryExporter};
use qtap_agent::export::objects::ObjectExporter;
use qtap_agent::export::otlp::Encoding;
use qtap_agent::export::otlp::grpc::GrpcExporter;
use qtap_agent::export::otlp::http::HttpExporter;
use qtap_agent::export::settings::{
    Auth, BatchSettings, Compression, Limits, OtlpProtocol, OtlpSettings, Place, ProxySettings, ResourceSettings,
    RetrySettings, S3Settings, TlsSettings,
};
use qtap_agent::export::stdout::{Output, StdoutExporter};
use qtap_agent::model::record::{Record, RecordKind, Severity};
use serde_json::Value;

use super::records::one_of_each;

/// Bound on one request.
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) const BOTH: Takes = Takes { events: true, objects: true };

/// What arrived: uids of records, or digests of objects for a store that keeps only those.
type Arrived = Arc<Mutex<Vec<String>>>;

/// The suite. `arrived` returns what the server has; `names` returns the name of a record there, or None when it is not accepted.
async fn conforms<E, A>(exporter: E, arrived: A, names: fn(&Record) -> Option<String>)
where
    E: Exporter,
    A: AsyncFn() -> Vec<String>,
{
    let records = one_of_each();
    let items: Vec<Item> = records.iter().flat_map(|record| exporter.prepare(record).items).collect();
    let want: Vec<String> = records.iter().filter_map(|record| names(record)).collect();
    assert_eq!(items.len(), want.len(), "takes what it should");

    let again: Vec<Item> = records.iter().flat_map(|record| exporter.prepare(record).items).collect();
    assert_eq!(items, again, "the same record gives the same item");

    assert_eq!(exporter.send(&[]).await, Ok(Receipt::default()), "nothing is sent without complaint");
    assert_eq!(arrived().await, Vec::<String>::new(), "nothing arrives of nothing");

    assert_eq!(exporter.send(&items).await, Ok(Receipt::default()));
    assert_eq!(arrived().await, want, "everything arrives, in order, once");

    assert_eq!(exporter.send(&items).await, Ok(Receipt::default()), "the same again is taken as well");
}

fn uid(record: &Record) -> Option<String> {
    Some(record.uid.clone())
}

pub(crate) fn settings(port: u16) -> OtlpSettings {
    OtlpSettings {
        resource: ResourceSettings { service_name: "shop".into(), ..ResourceSettings::default() },
        endpoint: format!("127.0.0.1:{port}"),
        endpoint_is_exact: false,
        protocol: OtlpProtocol::Grpc,
        put: false,
        compression: Compression::None,
        headers: Vec::new(),
        auth: Auth::None,
        tls: TlsSettings::default(),
        proxy: ProxySettings::default(),
        timeout: Duration::from_secs(5),
        batch: BatchSettings::default(),
        retry: RetrySettings::default(),
        workers: 1,
        min_severity: Severity::Trace,
        limits: Limits::default(),
    }
}

/// The uids in a request, in order.
fn uids(request: &ExportLogsServiceRequest) -> Vec<String> {
    let records = request.resource_logs.iter().flat_map(|logs| &logs.scope_logs).flat_map(|scope| &scope.log_records);
    let uid = |record: &opentelemetry_proto::tonic::logs::v1::LogRecord| {
        let found = record.attributes.iter().find(|attribute| attribute.key == "log.record.uid").unwrap();
        match found.value.clone().unwrap().value.unwrap() {
            any_value::Value::StringValue(text) => text,
            other => panic!("{other:?}"),
        }
    };
    records.map(uid).collect()
}

/// The uids in an OTLP/JSON request.
fn json_uids(request: &Value) -> Vec<String> {
    let scope = &request["resourceLogs"][0]["scopeLogs"][0];
    let record = |record: &Value| record["attributes"][0]["value"]["stringValue"].as_str().unwrap().to_owned();
    scope["logRecords"].as_array().unwrap().iter().map(record).collect()
}

struct Grpc(Arrived);

#[tonic::async_trait]
impl LogsService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().extend(uids(request.get_ref()));
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tokio::test]
async fn grpc() {
    let arrived = Arrived::default();
    let service = LogsServiceServer::new(Grpc(Arc::clone(&arrived)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    let exporter = GrpcExporter::new(&settings(port), BOTH, "1.2.3").unwrap();
    conforms(exporter, async || arrived.lock().unwrap().clone(), uid).await;
}

/// An HTTP/1 server that decodes OTLP by its content type.
async fn http_server(arrived: Arrived) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let arrived = Arc::clone(&arrived);
            let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
                let arrived = Arc::clone(&arrived);
                async move {
                    let json = request.headers()["content-type"] == "application/json";
                    let body = request.into_body().collect().await?.to_bytes();
                    let uids = if json {
                        json_uids(&serde_json::from_slice(&body).unwrap())
                    } else {
                        uids(&ExportLogsServiceRequest::decode(body).unwrap())
                    };
                    arrived.lock().unwrap().extend(uids);
                    Ok::<_, hyper::Error>(hyper::Response::new(Full::new(bytes::Bytes::new())))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test]
async fn http_protobuf() {
    let arrived = Arrived::default();
    let port = http_server(Arc::clone(&arrived)).await;
    let exporter = HttpExporter::new(&settings(port), BOTH, Encoding::Protobuf, "1.2.3").unwrap();
    conforms(exporter, async || arrived.lock().unwrap().clone(), uid).await;
}

#[tokio::test]
async fn http_json() {
    let arrived = Arrived::default();
    let port = http_server(Arc::clone(&arrived)).await;
    let exporter = HttpExporter::new(&settings(port), BOTH, Encoding::Json, "1.2.3").unwrap();
    conforms(exporter, async || arrived.lock().unwrap().clone(), uid).await;
}

#[tokio::test]
async fn s3() {
    let bucket = Arc::new(InMemory::new());
    let exporter = ObjectExporter::to(Arc::clone(&bucket) as Arc<dyn object_store::ObjectStore>, "", "memory", LIMIT);
    let records = one_of_each();
    let arrived = async || {
        let mut found = Vec::new();
        for record in &records {
            let Some(hex) = hex_digest(record) else { continue };
            if bucket.head(&object_store::path::Path::from(hex.as_str())).await.is_ok() {
                found.push(hex);
            }
        }
        found
    };
    conforms(exporter, arrived, hex_digest).await;
}

/// A directory, which stores no media types.
#[tokio::test]
async fn folder() {
    let folder = tempfile::tempdir().unwrap();
    let settings = S3Settings {
        place: Place::Folder(folder.path().to_owned()),
        prefix: "p/".to_owned(),
        tls: TlsSettings::default(),
        proxy: ProxySettings::default(),
        timeout: LIMIT,
        retry: RetrySettings::default(),
        workers: 1,
    };
    let arrived = async || {
        let entries = std::fs::read_dir(folder.path().join("p")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    conforms(ObjectExporter::new(&settings, "1.2.3").unwrap(), arrived, hex_digest).await;
}

fn hex_digest(record: &Record) -> Option<String> {
    match &record.kind {
        RecordKind::Object(object) => object.digest.strip_prefix("sha256:").map(str::to_owned),
        _ => None,
    }
}

/// A writer whose contents others can read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn stdout() {
    let written = Shared::default();
    let output = Output::to(Box::new(written.clone()), false);
    let exporter = StdoutExporter::new(ResourceSettings::default(), Severity::Trace, BOTH, output, "1.2.3");
    let arrived = async || {
        let text = written.0.lock().unwrap().clone();
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        lines.flat_map(|line| json_uids(&serde_json::from_slice(line).unwrap())).collect()
    };
    conforms(exporter, arrived, uid).await;
}

#[tokio::test]
async fn memory() {
    let memory = Memory::default();
    let exporter = MemoryExporter::new(memory.clone(), BOTH);
    let uid_of = |record: &Value| record["attributes"][0]["value"]["stringValue"].as_str().unwrap().to_owned();
    conforms(exporter, async || memory.records().iter().map(uid_of).collect(), uid).await;
}
