//! `pacegate import`: reads the history of a repository's workflows into its baseline. Uses the App's
//! credentials, or a person's token to try it on a repository.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::{ExposeSecret, SecretString};

use super::credentials::credentials;
use super::output::{print, print_diagnostic};
use super::serve::open_context;
use super::{CliError, database};
use crate::config::{GitHubArgs, StoreArgs, WorkArgs};
use crate::tasks::backfill::{Reserve, Then, discover, read_page};
use crate::tasks::{TaskError, WorkerContext, error_chain};
use pacegate_clock::{Clock, Randomness};
use pacegate_engine::model::ids::RepoName;
use pacegate_github::RepoClient;
use pacegate_github::app_auth::Purpose;
use pacegate_store::{BackfillRow, RepositoryRow};

/// Shorter waits are not reported.
const REPORTED_WAIT: Duration = Duration::from_secs(10);

/// Arguments of `import`.
#[derive(Debug, Clone, Args)]
pub(super) struct ImportArgs {
    /// Repository whose Actions history is read
    #[arg(value_name = "OWNER/NAME")]
    repo: RepoName,
    /// Newest green runs of the default branch that are read for each workflow
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Token of a person, where there is no App
    #[arg(long, env = "GITHUB_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    github_token: Option<SecretString>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    github: GitHubArgs,
    #[command(flatten)]
    work: WorkArgs,
}

/// `pacegate import`.
pub(super) async fn import(args: ImportArgs) -> Result<(), CliError> {
    let (clock, rng) = (Clock::system(), Randomness::from_system());
    let credentials = credentials(&args.github, &database(&args.store)?, &clock)?;
    let token = args.github_token.as_ref().filter(|token| !token.expose_secret().trim().is_empty());
    if credentials.is_none() && token.is_none() {
        let how = "set GITHUB_TOKEN to a token that may read the repository's Actions, or configure the App: by its file (PACEGATE_APP_FILE) or its three PACEGATE_GITHUB_ variables";
        return Err(CliError::Input(format!("import needs to read from GitHub: {how}")));
    }
    let context = open_context(&args.store, &args.work, credentials.as_ref(), clock, rng).await?;
    let result = run(&args, &context, token).await;
    context.db.close().await;
    result
}

async fn run(
    args: &ImportArgs,
    context: &WorkerContext,
    token: Option<&SecretString>,
) -> Result<(), CliError> {
    let mut tx = context.db.write().await?;
    let repository = tx.ensure_repository(&args.repo, context.clock.now()).await?;
    tx.commit().await?;
    let wanted = i64::from(args.runs);
    let reader = Reader { args, context, repository: &repository, token };
    let mut found =
        reader.with_retries(async |github| discover(context, &repository, github, wanted).await).await?;
    if found.is_empty() {
        return Err(CliError::Input(format!("{} has no active workflow", args.repo)));
    }
    let bar = progress_bar(found.iter().map(|row| row.wanted).sum());
    let mut new = 0;
    // One page of each workflow in turn, so that each has some runs early.
    while found.iter().any(|row| !row.is_done()) {
        for row in &mut found {
            if row.is_done() {
                continue;
            }
            let of = (row.workflow_id, row.next_page);
            let read = reader
                .with_retries(async |github| {
                    read_page(context, &repository, github, of, reader.reserve(), Then::Return).await
                })
                .await?;
            match read {
                Some(outcome) => {
                    new += outcome.new;
                    *row = outcome.row;
                }
                // The service has read this page meanwhile; its progress counts.
                None => *row = reader.now(row).await?,
            }
        }
        bar.set_length(u64::try_from(found.iter().map(|row| row.wanted).sum::<i64>()).unwrap_or(0));
        bar.set_position(u64::try_from(found.iter().map(|row| row.collected).sum::<i64>()).unwrap_or(0));
    }
    bar.finish_and_clear();
    print(&summary(&args.repo, &found, new));
    Ok(())
}

struct Reader<'a> {
    args: &'a ImportArgs,
    context: &'a WorkerContext,
    repository: &'a RepositoryRow,
    token: Option<&'a SecretString>,
}

impl Reader<'_> {
    fn reserve(&self) -> Reserve {
        if self.context.app.is_some() { Reserve::Half } else { Reserve::Nothing }
    }

    /// A new client for each attempt: an App's token expires after an hour, and an import may take
    /// longer.
    async fn client(&self) -> Result<RepoClient, TaskError> {
        let name = &self.repository.name;
        if let Some(app) = &self.context.app {
            let installation = match self.repository.installation {
                Some(installation) => installation,
                None => app.installation_of(name).await?,
            };
            return Ok(app.repository(installation, name, Purpose::ReadActions).await?);
        }
        let token = self.token.cloned().unwrap_or_default();
        let (url, timeout) = (&self.args.github.github_api_url, self.args.github.github_timeout);
        Ok(RepoClient::of_person(&token, name, url, timeout, self.context.clock.clone())?)
    }

    /// Retries as long as the error allows it. Reports long waits.
    async fn with_retries<T>(
        &self,
        attempt: impl AsyncFn(&RepoClient) -> Result<T, TaskError>,
    ) -> Result<T, CliError> {
        for failures in 1.. {
            let result = match self.client().await {
                Ok(github) => attempt(&github).await,
                Err(error) => Err(error),
            };
            let error = match result {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let Some(pause) = error.pause(failures, &self.context.rng, self.context.clock.now()) else {
                return Err(CliError::Input(error_chain(&error)));
            };
            if pause >= REPORTED_WAIT {
                let until = self.context.clock.now().after(pause);
                print_diagnostic(&format!(
                    "waiting until {until} for GitHub's rate limit; what was read is kept"
                ));
            }
            tokio::time::sleep(pause).await;
        }
        Err(CliError::Input("GitHub could not be read".to_owned()))
    }

    async fn now(&self, row: &BackfillRow) -> Result<BackfillRow, CliError> {
        let found = self.context.db.read().await?.backfill(self.repository.id, row.workflow_id).await?;
        found.ok_or_else(|| CliError::Input(format!("the history of {} was deleted meanwhile", row.name)))
    }
}

fn summary(repo: &RepoName, found: &[BackfillRow], new: i64) -> String {
    let all: i64 = found.iter().map(|row| row.collected).sum();
    let each: Vec<String> = found
        .iter()
        .map(|row| {
            let name: String = row.name.chars().filter(|c| !c.is_control()).take(60).collect();
            format!("{name} {}", row.collected)
        })
        .collect();
    format!(
        "{repo}: {all} runs of {} are its baseline, {new} of them new ({})",
        found[0].branch,
        each.join(", ")
    )
}

/// Hidden unless stderr is a terminal.
fn progress_bar(wanted: i64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(wanted).unwrap_or(0));
    if let Ok(style) =
        ProgressStyle::with_template("Reading history {wide_bar} {pos} of {len} runs, {eta} left")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
