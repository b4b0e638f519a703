//! The PostgreSQL server of the test run. `tests/postgres.sh` starts a private cluster, and each
//! test that asks gets a new database in it.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The variable in which `tests/postgres.sh` passes the cluster's URL.
const VARIABLE: &str = "PACEGATE_TEST_POSTGRES_URL";

/// Creates an empty database and returns its URL. Without a cluster the test fails: a skipped
/// PostgreSQL test must not count as passed.
pub(crate) async fn fresh_database() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let cluster = std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!("{VARIABLE} is not set: run `make test`, or `tests/postgres.sh cargo test`, which start PostgreSQL")
    });
    let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&cluster).await.expect("the cluster of the tests answers");
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .expect("a new database");
    connection.close().await.expect("the connection closes");
    url_of(&cluster, &name)
}

fn url_of(cluster: &str, database: &str) -> String {
    let mut url = reqwest::Url::parse(cluster).expect("the cluster's URL");
    url.set_path(database);
    url.into()
}

#[test]
fn url_change_affects_only_the_database() {
    let url = url_of("postgres://pacegate@localhost/postgres?host=/run/x", "test_1");
    assert_eq!(url, "postgres://pacegate@localhost/test_1?host=/run/x");
}

#[tokio::test]
async fn every_test_gets_its_own_database() {
    let (one, two) = tokio::join!(fresh_database(), fresh_database());
    assert_ne!(one, two);
    for url in [one, two] {
        let mut connection = PgConnection::connect(&url).await.expect("the new database answers");
        sqlx::raw_sql("CREATE TABLE t (n BIGINT)").execute(&mut connection).await.expect("an empty database");
    }
}
