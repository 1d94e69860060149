//! qtap's own log lines and spans → OpenTelemetry. In: `tracing` events and spans, once exporters exist. Out: log records and spans, passed
//! to the exporters. Only events of qtap itself: exporting those of the exporting libraries would cause further ones, in a loop.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, Severity};
use opentelemetry::trace::{Span as _, Tracer as _};
use opentelemetry_sdk::logs::SdkLogger;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Where log lines and spans go once exporters exist; until then they are discarded.
#[derive(Debug, Clone, Default)]
pub struct Bridge {
    pub(super) logger: Arc<OnceLock<SdkLogger>>,
    pub(super) tracer: Arc<OnceLock<SdkTracer>>,
}

/// The message and fields of a log line or span.
#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// An open span.
#[derive(Debug)]
struct UnderWay {
    began: SystemTime,
    said: Said,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }
}

impl Said {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl From<Value> for AnyValue {
    fn from(value: Value) -> AnyValue {
        match value {
            Value::Text(text) => text.into(),
            Value::Int(number) => number.into(),
            Value::Float(number) => number.into(),
            Value::Bool(is) => is.into(),
        }
    }
}

impl From<Value> for opentelemetry::Value {
    fn from(value: Value) -> opentelemetry::Value {
        match value {
            Value::Text(text) => text.into(),
            Value::Int(number) => number.into(),
            Value::Float(number) => number.into(),
            Value::Bool(is) => is.into(),
        }
    }
}

fn is_own(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("qtap") || metadata.target() == "probes"
}

fn severity(level: Level) -> (Severity, &'static str) {
    match level {
        Level::ERROR => (Severity::Error, "ERROR"),
        Level::WARN => (Severity::Warn, "WARN"),
        Level::INFO => (Severity::Info, "INFO"),
        Level::DEBUG => (Severity::Debug, "DEBUG"),
        Level::TRACE => (Severity::Trace, "TRACE"),
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Bridge {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (Some(logger), metadata) = (self.logger.get(), event.metadata()) else { return };
        if !is_own(metadata) {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let mut record = logger.create_log_record();
        let (number, text) = severity(*metadata.level());
        record.set_severity_number(number);
        record.set_severity_text(text);
        record.set_timestamp(SystemTime::now());
        record.set_target(metadata.target().to_owned());
        record.set_body(said.message.into());
        record.add_attributes(said.fields);
        logger.emit(record);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if self.tracer.get().is_none() || !is_own(attributes.metadata()) {
            return;
        }
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        attributes.record(&mut said);
        span.extensions_mut().insert(UnderWay { began: SystemTime::now(), said });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(under_way) = span.extensions_mut().get_mut::<UnderWay>()
        {
            values.record(&mut under_way.said);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let (Some(tracer), Some(span)) = (self.tracer.get(), context.span(&id)) else { return };
        let Some(UnderWay { began, said }) = span.extensions_mut().remove::<UnderWay>() else { return };
        let attributes = said.fields.into_iter().map(|(name, value)| KeyValue::new(name, value));
        let builder = tracer.span_builder(span.name()).with_start_time(began).with_attributes(attributes);
        tracer.build(builder).end_with_timestamp(SystemTime::now());
    }
}
