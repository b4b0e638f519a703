//! Stage samples. A stage's key and path are kept once a repository; a sample refers to them
//! by a number derived from the key.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{StoreError, Tx, on_db};
use crate::model::ids::{RepoId, RepoName, RunId};
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{StageKey, StageSample};

/// Rows of a bulk insert: SQLite allows 32,766 parameters, PostgreSQL 65,535.
const CHUNK: usize = 500;

/// The number of a stage within its repository: the first 8 bytes of SHA-256 of its key.
fn stage_id(key: &StageKey) -> i64 {
    let digest = Sha256::digest(key.as_str().as_bytes());
    i64::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ])
}

#[derive(sqlx::FromRow)]
struct Row {
    run_id: String,
    stage_key: String,
    parent_key: Option<String>,
    path: String,
    duration_ns: i64,
    count: i64,
    start_offset_ns: i64,
    end_offset_ns: i64,
    result: String,
    asynchronous: i64,
}

impl Row {
    fn into_sample(self) -> Result<StageSample, StoreError> {
        Ok(StageSample {
            key: StageKey::from_stored(self.stage_key),
            parent: self.parent_key.map(StageKey::from_stored),
            path: serde_json::from_str(&self.path)
                .map_err(|e| StoreError::unreadable("a stage's path", e))?,
            duration_ns: self.duration_ns,
            count: u32::try_from(self.count).unwrap_or(u32::MAX),
            start_offset_ns: self.start_offset_ns,
            end_offset_ns: self.end_offset_ns,
            result: RunResult::parse(&self.result)
                .ok_or_else(|| StoreError::unreadable("a stage's result", self.result))?,
            asynchronous: self.asynchronous != 0,
        })
    }
}

impl Tx {
    /// Writes the samples of a run in place of those it had.
    pub async fn record_samples(
        &mut self,
        repo: RepoId,
        run: &RunId,
        samples: &[StageSample],
    ) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(samples.len());
        for sample in samples {
            let path = serde_json::to_string(&sample.path)
                .map_err(|e| StoreError::unreadable("a stage's path", e))?;
            rows.push((stage_id(&sample.key), sample, path));
        }
        // All of them, not each chunk: two runs stored at once lock the stages in one order.
        rows.sort_by_key(|(id, _, _)| *id);
        on_db!(self, conn => {
            sqlx::query("DELETE FROM samples WHERE repo_id = $1 AND run_id = $2")
                .bind(repo.0)
                .bind(&run.0)
                .execute(&mut *conn)
                .await?;
            for rows in rows.chunks(CHUNK) {
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO stages (repo_id, stage_id, stage_key, parent_id, path) ",
                );
                insert.push_values(rows, |mut row, (id, sample, path)| {
                    row.push_bind(repo.0)
                        .push_bind(*id)
                        .push_bind(sample.key.as_str())
                        .push_bind(sample.parent.as_ref().map(stage_id))
                        .push_bind(path.as_str());
                });
                insert.push(" ON CONFLICT (repo_id, stage_id) DO NOTHING");
                insert.build().execute(&mut *conn).await?;
                let mut insert = sqlx::QueryBuilder::new(
                    "INSERT INTO samples (repo_id, run_id, stage_id, duration_ns, count, start_offset_ns,
                        end_offset_ns, result, asynchronous) ",
                );
                insert.push_values(rows, |mut row, (id, sample, _)| {
                    row.push_bind(repo.0)
                        .push_bind(run.0.as_str())
                        .push_bind(*id)
                        .push_bind(sample.duration_ns)
                        .push_bind(i64::from(sample.count))
                        .push_bind(sample.start_offset_ns)
                        .push_bind(sample.end_offset_ns)
                        .push_bind(sample.result.as_str())
                        .push_bind(i64::from(sample.asynchronous));
                });
                insert.push(" ON CONFLICT (repo_id, run_id, stage_id) DO NOTHING");
                insert.build().execute(&mut *conn).await?;
            }
        });
        Ok(())
    }

    /// The samples of one run.
    pub async fn samples(&mut self, repo: RepoId, run: &RunId) -> Result<Vec<StageSample>, StoreError> {
        let rows: Vec<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT s.run_id, g.stage_key, p.stage_key AS parent_key, g.path, s.duration_ns, s.count,
                    s.start_offset_ns, s.end_offset_ns, s.result, s.asynchronous
                 FROM samples s
                 JOIN stages g ON g.repo_id = s.repo_id AND g.stage_id = s.stage_id
                 LEFT JOIN stages p ON p.repo_id = g.repo_id AND p.stage_id = g.parent_id
                 WHERE s.repo_id = $1 AND s.run_id = $2
                 ORDER BY s.start_offset_ns, s.end_offset_ns DESC, s.stage_id",
            )
            .bind(repo.0)
            .bind(&run.0)
            .fetch_all(&mut *conn)
            .await?
        });
        rows.into_iter().map(Row::into_sample).collect()
    }

    /// The newest runs of a pipeline that began at or before a time, newest first, with
    /// everything measured in them: three queries, however many runs.
    pub async fn measured_runs(
        &mut self,
        repo: RepoId,
        name: &RepoName,
        filter: &super::RunFilter,
        limit: i64,
    ) -> Result<Vec<MeasuredRun>, StoreError> {
        let runs = self.list_runs(repo, name, filter, limit).await?;
        let (Some(newest), Some(oldest)) =
            (runs.iter().map(|r| r.run.started_at).max(), runs.iter().map(|r| r.run.started_at).min())
        else {
            return Ok(Vec::new());
        };
        let mut place: HashMap<String, usize> =
            runs.iter().enumerate().map(|(i, r)| (r.run.id.0.clone(), i)).collect();
        let mut measured: Vec<MeasuredRun> = runs
            .into_iter()
            .map(|stored| MeasuredRun { run: stored.run, stages: Vec::new(), errors: Vec::new() })
            .collect();
        let rows: Vec<Row> = on_db!(self, conn => {
            // A span of time may hold runs that the filter left out: they are passed over below.
            sqlx::query_as(
                "SELECT s.run_id, g.stage_key, p.stage_key AS parent_key, g.path, s.duration_ns, s.count,
                    s.start_offset_ns, s.end_offset_ns, s.result, s.asynchronous
                 FROM runs r
                 JOIN samples s ON s.repo_id = r.repo_id AND s.run_id = r.run_id
                 JOIN stages g ON g.repo_id = s.repo_id AND g.stage_id = s.stage_id
                 LEFT JOIN stages p ON p.repo_id = g.repo_id AND p.stage_id = g.parent_id
                 WHERE r.repo_id = $1 AND r.started_at BETWEEN $2 AND $3
                 ORDER BY s.run_id, s.start_offset_ns, s.end_offset_ns DESC, s.stage_id",
            )
            .bind(repo.0)
            .bind(oldest.0)
            .bind(newest.0)
            .fetch_all(&mut *conn)
            .await?
        });
        for row in rows {
            if let Some(at) = place.get(&row.run_id) {
                measured[*at].stages.push(row.into_sample()?);
            }
        }
        for (run_id, error) in self.errors_between(repo, oldest, newest).await? {
            if let Some(at) = place.get_mut(&run_id) {
                measured[*at].errors.push(error);
            }
        }
        Ok(measured)
    }
}
