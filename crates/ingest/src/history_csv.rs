//! Reads a pipeline's history from CSV: one row for each stage of each run. Every row is checked, and
//! the error names the line of the first bad one. Missing durations are never estimated. Nothing
//! here opens a file.

mod row;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use csv::{ReaderBuilder, Trim};
use sha2::{Digest, Sha256};

use self::row::{COLUMNS, Columns, StageRow, csv_error, field, read_row, shortened};
use pacegate_engine::model::environment::RunnerClass;
use pacegate_engine::model::ids::{CommitSha, RepoName, RunId};
use pacegate_engine::model::run::{Lineage, MeasuredRun, PipelineRun, RunResult};
use pacegate_engine::model::stage::{StageKey, StageKind, StageSample};
use pacegate_engine::model::time::Timestamp;

/// Bounds on one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvLimits {
    /// Bytes of the whole file, and so of all names together.
    pub bytes: usize,
    /// Rows below the header.
    pub rows: usize,
    /// Different stages.
    pub stages: usize,
    /// Bytes of one name.
    pub name_bytes: usize,
}

impl Default for CsvLimits {
    fn default() -> Self {
        Self { bytes: 64 << 20, rows: 1_000_000, stages: 5_000, name_bytes: 500 }
    }
}

/// The branch that all runs of a history are assigned to.
pub const BRANCH: &str = "main";

/// Why a history can't be read. Each text is meant to follow the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the error texts document the variants")]
pub enum CsvError {
    #[error("it holds no row; the first line names the columns: {COLUMNS}")]
    Empty,
    #[error("line 1: the column `{column}` is missing; the columns are {COLUMNS}")]
    MissingColumn { column: &'static str },
    #[error("line 1: the column `{column}` is there twice")]
    RepeatedColumn { column: &'static str },
    /// `line` is counted from 1.
    #[error("line {line}: {reason}")]
    Row { line: u64, reason: String },
    #[error("it holds more than {limit} {unit}")]
    TooLarge { limit: usize, unit: &'static str },
}

/// A run whose rows are being read.
struct RunBuilder {
    run: MeasuredRun,
    /// The line of the run's first row.
    line: u64,
    /// The line of each stage's row.
    stage_lines: HashMap<StageKey, u64>,
}

/// Reads a history, oldest run first. A stage's name is its path in the notation of a policy, with
/// parts separated by ` / `. A stage's parent is the nearest path above it that has rows in the
/// file. A run succeeds when none of its rows failed; a skipped stage is not a failure.
///
/// # Errors
/// [`CsvError`].
pub fn read(
    bytes: &[u8],
    repo: &RepoName,
    pipeline: &str,
    limits: CsvLimits,
) -> Result<Vec<MeasuredRun>, CsvError> {
    if bytes.len() > limits.bytes {
        return Err(CsvError::TooLarge { limit: limits.bytes, unit: "bytes" });
    }
    // Spreadsheets write a byte order mark before UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let columns = Columns::of(reader.headers().map_err(|e| csv_error(&e))?)?;
    let mut index_of_run: HashMap<String, usize> = HashMap::new();
    let mut parents: HashMap<StageKey, Option<StageKey>> = HashMap::new();
    let mut runs: Vec<RunBuilder> = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(|e| csv_error(&e))?;
        if at >= limits.rows {
            return Err(CsvError::TooLarge { limit: limits.rows, unit: "rows" });
        }
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |reason: String| CsvError::Row { line, reason };
        let name = field(&record, columns.run, "run", limits).map_err(wrong)?;
        let row = read_row(&record, &columns, limits).map_err(wrong)?;
        let key = StageKey::from_path(&row.path);
        parents.entry(key.clone()).or_default();
        if parents.len() > limits.stages {
            return Err(CsvError::TooLarge { limit: limits.stages, unit: "different stages" });
        }
        let i = if let Some(i) = index_of_run.get(name) {
            *i
        } else {
            let run = new_run(name, repo, pipeline, row.started_at).map_err(wrong)?;
            runs.push(RunBuilder { run, line, stage_lines: HashMap::new() });
            index_of_run.insert(name.to_owned(), runs.len() - 1);
            runs.len() - 1
        };
        runs[i].add(key, row, line).map_err(wrong)?;
    }
    if runs.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut runs: Vec<MeasuredRun> = runs.into_iter().map(|builder| builder.run).collect();
    set_parents(&mut runs, &mut parents);
    runs.sort_by(|a, b| (a.run.started_at, &a.run.id).cmp(&(b.run.started_at, &b.run.id)));
    Ok(runs)
}

fn new_run(
    name: &str,
    repo: &RepoName,
    pipeline: &str,
    started_at: Timestamp,
) -> Result<MeasuredRun, String> {
    let run = PipelineRun {
        id: RunId(name.to_owned()),
        repo: repo.clone(),
        pipeline: pipeline.to_owned(),
        external_id: None,
        trace_id: None,
        attempt: 1,
        head_sha: commit(name).ok_or_else(|| format!("the run `{}` has no commit", shortened(name)))?,
        lineage: Lineage::Branch { name: BRANCH.to_owned() },
        result: RunResult::Success,
        runner: RunnerClass::default(),
        started_at,
        duration_ns: 0,
        workflow_path: None,
        notes: Vec::new(),
    };
    Ok(MeasuredRun { run, stages: Vec::new(), errors: Vec::new() })
}

/// The run's name if it is a commit as Git writes it, else 40 digits of the name's SHA-256.
fn commit(name: &str) -> Option<CommitSha> {
    let named = Some(name).filter(|name| name.len() <= 40).and_then(|name| name.parse().ok());
    named.or_else(|| hex::encode(&Sha256::digest(name.as_bytes())[..20]).parse().ok())
}

impl RunBuilder {
    fn add(&mut self, key: StageKey, row: StageRow, line: u64) -> Result<(), String> {
        let run = &mut self.run.run;
        if run.started_at != row.started_at {
            return Err(format!(
                "`started_at` is {}, but {} in the run's first row on line {}",
                row.started_at, run.started_at, self.line
            ));
        }
        // Two rows can be a rerun or a stage that ran twice: adding them up would be a guess.
        if let Some(first) = self.stage_lines.insert(key.clone(), line) {
            return Err(format!("the run has a row of this stage already, on line {first}"));
        }
        if run.result == RunResult::Success && row.result != RunResult::Skip {
            run.result = row.result;
        }
        // The file has no duration of the whole run. It is at least that of the longest stage.
        run.duration_ns = run.duration_ns.max(row.duration_ns);
        self.run.stages.push(StageSample {
            key,
            parent: None,
            path: row.path,
            duration_ns: row.duration_ns,
            count: 1,
            start_offset_ns: 0,
            end_offset_ns: row.duration_ns,
            result: row.result,
            asynchronous: false,
            kind: StageKind::Work,
            cache: row.cache,
        });
        Ok(())
    }
}

/// Sets the parent of each stage: the nearest path above it that is a stage in any run. A stage so
/// has the same parent in every run.
fn set_parents(runs: &mut [MeasuredRun], parents: &mut HashMap<StageKey, Option<StageKey>>) {
    let mut paths: HashMap<StageKey, Vec<String>> = HashMap::with_capacity(parents.len());
    for sample in runs.iter().flat_map(|run| &run.stages) {
        if !paths.contains_key(&sample.key) {
            paths.insert(sample.key.clone(), sample.path.clone());
        }
    }
    for (key, path) in paths {
        let above = (1..path.len()).rev().map(|parts| StageKey::from_path(&path[..parts]));
        let parent = above.into_iter().find(|above| parents.contains_key(above));
        parents.insert(key, parent);
    }
    for sample in runs.iter_mut().flat_map(|run| &mut run.stages) {
        sample.parent = parents.get(&sample.key).cloned().flatten();
    }
}
