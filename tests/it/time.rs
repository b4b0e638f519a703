//! Waiting and the wall clock for tests. Only this file reads the system's time.
//!
//! No test sleeps for a guessed duration. A condition is polled until it holds, and the deadline
//! only decides when the test has failed.

use std::future::Future;
use std::time::{Duration, SystemTime};

/// Seconds since the epoch, by the machine's clock.
pub(crate) fn now_seconds() -> i64 {
    now_milliseconds().div_euclid(1000)
}

/// Milliseconds since the epoch, by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "tokens and signatures of real processes carry real time")]
pub(crate) fn now_milliseconds() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(elapsed.as_millis()).expect("milliseconds that fit")
}

/// `2026-01-31T12:00:00Z`, as GitHub writes times.
pub(crate) fn rfc3339(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0)
        .expect("a time in range")
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Polls `probe` until it returns `Some`. After `within` the test fails, and the message names
/// `what`.
pub(crate) async fn eventually<T, P, F>(what: &str, within: Duration, mut probe: P) -> T
where
    P: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let polling = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(within, polling).await;
    found.unwrap_or_else(|_| panic!("waited {within:?} for: {what}"))
}

#[tokio::test]
async fn eventually_returns_what_the_probe_found() {
    let mut asked = 0;
    let found = eventually("the third answer", Duration::from_secs(5), || {
        asked += 1;
        let answer = (asked == 3).then_some(asked);
        async move { answer }
    })
    .await;
    assert_eq!(found, 3);
}

#[tokio::test]
#[should_panic(expected = "for: what never comes")]
async fn eventually_names_the_condition_on_timeout() {
    eventually("what never comes", Duration::from_millis(30), || async { None::<()> }).await;
}
