//! The policy of the base branch, a change's own edit of it, and the lines of workflow files. All
//! are read from GitHub and shown in the check. The service works without them if it lacks the
//! permission.

use serde_json::Value;

use super::{Database, Fixture, REPO, on_both};
use crate::pipeline::Run;
use crate::service::Service;
use crate::time::now_seconds;
use crate::webhooks::sha;

const POLICY: &str = ".github/pacegate.yml";
const WORKFLOW: &str = ".github/workflows/ci.yml";

/// The pipeline of these tests as a workflow. The slowed step is on line 8.
const CI: &str = "name: my-app
on: [pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - name: integration-tests
        run: make integration
";

/// A slowed run of a pull request's head that names its workflow.
fn slowed(number: u64, head: &str, minutes_ago: i64) -> Value {
    let run = Run::slowed(head, &format!("change-{number}"), now_seconds() - minutes_ago * 60);
    Run { workflow: Some(WORKFLOW), ..run }.request()
}

/// Opens a pull request and sends a slowed run of its head.
async fn opened(fixture: &Fixture, service: &Service, number: u64, head: &str) {
    fixture.deliver(service, &fixture.pull_request("opened", number, head)).await;
    fixture.push(service, &slowed(number, head, 10)).await;
}

fn places(annotations: &[Value]) -> Vec<(&str, u64, &str)> {
    annotations
        .iter()
        .map(|a| {
            let text = |name: &str| a[name].as_str().expect("text");
            (text("path"), a["start_line"].as_u64().expect("a line"), text("annotation_level"))
        })
        .collect()
}

on_both!(base_branch_policy_gates_and_findings_have_lines);
async fn base_branch_policy_gates_and_findings_have_lines(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    fixture.fake.file(REPO, "main", POLICY, b"# ours\nversion: 1\nmode: gate\ncomment: never\n");
    let (first, second) = (sha("gated 1"), sha("gated 2"));
    for head in [&first, &second] {
        fixture.fake.file(REPO, head, POLICY, b"# ours\nversion: 1\nmode: gate\ncomment: never\n");
        fixture.fake.file(REPO, head, WORKFLOW, CI.as_bytes());
    }
    fixture.deliver(&service, &fixture.pull_request("opened", 7, &first)).await;
    fixture.push(&service, &slowed(7, &first, 30)).await;
    let check = fixture.concluded(&first).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"), "one run proves nothing");
    assert_eq!(places(&check.annotations), [(WORKFLOW, 8, "notice"), (WORKFLOW, 8, "notice")]);

    fixture.deliver(&service, &fixture.pull_request("synchronize", 7, &second)).await;
    fixture.push(&service, &slowed(7, &second, 10)).await;
    let check = fixture.concluded(&second).await;
    assert_eq!(check.conclusion.as_deref(), Some("failure"), "{:?}", check.title);
    assert_eq!(places(&check.annotations), [(WORKFLOW, 8, "failure"), (WORKFLOW, 8, "failure")]);
    let text = check.text.expect("a text");
    let text = text.replace('\u{200b}', "");
    assert!(text.contains("Policy: `.github/pacegate.yml` on `main`, gate mode."), "{text}");
    assert!(text.contains("line 8") && !text.contains("after the merge"), "{text}");
    fixture.wait_until_idle(&service, 2).await;
    assert!(fixture.fake.comments(REPO, 7).is_empty(), "the policy wants no comment");
    let (_, verdict) = fixture.api(&service, &format!("/commits/{second}/verdict")).await;
    let line = &verdict["stages"][0]["location"];
    assert_eq!((line["path"].as_str(), line["line"].as_u64()), (Some(WORKFLOW), Some(8)), "{verdict}");
    // The policy is requested once a minute, and a file at a commit once.
    let asked = |path: &str, git_ref: &str| {
        let is_it = |query: &[(String, String)]| query.iter().any(|(k, v)| k == "ref" && v == git_ref);
        fixture.fake.requests().iter().filter(|r| r.path.ends_with(path) && is_it(&r.query)).count()
    };
    assert_eq!([asked(POLICY, &second), asked(WORKFLOW, &second)], [1, 1]);
    assert!(asked(POLICY, "main") < 4, "{}", asked(POLICY, "main"));
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(unusable_policy_is_reported_with_line_numbers);
async fn unusable_policy_is_reported_with_line_numbers(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    let head = sha("broken policy");
    let base = b"version: 1\nmoed: gate\n";
    let own = b"version: 1\ndefaults:\n  min_ratio: 0.5\nconfirm: {samples: 1}\n";
    fixture.fake.file(REPO, "main", ".github/pacegate.yaml", base);
    fixture.fake.file(REPO, &head, ".github/pacegate.yaml", own);
    opened(&fixture, &service, 7, &head).await;
    let check = fixture.concluded(&head).await;
    assert_eq!(check.conclusion.as_deref(), Some("neutral"));
    let summary = check.summary.expect("a summary");
    for part in [
        "line 2, column 1: unknown field",
        "judged by the defaults",
        "line 3, column 14: defaults.min",
        "line 4, column 20: confirm.samples",
    ] {
        assert!(summary.replace('\u{200b}', "").contains(part), "{part} is not in:\n{summary}");
    }
    let path = ".github/pacegate.yaml";
    // The workflow's file is missing, so the findings have no line.
    assert_eq!(places(&check.annotations), [(path, 3, "warning"), (path, 4, "warning")]);
    fixture.wait_until_idle(&service, 1).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(policy_edit_takes_effect_after_merge);
async fn policy_edit_takes_effect_after_merge(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    fixture.fake.file(REPO, "main", POLICY, b"comment: always\n");
    let head = sha("edits the policy");
    fixture.fake.file(REPO, &head, POLICY, b"stages: [{match: '**', ignore: true}]\n");
    opened(&fixture, &service, 7, &head).await;
    let check = fixture.concluded(&head).await;
    assert!(check.title.as_deref().is_some_and(|title| title.contains("integration-tests")), "{check:?}");
    let text = check.text.expect("a text");
    assert!(text.contains("takes effect after the merge"), "{text}");
    assert!(check.annotations.is_empty(), "{:?}", check.annotations);
    fixture.wait_until_idle(&service, 1).await;
    service.terminate().await;
    fixture.fake.finish();
}

on_both!(missing_contents_permission_applies_default_policy);
async fn missing_contents_permission_applies_default_policy(database: Database) {
    let fixture = Fixture::new(database).await;
    let service = fixture.builder.start().await;
    fixture.push_history(&service).await;
    fixture.fake.change_installation(99, |installation| {
        installation.permissions.remove("contents");
    });
    fixture.fake.file(REPO, "main", POLICY, b"stages: [{match: '**', ignore: true}]\n");
    let head = sha("no permission");
    fixture.fake.file(REPO, &head, WORKFLOW, CI.as_bytes());
    opened(&fixture, &service, 7, &head).await;
    let check = fixture.concluded(&head).await;
    assert!(check.title.as_deref().is_some_and(|title| title.contains("integration-tests")), "{check:?}");
    let text = check.text.expect("a text").replace('\u{200b}', "");
    assert!(text.contains("contents:read is missing"), "{text}");
    assert_eq!(text.matches("may not read this repository").count(), 1, "reported once: {text}");
    assert!(check.annotations.is_empty());
    fixture.wait_until_idle(&service, 1).await;
    service.terminate().await;
    fixture.fake.finish();
}
