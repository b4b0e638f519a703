//! The rate limiter of calls to GitHub. A wait that one process receives applies to all. Writes go
//! one at a time, with a pause between them and at most a number in an hour. A killed process
//! blocks the others only for a short time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pacegate::tasks::queue::rate_limiter::{DatabaseRateLimiter, WriteLimits};
use pacegate_clock::Clock;
use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::rate_limiter::{
    CallKind, CallResult, HourlyQuota, Permit, RateLimitError, RateLimiter, RequestedWait,
};

use super::{Outcome, Store, at, seconds, store_test};

const US: InstallationId = InstallationId(99);
const OTHERS: InstallationId = InstallationId(100);
/// Longer than a call waits in the process, so a call that has to wait is refused at once.
const SPACING: Duration = Duration::from_secs(10);
const LIMITS: WriteLimits =
    WriteLimits { spacing: SPACING, an_hour: 480, call_timeout: Duration::from_secs(30) };

/// Two processes of one database, with a clock that only the test moves.
struct Processes {
    one: Arc<DatabaseRateLimiter>,
    two: Arc<DatabaseRateLimiter>,
    time: Arc<AtomicI64>,
}

impl Processes {
    async fn new(store: &Store, limits: WriteLimits) -> Self {
        let time = Arc::new(AtomicI64::new(at(0).0));
        let clock = Clock::from_fn({
            let time = Arc::clone(&time);
            move || Timestamp(time.load(Ordering::SeqCst))
        });
        let again = store.again().await.expect("the same database");
        let limiter = |db| Arc::new(DatabaseRateLimiter::new(db, clock.clone(), store.rng.clone(), limits));
        Self { one: limiter(store.db.clone()), two: limiter(again), time }
    }

    fn pass(&self, duration: Duration) {
        let micros = i64::try_from(duration.as_micros()).expect("a short while");
        self.time.fetch_add(micros, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.time.load(Ordering::SeqCst))
    }
}

const DONE: CallResult = CallResult { succeeded: true, wait: None, quota: None };

fn limited(limit: RequestedWait) -> CallResult {
    CallResult { succeeded: false, wait: Some(limit), quota: None }
}

fn permit(admitted: Result<Permit, RateLimitError>) -> Permit {
    admitted.expect("let through")
}

/// The time before which a call is refused.
fn not_before(admitted: Result<Permit, RateLimitError>) -> Timestamp {
    match admitted.expect_err("refused") {
        RateLimitError::RetryAt(until) => until,
        RateLimitError::Unavailable(error) => panic!("{error}"),
    }
}

store_test!(wait_of_one_process_applies_to_all, async |store: &Store| -> Outcome {
    let limiters = Processes::new(store, LIMITS).await;
    let read = permit(limiters.one.acquire(US, CallKind::Read).await);
    let wait =
        limiters.one.release(US, read, limited(RequestedWait::For(seconds(60)))).await.expect("a wait");
    assert!((seconds(60)..seconds(68)).contains(&wait), "{wait:?}");
    let until = limiters.now().after(wait);
    for (limiter, kind) in [
        (&limiters.one, CallKind::Read),
        (&limiters.one, CallKind::Write),
        (&limiters.two, CallKind::Read),
        (&limiters.two, CallKind::Write),
    ] {
        assert_eq!(
            not_before(limiter.acquire(US, kind).await),
            until,
            "one time for all, so that their order stays"
        );
        assert!(limiter.check(US, kind).await.is_err());
        assert!(limiter.acquire(OTHERS, CallKind::Read).await.is_ok(), "other installations need not wait");
    }
    // A late and shorter wait changes nothing.
    limiters.one.release(US, Permit::default(), limited(RequestedWait::For(seconds(1)))).await;
    assert_eq!(not_before(limiters.two.acquire(US, CallKind::Read).await), until);
    limiters.pass(wait);
    permit(limiters.two.acquire(US, CallKind::Read).await);
    permit(limiters.one.acquire(US, CallKind::Write).await);
    Ok(())
});

store_test!(wait_without_hint_doubles_until_success, async |store: &Store| -> Outcome {
    let limiters = Processes::new(store, LIMITS).await;
    for (limiter, minutes) in [(&limiters.one, 1), (&limiters.two, 2), (&limiters.one, 4), (&limiters.two, 8)]
    {
        let write = permit(limiter.acquire(US, CallKind::Write).await);
        let wait = limiter.release(US, write, limited(RequestedWait::Unspecified)).await.expect("a wait");
        let least = Duration::from_mins(minutes);
        assert!((least..least + seconds(8)).contains(&wait), "{wait:?} for {least:?}");
        limiters.pass(wait + SPACING);
    }
    let write = permit(limiters.one.acquire(US, CallKind::Write).await);
    assert_eq!(limiters.one.release(US, write, DONE).await, None);
    limiters.pass(SPACING);
    let write = permit(limiters.two.acquire(US, CallKind::Write).await);
    let wait = limiters.two.release(US, write, limited(RequestedWait::Unspecified)).await.expect("a wait");
    assert!(wait < seconds(70), "{wait:?}");
    Ok(())
});

store_test!(writes_are_serial_and_spaced, async |store: &Store| -> Outcome {
    let limiters = Processes::new(store, LIMITS).await;
    let first = permit(limiters.one.acquire(US, CallKind::Write).await);
    let waiting = tokio::spawn({
        let limiter = Arc::clone(&limiters.two);
        async move { limiter.acquire(US, CallKind::Write).await }
    });
    permit(limiters.two.acquire(OTHERS, CallKind::Write).await);
    permit(limiters.two.acquire(US, CallKind::Read).await);
    limiters.one.release(US, first, DONE).await;
    let next = limiters.now().after(SPACING);
    assert_eq!(not_before(waiting.await.expect("no panic")), next);
    assert_eq!(not_before(limiters.one.acquire(US, CallKind::Write).await), next);
    limiters.pass(SPACING);
    permit(limiters.two.acquire(US, CallKind::Write).await);
    Ok(())
});

store_test!(write_waits_briefly_for_another_process, async |store: &Store| -> Outcome {
    let limiters = Processes::new(store, WriteLimits { spacing: Duration::ZERO, ..LIMITS }).await;
    let first = permit(limiters.one.acquire(US, CallKind::Write).await);
    let (ended, admitted) =
        tokio::join!(limiters.one.release(US, first, DONE), limiters.two.acquire(US, CallKind::Write));
    assert_eq!(ended, None);
    permit(admitted);
    Ok(())
});

store_test!(killed_process_blocks_others_only_briefly, async |store: &Store| -> Outcome {
    let limiters = Processes::new(store, LIMITS).await;
    drop(permit(limiters.one.acquire(US, CallKind::Write).await));
    // Its call may still be under way for this long.
    limiters.pass(LIMITS.call_timeout);
    let until = not_before(limiters.two.acquire(US, CallKind::Write).await);
    assert!(until > limiters.now());
    limiters.pass(seconds(6));
    let second = permit(limiters.two.acquire(US, CallKind::Write).await);
    // A late report of the killed process does not end another write.
    let late = Permit { lease: Some("its".into()), local_lock: None };
    limiters.one.release(US, late, DONE).await;
    assert!(limiters.two.release(US, second, DONE).await.is_none());
    assert_eq!(not_before(limiters.one.acquire(US, CallKind::Write).await), limiters.now().after(SPACING));
    Ok(())
});

store_test!(writes_in_an_hour_are_limited, async |store: &Store| -> Outcome {
    let limits = WriteLimits { an_hour: 3, spacing: Duration::ZERO, ..LIMITS };
    let limiters = Processes::new(store, limits).await;
    let began = limiters.now();
    for limiter in [&limiters.one, &limiters.two, &limiters.one] {
        let write = permit(limiter.acquire(US, CallKind::Write).await);
        limiter.release(US, write, DONE).await;
        limiters.pass(Duration::from_mins(10));
    }
    let until = not_before(limiters.two.acquire(US, CallKind::Write).await);
    assert!(until >= began.after(Duration::from_hours(1)), "{until}");
    assert!(until <= began.after(Duration::from_mins(65)), "{until}");
    permit(limiters.two.acquire(US, CallKind::Read).await);
    limiters.pass(until.since(limiters.now()));
    // The oldest write leaves the hour ten minutes before the next one.
    let write = permit(limiters.one.acquire(US, CallKind::Write).await);
    limiters.one.release(US, write, DONE).await;
    assert!(limiters.two.acquire(US, CallKind::Write).await.is_err());
    let overview = store.read().await?.github_budgets_overview(limiters.now(), began).await?;
    assert_eq!((overview.closed, overview.least_calls_percent, overview.most_writes), (0, None, Some(3)));
    Ok(())
});

store_test!(spent_hour_of_calls_is_refused_everywhere, async |store: &Store| -> Outcome {
    let limiters = Processes::new(store, LIMITS).await;
    let reset_at = limiters.now().after(seconds(600));
    let report = async |limiter: &Arc<DatabaseRateLimiter>, remaining| {
        let quota = Some(HourlyQuota { limit: 5000, remaining, reset_at });
        limiter.release(US, Permit::default(), CallResult { quota, ..DONE }).await
    };
    let left = async || {
        let row = store.read().await?.github_rate_limit(US).await?;
        Ok::<_, pacegate_store::StoreError>(row.and_then(|row| row.calls_remaining))
    };
    assert_eq!(left().await?, None);
    report(&limiters.one, 2500).await;
    assert_eq!(left().await?, Some(2500));
    // A small change is not written to the database.
    report(&limiters.one, 2499).await;
    assert_eq!(left().await?, Some(2500));
    assert_eq!(report(&limiters.two, 0).await, None);
    assert_eq!(left().await?, Some(0));
    let overview = store.read().await?.github_budgets_overview(limiters.now(), at(0)).await?;
    assert_eq!((overview.closed, overview.least_calls_percent), (1, Some(0)));
    assert!(not_before(limiters.one.acquire(US, CallKind::Read).await) > reset_at);
    limiters.pass(seconds(602));
    permit(limiters.one.acquire(US, CallKind::Read).await);
    Ok(())
});
