//! Objects to S3, S3-compatible stores, other clouds, or a directory. In: object records; events are not for these stores. Out: one object per
//! record, with the key prefix + digest in hexadecimal (without `sha256:`, so that the key needs no escaping in a URL). An object is put
//! only if it is absent; an existing object has the same content and counts as a success.
//!
//! ```text
//! item ─ recent? ──► done
//!   ├── small ─► PUT if absent ─ 412: it is there; 409 ─► HEAD: is it?
//!   │              └ the server does not know the condition ─► HEAD, then PUT
//!   └── large ─► HEAD ─► parts, a few at once ─► complete   (failed: aborted)
//! ```

mod answer;
mod bucket;
mod client;
mod data;
mod large;
mod recent;

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Attribute, Attributes, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use tokio::sync::Semaphore;

use self::bucket::Bucket;
use self::data::Data;
use self::recent::Recent;
use super::exporter::{Class, Exporter, Item, Prepared, Receipt};
use super::refusal::Refusal;
use super::settings::S3Settings;
use super::store::StartError;
use crate::model::record::{Record, RecordKind};

/// Objects larger than this are put in parts, so that a failure costs only a part, and less of it is in memory. For smaller ones a single
/// request is faster than the three or more that an upload in parts needs.
pub const MULTIPART_BYTES: u64 = 16 << 20;
/// Parts in memory at once, for all workers of a store together: 32 MiB.
const PARTS_IN_MEMORY: usize = 4;

/// The exporter of an object store.
#[derive(Debug)]
pub struct ObjectExporter {
    bucket: Bucket,
    prefix: String,
    /// Time limit of one request.
    limit: Duration,
    recent: Recent,
    parts: Arc<Semaphore>,
}

impl ObjectExporter {
    /// Checks the settings; does not connect yet. `version` is qtap's own. Settings without keys use the environment's credential chain.
    ///
    /// # Errors
    /// When no client can be built from the settings, or the directory can't be created.
    pub fn new(settings: &S3Settings, version: &'static str) -> Result<ObjectExporter, StartError> {
        Ok(ObjectExporter::of(Bucket::open(settings, version)?, &settings.prefix, settings.timeout))
    }

    /// An exporter for any object store; `target` names it in messages, `limit` bounds one request.
    #[must_use]
    pub fn to(store: Arc<dyn ObjectStore>, prefix: &str, target: &str, limit: Duration) -> ObjectExporter {
        ObjectExporter::of(Bucket::of(store, target), prefix, limit)
    }

    fn of(bucket: Bucket, prefix: &str, limit: Duration) -> ObjectExporter {
        let parts = Arc::new(Semaphore::new(PARTS_IN_MEMORY));
        ObjectExporter { bucket, prefix: prefix.to_owned(), limit, recent: Recent::default(), parts }
    }

    async fn put(&self, item: &Item) -> Result<(), Refusal> {
        if self.recent.has(&item.name) {
            return Ok(());
        }
        let key = Path::parse(format!("{}{}", self.prefix, item.name))
            .map_err(|error| Refusal::reconfigure(format!("prefix: {error}")))?;
        let data = Data::of(item);
        if data.bytes() > MULTIPART_BYTES {
            self.put_large(&key, &item.content_type, data).await?;
        } else {
            self.put_small(&key, &item.content_type, data).await?;
        }
        self.recent.add(&item.name);
        Ok(())
    }

    async fn put_small(&self, key: &Path, media_type: &str, data: Data) -> Result<(), Refusal> {
        let bytes = data.bytes();
        let payload = PutPayload::from_bytes(data.all().await?);
        if self.bucket.is_conditional() {
            match self.put_once(key, media_type, payload.clone(), PutMode::Create).await {
                Ok(()) => return Ok(()),
                Err(error) if says_that_it_exists(&error) => return Ok(()),
                // 409 says that another put is in progress, or was: a HEAD request tells.
                Err(Error::AlreadyExists { .. }) => {
                    return match self.is_there(key, bytes).await? {
                        true => Ok(()),
                        false => Err(Refusal::wait("the object is being put by someone else")),
                    };
                }
                Err(error) if answer::does_not_know_the_condition(&error) => self.bucket.forget_conditions(),
                Err(error) => return Err(self.refusal(&error)),
            }
        }
        if self.is_there(key, bytes).await? {
            return Ok(());
        }
        self.put_once(key, media_type, payload, PutMode::Overwrite).await.map_err(|error| self.refusal(&error))
    }

    async fn put_once(&self, key: &Path, media_type: &str, payload: PutPayload, mode: PutMode) -> Result<(), Error> {
        let options = PutOptions { mode, attributes: self.attributes(media_type), ..PutOptions::default() };
        self.within(self.bucket.store().put_opts(key, payload, options)).await.map(drop)
    }

    fn attributes(&self, media_type: &str) -> Attributes {
        let mut attributes = Attributes::new();
        if self.bucket.keeps_media_types() && !media_type.is_empty() {
            attributes.insert(Attribute::ContentType, media_type.to_owned().into());
        }
        attributes
    }

    /// True when an object of that size exists under this key: what else answers 200 is no object of ours. If the credentials allow writing but
    /// not reading, this returns false, and the object is put again with the same content.
    async fn is_there(&self, key: &Path, bytes: u64) -> Result<bool, Refusal> {
        match self.within(self.bucket.store().head(key)).await {
            Ok(found) => Ok(found.size == bytes),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) if answer::forbids(&error) => Ok(false),
            Err(error) => Err(self.refusal(&error)),
        }
    }

    /// Awaits the store's answer within the time limit.
    async fn within<T>(&self, asked: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        within(self.limit, asked).await
    }

    fn refusal(&self, error: &Error) -> Refusal {
        answer::refusal(error, self.bucket.target())
    }
}

/// True for an answer to a conditional put that says that the object exists: 412, or 304 of some servers. It is the same object, since its
/// name is the digest of its content.
fn says_that_it_exists(error: &Error) -> bool {
    match error {
        Error::Precondition { .. } | Error::NotModified { .. } => true,
        Error::AlreadyExists { source, .. } => source.downcast_ref::<Error>().is_some_and(says_that_it_exists),
        _ => false,
    }
}

/// Awaits an answer within `limit`.
async fn within<T>(limit: Duration, asked: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| {
        let source = answer::TooLate(limit).into();
        Err(Error::Generic { store: "object", source })
    })
}

impl Exporter for ObjectExporter {
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
