//! Everything that is kept: the two databases behind one set of functions, and the object
//! store for raw traces. All SQL of the crate is in this folder; each text runs on both
//! databases, so it keeps to what both understand.

mod api_traces;
pub mod app_file;
mod artifact_quota;
mod backfills;
mod checks;
mod chunks;
mod claims;
mod comparisons;
mod connect;
mod contents;
mod decisions;
mod deliveries;
mod enqueue;
mod errors;
pub mod forgetting;
mod github_rate_limits;
mod grants;
mod kept_traces;
mod linked_traces;
mod ownership;
mod pull_requests;
mod queue;
mod repositories;
mod runs;
mod samples;
mod spans;
mod sweeps;
mod tokens;
pub mod traces;
mod workflow_runs;

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};
use tokio::sync::Notify;

pub use api_traces::CollectedTrace;
pub use artifact_quota::{ArtifactQuota, SentArtifact};
pub use backfills::{BackfillRow, PageRead};
pub use checks::CheckRow;
pub use comparisons::{ComparisonRow, NewComparison};
pub use connect::DatabaseUrl;
pub use contents::{StoredFile, StoredPolicy};
pub use deliveries::DeliveryRow;
pub use github_rate_limits::{BudgetsOverview, RateLimitRow};
pub use grants::{GRANT_PREFIX, GrantRow, Granted, JobTokenUse, NewGrant};
pub use kept_traces::{KeptTrace, TraceToDrop};
pub use linked_traces::PipelineTrace;
pub use pull_requests::PullRequestRow;
pub use queue::{Attempt, ClaimedTask, DeadTask, LeaseToken, NewTask, Priority, Settlement, TaskCounts};
pub use repositories::{InstallationRow, RepositoryFacts, RepositoryOverview, RepositoryRow};
pub use runs::{RunFilter, StoredRun};
pub use spans::{OpenTrace, SpanBatch, StoredBatch, TraceBounds};
pub use sweeps::{DeliverySweep, FailedDelivery};
pub use tokens::{TOKEN_PREFIX, TokenRow};
pub use workflow_runs::{MergeGroupRow, WorkflowRunRow};

/// For a job that is due sooner than this the bell is rung at its time; polling finds the others.
const RUNG_IN_TIME: Duration = Duration::from_mins(1);

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("the database could not do this; it may be down, full or locked by another program")]
    Database(#[from] sqlx::Error),
    /// The tables could not be brought up to date.
    #[error("the database's tables could not be brought up to date; was it written by a newer Pacegate?")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Not a URL of a database we know.
    #[error("`{0}` is not a database URL: write sqlite://FILE or postgres://USER@HOST/NAME")]
    Url(String),
    /// Not a place for raw traces that we know.
    #[error("`{0}` is no place for raw traces: write file:FOLDER or s3://BUCKET/PREFIX")]
    TracesUrl(String),
    /// A row holds something that this version can't read.
    #[error("{what} in the database can't be read by this version")]
    Unreadable {
        /// Which column.
        what: &'static str,
        /// What was wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The object store refused or could not be reached.
    #[error("the store of raw traces could not do this; check PACEGATE_TRACES_URL and its permissions")]
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
    /// Rung after every commit that pushed a job, so that this process's workers look at once.
    pub task_pushed: Arc<Notify>,
}

#[derive(Debug, Clone)]
enum Pools {
    /// SQLite has one writer; readers never wait for it (write-ahead log).
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction. Dropped without [`Tx::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct Tx {
    inner: TxInner,
    task_pushed: Option<Arc<Notify>>,
    /// In how long the first of the jobs this transaction pushed or put off is due.
    due_in: Option<Duration>,
}

#[derive(Debug)]
enum TxInner {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// Runs one body with a connection of whichever database a transaction is on. The body is
/// compiled twice, so a text or a type that one driver does not know is a compile error.
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
    /// A transaction that will write. On SQLite it takes the one writer's place at once, so
    /// that it can't fail half-way because another one wrote.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        let inner = match &self.pools {
            Pools::Sqlite { write, .. } => TxInner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Pools::Postgres(pool) => TxInner::Postgres(pool.begin().await?),
        };
        Ok(Tx { inner, task_pushed: Some(self.task_pushed.clone()), due_in: None })
    }

    /// A transaction that only reads, and sees one state however long it is open.
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let inner = match &self.pools {
            Pools::Sqlite { read, .. } => TxInner::Sqlite(read.begin().await?),
            // What SQLite does anyway.
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

    /// Whether one transaction writes at a time, whatever it touches.
    #[must_use]
    pub fn has_one_writer(&self) -> bool {
        matches!(self.pools, Pools::Sqlite { .. })
    }

    /// "`SQLite`" or "`PostgreSQL`", for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.pools {
            Pools::Sqlite { .. } => "SQLite",
            Pools::Postgres(_) => "PostgreSQL",
        }
    }
}

impl Tx {
    /// Makes everything that was done in this transaction last, all or nothing.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.inner {
            TxInner::Sqlite(transaction) => transaction.commit().await?,
            TxInner::Postgres(transaction) => transaction.commit().await?,
        }
        if let (Some(due_in), Some(bell)) = (self.due_in, self.task_pushed) {
            if due_in.is_zero() {
                bell.notify_waiters();
                bell.notify_one();
            } else if due_in < RUNG_IN_TIME {
                tokio::spawn(async move {
                    tokio::time::sleep(due_in).await;
                    bell.notify_one();
                });
            }
        }
        Ok(())
    }

    /// Remembers that a job is due after this long, for the bell that is rung after the commit.
    fn task_due(&mut self, due_in: Duration) {
        self.due_in = Some(self.due_in.map_or(due_in, |first| first.min(due_in)));
    }
}
