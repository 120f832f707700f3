//! The object store: the local disk by default, S3 by its URL. Every call of it
//! has a limit of time, so that a store that takes connections and never answers
//! holds nobody up.

use std::{os::unix::fs::DirBuilderExt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path, prefix::PrefixStore,
};
use tokio::time::timeout;

use crate::ArchiveError;

/// For one call, whatever it tries meanwhile.
const ANSWER_SECONDS_MAX: u64 = 10;
/// For one that moves a segment.
const SEGMENT_SECONDS_MAX: u64 = 60;
const TRIES_MAX: usize = 3;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Place {
    store: Arc<dyn ObjectStore>,
    url: Arc<str>,
}

impl Place {
    /// Makes a local folder that is not there.
    pub fn make(url: &str) -> Result<Self, ArchiveError> {
        if let Some(Ok(folder)) = kernel::folder_of(url) {
            // It holds all that was ever written.
            let mut builder = std::fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(&folder);
            made.map_err(|error| ArchiveError::Url(format!("{url}: {error}")))?;
        }
        Self::open(url)
    }

    /// A local folder must be there: an empty one in the place of a disk that is not
    /// mounted would pass for an archive without events.
    pub fn open(url: &str) -> Result<Self, ArchiveError> {
        let wrong = |why: String| ArchiveError::Url(format!("{url}: {why}"));
        let failed = |error: object_store::Error| wrong(error.to_string());
        let store: Arc<dyn ObjectStore> = if let Some(folder) = kernel::folder_of(url) {
            let folder = folder.map_err(|error| wrong(error.to_string()))?;
            if !folder.exists() {
                let why = "there is no such folder; `headwater up`, `serve`, `work` and \
                           `log archive` make it";
                return Err(wrong(why.into()));
            }
            let local = LocalFileSystem::new_with_prefix(folder).map_err(failed)?;
            Arc::new(local.with_fsync(true))
        } else {
            match url.split_once(':') {
                Some(("s3", rest)) => {
                    let rest = rest.trim_start_matches('/');
                    let prefix = rest.split_once('/').map_or("", |(_, prefix)| prefix);
                    let retry = RetryConfig {
                        max_retries: TRIES_MAX,
                        retry_timeout: Duration::from_secs(ANSWER_SECONDS_MAX),
                        ..RetryConfig::default()
                    };
                    let s3 = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
                    Arc::new(PrefixStore::new(s3.build().map_err(failed)?, prefix))
                }
                _ => return Err(wrong("it is file:///folder or s3://bucket/prefix".into())),
            }
        };
        let url = url.into();
        Ok(Self { store, url })
    }

    /// Every file below a folder, by name.
    pub async fn list(&self, folder: &Path) -> Result<Vec<Path>, ArchiveError> {
        let files = self.store.list(Some(folder)).map_ok(|file| file.location);
        let mut files: Vec<_> = self.answer(files.try_collect()).await?;
        files.sort_unstable();
        Ok(files)
    }

    pub async fn folders(&self) -> Result<Vec<Path>, ArchiveError> {
        let top = self.answer(self.store.list_with_delimiter(None)).await?;
        Ok(top.common_prefixes)
    }

    /// What is short.
    pub async fn get(&self, file: &Path) -> Result<Bytes, ArchiveError> {
        self.answer(async { self.store.get(file).await?.bytes().await })
            .await
    }

    /// None where it is not there.
    pub async fn get_segment(&self, file: &Path) -> Result<Option<Bytes>, ArchiveError> {
        let got = async { self.store.get(file).await?.bytes().await };
        match self.within(SEGMENT_SECONDS_MAX, got).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ArchiveError::Store(object_store::Error::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn put_segment(&self, file: &Path, bytes: Bytes) -> Result<(), ArchiveError> {
        let put = self.store.put(file, PutPayload::from_bytes(bytes));
        self.within(SEGMENT_SECONDS_MAX, put).await.map(drop)
    }

    /// Whether it was not there yet: of two that create a file, one does.
    pub async fn create(&self, file: &Path, bytes: Vec<u8>) -> Result<bool, ArchiveError> {
        let options = PutOptions::from(PutMode::Create);
        let put = self.store.put_opts(file, PutPayload::from(bytes), options);
        match self.answer(put).await {
            Ok(_) => Ok(true),
            Err(ArchiveError::Store(object_store::Error::AlreadyExists { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// In one step, over what is there.
    pub async fn copy(&self, from: &Path, to: &Path) -> Result<(), ArchiveError> {
        let copy = self.store.copy(from, to);
        self.within(SEGMENT_SECONDS_MAX, copy).await
    }

    /// What is gone already is fine.
    pub async fn delete(&self, file: &Path) -> Result<(), ArchiveError> {
        match self.answer(self.store.delete(file)).await {
            Err(ArchiveError::Store(object_store::Error::NotFound { .. })) => Ok(()),
            deleted => deleted,
        }
    }

    async fn answer<T>(
        &self,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ArchiveError> {
        self.within(ANSWER_SECONDS_MAX, call).await
    }

    async fn within<T>(
        &self,
        seconds: u64,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ArchiveError> {
        let silent = || ArchiveError::Silent {
            url: self.url.to_string(),
            seconds,
        };
        let answered = timeout(Duration::from_secs(seconds), call).await;
        Ok(answered.map_err(|_| silent())??)
    }
}
