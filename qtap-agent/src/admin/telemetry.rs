//! qtap's own logs, metrics and spans over OTLP, as far as the standard `OTEL_*` variables enable them (see `asked`): the log lines, the same
//! families as the metrics page, and a span for each export attempt. `service.name` is `qtap-agent` unless a variable sets it. The SDK's
//! exporters read endpoint, headers, timeout and protocol from the variables themselves, as the OpenTelemetry specification says.

mod asked;
mod bridge;

pub use asked::Asked;
pub use bridge::Bridge;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::logs::LoggerProvider;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::Supply;
use super::metrics::{self as own, Family, Kind, Value};
use super::view::Snapshot;

/// Where metrics are sent, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Settings {
    /// The full URL for OTLP over HTTP with protobuf; `None`: as the variables say.
    endpoint: Option<String>,
    /// Time between two exports; `None`: as the variables say (60 s).
    interval: Option<Duration>,
}

/// The running exporters.
#[derive(Debug, Default)]
pub struct Telemetry {
    logs: Option<SdkLoggerProvider>,
    metrics: Option<SdkMeterProvider>,
    traces: Option<SdkTracerProvider>,
}

/// Starts the exporters that `asked` enables. Call it inside a tokio runtime, which gRPC needs.
///
/// # Errors
/// When an exporter can't be built as the variables say: the endpoint is not a URL, or the protocol is not built in.
pub fn start(asked: Asked, bridge: &Bridge, snapshot: Supply<Snapshot>) -> Result<Telemetry, ExporterBuildError> {
    // Fails only when a provider is already installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let resource = resource(asked.named, &snapshot().version);
    let mut telemetry = Telemetry::default();
    if asked.logs {
        let exporter = LogExporter::builder().build()?;
        let provider =
            SdkLoggerProvider::builder().with_resource(resource.clone()).with_batch_exporter(exporter).build();
        let _ = bridge.logger.set(provider.logger("qtap"));
        telemetry.logs = Some(provider);
    }
    if asked.traces {
        let exporter = SpanExporter::builder().build()?;
        let provider =
            SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(exporter).build();
        let _ = bridge.tracer.set(provider.tracer("qtap"));
        telemetry.traces = Some(provider);
    }
    if asked.metrics {
        telemetry.metrics = Some(metrics(Settings::default(), resource, snapshot)?);
    }
    Ok(telemetry)
}

/// The resource as the variables describe it, with a default service name when they give none.
fn resource(named: bool, version: &str) -> Resource {
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", version.to_owned()));
    if named { resource.build() } else { resource.with_service_name("qtap-agent").build() }
}

fn metrics(
    settings: Settings,
    resource: Resource,
    snapshot: Supply<Snapshot>,
) -> Result<SdkMeterProvider, ExporterBuildError> {
    let exporter = match settings.endpoint {
        Some(endpoint) => {
            let http = MetricExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            http.with_endpoint(endpoint).build()?
        }
        None => MetricExporter::builder().build()?,
    };
    let mut reader = PeriodicReader::builder(exporter);
    if let Some(interval) = settings.interval {
        reader = reader.with_interval(interval);
    }
    let first = snapshot();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader.build()).build();
    let meter = provider.meter("qtap");
    for (index, family) in own::families(&first).into_iter().enumerate() {
        let snapshot = Arc::clone(&snapshot);
        instrument(&meter, &family, move || {
            // The index is stable: `families` always returns all families in the same order.
            own::families(&snapshot()).into_iter().nth(index).map(|family| family.points).unwrap_or_default()
        });
    }
    Ok(provider)
}

impl Telemetry {
    /// Exports what is pending one last time and stops.
    pub async fn stop(self) {
        let Telemetry { logs, metrics, traces } = self;
        let stopped = tokio::task::spawn_blocking(move || {
            let metrics = metrics.map_or(Ok(()), |provider| provider.shutdown());
            let traces = traces.map_or(Ok(()), |provider| provider.shutdown());
            metrics.and(traces).and(logs.map_or(Ok(()), |provider| provider.shutdown()))
        });
        if let Ok(Err(error)) = stopped.await {
            tracing::warn!(%error, "the last of qtap's own telemetry could not be exported");
        }
    }
}

/// Registers a family. The library has no observable histogram, so a histogram becomes two counters, `_sum` and `_count`.
fn instrument(meter: &Meter, family: &Family, points: impl Fn() -> Vec<own::Point> + Clone + Send + Sync + 'static) {
    let (name, help) = (family.name, family.help);
    let counter = |name: String, of: fn(&Value) -> f64| {
        let points = points.clone();
        let counter = meter.f64_observable_counter(name).with_description(help);
        counter.with_callback(move |to| observe(points(), of, &|value, labels| to.observe(value, labels))).build();
    };
    match family.kind {
        Kind::Counter => counter(name.to_owned(), single),
        Kind::Histogram => {
            counter(format!("{name}_sum"), single);
            counter(format!("{name}_count"), |value| match value {
                Value::Spread { count, .. } => *count as f64,
                Value::Int(_) | Value::Float(_) => 0.0,
            });
        }
        Kind::Gauge => {
            let points = points.clone();
            let gauge = meter.f64_observable_gauge(name).with_description(help);
            gauge
                .with_callback(move |to| observe(points(), single, &|value, labels| to.observe(value, labels)))
                .build();
        }
    }
}

fn observe(points: Vec<own::Point>, of: fn(&Value) -> f64, to: &dyn Fn(f64, &[KeyValue])) {
    for (labels, value) in points {
        let labels: Vec<_> = labels.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect();
        to(of(&value), &labels);
    }
}

/// A value as one number: of a histogram, its sum. Counts past 2^53 lose their last digits.
fn single(value: &Value) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        Value::Spread { sum, .. } => *sum,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // test: a missing request is a failure
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Reads one request and answers it; returns its start line and its body.
    fn receive(listener: &TcpListener) -> (String, Vec<u8>) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..read]);
            let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&seen[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap().trim();
            if seen.len() >= end + 4 + length.parse::<usize>().unwrap() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
                return (head.lines().next().unwrap().to_owned(), seen.split_off(end + 4));
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_counted_arrives() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/v1/metrics", listener.local_addr().unwrap());
        let received = tokio::task::spawn_blocking(move || receive(&listener));
        let settings = Settings { endpoint: Some(endpoint), interval: Some(Duration::from_secs(3600)) };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let supply = Arc::new(super::super::tests::snapshot);
        let metrics = Some(metrics(settings, resource(false, "1"), supply).unwrap());
        Telemetry { metrics, ..Telemetry::default() }.stop().await;
        let (start_line, body) = received.await.unwrap();
        assert_eq!(start_line, "post /v1/metrics http/1.1");
        for wanted in ["qtap-agent", "qtap_loss_bytes", "ring_full", "qtap_export_records", "main"] {
            assert!(body.windows(wanted.len()).any(|window| window == wanted.as_bytes()), "{wanted}");
        }
    }
}
