//! Upload grants: for some minutes a job of GitHub Actions may add spans to its own run, and to
//! nothing else. Only a hash is kept. A job's token is exchanged once. The uploads of a grant and
//! of an attempt of a run are counted in the database, so the limits hold across processes.

use sha2::{Digest, Sha256};

use crate::{StoreError, Tx, on_db};
use pacegate_clock::Randomness;
use pacegate_engine::model::ids::{CommitSha, RepoId};
use pacegate_engine::model::time::Timestamp;

/// The prefix of every grant. Secret scanners recognize it.
pub const GRANT_PREFIX: &str = "pgg_";
/// Most grants of one attempt of a run: a matrix has at most 256 jobs, and each may ask again.
const GRANTS_OF_AN_ATTEMPT: i64 = 2_000;
/// Most uploads with one grant, and their bytes as received, compressed.
const OF_A_GRANT: (i64, i64) = (32, 128 << 20);
/// The same for all grants of one attempt of a run.
const OF_AN_ATTEMPT: (i64, i64) = (4_000, 1 << 30);

/// The job that a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    pub repo: RepoId,
    /// GitHub's number of the workflow run.
    pub run_id: i64,
    /// From 1.
    pub attempt: u32,
    /// GitHub's number of the job, if it is known.
    pub check_run_id: Option<i64>,
    /// The commit that GitHub shows the run on, if it is known.
    pub head_sha: Option<CommitSha>,
    pub expires_at: Timestamp,
}

/// The job's token that is exchanged for a grant.
#[derive(Debug, Clone, Copy)]
pub struct JobTokenUse<'a> {
    pub id: &'a str,
    /// When the token expires; until then a replay is detected.
    pub usable_until: Timestamp,
}

/// The result of a request for a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// The grant's secret, which can't be read again.
    New(String),
    /// The token was exchanged before.
    Replayed,
    /// The attempt has had more grants than its jobs can need.
    TooMany,
}

/// A grant that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    pub id: String,
    pub repo: RepoId,
    /// GitHub's number of the workflow run.
    pub run_id: i64,
    /// From 1.
    pub attempt: u32,
    /// GitHub's number of the job, if it is known.
    pub check_run_id: Option<i64>,
    /// The commit that GitHub shows the run on, if it is known.
    pub head_sha: Option<CommitSha>,
}

#[derive(sqlx::FromRow)]
struct Row {
    repo_id: i64,
    grant_id: String,
    github_run_id: i64,
    attempt: i64,
    check_run_id: Option<i64>,
    head_sha: Option<String>,
}

impl TryFrom<Row> for GrantRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let head_sha = row.head_sha.map(|sha| sha.parse()).transpose();
        Ok(Self {
            id: row.grant_id,
            repo: RepoId(row.repo_id),
            run_id: row.github_run_id,
            attempt: u32::try_from(row.attempt)
                .map_err(|e| StoreError::unreadable("a grant's attempt", e))?,
            check_run_id: row.check_run_id,
            head_sha: head_sha.map_err(|e| StoreError::unreadable("a grant's commit", e))?,
        })
    }
}

fn hash(grant: &str) -> Vec<u8> {
    Sha256::digest(grant.as_bytes()).to_vec()
}

impl Tx {
    /// Exchanges a job's token for a grant. Each token is exchanged once.
    pub async fn create_grant(
        &mut self,
        new: &NewGrant,
        token: JobTokenUse<'_>,
        rng: &Randomness,
        now: Timestamp,
    ) -> Result<Granted, StoreError> {
        // Without the lock, concurrent requests would not count each other.
        self.lock_repository(new.repo).await?;
        let is_first = on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO used_job_tokens (token_id, usable_until) VALUES ($1, $2)
                 ON CONFLICT (token_id) DO NOTHING",
            )
            .bind(token.id)
            .bind(token.usable_until.0)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) == 1;
        if !is_first {
            return Ok(Granted::Replayed);
        }
        let grant = format!("{GRANT_PREFIX}{}", hex::encode(rng.bytes::<24>()));
        let made = on_db!(self, conn => {
            sqlx::query(
                "INSERT INTO upload_grants (repo_id, grant_id, hash, github_run_id, attempt, check_run_id, head_sha, expires_at)
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8
                 WHERE (SELECT COUNT(*) FROM upload_grants g
                        WHERE g.repo_id = $1 AND g.github_run_id = $4 AND g.attempt = $5) < $9",
            )
            .bind(new.repo.0)
            .bind(rng.ulid(now))
            .bind(hash(&grant))
            .bind(new.run_id)
            .bind(i64::from(new.attempt))
            .bind(new.check_run_id)
            .bind(new.head_sha.as_ref().map(CommitSha::as_str))
            .bind(new.expires_at.0)
            .bind(GRANTS_OF_AN_ATTEMPT)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) == 1;
        Ok(if made { Granted::New(grant) } else { Granted::TooMany })
    }

    /// A grant by its secret; none if it is unknown or ended. The lookup is by hash, so its duration
    /// reveals nothing about existing grants.
    pub async fn grant(&mut self, grant: &str, now: Timestamp) -> Result<Option<GrantRow>, StoreError> {
        let row: Option<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT repo_id, grant_id, github_run_id, attempt, check_run_id, head_sha FROM upload_grants
                 WHERE hash = $1 AND expires_at > $2",
            )
            .bind(hash(grant))
            .bind(now.0)
            .fetch_optional(&mut *conn)
            .await?
        });
        row.map(TryInto::try_into).transpose()
    }

    /// Counts an upload of this size. `false`: it would exceed the limit of this grant or of its
    /// attempt of the run, and must be refused.
    pub async fn count_upload(&mut self, grant: &GrantRow, bytes: usize) -> Result<bool, StoreError> {
        // Without the lock, concurrent uploads would not count each other.
        self.lock_repository(grant.repo).await?;
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let (of_attempt, of_grant) = (OF_AN_ATTEMPT, OF_A_GRANT);
        let together: (i64, i64) = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT CAST(COALESCE(SUM(uploads), 0) AS BIGINT), CAST(COALESCE(SUM(bytes), 0) AS BIGINT)
                 FROM upload_grants WHERE repo_id = $1 AND github_run_id = $2 AND attempt = $3",
            )
            .bind(grant.repo.0)
            .bind(grant.run_id)
            .bind(i64::from(grant.attempt))
            .fetch_one(&mut *conn)
            .await?
        });
        if together.0 >= of_attempt.0 || together.1.saturating_add(bytes) > of_attempt.1 {
            return Ok(false);
        }
        Ok(on_db!(self, conn => {
            sqlx::query(
                "UPDATE upload_grants SET uploads = uploads + 1, bytes = bytes + $1
                 WHERE repo_id = $2 AND grant_id = $3 AND uploads < $4 AND bytes + $1 <= $5",
            )
            .bind(bytes)
            .bind(grant.repo.0)
            .bind(&grant.id)
            .bind(of_grant.0)
            .bind(of_grant.1)
            .execute(&mut *conn)
            .await?
            .rows_affected()
        }) == 1)
    }

    /// Deletes grants that ended before a time, and exchanged tokens that expired before `now`.
    pub async fn sweep_grants(&mut self, ended_before: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("DELETE FROM upload_grants WHERE expires_at < $1")
                .bind(ended_before.0)
                .execute(&mut *conn)
                .await?;
            sqlx::query("DELETE FROM used_job_tokens WHERE usable_until < $1")
                .bind(now.0)
                .execute(&mut *conn)
                .await?;
        });
        Ok(())
    }
}
