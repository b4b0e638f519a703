//! Measures webhooks at 500 deliveries a second: the time to an answer, and the memory. With 50 ms for
//! each answer of GitHub it also measures the time from the end of a workflow run to the concluded
//! check. `make test-data && tests/postgres.sh cargo bench --bench webhook` prints the figures for both
//! databases and checks none.

#[path = "../tests/it/fake_github/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; this benchmark uses a part")]
mod fake_github;
#[path = "../tests/it/postgres.rs"]
mod postgres;
#[path = "../tests/it/service.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; this benchmark uses a part")]
mod service;
#[path = "../tests/it/time.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; this benchmark uses a part")]
mod time;
#[path = "../tests/it/webhooks.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; this benchmark uses a part")]
mod webhooks;

use std::time::{Duration, Instant};

use crate::fake_github::FakeGitHub;
use crate::fake_github::actions::WorkflowRun;
use crate::fake_github::state::{CheckRun, PullRequest, Repository};
use crate::service::{Builder, Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{Delivery, delivery};

const REPO: &str = "acme/my-app";
/// The longest time from a delivery until its effect is visible.
const VISIBLE_WITHIN: Duration = Duration::from_mins(5);
const A_SECOND: u32 = 500;
const SECONDS: u32 = 20;
const GITHUB_TAKES: Duration = Duration::from_millis(50);
/// Green runs of main in the history.
const PAST: u64 = 60;
/// Pull requests for which the time to a verdict is measured.
const ROUNDS: u64 = 20;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
fn print_line(what: &str, value: &str) {
    println!("{what:<52} {value}");
}

#[tokio::main]
async fn main() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    measure("SQLite", |builder| builder.sqlite_in(folder.path())).await;
    let url = postgres::fresh_database().await;
    measure("PostgreSQL", |builder| builder.postgres(&url)).await;
}

async fn measure(database: &str, configure: impl Fn(Builder) -> Builder) {
    let fake = FakeGitHub::with_repository(REPO).await;
    fake.answers_after(GITHUB_TAKES);
    let mut repository = Repository::new(1_296_269, REPO);
    repository.installation = Some(99);
    for n in 0..PAST {
        let ago = i64::try_from(n + 1).expect("small") * 3 * 3600;
        fake.workflow_run(REPO, ci(1_000 - n, &webhooks::sha(&format!("main {n}")), now_seconds() - ago));
    }
    // As in production: one second between writes.
    let builder = configure(Service::builder().github(&fake)).env("PACEGATE_GITHUB_WRITE_SPACING", "1s");
    let service = builder.start().await;
    let client = reqwest::Client::new();
    let send = async |event: &str, payload: &serde_json::Value| {
        let delivery = delivery(event, payload, WEBHOOK_SECRET);
        delivery.to(&client, &service.url()).send().await.expect("an answer");
    };
    let begun = instant();
    send("installation", &webhooks::installation("created", 99, &[&repository])).await;
    wait_until_idle(&client, &service, 0).await;
    let took = begun.elapsed().as_secs_f64();
    print_line(&format!("{database}: installation to {PAST} runs of history"), &format!("{took:.1} s"));

    let mut times = Vec::new();
    for number in 1..=ROUNDS {
        let head = webhooks::sha(&format!("{database} {number}"));
        let pr = PullRequest::new(number, REPO, &head);
        fake.pull_request(REPO, pr.clone());
        send("pull_request", &webhooks::pull_request("opened", &repository, &pr)).await;
        let of_head = |check: &CheckRun| check.head_sha == head;
        eventually("the check in progress", VISIBLE_WITHIN, || async {
            fake.check_runs().iter().any(of_head).then_some(())
        })
        .await;
        let mut run = ci(5_000 + number, &head, now_seconds() - 300);
        (run.event, run.head_branch) = ("pull_request".to_owned(), format!("change-{number}"));
        fake.workflow_run(REPO, run.clone());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let begun = instant();
        send("workflow_run", &webhooks::workflow_run("completed", &repository, &run)).await;
        eventually("the concluded check", VISIBLE_WITHIN, || async {
            let concluded = |check: &CheckRun| of_head(check) && check.status == "completed";
            fake.check_runs().iter().any(concluded).then_some(())
        })
        .await;
        times.push(begun.elapsed());
    }
    print_quantiles(&format!("{database}: end of a workflow run to concluded check"), &mut times);

    let memory_before = memory(&service, "VmRSS:");
    let mut waits = load(&client, &service, &repository).await;
    print_quantiles(&format!("{database}: answer at {A_SECOND} deliveries a second"), &mut waits);
    print_line(
        &format!("{database}: memory before, and at its largest"),
        &format!("{memory_before:.1} MiB, {:.1} MiB", memory(&service, "VmHWM:")),
    );
    service.terminate().await;
    fake.take_violations();
}

/// A run of two jobs. Times are whole seconds, as in GitHub's API.
fn ci(id: u64, head: &str, started_at: i64) -> WorkflowRun {
    let noise = i64::try_from(id * 7 % 5).expect("small");
    WorkflowRun::new(id, REPO, head, started_at)
        .job("lint", 3, &[("Set up job", 1), ("Run npm run lint", 20 + noise)])
        .job("test", 5, &[("Set up job", 1), ("Run npm test", 60 + noise), ("Run npm run e2e", 90 + noise)])
}

async fn wait_until_idle(client: &reqwest::Client, service: &Service, open: usize) {
    let (metrics, wanted) = (format!("{}/metrics", service.url()), format!("pacegate_open_jobs {open}\n"));
    eventually("no job left", VISIBLE_WITHIN, || async {
        let text = client.get(&metrics).send().await.ok()?.text().await.ok()?;
        text.contains(&wanted).then_some(())
    })
    .await;
}

/// Sends the deliveries around workflow runs of pull requests. Each is sent at its due time, even
/// if earlier ones are not answered yet. Returns the time from due time to answer of each.
async fn load(client: &reqwest::Client, service: &Service, repository: &Repository) -> Vec<Duration> {
    let deliveries: Vec<Delivery> =
        (0..A_SECOND * SECONDS).map(|n| mixed(u64::from(n), repository)).collect();
    let begun = instant();
    let mut answers = tokio::task::JoinSet::new();
    for (n, delivery) in (0_u32..).zip(deliveries) {
        let due = begun + Duration::from_secs(1) / A_SECOND * n;
        tokio::time::sleep_until(due.into()).await;
        let request = delivery.to(client, &service.url());
        answers.spawn(async move {
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), 202);
            due.elapsed()
        });
    }
    answers.join_all().await
}

/// Ten deliveries in a row are three jobs and two foreign checks that are ignored, three states of
/// a workflow run, a push and a pull request's new head.
fn mixed(n: u64, repository: &Repository) -> Delivery {
    let head = webhooks::sha(&format!("load {}", n / 10));
    let run = |action| {
        let mut run = ci(100_000 + n / 10, &head, 1_790_000_000);
        run.event = "pull_request".into();
        ("workflow_run", webhooks::workflow_run(action, repository, &run))
    };
    let (event, payload) = match n % 10 {
        0 => {
            let pr = PullRequest::new(1 + n / 10 % ROUNDS, REPO, &head);
            ("pull_request", webhooks::pull_request("synchronize", repository, &pr))
        }
        1 => run("requested"),
        2 => run("in_progress"),
        3 => run("completed"),
        4 => ("push", webhooks::push(repository, "change", &head)),
        5 | 6 => ("check_run", webhooks::example("check_run", "created")),
        _ => ("workflow_job", webhooks::example("workflow_job", "completed")),
    };
    delivery(event, &payload, WEBHOOK_SECRET)
}

fn print_quantiles(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
    print_line(
        what,
        &format!("p50 {:.1} ms, p99 {:.1} ms, largest {:.1} ms of {}", at(50), at(99), at(100), times.len()),
    );
}

/// Memory in MiB, as reported by Linux.
fn memory(service: &Service, which: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("Linux's /proc");
    let line = status.lines().find(|line| line.starts_with(which)).expect("a line");
    let kibibytes: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kibibytes / 1024.0
}
