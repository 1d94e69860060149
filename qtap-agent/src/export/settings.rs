//! The settings of a store, checked and resolved: variables are expanded and defaults are filled in.

mod queue;

use std::path::PathBuf;
use std::time::Duration;

pub use super::secret::Secret;
use crate::model::record::Severity;
pub use queue::{Form, Fsync, QueueSettings, WhenFull};

/// Settings of one store, which takes event records, object records, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// Name in logs, `/status` and metrics; unique.
    pub id: String,
    /// True when it takes event records (`event_stores`).
    pub events: bool,
    /// True when it takes object records (`object_stores`).
    pub objects: bool,
    /// The kind of store.
    pub kind: StoreKind,
    /// Bounds of its queue on disk; none: it never has one (standard output).
    pub queue: Option<QueueSettings>,
}

/// Kinds of store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreKind {
    /// OTLP/JSON lines on standard output (or the file that `qtap exec -o` names), for records at or above a severity.
    Stdout(ResourceSettings, Severity),
    /// OTLP logs over gRPC or HTTP.
    Otlp(Box<OtlpSettings>),
    /// S3 or an S3-compatible store; objects only.
    S3(Box<S3Settings>),
}

impl StoreKind {
    /// The directory of the store, if the store is a directory.
    #[must_use]
    pub fn folder(&self) -> Option<&std::path::Path> {
        match self {
            StoreKind::S3(settings) => match &settings.place {
                Place::Folder(folder) => Some(folder),
                Place::S3(_) | Place::Google { .. } | Place::Azure { .. } => None,
            },
            StoreKind::Stdout(..) | StoreKind::Otlp(_) => None,
        }
    }
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
    /// True: the endpoint is the complete URL for logs, whatever its path (HTTP only).
    pub endpoint_is_exact: bool,
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
    /// Proxies.
    pub proxy: ProxySettings,
    /// Time limit of one request.
    pub timeout: Duration,
    /// Batches.
    pub batch: BatchSettings,
    /// Retries.
    pub retry: RetrySettings,
    /// Maximum number of requests in flight.
    pub workers: usize,
    /// Records below this severity are not exported.
    pub min_severity: Severity,
    /// The store's limits.
    pub limits: Limits,
}

/// Limits of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an attribute value; 0: no limit.
    pub attribute_value_bytes: usize,
    /// Attributes of a record; 0: no limit.
    pub record_attributes: usize,
    /// Records of a request.
    pub batch_records: usize,
    /// Bytes of a whole request, as encoded and before compression.
    pub batch_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { attribute_value_bytes: 0, record_attributes: 128, batch_records: 10_000, batch_bytes: 16 << 20 }
    }
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

/// Authentication to a store.
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
    /// OAuth 2.0.
    OAuth2(Box<OAuthSettings>),
}

/// OAuth 2.0 for a store.
#[derive(Debug, Clone, PartialEq)]
pub struct OAuthSettings {
    /// The grant with which a token is requested.
    pub grant: Grant,
    /// Token endpoint.
    pub token_url: String,
    /// The client id; none: only the grant is sent.
    pub client_id: Option<String>,
    /// The client's secret.
    pub client_secret: Option<Secret>,
    /// Scopes.
    pub scopes: Vec<String>,
    /// True: client id and secret are sent in the form, false: in a header (RFC 6749 §2.3.1).
    pub in_body: bool,
    /// Additional form fields.
    pub params: Vec<(String, String)>,
}

impl OAuthSettings {
    /// All values that must not be shown.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let own = match &self.grant {
            Grant::ClientCredentials => None,
            Grant::Password { password, .. } => Some(password),
            Grant::JwtBearer(jwt) => Some(&jwt.signing_key),
        };
        self.client_secret.iter().chain(own).cloned().collect()
    }
}

/// How a token is requested.
#[derive(Debug, Clone, PartialEq)]
pub enum Grant {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.3.
    Password {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// RFC 7523 §2.1.
    JwtBearer(Box<JwtSettings>),
}

/// The assertion of the JWT bearer grant.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtSettings {
    /// Private key in PEM form; the shared secret of HS256.
    pub signing_key: Secret,
    /// Signature algorithm.
    pub algorithm: Algorithm,
    /// `kid`.
    pub key_id: Option<String>,
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: String,
}

/// Signature algorithms of assertions (RFC 7518 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5.
    Rs256,
    /// ECDSA over P-256.
    Es256,
    /// HMAC.
    Hs256,
}

impl Algorithm {
    /// The value of `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::Hs256 => "HS256",
        }
    }
}

/// TLS for a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// True: TLS even when the endpoint's scheme does not say so.
    pub enabled: bool,
    /// PEM file of trusted root certificates, instead of the system's.
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

impl TlsSettings {
    /// The configured files.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten().cloned().collect()
    }
}

/// Proxies, by the scheme of the target. Their addresses may contain a user name and password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxySettings {
    /// For `http`.
    pub http: Option<Secret>,
    /// For `https`.
    pub https: Option<Secret>,
    /// Hosts that are reached without a proxy: names with their subdomains, addresses, CIDR ranges, `*`; separated by commas.
    pub no_proxy: String,
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

/// A store of type `s3`: S3, an S3-compatible store, or another place for objects, by the scheme of the endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct S3Settings {
    /// Where the objects go.
    pub place: Place,
    /// Object key = prefix + digest.
    pub prefix: String,
    /// TLS.
    pub tls: TlsSettings,
    /// Proxies.
    pub proxy: ProxySettings,
    /// Time limit of one request.
    pub timeout: Duration,
    /// Retries.
    pub retry: RetrySettings,
    /// Maximum number of objects in flight.
    pub workers: usize,
}

/// Places for objects.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// S3, or an S3-compatible store.
    S3(S3Place),
    /// Google Cloud Storage (`gs://`); credentials and other endpoints come from the environment (`GOOGLE_…`).
    Google {
        /// Bucket.
        bucket: String,
    },
    /// Azure Blob Storage (`az://`); account, credentials and other endpoints come from the environment (`AZURE_…`).
    Azure {
        /// Container.
        container: String,
    },
    /// A directory (`file://`); created if it does not exist.
    Folder(PathBuf),
}

/// An S3 bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct S3Place {
    /// `host[:port]`; none: Amazon's endpoint for the region.
    pub endpoint: Option<String>,
    /// True: plain HTTP.
    pub insecure: bool,
    /// Region.
    pub region: String,
    /// Bucket.
    pub bucket: String,
    /// True: the bucket is part of the path of a request, not of the host name.
    pub path_style: bool,
    /// Keys; none: the environment's credential chain.
    pub keys: Option<Keys>,
    /// Encryption that every request asks for; none: the bucket's default.
    pub encryption: Option<Encryption>,
}

/// S3 keys.
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
    /// With keys that S3 manages (`AES256`).
    Aes256,
    /// With a key of the key management service (`aws:kms`): this one, or the account's default.
    Kms(Option<String>),
    /// As `Kms`, but in two layers (`aws:kms:dsse`).
    KmsTwice(Option<String>),
}
