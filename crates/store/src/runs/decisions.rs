//! People's decisions about findings, and the CI jobs that were rerun for a second sample.

use std::time::Duration;

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::decision::{Decision, DecisionKind, Extent, StandingDecision};
use pacegate_engine::model::history::AcceptedChange;
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId};
use pacegate_engine::model::stage::StageKey;
use pacegate_engine::model::time::Timestamp;

/// Most decisions that are read, the newest first.
const DECISIONS: i64 = 2_000;

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    stage_key: String,
    signature: Option<String>,
    ratio: Option<f64>,
    increase_s: Option<f64>,
    pull_request: Option<i64>,
    decided_by: String,
    reason: String,
    decided_at: i64,
    expires_at: Option<i64>,
}

impl TryFrom<Row> for StandingDecision {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            decision: Decision {
                kind: DecisionKind::parse(&row.kind)
                    .ok_or_else(|| StoreError::unreadable("a decision's kind", row.kind))?,
                by: row.decided_by,
                at: Timestamp(row.decided_at),
                until: row.expires_at.map(Timestamp),
                reason: row.reason,
            },
            stage: StageKey::from_stored(row.stage_key),
            signature: row.signature,
            // Without a ratio the value is the whole duration.
            extent: row.increase_s.map(|seconds| match row.ratio {
                Some(ratio) => Extent::Slower { ratio, increase_s: seconds },
                None => Extent::Took { seconds },
            }),
            pull_request: row.pull_request.map(PrNumber),
        })
    }
}

impl Tx {
    /// Records a decision under this identifier. `false`: it was recorded before.
    pub async fn record_decision(
        &mut self,
        repo: RepoId,
        id: &str,
        head_sha: &CommitSha,
        standing: &StandingDecision,
    ) -> Result<bool, StoreError> {
        let decision = &standing.decision;
        let (ratio, seconds) = match standing.extent {
            Some(Extent::Slower { ratio, increase_s }) => (Some(ratio), Some(increase_s)),
            Some(Extent::Took { seconds }) => (None, Some(seconds)),
            None => (None, None),
        };
        Ok(on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO decisions (repo_id, decision_id, kind, stage_key, signature, ratio, increase_s,
                    pull_request, head_sha, decided_by, reason, decided_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                 ON CONFLICT (repo_id, decision_id) DO NOTHING",
            )
            .bind(repo.0)
            .bind(id)
            .bind(decision.kind.as_str())
            .bind(standing.stage.as_str())
            .bind(&standing.signature)
            .bind(ratio)
            .bind(seconds)
            .bind(standing.pull_request.map(|number| number.0))
            .bind(head_sha.as_str())
            .bind(&decision.by)
            .bind(&decision.reason)
            .bind(decision.at.0)
            .bind(decision.until.map(|until| until.0))
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0)
    }

    /// The decisions that apply to a head now, the newest first:
    /// - mutes that have not expired;
    /// - acceptances of the head's pull request. For a group of a merge queue (`pull_request` is
    ///   none) these are the acceptances of all open pull requests into the base branch;
    /// - acceptances that were merged into the base branch, until the branch was measured afterwards.
    pub async fn standing_decisions(
        &mut self,
        repo: RepoId,
        pull_request: Option<PrNumber>,
        base_branch: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<StandingDecision>, StoreError> {
        let rows: Vec<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT kind, stage_key, signature, ratio, increase_s, pull_request, decided_by, reason, decided_at,
                    expires_at
                 FROM decisions d
                 WHERE repo_id = $1 AND ((kind = 'muted' AND expires_at > $3) OR (kind = 'accepted' AND (
                    pull_request = $2
                    OR ($2 IS NULL AND merged_at IS NULL AND EXISTS (SELECT 1 FROM pull_requests p
                        WHERE p.repo_id = d.repo_id AND p.number = d.pull_request AND p.is_open = 1
                          AND p.base_branch = $5))
                    OR (merged_at IS NOT NULL AND EXISTS (SELECT 1 FROM pull_requests p
                        WHERE p.repo_id = d.repo_id AND p.number = d.pull_request AND p.base_branch = $5)
                        AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.repo_id = d.repo_id AND r.branch = $5
                          AND r.pull_request IS NULL AND r.started_at >= d.merged_at)))))
                 ORDER BY decided_at DESC, decision_id DESC LIMIT $4",
            )
            .bind(repo.0)
            .bind(pull_request.map(|number| number.0))
            .bind(now.0)
            .bind(DECISIONS)
            .bind(base_branch)
            .fetch_all(&mut *conn)
            .await?
        });
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Marks the acceptances of a merged pull request as merged: they are now final. Returns their
    /// number.
    pub async fn merge_decisions(
        &mut self,
        repo: RepoId,
        number: PrNumber,
        merged_at: Timestamp,
    ) -> Result<u64, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE decisions SET merged_at = $1
                 WHERE repo_id = $2 AND pull_request = $3 AND kind = 'accepted' AND merged_at IS NULL",
            )
            .bind(merged_at.0)
            .bind(repo.0)
            .bind(number.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }))
    }

    /// The accepted changes of stages that were merged since a time, oldest first.
    pub async fn accepted_changes(
        &mut self,
        repo: RepoId,
        since: Timestamp,
    ) -> Result<Vec<AcceptedChange>, StoreError> {
        let rows: Vec<(String, i64)> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT stage_key, merged_at FROM decisions
                 WHERE repo_id = $1 AND kind = 'accepted' AND signature IS NULL AND merged_at >= $2
                 ORDER BY merged_at, stage_key LIMIT $3",
            )
            .bind(repo.0)
            .bind(since.0)
            .bind(DECISIONS)
            .fetch_all(&mut *conn)
            .await?
        });
        Ok(rows
            .into_iter()
            .map(|(stage, since)| AcceptedChange {
                stage: StageKey::from_stored(stage),
                since: Timestamp(since),
            })
            .collect())
    }

    /// Reserves the one rerun that a head may have. `false`: the head had it, or the repository had
    /// `a_day` reruns within the last 24 hours.
    pub async fn reserve_rerun(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
        (github_run_id, github_job_id): (i64, i64),
        a_day: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO reruns (repo_id, head_sha, github_run_id, github_job_id, requested_at)
                 SELECT $1, $2, $3, $4, $5
                 WHERE (SELECT COUNT(*) FROM reruns WHERE repo_id = $1 AND requested_at > $6) < $7
                 ON CONFLICT (repo_id, head_sha) DO NOTHING",
            )
            .bind(repo.0)
            .bind(head_sha.as_str())
            .bind(github_run_id)
            .bind(github_job_id)
            .bind(now.0)
            .bind(now.before(Duration::from_hours(24)).0)
            .bind(a_day)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) > 0)
    }

    /// The reserved rerun of a head: GitHub's numbers of the run and the CI job.
    pub async fn rerun_of(
        &mut self,
        repo: RepoId,
        head_sha: &CommitSha,
    ) -> Result<Option<(i64, i64)>, StoreError> {
        Ok(on_db!(self, conn => {
            sqlx::query_as("SELECT github_run_id, github_job_id FROM reruns WHERE repo_id = $1 AND head_sha = $2")
                .bind(repo.0)
                .bind(head_sha.as_str())
                .fetch_optional(&mut *conn)
                .await?
        }))
    }
}
