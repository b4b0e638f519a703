//! Stores measured runs: the raw trace, the lineage as GitHub announced it, and all rows of a run in one
//! transaction.

use crate::tasks::evaluate::evaluation::evaluate_again;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId, RunId};
use pacegate_engine::model::run::{Lineage, MeasuredRun};
use pacegate_engine::model::span::Span;
use pacegate_ingest::otlp;
use pacegate_store::{PullRequestRow, Tx};

/// A stored run.
#[derive(Debug)]
pub(in crate::tasks) struct Recorded {
    pub(in crate::tasks) id: RunId,
    /// Heads that the run is a sample for: its own, and the newest head of its pull request.
    pub(in crate::tasks) heads: Vec<CommitSha>,
}

/// Stores a run with its samples and errors, in place of a run of the same trace. The claimed lineage of
/// `measured` is replaced by the effective one.
pub(in crate::tasks) async fn record(
    tx: &mut Tx,
    repo: RepoId,
    measured: &mut MeasuredRun,
    collections: i64,
) -> Result<Recorded, TaskError> {
    // The lock orders this with new pull requests: either this finds the pull request, or it finds the
    // run.
    tx.lock_repository(repo).await?;
    let head_sha = measured.run.head_sha.clone();
    let pull_request =
        tx.pull_request_of_head(repo, &head_sha).await?.filter(|pr| pr.is_open || pr.is_from_fork);
    // A run of an earlier push is also a sample for the newest head.
    let newest_head =
        pull_request.as_ref().map(|pr| pr.head_sha.clone()).filter(|newest| *newest != head_sha);
    let is_base_branch = match &measured.run.lineage {
        Lineage::Branch { name } => tx.is_base_branch(repo, name).await?,
        Lineage::PullRequest { .. } | Lineage::Unknown => false,
    };
    measured.run.lineage = lineage_of(pull_request, measured.run.lineage.clone(), is_base_branch);
    let id = tx.record_run(repo, &measured.run, collections).await?;
    tx.record_samples(repo, &id, &measured.stages).await?;
    tx.record_errors(repo, &id, &measured.errors).await?;
    Ok(Recorded { id, heads: std::iter::once(head_sha).chain(newest_head).collect() })
}

impl Recorded {
    /// Evaluates the heads of this run again.
    pub(in crate::tasks) async fn evaluate_heads(
        &self,
        context: &WorkerContext,
        tx: &mut Tx,
        repo: RepoId,
        cause: &str,
    ) -> Result<(), TaskError> {
        for head_sha in &self.heads {
            evaluate_again(context, tx, repo, head_sha, format!("run {} {cause}", self.id)).await?;
        }
        Ok(())
    }
}

/// The lineage of a run. GitHub's data on the commit counts before the spans, because a fork has a `main`
/// branch too.
fn lineage_of(pull_request: Option<PullRequestRow>, claimed: Lineage, is_base_branch: bool) -> Lineage {
    match (pull_request, claimed) {
        // A run of a base branch stays one, also if its commit is the head of a pull request.
        (Some(pr), Lineage::Branch { name }) if !pr.is_from_fork && is_base_branch => {
            Lineage::Branch { name }
        }
        (Some(pr), _) => Lineage::PullRequest { number: pr.number },
        (None, claimed) => claimed,
    }
}

/// The stored form of a raw trace: gzip of OTLP JSON.
pub(in crate::tasks) fn raw(spans: &[Span]) -> Result<Vec<u8>, TaskError> {
    let unreadable = |e: Box<dyn std::error::Error + Send + Sync>| TaskError::Unreadable(e);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    otlp::write_json(spans, &mut gzip).map_err(|e| unreadable(e.into()))?;
    gzip.finish().map_err(|e| unreadable(e.into()))
}
