//! Raw traces in an object store: a local folder or a bucket. A trace is written before the run
//! that refers to it, so the reference is never dangling.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::StoreError;
use pacegate_engine::model::ids::{RepoId, TraceId};

/// The object store of raw traces. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TraceStore {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
}

impl TraceStore {
    /// Opens `file:FOLDER`, which is created if it does not exist, or `s3://BUCKET/PREFIX`, whose
    /// keys and region come from the usual `AWS_*` variables.
    ///
    /// # Errors
    /// [`StoreError::TracesUrl`] for another form, [`StoreError::Traces`] if it can't be opened.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        if let Some(folder) = url.strip_prefix("file:") {
            let folder = folder.strip_prefix("//").unwrap_or(folder);
            std::fs::create_dir_all(folder)
                .map_err(|e| object_store::Error::Generic { store: "file", source: Box::new(e) })?;
            let objects = LocalFileSystem::new_with_prefix(folder)?.with_automatic_cleanup(true);
            return Ok(Self { objects: Arc::new(objects), prefix: String::new() });
        }
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let objects = AmazonS3Builder::from_env().with_bucket_name(bucket).build()?;
            return Ok(Self { objects: Arc::new(objects), prefix: prefix.trim_matches('/').to_owned() });
        }
        Err(StoreError::TracesUrl(url.to_owned()))
    }

    fn path(&self, repo: RepoId, trace: TraceId) -> Path {
        // The first two digits spread a repository's traces over 256 folders.
        let id = trace.to_string();
        Path::from(format!("{}/{}/{}/{id}.json.gz", self.prefix, repo.0, &id[..2]))
    }

    /// Writes a trace as gzip of OTLP JSON, in place of an earlier one.
    pub async fn put(&self, repo: RepoId, trace: TraceId, gzip: Vec<u8>) -> Result<(), StoreError> {
        self.objects.put(&self.path(repo, trace), gzip.into()).await?;
        Ok(())
    }

    /// Deletes a trace. It need not exist.
    pub async fn delete(&self, repo: RepoId, trace: TraceId) -> Result<(), StoreError> {
        match self.objects.delete(&self.path(repo, trace)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that the store can be used: writes, reads and deletes a small object.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let path = Path::from(format!("{}/probe", self.prefix));
        self.objects.put(&path, "probe".into()).await?;
        self.objects.get(&path).await?.bytes().await?;
        self.objects.delete(&path).await?;
        Ok(())
    }

    /// A trace as gzip of OTLP JSON; none if it was never written or was deleted.
    pub async fn get(&self, repo: RepoId, trace: TraceId) -> Result<Option<Vec<u8>>, StoreError> {
        match self.objects.get(&self.path(repo, trace)).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
