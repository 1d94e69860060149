//! A real OpenTelemetry Collector between a store and the Python receiver: what it forwards must be what was sent. `QTAP_TEST_OTELCOL` names a
//! collector with the otlp receiver and the otlp and debug exporters; else the one that `cargo xtask setup --for collector` built, or `otelcol`
//! on the PATH is used; without one these tests are skipped, and say so.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qtap_agent::export::settings::{Compression, OtlpProtocol, OtlpSettings};
use qtap_agent::export::{Health, test_connection};
use serde_json::{Value, json};

use super::otlp::{PROTOCOLS, attribute, finish, output, settings, start, store, taken};
use super::python::{Receiver, tools};
use super::records::{artifact, connection, object, one_of_each};

/// The collector, if there is one.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("QTAP_TEST_OTELCOL").map(PathBuf::from);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(tools().join("otelcol")).chain(std::env::split_paths(&paths));
    let found = named.or_else(|| places.map(|path| path.join("otelcol")).find(|path| path.exists()));
    if found.is_none() {
        println!("skipped: no OpenTelemetry Collector (cargo xtask setup --for collector, or QTAP_TEST_OTELCOL)");
    }
    found
}

/// A collector that forwards what it receives, as a child of the test.
struct Collector {
    child: Child,
    grpc: u64,
    http: u64,
    _folder: tempfile::TempDir,
}

impl Collector {
    /// Starts one that forwards over gRPC to `next`. It listens when this returns.
    fn start(program: &PathBuf, next: u64) -> Collector {
        let free = || u64::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let (grpc, http) = (free(), free());
        let config = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}, http: {{endpoint: '127.0.0.1:{http}'}}}}}}}}
exporters: {{otlp: {{endpoint: '127.0.0.1:{next}', tls: {{insecure: true}}, compression: none, sending_queue: {{enabled: false}}}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{logs: {{receivers: [otlp], exporters: [otlp]}}}}
"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("collector.yaml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program);
        command.arg("--config").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let collector = Collector { child: command.spawn().unwrap(), grpc, http, _folder: folder };
        let until = Instant::now() + Duration::from_secs(30);
        for port in [grpc, http] {
            while std::net::TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).is_err() {
                assert!(Instant::now() < until, "the collector does not listen");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        collector
    }

    fn port(&self, protocol: OtlpProtocol) -> u64 {
        match protocol {
            OtlpProtocol::Grpc => self.grpc,
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => self.http,
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_collector_passes_on_what_was_sent() {
    let Some(program) = program() else { return };
    for protocol in PROTOCOLS {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let Some(direct) = Receiver::start(&json!({})) else { return };
            let Some(behind) = Receiver::start(&json!({})) else { return };
            let collector = Collector::start(&program, behind.grpc);
            let mut records = one_of_each();
            records.push(object(6, &[0, 159, 146, 150]));
            records.push(connection(7));
            records.push(artifact(8));
            let mut seen: Vec<Vec<Value>> = Vec::new();
            let ends = [(direct.grpc, OtlpProtocol::Grpc), (collector.port(protocol), protocol)];
            for (port, protocol) in ends {
                let compression = if port == direct.grpc { Compression::None } else { compression };
                let store = start(OtlpSettings { compression, ..settings(protocol, port) });
                store.offer(&records);
                let status = finish(store).await;
                assert_eq!((status.health, status.exported_records), (Health::Healthy, 8), "{protocol:?}: {status:?}");
                assert!(status.losses.is_empty(), "{protocol:?}: {status:?}");
            }
            drop(collector);
            for receiver in [direct, behind] {
                let mut records = taken(&receiver.finish());
                records.sort_by_key(|record| attribute(record, "log.record.uid").to_string());
                seen.push(records);
            }
            assert_eq!(seen[0].len(), 8);
            assert_eq!(seen[0], seen[1], "{protocol:?}, {compression:?}");
        }
    }
}

#[tokio::test]
async fn a_real_collector_is_told_from_a_wrong_port() {
    let Some(program) = program() else { return };
    let Some(behind) = Receiver::start(&json!({})) else { return };
    let collector = Collector::start(&program, behind.grpc);
    for protocol in PROTOCOLS {
        let right = test_connection(&store(settings(protocol, collector.port(protocol))), "1.2.3", &output()).await;
        assert_eq!(right, Ok(()), "{protocol:?}");
        let wrong = if protocol == OtlpProtocol::Grpc { collector.http } else { collector.grpc };
        let told = test_connection(&store(settings(protocol, wrong)), "1.2.3", &output()).await.unwrap_err();
        let words = if protocol == OtlpProtocol::Grpc { "HTTP port" } else { "gRPC port" };
        assert!(told.contains(words), "{protocol:?}: {told}");
    }
}

/// The Collector's own configurations among the examples: the file, and the part of the Operator's resource.
#[test]
fn a_real_collector_accepts_the_examples_configurations() {
    let Some(program) = program() else { return };
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let resource = std::fs::read_to_string(examples.join("kubernetes/collector.yaml")).unwrap();
    let resource: serde_yaml::Value = serde_yaml::from_str(&resource).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let of_the_operator = folder.path().join("collector.yaml");
    std::fs::write(&of_the_operator, serde_yaml::to_string(&resource["spec"]["config"]).unwrap()).unwrap();
    for file in [examples.join("collector/collector.yaml"), of_the_operator] {
        let said = Command::new(&program).arg("validate").arg("--config").arg(&file).output().unwrap();
        assert!(said.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&said.stderr));
    }
}
