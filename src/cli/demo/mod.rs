//! `pacegate demo`: starts a real service on a new embedded database and pushes a made-up pipeline
//! over HTTP. After a history come two pushes of a pull request that slows the integration tests and
//! raises a new exception. The service does not know that this is a demo.

mod pipeline;
mod push;

use std::path::Path;
use std::time::Duration;

use clap::Args;

use self::pipeline::{Change, RunPlan};
use self::push::Pusher;
use super::CliError;
use super::output::{print, print_progress};
use super::serve::{ServeArgs, Service, stop_signal};
use crate::config::{AdmissionArgs, GitHubArgs, ListenArgs, PortArgs, StoreArgs, WebArgs, WorkArgs};
use pacegate_clock::{Clock, Randomness};
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoName};
use pacegate_engine::model::time::Timestamp;

const REPOSITORY: &str = "acme/my-app";
const HISTORY: u32 = 40;
const PULL_REQUEST: PrNumber = PrNumber(17);
/// Makes the durations the same in every demo.
const SEED: u64 = 20_261_122;

/// Arguments of `demo`.
#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// Exits after printing the comment, instead of leaving the pages up
    #[arg(long)]
    exit: bool,
    /// Address of the pages
    #[arg(long, env = "PACEGATE_LISTEN", default_value = "127.0.0.1:8080")]
    listen: String,
}

/// `pacegate demo`.
pub(super) async fn demo(args: DemoArgs) -> Result<(), CliError> {
    let folder = std::env::temp_dir().join(format!("pacegate-demo-{}", std::process::id()));
    let failed = |source| CliError::System { what: "a temporary folder", source };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let shown = show(&args, &folder).await;
    std::fs::remove_dir_all(&folder).map_err(failed)?;
    shown
}

async fn show(args: &DemoArgs, folder: &Path) -> Result<(), CliError> {
    let clock = Clock::system();
    let service =
        Service::start(service_args(args, folder), clock.clone(), Randomness::from_system()).await?;
    let address = format!("http://{}", service.address);
    let pushed = push_story(&service, &address, &clock).await;
    if pushed.is_ok() && !args.exit {
        print(&format!("\nThe pages are up at {address} - Ctrl+C ends them."));
        stop_signal().await?;
    }
    service.stop().await;
    pushed
}

fn service_args(args: &DemoArgs, folder: &Path) -> ServeArgs {
    ServeArgs {
        store: StoreArgs {
            database_url: format!("sqlite://{}", folder.join("pacegate.db").display()).into(),
            traces_url: format!("file:{}", folder.join("traces").display()),
        },
        // Local mode: nothing is posted anywhere.
        github: GitHubArgs {
            github_api_url: "https://api.github.com".into(),
            github_timeout: Duration::from_secs(30),
            github_app_id: None,
            github_private_key: None,
            github_webhook_secret: None,
            github_oidc_issuer: None,
            app_file: None,
        },
        work: WorkArgs {
            settle: Duration::from_millis(500),
            check_timeout: Duration::from_hours(2),
            grace: Duration::from_hours(720),
            job_lease: Duration::from_mins(1),
            github_write_spacing: Duration::from_secs(1),
            github_writes_per_hour: 480,
            reconcile_interval: Duration::ZERO,
            jobs: 2,
            base_branch: None,
            redact_keys: String::new(),
            redact_allow: String::new(),
            traces_full: Duration::from_hours(7 * 24),
            retention: None,
            trace_link: None,
            public_url: None,
        },
        web: WebArgs {
            listen: args.listen.clone(),
            default_repo: None,
            pages: None,
            no_setup: true,
            ports: PortArgs { listen: ListenArgs::closed(), jaeger_udp_repo: None },
            admission: AdmissionArgs::default(),
            forward_url: None,
            forward_headers: None,
        },
        no_worker: false,
    }
}

/// Pushes all runs, and prints the verdicts and the comment.
async fn push_story(service: &Service, address: &str, clock: &Clock) -> Result<(), CliError> {
    let repo: RepoName = REPOSITORY.parse().map_err(|e| CliError::Demo(format!("{e}")))?;
    let mut tx = service.context.db.write().await?;
    let repository = tx.ensure_repository(&repo, clock.now()).await?;
    let (_, token) = tx.create_token(repository.id, "demo", &service.context.rng, clock.now()).await?;
    tx.commit().await?;
    let pusher = Pusher::new(address, &token, repo);
    let rng = Randomness::seeded(SEED);

    print_progress(&format!("Pushing {HISTORY} runs of {REPOSITORY} on main, ten days of them ..."));
    let mut started_at = clock.now().before(Duration::from_hours(u64::from(HISTORY) * 6 + 2));
    for number in 0..HISTORY {
        started_at = started_at.after(Duration::from_hours(6));
        pusher.push(&plan(number, started_at, Change::None, None), &rng).await?;
    }
    pusher.wait_for_runs(HISTORY).await?;
    let pushes = [(HISTORY, Duration::from_mins(40)), (HISTORY + 1, Duration::from_mins(15))];
    for (number, ago) in pushes {
        let plan = plan(number, clock.now().before(ago), Change::SlowIntegrationTests, Some(PULL_REQUEST));
        print_progress(&format!(
            "Pushing commit {} of pull request {PULL_REQUEST} ...",
            plan.head_sha.short()
        ));
        pusher.push(&plan, &rng).await?;
        let verdict = pusher.verdict(&plan.head_sha).await?;
        print(&format!("Commit {} of pull request {PULL_REQUEST}: {verdict}", plan.head_sha.short()));
        if number == HISTORY + 1 {
            let comment = pusher.comment(&plan.head_sha).await?;
            print(&format!("\nThe comment on the pull request:\n\n{comment}"));
        }
    }
    Ok(())
}

fn plan(number: u32, started_at: Timestamp, change: Change, pull_request: Option<PrNumber>) -> RunPlan {
    let digits = format!("{:08x}", number.wrapping_mul(0x9e37_79b1) ^ 0x5bd1_e995).repeat(5);
    // Forty hexadecimal digits: always a commit.
    let head_sha: CommitSha = digits.parse().unwrap_or_else(|_| unreachable!("hexadecimal digits"));
    RunPlan { number, started_at, head_sha, change, pull_request }
}
