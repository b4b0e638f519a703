//! A pipeline's history as a CSV file: a row for each stage of each run. Every row is checked
//! and the first bad one is named by its line; nothing is guessed and no duration is made up
//! that the file does not hold. The file's bytes come from above; nothing here opens one.

mod row;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use csv::{ReaderBuilder, Trim};
use sha2::{Digest, Sha256};

use self::row::{COLUMNS, Columns, Row, broken, field, row, shortened};
use pacegate_engine::model::environment::RunnerClass;
use pacegate_engine::model::ids::{CommitSha, RepoName, RunId};
use pacegate_engine::model::run::{Lineage, MeasuredRun, PipelineRun, RunResult};
use pacegate_engine::model::stage::{StageKey, StageKind, StageSample};
use pacegate_engine::model::time::Timestamp;

/// Bounds on one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvLimits {
    /// Bytes of the whole file, which bound what all names together take.
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

/// The branch that a history is taken to be of.
pub const BRANCH: &str = "main";

/// Why a file is no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Nothing below the header, or no header.
    #[error("it holds no row; the first line names the columns: {COLUMNS}")]
    Empty,
    /// A column that has to be there is not.
    #[error("line 1: the column `{column}` is missing; the columns are {COLUMNS}")]
    MissingColumn {
        /// Which.
        column: &'static str,
    },
    /// A column is there twice.
    #[error("line 1: the column `{column}` is there twice")]
    RepeatedColumn {
        /// Which.
        column: &'static str,
    },
    /// A row that can't be used.
    #[error("line {line}: {what}")]
    Row {
        /// Its line in the file, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// More than is read.
    #[error("it holds more than {limit} {what}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
}

/// A run that is being collected: its beginning, and of each stage the line it was on.
struct Collected {
    run: MeasuredRun,
    line: u64,
    lines: HashMap<StageKey, u64>,
}

/// Reads a history, runs oldest first. A stage's name is its path as a policy writes it, parts
/// separated by ` / `; what holds it is the nearest such path that the file has rows of. A run
/// is green when each of its rows is (a skipped stage is no failure).
///
/// # Errors
/// [`CsvError`], to be shown after the file's name.
pub fn read(
    bytes: &[u8],
    repo: &RepoName,
    pipeline: &str,
    limits: CsvLimits,
) -> Result<Vec<MeasuredRun>, CsvError> {
    if bytes.len() > limits.bytes {
        return Err(CsvError::TooLarge { limit: limits.bytes, what: "bytes" });
    }
    // Spreadsheets put a mark before UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
    let columns = Columns::of(reader.headers().map_err(|e| broken(&e))?)?;
    let mut place: HashMap<String, usize> = HashMap::new();
    let mut stages: HashMap<StageKey, Option<StageKey>> = HashMap::new();
    let mut runs: Vec<Collected> = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(|e| broken(&e))?;
        if at >= limits.rows {
            return Err(CsvError::TooLarge { limit: limits.rows, what: "rows" });
        }
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |what: String| CsvError::Row { line, what };
        let name = field(&record, columns.run, "run", limits).map_err(wrong)?;
        let row = row(&record, &columns, limits).map_err(wrong)?;
        let key = StageKey::from_path(&row.path);
        stages.entry(key.clone()).or_default();
        if stages.len() > limits.stages {
            return Err(CsvError::TooLarge { limit: limits.stages, what: "different stages" });
        }
        let i = if let Some(i) = place.get(name) {
            *i
        } else {
            let run = new_run(name, repo, pipeline, row.started_at).map_err(wrong)?;
            runs.push(Collected { run, line, lines: HashMap::new() });
            place.insert(name.to_owned(), runs.len() - 1);
            runs.len() - 1
        };
        runs[i].add(key, row, line).map_err(wrong)?;
    }
    if runs.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut runs: Vec<MeasuredRun> = runs.into_iter().map(|collected| collected.run).collect();
    tie_to_holders(&mut runs, &mut stages);
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

/// The run's name where it is a commit as Git writes one, else 40 digits that belong to it alone.
fn commit(name: &str) -> Option<CommitSha> {
    let named = Some(name).filter(|name| name.len() <= 40).and_then(|name| name.parse().ok());
    named.or_else(|| hex::encode(&Sha256::digest(name.as_bytes())[..20]).parse().ok())
}

impl Collected {
    fn add(&mut self, key: StageKey, row: Row, line: u64) -> Result<(), String> {
        let run = &mut self.run.run;
        if run.started_at != row.started_at {
            return Err(format!(
                "`started_at` is {}, but {} in the run's first row on line {}",
                row.started_at, run.started_at, self.line
            ));
        }
        // Two rows may be a rerun, or a stage that ran in two places: to add them up would be a guess.
        if let Some(first) = self.lines.insert(key.clone(), line) {
            return Err(format!("the run has a row of this stage already, on line {first}"));
        }
        if run.result == RunResult::Success && row.result != RunResult::Skip {
            run.result = row.result;
        }
        // How long the whole run took the file does not say: at least as long as its longest stage.
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

/// Sets what holds each stage: the nearest path above it that is a stage in any run, so that a
/// stage has the same one in each.
fn tie_to_holders(runs: &mut [MeasuredRun], stages: &mut HashMap<StageKey, Option<StageKey>>) {
    let known: Vec<StageKey> = stages.keys().cloned().collect();
    let mut paths: HashMap<StageKey, Vec<String>> = HashMap::with_capacity(known.len());
    for sample in runs.iter().flat_map(|run| &run.stages) {
        if !paths.contains_key(&sample.key) {
            paths.insert(sample.key.clone(), sample.path.clone());
        }
    }
    for (key, path) in paths {
        let above = (1..path.len()).rev().map(|parts| StageKey::from_path(&path[..parts]));
        let holder = above.into_iter().find(|above| stages.contains_key(above));
        stages.insert(key, holder);
    }
    for sample in runs.iter_mut().flat_map(|run| &mut run.stages) {
        sample.parent = stages.get(&sample.key).cloned().flatten();
    }
}
