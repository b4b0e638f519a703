//! `pacegate replay`: runs the gate on a pipeline's history, from a file or from the service's
//! database. For teams that decide whether to switch gating on. Writes nothing to the database.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use super::input::{bytes_of, policy};
use super::output::print;
use super::{CliError, database, within_runtime};
use crate::config::StoreArgs;
use pacegate_engine::gate::replay::summary::Replay;
use pacegate_engine::gate::replay::{Plan, Settings};
use pacegate_engine::model::ids::{RepoId, RepoName};
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::MeasuredRun;
use pacegate_engine::model::time::Timestamp;
use pacegate_ingest::history_csv::{BRANCH, CsvLimits, read};
use pacegate_report::replay::json::ReplayJson;
use pacegate_report::replay::text;
use pacegate_store::{Db, RepositoryRow, RunFilter, Tx};

/// Newest runs of a pipeline that are read from the database.
const MAX_RUNS: i64 = 5_000;

const FILE_HELP: &str = "History: a CSV file with the columns run, started_at, stage, duration_s and, if you have \
                         them, result, runner, cache; a row for each stage of each run";

/// Arguments of `replay`.
#[derive(Debug, Clone, Args)]
pub(super) struct ReplayArgs {
    #[arg(value_name = "FILE.csv", required_unless_present = "repo", conflicts_with = "repo", help = FILE_HELP)]
    file: Option<PathBuf>,
    /// Replays a repository's base branch from the service's database
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Option<RepoName>,
    #[command(flatten)]
    store: StoreArgs,
    /// Branch that is replayed, where GitHub did not name it [default: main or master]
    // No `requires`: a variable that is set for the service must not refuse a file.
    #[arg(long, env = "PACEGATE_BASE_BRANCH")]
    base_branch: Option<String>,
    /// Pipeline that is replayed [default: each, the one with the most runs first]
    #[arg(long, value_name = "NAME", requires = "repo")]
    pipeline: Option<String>,
    /// Policy file, as in .github/pacegate.yml
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Runs in a row that form one simulated pull request
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    commits: u16,
    /// Chooses the stages that are slowed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// At most this number of pull requests, spread evenly over the history
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Form of the output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Exit with 3 when there is too little history
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Sentences and tables
    Text,
    /// The replay as JSON
    Json,
}

/// `pacegate replay`. Exit code 0, or 3 with `--strict` when the history is too short.
pub(super) fn replay(args: &ReplayArgs) -> Result<ExitCode, CliError> {
    let policy = policy(args.policy.as_deref())?;
    let settings = Settings {
        commits: usize::from(args.commits),
        seed: args.seed,
        limit: usize::try_from(args.limit).unwrap_or(usize::MAX),
    };
    let replays = match (&args.file, &args.repo) {
        (Some(file), _) => vec![of_file(file, &policy, settings)?],
        (None, Some(repo)) => within_runtime(of_repository(args, repo, &policy, settings))?,
        (None, None) => Vec::new(), // the argument parser requires one of them
    };
    match args.format {
        Format::Json => {
            if let Some(json) = ReplayJson::of(&replays) {
                print(&json.to_text().map_err(|e| CliError::Input(e.to_string()))?);
            }
        }
        Format::Text => {
            let texts: Vec<String> =
                replays.iter().map(|(pipeline, replay)| text(pipeline, replay)).collect();
            print(&texts.join("\n\n"));
        }
    }
    let is_too_short = replays.iter().all(|(_, replay)| replay.replayed == 0);
    Ok(ExitCode::from(if args.strict && is_too_short { 3 } else { 0 }))
}

fn of_file(file: &Path, policy: &GatePolicy, settings: Settings) -> Result<(String, Replay), CliError> {
    let limits = CsvLimits::default();
    let bytes = bytes_of(file, limits.bytes as u64)?;
    let repo = "local/history".parse().map_err(|e| CliError::Input(format!("{e}")))?;
    let pipeline = file.file_stem().map_or("history".into(), |name| name.to_string_lossy().into_owned());
    let unreadable = |e| CliError::Input(format!("{}: {e}", file.display()));
    let runs = read(&bytes, &repo, &pipeline, limits).map_err(unreadable)?;
    drop(bytes);
    let replay = play(&Plan::new(runs, Some(BRANCH), policy, settings), &pipeline);
    Ok((pipeline, replay))
}

/// Each pipeline of the repository's base branch; the pipeline with the most runs comes first.
async fn of_repository(
    args: &ReplayArgs,
    repo: &RepoName,
    policy: &GatePolicy,
    settings: Settings,
) -> Result<Vec<(String, Replay)>, CliError> {
    let url = database(&args.store)?;
    let db = Db::connect(&url, 2).await?;
    db.migrate().await?;
    let mut tx = db.read().await?;
    let known = tx.find_repository(repo).await?.ok_or_else(|| {
        CliError::Input(format!("{repo} is not known here; is PACEGATE_DATABASE_URL the service's database?"))
    })?;
    let base_branch = known.default_branch.clone().or_else(|| args.base_branch.clone());
    let branches = base_branch.as_deref().map_or(vec!["main", "master"], |branch| vec![branch]);
    let pipelines = pipelines(&mut tx, known.id, &branches, args.pipeline.as_deref()).await?;
    drop(tx);
    if pipelines.is_empty() {
        let what = args.pipeline.as_ref().map_or(String::new(), |name| format!(" of the pipeline `{name}`"));
        let wanted = branches.join(" or ");
        return Err(CliError::Input(format!(
            "{repo} has no run{what} on {wanted}; --base-branch names another branch"
        )));
    }
    let mut replays = Vec::with_capacity(pipelines.len());
    for pipeline in pipelines {
        let mut tx = db.read().await?;
        let runs = history(&mut tx, &known, &pipeline, &branches).await?;
        drop(tx); // a replay takes long
        let plan = Plan::new(runs, base_branch.as_deref(), policy, settings);
        let replay = tokio::task::block_in_place(|| play(&plan, &pipeline));
        replays.push((pipeline, replay));
    }
    db.close().await;
    Ok(replays)
}

async fn pipelines(
    tx: &mut Tx,
    repo: RepoId,
    branches: &[&str],
    wanted: Option<&str>,
) -> Result<Vec<String>, CliError> {
    let mut pipelines: Vec<(String, i64)> = Vec::new();
    for branch in branches {
        for (name, runs) in tx.pipelines_of_branch(repo, branch).await? {
            match pipelines.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => *all += runs,
                None => pipelines.push((name, runs)),
            }
        }
    }
    pipelines.retain(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
    pipelines.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    Ok(pipelines.into_iter().map(|(name, _)| name).collect())
}

async fn history(
    tx: &mut Tx,
    repository: &RepositoryRow,
    pipeline: &str,
    branches: &[&str],
) -> Result<Vec<MeasuredRun>, CliError> {
    let mut runs = Vec::new();
    for branch in branches {
        let filter = RunFilter::Branch(pipeline.to_owned(), Timestamp(i64::MAX), (*branch).to_owned());
        runs.extend(tx.measured_runs(repository.id, &repository.name, &filter, MAX_RUNS).await?);
    }
    Ok(runs)
}

/// All of a plan's pull requests, on all cores; the result does not depend on their order.
fn play(plan: &Plan, pipeline: &str) -> Replay {
    let positions = plan.positions();
    let outlook = plan.outlook();
    let stages = outlook.as_ref().map_or(0, pacegate_engine::gate::replay::outlook::Outlook::stages);
    let bar = progress_bar(positions.len() + stages, pipeline);
    let trials: Vec<_> = positions
        .par_iter()
        .map(|position| {
            let trial = plan.trial(*position);
            bar.inc(1);
            trial
        })
        .collect();
    let stages = (0..stages)
        .into_par_iter()
        .filter_map(|place| {
            let stage = outlook.as_ref()?.stage(place);
            bar.inc(1);
            stage
        })
        .collect();
    bar.finish_and_clear();
    plan.summary(&trials, stages)
}

/// Hidden unless stderr is a terminal.
fn progress_bar(steps: usize, pipeline: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent}%, {eta} left") {
        bar.set_style(style);
    }
    // A pipeline's name may hold control sequences of a terminal.
    let name: String = pipeline.chars().filter(|c| !c.is_control()).take(30).collect();
    bar.set_message(format!("Replaying {name}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
