//! Handles reruns of a check and clicks on its buttons. A button decides something only if the user may
//! write to the repository. GitHub is asked for that permission each time.

use std::time::Duration;

use super::Delivery;
use crate::tasks::TaskError;
use crate::tasks::evaluate::evaluation::{Target, begin, evaluate_again};
use pacegate_engine::gate::verdict::overrides;
use pacegate_engine::model::decision::{Decision, DecisionKind, StandingDecision};
use pacegate_engine::model::ids::CommitSha;
use pacegate_github::app_auth::Purpose;

/// Length of a mute. The label of the button names it.
const MUTED: Duration = Duration::from_hours(7 * 24);

/// A click on a button of a check.
pub(super) struct Click {
    pub(super) head_sha: CommitSha,
    pub(super) external_id: Option<String>,
    pub(super) identifier: String,
    pub(super) sender: String,
}

/// Begins another evaluation. It has its own check run; the old one stays unchanged. `external_id` is that
/// of the rerun check, or `None` if all checks of the commit are rerun.
pub(super) async fn rerequested(
    delivery: Delivery<'_>,
    head_sha: &CommitSha,
    external_id: Option<&str>,
) -> Result<(), TaskError> {
    let context = delivery.context;
    let mut tx = context.db.write().await?;
    let Some(row) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    if Target::of(&mut tx, row.id, head_sha).await?.is_none() {
        tx.commit().await?;
        return Ok(()); // not a head: a check would never be concluded
    }
    // The identifier of the check run names its evaluation, so that a repeated delivery begins one
    // evaluation only.
    let newest = tx.newest_check(row.id, head_sha).await?.map_or(0, |check| check.evaluation);
    let of_check = external_id.and_then(evaluation_in).unwrap_or(newest);
    begin(context, &mut tx, row.id, head_sha, of_check.saturating_add(1), delivery.id).await?;
    tx.commit().await?;
    Ok(())
}

fn evaluation_in(external_id: &str) -> Option<i64> {
    external_id.rsplit_once(':')?.1.parse().ok()
}

pub(super) async fn pressed(delivery: Delivery<'_>, pressed: &Click) -> Result<(), TaskError> {
    let context = delivery.context;
    let Some(app) = &context.app else { return Ok(()) };
    let mut tx = context.db.write().await?;
    let Some(row) = delivery.record_repository(&mut tx).await? else { return Ok(()) };
    tx.commit().await?;
    let kind = match pressed.identifier.as_str() {
        "accept" => Some(DecisionKind::Accepted),
        "mute" => Some(DecisionKind::Muted),
        "reevaluate" => None,
        other => {
            tracing::warn!(repo = %row.name, button = other, "an unknown button was pressed; it is ignored");
            return Ok(());
        }
    };
    let client = delivery.client(app, &row.name, Purpose::ReadMetadata).await?;
    if !client.may_write(&pressed.sender).await? {
        tracing::warn!(
            repo = %row.name, sender = pressed.sender, button = pressed.identifier,
            "a button was pressed by a user who may not write to the repository; nothing was changed"
        );
        return Ok(());
    }
    let Some(kind) = kind else {
        return rerequested(delivery, &pressed.head_sha, pressed.external_id.as_deref()).await;
    };
    let names_another_head =
        |id: &str| id.rsplit_once(':').is_none_or(|(head, _)| head != pressed.head_sha.as_str());
    if pressed.external_id.as_deref().is_some_and(names_another_head) {
        return Ok(());
    }
    let now = context.clock.now();
    let mut tx = context.db.write().await?;
    let newest = tx.newest_check(row.id, &pressed.head_sha).await?.map_or(0, |check| check.evaluation);
    let evaluation = pressed.external_id.as_deref().and_then(evaluation_in).unwrap_or(newest);
    // The comparison that the user saw. The decision is about no other one.
    let shown = tx.check(row.id, &pressed.head_sha, evaluation).await?.and_then(|check| check.comparison);
    let Some(id) = shown else { return Ok(()) };
    let Some(comparison) = tx.comparison(row.id, &id).await? else { return Ok(()) };
    let pull_request =
        Target::of(&mut tx, row.id, &pressed.head_sha).await?.and_then(|target| target.number());
    if kind == DecisionKind::Accepted && pull_request.is_none() {
        tracing::warn!(repo = %row.name, head = %pressed.head_sha, "only a pull request's change can be accepted: accept it in the pull requests of this merge group");
        tx.commit().await?;
        return Ok(());
    }
    let (until, button) = match kind {
        DecisionKind::Accepted => (None, "Accept change"),
        DecisionKind::Muted => (Some(now.after(MUTED)), "Mute 7 days"),
    };
    let decision = Decision {
        kind,
        by: pressed.sender.clone(),
        at: now,
        until,
        reason: format!("\u{201c}{button}\u{201d} on the check of {}", pressed.head_sha.short()),
    };
    let subjects = overrides::subjects(&comparison.comparison, kind);
    for (i, subject) in subjects.iter().enumerate() {
        let standing = StandingDecision {
            decision: decision.clone(),
            stage: subject.stage.clone(),
            signature: subject.signature.clone(),
            extent: subject.extent,
            pull_request,
        };
        tx.record_decision(row.id, &format!("{}:{i}", delivery.id), &pressed.head_sha, &standing).await?;
    }
    tracing::info!(
        repo = %row.name, head = %pressed.head_sha, by = pressed.sender, decision = kind.as_str(),
        findings = subjects.len(), "a decision was recorded"
    );
    evaluate_again(context, &mut tx, row.id, &pressed.head_sha, format!("delivery {}", delivery.id)).await?;
    tx.commit().await?;
    Ok(())
}
