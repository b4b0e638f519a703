//! Storage: the two databases behind one set of functions, and the object store for raw traces. All SQL of Pacegate is in this crate. Each text runs on both databases, so it
//! uses only what both understand.

mod access;
pub mod app_file;
mod chunks;
mod connect;
mod github;
mod queue;
mod quotas;
mod repositories;
mod runs;
pub mod traces;

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};
use tokio::sync::Notify;

pub use access::{GRANT_PREFIX, GrantRow, Granted, JobTokenUse, NewGrant, TOKEN_PREFIX, TokenRow};
pub use connect::DatabaseUrl;
pub use github::{
    BackfillRow, BudgetsOverview, CheckRow, DeliveryRow, DeliverySweep, FailedDelivery, MergeGroupRow,
    PageRead, PullRequestRow, RateLimitRow, StoredFile, StoredPolicy, TraceOfAttempt, WorkflowRunRow,
};
pub use queue::{Attempt, ClaimedTask, DeadTask, LeaseToken, NewTask, Priority, Settlement, TaskCounts};
pub use quotas::{ArtifactQuota, SentArtifact};
pub use repositories::{InstallationRow, RepositoryFacts, RepositoryOverview, RepositoryRow, forgetting};
pub use runs::{ComparisonRow, NewComparison, RunFilter, StoredRun};
pub use traces::{
    CollectedTrace, KeptTrace, OpenTrace, PipelineTrace, SpanBatch, StoredBatch, TraceBounds, TraceToDrop,
};

/// A commit schedules a notification for a task that is due within this time. Polling finds tasks
/// that are due later.
const NOTIFIED_IN_TIME: Duration = Duration::from_mins(1);

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error(
        "the database operation failed; check that the database runs, has free space and is not locked by another program"
    )]
    Database(#[from] sqlx::Error),
    /// A migration failed.
    #[error("the database's tables could not be brought up to date; was it written by a newer Pacegate?")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The text is not the URL of a supported database.
    #[error("`{0}` is not a database URL: write sqlite://FILE or postgres://USER@HOST/NAME")]
    Url(String),
    /// The text does not name a place for raw traces.
    #[error("`{0}` does not name a store of raw traces: write file:FOLDER or s3://BUCKET/PREFIX")]
    TracesUrl(String),
    /// This version can't read the value of a row.
    #[error("this version can't read {what} in the database: update Pacegate")]
    Unreadable {
        /// The column, as it is called in the error's text.
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object store refused or could not be reached.
    #[error("the operation on the store of raw traces failed; check PACEGATE_TRACES_URL and its permissions")]
    Traces(#[from] object_store::Error),
}

impl StoreError {
    fn unreadable(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unreadable { what, source: source.into() }
    }
}

/// A database: SQLite for one process, PostgreSQL for many. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    pools: Pools,
    /// Notified after every commit that pushed a task, so that this process's workers look at once.
    pub task_pushed: Arc<Notify>,
}

#[derive(Debug, Clone)]
enum Pools {
    /// SQLite has one writer. Readers never wait for it (write-ahead log).
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction. It is rolled back if it is dropped without [`Tx::commit`].
#[derive(Debug)]
pub struct Tx {
    inner: TxInner,
    task_pushed: Option<Arc<Notify>>,
    /// How soon the first of the tasks is due that this transaction pushed or put off.
    due_in: Option<Duration>,
}

#[derive(Debug)]
enum TxInner {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// Runs one body with the connection of a transaction, for either database. The body is compiled
/// twice, so a text or a type that one driver does not know is a compile error.
macro_rules! on_db {
    ($tx:expr, $conn:ident => $body:expr) => {
        match &mut $tx.inner {
            $crate::TxInner::Sqlite(transaction) => {
                let $conn = &mut **transaction;
                $body
            }
            $crate::TxInner::Postgres(transaction) => {
                let $conn = &mut **transaction;
                $body
            }
        }
    };
}
pub(crate) use on_db;

impl Db {
    /// A transaction that will write. On SQLite it takes the writer's lock at once, so it can't
    /// fail half-way because of another writer.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        let inner = match &self.pools {
            Pools::Sqlite { write, .. } => TxInner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Pools::Postgres(pool) => TxInner::Postgres(pool.begin().await?),
        };
        Ok(Tx { inner, task_pushed: Some(self.task_pushed.clone()), due_in: None })
    }

    /// A transaction that only reads. It sees one state, however long it is open.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let inner = match &self.pools {
            Pools::Sqlite { read, .. } => TxInner::Sqlite(read.begin().await?),
            // SQLite's transactions have this isolation by default.
            Pools::Postgres(pool) => {
                TxInner::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?)
            }
        };
        Ok(Tx { inner, task_pushed: None, due_in: None })
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// Whether the database has a single writer: no two transactions write at once, even to
    /// different rows.
    #[must_use]
    pub fn has_one_writer(&self) -> bool {
        matches!(self.pools, Pools::Sqlite { .. })
    }

    /// The database's name, for people: "`SQLite`" or "`PostgreSQL`".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.pools {
            Pools::Sqlite { .. } => "SQLite",
            Pools::Postgres(_) => "PostgreSQL",
        }
    }
}

impl Tx {
    /// Commits the transaction and notifies the workers of the tasks that it pushed.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.inner {
            TxInner::Sqlite(transaction) => transaction.commit().await?,
            TxInner::Postgres(transaction) => transaction.commit().await?,
        }
        if let (Some(due_in), Some(workers)) = (self.due_in, self.task_pushed) {
            if due_in.is_zero() {
                workers.notify_waiters();
                workers.notify_one();
            } else if due_in < NOTIFIED_IN_TIME {
                tokio::spawn(async move {
                    tokio::time::sleep(due_in).await;
                    workers.notify_one();
                });
            }
        }
        Ok(())
    }

    /// Remembers that a task is due after this time: the commit notifies the workers.
    fn task_due(&mut self, due_in: Duration) {
        self.due_in = Some(self.due_in.map_or(due_in, |first| first.min(due_in)));
    }
}
