//! The trait of a background task, and how a task enters the queue.
//! `registry` lists the tasks. `settlement` decides what follows from an error.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::TaskError;
use super::registry::Registered;
use crate::tasks::WorkerContext;
use pacegate_clock::Randomness;
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;
use pacegate_store::{NewTask, Priority, StoreError, Tx};

/// A background task: a struct of its parameters, which are stored as JSON.
///
/// Stored rows outlive a release. Keep `KIND`, the names of the fields and the keys, and give a new
/// field a `#[serde(default)]`.
pub trait Task: Registered + Serialize + DeserializeOwned + Send + 'static {
    /// Identifies the task in stored rows, in metrics and in the log.
    const KIND: &'static str;
    /// Attempts after which the task is dead-lettered. With the delays of `settlement`, 30 attempts take
    /// almost two hours.
    const MAX_ATTEMPTS: i64 = 30;

    /// The repository this task is about. The task ends without an error once the App has lost access to
    /// that repository.
    fn repo(&self) -> Option<RepoId>;

    /// Tasks of one kind with equal keys are one task: a second push does nothing until the finished one
    /// is swept.
    fn dedupe_key(&self) -> String;

    /// Tasks with equal keys run one at a time, also if their kinds differ.
    fn serial_key(&self) -> Option<String> {
        None
    }

    /// Runs the task. It may run more than once: a second run must not change anything.
    fn run(self, context: &WorkerContext) -> impl Future<Output = Result<(), TaskError>> + Send;

    /// The row of this task. Fails if the parameters can't be written as JSON.
    fn to_new_task(&self, run_at: Timestamp) -> Result<NewTask, StoreError> {
        let payload = serde_json::to_string(&Payload { job: Self::KIND, task: self })
            .map_err(|e| StoreError::Unreadable { what: "a task's parameters", source: e.into() })?;
        Ok(NewTask {
            kind: Self::KIND,
            payload,
            repo: self.repo(),
            dedupe_key: Some(self.dedupe_key()),
            serial_key: self.serial_key(),
            run_at,
            priority: Priority::Usual,
            max_attempts: Self::MAX_ATTEMPTS,
        })
    }

    /// Pushes the task as part of a transaction. `false`: the same task was pushed before.
    fn push(
        &self,
        tx: &mut Tx,
        run_at: Timestamp,
        rng: &Randomness,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let row = self.to_new_task(run_at);
        async move { tx.push_task(&row?, rng, now).await }
    }

    /// Pushes the task, or reopens it if it was finished or dead-lettered.
    fn push_again(
        &self,
        tx: &mut Tx,
        rng: &Randomness,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let (row, dedupe_key) = (self.to_new_task(now), self.dedupe_key());
        async move {
            if !tx.push_task(&row?, rng, now).await? {
                tx.reopen_task(Self::KIND, &dedupe_key, now).await?;
            }
            Ok(())
        }
    }

    /// Lets a dead-lettered task run again. `false`: there is none with this key.
    fn revive(&self, tx: &mut Tx, now: Timestamp) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let dedupe_key = self.dedupe_key();
        async move { tx.revive_task(Self::KIND, &dedupe_key, now).await }
    }
}

/// The stored form. The tag is named `job` because the rows of earlier versions have that name.
#[derive(Serialize)]
struct Payload<'a, T> {
    job: &'static str,
    #[serde(flatten)]
    task: &'a T,
}
