//! Traces of workflow runs that GitHub's API reports. Spans that their jobs send later are added to the
//! same open trace, whose root comes from the API.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_engine::model::time::Timestamp;

/// The state of a trace after it was collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectedTrace {
    /// How often it was collected, this time included.
    pub collections: i64,
    /// Whether jobs sent more batches since the batches were read.
    pub has_more: bool,
}

impl Tx {
    /// Records that a workflow run was collected with the first `batches_read` batches of its trace.
    /// Later batches are collected without a root span of their own, because the API provides the root.
    pub async fn mark_api_trace_collected(
        &mut self,
        repo: RepoId,
        trace: TraceId,
        batches_read: i64,
        now: Timestamp,
    ) -> Result<CollectedTrace, StoreError> {
        let (batches, collections): (i64, i64) = on_db!(self, conn => {
            sqlx::query_as(
                "INSERT INTO open_traces (repo_id, trace_id, first_at, last_at, batches, spans, has_root, bytes,
                    collections, collected_batches) VALUES ($1, $2, $3, $3, 0, 0, 1, 0, 1, $4)
                 ON CONFLICT (repo_id, trace_id) DO UPDATE SET has_root = 1, collected_batches = $4,
                    collections = open_traces.collections + 1
                 RETURNING batches, collections",
            )
            .bind(repo.0)
            .bind(trace.to_string())
            .bind(now.0)
            .bind(batches_read)
            .fetch_one(&mut *conn)
            .await?
        });
        Ok(CollectedTrace { collections, has_more: batches > batches_read })
    }
}
