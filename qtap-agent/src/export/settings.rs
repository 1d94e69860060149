//! What a store needs to know, checked and resolved: no variable is left to expand, no default left to guess.

use std::path::PathBuf;
use std::time::Duration;

pub use super::secret::Secret;
use crate::model::record::Severity;

/// One store: where records of events, or of objects, or of both go.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// Name in logs, `/status` and metrics; unique.
    pub id: String,
    /// True when it takes event records (`event_stores`).
    pub events: bool,
    /// True when it takes object records (`object_stores`).
    pub objects: bool,
    /// Which kind.
    pub kind: StoreKind,
}

/// Kinds of store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreKind {
    /// OTLP/JSON lines on standard output (or the file that `qtap exec -o` names).
    Stdout(ResourceSettings),
    /// OTLP logs over gRPC or HTTP.
    Otlp(Box<OtlpSettings>),
    /// S3 or what speaks its protocol; objects only.
    S3(Box<S3Settings>),
}

/// The resource that records are exported under.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResourceSettings {
    /// `service.name`; may hold `{process}` or `{k8s}`, which derive it per record.
    pub service_name: String,
    /// `deployment.environment.name` and `environment`; none: left out.
    pub environment: Option<String>,
    /// More resource attributes.
    pub attributes: Vec<(String, String)>,
}

/// An OTLP store.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpSettings {
    /// Resource.
    pub resource: ResourceSettings,
    /// As configured: `host:port`, a base URL, or (HTTP) the full URL ending in `/v1/logs`.
    pub endpoint: String,
    /// Transport and encoding.
    pub protocol: OtlpProtocol,
    /// HTTP only: PUT instead of POST.
    pub put: bool,
    /// Compression of requests.
    pub compression: Compression,
    /// Headers (gRPC: metadata) on every request.
    pub headers: Vec<(String, Secret)>,
    /// Authentication.
    pub auth: Auth,
    /// TLS.
    pub tls: TlsSettings,
    /// Bound on one request.
    pub timeout: Duration,
    /// Batches.
    pub batch: BatchSettings,
    /// Retries.
    pub retry: RetrySettings,
    /// Requests under way at once.
    pub workers: usize,
    /// Records below are not exported.
    pub min_severity: Severity,
}

/// OTLP transport and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC, default port 4317.
    Grpc,
    /// HTTP with protobuf, default port 4318.
    HttpProtobuf,
    /// HTTP with JSON, default port 4318.
    HttpJson,
}

/// Compression of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// Authentication towards a store.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Auth {
    /// None.
    #[default]
    None,
    /// HTTP Basic (RFC 7617).
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// A header of any name.
    Header {
        /// Header name.
        name: String,
        /// Header value.
        value: Secret,
    },
    /// A query parameter (HTTP only).
    Query {
        /// Parameter name.
        name: String,
        /// Parameter value.
        value: Secret,
    },
}

/// TLS towards a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// True: TLS even when the endpoint's scheme does not say so.
    pub enabled: bool,
    /// PEM file of roots, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate chain.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's key.
    pub key_file: Option<PathBuf>,
    /// Name to verify, instead of the endpoint's host.
    pub server_name: Option<String>,
    /// True: any certificate is accepted.
    pub insecure_skip_verify: bool,
}

/// Bounds of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// Records.
    pub max_records: usize,
    /// Bytes, as encoded and before compression.
    pub max_bytes: usize,
    /// Age of the oldest record.
    pub interval: Duration,
}

impl Default for BatchSettings {
    fn default() -> Self {
        BatchSettings { max_records: 512, max_bytes: 1 << 20, interval: Duration::from_secs(1) }
    }
}

/// Exponential backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// First wait.
    pub initial: Duration,
    /// Longest wait.
    pub max: Duration,
    /// Give up on a batch after this long; zero: never.
    pub max_elapsed: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings { initial: Duration::from_secs(1), max: Duration::from_secs(30), max_elapsed: Duration::ZERO }
    }
}

/// A store of type `s3`: S3, what speaks its protocol, or another place for objects that its endpoint's scheme names.
#[derive(Debug, Clone, PartialEq)]
pub struct S3Settings {
    /// Where it is.
    pub place: Place,
    /// Object key = prefix + digest.
    pub prefix: String,
    /// TLS.
    pub tls: TlsSettings,
    /// Bound on one request.
    pub timeout: Duration,
    /// Retries.
    pub retry: RetrySettings,
    /// Objects under way at once.
    pub workers: usize,
}

/// Places for objects.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// S3, or what speaks its protocol.
    S3(S3Place),
    /// Google Cloud Storage (`gs://`); credentials and other endpoints are the environment's (`GOOGLE_…`).
    Google {
        /// Bucket.
        bucket: String,
    },
    /// Azure Blob Storage (`az://`); account, credentials and other endpoints are the environment's (`AZURE_…`).
    Azure {
        /// Container.
        container: String,
    },
    /// A directory (`file://`); made when it is not there.
    Folder(PathBuf),
}

/// A bucket of S3.
#[derive(Debug, Clone, PartialEq)]
pub struct S3Place {
    /// `host[:port]`; none: Amazon's own for the region.
    pub endpoint: Option<String>,
    /// True: plain HTTP.
    pub insecure: bool,
    /// Region.
    pub region: String,
    /// Bucket.
    pub bucket: String,
    /// True: the bucket stands in the path of a request, not in the host's name.
    pub path_style: bool,
    /// Keys; none: the environment's credential chain.
    pub keys: Option<Keys>,
    /// Encryption that every object asks for; none: what the bucket does by itself.
    pub encryption: Option<Encryption>,
}

/// Keys of S3.
#[derive(Debug, Clone, PartialEq)]
pub struct Keys {
    /// Access key.
    pub access_key: Secret,
    /// Secret key.
    pub secret_key: Secret,
    /// Token of temporary keys.
    pub session_token: Option<Secret>,
}

/// Server-side encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys that S3 keeps (`AES256`).
    Aes256,
    /// With a key of the key management service (`aws:kms`): this one, or the account's own.
    Kms(Option<String>),
    /// The same in two layers (`aws:kms:dsse`).
    KmsTwice(Option<String>),
}
