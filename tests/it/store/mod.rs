//! The store on both databases. [`store_test!`] runs one body twice: on SQLite in a temporary
//! folder and on a new PostgreSQL database; without PostgreSQL the second one fails.
//!
//! Every time is given. Concurrent transactions meet in every possible order, and the result must
//! be the same.

mod connections;
mod contents;
mod grants;
mod heads;
mod job_spans;
mod kept_traces;
mod lifecycle;
mod loss;
mod measured;
mod migrations;
mod queue;
mod rate_limiter;
mod repositories;
mod runs;
mod samples;
mod schema;
mod spans;
mod tokens;
mod verdicts;
mod worker;
mod workflow_runs;

use std::time::Duration;

use pacegate_clock::Randomness;
use pacegate_engine::model::ids::{CommitSha, RepoName};
use pacegate_engine::model::time::Timestamp;
use pacegate_store::{DatabaseUrl, Db, RepositoryRow, StoreError, Tx};
use tempfile::TempDir;

use crate::postgres::fresh_database;

/// The result of a test's body, which uses `?` on every call to the store.
pub(crate) type Outcome = Result<(), StoreError>;

/// A database of one test.
pub(crate) struct Store {
    pub db: Db,
    pub rng: Randomness,
    pub url: DatabaseUrl,
    /// Deleted at the end of the test.
    folder: Option<TempDir>,
}

impl Store {
    /// A SQLite file, without tables.
    pub(crate) async fn sqlite() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let url = format!("sqlite://{}/pacegate.db", folder.path().display());
        Self::open(&url, Some(folder)).await
    }

    /// A PostgreSQL database, without tables.
    pub(crate) async fn postgres() -> Self {
        Self::open(&fresh_database().await, None).await
    }

    async fn open(url: &str, folder: Option<TempDir>) -> Self {
        let url: DatabaseUrl = url.parse().expect("a database URL");
        let db = Db::connect(&url, 6).await.expect("the database opens");
        Self { db, rng: Randomness::seeded(7), url, folder }
    }

    /// Runs a body with the tables in place.
    pub(crate) async fn run(self, body: impl AsyncFnOnce(&Self) -> Outcome) {
        self.db.migrate().await.expect("tables");
        body(&self).await.expect("the store does what it is asked for");
        self.db.close().await;
        drop(self.folder);
    }

    /// The same database, opened as by another process.
    pub(crate) async fn again(&self) -> Result<Db, StoreError> {
        Db::connect(&self.url, 6).await
    }

    pub(crate) async fn write(&self) -> Result<Tx, StoreError> {
        self.db.write().await
    }

    pub(crate) async fn read(&self) -> Result<Tx, StoreError> {
        self.db.read().await
    }

    /// A repository without an installation.
    pub(crate) async fn repository(&self, name: &str) -> Result<RepositoryRow, StoreError> {
        let mut tx = self.write().await?;
        let row = tx.ensure_repository(&repo_name(name), at(0)).await?;
        tx.commit().await?;
        Ok(row)
    }
}

/// `store_test!(name, async |store| { … Ok(()) })` makes the tests `name::sqlite` and
/// `name::postgres`.
macro_rules! store_test {
    ($name:ident, $body:expr) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                $crate::store::Store::sqlite().await.run($body).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                $crate::store::Store::postgres().await.run($body).await;
            }
        }
    };
}
pub(in crate::store) use store_test;

/// This number of seconds after the tests' epoch.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp(1_800_000_000_000_000 + seconds * 1_000_000)
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn repo_name(text: &str) -> RepoName {
    text.parse().expect("a repository's name")
}

/// A commit whose 40 digits are all this one.
pub(crate) fn sha(digit: char) -> CommitSha {
    digit.to_string().repeat(40).parse().expect("a commit")
}
