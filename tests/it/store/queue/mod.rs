//! The task queue. Tasks are pushed in the caller's transaction, claimed in order, held under a
//! lease and settled once. Tasks of one serial key run one at a time.

mod claims;
mod leases;
mod model;
mod pushing;
mod serial;
mod settling;

use std::time::Duration;

use pacegate_clock::Randomness;
use pacegate_engine::model::time::Timestamp;
use pacegate_store::{ClaimedTask, Db, LeaseToken, NewTask, Priority, Settlement, StoreError, Tx};

use super::{Outcome, Store, at, seconds, store_test};

const LEASE: Duration = Duration::from_mins(1);

/// A task that is identified by its payload: due at once, no keys, three attempts.
fn task(payload: &str) -> NewTask {
    NewTask {
        kind: "tested",
        payload: payload.to_owned(),
        repo: None,
        dedupe_key: None,
        serial_key: None,
        run_at: at(0),
        priority: Priority::Usual,
        max_attempts: 3,
    }
}

fn serial(payload: &str, key: &str, run_at: Timestamp) -> NewTask {
    NewTask { serial_key: Some(key.to_owned()), run_at, ..task(payload) }
}

/// A process that holds tasks.
struct Holder<'a> {
    db: &'a Db,
    token: LeaseToken,
}

impl<'a> Holder<'a> {
    fn new(db: &'a Db, rng: &Randomness) -> Self {
        Self { db, token: LeaseToken::new(rng) }
    }

    async fn claim(&self, now: Timestamp, slots: usize) -> Result<Vec<ClaimedTask>, StoreError> {
        self.db.claim_tasks(&self.token, now, LEASE, slots).await
    }

    /// Claims tasks and returns their payloads, sorted.
    async fn payloads(&self, now: Timestamp, slots: usize) -> Result<Vec<String>, StoreError> {
        let mut payloads: Vec<_> =
            self.claim(now, slots).await?.into_iter().map(|task| task.payload).collect();
        payloads.sort_unstable();
        Ok(payloads)
    }

    /// Claims the only task that is due.
    async fn one(&self, now: Timestamp) -> Result<ClaimedTask, StoreError> {
        let mut claimed = self.claim(now, 10).await?;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        Ok(claimed.remove(0))
    }

    async fn settle(
        &self,
        task: &ClaimedTask,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.write().await?;
        let settled = tx.settle_task(&self.token, task, &settlement, now).await?;
        tx.commit().await?;
        Ok(settled)
    }

    /// Keeps the leases of these tasks and returns the payloads of those that are still held.
    async fn keep(&self, tasks: &[ClaimedTask], now: Timestamp) -> Result<Vec<String>, StoreError> {
        let attempts: Vec<_> = tasks.iter().map(ClaimedTask::attempt).collect();
        let held = self.db.keep_leases(&self.token, &attempts, now, LEASE).await?;
        let held = tasks.iter().filter(|task| held.contains(&task.attempt()));
        Ok(held.map(|task| task.payload.clone()).collect())
    }

    async fn release(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.db.write().await?;
        let released = tx.release_tasks(&self.token, now).await?;
        tx.commit().await?;
        Ok(released)
    }
}

impl Store {
    fn holder(&self) -> Holder<'_> {
        Holder::new(&self.db, &self.rng)
    }

    /// Pushes each task in its own transaction, a millisecond after the previous one, so that they
    /// are in the order of the list.
    async fn push(&self, tasks: &[NewTask]) -> Outcome {
        for (n, task) in (0..).zip(tasks) {
            let mut tx = self.write().await?;
            assert!(tx.push_task(task, &self.rng, Timestamp(at(0).0 + n * 1_000)).await?);
            tx.commit().await?;
        }
        Ok(())
    }

    async fn counts(&self) -> Result<(i64, i64), StoreError> {
        let counts = self.read().await?.count_tasks().await?;
        Ok((counts.open, counts.dead))
    }
}

async fn push(tx: &mut Tx, store: &Store, task: &NewTask) -> Result<bool, StoreError> {
    tx.push_task(task, &store.rng, at(0)).await
}
