//! `pacegate compare`: runs the gate on files. It decodes, measures, judges and reports as the service
//! does, without a server, a store and GitHub.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::CliError;
use super::input::{bytes_of, policy};
use super::output::{print, print_diagnostic, wants_colour};
use crate::tasks::error_chain;
use pacegate_engine::gate::baseline::Baseline;
use pacegate_engine::gate::duration_model::fit;
use pacegate_engine::gate::measure::identity::RunIdentity;
use pacegate_engine::gate::measure::{Provenance, measure};
use pacegate_engine::gate::verdict::{aggregate, compare};
use pacegate_engine::model::comparison::{RunComparison, RunVerdict};
use pacegate_engine::model::ids::{CommitSha, RepoName, RunId, TraceId};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::MeasuredRun;
use pacegate_engine::model::span::Span;
use pacegate_engine::model::split::split_by_root;
use pacegate_engine::model::time::Timestamp;
use pacegate_engine::model::trace::Trace;
use pacegate_ingest::Limits;
use pacegate_ingest::file::read;
use pacegate_ingest::redact::redact;
use pacegate_report::json::VerdictJson;
use pacegate_report::number_format::counted;
use pacegate_report::terminal::Colour;
use pacegate_report::{Report, ReportContext};

/// Limits for the user's own files: larger than for a request.
const LIMITS: Limits = Limits { spans: 2_000_000, values: 20_000_000 };
const FILE_BYTES: u64 = 512 << 20;

/// Arguments of `compare`.
#[derive(Debug, Clone, Args)]
pub(super) struct CompareArgs {
    /// Files or folders with the traces of past runs; each root span is one run
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    baseline: Vec<PathBuf>,
    /// Files or folders with the traces of the change; each root span is one run
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    candidate: Vec<PathBuf>,
    /// Policy file, as in .github/pacegate.yml
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Form of the output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Exit with 3 when there is too little data for a verdict
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for a terminal
    Text,
    /// The comment that would be posted
    Markdown,
    /// The verdict as JSON
    Json,
}

/// `pacegate compare`. Exit code 0 for pass, suspect and improved, 1 for regressed, 3 for inconclusive
/// with `--strict`.
pub(super) fn compare(args: &CompareArgs) -> Result<ExitCode, CliError> {
    let policy = policy(args.policy.as_deref())?;
    let mut seen = HashSet::new();
    // The candidate goes first: a run of the change must not be in its own baseline, even if both
    // sides name its file.
    let candidate = without_repeats(measured(&args.candidate)?, &mut seen, "candidate");
    let baseline = without_repeats(measured(&args.baseline)?, &mut seen, "baseline");
    let comparison = judge(baseline, candidate, &policy)
        .ok_or_else(|| CliError::Input("the candidate holds no run: its files have no root span".into()))?;
    let verdict = comparison.verdict;
    match args.format {
        Format::Json => {
            let json =
                VerdictJson::from(&comparison).to_text().map_err(|e| CliError::Input(e.to_string()))?;
            print(&json);
        }
        Format::Markdown => print(&report(comparison, &policy).comment_body()),
        Format::Text => {
            let colour = if wants_colour() { Colour::Always } else { Colour::Never };
            print(&report(comparison, &policy).terminal(colour));
        }
    }
    Ok(ExitCode::from(match verdict {
        RunVerdict::Regressed => 1,
        RunVerdict::Inconclusive if args.strict => 3,
        _ => 0,
    }))
}

fn report(comparison: RunComparison, policy: &GatePolicy) -> Report {
    let context =
        ReportContext { mode: policy.mode(), comment: policy.comment(), ..ReportContext::default() };
    Report::new(comparison, context)
}

/// Drops repeated traces with a warning: a trace that is given twice is one sample.
fn without_repeats(
    runs: Vec<MeasuredRun>,
    seen: &mut HashSet<(TraceId, Timestamp)>,
    side: &str,
) -> Vec<MeasuredRun> {
    let before = runs.len();
    let kept: Vec<MeasuredRun> = runs
        .into_iter()
        .filter(|m| m.run.trace_id.is_none_or(|id| seen.insert((id, m.run.started_at))))
        .collect();
    if kept.len() < before {
        print_diagnostic(&format!(
            "{} of the {side} repeat an earlier one, here or among the candidate's: each counts once",
            counted(before - kept.len(), "run")
        ));
    }
    kept
}

/// Compares each pipeline of the candidate with the baseline's runs of the same pipeline.
fn judge(
    baseline: Vec<MeasuredRun>,
    candidate: Vec<MeasuredRun>,
    policy: &GatePolicy,
) -> Option<RunComparison> {
    let mut history = by_pipeline(baseline);
    let comparisons = by_pipeline(candidate)
        .into_iter()
        .filter_map(|(pipeline, runs)| {
            let others: Vec<String> = history.keys().filter(|name| **name != pipeline).cloned().collect();
            let past = history.remove(&pipeline).unwrap_or_default();
            let is_new = past.is_empty();
            let fitted = fit::fit(&Baseline::of_files(past), policy);
            let repo = runs.last()?.run.repo.clone();
            let mut comparison = compare::compare(&fitted, &runs, &repo, policy)?;
            if is_new {
                comparison.notes.push(Note::PipelineNotInBaseline { pipeline, others });
            }
            Some(comparison)
        })
        .collect();
    aggregate::aggregate(comparisons)
}

/// Runs by pipeline, oldest first.
fn by_pipeline(mut runs: Vec<MeasuredRun>) -> BTreeMap<String, Vec<MeasuredRun>> {
    runs.sort_by_key(|measured| measured.run.started_at);
    let mut groups: BTreeMap<String, Vec<MeasuredRun>> = BTreeMap::new();
    for measured in runs {
        groups.entry(measured.run.pipeline.clone()).or_default().push(measured);
    }
    groups
}

/// Every run in these files and folders.
fn measured(paths: &[PathBuf]) -> Result<Vec<MeasuredRun>, CliError> {
    let mut runs = Vec::new();
    for file in files(paths)? {
        let decoded = read(&bytes_of(&file, FILE_BYTES)?, LIMITS)
            .map_err(|e| CliError::Input(format!("{}: {}", file.display(), error_chain(&e))))?;
        if let Some(message) = decoded.rejected.message() {
            print_diagnostic(&format!("{}: {message}", file.display()));
        }
        let mut spans = decoded.spans;
        // The output often ends in a log that others read.
        redact(&mut spans);
        let groups = split_by_root(spans);
        runs.extend(groups.into_iter().enumerate().filter_map(|(i, spans)| measured_run(&file, i, spans)));
    }
    Ok(runs)
}

fn measured_run(file: &Path, index: usize, spans: Vec<Span>) -> Option<MeasuredRun> {
    let trace = Trace::build(spans)?;
    let identity = RunIdentity::of(&trace);
    let repo = identity.repo_claim.as_deref().and_then(|claim| claim.parse::<RepoName>().ok());
    let provenance = Provenance {
        id: RunId(format!("{}#{index}", file.display())),
        repo: repo.or_else(|| "local/files".parse().ok())?,
        // Git's null commit id.
        head_sha: identity.head_sha.clone().or_else(|| "0".repeat(40).parse::<CommitSha>().ok())?,
        lineage: identity.lineage(),
    };
    Some(measure(trace, identity, provenance))
}

/// The given files, and the files directly in a given folder, sorted by name.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |e: std::io::Error| CliError::Input(format!("{}: {e}", path.display()));
        if path.is_dir() {
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?.path();
                if entry.is_file() {
                    inside.push(entry);
                }
            }
            if inside.is_empty() {
                return Err(CliError::Input(format!("{}: the folder holds no file", path.display())));
            }
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}
