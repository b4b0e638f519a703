//! Pushes the periodic tasks: once per interval a sweep of GitHub's deliveries, and a reconciliation of
//! each repository. The slot of time is part of each task's key, so any number of processes may push.

use std::collections::HashMap;
use std::time::Duration;

use crate::tasks::reconcile::reconcile_repository::ReconcileRepository;
use crate::tasks::reconcile::sweep_deliveries::SweepDeliveries;
use crate::tasks::{Task, TaskError, WorkerContext, error_chain};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// Distance between two tasks that become due together, as after a start.
const DISTANCE: Duration = Duration::from_millis(250);

/// Pushes due tasks until it is aborted. Returns at once in local mode, and if the interval is zero.
pub(super) async fn push_periodic_tasks(context: WorkerContext) {
    if context.app.is_none() || context.reconcile_interval.is_zero() {
        return;
    }
    let mut pushed = HashMap::new();
    loop {
        if let Err(error) = push_due(&context, &mut pushed).await {
            tracing::warn!(error = %error_chain(&error), "periodic tasks could not be pushed");
        }
        tokio::time::sleep((context.reconcile_interval / 10).min(Duration::from_secs(30))).await;
    }
}

/// `pushed` is the newest slot that this process pushed for each repository. The key `None` is the sweep
/// of the deliveries.
async fn push_due(
    context: &WorkerContext,
    pushed: &mut HashMap<Option<RepoId>, i64>,
) -> Result<(), TaskError> {
    let now = context.clock.now();
    let repositories = context.db.read().await?.installed_repositories().await?;
    let mut due = Vec::new();
    for subject in std::iter::once(None).chain(repositories.into_iter().map(Some)) {
        let slot = slot_of(subject, context.reconcile_interval, now);
        if pushed.get(&subject) != Some(&slot) {
            due.push((subject, slot));
        }
    }
    if due.is_empty() {
        return Ok(());
    }
    let mut tx = context.db.write().await?;
    let mut run_at = now;
    for &(subject, slot) in &due {
        let is_new = match subject {
            None => SweepDeliveries { slot }.push(&mut tx, run_at, &context.rng, now).await?,
            Some(repo) => ReconcileRepository { repo, slot }.push(&mut tx, run_at, &context.rng, now).await?,
        };
        if is_new {
            run_at = run_at.after(DISTANCE);
        }
    }
    tx.commit().await?;
    pushed.extend(due);
    Ok(())
}

/// The number of the current slot of a subject. Slots of different repositories begin at different times.
fn slot_of(subject: Option<RepoId>, interval: Duration, now: Timestamp) -> i64 {
    let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
    // Knuth's multiplicative hash spreads consecutive row numbers.
    let spread = subject.map_or(0, |repo| repo.0.wrapping_mul(2_654_435_761).rem_euclid(1 << 32));
    let phase = i64::try_from(i128::from(spread) * i128::from(interval) / (1 << 32)).unwrap_or(0);
    now.0.saturating_add(phase).div_euclid(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_begin_at_different_times_per_repository() {
        let interval = Duration::from_mins(15);
        let at = |minute: u64| Timestamp(1_800_000_000_000_000).after(Duration::from_mins(minute));
        let mut begins = std::collections::BTreeSet::new();
        for repo in 1..=100 {
            let slots: Vec<i64> =
                (0..30).map(|minute| slot_of(Some(RepoId(repo)), interval, at(minute))).collect();
            let changes: Vec<usize> = (1..30).filter(|i| slots[*i] != slots[*i - 1]).collect();
            assert!((1..=2).contains(&changes.len()), "{slots:?}");
            assert_eq!(slots[15], slots[0] + 1, "the next slot begins an interval later");
            begins.extend(changes.first().map(|first| first % 15));
        }
        assert!(begins.len() >= 12, "{begins:?}");
    }
}
