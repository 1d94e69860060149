//! qtap's own metrics over OTLP, when the standard `OTEL_*` variables ask for it: the same families as the metrics page, under
//! `service.name` `qtap-agent`. Whether it is asked for is decided by who reads the environment; endpoint, headers, timeout and
//! protocol are read by the exporter itself, as its specification says.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};

use super::Supply;
use super::metrics::{self, Family, Kind, Value};
use super::view::Snapshot;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The full URL for OTLP over HTTP with protobuf; none: as the variables say.
    pub endpoint: Option<String>,
    /// Time between two exports; none: as the variables say (60 s).
    pub interval: Option<Duration>,
}

/// Exports until it is stopped.
#[derive(Debug)]
pub struct Telemetry(SdkMeterProvider);

/// Starts to export. To be called inside a tokio runtime, which gRPC needs.
///
/// # Errors
/// When what the variables ask for can't be had: an endpoint that is no URL, a protocol that is not built in.
pub fn start(settings: Settings, snapshot: Supply<Snapshot>) -> Result<Telemetry, ExporterBuildError> {
    // An error says that there is a provider already, which will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
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
    let version = KeyValue::new("service.version", first.version.clone());
    let resource = Resource::builder().with_service_name("qtap-agent").with_attribute(version).build();
    let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader.build()).build();
    let meter = provider.meter("qtap");
    for (index, family) in metrics::families(&first).into_iter().enumerate() {
        let snapshot = Arc::clone(&snapshot);
        instrument(&meter, &family, move || {
            // Always all families and in the same order.
            metrics::families(&snapshot()).into_iter().nth(index).map(|family| family.points).unwrap_or_default()
        });
    }
    Ok(Telemetry(provider))
}

impl Telemetry {
    /// Exports what there is a last time, and ends.
    pub async fn stop(self) {
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(%error, "the last of qtap's own metrics could not be exported");
        }
    }
}

fn instrument(meter: &Meter, family: &Family, points: impl Fn() -> Vec<metrics::Point> + Send + Sync + 'static) {
    let observe = move |observe: &dyn Fn(f64, &[KeyValue])| {
        for (labels, value) in points() {
            let labels: Vec<_> = labels.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect();
            match value {
                // Counts past 2^53 lose their last digits.
                Value::Int(value) => observe(value as f64, &labels),
                Value::Float(value) => observe(value, &labels),
            }
        }
    };
    match family.kind {
        Kind::Counter => {
            let counter = meter.f64_observable_counter(family.name).with_description(family.help);
            counter.with_callback(move |to| observe(&|value, labels| to.observe(value, labels))).build();
        }
        Kind::Gauge => {
            let gauge = meter.f64_observable_gauge(family.name).with_description(family.help);
            gauge.with_callback(move |to| observe(&|value, labels| to.observe(value, labels))).build();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a request that does not come is what this test looks for
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Reads one request and answers it; gives its start line and its body.
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
        let telemetry = start(settings, Arc::new(super::super::tests::snapshot)).unwrap();
        telemetry.stop().await;
        let (start_line, body) = received.await.unwrap();
        assert_eq!(start_line, "post /v1/metrics http/1.1");
        for wanted in ["qtap-agent", "qtap_loss_bytes", "ring_full", "qtap_export_records", "main"] {
            assert!(body.windows(wanted.len()).any(|window| window == wanted.as_bytes()), "{wanted}");
        }
    }
}
