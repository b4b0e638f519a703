//! Tests of a run's identity: the conventions, their aliases and their order, and the order of linked
//! traces.

use super::*;
use crate::gate::tests::fixture::{SpanBuilder, trace};
use crate::model::ids::TraceId;
use crate::model::span::SpanStatus;

fn of(attributes: &[(&str, &str)]) -> RunIdentity {
    RunIdentity::of(&trace(vec![SpanBuilder::new(1, "pipeline-execution-77").attributes(attributes).build()]))
}

#[test]
fn conventions_and_aliases_are_read() {
    let identity = of(&[
        ("cicd.pipeline.name", "nightly-8812"),
        ("cicd.pipeline.result", "timeout"),
        ("cicd.pipeline.run.id", "r-7"),
        ("vcs.owner.name", "acme"),
        ("vcs.repository.name", "my-app"),
        ("vcs.ref.head.revision", "0123456789ABCDEF"),
        ("vcs.ref.head.name", "refs/heads/feature/x"),
        ("github.run_attempt", "3"),
        ("os.type", "Linux"),
        ("host.arch", "x86_64"),
        ("runner.labels", "self-hosted, gpu"),
    ]);
    assert_eq!(identity.repo_claim.as_deref(), Some("acme/my-app"));
    assert_eq!(identity.head_sha.as_ref().map(CommitSha::as_str), Some("0123456789abcdef"));
    assert_eq!(identity.pipeline, "nightly-{n}");
    assert_eq!((identity.attempt, identity.result), (3, RunResult::Timeout));
    assert_eq!(identity.lineage(), Lineage::Branch { name: "feature/x".into() });
    assert_eq!(identity.runner.describe(), "linux amd64 gpu self-hosted");
    assert_eq!(identity.external_id.as_deref(), Some("r-7"));
}

#[test]
fn bare_trace_has_only_a_pipeline() {
    let identity = of(&[]);
    assert_eq!(identity.pipeline, "pipeline-execution-{n}");
    assert_eq!((identity.attempt, identity.result), (1, RunResult::Success));
    assert_eq!(identity.lineage(), Lineage::Unknown);
    assert_eq!((identity.repo_claim, identity.head_sha, identity.external_id), (None, None, None));
}

#[test]
fn workflow_path_outside_githubs_folder_is_refused() {
    let ci = Some(".github/workflows/ci.yml");
    for (key, text, expected) in [
        ("github.workflow.path", ".github/workflows/ci.yml", ci),
        ("github.workflow.path", ".github/workflows/ci.yml@refs/heads/main", ci),
        ("github.workflow_ref", "acme/app/.github/workflows/ci.yml@refs/pull/3/merge", ci),
        ("cicd.pipeline.definition.path", "Jenkinsfile", None),
        ("github.workflow.path", ".github/workflows/../../etc/passwd", None),
        ("github.workflow.path", ".github/workflows/a/b.yml", None),
        ("github.workflow.path", ".github/workflows/.yml", None),
        ("github.workflow.path", "dynamic/pages/pages-build-deployment", None),
    ] {
        assert_eq!(of(&[(key, text)]).workflow_path.as_deref(), expected, "{text}");
    }
}

#[test]
fn repository_is_derived_from_name_or_url() {
    for (attributes, expected) in [
        (&[("vcs.repository.name", "acme/app")][..], Some("acme/app")),
        (&[("vcs.repository.name", "app")], None),
        (&[("vcs.repository.url.full", "https://github.com/acme/app.git")], Some("acme/app")),
        (&[("vcs.repository.url.full", "git@github.com:acme/app.git")], Some("acme/app")),
        (&[("vcs.repository.url.full", "https://github.com/acme/app?x=1")], Some("acme/app")),
        (&[("vcs.repository.url.full", "https://github.com/")], None),
        (&[("vcs.repository.name", "app"), ("github.repository", "acme/app")], Some("acme/app")),
        (&[("github.repository", "../../etc")], None),
    ] {
        assert_eq!(of(attributes).repo_claim.as_deref(), expected, "{attributes:?}");
    }
}

#[test]
fn pull_request_wins_and_tag_is_neither() {
    for (attributes, expected) in [
        (&[("vcs.change.id", "12"), ("vcs.ref.head.name", "main")][..], Some(12)),
        (&[("github.ref_name", "12/merge")], Some(12)),
        (&[("vcs.ref.head", "refs/pull/9/head")], Some(9)),
        (&[("vcs.change.id", "none")], None),
        (&[("vcs.ref.head.name", "v1.2"), ("vcs.ref.head.type", "tag")], None),
        (&[("vcs.ref.head.name", "refs/tags/v1.2")], None),
    ] {
        let lineage = expected.map_or(Lineage::Unknown, |n| Lineage::PullRequest { number: PrNumber(n) });
        assert_eq!(of(attributes).lineage(), lineage, "{attributes:?}");
    }
}

#[test]
fn numeric_attributes_are_read_root_first() {
    let root = SpanBuilder::new(1, "root").int("vcs.change.id", 31).resource(&[("github.sha", "abcdef0")]);
    let child = SpanBuilder::new(2, "child")
        .parent(1)
        .int("github.run_attempt", 2)
        .attributes(&[("github.sha", "1111111"), ("cicd.pipeline.result", "failure")]);
    let identity = RunIdentity::of(&trace(vec![root.build(), child.build()]));
    assert_eq!((identity.change, identity.attempt), (Some(PrNumber(31)), 2));
    assert_eq!(identity.head_sha.as_ref().map(CommitSha::as_str), Some("abcdef0"));
    assert_eq!(identity.result, RunResult::Success, "a child's result is not the run's");
}

#[test]
fn root_trace_wins_over_linked_traces() {
    let other = [("vcs.change.id", "12"), ("vcs.ref.head.name", "feature"), ("github.sha", "1111111")];
    let cases: [(&[(&str, &str)], _, _); 4] = [
        (&[("vcs.ref.head.name", "main"), ("github.sha", "abcdef0")], (Some("main"), None), "abcdef0"),
        (&[("vcs.change.id", "7")], (None, Some(PrNumber(7))), "1111111"),
        (&[("vcs.ref.head.name", "refs/tags/v1")], (None, None), "1111111"),
        (&[], (Some("feature"), Some(PrNumber(12))), "1111111"),
    ];
    for (own, (branch, change), commit) in cases {
        let root = SpanBuilder::new(1, "root").build();
        let deep = SpanBuilder::new(2, "child").parent(1).attributes(own).build();
        let mut linked = SpanBuilder::new(3, "linked").attributes(&other).build();
        linked.trace_id = TraceId::from_bytes(&[8; 16]).expect("not zero");
        let principal = root.trace_id;
        let trace = Trace::build_linked(vec![root, linked, deep], principal).expect("has spans");
        let identity = RunIdentity::of(&trace);
        assert_eq!((identity.branch.as_deref(), identity.change), (branch, change), "{own:?}");
        assert_eq!(identity.head_sha.as_ref().map(CommitSha::as_str), Some(commit), "{own:?}");
    }
}

#[test]
fn failed_root_fails_run_without_result_attribute() {
    let failed = SpanBuilder::new(1, "root").status(SpanStatus::Error(String::new()));
    assert_eq!(RunIdentity::of(&trace(vec![failed.build()])).result, RunResult::Failure);
    let cancelled = SpanBuilder::new(1, "root")
        .status(SpanStatus::Error(String::new()))
        .attributes(&[("cicd.pipeline.run.status", "cancelled")]);
    assert_eq!(RunIdentity::of(&trace(vec![cancelled.build()])).result, RunResult::Cancellation);
}

#[test]
fn root_identity_ignores_all_other_spans() {
    let root = SpanBuilder::new(1, "RUN CI").attributes(&[("cicd.pipeline.name", "CI")]).build();
    let sent = [("vcs.ref.head.revision", "e83c516"), ("os.type", "linux"), ("vcs.ref.head.name", "main")];
    let trace = trace(vec![root.clone(), SpanBuilder::new(2, "sent").parent(1).attributes(&sent).build()]);
    let whole = RunIdentity::of(&trace);
    assert_eq!((whole.branch.as_deref(), whole.runner.os.as_deref()), (Some("main"), Some("linux")));
    let of_root = RunIdentity::of_root(&root);
    assert_eq!((of_root.pipeline.as_str(), of_root.head_sha, of_root.branch), ("CI", None, None));
    assert_eq!(of_root.runner.os, None);
}
