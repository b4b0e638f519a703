//! The task queue: one table, `jobs`, and one SQL text for both databases. Delivery is at least
//! once. A lease is `visible_at` in the future plus the token of the process that holds it. A
//! settlement counts only from the holder of both token and attempt.
//!
//! Times come from the caller's clock. Clocks may differ by less than a lease (a minute) before
//! one process could take a task that another still runs. The check of token and attempt makes
//! even that harmless.

mod claim;
mod push;
mod settle;
mod state;
mod wake;

use std::time::Duration;

use pacegate_clock::Randomness;
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// A task to push.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The name of a task in the application's `tasks/`.
    pub kind: &'static str,
    /// Parameters as JSON.
    pub payload: String,
    /// The repository that the task is about. None if it is about none, or if only the payload
    /// refers to it, as for a delivery.
    pub repo: Option<RepoId>,
    /// A second task of this kind and key is not pushed until the first one is done and swept.
    pub dedupe_key: Option<String>,
    /// Tasks of one serial key run one at a time.
    pub serial_key: Option<String>,
    /// The task is not due before this time.
    pub run_at: Timestamp,
    pub priority: Priority,
    /// After this many failed attempts the task is dead.
    pub max_attempts: i64,
}

/// Which of the tasks that are due goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// By due time.
    #[default]
    Usual,
    /// After all tasks of usual priority: for tasks that are pushed in large numbers.
    Low,
}

impl Priority {
    /// The value of `jobs.priority`.
    fn number(self) -> i64 {
        match self {
            Self::Usual => 0,
            Self::Low => 1,
        }
    }
}

/// A task that this process may run until its lease ends.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ClaimedTask {
    pub task_id: String,
    pub kind: String,
    /// Parameters as JSON.
    pub payload: String,
    /// The number of this attempt, from 1.
    pub attempts: i64,
    pub max_attempts: i64,
    /// When the task was pushed, microseconds since the epoch.
    pub created_at: i64,
}

/// One attempt of one task: a lease belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    pub task_id: String,
    /// From 1.
    pub number: i64,
}

impl ClaimedTask {
    /// The attempt that this claim began.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt { task_id: self.task_id.clone(), number: self.attempts }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The task is done.
    Done,
    /// It was too early. The task runs again after this time, and this attempt does not count.
    Postpone(Duration),
    /// The task may not run before this time, for this reason. This attempt does not count. Tasks
    /// that are put off to one time stay in their order of age.
    PutOff(Timestamp, String),
    /// The attempt failed and the task may succeed after this time.
    Retry(Duration, String),
    /// The task can't succeed.
    Dead(String),
}

/// The token under which a process holds its tasks. It is random and new at each start, so a
/// restarted process never mistakes its predecessor's tasks for its own.
#[derive(Debug, Clone)]
pub struct LeaseToken(String);

impl LeaseToken {
    /// A new token.
    #[must_use]
    pub fn new(rng: &Randomness) -> Self {
        Self(hex::encode(rng.bytes::<16>()))
    }
}

/// A dead task, for the operator.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeadTask {
    pub task_id: String,
    pub kind: String,
    /// Attempts made.
    pub attempts: i64,
    /// The error of the last attempt that failed.
    pub last_error: Option<String>,
}

/// Numbers of tasks, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct TaskCounts {
    /// Waiting or running.
    pub open: i64,
    pub dead: i64,
}
