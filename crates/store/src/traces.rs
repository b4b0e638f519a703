//! Raw traces in an object store: a local folder, or a bucket. Written before the run that
//! refers to them, so a run never points at nothing.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::StoreError;
use pacegate_engine::model::ids::{RepoId, TraceId};

/// Where raw traces are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TraceStore {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
}

impl TraceStore {
    /// Opens `file:FOLDER` (made if it is not there) or `s3://BUCKET/PREFIX`, whose keys and
    /// region come from the usual `AWS_*` variables.
    ///
    /// # Errors
    /// [`StoreError::TracesUrl`] for another form, [`StoreError::Traces`] when it can't be opened.
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

    /// Keeps a trace, as gzip of OTLP JSON; one kept before is replaced.
    pub async fn put(&self, repo: RepoId, trace: TraceId, gzip: Vec<u8>) -> Result<(), StoreError> {
        self.objects.put(&self.path(repo, trace), gzip.into()).await?;
        Ok(())
    }

    /// Deletes a trace; one that was never kept is deleted already.
    pub async fn delete(&self, repo: RepoId, trace: TraceId) -> Result<(), StoreError> {
        match self.objects.delete(&self.path(repo, trace)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes, reads and deletes a small object: whether the store can be used at all.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let path = Path::from(format!("{}/probe", self.prefix));
        self.objects.put(&path, "probe".into()).await?;
        self.objects.get(&path).await?.bytes().await?;
        self.objects.delete(&path).await?;
        Ok(())
    }

    /// A trace, as gzip of OTLP JSON; none when it was never kept or has been dropped.
    pub async fn get(&self, repo: RepoId, trace: TraceId) -> Result<Option<Vec<u8>>, StoreError> {
        match self.objects.get(&self.path(repo, trace)).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
