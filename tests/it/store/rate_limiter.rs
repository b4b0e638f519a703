//! The gate of calls to GitHub: what one process was told binds all of them, writes go one at a
//! time, at a distance and so many an hour, and a killed process blocks nobody for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pacegate::tasks::queue::rate_limiter::{DatabaseRateLimiter, WriteLimits};
use pacegate_clock::Clock;
use pacegate_engine::model::ids::InstallationId;
use pacegate_engine::model::time::Timestamp;
use pacegate_github::rate_limiter::{CallFacts, CallKind, HourOfCalls, Limit, Permit, RateLimiter, Refusal};

use super::{Outcome, Store, at, seconds, store_test};

const US: InstallationId = InstallationId(99);
const OTHERS: InstallationId = InstallationId(100);
/// Longer than anybody waits in the process: what has to wait is refused at once.
const SPACING: Duration = Duration::from_secs(10);
const LIMITS: WriteLimits =
    WriteLimits { spacing: SPACING, an_hour: 480, call_timeout: Duration::from_secs(30) };

/// Two processes of one database, with a clock that stands still until it is moved.
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
        let gate = |db| Arc::new(DatabaseRateLimiter::new(db, clock.clone(), store.rng.clone(), limits));
        Self { one: gate(store.db.clone()), two: gate(again), time }
    }

    fn pass(&self, duration: Duration) {
        let micros = i64::try_from(duration.as_micros()).expect("a short while");
        self.time.fetch_add(micros, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.time.load(Ordering::SeqCst))
    }
}

const DONE: CallFacts = CallFacts { succeeded: true, limit: None, hour: None };

fn told(limit: Limit) -> CallFacts {
    CallFacts { succeeded: false, limit: Some(limit), hour: None }
}

fn permit(admitted: Result<Permit, Refusal>) -> Permit {
    admitted.expect("let through")
}

/// Until when nobody is let through.
fn not_before(admitted: Result<Permit, Refusal>) -> Timestamp {
    match admitted.expect_err("refused") {
        Refusal::NotBefore(until) => until,
        Refusal::Unknown(error) => panic!("{error}"),
    }
}

store_test!(what_one_process_is_told_binds_all_of_them, async |store: &Store| -> Outcome {
    let gates = Processes::new(store, LIMITS).await;
    let read = permit(gates.one.admit(US, CallKind::Read).await);
    let wait = gates.one.report(US, read, told(Limit::For(seconds(60)))).await.expect("a wait");
    assert!((seconds(60)..seconds(68)).contains(&wait), "{wait:?}");
    let until = gates.now().after(wait);
    for (gate, kind) in [
        (&gates.one, CallKind::Read),
        (&gates.one, CallKind::Write),
        (&gates.two, CallKind::Read),
        (&gates.two, CallKind::Write),
    ] {
        assert_eq!(not_before(gate.admit(US, kind).await), until, "all at one time: their order stays");
        assert!(gate.outlook(US, kind).await.is_err());
        assert!(gate.admit(OTHERS, CallKind::Read).await.is_ok(), "nobody else has to wait");
    }
    // A shorter word that comes late takes nothing back.
    gates.one.report(US, Permit::default(), told(Limit::For(seconds(1)))).await;
    assert_eq!(not_before(gates.two.admit(US, CallKind::Read).await), until);
    gates.pass(wait);
    permit(gates.two.admit(US, CallKind::Read).await);
    permit(gates.one.admit(US, CallKind::Write).await);
    Ok(())
});

store_test!(without_a_hint_the_wait_doubles_until_a_write_succeeds, async |store: &Store| -> Outcome {
    let gates = Processes::new(store, LIMITS).await;
    for (gate, minutes) in [(&gates.one, 1), (&gates.two, 2), (&gates.one, 4), (&gates.two, 8)] {
        let write = permit(gate.admit(US, CallKind::Write).await);
        let wait = gate.report(US, write, told(Limit::Unsaid)).await.expect("a wait");
        let least = Duration::from_mins(minutes);
        assert!((least..least + seconds(8)).contains(&wait), "{wait:?} for {least:?}");
        gates.pass(wait + SPACING);
    }
    let write = permit(gates.one.admit(US, CallKind::Write).await);
    assert_eq!(gates.one.report(US, write, DONE).await, None);
    gates.pass(SPACING);
    let write = permit(gates.two.admit(US, CallKind::Write).await);
    let wait = gates.two.report(US, write, told(Limit::Unsaid)).await.expect("a wait");
    assert!(wait < seconds(70), "{wait:?}");
    Ok(())
});

store_test!(writes_go_one_at_a_time_and_at_a_distance, async |store: &Store| -> Outcome {
    let gates = Processes::new(store, LIMITS).await;
    let first = permit(gates.one.admit(US, CallKind::Write).await);
    let waiting = tokio::spawn({
        let gate = Arc::clone(&gates.two);
        async move { gate.admit(US, CallKind::Write).await }
    });
    permit(gates.two.admit(OTHERS, CallKind::Write).await);
    permit(gates.two.admit(US, CallKind::Read).await);
    gates.one.report(US, first, DONE).await;
    let next = gates.now().after(SPACING);
    assert_eq!(not_before(waiting.await.expect("no panic")), next);
    assert_eq!(not_before(gates.one.admit(US, CallKind::Write).await), next);
    gates.pass(SPACING);
    permit(gates.two.admit(US, CallKind::Write).await);
    Ok(())
});

store_test!(a_write_waits_a_moment_for_another_process_s, async |store: &Store| -> Outcome {
    let gates = Processes::new(store, WriteLimits { spacing: Duration::ZERO, ..LIMITS }).await;
    let first = permit(gates.one.admit(US, CallKind::Write).await);
    let (ended, admitted) =
        tokio::join!(gates.one.report(US, first, DONE), gates.two.admit(US, CallKind::Write));
    assert_eq!(ended, None);
    permit(admitted);
    Ok(())
});

store_test!(a_killed_process_blocks_nobody_for_long, async |store: &Store| -> Outcome {
    let gates = Processes::new(store, LIMITS).await;
    drop(permit(gates.one.admit(US, CallKind::Write).await));
    // As long as its call may still be under way.
    gates.pass(LIMITS.call_timeout);
    let until = not_before(gates.two.admit(US, CallKind::Write).await);
    assert!(until > gates.now());
    gates.pass(seconds(6));
    let second = permit(gates.two.admit(US, CallKind::Write).await);
    // What it would still tell, had it lived, ends nobody else's write.
    let late = Permit { lease: Some("its".into()), turn: None };
    gates.one.report(US, late, DONE).await;
    assert!(gates.two.report(US, second, DONE).await.is_none());
    assert_eq!(not_before(gates.one.admit(US, CallKind::Write).await), gates.now().after(SPACING));
    Ok(())
});

store_test!(an_hour_takes_so_many_writes, async |store: &Store| -> Outcome {
    let limits = WriteLimits { an_hour: 3, spacing: Duration::ZERO, ..LIMITS };
    let gates = Processes::new(store, limits).await;
    let began = gates.now();
    for gate in [&gates.one, &gates.two, &gates.one] {
        let write = permit(gate.admit(US, CallKind::Write).await);
        gate.report(US, write, DONE).await;
        gates.pass(Duration::from_mins(10));
    }
    let until = not_before(gates.two.admit(US, CallKind::Write).await);
    assert!(until >= began.after(Duration::from_hours(1)), "{until}");
    assert!(until <= began.after(Duration::from_mins(65)), "{until}");
    permit(gates.two.admit(US, CallKind::Read).await);
    gates.pass(until.since(gates.now()));
    // A write leaves the hour ten minutes before the next one does.
    let write = permit(gates.one.admit(US, CallKind::Write).await);
    gates.one.report(US, write, DONE).await;
    assert!(gates.two.admit(US, CallKind::Write).await.is_err());
    let overview = store.read().await?.github_budgets_overview(gates.now(), began).await?;
    assert_eq!((overview.closed, overview.least_calls_percent, overview.most_writes), (0, None, Some(3)));
    Ok(())
});

store_test!(the_hour_of_calls_is_shared_and_a_spent_one_is_not_overdrawn, async |store: &Store| -> Outcome {
    let gates = Processes::new(store, LIMITS).await;
    let reset_at = gates.now().after(seconds(600));
    let tell = async |gate: &Arc<DatabaseRateLimiter>, remaining| {
        let hour = Some(HourOfCalls { limit: 5000, remaining, reset_at });
        gate.report(US, Permit::default(), CallFacts { hour, ..DONE }).await
    };
    let left = async || {
        let row = store.read().await?.github_rate_limit(US).await?;
        Ok::<_, pacegate_store::StoreError>(row.and_then(|row| row.calls_remaining))
    };
    assert_eq!(left().await?, None);
    tell(&gates.one, 2500).await;
    assert_eq!(left().await?, Some(2500));
    // Each call would be a write: only what matters is noted.
    tell(&gates.one, 2499).await;
    assert_eq!(left().await?, Some(2500));
    assert_eq!(tell(&gates.two, 0).await, None);
    assert_eq!(left().await?, Some(0));
    let overview = store.read().await?.github_budgets_overview(gates.now(), at(0)).await?;
    assert_eq!((overview.closed, overview.least_calls_percent), (1, Some(0)));
    assert!(not_before(gates.one.admit(US, CallKind::Read).await) > reset_at);
    gates.pass(seconds(602));
    permit(gates.one.admit(US, CallKind::Read).await);
    Ok(())
});
