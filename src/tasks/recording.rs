//! Stores measured runs from all sources: encodes the raw trace, determines the line of development
//! from GitHub's data, and writes the rows of a run in one transaction.

use super::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId, RunId};
use pacegate_engine::model::run::{Lineage, MeasuredRun};
use pacegate_engine::model::span::Span;
use pacegate_ingest::otlp;
use pacegate_store::{PullRequestRow, Tx};

/// A stored run.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) id: RunId,
    /// Heads whose verdict may change: its own, and the newest of its pull request.
    pub(super) heads: Vec<CommitSha>,
}

/// Writes a run with its samples and errors, and replaces a run of the same trace. On entry the lineage
/// is the spans' claim. On return it is the lineage that counts.
pub(super) async fn record(
    tx: &mut Tx,
    repo: RepoId,
    measured: &mut MeasuredRun,
    collections: i64,
) -> Result<Recorded, TaskError> {
    // Without the lock, a pull request recorded at the same time and this run could miss each other.
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
    /// Requests a new verdict for each of the heads.
    pub(super) async fn judge(
        &self,
        work: &WorkerContext,
        tx: &mut Tx,
        repo: RepoId,
        cause: &str,
    ) -> Result<(), TaskError> {
        for head_sha in &self.heads {
            super::evaluation::judge_again(work, tx, repo, head_sha, format!("run {} {cause}", self.id))
                .await?;
        }
        Ok(())
    }
}

/// The line of development of a run. GitHub's data on the commit takes precedence over the spans'
/// claim, because a fork's `main` is not this repository's.
fn lineage_of(pull_request: Option<PullRequestRow>, claimed: Lineage, is_base_branch: bool) -> Lineage {
    match (pull_request, claimed) {
        // A base branch of this repository keeps its lineage, even if its commit is also a head.
        (Some(pr), Lineage::Branch { name }) if !pr.is_from_fork && is_base_branch => {
            Lineage::Branch { name }
        }
        (Some(pr), _) => Lineage::PullRequest { number: pr.number },
        (None, claimed) => claimed,
    }
}

/// Encodes spans for the object store: gzip of OTLP JSON.
pub(super) fn raw(spans: &[Span]) -> Result<Vec<u8>, TaskError> {
    let unreadable = |e: Box<dyn std::error::Error + Send + Sync>| TaskError::Unreadable(e);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    otlp::write_json(spans, &mut gzip).map_err(|e| unreadable(e.into()))?;
    gzip.finish().map_err(|e| unreadable(e.into()))
}
