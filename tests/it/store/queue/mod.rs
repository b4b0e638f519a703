//! The job queue, line by line of its design: pushed in the caller's transaction, claimed in
//! order, held under a lease, settled once, one at a time of a serial key.

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

/// A job that is known by its payload: due at once, no keys, three attempts.
fn job(payload: &str) -> NewTask {
    NewTask {
        kind: "tested",
        payload: payload.to_owned(),
        dedupe_key: None,
        serial_key: None,
        run_at: at(0),
        priority: Priority::Usual,
        max_attempts: 3,
    }
}

fn serial(payload: &str, key: &str, run_at: Timestamp) -> NewTask {
    NewTask { serial_key: Some(key.to_owned()), run_at, ..job(payload) }
}

/// A process that holds jobs.
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

    /// The payloads of what could be claimed, sorted.
    async fn payloads(&self, now: Timestamp, slots: usize) -> Result<Vec<String>, StoreError> {
        let mut payloads: Vec<_> = self.claim(now, slots).await?.into_iter().map(|job| job.payload).collect();
        payloads.sort_unstable();
        Ok(payloads)
    }

    /// The one job that could be claimed.
    async fn one(&self, now: Timestamp) -> Result<ClaimedTask, StoreError> {
        let mut claimed = self.claim(now, 10).await?;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        Ok(claimed.remove(0))
    }

    async fn settle(
        &self,
        job: &ClaimedTask,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.write().await?;
        let settled = tx.settle_task(&self.token, job, &settlement, now).await?;
        tx.commit().await?;
        Ok(settled)
    }

    /// Keeps the leases of these jobs and gives the payloads of those that are still held.
    async fn keep(&self, jobs: &[ClaimedTask], now: Timestamp) -> Result<Vec<String>, StoreError> {
        let attempts: Vec<_> = jobs.iter().map(ClaimedTask::attempt).collect();
        let held = self.db.keep_leases(&self.token, &attempts, now, LEASE).await?;
        let held = jobs.iter().filter(|job| held.contains(&job.attempt()));
        Ok(held.map(|job| job.payload.clone()).collect())
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

    /// Pushes jobs, each in a transaction of its own, a millisecond after the one before: so
    /// their order is that of the list.
    async fn push(&self, jobs: &[NewTask]) -> Outcome {
        for (n, job) in (0..).zip(jobs) {
            let mut tx = self.write().await?;
            assert!(tx.push_task(job, &self.rng, Timestamp(at(0).0 + n * 1_000)).await?);
            tx.commit().await?;
        }
        Ok(())
    }

    async fn counts(&self) -> Result<(i64, i64), StoreError> {
        let counts = self.read().await?.count_tasks().await?;
        Ok((counts.open, counts.dead))
    }
}

async fn push(tx: &mut Tx, store: &Store, job: &NewTask) -> Result<bool, StoreError> {
    tx.push_task(job, &store.rng, at(0)).await
}
