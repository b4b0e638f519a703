//! The inputs of a comparison: the runs of a head, their history, and the decisions of people. The digest
//! of the inputs identifies the comparison: equal inputs are stored once.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::tasks::TaskError;
use pacegate_engine::gate::baseline;
use pacegate_engine::gate::measure::attempts;
use pacegate_engine::model::decision::{Decision, Extent, StandingDecision};
use pacegate_engine::model::history::AcceptedChange;
use pacegate_engine::model::ids::{CommitSha, PrNumber, RunId};
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::{Lineage, MeasuredRun, PipelineRun, RunResult};
use pacegate_engine::model::stage::{CacheState, StageKey, StageKind, StageSample};
use pacegate_store::{PullRequestRow, RepositoryRow, RunFilter, Tx};

/// Runs outside the baseline that a comparison may name with the reason.
const OTHER_RUNS: i64 = 100;
/// Most runs of a head, or of a pull request, that are read.
const RUNS: i64 = 50;

/// Decisions of people that apply to a head.
#[derive(Debug)]
pub(super) struct Decisions {
    /// Decisions about findings, the newest first.
    pub(super) standing: Vec<StandingDecision>,
    /// Accepted changes that are merged.
    pub(super) accepted: Vec<AcceptedChange>,
}

/// The runs of one pipeline.
pub(super) struct PipelineInputs {
    /// The runs to evaluate, oldest first.
    pub(super) candidate: Vec<MeasuredRun>,
    /// Runs for the baseline, and unmeasured runs that are named with the reason why they are not in it.
    pub(super) history: Vec<MeasuredRun>,
}

/// Reads the candidate of each pipeline that ran on a head, with its history. `known` is the pull request
/// of the head as GitHub announced it.
pub(super) async fn gather(
    tx: &mut Tx,
    repository: &RepositoryRow,
    head_sha: &CommitSha,
    known: Option<&PullRequestRow>,
    base_branch: Option<&str>,
    policy: &GatePolicy,
) -> Result<Vec<PipelineInputs>, TaskError> {
    let (repo, name) = (repository.id, &repository.name);
    let mut by_pipeline: BTreeMap<String, Vec<MeasuredRun>> = BTreeMap::new();
    for measured in tx.measured_runs(repo, name, &RunFilter::Head(head_sha.clone()), RUNS).await? {
        by_pipeline.entry(measured.run.pipeline.clone()).or_default().push(measured);
    }
    let mut pipelines = Vec::with_capacity(by_pipeline.len());
    for (pipeline, of_head) in by_pipeline {
        let Some(newest) = of_head.first().map(|m| m.run.clone()) else { continue };
        let mut candidate = of_head;
        if let Lineage::PullRequest { number } = newest.lineage {
            // Runs of earlier pushes of the same change are samples too. If GitHub announced the heads of
            // the pull request, runs of other commits are left out.
            let heads = match known {
                Some(pr) => Some(tx.heads_of(repo, pr.number).await?),
                None => None,
            };
            let of_change = tx.measured_runs(repo, name, &RunFilter::PullRequest(number), RUNS).await?;
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
        pipelines.push(PipelineInputs { candidate, history });
    }
    Ok(pipelines)
}

/// The history of a pipeline: measured runs of the base branch, and recent other runs without their
/// measurements.
async fn history(
    tx: &mut Tx,
    repository: &RepositoryRow,
    newest: &PipelineRun,
    base_branch: Option<&str>,
    policy: &GatePolicy,
) -> Result<Vec<MeasuredRun>, TaskError> {
    let (repo, name) = (repository.id, &repository.name);
    let limit = i64::from(policy.baseline().runs) + i64::from(baseline::EXTRA_RUNS);
    let until = newest.started_at;
    let mut history = Vec::new();
    for branch in base_branch.map_or(vec!["main", "master"], |branch| vec![branch]) {
        let filter = RunFilter::Branch(newest.pipeline.clone(), until, branch.to_owned());
        history.extend(tx.measured_runs(repo, name, &filter, limit).await?);
    }
    let others =
        tx.list_runs(repo, name, &RunFilter::Pipeline(newest.pipeline.clone(), until), OTHER_RUNS).await?;
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

/// SHA-256 of everything that a comparison depends on, as lines of JSON, in hexadecimal.
pub(super) fn digest(
    pipelines: &[PipelineInputs],
    evaluation: i64,
    base_branch: Option<&str>,
    policy: impl Serialize,
    decisions: &Decisions,
) -> Result<String, TaskError> {
    let mut digest = Sha256::new();
    let mut add = |line: Result<Vec<u8>, serde_json::Error>| {
        digest.update(line.map_err(|e| TaskError::Unreadable(e.into()))?);
        digest.update(b"\n");
        Ok::<(), TaskError>(())
    };
    add(serde_json::to_vec(&Header {
        evaluation,
        base_branch,
        policy,
        decisions: decisions.standing.iter().map(DecisionInput::of).collect(),
        accepted: &decisions.accepted,
    }))?;
    for pipeline in pipelines {
        for measured in pipeline.candidate.iter().chain(&pipeline.history) {
            add(serde_json::to_vec(&RunInput::of(measured)))?;
        }
    }
    Ok(hex::encode(digest.finalize()))
}

#[derive(Serialize)]
struct Header<'a, P> {
    evaluation: i64,
    base_branch: Option<&'a str>,
    policy: P,
    decisions: Vec<DecisionInput<'a>>,
    accepted: &'a [AcceptedChange],
}

#[derive(Serialize)]
struct DecisionInput<'a> {
    decision: &'a Decision,
    stage: &'a StageKey,
    signature: Option<&'a str>,
    extent: Option<ExtentInput>,
    pull_request: Option<PrNumber>,
}

impl<'a> DecisionInput<'a> {
    fn of(standing: &'a StandingDecision) -> Self {
        let StandingDecision { decision, stage, signature, extent, pull_request } = standing;
        let extent = extent.map(|extent| match extent {
            Extent::Slower { ratio, increase_s } => ExtentInput::Slower { ratio, increase_s },
            Extent::Took { seconds } => ExtentInput::Took { seconds },
        });
        Self { decision, stage, signature: signature.as_deref(), extent, pull_request: *pull_request }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ExtentInput {
    Slower { ratio: f64, increase_s: f64 },
    Took { seconds: f64 },
}

#[derive(Serialize)]
struct RunInput<'a> {
    id: &'a RunId,
    lineage: &'a Lineage,
    result: RunResult,
    duration_ns: i64,
    stages: Vec<StageInput<'a>>,
    errors: Vec<&'a str>,
}

impl<'a> RunInput<'a> {
    fn of(MeasuredRun { run, stages, errors }: &'a MeasuredRun) -> Self {
        Self {
            id: &run.id,
            lineage: &run.lineage,
            result: run.result,
            duration_ns: run.duration_ns,
            stages: stages.iter().map(StageInput::of).collect(),
            errors: errors.iter().map(|error| error.signature.as_str()).collect(),
        }
    }
}

#[derive(Serialize)]
struct StageInput<'a> {
    key: &'a StageKey,
    duration_ns: i64,
    count: u32,
    start_offset_ns: i64,
    end_offset_ns: i64,
    result: RunResult,
    kind: StageKind,
    cache: Option<CacheState>,
}

impl<'a> StageInput<'a> {
    fn of(stage: &'a StageSample) -> Self {
        Self {
            key: &stage.key,
            duration_ns: stage.duration_ns,
            count: stage.count,
            start_offset_ns: stage.start_offset_ns,
            end_offset_ns: stage.end_offset_ns,
            result: stage.result,
            kind: stage.kind,
            cache: stage.cache,
        }
    }
}

#[cfg(test)]
mod tests;
