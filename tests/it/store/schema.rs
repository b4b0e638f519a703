//! The schema: both databases have equal tables, and migrating is safe twice and from several
//! processes at once.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Connection, PgConnection, Row, SqliteConnection};

use pacegate_engine::model::ids::RunId;

use super::Store;
use super::samples::sample;
use crate::postgres::fresh_database;

/// A table's facts that are equal in both databases.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    /// Name, family of type, nullability and default, in order.
    columns: Vec<(String, String, bool, Option<String>)>,
    primary_key: Vec<String>,
    /// Columns and uniqueness of every index.
    indexes: BTreeSet<(Vec<String>, bool)>,
    /// Tables that it refers to.
    references: BTreeSet<String>,
}

type Tables = BTreeMap<String, Table>;

fn family(declared: &str) -> String {
    match declared.to_ascii_lowercase().as_str() {
        "bigint" | "integer" => "integer".to_owned(),
        "blob" | "bytea" => "bytes".to_owned(),
        other => other.to_owned(),
    }
}

async fn sqlite_tables(connection: &mut SqliteConnection) -> Result<Tables, sqlx::Error> {
    let mut tables = Tables::new();
    let columns = sqlx::query(
        "SELECT m.name AS table_name, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk
         FROM sqlite_master m JOIN pragma_table_info(m.name) c
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '\\_%' ESCAPE '\\'
         ORDER BY m.name, c.cid",
    );
    let mut keys: BTreeMap<String, BTreeMap<i64, String>> = BTreeMap::new();
    for row in columns.fetch_all(&mut *connection).await? {
        let (name, column): (String, String) = (row.get(0), row.get(1));
        let place: i64 = row.get(5);
        // SQLite does not report it for a row number.
        let nullable = row.get::<i64, _>(3) == 0 && place == 0;
        if place > 0 {
            keys.entry(name.clone()).or_default().insert(place, column.clone());
        }
        let kind = family(&row.get::<String, _>(2));
        tables.entry(name).or_default().columns.push((column, kind, nullable, row.get(4)));
    }
    for (name, columns) in keys {
        tables.entry(name).or_default().primary_key = columns.into_values().collect();
    }
    for (name, table) in &mut tables {
        let indexes =
            sqlx::query("SELECT name, \"unique\" FROM pragma_index_list($1) WHERE origin <> 'pk'").bind(name);
        for index in indexes.fetch_all(&mut *connection).await? {
            let columns: Vec<String> =
                sqlx::query_scalar("SELECT name FROM pragma_index_info($1) ORDER BY seqno")
                    .bind(index.get::<String, _>(0))
                    .fetch_all(&mut *connection)
                    .await?;
            table.indexes.insert((columns, index.get::<i64, _>(1) == 1));
        }
        let references: Vec<String> = sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_list($1)")
            .bind(name)
            .fetch_all(&mut *connection)
            .await?;
        table.references = references.into_iter().collect();
    }
    Ok(tables)
}

async fn postgres_tables(connection: &mut PgConnection) -> Result<Tables, sqlx::Error> {
    let mut tables = Tables::new();
    let columns = sqlx::query(
        "SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT, is_nullable = 'YES', column_default::TEXT
         FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%' ORDER BY table_name, ordinal_position",
    );
    for row in columns.fetch_all(&mut *connection).await? {
        let column = (row.get(1), family(&row.get::<String, _>(2)), row.get(3), row.get(4));
        tables.entry(row.get(0)).or_default().columns.push(column);
    }
    let indexes = sqlx::query(
        "SELECT t.relname::TEXT, i.indisprimary, i.indisunique,
            ARRAY(SELECT a.attname::TEXT FROM UNNEST(i.indkey) WITH ORDINALITY AS k (attnum, place)
                  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum ORDER BY k.place)
         FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
         WHERE n.nspname = 'public' AND t.relname NOT LIKE '\\_%'",
    );
    for row in indexes.fetch_all(&mut *connection).await? {
        let table = tables.entry(row.get(0)).or_default();
        if row.get(1) {
            table.primary_key = row.get(3);
        } else {
            table.indexes.insert((row.get(3), row.get(2)));
        }
    }
    let references = sqlx::query(
        "SELECT conrelid::REGCLASS::TEXT, confrelid::REGCLASS::TEXT FROM pg_constraint WHERE contype = 'f'",
    );
    for row in references.fetch_all(&mut *connection).await? {
        tables.entry(row.get(0)).or_default().references.insert(row.get(1));
    }
    Ok(tables)
}

#[tokio::test]
async fn both_databases_get_equal_tables() {
    let sqlite = Store::sqlite().await;
    sqlite.db.migrate().await.expect("tables");
    let file = sqlite.folder.as_ref().expect("a folder").path().join("pacegate.db");
    let url = format!("sqlite://{}", file.display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the file opens");
    let here = sqlite_tables(&mut connection).await.expect("tables to read");

    let url = fresh_database().await;
    let postgres = Store::open(&url, None).await;
    postgres.db.migrate().await.expect("tables");
    let mut connection = PgConnection::connect(&url).await.expect("the database answers");
    let there = postgres_tables(&mut connection).await.expect("tables to read");

    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    for (name, table) in &here {
        assert_eq!(Some(table), there.get(name), "table {name}: SQLite left, PostgreSQL right");
    }
    assert!(here.len() >= 15, "every table was read: {:?}", here.keys());
    assert!(here["jobs"].indexes.contains(&(vec!["kind".into(), "dedupe_key".into()], true)));
}

#[tokio::test]
async fn repository_leads_every_key_of_big_tables() {
    let url = fresh_database().await;
    Store::open(&url, None).await.db.migrate().await.expect("tables");
    let mut connection = PgConnection::connect(&url).await.expect("the database answers");
    let tables = postgres_tables(&mut connection).await.expect("tables to read");
    for name in
        ["span_batches", "runs", "stages", "samples", "stage_errors", "comparisons", "workflow_run_traces"]
    {
        let table = &tables[name];
        assert_eq!(table.primary_key.first().map(String::as_str), Some("repo_id"), "{name}");
        for (columns, _) in &table.indexes {
            assert_eq!(columns.first().map(String::as_str), Some("repo_id"), "{name}: {columns:?}");
        }
    }
}

async fn migrates_twice(store: Store) {
    assert!(!store.db.is_migrated().await.expect("an answer"), "an empty database is not ready");
    store.db.migrate().await.expect("tables");
    assert!(store.db.is_migrated().await.expect("an answer"));
    store.db.migrate().await.expect("nothing to do");
    assert!(store.db.is_migrated().await.expect("an answer"));
}

/// Several processes start at once on one empty database.
async fn migrates_from_several_at_once(store: Store) {
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(store.again().await.expect("the same database"));
    }
    let started: Vec<_> =
        processes.iter().cloned().map(|db| tokio::spawn(async move { db.migrate().await })).collect();
    for migration in started {
        migration.await.expect("no panic").expect("every process finds its tables");
    }
    for db in processes {
        assert!(db.is_migrated().await.expect("an answer"));
    }
}

#[tokio::test]
async fn second_migration_changes_nothing_on_sqlite() {
    migrates_twice(Store::sqlite().await).await;
}

#[tokio::test]
async fn second_migration_changes_nothing_on_postgres() {
    migrates_twice(Store::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_migrate_one_sqlite_file_at_once() {
    migrates_from_several_at_once(Store::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_migrate_one_postgres_database_at_once() {
    migrates_from_several_at_once(Store::postgres().await).await;
}

/// A sample that the first version wrote is work without cache state.
#[tokio::test]
async fn samples_of_first_version_are_work() {
    let url = fresh_database().await;
    let postgres = Store::open(&url, None).await;
    let sqlite = Store::sqlite().await;
    for store in [postgres, sqlite] {
        store.db.migrate().await.expect("tables");
        let repo = store.repository("acme/app").await.expect("a repository").id;
        let run = RunId("r1".into());
        let mut tx = store.write().await.expect("a transaction");
        tx.record_samples(repo, &run, &[sample(&["build"], 0)]).await.expect("a stage");
        tx.commit().await.expect("kept");
        // Only the columns of the first version.
        let old = "INSERT INTO samples (repo_id, run_id, stage_id, duration_ns, count, start_offset_ns,
                       end_offset_ns, result, asynchronous)
                   SELECT repo_id, 'old', stage_id, duration_ns, count, start_offset_ns, end_offset_ns, result,
                       asynchronous FROM samples";
        if let Some(folder) = &store.folder {
            let file = format!("sqlite://{}", folder.path().join("pacegate.db").display());
            let mut connection = SqliteConnection::connect(&file).await.expect("the file opens");
            sqlx::query(old).execute(&mut connection).await.expect("a sample");
        } else {
            let mut connection = PgConnection::connect(&url).await.expect("the database answers");
            sqlx::query(old).execute(&mut connection).await.expect("a sample");
        }
        let read = store.read().await.expect("a transaction").samples(repo, &RunId("old".into())).await;
        assert_eq!(read.expect("samples"), [sample(&["build"], 0)]);
    }
}
