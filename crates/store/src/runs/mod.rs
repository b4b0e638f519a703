//! Pipeline runs, one row for each collected trace, with their measurements. Also the comparisons,
//! decisions and errors that belong to runs. Nothing is judged here.

mod changes;
mod comparisons;
mod decisions;
mod errors;
mod samples;

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId, RepoName, RunId, TraceId};
use pacegate_engine::model::run::{Lineage, PipelineRun, RunResult};
use pacegate_engine::model::time::Timestamp;

pub use comparisons::{ComparisonRow, NewComparison};

/// A run with its counter.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    pub run: PipelineRun,
    /// How often the run was collected: late spans cause another collection.
    pub collections: i64,
}

/// A selection of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunFilter {
    /// All runs of a repository.
    All,
    /// The runs of a commit.
    Head(CommitSha),
    /// The runs of a pull request.
    PullRequest(PrNumber),
    /// The runs of a pipeline that began at or before a time, on any branch or pull request.
    Pipeline(String, Timestamp),
    /// The runs of a pipeline on a branch that began at or before a time.
    Branch(String, Timestamp, String),
}

#[derive(sqlx::FromRow)]
struct Row {
    run_id: String,
    pipeline: String,
    external_id: Option<String>,
    trace_id: Option<String>,
    attempt: i64,
    head_sha: String,
    branch: Option<String>,
    pull_request: Option<i64>,
    result: String,
    runner: String,
    started_at: i64,
    duration_ns: i64,
    workflow_path: Option<String>,
    notes: String,
    collections: i64,
}

impl Row {
    fn into_run(self, repo: &RepoName) -> Result<StoredRun, StoreError> {
        let trace_id: Option<TraceId> = self
            .trace_id
            .map(|id| id.parse())
            .transpose()
            .map_err(|e| StoreError::unreadable("a run's trace id", e))?;
        Ok(StoredRun {
            run: PipelineRun {
                id: RunId(self.run_id),
                repo: repo.clone(),
                pipeline: self.pipeline,
                external_id: self.external_id,
                trace_id,
                attempt: u32::try_from(self.attempt).unwrap_or(u32::MAX),
                head_sha: self.head_sha.parse().map_err(|e| StoreError::unreadable("a run's commit", e))?,
                lineage: match (self.pull_request, self.branch) {
                    (Some(number), _) => Lineage::PullRequest { number: PrNumber(number) },
                    (None, Some(name)) => Lineage::Branch { name },
                    (None, None) => Lineage::Unknown,
                },
                result: RunResult::parse(&self.result)
                    .ok_or_else(|| StoreError::unreadable("a run's result", self.result))?,
                runner: serde_json::from_str(&self.runner)
                    .map_err(|e| StoreError::unreadable("a run's runner", e))?,
                started_at: Timestamp(self.started_at),
                duration_ns: self.duration_ns,
                workflow_path: self.workflow_path,
                notes: serde_json::from_str(&self.notes)
                    .map_err(|e| StoreError::unreadable("a run's notes", e))?,
            },
            collections: self.collections,
        })
    }
}

/// The columns of a run and one condition. `$1` is the repository, `$2` the limit.
macro_rules! select_runs {
    ($condition:literal) => {
        concat!(
            "SELECT run_id, pipeline, external_id, trace_id, attempt, head_sha, branch, pull_request, result,
                    runner, started_at, duration_ns, workflow_path, notes, collections
             FROM runs WHERE repo_id = $1 ",
            $condition,
            " ORDER BY started_at DESC, run_id DESC LIMIT $2"
        )
    };
}

impl Tx {
    /// Writes a run and returns its identifier. A run of the same trace is replaced and keeps its
    /// identifier.
    pub async fn record_run(
        &mut self,
        repo: RepoId,
        run: &PipelineRun,
        collections: i64,
    ) -> Result<RunId, StoreError> {
        let (branch, pull_request) = match &run.lineage {
            Lineage::Branch { name } => (Some(name.as_str()), None),
            Lineage::PullRequest { number } => (None, Some(number.0)),
            Lineage::Unknown => (None, None),
        };
        let as_json =
            |value: Result<String, serde_json::Error>| value.map_err(|e| StoreError::unreadable("a run", e));
        let runner = as_json(serde_json::to_string(&run.runner))?;
        let notes = as_json(serde_json::to_string(&run.notes))?;
        let id: String = on_db!(self, conn => {
            sqlx::query_scalar(
                "INSERT INTO runs (repo_id, run_id, pipeline, external_id, trace_id, attempt, head_sha, branch,
                    pull_request, result, runner, started_at, duration_ns, notes, collections, workflow_path)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
                 ON CONFLICT (repo_id, trace_id) DO UPDATE SET pipeline = excluded.pipeline,
                    external_id = excluded.external_id, attempt = excluded.attempt, head_sha = excluded.head_sha,
                    branch = excluded.branch, pull_request = excluded.pull_request, result = excluded.result,
                    runner = excluded.runner, started_at = excluded.started_at,
                    duration_ns = excluded.duration_ns, notes = excluded.notes, collections = excluded.collections,
                    workflow_path = excluded.workflow_path
                 RETURNING run_id",
            )
            .bind(repo.0)
            .bind(&run.id.0)
            .bind(&run.pipeline)
            .bind(&run.external_id)
            .bind(run.trace_id.map(|t| t.to_string()))
            .bind(i64::from(run.attempt))
            .bind(run.head_sha.as_str())
            .bind(branch)
            .bind(pull_request)
            .bind(run.result.as_str())
            .bind(runner)
            .bind(run.started_at.0)
            .bind(run.duration_ns)
            .bind(notes)
            .bind(collections)
            .bind(&run.workflow_path)
            .fetch_one(&mut *conn)
            .await?
        });
        Ok(RunId(id))
    }

    /// Runs, newest first.
    pub async fn list_runs(
        &mut self,
        repo: RepoId,
        name: &RepoName,
        filter: &RunFilter,
        limit: i64,
    ) -> Result<Vec<StoredRun>, StoreError> {
        let rows: Vec<Row> = on_db!(self, conn => {
            match filter {
                RunFilter::All => {
                    sqlx::query_as(select_runs!("")).bind(repo.0).bind(limit).fetch_all(&mut *conn).await?
                }
                RunFilter::Head(sha) => {
                    sqlx::query_as(select_runs!("AND head_sha = $3"))
                        .bind(repo.0)
                        .bind(limit)
                        .bind(sha.as_str())
                        .fetch_all(&mut *conn)
                        .await?
                }
                RunFilter::PullRequest(number) => {
                    sqlx::query_as(select_runs!("AND pull_request = $3"))
                        .bind(repo.0)
                        .bind(limit)
                        .bind(number.0)
                        .fetch_all(&mut *conn)
                        .await?
                }
                RunFilter::Branch(pipeline, until, branch) => {
                    sqlx::query_as(select_runs!(
                        "AND pipeline = $3 AND started_at <= $4 AND branch = $5 AND pull_request IS NULL"
                    ))
                    .bind(repo.0)
                    .bind(limit)
                    .bind(pipeline)
                    .bind(until.0)
                    .bind(branch)
                    .fetch_all(&mut *conn)
                    .await?
                }
                RunFilter::Pipeline(pipeline, until) => {
                    sqlx::query_as(select_runs!("AND pipeline = $3 AND started_at <= $4"))
                        .bind(repo.0)
                        .bind(limit)
                        .bind(pipeline)
                        .bind(until.0)
                        .fetch_all(&mut *conn)
                        .await?
                }
            }
        });
        rows.into_iter().map(|row| row.into_run(name)).collect()
    }

    /// The pipelines that ran on a branch with their numbers of runs, the most frequent first.
    pub async fn pipelines_of_branch(
        &mut self,
        repo: RepoId,
        branch: &str,
    ) -> Result<Vec<(String, i64)>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as(
                "SELECT pipeline, COUNT(*) FROM runs
                 WHERE repo_id = $1 AND branch = $2 AND pull_request IS NULL
                 GROUP BY pipeline ORDER BY COUNT(*) DESC, pipeline",
            )
            .bind(repo.0)
            .bind(branch)
            .fetch_all(&mut *conn)
            .await?
        }))
    }

    /// A run by its identifier.
    pub async fn run(
        &mut self,
        repo: RepoId,
        name: &RepoName,
        id: &RunId,
    ) -> Result<Option<StoredRun>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(select_runs!("AND run_id = $3"))
                .bind(repo.0)
                .bind(1_i64)
                .bind(&id.0)
                .fetch_optional(&mut *conn)
                .await?
        });
        row.map(|row| row.into_run(name)).transpose()
    }

    /// The run that was made of a trace.
    pub async fn run_of_trace(&mut self, repo: RepoId, trace: TraceId) -> Result<Option<RunId>, StoreError> {
        let found: Option<String> = on_db!(self, conn => {
            sqlx::query_scalar("SELECT run_id FROM runs WHERE repo_id = $1 AND trace_id = $2")
                .bind(repo.0)
                .bind(trace.to_string())
                .fetch_optional(&mut *conn)
                .await?
        });
        Ok(found.map(RunId))
    }
}
