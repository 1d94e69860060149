//! Objects to S3 and what speaks its protocol: one object per record, under prefix + the digest's hexadecimal digits (no `sha256:`, so
//! that the key needs no escaping in a URL). An object is put only if it is absent; one that is there already is the same
//! content, and that is a success. Events are not for this store.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig,
};

use super::exporter::{Class, Exporter, Item, Prepared, Receipt};
use super::refusal::{Refusal, Remedy};
use super::settings::{S3Settings, TlsSettings};
use super::store::StartError;
use super::tls;
use crate::model::record::{Record, RecordKind};

/// A bucket.
#[derive(Debug)]
pub struct S3Exporter {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    target: String,
}

impl S3Exporter {
    /// Checks the settings; connects to nothing yet. Without keys in the settings the environment's credential chain is used.
    ///
    /// # Errors
    /// When the settings make no client.
    pub fn new(settings: &S3Settings) -> Result<S3Exporter, StartError> {
        let scheme = if settings.insecure { "http" } else { "https" };
        let (scheme, host) = match settings.endpoint.split_once("://") {
            Some((scheme, host)) => (scheme, host),
            None => (scheme, settings.endpoint.as_str()),
        };
        let host = host.trim_end_matches('/');
        let mut builder = match (&settings.access_key, &settings.secret_key) {
            (Some(key), Some(secret)) => AmazonS3Builder::new()
                .with_access_key_id(key.reveal().as_str())
                .with_secret_access_key(secret.reveal().as_str()),
            (None, None) => AmazonS3Builder::from_env(),
            (Some(_), None) | (None, Some(_)) => return Err(StartError::HalfS3Key),
        };
        // Amazon's own name stands for the regional host of the bucket; any other endpoint gets path-style requests.
        let amazon = host == "s3.amazonaws.com" || host == format!("s3.{}.amazonaws.com", settings.region);
        if !amazon {
            builder = builder.with_endpoint(format!("{scheme}://{host}"));
        }
        let store = builder
            .with_region(&settings.region)
            .with_bucket_name(&settings.bucket)
            .with_virtual_hosted_style_request(amazon)
            .with_allow_http(scheme == "http")
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig { max_retries: 0, retry_timeout: settings.timeout, ..RetryConfig::default() })
            .with_http_connector(Connector { tls: scheme == "https" })
            .build()
            .map_err(|error| StartError::Client(error.to_string()))?;
        Ok(S3Exporter::to(Arc::new(store), &settings.prefix, host))
    }

    /// Puts into any object store; `target` names it in messages.
    #[must_use]
    pub fn to(store: Arc<dyn ObjectStore>, prefix: &str, target: &str) -> S3Exporter {
        S3Exporter { store, prefix: prefix.to_owned(), target: target.to_owned() }
    }

    async fn put(&self, item: &Item) -> Result<(), Refusal> {
        let key = Path::from(format!("{}{}", self.prefix, item.name));
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, item.content_type.clone().into());
        let options = PutOptions { mode: PutMode::Create, attributes, ..PutOptions::default() };
        match self.store.put_opts(&key, PutPayload::from_bytes(item.payload.clone()), options).await {
            Ok(_) => Ok(()),
            // 412 says that it is there, 409 that another put is under way: only a look tells them apart.
            Err(Error::AlreadyExists { .. }) => match self.store.head(&key).await {
                Ok(_) => Ok(()),
                Err(Error::NotFound { .. }) => Err(Refusal::wait("the object is being put by someone else")),
                Err(error) => Err(self.refusal(&error)),
            },
            Err(error) => Err(self.refusal(&error)),
        }
    }

    fn refusal(&self, error: &Error) -> Refusal {
        match status(error) {
            Some((404, text)) => {
                Refusal::reconfigure(format!("{}: 404 Not Found: is there such a bucket? {text}", self.target))
            }
            Some((code, text)) => {
                let code = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
                let mut refusal = Refusal::http(code, &text, None);
                // S3 answers 400 to wrong regions and malformed keys as well: the data of an object is never at fault,
                // except for its size.
                if refusal.remedy == Remedy::Split && !text.contains("EntityTooLarge") {
                    refusal.remedy = Remedy::Reconfigure;
                }
                refusal
            }
            None => Refusal::transport(error, &self.target),
        }
    }
}

impl Exporter for S3Exporter {
    fn prepare(&self, record: &Record) -> Prepared {
        let RecordKind::Object(object) = &record.kind else { return Prepared::default() };
        let digest = object.digest.strip_prefix("sha256:").unwrap_or(&object.digest);
        Some(Item {
            class: Class::Object,
            resource: bytes::Bytes::new(),
            name: digest.to_owned(),
            content_type: object.content_type.to_owned(),
            payload: object.data.clone(),
            spooled: object.spooled.clone(),
        })
        .into()
    }

    async fn send(&self, items: &[Item]) -> Result<Receipt, Refusal> {
        for item in items {
            self.put(item).await?;
        }
        Ok(Receipt::default())
    }
}

/// The HTTP status inside an error of `object_store`, which does not export the type that holds it, and S3's own error code.
fn status(error: &Error) -> Option<(u16, String)> {
    let text = error.to_string();
    let after = text.split_once("status code: ")?.1;
    let code = after.get(..3)?.parse().ok()?;
    let between = |open: &str, close: &str| Some(after.split_once(open)?.1.split_once(close)?.0.to_owned());
    Some((code, between("<Code>", "</Code>").unwrap_or_default()))
}

/// Makes the client that `object_store` speaks through: TLS as everywhere in this room.
#[derive(Debug)]
struct Connector {
    tls: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic { store: "S3", source };
        let config = if self.tls { tls::client_config(&TlsSettings::default()) } else { tls::plaintext_config() };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config.map_err(|error| failed(error.into()))?)
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(HttpClient::new(client))
    }
}
