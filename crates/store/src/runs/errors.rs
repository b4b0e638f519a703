//! The errors of runs. Nothing is compared here.

use crate::{StoreError, Tx, on_db};
use pacegate_engine::model::ids::{RepoId, RunId};
use pacegate_engine::model::stage::{Frame, StageError, StageKey};

#[derive(sqlx::FromRow)]
struct Row {
    run_id: String,
    stage_key: String,
    path: String,
    signature: String,
    error_type: String,
    message: String,
    frame_path: Option<String>,
    frame_function: Option<String>,
    frame_line: Option<i64>,
}

impl Row {
    fn into_error(self) -> Result<(String, StageError), StoreError> {
        let path =
            serde_json::from_str(&self.path).map_err(|e| StoreError::unreadable("an error's path", e))?;
        // Rows of the first version have no frames.
        let frame = self.frame_path.map(|path| Frame {
            path,
            function: self.frame_function.unwrap_or_default(),
            line: self.frame_line.and_then(|line| u32::try_from(line).ok()),
        });
        Ok((
            self.run_id,
            StageError {
                stage: StageKey::from_stored(self.stage_key),
                path,
                signature: self.signature,
                error_type: self.error_type,
                message: self.message,
                frame,
            },
        ))
    }
}

impl Tx {
    /// Writes the errors of a run in place of earlier ones.
    pub async fn record_errors(
        &mut self,
        repo: RepoId,
        run: &RunId,
        errors: &[StageError],
    ) -> Result<(), StoreError> {
        on_db!(self, conn => {
            sqlx::query("DELETE FROM stage_errors WHERE repo_id = $1 AND run_id = $2")
                .bind(repo.0)
                .bind(&run.0)
                .execute(&mut *conn)
                .await?;
            for (ordinal, error) in (0_i64..).zip(errors) {
                let path =
                    serde_json::to_string(&error.path).map_err(|e| StoreError::unreadable("an error's path", e))?;
                sqlx::query(
                    "INSERT INTO stage_errors (repo_id, run_id, ordinal, stage_key, path, signature, error_type, message,
                        frame_path, frame_function, frame_line)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                )
                .bind(repo.0)
                .bind(&run.0)
                .bind(ordinal)
                .bind(error.stage.as_str())
                .bind(path)
                .bind(&error.signature)
                .bind(&error.error_type)
                .bind(&error.message)
                .bind(error.frame.as_ref().map(|frame| &frame.path))
                .bind(error.frame.as_ref().map(|frame| &frame.function))
                .bind(error.frame.as_ref().and_then(|frame| frame.line).map(i64::from))
                .execute(&mut *conn)
                .await?;
            }
        });
        Ok(())
    }

    /// The errors of a run in their order.
    pub async fn errors(&mut self, repo: RepoId, run: &RunId) -> Result<Vec<StageError>, StoreError> {
        let rows: Vec<Row> = on_db!(self, conn => {
            sqlx::query_as(
                "SELECT run_id, stage_key, path, signature, error_type, message, frame_path, frame_function, frame_line
                 FROM stage_errors
                 WHERE repo_id = $1 AND run_id = $2 ORDER BY ordinal",
            )
            .bind(repo.0)
            .bind(&run.0)
            .fetch_all(&mut *conn)
            .await?
        });
        rows.into_iter().map(|row| row.into_error().map(|(_, error)| error)).collect()
    }

    /// The errors of these runs, each with the identifier of its run.
    pub(super) async fn errors_of(
        &mut self,
        repo: RepoId,
        runs: &[&str],
    ) -> Result<Vec<(String, StageError)>, StoreError> {
        let rows: Vec<Row> = on_db!(self, conn => {
            let mut select = sqlx::QueryBuilder::new(
                "SELECT run_id, stage_key, path, signature, error_type, message, frame_path, frame_function, frame_line
                 FROM stage_errors WHERE repo_id = ",
            );
            select.push_bind(repo.0).push(" AND run_id IN (");
            let mut list = select.separated(", ");
            for run in runs {
                list.push_bind(*run);
            }
            select.push(") ORDER BY run_id, ordinal");
            select.build_query_as().fetch_all(&mut *conn).await?
        });
        rows.into_iter().map(Row::into_error).collect()
    }
}
