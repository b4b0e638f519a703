//! Evaluates a head: compares its runs, and those of the pull request's earlier heads, with the baseline
//! of the base branch. The engine computes the comparison. This file provides the inputs and stores the
//! result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::confirm_by_rerun::ConfirmByRerun;
use super::evaluation::Target;
use super::inputs::{self, Decisions, PipelineInputs};
use super::{locations, policy};
use crate::metrics::Metrics;
use crate::tasks::publish::publish_comparison::PublishComparison;
use crate::tasks::publish::show_awaited::ShowAwaited;
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::gate::baseline;
use pacegate_engine::gate::duration_model::fit;
use pacegate_engine::gate::verdict::{aggregate, compare, overrides};
use pacegate_engine::model::comparison::{RunComparison, RunVerdict};
use pacegate_engine::model::ids::{CommitSha, ComparisonId, PrNumber, RepoId, RepoName, RunId};
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::{Lineage, MeasuredRun};
use pacegate_store::{NewComparison, RunFilter};

/// `cause` is the reason for the evaluation: a head is evaluated once for each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EvaluateHead {
    pub(crate) repo: RepoId,
    pub(crate) head_sha: CommitSha,
    pub(crate) cause: String,
}

impl Task for EvaluateHead {
    const KIND: &'static str = "evaluate_head";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}", self.repo.0, self.head_sha, self.cause)
    }

    fn serial_key(&self) -> Option<String> {
        Some(format!("evaluate:{}:{}", self.repo.0, self.head_sha))
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        evaluate_head(context, self.repo, &self.head_sha, self.cause).await
    }
}

async fn evaluate_head(
    context: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    cause: String,
) -> Result<(), TaskError> {
    let mut tx = context.db.read().await?;
    let Some(repository) = tx.repository(repo).await? else { return Ok(()) };
    let evaluation = tx.newest_check(repo, head_sha).await?.map_or(1, |check| check.evaluation);
    let target = Target::of(&mut tx, repo, head_sha).await?;
    let base_branch = target
        .as_ref()
        .map(|target| target.base_branch().to_owned())
        .or_else(|| repository.default_branch.clone())
        .or_else(|| context.base_branch.clone());
    let known = target.as_ref().and_then(Target::pull_request);
    let of_head = RunFilter::Head(head_sha.clone());
    let is_measured = !tx.list_runs(repo, &repository.name, &of_head, 1).await?.is_empty();
    drop(tx);
    let head = target.as_ref().map(|_| head_sha);
    let governing =
        policy::governing(context, repo, base_branch.as_deref().filter(|_| is_measured), head).await?;
    let mut tx = context.db.read().await?;
    let pipelines =
        inputs::gather(&mut tx, &repository, head_sha, known, base_branch.as_deref(), &governing.policy)
            .await?;
    let now = context.clock.now();
    let decisions = Decisions {
        standing: tx
            .standing_decisions(repo, target.as_ref().and_then(Target::number), base_branch.as_deref(), now)
            .await?,
        accepted: tx.accepted_changes(repo, now.before(governing.policy.baseline().age())).await?,
    };
    drop(tx);
    let newest = pipelines.iter().filter_map(|p| p.candidate.last()).max_by_key(|m| m.run.started_at);
    let Some(newest) = newest else {
        // Nothing is measured yet, or there was nothing to measure.
        if target.is_some() {
            let mut tx = context.db.write().await?;
            let show = ShowAwaited { repo, head_sha: head_sha.clone(), evaluation, slot: now.0 };
            show.push(&mut tx, now, &context.rng, now).await?;
            tx.commit().await?;
        }
        return Ok(());
    };
    let newest_run = newest.run.id.clone();
    let pull_request = target.as_ref().and_then(Target::number).or_else(|| claimed_pull_request(newest));
    let base_sha = target.as_ref().and_then(Target::base_sha).cloned();
    // A result is published only for commits that GitHub announced as heads.
    let is_known = target.is_some();
    let name = repository.name.clone();
    let workflow_paths = workflow_paths(&pipelines);
    let confirm = governing.policy.confirm();
    let candidates: Vec<RunId> =
        pipelines.iter().flat_map(|p| &p.candidate).map(|measured| measured.run.id.clone()).collect();
    let computed = tokio::task::spawn_blocking(move || {
        let digest = inputs::digest(
            &pipelines,
            evaluation,
            base_branch.as_deref(),
            governing.digest_input(),
            &decisions,
        )?;
        let (mut comparison, baselines) = compare(
            pipelines,
            &name,
            base_branch.as_deref(),
            base_sha.as_ref(),
            &governing.policy,
            &decisions,
        );
        if let Some(comparison) = &mut comparison {
            comparison.notes.extend(governing.notes);
            comparison.policy = governing.facts;
        }
        Ok::<_, TaskError>((digest, comparison, baselines))
    });
    let (digest, comparison, baselines) = computed.await??;
    let Some(mut comparison) = comparison else { return Ok(()) };
    locations::locate(context, repo, head_sha, &workflow_paths, &mut comparison).await?;

    let id = ComparisonId(context.rng.ulid(now));
    let mut tx = context.db.write().await?;
    let new = NewComparison {
        head_sha,
        evaluation,
        inputs_digest: &digest,
        run: &newest_run,
        baseline_run: baselines.get(&newest_run),
        pull_request,
        comparison: &comparison,
    };
    let id = tx.record_comparison(repo, &id, &new, now).await?;
    if is_known || (context.app.is_none() && pull_request.is_some()) {
        // The traces of both sides of a reported comparison stay as long as the comparison.
        tx.keep_reported_traces(repo, &candidates).await?;
        tx.keep_reported_traces(repo, &baselines.into_values().collect::<Vec<_>>()).await?;
    }
    if is_known {
        if confirm.rerun && comparison.verdict == RunVerdict::Suspect {
            let (head_sha, comparison, a_day) = (head_sha.clone(), id.clone(), confirm.reruns_a_day);
            let rerun = ConfirmByRerun { repo, head_sha, comparison, a_day };
            rerun.push(&mut tx, now, &context.rng, now).await?;
        }
        let publish = PublishComparison { repo, head_sha: head_sha.clone(), comparison: id, cause };
        publish.push(&mut tx, now, &context.rng, now).await?;
    }
    tx.commit().await?;
    Metrics::count(&context.metrics.comparisons, "head", comparison.verdict.as_str());
    Ok(())
}

/// The pull request that a run names, for heads that GitHub has not announced.
fn claimed_pull_request(measured: &MeasuredRun) -> Option<PrNumber> {
    match measured.run.lineage {
        Lineage::PullRequest { number } => Some(number),
        Lineage::Branch { .. } | Lineage::Unknown => None,
    }
}

/// The workflow file of each pipeline, from its newest run.
fn workflow_paths(pipelines: &[PipelineInputs]) -> BTreeMap<String, String> {
    let newest = pipelines.iter().filter_map(|pipeline| pipeline.candidate.last());
    newest.filter_map(|m| Some((m.run.pipeline.clone(), m.run.workflow_path.clone()?))).collect()
}

/// The comparison of all pipelines, and for each candidate's newest run the run that represents its
/// baseline.
fn compare(
    pipelines: Vec<PipelineInputs>,
    repo: &RepoName,
    base_branch: Option<&str>,
    base_sha: Option<&CommitSha>,
    policy: &GatePolicy,
    decisions: &Decisions,
) -> (Option<RunComparison>, BTreeMap<RunId, RunId>) {
    let mut baselines = BTreeMap::new();
    let comparisons: Vec<RunComparison> = pipelines
        .into_iter()
        .filter_map(|PipelineInputs { candidate, history }| {
            let newest = &candidate.last()?.run;
            let mut chosen = baseline::choose(history, newest, base_branch, policy, newest.started_at);
            chosen.accepted.extend(decisions.accepted.iter().cloned());
            let fitted = fit::fit(&chosen, policy);
            let mut comparison = compare::compare(&fitted, &candidate, repo, policy)?;
            baselines.extend(chosen.standing_for(base_sha).map(|run| (newest.id.clone(), run.id.clone())));
            comparison.notes.extend(base_sha.and_then(|sha| chosen.stand_in(sha)));
            overrides::apply(&mut comparison, &decisions.standing, policy);
            Some(comparison)
        })
        .collect();
    (aggregate::aggregate(comparisons), baselines)
}
