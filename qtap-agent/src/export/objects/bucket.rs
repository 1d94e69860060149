//! From settings to a client for the bucket, container or directory they name. In: checked settings. Out: the client, its name in messages,
//! whether it keeps media types, and whether it supports conditional requests.

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{CredentialProvider, ObjectStore, RetryConfig};

use super::client::Connector;
use crate::export::settings::{Encryption, Keys, Place, S3Place, S3Settings};
use crate::export::store::StartError;

/// A place to store objects: a bucket, container or directory.
#[derive(Debug)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    target: Target,
    media_types: bool,
    conditional: AtomicBool,
}

/// The names of the place in messages.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The full name: host or URL.
    pub(super) name: String,
    /// Bucket, container or directory.
    pub(super) bucket: String,
}

impl Bucket {
    /// Opens the place that `settings` name; does not connect yet.
    pub(super) fn open(settings: &S3Settings, version: &'static str) -> Result<Bucket, StartError> {
        let retry = RetryConfig { max_retries: 0, retry_timeout: settings.timeout, ..RetryConfig::default() };
        match &settings.place {
            Place::S3(place) => s3(place, settings, retry, version),
            Place::Google { bucket } => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
                let connector = Connector::new(settings, None, version)?;
                let store = builder.with_retry(retry).with_http_connector(connector).build().map_err(client)?;
                Ok(Bucket::known(Arc::new(store), format!("gs://{bucket}"), bucket))
            }
            Place::Azure { container } => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(container);
                let connector = Connector::new(settings, None, version)?;
                // Azure's settings come entirely from the environment: an http:// endpoint there is intended.
                let builder = builder.with_allow_http(true).with_retry(retry).with_http_connector(connector);
                let store = builder.build().map_err(client)?;
                Ok(Bucket::known(Arc::new(store), format!("az://{container}"), container))
            }
            Place::Folder(folder) => {
                let name = folder.display().to_string();
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
                made.map_err(|error| StartError::Client(format!("{name}: {error}")))?;
                // With fsync, because an accepted object is not sent again.
                let store = LocalFileSystem::new_with_prefix(folder).map_err(client)?.with_fsync(true);
                let bucket = Bucket::known(Arc::new(store), format!("file://{name}"), &name);
                Ok(Bucket { media_types: false, ..bucket })
            }
        }
    }

    /// Wraps any store.
    pub(super) fn of(store: Arc<dyn ObjectStore>, target: &str) -> Bucket {
        Bucket::known(store, target.to_owned(), target)
    }

    fn known(store: Arc<dyn ObjectStore>, name: String, bucket: &str) -> Bucket {
        let target = Target { name, bucket: bucket.to_owned() };
        Bucket { store, target, media_types: true, conditional: AtomicBool::new(true) }
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        self.store.as_ref()
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// True when the store keeps the media types of objects.
    pub(super) fn keeps_media_types(&self) -> bool {
        self.media_types
    }

    /// True until the store has answered that it does not support conditional requests.
    pub(super) fn is_conditional(&self) -> bool {
        self.conditional.load(Ordering::Relaxed)
    }

    /// Notes that the store does not support conditional requests.
    pub(super) fn forget_conditions(&self) {
        self.conditional.store(false, Ordering::Relaxed);
    }
}

fn client(error: object_store::Error) -> StartError {
    StartError::Client(error.to_string())
}

/// The keys of the settings. They are read for each request, because keys in files may change.
#[derive(Debug)]
struct Given(Keys);

#[async_trait::async_trait]
impl CredentialProvider for Given {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let Given(Keys { access_key, secret_key, session_token }) = self;
        Ok(Arc::new(AwsCredential {
            key_id: access_key.reveal().to_string(),
            secret_key: secret_key.reveal().to_string(),
            token: session_token.as_ref().map(|token| token.reveal().to_string()),
        }))
    }
}

fn s3(place: &S3Place, settings: &S3Settings, retry: RetryConfig, version: &'static str) -> Result<Bucket, StartError> {
    let builder = match &place.keys {
        Some(keys) => AmazonS3Builder::new().with_credentials(Arc::new(Given(keys.clone()))),
        None => AmazonS3Builder::from_env(),
    };
    let (host, url) = address(place);
    let connector = Connector::new(settings, Some(&url), version)?;
    // The S3-specific endpoint takes precedence over the general one, which the environment may set.
    let builder = builder
        .with_config(AmazonS3ConfigKey::S3Endpoint, url)
        .with_region(&place.region)
        .with_bucket_name(&place.bucket)
        .with_virtual_hosted_style_request(!place.path_style)
        .with_allow_http(place.insecure)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(RetryConfig { retry_timeout: settings.timeout.max(Duration::from_secs(1)), ..retry })
        .with_http_connector(connector);
    let store = encrypted(builder, place.encryption.as_ref()).map_err(client)?.build().map_err(client)?;
    Ok(Bucket::known(Arc::new(store), host, &place.bucket))
}

/// The host, and the URL for requests: in virtual-hosted style the bucket is part of its host name.
fn address(place: &S3Place) -> (String, String) {
    let scheme = if place.insecure { "http" } else { "https" };
    let host = place.endpoint.clone().unwrap_or_else(|| format!("s3.{}.amazonaws.com", place.region));
    let url = match place.path_style {
        true => format!("{scheme}://{host}"),
        false => format!("{scheme}://{}.{host}", place.bucket),
    };
    // The name in messages: a query may hold a key.
    let name = host.split(['?', '#']).next().unwrap_or_default().to_owned();
    (name, url)
}

fn encrypted(builder: AmazonS3Builder, encryption: Option<&Encryption>) -> object_store::Result<AmazonS3Builder> {
    let (kind, key_id) = match encryption {
        None => return Ok(builder),
        Some(Encryption::Aes256) => ("AES256", None),
        Some(Encryption::Kms(key_id)) => ("aws:kms", key_id.as_ref()),
        Some(Encryption::KmsTwice(key_id)) => ("aws:kms:dsse", key_id.as_ref()),
    };
    // The library accepts these keys only by name.
    let builder = builder.with_config("aws_server_side_encryption".parse()?, kind);
    match key_id {
        Some(key_id) => Ok(builder.with_config("aws_sse_kms_key_id".parse()?, key_id)),
        None => Ok(builder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_stands_in_the_path_or_in_the_host() {
        let place = |endpoint: Option<&str>, path_style, insecure| S3Place {
            endpoint: endpoint.map(str::to_owned),
            insecure,
            region: "eu-west-1".to_owned(),
            bucket: "b".to_owned(),
            path_style,
            keys: None,
            encryption: None,
        };
        let url = |place| address(&place).1;
        assert_eq!(url(place(None, false, false)), "https://b.s3.eu-west-1.amazonaws.com");
        assert_eq!(url(place(None, true, false)), "https://s3.eu-west-1.amazonaws.com");
        assert_eq!(url(place(Some("minio:9000"), true, true)), "http://minio:9000");
        assert_eq!(url(place(Some("oss.example"), false, false)), "https://b.oss.example");
    }
}
