//! A second check of our calls and of how we read the answers, with the real client and without the
//! fake GitHub. Prism is a mock server made from GitHub's own description. It refuses what the
//! description does not allow.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pacegate_clock::Clock;
use pacegate_engine::model::ids::{InstallationId, PrNumber};
use pacegate_github::RepoClient;
use pacegate_github::actions::RunQuery;
use pacegate_github::app_auth::{App, Purpose};
use pacegate_github::checks::{CheckRunAction, CheckRunAnnotation, CheckRunOutput};
use pacegate_github::registration;
use serde_json::json;

use crate::fake_github::keys;
use crate::time::eventually;
use crate::webhooks::sha;

/// A Prism process on its own port. It ends with the test.
struct Prism {
    child: Child,
    url: String,
}

impl Prism {
    async fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let child = Command::new("node")
            .arg(root.join("tests/node_modules/@stoplight/prism-cli/dist/index.js"))
            .args(["mock", "--host", "127.0.0.1", "--port", &port.to_string()])
            .arg(root.join("target/openapi/prism.json"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is installed, and `make test-data` installs Prism");
        let prism = Self { child, url: format!("http://127.0.0.1:{port}") };
        eventually("Prism", Duration::from_mins(1), || async {
            reqwest::get(format!("{}/rate_limit", prism.url)).await.ok().map(|_| ())
        })
        .await;
        prism
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn output(annotations: usize) -> CheckRunOutput {
    let annotation = |i: usize| CheckRunAnnotation {
        path: ".github/workflows/ci.yml".into(),
        start_line: u32::try_from(i + 1).expect("a line"),
        end_line: u32::try_from(i + 1).expect("a line"),
        annotation_level: "warning",
        title: "Integration tests: 1.6x slower".into(),
        message: "20.7 s before, 33.1 s now".into(),
    };
    CheckRunOutput {
        title: "Integration tests 1.6x slower".into(),
        summary: "| Stage |\n|:--|\n| `Integration tests` |".into(),
        text: Some("### Baseline".into()),
        annotations: (0..annotations).map(annotation).collect(),
        actions: [("Accept change", "accept"), ("Re-evaluate", "reevaluate"), ("Mute 7 days", "mute")]
            .map(|(label, identifier)| CheckRunAction { label, description: "What it does", identifier })
            .to_vec(),
    }
}

fn app(prism: &Prism) -> App {
    let key = keys::app().private_pem.clone().into();
    App::new(4711, &key, &prism.url, Duration::from_secs(30), Clock::system()).expect("an App")
}

/// Calls of the App about its configuration, its installations and its deliveries.
async fn app_calls(app: &App, prism: &Prism) {
    app.facts().await.expect("the App");
    app.webhook_config().await.expect("a configuration");
    let deliveries = app.sent_deliveries(Some("v1_1")).await.expect("a page").deliveries;
    app.redeliver(deliveries.first().expect("the example has one").id).await.expect("accepted");
    app.failed_deliveries(Duration::from_hours(24)).await.expect("a list");
    assert!(!app.installations().await.expect("a list").is_empty());
    assert!(app.installation(InstallationId(99)).await.expect("an answer").is_some());
    app.installation_of(&"acme/my-app".parse().expect("a name")).await.expect("an installation");
    app.reach(InstallationId(99)).await.expect("what it reaches");
    registration::exchange("code", &prism.url, Duration::from_secs(30), Clock::system())
        .await
        .expect("an App and its secrets");
}

async fn actions_calls(actions: &RepoClient) {
    assert!(!actions.workflows().await.expect("a list").is_empty());
    // Without `created`: the schema wants a single time there, while the text of the description
    // allows a range. Also without a workflow's own runs: the workflow is "exactly one of" a number
    // and a text, and for Prism a number is both.
    let query = RunQuery {
        branch: Some("main"),
        status: Some("success"),
        head_sha: Some("0123456789abcdef0123456789abcdef01234567"),
        per_page: 20,
        page: 2,
        ..RunQuery::default()
    };
    assert!(!actions.workflow_runs(&query).await.expect("a page").workflow_runs.is_empty());
    actions.workflow_run(30_433_642).await.expect("a run");
    actions.workflow_run_attempt(30_433_642, 1).await.expect("an attempt");
    assert!(!actions.jobs_of_attempt(30_433_642, 1).await.expect("jobs").jobs.is_empty());
    // The artifacts' bytes are not fetched: the address in the example is on the internet.
    assert!(!actions.artifacts_of_run(30_433_642).await.expect("a list").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn github_description_allows_every_client_call() {
    let prism = Prism::start().await;
    // Makes sure that Prism refuses anything at all: this button's label is too long.
    let wrong = json!({
        "name": "Pacegate", "head_sha": sha("head"),
        "actions": [{ "label": "far more than twenty characters", "description": "x", "identifier": "x" }],
    });
    let refused =
        reqwest::Client::new().post(format!("{}/repos/acme/my-app/check-runs", prism.url)).json(&wrong);
    let status = refused.send().await.expect("an answer").status();
    assert!(status.is_client_error(), "Prism checks what it receives: {status}");

    let app = app(&prism);
    let repo = "acme/my-app".parse().expect("a name");
    let client = async |purpose| app.repository(InstallationId(99), &repo, purpose).await.expect("a token");
    app_calls(&app, &prism).await;

    client(Purpose::ReadMetadata).await.repository().await.expect("a repository");
    client(Purpose::ReadMetadata).await.may_write("octocat").await.expect("a permission");
    let pull_requests = client(Purpose::ReadPullRequests).await;
    pull_requests.pull_request(PrNumber(7)).await.expect("a pull request");
    assert!(!pull_requests.open_pull_requests().await.expect("a list").pull_requests.is_empty());
    pull_requests.open_pull_requests_from("acme", "a/b & c").await.expect("a list");
    let contents = client(Purpose::ReadContents).await;
    // Prism accepts no slash in the path variable, as GitHub does, so the file is in the root
    // folder.
    assert!(contents.file("pacegate.yml", "main").await.expect("a file").is_some());
    actions_calls(&client(Purpose::ReadActions).await).await;

    let checks = client(Purpose::WriteChecks).await;
    let head = sha("head").parse().expect("a commit");
    checks.find_check_run(&head, "none").await.expect("a list");
    let page = Some("https://gate.example/acme/my-app");
    let check_run = checks.create_check_run(&head, "head:1", page, &output(0)).await.expect("a check run");
    checks.update_pending_check_run(check_run.id, &output(0)).await.expect("an update");
    // The example already has annotations, so the client lists them first. The update takes two
    // requests.
    assert!(check_run.output.annotations_count > 0);
    checks.conclude_check_run(&check_run, "neutral", page, &output(70)).await.expect("a conclusion");

    let comments = client(Purpose::WriteComments).await;
    comments.find_comment(PrNumber(7), "<!-- none -->").await.expect("a list");
    let comment = comments.create_comment(PrNumber(7), "text").await.expect("a comment");
    comments.update_comment(comment.id, "other text").await.expect("an update");
}
