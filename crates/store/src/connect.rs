//! Opens a database from its URL and brings its tables up to date.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::Notify;

use super::{Db, Pools, StoreError};

static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The URL of a supported database. It may hold a password, so it is never shown as a whole.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// `sqlite://FILE`. There is no in-memory form: readers and the writer are separate.
    Sqlite(Box<SqliteConnectOptions>),
    /// `postgres://…`.
    Postgres(Box<PgConnectOptions>),
}

impl FromStr for DatabaseUrl {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, StoreError> {
        // Where the URL may hold a password, the error does not quote it.
        let scheme = url.split(':').next().unwrap_or_default().to_owned();
        match scheme.as_str() {
            "sqlite" => {
                let options = SqliteConnectOptions::from_str(url)
                    .ok()
                    .filter(|_| !url.contains(":memory:") && !url.contains("mode=memory"))
                    // For SQLite an empty name is a temporary file, another one for each connection.
                    .filter(|options| !options.get_filename().as_os_str().is_empty())
                    .ok_or_else(|| StoreError::Url(url.to_owned()))?;
                Ok(Self::Sqlite(Box::new(
                    options
                        .create_if_missing(true)
                        .journal_mode(SqliteJournalMode::Wal)
                        // An answered request is on the disk, even if the machine fails afterwards.
                        .synchronous(SqliteSynchronous::Full)
                        // In pages of 4 KiB. Many spans arrive, and each checkpoint waits for the disk.
                        .pragma("wal_autocheckpoint", "4000")
                        .foreign_keys(true)
                        .busy_timeout(Duration::from_secs(20)),
                )))
            }
            "postgres" | "postgresql" => PgConnectOptions::from_str(url)
                .map(|options| Self::Postgres(Box::new(options.application_name("pacegate"))))
                .map_err(|_| StoreError::Url(format!("{scheme}://…"))),
            _ => Err(StoreError::Url(format!("{scheme}:…"))),
        }
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(options) => write!(f, "sqlite://{}", options.get_filename().display()),
            Self::Postgres(options) => {
                write!(f, "postgres://{}:{}/…", options.get_host(), options.get_port())
            }
        }
    }
}

impl Db {
    /// Opens the database. `connections` bounds the open connections. On SQLite they are for reading,
    /// and the writer has one more.
    ///
    /// # Errors
    /// [`StoreError::Database`] if it can't be reached or opened within ten seconds.
    pub async fn connect(url: &DatabaseUrl, connections: u32) -> Result<Self, StoreError> {
        let timeout = Duration::from_secs(10);
        let pools = match url {
            DatabaseUrl::Sqlite(options) => {
                let write = SqlitePoolOptions::new()
                    .max_connections(1)
                    // Writers queue here in order, instead of retrying the file's lock.
                    .acquire_timeout(Duration::from_secs(30))
                    .idle_timeout(None)
                    .connect_with((**options).clone())
                    .await?;
                let read = SqlitePoolOptions::new()
                    .max_connections(connections.max(1))
                    .acquire_timeout(Duration::from_secs(30))
                    .connect_lazy_with((**options).clone());
                Pools::Sqlite { write, read }
            }
            DatabaseUrl::Postgres(options) => Pools::Postgres(
                PgPoolOptions::new()
                    .max_connections(connections.max(2))
                    .acquire_timeout(timeout)
                    .connect_with((**options).clone())
                    .await?,
            ),
        };
        Ok(Self { pools, task_pushed: Arc::new(Notify::new()) })
    }

    /// Brings the tables up to date. Several processes may call this at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match &self.pools {
            Pools::Sqlite { write, .. } => {
                // Under the writer's lock: the migrator takes no lock on SQLite, and two processes
                // that start at once would both begin with the first migration.
                let mut transaction = write.begin_with("BEGIN IMMEDIATE").await?;
                SQLITE.run_direct(None, &mut *transaction, false).await?;
                transaction.commit().await?;
            }
            Pools::Postgres(pool) => POSTGRES.run(pool).await?,
        }
        Ok(())
    }

    /// Whether every migration of this version has been applied, for `/readyz`.
    pub async fn is_migrated(&self) -> Result<bool, StoreError> {
        let newest = SQLITE.iter().map(|m| m.version).max().unwrap_or(0);
        let mut tx = self.read().await?;
        let applied: Result<Option<i64>, sqlx::Error> = super::on_db!(tx, conn => {
            sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(&mut *conn)
                .await
        });
        match applied {
            Ok(applied) => Ok(applied.is_some_and(|v| v >= newest)),
            // There is no such table: no migration was ever applied.
            Err(sqlx::Error::Database(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_never_shown() {
        let url: DatabaseUrl = "postgres://me:hunter2@db:5432/pacegate".parse().expect("a URL");
        assert!(!format!("{url:?}").contains("hunter2"));
        let error = "mysql://me:hunter2@db/x".parse::<DatabaseUrl>().expect_err("unknown scheme");
        assert!(!error.to_string().contains("hunter2"));
    }
}
