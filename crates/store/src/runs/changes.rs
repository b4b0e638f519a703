//! Changes of stored runs: assigned to a pull request or a branch, merged into another run, and
//! extended by a note.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId, RunId, TraceId};
use pacegate_engine::model::note::Note;

impl Tx {
    /// Assigns the runs of a pull request's head to it, even if they name another branch or pull
    /// request. Runs on a base branch of the own repository stay with that branch. A commit of a
    /// base branch may be a head too, as when `main` is merged into `release`. Returns the number
    /// of runs that were reassigned.
    pub async fn assign_runs_to_pull_request(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        number: PrNumber,
        is_from_fork: bool,
    ) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE runs SET pull_request = $1, branch = NULL
                 WHERE repo_id = $2 AND head_sha = $3
                   AND (pull_request IS NULL OR NOT EXISTS (SELECT 1 FROM pull_request_heads h
                        WHERE h.repo_id = runs.repo_id AND h.number = runs.pull_request
                          AND h.head_sha = runs.head_sha))
                   AND ($4 = 1 OR branch IS NULL OR (
                        NOT EXISTS (SELECT 1 FROM repositories r
                                    WHERE r.repo_id = runs.repo_id AND r.default_branch = runs.branch)
                        AND NOT EXISTS (SELECT 1 FROM pull_requests p
                                        WHERE p.repo_id = runs.repo_id AND p.base_branch = runs.branch)))",
            )
            .bind(number.0)
            .bind(repo.0)
            .bind(head_sha.as_str())
            .bind(i64::from(is_from_fork))
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }

    /// Whether a branch is a base branch: the default branch, or the base of a pull request.
    pub async fn is_base_branch(&mut self, repo: RepoId, branch: &str) -> Result<bool, StoreError> {
        let found: Option<i64> = on_db!(self, conn => {
            sqlx::query_scalar(
                "SELECT r.repo_id FROM repositories r WHERE r.repo_id = $1 AND (r.default_branch = $2 OR EXISTS (
                    SELECT 1 FROM pull_requests p WHERE p.repo_id = r.repo_id AND p.base_branch = $2))",
            )
            .bind(repo.0)
            .bind(branch)
            .fetch_optional(&mut *conn)
            .await?
        });
        Ok(found.is_some())
    }

    /// Assigns the runs of a merge queue's commit to the branch that it became part of. They are
    /// then part of the baseline. Returns the number of runs that were reassigned.
    pub async fn assign_runs_to_branch(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        branch: &str,
    ) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE runs SET branch = $1 WHERE repo_id = $2 AND head_sha = $3 AND pull_request IS NULL
                    AND (branch IS NULL OR branch LIKE 'gh-readonly-queue/%')
                    AND EXISTS (SELECT 1 FROM merge_groups g
                                WHERE g.repo_id = runs.repo_id AND g.head_sha = runs.head_sha
                                  AND g.base_branch = $1)",
            )
            .bind(branch)
            .bind(repo.0)
            .bind(head_sha.as_str())
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }

    /// Deletes a run that is a part of another run. Comparisons that were made from it keep their
    /// content and refer to the joint run.
    pub async fn merge_run(&mut self, repo: RepoId, part: &RunId, whole: &RunId) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("UPDATE comparisons SET run_id = $1 WHERE repo_id = $2 AND run_id = $3")
                .bind(&whole.0)
                .bind(repo.0)
                .bind(&part.0)
                .execute(&mut *conn)
                .await?;
        });
        self.forget_runs(repo, std::slice::from_ref(part)).await
    }

    /// Adds a note to the run of a trace, unless it has that note. `false`: the trace has no run.
    pub async fn add_run_note(
        &mut self,
        repo: RepoId,
        trace: TraceId,
        note: &Note,
    ) -> Result<bool, StoreError> {
        let unreadable = |e| StoreError::unreadable("a run's notes", e);
        let found: Option<String> = on_db!(self, conn => {
            sqlx::query_scalar("SELECT notes FROM runs WHERE repo_id = $1 AND trace_id = $2")
                .bind(repo.0)
                .bind(trace.to_string())
                .fetch_optional(&mut *conn)
                .await?
        });
        let Some(found) = found else { return Ok(false) };
        let mut notes: Vec<Note> = serde_json::from_str(&found).map_err(unreadable)?;
        if notes.contains(note) {
            return Ok(true);
        }
        notes.push(note.clone());
        let notes = serde_json::to_string(&notes).map_err(unreadable)?;
        on_db!(self, conn => {
            sqlx::query("UPDATE runs SET notes = $1 WHERE repo_id = $2 AND trace_id = $3")
                .bind(notes)
                .bind(repo.0)
                .bind(trace.to_string())
                .execute(&mut *conn)
                .await?;
        });
        Ok(true)
    }
}
