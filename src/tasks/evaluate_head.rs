//! Judges a head: its runs, and those of the pull request's earlier heads, against the
//! baseline of the base branch. The decision is pure (`gate/`); here it gets its inputs.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::evaluation::Target;
use super::{Task, TaskError, WorkerContext, locations, policy};
use crate::metrics::Metrics;
use pacegate_engine::gate::baseline;
use pacegate_engine::gate::duration_model::fit;
use pacegate_engine::gate::measure::attempts;
use pacegate_engine::gate::verdict::{aggregate, compare, overrides};
use pacegate_engine::model::comparison::{RunComparison, RunVerdict};
use pacegate_engine::model::decision::StandingDecision;
use pacegate_engine::model::history::AcceptedChange;
use pacegate_engine::model::ids::{CommitSha, ComparisonId, PrNumber, RepoId, RunId};
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::{Lineage, MeasuredRun, PipelineRun};
use pacegate_store::{NewComparison, PullRequestRow, RepositoryRow, RunFilter, Tx};

/// Runs that are no baseline, of which the reason is told.
const OTHERS_TOLD: i64 = 100;

/// What people decided, as far as it counts for a head.
#[derive(Debug)]
struct Decided {
    /// About findings, the newest first.
    decisions: Vec<StandingDecision>,
    /// Changes that were accepted and merged.
    accepted: Vec<AcceptedChange>,
}

/// One pipeline's candidate and the history it is held against.
struct Case {
    candidate: Vec<MeasuredRun>,
    history: Vec<MeasuredRun>,
}

pub(super) async fn evaluate_head(
    work: &WorkerContext,
    repo: RepoId,
    head_sha: &CommitSha,
    cause: String,
) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let Some(repository) = tx.repository(repo).await? else { return Ok(()) };
    let evaluation = tx.newest_check(repo, head_sha).await?.map_or(1, |check| check.evaluation);
    let target = Target::of(&mut tx, repo, head_sha).await?;
    let base_branch = target
        .as_ref()
        .map(|target| target.base_branch().to_owned())
        .or_else(|| repository.default_branch.clone())
        .or_else(|| work.base_branch.clone());
    let known = target.as_ref().and_then(Target::pull_request);
    let of_head = RunFilter::Head(head_sha.clone());
    let is_measured = !tx.list_runs(repo, &repository.name, &of_head, 1).await?.is_empty();
    drop(tx);
    let head = target.as_ref().map(|_| head_sha);
    let governing =
        policy::governing(work, repo, base_branch.as_deref().filter(|_| is_measured), head).await?;
    let mut tx = work.db.read().await?;
    let cases =
        gather(&mut tx, &repository, head_sha, known, base_branch.as_deref(), &governing.policy).await?;
    let now = work.clock.now();
    let decided = Decided {
        decisions: tx
            .standing_decisions(repo, target.as_ref().and_then(Target::number), base_branch.as_deref(), now)
            .await?,
        accepted: tx.accepted_changes(repo, now.before(governing.policy.baseline().age())).await?,
    };
    drop(tx);
    let Some(newest) = cases.iter().filter_map(|case| case.candidate.last()).max_by_key(|m| m.run.started_at)
    else {
        // Nothing was measured on this head yet, or there was nothing to be measured.
        if target.is_some() {
            let slot = now.0;
            let mut tx = work.db.write().await?;
            let shown = Task::ShowAwaited { repo, head_sha: head_sha.clone(), evaluation, slot };
            shown.push(&mut tx, now, &work.rng, now).await?;
            tx.commit().await?;
        }
        return Ok(());
    };
    let newest_run = newest.run.id.clone();
    let pull_request = target.as_ref().and_then(Target::number).or_else(|| claimed_pull_request(newest));
    let base_sha = target.as_ref().and_then(Target::base_sha).cloned();
    // What GitHub has not named as somebody's head has nowhere to be published.
    let is_known = target.is_some();
    let name = repository.name.clone();
    let workflow_paths = workflow_paths(&cases);
    let confirm = governing.policy.confirm();
    let candidates: Vec<RunId> =
        cases.iter().flat_map(|case| &case.candidate).map(|measured| measured.run.id.clone()).collect();
    let judged = tokio::task::spawn_blocking(move || {
        let digest =
            digest_of(&cases, evaluation, base_branch.as_deref(), &governing.fingerprint(), &decided);
        let (mut comparison, baselines) =
            judge(cases, &name, base_branch.as_deref(), base_sha.as_ref(), &governing.policy, &decided);
        if let Some(comparison) = &mut comparison {
            comparison.notes.extend(governing.notes);
            comparison.policy = governing.facts;
        }
        (digest, comparison, baselines)
    });
    let (digest, comparison, baselines) = judged.await?;
    let Some(mut comparison) = comparison else { return Ok(()) };
    locations::locate(work, repo, head_sha, &workflow_paths, &mut comparison).await?;

    let id = ComparisonId(work.rng.ulid(now));
    let mut tx = work.db.write().await?;
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
    if is_known || (work.app.is_none() && pull_request.is_some()) {
        // Both sides of what people are told can be looked at for as long as the comparison.
        tx.keep_reported_traces(repo, &candidates).await?;
        tx.keep_reported_traces(repo, &baselines.into_values().collect::<Vec<_>>()).await?;
    }
    if is_known {
        if confirm.rerun && comparison.verdict == RunVerdict::Suspect {
            let (head_sha, comparison, a_day) = (head_sha.clone(), id.clone(), confirm.reruns_a_day);
            let again = Task::ConfirmByRerun { repo, head_sha, comparison, a_day };
            again.push(&mut tx, now, &work.rng, now).await?;
        }
        let publish = Task::PublishComparison { repo, head_sha: head_sha.clone(), comparison: id, cause };
        publish.push(&mut tx, now, &work.rng, now).await?;
    }
    tx.commit().await?;
    Metrics::count(&work.metrics.comparisons, "head", comparison.verdict.as_str());
    Ok(())
}

fn claimed_pull_request(measured: &MeasuredRun) -> Option<PrNumber> {
    match measured.run.lineage {
        Lineage::PullRequest { number } => Some(number),
        Lineage::Branch { .. } | Lineage::Unknown => None,
    }
}

/// The candidate of each pipeline that ran on this head, oldest first, with its history.
async fn gather(
    tx: &mut Tx,
    repository: &RepositoryRow,
    head_sha: &CommitSha,
    known: Option<&PullRequestRow>,
    base_branch: Option<&str>,
    policy: &GatePolicy,
) -> Result<Vec<Case>, TaskError> {
    let (repo, name) = (repository.id, &repository.name);
    let mut by_pipeline: BTreeMap<String, Vec<MeasuredRun>> = BTreeMap::new();
    for measured in tx.measured_runs(repo, name, &RunFilter::Head(head_sha.clone()), 50).await? {
        by_pipeline.entry(measured.run.pipeline.clone()).or_default().push(measured);
    }
    let mut cases = Vec::with_capacity(by_pipeline.len());
    for (pipeline, of_head) in by_pipeline {
        let Some(newest) = of_head.first().map(|m| m.run.clone()) else { continue };
        let mut candidate = of_head;
        if let Lineage::PullRequest { number } = newest.lineage {
            // Earlier pushes of the same change are samples of it too. Where GitHub says which
            // heads the pull request had, no other commit's run is one.
            let heads = match known {
                Some(pr) => Some(tx.heads_of(repo, pr.number).await?),
                None => None,
            };
            let of_change = tx.measured_runs(repo, name, &RunFilter::PullRequest(number), 50).await?;
            candidate.extend(of_change.into_iter().filter(|m| {
                m.run.pipeline == pipeline
                    && m.run.head_sha != *head_sha
                    && m.run.started_at <= newest.started_at
                    && heads.as_ref().is_none_or(|heads| heads.contains(&m.run.head_sha))
            }));
            candidate.sort_by(|a, b| (b.run.started_at, &b.run.id).cmp(&(a.run.started_at, &a.run.id)));
        }
        candidate.truncate(baseline::CANDIDATE_RUNS);
        candidate.reverse();
        let candidate = attempts::join(candidate);
        let history = history(tx, repository, &newest, base_branch, policy).await?;
        cases.push(Case { candidate, history });
    }
    Ok(cases)
}

/// The past of a pipeline: of the base branch all that may be comparable, measured; of the rest
/// what ran lately, unmeasured, so that it can be said why it is not.
async fn history(
    tx: &mut Tx,
    repository: &RepositoryRow,
    newest: &PipelineRun,
    base_branch: Option<&str>,
    policy: &GatePolicy,
) -> Result<Vec<MeasuredRun>, TaskError> {
    let (repo, name) = (repository.id, &repository.name);
    let limit = i64::from(policy.baseline().runs) + i64::from(baseline::ROOM_FOR_OTHERS);
    let until = newest.started_at;
    let mut history = Vec::new();
    for branch in base_branch.map_or(vec!["main", "master"], |branch| vec![branch]) {
        let filter = RunFilter::Branch(newest.pipeline.clone(), until, branch.to_owned());
        history.extend(tx.measured_runs(repo, name, &filter, limit).await?);
    }
    let others =
        tx.list_runs(repo, name, &RunFilter::Pipeline(newest.pipeline.clone(), until), OTHERS_TOLD).await?;
    let known: BTreeSet<RunId> = history.iter().map(|m| m.run.id.clone()).collect();
    history.extend(
        others.into_iter().filter(|stored| !known.contains(&stored.run.id)).map(|stored| MeasuredRun {
            run: stored.run,
            stages: Vec::new(),
            errors: Vec::new(),
        }),
    );
    Ok(history)
}

/// The workflow file of each pipeline, as its newest run names it.
fn workflow_paths(cases: &[Case]) -> BTreeMap<String, String> {
    let newest = cases.iter().filter_map(|case| case.candidate.last());
    newest.filter_map(|m| Some((m.run.pipeline.clone(), m.run.workflow_path.clone()?))).collect()
}

/// Of everything that goes into a comparison: the same inputs are one comparison.
fn digest_of(
    cases: &[Case],
    evaluation: i64,
    base_branch: Option<&str>,
    policy: &str,
    decided: &Decided,
) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{evaluation} {base_branch:?} {policy}\n{decided:?}\n"));
    for case in cases {
        for measured in case.candidate.iter().chain(&case.history) {
            let run = &measured.run;
            digest.update(format!("{} {:?} {:?} {}\n", run.id, run.lineage, run.result, run.duration_ns));
            for stage in &measured.stages {
                digest.update(stage.key.as_str());
                digest.update(stage.duration_ns.to_be_bytes());
                digest.update(stage.count.to_be_bytes());
                digest.update(stage.start_offset_ns.to_be_bytes());
                digest.update(stage.end_offset_ns.to_be_bytes());
                digest.update(format!("{} {:?} {:?}\n", stage.result.as_str(), stage.kind, stage.cache));
            }
            for error in &measured.errors {
                digest.update(&error.signature);
                digest.update(b"\n");
            }
        }
    }
    hex::encode(digest.finalize())
}

/// What is said about the head, and of each candidate's newest run the run that stands for its
/// baseline.
fn judge(
    cases: Vec<Case>,
    repo: &pacegate_engine::model::ids::RepoName,
    base_branch: Option<&str>,
    base_sha: Option<&CommitSha>,
    policy: &GatePolicy,
    decided: &Decided,
) -> (Option<RunComparison>, BTreeMap<RunId, RunId>) {
    let mut baselines = BTreeMap::new();
    let comparisons: Vec<RunComparison> = cases
        .into_iter()
        .filter_map(|case| {
            let newest = &case.candidate.last()?.run;
            let as_of = newest.started_at;
            let mut chosen = baseline::choose(case.history, newest, base_branch, policy, as_of);
            chosen.accepted.extend(decided.accepted.iter().cloned());
            let fitted = fit::fit(&chosen, policy);
            let mut comparison = compare::compare(&fitted, &case.candidate, repo, policy)?;
            baselines.extend(chosen.standing_for(base_sha).map(|run| (newest.id.clone(), run.id.clone())));
            comparison.notes.extend(base_sha.and_then(|sha| chosen.stand_in(sha)));
            overrides::apply(&mut comparison, &decided.decisions, policy);
            Some(comparison)
        })
        .collect();
    (aggregate::aggregate(comparisons), baselines)
}
