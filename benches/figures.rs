//! Figures for a host: size of the binary, time to start and idle memory. Also the time from the last
//! span of a run to the concluded check on GitHub, without the settling time.
//! `make test-data && tests/postgres.sh cargo bench --bench figures` prints them for both databases and
//! checks none.

#[path = "../tests/it/fake_github/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; this benchmark uses a part")]
mod fake_github;
#[path = "../tests/it/pipeline.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the tests; this benchmark uses a part")]
mod pipeline;
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
use crate::fake_github::state::{PullRequest, Repository};
use crate::pipeline::{Run, history};
use crate::service::{Builder, Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};

const REPO: &str = "acme/my-app";
const SETTLE: Duration = Duration::from_millis(500);
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
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_pacegate")).expect("the binary");
    print_line("size of the binary", &format!("{:.1} MiB", mebibytes(binary.len())));
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    measure("SQLite", |builder| builder.sqlite_in(folder.path())).await;
    let url = postgres::fresh_database().await;
    measure("PostgreSQL", |builder| builder.postgres(&url)).await;
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

async fn measure(database: &str, configure: impl Fn(Builder) -> Builder) {
    let fake = FakeGitHub::with_repository(REPO).await;
    let settle = format!("{}ms", SETTLE.as_millis());
    let builder = configure(Service::builder().github(&fake).env("PACEGATE_SETTLE", &settle));
    let output = builder.run(&["token", "create", "--repo", REPO]);
    let token = String::from_utf8(output.stdout).expect("text").trim().to_owned();

    let begun = instant();
    let service = builder.start().await;
    print_line(&format!("{database}: from start to ready"), &format!("{} ms", begun.elapsed().as_millis()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    print_line(&format!("{database}: memory at rest (RSS)"), &format!("{:.1} MiB", memory(&service)));

    let client = reqwest::Client::new();
    let push = async |request: &serde_json::Value| {
        let url = format!("{}/v1/traces", service.url());
        let answer = client.post(url).bearer_auth(&token).json(request).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    };
    push(&history(200, now_seconds() - 7200)).await;
    let metrics = format!("{}/metrics", service.url());
    eventually("the history to be collected", Duration::from_mins(3), || async {
        let text = client.get(&metrics).send().await.ok()?.text().await.ok()?;
        text.contains("pacegate_open_jobs 0\n").then_some(())
    })
    .await;
    let mut repository = Repository::new(1_296_269, REPO);
    repository.installation = Some(99);
    let mut times = Vec::new();
    for number in 0..ROUNDS {
        let head = webhooks::sha(&format!("{database} {number}"));
        let pr = PullRequest::new(1 + number, REPO, &head);
        fake.pull_request(REPO, pr.clone());
        let payload = webhooks::pull_request("opened", &repository, &pr);
        let delivery = webhooks::delivery("pull_request", &payload, WEBHOOK_SECRET);
        delivery.to(&client, &service.url()).send().await.expect("an answer");
        eventually("the check in progress", Duration::from_mins(1), || async {
            fake.check_runs().iter().any(|check| check.head_sha == head).then_some(())
        })
        .await;
        let run = Run::slowed(&head, &format!("change-{}", 1 + number), now_seconds() - 600);
        push(&run.request()).await;
        let begun = instant();
        eventually("the concluded check", Duration::from_mins(1), || async {
            let concluded =
                |check: &fake_github::state::CheckRun| check.head_sha == head && check.status == "completed";
            fake.check_runs().iter().any(concluded).then_some(())
        })
        .await;
        times.push(begun.elapsed().saturating_sub(SETTLE));
    }
    times.sort();
    let figure = |i: usize| times[i].as_millis();
    print_line(
        &format!("{database}: last span to concluded check, 200 runs"),
        &format!(
            "median {} ms, largest {} ms of {ROUNDS} (settling taken off)",
            figure(times.len() / 2),
            figure(times.len() - 1)
        ),
    );
    print_line(&format!("{database}: memory afterwards (RSS)"), &format!("{:.1} MiB", memory(&service)));
    service.terminate().await;
    fake.finish();
}

/// Resident memory in MiB, as reported by Linux.
fn memory(service: &Service) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("Linux's /proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kibibytes: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kibibytes / 1024.0
}
