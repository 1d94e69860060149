//! `/metrics`: the families of a snapshot, and the HTTP metrics, as OpenMetrics text.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::Supply;
use super::http_metrics::HttpFamilies;
use super::metrics::{self, Kind, Value};
use super::view::Snapshot;

/// The media type of the page.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics page, rendered anew at each scrape.
#[derive(Debug)]
pub(super) struct Page(Registry);

impl Page {
    pub(super) fn new(snapshot: Supply<Snapshot>, http: Option<&HttpFamilies>) -> Page {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(snapshot)));
        if let Some(http) = http {
            http.register(&mut registry);
        }
        Page(registry)
    }

    /// Renders the page with the current values.
    pub(super) fn render(&self) -> Result<String, Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.0)?;
        Ok(page)
    }
}

/// Takes one snapshot per scrape.
struct Scrape(Supply<Snapshot>);

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let snapshot = Arc::as_ref(&self.0)();
        for family in metrics::families(&snapshot).iter().filter(|family| !family.points.is_empty()) {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (labels, value) in &family.points {
                if labels.is_empty() {
                    point(&mut encoder, family.kind, value)?;
                } else {
                    point(&mut encoder.encode_family(labels)?, family.kind, value)?;
                }
            }
        }
        Ok(())
    }
}

fn point(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> Result<(), Error> {
    type Labels = Vec<(&'static str, &'static str)>;
    let none: Option<&Exemplar<Labels, f64>> = None;
    match (kind, value) {
        (_, Value::Spread { sum, count, buckets }) => encoder.encode_histogram::<Labels>(*sum, *count, buckets, None),
        (Kind::Counter, Value::Int(value)) => encoder.encode_counter(value, none),
        (Kind::Counter, Value::Float(value)) => encoder.encode_counter(value, none),
        (Kind::Gauge | Kind::Histogram, Value::Int(value)) => encoder.encode_gauge(value),
        (Kind::Gauge | Kind::Histogram, Value::Float(value)) => encoder.encode_gauge(value),
    }
}
