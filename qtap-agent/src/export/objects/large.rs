//! Upload of large objects in parts: each part is read just before it is sent and freed when the store has it. The client resends a part
//! that fails; an upload that fails is aborted, so that the bucket keeps none of its parts, and started again.

use std::time::Duration;

use object_store::path::Path;
use object_store::{MultipartUpload, PutMultipartOptions};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::data::Data;
use super::{ObjectExporter, within};
use crate::export::refusal::Refusal;

/// Bytes of a part. S3 requires at least 5 MiB (except for the last) and accepts 10 000 parts, so an object can have 78 GiB.
const PART_BYTES: u64 = 8 << 20;
/// Parts of one object in flight at once.
const PARTS_AT_ONCE: usize = 2;

impl ObjectExporter {
    pub(super) async fn put_large(&self, key: &Path, media_type: &str, data: Data) -> Result<(), Refusal> {
        // No condition on completing an upload works with all stores, so check for the object first.
        if self.is_there(key, data.bytes()).await? {
            return Ok(());
        }
        let options = PutMultipartOptions { attributes: self.attributes(media_type), ..PutMultipartOptions::default() };
        let begun = self.within(self.bucket.store().put_multipart_opts(key, options)).await;
        let inner = begun.map_err(|error| self.refusal(&error))?;
        let mut upload = Upload { inner: Some(inner), limit: self.limit };
        let sent = self.send_parts(&mut upload, &data).await;
        match sent {
            Ok(()) => upload.complete().await.map_err(|error| self.refusal(&error)),
            Err(refusal) => {
                upload.abort().await;
                Err(refusal)
            }
        }
    }

    async fn send_parts(&self, upload: &mut Upload, data: &Data) -> Result<(), Refusal> {
        let mut under_way: JoinSet<object_store::Result<()>> = JoinSet::new();
        let mut offset = 0;
        while offset < data.bytes() {
            if under_way.len() >= PARTS_AT_ONCE {
                self.settle(under_way.join_next().await)?;
            }
            let room = self.parts.clone().acquire_owned().await;
            let len = PART_BYTES.min(data.bytes() - offset);
            let part = data.part(offset, len).await?;
            let Some(inner) = &mut upload.inner else { break };
            let (sending, limit) = (inner.put_part(part.into()), self.limit);
            under_way.spawn(async move {
                let sent = within(limit, sending).await;
                drop(room);
                sent
            });
            offset += len;
        }
        while let Some(ended) = under_way.join_next().await {
            self.settle(Some(ended))?;
        }
        Ok(())
    }

    fn settle(&self, ended: Option<Result<object_store::Result<()>, tokio::task::JoinError>>) -> Result<(), Refusal> {
        match ended {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(self.refusal(&error)),
            Some(Err(error)) => Err(Refusal::wait(format!("sending a part was interrupted: {error}"))),
        }
    }
}

/// An upload in progress; dropping it aborts it.
#[derive(Debug)]
struct Upload {
    inner: Option<Box<dyn MultipartUpload>>,
    limit: Duration,
}

impl Upload {
    async fn complete(&mut self) -> object_store::Result<()> {
        let Some(inner) = &mut self.inner else { return Ok(()) };
        let completed = within(self.limit, inner.complete()).await;
        match completed {
            Ok(_) => self.inner = None,
            Err(_) => self.abort().await,
        }
        completed.map(drop)
    }

    /// Errors are ignored: parts that can't be removed stay until the bucket's lifecycle rules remove them.
    async fn abort(&mut self) {
        if let Some(mut inner) = self.inner.take() {
            let _ = within(self.limit, inner.abort()).await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(mut inner), Ok(runtime)) = (self.inner.take(), Handle::try_current()) {
            let limit = self.limit;
            runtime.spawn(async move { within(limit, inner.abort()).await });
        }
    }
}
