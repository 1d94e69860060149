//! `services` as typed: the stores.

use std::time::Duration;

use super::auth::{Auth, auth};
use crate::config::fields::{At, Fields, Given, given, scalar};
use crate::config::finding::Findings;
use crate::config::place::Span;
use crate::config::shape::{self, Shape};
use crate::config::value;
use crate::config::wording::{self, listed};
use crate::config::yaml::{Kind, Node, Scalar};
use crate::export::settings::{Compression, Fsync, WhenFull};
use crate::model::record::Severity;

/// One item of `event_stores` or `object_stores`.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) span: Span,
    pub(crate) id: Option<At<String>>,
    /// Only for object stores.
    pub(crate) min_bytes: Option<At<u64>>,
    /// Only for stores that are reached over a network.
    pub(crate) queue: Option<Queue>,
    pub(crate) kind: StoreKind,
}

/// A queue on disk.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) span: Span,
    pub(crate) max_bytes: Option<At<u64>>,
    pub(crate) max_records: Option<At<u64>>,
    pub(crate) when_full: Option<At<WhenFull>>,
    pub(crate) fsync: Option<At<Fsync>>,
}

#[derive(Debug)]
pub(crate) enum StoreKind {
    Disabled,
    Stdout(Resource),
    Otel(Box<Otel>),
    S3(Box<S3>),
}

#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) service_name: Option<At<String>>,
    pub(crate) environment: Option<At<String>>,
    pub(crate) attributes: Vec<(At<String>, At<String>)>,
}

#[derive(Debug)]
pub(crate) struct Otel {
    pub(crate) resource: Resource,
    pub(crate) endpoint: Option<At<String>>,
    pub(crate) protocol: Option<At<Protocol>>,
    pub(crate) json: Option<At<bool>>,
    pub(crate) put: Option<At<bool>>,
    pub(crate) compression: Option<At<Compression>>,
    /// `None`: the file does not mention them.
    pub(crate) headers: Option<Vec<(At<String>, At<Given>)>>,
    pub(crate) auth: Option<Auth>,
    pub(crate) tls: Option<Tls>,
    pub(crate) sending: Sending,
    pub(crate) batch: Option<Batch>,
    pub(crate) limits: Option<Limits>,
    pub(crate) min_severity: Option<At<Severity>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
    Stdout,
}

#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) enabled: Option<At<bool>>,
    pub(crate) ca_file: Option<At<String>>,
    pub(crate) cert_file: Option<At<String>>,
    pub(crate) key_file: Option<At<String>>,
    pub(crate) server_name: Option<At<String>>,
    pub(crate) insecure_skip_verify: Option<At<bool>>,
}

/// Sending to a store, whatever its protocol.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) timeout: Option<At<Duration>>,
    pub(crate) workers: Option<At<u64>>,
    pub(crate) retry: Option<Retry>,
}

#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) initial: Option<At<Duration>>,
    pub(crate) max: Option<At<Duration>>,
    pub(crate) max_elapsed: Option<At<Duration>>,
}

#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) max_records: Option<At<u64>>,
    pub(crate) max_bytes: Option<At<u64>>,
    pub(crate) interval: Option<At<Duration>>,
}

#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) attribute_value_bytes: Option<At<u64>>,
    pub(crate) record_attributes: Option<At<u64>>,
    pub(crate) batch_records: Option<At<u64>>,
    pub(crate) batch_bytes: Option<At<u64>>,
}

#[derive(Debug)]
pub(crate) struct S3 {
    pub(crate) span: Span,
    pub(crate) endpoint: Option<At<String>>,
    pub(crate) region: Option<At<String>>,
    pub(crate) bucket: Option<At<String>>,
    pub(crate) access_key: Option<At<Given>>,
    pub(crate) secret_key: Option<At<Given>>,
    pub(crate) session_token: Option<At<Given>>,
    pub(crate) path_style: Option<At<bool>>,
    pub(crate) encryption: Option<At<EncryptionKind>>,
    pub(crate) kms_key_id: Option<At<String>>,
    pub(crate) tls: Option<Tls>,
    pub(crate) access_url: Option<At<String>>,
    pub(crate) prefix: Option<At<String>>,
    pub(crate) insecure: Option<At<bool>>,
    pub(crate) sending: Sending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EncryptionKind {
    Aes256,
    Kms,
    KmsTwice,
}

#[derive(Debug, Clone, Copy)]
enum Type {
    Otel,
    Stdout,
    S3,
    Disabled,
}

/// Reads one store.
pub(crate) fn store(node: &Node, objects: bool, out: &Findings) -> Option<Store> {
    let kind = store_type(node, objects, out)?;
    let shape: &'static Shape = match (kind, objects) {
        (Type::Otel, false) => &shape::EVENT_OTEL,
        (Type::Otel, true) => &shape::OBJECT_OTEL,
        (Type::Stdout, false) => &shape::EVENT_STDOUT,
        (Type::Stdout, true) => &shape::OBJECT_STDOUT,
        (Type::S3, _) => &shape::S3,
        // A disabled store may keep its other keys, whatever type it had before.
        (Type::Disabled, _) => {
            return Some(Store { span: node.span, id: None, min_bytes: None, queue: None, kind: StoreKind::Disabled });
        }
    };
    let fields = Fields::open(node, shape, out)?;
    let queue = match kind {
        Type::Otel | Type::S3 => queue(&fields, out),
        Type::Stdout | Type::Disabled => None,
    };
    let kind = match kind {
        Type::Otel => StoreKind::Otel(Box::new(otel(&fields, out))),
        Type::Stdout => StoreKind::Stdout(resource(&fields, out)),
        Type::S3 => StoreKind::S3(Box::new(s3(&fields, out))),
        Type::Disabled => StoreKind::Disabled,
    };
    let min_bytes = if objects { fields.size("min_bytes") } else { None };
    Some(Store { span: fields.span, id: fields.text("id"), min_bytes, queue, kind })
}

fn queue(fields: &Fields<'_>, out: &Findings) -> Option<Queue> {
    let fields = fields.node("queue").and_then(|node| Fields::open(node, &shape::QUEUE, out))?;
    let when_full =
        [("drop_oldest", WhenFull::DropOldest), ("drop_newest", WhenFull::DropNewest), ("block", WhenFull::Block)];
    let fsync = [("interval", Fsync::Interval), ("always", Fsync::Always), ("never", Fsync::Never)];
    Some(Queue {
        span: fields.span,
        max_bytes: fields.size("max_bytes"),
        max_records: fields.whole("max_records"),
        when_full: fields.choice("when_full", &when_full),
        fsync: fields.choice("fsync", &fsync),
    })
}

/// The value of `type`. It decides which table the rest is checked against, so it is read first.
fn store_type(node: &Node, objects: bool, out: &Findings) -> Option<Type> {
    let words = if objects { shape::OBJECT_STORES } else { shape::EVENT_STORES };
    let help = format!("one of {}", listed(words));
    let Kind::Map(pairs) = &node.kind else {
        out.fault(node.span, "a store is a map of keys", format!("begin with `type`: {help}"));
        return None;
    };
    let is_type = |(key, _): &&(Node, Node)| matches!(&key.kind, Kind::Scalar(text, _) if text == "type");
    let Some((_, given)) = pairs.iter().find(is_type).filter(|(_, v)| !matches!(v.kind, Kind::Scalar(_, Scalar::Null)))
    else {
        out.fault(Span::within(node.span.line, node.span.column, 1), "`type` is missing in a store", help);
        return None;
    };
    let text = scalar("type", given, out)?;
    if !text.value.contains(char::is_whitespace) {
        out.show(given.span);
    }
    match (text.value.as_str(), objects) {
        ("otel", _) => Some(Type::Otel),
        ("stdout", _) => Some(Type::Stdout),
        ("disabled", _) => Some(Type::Disabled),
        ("s3", true) => Some(Type::S3),
        ("s3", false) => {
            out.fault(text.span, "an s3 store takes objects, not events", "put it under `object_stores`");
            None
        }
        (word, _) => {
            let near = value::nearest(word, words.iter().copied());
            let help = near.map_or(help.clone(), |near| format!("did you mean `{near}`? {help}"));
            out.fault(text.span, format!("`type` cannot be `{}`", wording::word(word)), help);
            None
        }
    }
}

fn resource(fields: &Fields<'_>, out: &Findings) -> Resource {
    let attribute = |(name, node): (At<String>, &Node)| {
        out.show(node.span);
        Some((name.clone(), scalar(&name.value, node, out)?))
    };
    Resource {
        service_name: fields.text("service_name"),
        environment: fields.text("environment"),
        attributes: fields.names("resource_attributes").into_iter().filter_map(attribute).collect(),
    }
}

fn otel(fields: &Fields<'_>, out: &Findings) -> Otel {
    use Severity::{Debug, Error, Fatal, Info, Trace, Warn};
    let header = |(name, node): (At<String>, &Node)| Some((name.clone(), given(&name.value, node, out)?));
    let map = |name, shape| fields.node(name).and_then(|node| Fields::open(node, shape, out));
    Otel {
        resource: resource(fields, out),
        endpoint: fields.text("endpoint"),
        protocol: fields
            .choice("protocol", &[("grpc", Protocol::Grpc), ("http", Protocol::Http), ("stdout", Protocol::Stdout)]),
        json: fields.choice("encoding", &[("protobuf", false), ("json", true)]),
        put: fields.choice("method", &[("POST", false), ("PUT", true)]),
        compression: fields.choice(
            "compression",
            &[("gzip", Compression::Gzip), ("zstd", Compression::Zstd), ("none", Compression::None)],
        ),
        headers: fields.node("headers").map(|_| fields.names("headers").into_iter().filter_map(header).collect()),
        auth: map("auth", &shape::AUTH).map(|fields| auth(&fields, out)),
        tls: map("tls", &shape::TLS).map(|fields| tls(&fields)),
        sending: sending(fields, out),
        batch: map("batch", &shape::BATCH).map(|fields| Batch {
            max_records: fields.whole("max_records"),
            max_bytes: fields.size("max_bytes"),
            interval: fields.time("interval"),
        }),
        limits: map("limits", &shape::LIMITS).map(|fields| Limits {
            attribute_value_bytes: fields.size("attribute_value_bytes"),
            record_attributes: fields.whole("record_attributes"),
            batch_records: fields.whole("batch_records"),
            batch_bytes: fields.size("batch_bytes"),
        }),
        min_severity: fields.choice(
            "min_severity",
            &[("trace", Trace), ("debug", Debug), ("info", Info), ("warn", Warn), ("error", Error), ("fatal", Fatal)],
        ),
    }
}

fn tls(fields: &Fields<'_>) -> Tls {
    Tls {
        enabled: fields.flag("enabled"),
        ca_file: fields.text("ca_file"),
        cert_file: fields.text("cert_file"),
        key_file: fields.text("key_file"),
        server_name: fields.text("server_name"),
        insecure_skip_verify: fields.flag("insecure_skip_verify"),
    }
}

fn sending(fields: &Fields<'_>, out: &Findings) -> Sending {
    let retry = fields.node("retry").and_then(|node| Fields::open(node, &shape::RETRY, out));
    Sending {
        timeout: fields.time("timeout"),
        workers: fields.whole("workers"),
        retry: retry.map(|fields| Retry {
            initial: fields.time("initial"),
            max: fields.time("max"),
            max_elapsed: fields.time("max_elapsed"),
        }),
    }
}

fn s3(fields: &Fields<'_>, out: &Findings) -> S3 {
    let encryptions = [
        ("AES256", EncryptionKind::Aes256),
        ("aws:kms", EncryptionKind::Kms),
        ("aws:kms:dsse", EncryptionKind::KmsTwice),
    ];
    S3 {
        span: fields.span,
        endpoint: fields.text("endpoint"),
        region: fields.text("region"),
        bucket: fields.text("bucket"),
        access_key: fields.secret("access_key"),
        secret_key: fields.secret("secret_key"),
        session_token: fields.secret("session_token"),
        path_style: fields.flag("force_path_style"),
        encryption: fields.choice("server_side_encryption", &encryptions),
        kms_key_id: fields.text("kms_key_id"),
        tls: fields.node("tls").and_then(|node| Fields::open(node, &shape::TLS, out)).map(|fields| tls(&fields)),
        access_url: fields.text("access_url"),
        prefix: fields.text("prefix"),
        insecure: fields.flag("insecure"),
        sending: sending(fields, out),
    }
}
