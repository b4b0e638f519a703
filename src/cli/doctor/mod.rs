//! `pacegate doctor`: checks everything that a service needs and suggests fixes. Changes nothing,
//! except for `--revive-jobs`.

mod github;
mod jobs;

use std::process::ExitCode;

use clap::Args;

use super::output::print;
use super::{CliError, database as database_url};
use crate::config::{GitHubArgs, StoreArgs, WorkArgs};
use crate::tasks::error_chain;
use pacegate_clock::Clock;
use pacegate_store::Db;
use pacegate_store::traces::TraceStore;

/// Arguments of `doctor`.
#[derive(Debug, Clone, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    github: GitHubArgs,
    #[command(flatten)]
    work: WorkArgs,
    /// Gives every dead background task all its attempts again
    #[arg(long = "revive-jobs")]
    revive_tasks: bool,
}

#[derive(Default)]
struct Findings {
    problems: usize,
}

impl Findings {
    fn good(&self, text: &str) {
        let _ = self;
        print(&format!("ok       {text}"));
    }

    fn note(&self, text: &str) {
        let _ = self;
        print(&format!("note     {text}"));
    }

    fn problem(&mut self, text: &str) {
        self.problems += 1;
        print(&format!("PROBLEM  {text}"));
    }
}

/// `pacegate doctor`. Exit code 1 when something has to be fixed.
pub(super) async fn doctor(args: DoctorArgs) -> Result<ExitCode, CliError> {
    let mut findings = Findings::default();
    database(&args, &mut findings).await;
    traces(&args, &mut findings).await;
    // An invalid address was reported above.
    let Ok(url) = database_url(&args.store) else { return Ok(ExitCode::from(1)) };
    let found = github::credentials_found(&args, &url, &mut findings);
    let public_url =
        args.work.public_url.clone().or_else(|| found.as_ref().and_then(|found| found.public_url.clone()));
    if let Some(found) = &found {
        github::github(&args, found, public_url.as_deref(), &mut findings).await;
        jobs::jobs(&args.github, public_url.as_deref(), &mut findings).await;
    } else {
        jobs::without_app(&args.github, &mut findings);
    }
    match &public_url {
        Some(url) => findings.good(&format!("links lead to {url}")),
        None if found.is_none() => {}
        None => findings
            .note("PACEGATE_PUBLIC_URL is not set: checks and comments will have no link to the pages"),
    }
    Ok(ExitCode::from(u8::from(findings.problems > 0)))
}

async fn database(args: &DoctorArgs, findings: &mut Findings) {
    let url = match database_url(&args.store) {
        Ok(url) => url,
        Err(error) => return findings.problem(&error_chain(&error)),
    };
    let db = match Db::connect(&url, 2).await {
        Ok(db) => db,
        Err(error) => return findings.problem(&format!("database {url:?}: {}", error_chain(&error))),
    };
    let checked = async {
        if !db.is_migrated().await? {
            findings.note(&format!(
                "database {url:?}: tables are not up to date; `serve` and `migrate` bring them up to date"
            ));
            return Ok(());
        }
        findings.good(&format!("database {url:?} ({})", db.kind()));
        let mut tx = db.write().await?;
        if args.revive_tasks {
            let revived = tx.revive_dead_tasks(Clock::system().now()).await?;
            findings.note(&format!("{revived} dead background tasks will be tried again"));
        }
        let counts = tx.count_tasks().await?;
        let dead = tx.dead_tasks(5).await?;
        tx.commit().await?;
        if counts.dead > 0 {
            findings.problem(&format!(
                "{} background tasks failed for good; --revive-jobs runs them again; the newest:",
                counts.dead
            ));
            for task in dead {
                let error = task.last_error.unwrap_or_default();
                findings.note(&format!("{} after {} attempts: {error}", task.kind, task.attempts));
            }
        } else {
            findings.good(&format!("no background task failed for good; {} wait or run", counts.open));
        }
        Ok::<(), pacegate_store::StoreError>(())
    };
    if let Err(error) = checked.await {
        findings.problem(&format!("database {url:?}: {}", error_chain(&error)));
    }
    db.close().await;
}

async fn traces(args: &DoctorArgs, findings: &mut Findings) {
    let url = &args.store.traces_url;
    let probe = async {
        let store = TraceStore::open(url)?;
        store.probe().await
    };
    match probe.await {
        Ok(()) => findings.good(&format!("raw traces in {url}")),
        Err(error) => findings.problem(&format!("raw traces in {url}: {}", error_chain(&error))),
    }
}
