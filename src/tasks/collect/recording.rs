//! What every way to a measured run shares: the raw trace as it is kept, the line of development
//! by GitHub's word, and the rows of a run written together.

use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::ids::{CommitSha, RepoId, RunId};
use pacegate_engine::model::run::{Lineage, MeasuredRun};
use pacegate_engine::model::span::Span;
use pacegate_ingest::otlp;
use pacegate_store::{PullRequestRow, Tx};

/// A run that was written.
#[derive(Debug)]
pub(in crate::tasks) struct Recorded {
    pub(in crate::tasks) id: RunId,
    /// Heads it says something about: its own, and the newest of its pull request.
    pub(in crate::tasks) heads: Vec<CommitSha>,
}

/// Writes a run with its samples and errors; one of the same trace is replaced. On entry its
/// lineage is what was claimed, on return what counts.
pub(in crate::tasks) async fn record(
    tx: &mut Tx,
    repo: RepoId,
    measured: &mut MeasuredRun,
    collections: i64,
) -> Result<Recorded, TaskError> {
    // A pull request that becomes known meanwhile either sees this run or is seen by it.
    tx.lock_repository(repo).await?;
    let head_sha = measured.run.head_sha.clone();
    let pull_request =
        tx.pull_request_of_head(repo, &head_sha).await?.filter(|pr| pr.is_open || pr.is_from_fork);
    // The run of an earlier push is a sample for the newest head as well.
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
    /// Has each head judged that the run says something about.
    pub(in crate::tasks) async fn judge(
        &self,
        work: &WorkerContext,
        tx: &mut Tx,
        repo: RepoId,
        cause: &str,
    ) -> Result<(), TaskError> {
        for head_sha in &self.heads {
            crate::tasks::evaluate::evaluation::judge_again(
                work,
                tx,
                repo,
                head_sha,
                format!("run {} {cause}", self.id),
            )
            .await?;
        }
        Ok(())
    }
}

/// Which line of development a run is on: what GitHub says of its commit counts before what its
/// spans say, because a fork's `main` is not ours.
fn lineage_of(pull_request: Option<PullRequestRow>, claimed: Lineage, is_base_branch: bool) -> Lineage {
    match (pull_request, claimed) {
        // A branch of ours that others are merged into stays what it is, even when its commit
        // is a head too.
        (Some(pr), Lineage::Branch { name }) if !pr.is_from_fork && is_base_branch => {
            Lineage::Branch { name }
        }
        (Some(pr), _) => Lineage::PullRequest { number: pr.number },
        (None, claimed) => claimed,
    }
}

/// Spans as the object store keeps them: gzip of OTLP JSON.
pub(in crate::tasks) fn raw(spans: &[Span]) -> Result<Vec<u8>, TaskError> {
    let unreadable = |e: Box<dyn std::error::Error + Send + Sync>| TaskError::Unreadable(e);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    otlp::write_json(spans, &mut gzip).map_err(|e| unreadable(e.into()))?;
    gzip.finish().map_err(|e| unreadable(e.into()))
}
