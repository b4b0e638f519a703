//! Migrations of databases with rows of older versions: nothing is lost, and nothing that an older
//! version wrote makes a migration fail.

use std::path::Path;

use pacegate_engine::model::ids::RepoId;
use pacegate_ingest::ci_job::ids::trace_id;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::workflow_runs::{find, run};
use super::{Store, at, sha};
use crate::postgres::fresh_database;

/// The newest migration before `workflow_run_traces` and `jobs.repo_id`.
const BEFORE: i64 = 20_261_123_000_020;

/// A connection beside the store, to write rows as an older version did.
enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Raw {
    async fn migrate_to(&mut self, version: i64) {
        let folder = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name);
        match self {
            Self::Sqlite(connection) => {
                let migrator = Migrator::new(folder("sqlite")).await.expect("migrations");
                migrator.run_to(version, connection).await.expect("tables");
            }
            Self::Postgres(connection) => {
                let migrator = Migrator::new(folder("postgres")).await.expect("migrations");
                migrator.run_to(version, connection).await.expect("tables");
            }
        }
    }

    async fn execute(&mut self, text: &str) {
        let text = AssertSqlSafe(text.to_owned());
        match self {
            Self::Sqlite(connection) => drop(sqlx::raw_sql(text).execute(connection).await.expect("rows")),
            Self::Postgres(connection) => drop(sqlx::raw_sql(text).execute(connection).await.expect("rows")),
        }
    }

    async fn repositories_of_tasks(&mut self) -> Vec<(String, Option<i64>)> {
        let text = "SELECT job_id, repo_id FROM jobs ORDER BY job_id";
        match self {
            Self::Sqlite(connection) => sqlx::query_as(text).fetch_all(connection).await.expect("tasks"),
            Self::Postgres(connection) => sqlx::query_as(text).fetch_all(connection).await.expect("tasks"),
        }
    }
}

/// Both databases as the version before had them, with one repository.
async fn old_databases() -> Vec<(Store, Raw)> {
    let sqlite = Store::sqlite().await;
    let file = sqlite.folder.as_ref().expect("a folder").path().join("pacegate.db");
    let raw =
        SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("the file opens");
    let url = fresh_database().await;
    let postgres = Store::open(&url, None).await;
    let raw_postgres = PgConnection::connect(&url).await.expect("the database answers");
    let mut both = vec![(sqlite, Raw::Sqlite(raw)), (postgres, Raw::Postgres(raw_postgres))];
    for (_, raw) in &mut both {
        raw.migrate_to(BEFORE).await;
        raw.execute(
            "INSERT INTO repositories (repo_id, owner, name, lookup_name, created_at)
             VALUES (1, 'acme', 'app', 'acme/app', 0)",
        )
        .await;
    }
    both
}

#[tokio::test]
async fn old_workflow_runs_are_found_by_trace() {
    for (store, mut raw) in old_databases().await {
        let row = |id: i64, attempt: i64, seconds: i64| {
            format!("(1, {id}, {attempt}, 7, 'CI', 'ci.yml', 'push', '{}', 1, {})", sha('a'), at(seconds).0)
        };
        raw.execute(&format!(
            "INSERT INTO workflow_runs (repo_id, github_run_id, attempt, workflow_id, name, path, event, head_sha,
                progress, updated_at) VALUES {}, {}",
            row(501, 3, 10),
            row(502, 1, 1)
        ))
        .await;
        store.db.migrate().await.expect("tables");
        let mut tx = store.write().await.expect("a transaction");
        let repo = RepoId(1);
        for attempt in 1..=3 {
            let found = find(&mut tx, repo, trace_id(501, attempt), 5).await.expect("an answer");
            assert_eq!(found, Some((501, attempt)));
        }
        assert_eq!(find(&mut tx, repo, trace_id(502, 1), 5).await.expect("an answer"), None, "too long ago");
        // A newer state stores the traces, and an older process may still write beside this one.
        tx.record_workflow_run(repo, &run(501, 4, 1), trace_id, at(20)).await.expect("recorded");
        tx.commit().await.expect("kept");
        raw.execute("UPDATE workflow_runs SET attempt = 5 WHERE github_run_id = 501").await;
        let mut tx = store.read().await.expect("a transaction");
        for attempt in 1..=5 {
            let found = find(&mut tx, repo, trace_id(501, attempt), 5).await.expect("an answer");
            assert_eq!(found, Some((501, attempt)));
        }
    }
}

#[tokio::test]
async fn old_tasks_get_repository_of_their_payload() {
    let payloads = [
        ("a", r#"{"job":"collect_run","repo":1,"trace":"0a","collections":0}"#, Some(1)),
        (
            "b",
            r#"{"job":"evaluate_head","head_sha":"0a","repo":9007199254740993}"#,
            Some(9_007_199_254_740_993),
        ),
        ("c", r#"{ "job" : "x" , "repo" : 7 }"#, Some(7)),
        ("d", r#"{"job":"handle_delivery","delivery_id":"1","subject":"\"repo\":2,"}"#, None),
        ("e", r#"{"job":"sweep_deliveries","slot":3}"#, None),
        ("f", "", None),
        ("g", "not JSON", None),
        ("h", r#"{"job":"collect_run","repo":1,"trace"#, None),
        ("i", r#"{"job":"x","repo":"1"}"#, None),
        ("j", r#"{"job":"x","repo":null}"#, None),
        ("k", "[1]", None),
    ];
    for (store, mut raw) in old_databases().await {
        for (id, payload, _) in payloads {
            raw.execute(&format!(
                "INSERT INTO jobs (job_id, kind, payload, visible_at, max_attempts, created_at)
                 VALUES ('{id}', 'x', '{payload}', {}, 3, 0)",
                at(600).0
            ))
            .await;
        }
        store.db.migrate().await.expect("tables");
        let expected: Vec<_> = payloads.map(|(id, _, repo)| (id.to_owned(), repo)).into();
        assert_eq!(raw.repositories_of_tasks().await, expected, "{}", store.db.kind());
    }
}
