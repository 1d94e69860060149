//! What a store needs to know, checked and resolved: no variable is left to expand, no default left to guess.

mod queue;

use std::path::PathBuf;
use std::time::Duration;

pub use super::secret::Secret;
use crate::model::record::Severity;
pub use queue::{Form, Fsync, QueueSettings, WhenFull};

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
    /// Bounds of its queue on disk; none: it never has one (standard output).
    pub queue: Option<QueueSettings>,
}

/// Kinds of store.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreKind {
    /// OTLP/JSON lines on standard output (or the file that `qtap exec -o` names), of records at or above a severity.
    Stdout(ResourceSettings, Severity),
    /// OTLP logs over gRPC or HTTP.
    Otlp(Box<OtlpSettings>),
    /// S3 or what speaks its protocol; objects only.
    S3(Box<S3Settings>),
}

impl StoreKind {
    /// The folder that it is, if it is one.
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
    /// True: the endpoint is the URL of logs as it stands, whatever its path (HTTP only).
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
    /// What the store takes at most.
    pub limits: Limits,
}

/// What a store takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an attribute's value; 0: as many as there are.
    pub attribute_value_bytes: usize,
    /// Attributes of a record; 0: as many as there are.
    pub record_attributes: usize,
    /// Records of a request.
    pub batch_records: usize,
    /// Bytes of a request, as encoded and before compression, all of it.
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
    /// OAuth 2.0.
    OAuth2(Box<OAuthSettings>),
}

/// OAuth 2.0 towards a store.
#[derive(Debug, Clone, PartialEq)]
pub struct OAuthSettings {
    /// What a token is asked for by.
    pub grant: Grant,
    /// Token endpoint.
    pub token_url: String,
    /// The client; none: the grant alone.
    pub client_id: Option<String>,
    /// The client's secret.
    pub client_secret: Option<Secret>,
    /// Scopes.
    pub scopes: Vec<String>,
    /// True: client and secret stand in the form, false: in a header (RFC 6749 §2.3.1).
    pub in_body: bool,
    /// More fields of the form.
    pub params: Vec<(String, String)>,
}

impl OAuthSettings {
    /// All that must not be shown.
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

/// How a token is asked for.
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
    /// How it signs.
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

/// Signatures of assertions (RFC 7518 §3.1).
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

impl TlsSettings {
    /// The files that it names.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten().cloned().collect()
    }
}

/// Proxies, by the scheme of what is reached through them. Addresses may hold a user name and password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxySettings {
    /// For `http`.
    pub http: Option<Secret>,
    /// For `https`.
    pub https: Option<Secret>,
    /// Hosts that are reached without: names with their subdomains, addresses, CIDR ranges, `*`; commas between them.
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

/// A store of type `s3`: S3, what speaks its protocol, or another place for objects that its endpoint's scheme names.
#[derive(Debug, Clone, PartialEq)]
pub struct S3Settings {
    /// Where it is.
    pub place: Place,
    /// Object key = prefix + digest.
    pub prefix: String,
    /// TLS.
    pub tls: TlsSettings,
    /// Proxies.
    pub proxy: ProxySettings,
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
