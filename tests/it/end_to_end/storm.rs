//! A storm of 2,000 deliveries, repeated and shuffled. Meanwhile GitHub fails a tenth of its calls
//! and limits the rest, and processes are killed. Every head ends with exactly one concluded check,
//! every pull request with at most one comment. No installation is written to while GitHub asked to
//! wait.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Database, Fixture, REPO, create_token, on_both};
use crate::fake_github::state::{Installation, PullRequest, Repository};
use crate::fake_github::storm::StormParameters;
use crate::pipeline::{Run, history};
use crate::service::{Service, WEBHOOK_SECRET};
use crate::time::{eventually, now_seconds};
use crate::webhooks::{self, Delivery, delivery, sha};

const PULL_REQUESTS: u64 = 60;
const HEADS: u64 = 200;
const DELIVERIES: usize = 2000;
/// The longest wait before the test fails. The test ends long before.
const DEADLINE: Duration = Duration::from_mins(3);
/// Repositories, each with an installation of its own.
const REPOSITORIES: [&str; 4] = [REPO, "acme-2/my-app", "acme-3/my-app", "acme-4/my-app"];

/// A head of a pull request.
struct Head {
    repository: usize,
    number: u64,
    sha: String,
}

fn heads() -> Vec<Head> {
    let head = |i: u64| {
        let number = i % PULL_REQUESTS + 1;
        let repository = usize::try_from(number % 4).expect("small");
        Head { repository, number, sha: sha(&format!("storm {i}")) }
    };
    (0..HEADS).map(head).collect()
}

/// The newest head of every other pull request has a slowed run, so it gets a comment.
fn is_measured(index: usize) -> bool {
    index as u64 >= HEADS - PULL_REQUESTS && index.is_multiple_of(2)
}

/// Adds the other repositories and returns all four, as GitHub has them.
fn repositories(fixture: &Fixture) -> Vec<Repository> {
    let with_id = |(i, name): (u64, &&str)| {
        let mut repository = Repository::new(1_296_269 + i, name);
        repository.installation = Some(99 + i);
        repository
    };
    let all: Vec<Repository> = (0..).zip(&REPOSITORIES).map(with_id).collect();
    for repository in &all[1..] {
        let id = repository.installation.expect("given above");
        fixture.fake.installation(Installation::new(id, &repository.owner));
        fixture.fake.repository(id, repository.clone());
    }
    all
}

/// Deliveries for each head, repeated until there are 2,000, in an order drawn from a seed.
fn deliveries(heads: &[Head], repositories: &[Repository]) -> Vec<Delivery> {
    let of_head = |head: &Head| {
        let repository = &repositories[head.repository];
        let pr = PullRequest::new(head.number, &repository.full_name(), &head.sha);
        let payload = webhooks::pull_request("synchronize", repository, &pr);
        // Two events about it, and their redeliveries.
        [(); 2].map(|()| delivery("pull_request", &payload, WEBHOOK_SECRET))
    };
    let once: Vec<Delivery> = heads.iter().flat_map(of_head).collect();
    let mut all: Vec<Delivery> = once.iter().cycle().take(DELIVERIES).cloned().collect();
    let mut state = 20_261_122_u64;
    for i in (1..all.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bound = u64::try_from(i + 1).expect("small");
        all.swap(i, usize::try_from((state >> 33) % bound).expect("small"));
    }
    all
}

async fn send(client: &reqwest::Client, url: &str, deliveries: &[Delivery]) {
    for delivery in deliveries {
        let answer = delivery.to(client, url).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
    }
}

async fn send_from_many(fixture: &Fixture, service: &Service, deliveries: &[Delivery]) {
    let (client, url) = (&fixture.client, service.url());
    let share = deliveries.len().div_ceil(8);
    let mut sending = Vec::new();
    for part in deliveries.chunks(share) {
        let (client, url, part) = (client.clone(), url.clone(), part.to_vec());
        sending.push(tokio::spawn(async move { send(&client, &url, &part).await }));
    }
    for sent in sending {
        sent.await.expect("every delivery is answered 202");
    }
}

async fn push_measured(fixture: &Fixture, service: &Service, heads: &[Head]) {
    let now = now_seconds();
    for (index, head) in heads.iter().enumerate().filter(|(index, _)| is_measured(*index)) {
        let branch = format!("change-{}", head.number);
        let started_at = now - 3600 + i64::try_from(index).expect("small");
        let run = Run::slowed(&head.sha, &branch, started_at);
        push_to(fixture, service, head.repository, &run.request()).await;
    }
}

async fn push_to(fixture: &Fixture, service: &Service, repository: usize, request: &serde_json::Value) {
    let token = create_token(&fixture.builder, REPOSITORIES[repository]);
    let request = fixture.client.post(format!("{}/v1/traces", service.url())).json(request);
    let answer = request.bearer_auth(token).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

on_both!(storm_ends_with_one_concluded_check_per_head);
async fn storm_ends_with_one_concluded_check_per_head(database: Database) {
    let has_two_processes = matches!(database, Database::Postgres(_));
    let mut fixture = Fixture::new(database).await;
    fixture.builder = fixture
        .builder
        .clone()
        .env("PACEGATE_GITHUB_TIMEOUT", "2s")
        .env("PACEGATE_CHECK_TIMEOUT", "10s")
        .env("PACEGATE_JOBS", "8")
        .env("PACEGATE_GITHUB_WRITE_SPACING", "10ms");
    let repositories = repositories(&fixture);
    let heads = heads();
    for head in &heads {
        // GitHub's head is the last head of a pull request.
        let name = repositories[head.repository].full_name();
        fixture.fake.pull_request(&name, PullRequest::new(head.number, &name, &head.sha));
    }
    let mut service = fixture.builder.start().await;
    for repository in 0..REPOSITORIES.len() {
        push_to(&fixture, &service, repository, &history(12, now_seconds() - 7200)).await;
    }
    push_measured(&fixture, &service, &heads).await;
    fixture.fake.set_storm(Some(StormParameters {
        seed: 7,
        failing: 90,
        limited: 10,
        calls: 200,
        window: 3,
    }));
    let mut worker = has_two_processes.then(|| fixture.builder.start_worker());

    let deliveries = deliveries(&heads, &repositories);
    let (before, after) = deliveries.split_at(DELIVERIES / 2);
    send_from_many(&fixture, &service, before).await;
    // In the middle: some checks exist, most do not yet.
    eventually("the first checks", DEADLINE, || async {
        (fixture.fake.check_runs().len() >= 40).then_some(())
    })
    .await;
    if let Some(killed) = worker.take() {
        killed.kill();
        fixture.fake.clear_waits();
        worker = Some(fixture.builder.start_worker());
    } else {
        service.kill();
        fixture.fake.clear_waits();
        service = fixture.builder.start().await;
    }
    send_from_many(&fixture, &service, after).await;

    let wanted = usize::try_from(HEADS).expect("small");
    eventually("every check to be concluded", DEADLINE, || async {
        let concluded = fixture.fake.check_runs().iter().filter(|check| check.status == "completed").count();
        (concluded >= wanted).then_some(())
    })
    .await;
    let met = fixture.fake.set_storm(None);
    assert!(met.len() == 5 && met.values().sum::<usize>() > 50, "the storm caused too few faults: {met:?}");
    eventually("no task left", DEADLINE, || async {
        let url = format!("{}/metrics", service.url());
        let text = fixture.client.get(url).send().await.ok()?.text().await.ok()?;
        assert!(text.contains("pacegate_dead_jobs 0\n"), "a task is dead:\n{text}");
        text.contains("pacegate_open_jobs 0\n").then_some(())
    })
    .await;

    let mut checks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for check in fixture.fake.check_runs() {
        checks.entry(check.head_sha).or_default().push(check.status);
    }
    for head in &heads {
        assert_eq!(checks.get(&head.sha), Some(&vec!["completed".to_owned()]), "{}", head.sha);
    }
    assert_eq!(checks.len(), heads.len());
    let mut commented = 0;
    for (index, head) in
        heads.iter().enumerate().skip(wanted - usize::try_from(PULL_REQUESTS).expect("small"))
    {
        let comments = fixture.fake.comments(REPOSITORIES[head.repository], head.number);
        assert!(comments.len() <= 1, "pull request {} has {} comments", head.number, comments.len());
        assert!(comments.len() == 1 || !is_measured(index), "{} was slowed", head.sha);
        commented += comments.len();
    }
    assert!(commented >= 30, "{commented}");
    if let Some(worker) = worker {
        worker.terminate().await;
    }
    service.terminate().await;
    // Fails if a write ignored a wait.
    fixture.fake.finish();
}
