//! Whole paths through the real binary, on both databases. Spans and deliveries come in over HTTP.
//! Check runs and comments go to a GitHub that checks us against its own description.

pub(crate) mod actions;
mod annotations;
mod artifacts;
mod assembly;
mod buttons;
mod bypass;
mod command_line;
mod deliveries;
mod enterprise_server;
mod exec;
mod fast_path;
mod faults;
mod forwarding;
mod ingress;
mod killed;
mod lifecycle;
mod listeners;
mod main_flow;
mod merge_queue;
mod missed_deliveries;
mod missed_runs;
mod pages;
mod policy;
mod replay;
mod reruns;
mod retention;
mod setup;
mod storm;

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::fake_github::FakeGitHub;
use crate::fake_github::state::{CheckRun, PullRequest, Repository};
use crate::pipeline::{Run, history};
use crate::postgres;
use crate::service::{Builder, Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, Delivery, delivery};

/// The longest wait before a test fails. It measures nothing.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
/// Runs of main before the pull request.
pub(crate) const HISTORY: u32 = 30;
pub(crate) const REPO: &str = "acme/my-app";

/// The database of a service, for one test.
pub(crate) enum Database {
    Sqlite(TempDir),
    Postgres(String),
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().expect("a temporary folder"))
    }

    pub(crate) async fn postgres() -> Self {
        Self::Postgres(postgres::fresh_database().await)
    }

    /// Configures a service to use this database.
    pub(crate) fn configure(&self, builder: Builder) -> Builder {
        match self {
            Self::Sqlite(folder) => builder.sqlite_in(folder.path()),
            Self::Postgres(url) => builder.postgres(url),
        }
    }
}

/// The same test on both databases. Without PostgreSQL the second one fails.
macro_rules! on_both {
    ($name:ident) => {
        mod $name {
            use crate::end_to_end::Database;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name(Database::postgres().await).await;
            }
        }
    };
}
pub(crate) use on_both;

/// A configured service, the fake GitHub it talks to and an HTTP client.
pub(crate) struct Fixture {
    pub fake: FakeGitHub,
    pub repository: Repository,
    pub builder: Builder,
    pub client: reqwest::Client,
    pub token: String,
    _database: Database,
}

impl Fixture {
    /// A configured service that is not running yet, with a token for the repository.
    pub(crate) async fn new(database: Database) -> Self {
        Self::on(FakeGitHub::with_repository(REPO).await, database)
    }

    /// The same with this fake, which has the repository.
    pub(crate) fn on(fake: FakeGitHub, database: Database) -> Self {
        let builder =
            Service::builder().github(&fake).env("PACEGATE_SETTLE", "200ms").env("PACEGATE_JOB_LEASE", "2s");
        let builder = database.configure(builder);
        let token = create_token(&builder, REPO);
        let mut repository = Repository::new(1_296_269, REPO);
        repository.installation = Some(99);
        Self { fake, repository, builder, client: reqwest::Client::new(), token, _database: database }
    }

    /// Sends spans and expects that all are accepted.
    pub(crate) async fn push(&self, service: &Service, request: &Value) {
        let answer = self.post_spans(service, request).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.expect("a body"), "{}", "nothing rejected");
    }

    /// Sends spans as JSON.
    pub(crate) async fn post_spans(&self, service: &Service, request: &Value) -> reqwest::Response {
        let request = self.client.post(format!("{}/v1/traces", service.url())).json(request);
        request.bearer_auth(&self.token).send().await.expect("an answer")
    }

    /// Delivers and expects 202.
    pub(crate) async fn deliver(&self, service: &Service, delivery: &Delivery) {
        let answer = delivery.to(&self.client, &service.url()).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
    }

    /// Reads JSON from the API below the repository.
    pub(crate) async fn api(&self, service: &Service, path: &str) -> (u16, Value) {
        let url = format!("{}/api/v1/repos/{REPO}{path}", service.url());
        let answer = self.client.get(url).bearer_auth(&self.token).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// Sends the history of main and waits until it is collected.
    pub(crate) async fn push_history(&self, service: &Service) {
        self.push(service, &history(HISTORY, now_seconds() - 7200)).await;
        self.wait_for_runs(service, HISTORY as usize).await;
    }

    /// Waits until at least `count` runs are stored.
    pub(crate) async fn wait_for_runs(&self, service: &Service, count: usize) {
        eventually(&format!("{count} runs"), DEADLINE, || async {
            let (_, body) = self.api(service, "/runs").await;
            (body["runs"].as_array().map_or(0, Vec::len) >= count).then_some(())
        })
        .await;
    }

    /// Opens a pull request on GitHub or moves its head. Returns the delivery for it.
    pub(crate) fn pull_request(&self, action: &str, number: u64, sha: &str) -> Delivery {
        let pr = PullRequest::new(number, REPO, sha);
        self.fake.pull_request(REPO, pr.clone());
        delivery("pull_request", &webhooks::pull_request(action, &self.repository, &pr), WEBHOOK_SECRET)
    }

    /// A slowed run of a pull request's head, as its pipeline sends it.
    pub(crate) fn slowed(number: u64, sha: &str, minutes_ago: i64) -> Value {
        Run::slowed(sha, &format!("change-{number}"), now_seconds() - minutes_ago * 60).request()
    }

    /// Our check runs of a head.
    pub(crate) fn checks(&self, sha: &str) -> Vec<CheckRun> {
        self.fake.check_runs().into_iter().filter(|check| check.head_sha == sha).collect()
    }

    /// Waits until a head has a concluded check run, and returns it.
    pub(crate) async fn concluded(&self, sha: &str) -> CheckRun {
        eventually("a concluded check", DEADLINE, || async {
            self.checks(sha).into_iter().find(|check| check.status == "completed")
        })
        .await
    }

    /// Waits until no task is due. `open` tasks that are not due yet may remain.
    pub(crate) async fn wait_until_idle(&self, service: &Service, open: usize) {
        let wanted = format!("pacegate_open_jobs {open}\n");
        eventually("no task left", DEADLINE, || async {
            let text =
                self.client.get(format!("{}/metrics", service.url())).send().await.ok()?.text().await.ok()?;
            assert!(text.contains("pacegate_dead_jobs 0\n"), "a task is dead:\n{text}");
            text.contains(&wanted).then_some(())
        })
        .await;
    }
}

/// Creates a token with the command line.
pub(crate) fn create_token(builder: &Builder, repo: &str) -> String {
    let output = builder.run(&["token", "create", "--repo", repo]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}
