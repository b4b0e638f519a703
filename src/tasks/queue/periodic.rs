//! What is done again and again: in each slot of time one sweep of GitHub's deliveries and one
//! reconciliation of each repository, however many processes keep the time. The slot is in the
//! job's key, so a second push of it is none.

use std::collections::HashMap;
use std::time::Duration;

use crate::tasks::{Task, TaskError, WorkerContext, error_chain};
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;

/// Between two repositories that are due at once, as after a start.
const DISTANCE: Duration = Duration::from_millis(250);

/// Pushes what is due, for as long as the process lives. Nothing in local mode, and when the
/// interval is zero.
pub(in crate::tasks) async fn keep_time(work: WorkerContext) {
    if work.app.is_none() || work.reconcile_interval.is_zero() {
        return;
    }
    let mut pushed = HashMap::new();
    loop {
        if let Err(error) = push_due(&work, &mut pushed).await {
            tracing::warn!(error = %error_chain(&error), "periodic jobs could not be pushed");
        }
        tokio::time::sleep((work.reconcile_interval / 10).min(Duration::from_secs(30))).await;
    }
}

/// `pushed`: the slot this process pushed last for each repository; none for the deliveries.
async fn push_due(work: &WorkerContext, pushed: &mut HashMap<Option<RepoId>, i64>) -> Result<(), TaskError> {
    let now = work.clock.now();
    let repositories = work.db.read().await?.installed_repositories().await?;
    let mut due = Vec::new();
    for subject in std::iter::once(None).chain(repositories.into_iter().map(Some)) {
        let slot = slot_of(subject, work.reconcile_interval, now);
        if pushed.get(&subject) != Some(&slot) {
            due.push((subject, slot));
        }
    }
    if due.is_empty() {
        return Ok(());
    }
    let mut tx = work.db.write().await?;
    let mut run_at = now;
    for (subject, slot) in &due {
        let job = match subject {
            None => Task::SweepDeliveries { slot: *slot },
            Some(repo) => Task::ReconcileRepository { repo: *repo, slot: *slot },
        };
        if job.push(&mut tx, run_at, &work.rng, now).await? {
            run_at = run_at.after(DISTANCE);
        }
    }
    tx.commit().await?;
    pushed.extend(due);
    Ok(())
}

/// The number of the slot it is for a subject: those of repositories begin at different times.
fn slot_of(subject: Option<RepoId>, interval: Duration, now: Timestamp) -> i64 {
    let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
    // Knuth's multiplicative hash spreads row numbers that follow one another.
    let spread = subject.map_or(0, |repo| repo.0.wrapping_mul(2_654_435_761).rem_euclid(1 << 32));
    let phase = i64::try_from(i128::from(spread) * i128::from(interval) / (1 << 32)).unwrap_or(0);
    now.0.saturating_add(phase).div_euclid(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repository_has_one_slot_an_interval_and_they_do_not_begin_together() {
        let interval = Duration::from_mins(15);
        let at = |minute: u64| Timestamp(1_800_000_000_000_000).after(Duration::from_mins(minute));
        let mut begins = std::collections::BTreeSet::new();
        for repo in 1..=100 {
            let slots: Vec<i64> =
                (0..30).map(|minute| slot_of(Some(RepoId(repo)), interval, at(minute))).collect();
            let changes: Vec<usize> = (1..30).filter(|i| slots[*i] != slots[*i - 1]).collect();
            assert!((1..=2).contains(&changes.len()), "{slots:?}");
            assert_eq!(slots[15], slots[0] + 1, "the next begins an interval later");
            begins.extend(changes.first().map(|first| first % 15));
        }
        assert!(begins.len() >= 12, "{begins:?}");
    }
}
