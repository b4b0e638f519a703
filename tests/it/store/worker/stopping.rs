//! Worker loops that stop, and loops that share a database.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};

use pacegate_engine::model::ids::RunId;
use pacegate_store::{LeaseToken, RunFilter};

use super::*;
use crate::store::repo_name;

/// A clock that can be closed. Then it blocks every caller but the loop until it is opened. So a
/// test knows that a task runs, and decides when it continues.
#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    held: tokio::sync::Notify,
    open: (Mutex<bool>, Condvar),
    the_loop: Mutex<Option<tokio::task::Id>>,
    asked: Mutex<HashSet<tokio::task::Id>>,
}

impl Gate {
    fn clock(self: &Arc<Self>, time: &Arc<AtomicI64>) -> Clock {
        let (gate, time) = (Arc::clone(self), Arc::clone(time));
        Clock::from_fn(move || {
            let asking = tokio::task::try_id();
            gate.asked.lock().expect("no panic inside").extend(asking);
            if gate.closed.load(Ordering::SeqCst)
                && asking.is_some()
                && asking != *gate.the_loop.lock().expect("no panic inside")
            {
                gate.held.notify_one();
                let (open, bell) = &gate.open;
                let waiting = bell.wait_while(open.lock().expect("no panic inside"), |open| !*open);
                drop(waiting.expect("no panic inside"));
            }
            Timestamp(time.load(Ordering::SeqCst))
        })
    }

    fn open(&self) {
        *self.open.0.lock().expect("no panic inside") = true;
        self.open.1.notify_all();
    }
}

store_test!(stop_finishes_only_the_running_task, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let (gate, time) = (Arc::new(Gate::default()), Arc::new(AtomicI64::new(at(0).0)));
    let bench = Bench::with_clock(store, gate.clock(&time), time);
    // One slot: the second task waits for the first.
    let worker = Loop::start(bench.work.clone(), 1);
    *gate.the_loop.lock().expect("no panic inside") = Some(worker.running.id());
    // Each part of the loop asks once when it begins: the claim, the sweep, the leases.
    eventually("the loop to be under way", DEADLINE, || async {
        (gate.asked.lock().expect("no panic inside").len() >= 3).then_some(())
    })
    .await;
    bench.push(repo, whole(trace(1))).await?;
    bench.push(repo, whole(trace(2))).await?;
    gate.closed.store(true, Ordering::SeqCst);
    bench.pass(SETTLE);
    tokio::time::timeout(DEADLINE, gate.held.notified()).await.expect("a task that runs");
    worker.stop.cancel();
    gate.open();
    worker.stop().await;
    let runs = store.read().await?.list_runs(repo, &repo_name("acme/app"), &RunFilter::All, 10).await?;
    assert_eq!(runs.len(), 1, "the running task was finished");
    assert_eq!(bench.ended("collect_run", "done"), 1);
    // The task of the other trace, and the evaluation that the finished task pushed, are free at once.
    let token = LeaseToken::new(&store.rng);
    let left = store.db.claim_tasks(&token, at(30), seconds(60), 10).await?;
    let mut kinds: Vec<_> = left.iter().map(|task| (task.kind.as_str(), task.attempts)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("collect_run", 1), ("evaluate_head", 1)]);
    Ok(())
});

store_test!(two_loops_run_no_task_twice, async |store: &Store| -> Outcome {
    const TRACES: u8 = 40;
    let repo = store.repository("acme/app").await?.id;
    let other = store.again().await?;
    let bench = Bench::new(store);
    for n in 1..=TRACES {
        bench.push(repo, whole(trace(n))).await?;
    }
    bench.pass(SETTLE);
    // They share the counters, but not pools and tokens.
    let elsewhere = WorkerContext { db: other.clone(), ..bench.work.clone() };
    let loops = [Loop::start(bench.work.clone(), 3), Loop::start(elsewhere, 3)];
    bench.drained().await?;
    for one in loops {
        one.stop().await;
    }
    let runs = store.read().await?.list_runs(repo, &repo_name("acme/app"), &RunFilter::All, 100).await?;
    assert_eq!(runs.len(), usize::from(TRACES));
    assert!(runs.iter().all(|run| run.collections == 1), "{runs:?}");
    for kind in ["collect_run", "evaluate_head"] {
        assert_eq!(bench.ended(kind, "done"), u64::from(TRACES), "{kind}");
        assert_eq!(bench.ended(kind, "retried"), 0, "{kind}");
    }
    other.close().await;
    Ok(())
});

store_test!(unreadable_task_is_dead_and_listed, async |store: &Store| -> Outcome {
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 1);
    let unknown = pacegate_store::NewTask {
        priority: pacegate_store::Priority::Usual,
        kind: "of_a_newer_version",
        payload: r#"{"job":"of_a_newer_version"}"#.to_owned(),
        repo: None,
        dedupe_key: None,
        serial_key: None,
        run_at: at(0),
        max_attempts: 30,
    };
    let mut tx = store.write().await?;
    assert!(tx.push_task(&unknown, &store.rng, at(0)).await?);
    tx.commit().await?;
    let dead = eventually("the task to be dead", DEADLINE, || async {
        let found = async { store.read().await?.dead_tasks(1).await };
        found.await.expect("the database answers").pop()
    })
    .await;
    assert_eq!((dead.kind.as_str(), dead.attempts), ("of_a_newer_version", 1));
    assert!(dead.last_error.is_some_and(|error| error.contains("can't be read")));
    worker.stop().await;
    Ok(())
});

store_test!(new_loop_claims_abandoned_tasks, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    bench.push(repo, whole(trace(1))).await?;
    bench.pass(SETTLE);
    // A process claimed the task and ended.
    let gone = LeaseToken::new(&store.rng);
    assert_eq!(store.db.claim_tasks(&gone, at(30), seconds(60), 1).await?.len(), 1);
    let worker = Loop::start(bench.work.clone(), 1);
    bench.pass(seconds(60));
    bench.drained().await?;
    let runs = store.read().await?.list_runs(repo, &repo_name("acme/app"), &RunFilter::All, 10).await?;
    assert_eq!(runs.iter().map(|run| run.collections).collect::<Vec<_>>(), [1]);
    assert_ne!(runs[0].run.id, RunId(String::new()));
    worker.stop().await;
    Ok(())
});
