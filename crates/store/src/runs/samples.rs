//! Stage samples. A stage's key and path are stored once in a repository. A sample refers to them
//! by a number that is derived from the key.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{RepoId, RepoName, RunId};
use pacegate_engine::model::run::{MeasuredRun, RunResult};
use pacegate_engine::model::stage::{CacheState, StageKey, StageKind, StageSample};

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
    stage_id: i64,
    duration_ns: i64,
    count: i64,
    start_offset_ns: i64,
    end_offset_ns: i64,
    result: String,
    asynchronous: i64,
    kind: Option<String>,
    cache: Option<String>,
}

/// The stage of samples.
struct Stage {
    key: StageKey,
    parent: Option<StageKey>,
    path: Vec<String>,
}

impl Row {
    fn into_sample(self, stage: &Stage) -> Result<StageSample, StoreError> {
        Ok(StageSample {
            key: stage.key.clone(),
            parent: stage.parent.clone(),
            path: stage.path.clone(),
            duration_ns: self.duration_ns,
            count: u32::try_from(self.count).unwrap_or(u32::MAX),
            start_offset_ns: self.start_offset_ns,
            end_offset_ns: self.end_offset_ns,
            result: RunResult::parse(&self.result)
                .ok_or_else(|| StoreError::unreadable("a stage's result", self.result))?,
            asynchronous: self.asynchronous != 0,
            kind: read_value(self.kind, "a stage's kind", StageKind::parse)?.unwrap_or_default(),
            cache: read_value(self.cache, "a stage's cache", CacheState::parse)?,
        })
    }
}

/// A value that may be absent, but not unknown.
fn read_value<T>(
    value: Option<String>,
    what: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    value.map(|value| parse(&value).ok_or_else(|| StoreError::unreadable(what, value))).transpose()
}

impl Tx {
    /// Writes the samples of a run in place of earlier ones.
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
        // Sorted across all chunks, so that concurrent transactions lock the stages in one order.
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
                        end_offset_ns, result, asynchronous, kind, cache) ",
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
                        .push_bind(i64::from(sample.asynchronous))
                        .push_bind((sample.kind != StageKind::Work).then(|| sample.kind.as_str()))
                        .push_bind(sample.cache.map(CacheState::as_str));
                });
                insert.push(" ON CONFLICT (repo_id, run_id, stage_id) DO NOTHING");
                insert.build().execute(&mut *conn).await?;
            }
        });
        Ok(())
    }

    /// The samples of a run in the order of their start.
    pub async fn samples(&mut self, repo: RepoId, run: &RunId) -> Result<Vec<StageSample>, StoreError> {
        let rows = self.sample_rows(repo, &[run.0.as_str()]).await?;
        let stages = self.stages(repo, &rows).await?;
        rows.into_iter()
            .filter_map(|row| stages.get(&row.stage_id).map(|stage| row.into_sample(stage)))
            .collect()
    }

    /// Runs, newest first, with everything measured in them. A query reads the samples of up to 500
    /// runs, selected by their identifiers and not by their times.
    pub async fn measured_runs(
        &mut self,
        repo: RepoId,
        name: &RepoName,
        filter: &crate::RunFilter,
        limit: i64,
    ) -> Result<Vec<MeasuredRun>, StoreError> {
        let runs = self.list_runs(repo, name, filter, limit).await?;
        let mut measured: Vec<MeasuredRun> = runs
            .into_iter()
            .map(|stored| MeasuredRun { run: stored.run, stages: Vec::new(), errors: Vec::new() })
            .collect();
        let place: HashMap<String, usize> =
            measured.iter().enumerate().map(|(i, m)| (m.run.id.0.clone(), i)).collect();
        let ids: Vec<&str> = place.keys().map(String::as_str).collect();
        let mut rows = Vec::new();
        for ids in ids.chunks(CHUNK) {
            rows.extend(self.sample_rows(repo, ids).await?);
        }
        let stages = self.stages(repo, &rows).await?;
        for row in rows {
            if let (Some(at), Some(stage)) = (place.get(&row.run_id), stages.get(&row.stage_id)) {
                measured[*at].stages.push(row.into_sample(stage)?);
            }
        }
        for ids in ids.chunks(CHUNK) {
            for (run_id, error) in self.errors_of(repo, ids).await? {
                if let Some(at) = place.get(&run_id) {
                    measured[*at].errors.push(error);
                }
            }
        }
        Ok(measured)
    }

    async fn sample_rows(&mut self, repo: RepoId, runs: &[&str]) -> Result<Vec<Row>, StoreError> {
        Ok(on_db!(self, conn => {
            let mut select = sqlx::QueryBuilder::new(
                "SELECT run_id, stage_id, duration_ns, count, start_offset_ns, end_offset_ns, result, asynchronous,
                    kind, cache
                 FROM samples WHERE repo_id = ",
            );
            select.push_bind(repo.0).push(" AND run_id IN (");
            let mut list = select.separated(", ");
            for run in runs {
                list.push_bind(*run);
            }
            select.push(") ORDER BY run_id, start_offset_ns, end_offset_ns DESC, stage_id");
            select.build_query_as().fetch_all(&mut *conn).await?
        }))
    }

    /// The stages of these samples by number. Each is read and parsed once.
    async fn stages(&mut self, repo: RepoId, rows: &[Row]) -> Result<HashMap<i64, Stage>, StoreError> {
        let ids: BTreeSet<i64> = rows.iter().map(|row| row.stage_id).collect();
        let ids: Vec<i64> = ids.into_iter().collect();
        let mut stages = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(CHUNK) {
            let found: Vec<(i64, String, Option<String>, String)> = on_db!(self, conn => {
                let mut select = sqlx::QueryBuilder::new(
                    "SELECT g.stage_id, g.stage_key, p.stage_key AS parent_key, g.path FROM stages g
                     LEFT JOIN stages p ON p.repo_id = g.repo_id AND p.stage_id = g.parent_id
                     WHERE g.repo_id = ",
                );
                select.push_bind(repo.0).push(" AND g.stage_id IN (");
                let mut list = select.separated(", ");
                for id in ids {
                    list.push_bind(*id);
                }
                select.push(")");
                select.build_query_as().fetch_all(&mut *conn).await?
            });
            for (id, key, parent, path) in found {
                let path =
                    serde_json::from_str(&path).map_err(|e| StoreError::unreadable("a stage's path", e))?;
                let (key, parent) = (StageKey::from_stored(key), parent.map(StageKey::from_stored));
                stages.insert(id, Stage { key, parent, path });
            }
        }
        Ok(stages)
    }
}
