//! The action never disturbs a job. If its receiver, its server, the disk or the job fails, its own
//! steps still succeed, a warning names the missing data, and nothing stays behind.

use serde_json::json;

use super::archive::Archive;
use super::artifact_service::{ArtifactService, Behaviour};
use super::bundle::{assert_no_secret, assert_unharmed, curl, exec, junit, node_program, pytest, runner};
use super::runner::{Job, Runner};
use crate::end_to_end::REPO;
use crate::endpoint::{self, Endpoint};
use crate::webhooks::sha;

fn job() -> Job {
    Job::new(REPO, 5001, "test", &sha("a head"))
}

/// The archive in the service's only artifact.
fn shipped(artifacts: &ArtifactService) -> Archive {
    artifacts.finish();
    let [artifact] = &artifacts.artifacts()[..] else { panic!("one artifact") };
    assert!(artifact.expires_at.is_some(), "the artifact has to expire");
    Archive::read(&artifact.zip)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_ships_spans_reports_and_runner_facts() {
    let artifacts = ArtifactService::start().await;
    let mut job = job().with("reports", "**/units.xml\nnothing/*.xml").with("service-name", "shop");
    job.matrix = json!({ "os": "ubuntu", "node": [18, 20] });
    job.id_tokens = Some(super::runner::Access {
        url: "http://127.0.0.1:9/?x=1".to_owned(),
        token: "the request token of a job".to_owned(),
    });
    let mut runner = runner(job, &artifacts);
    let main = runner.main().clone();
    assert_eq!(main.warnings(), [""; 0], "{}", main.text());
    let job_span = "0000000000000000";
    let traceparent = main.outputs["traceparent"].clone();
    assert!(
        traceparent.starts_with("00-") && traceparent.ends_with("-01") && !traceparent.contains(job_span)
    );
    assert_eq!(runner.exported("TRACEPARENT"), Some(traceparent.as_str()));
    assert_eq!(runner.exported("OTEL_EXPORTER_OTLP_ENDPOINT"), Some(main.outputs["otlp-endpoint"].as_str()));
    assert_eq!(runner.exported("OTEL_SERVICE_NAME"), Some("shop"));
    // Secrets are neither on disk nor in the environment of processes beside the steps.
    assert_no_secret(&runner, &artifacts, &runner.visible());
    assert_no_secret(&runner, &artifacts, &runner.environments());

    for script in [pytest(0.1, 0.1), node_program(), exec(), junit()] {
        let step = runner.run("Run a part", &script);
        assert_eq!(step.code, Some(0), "{}", step.text());
    }
    let cache = "echo PACEGATE_CACHE_CARGO=true >>$GITHUB_ENV; echo PACEGATE_CACHE_NPM= >>$GITHUB_ENV";
    runner.run("Note the caches", cache);
    let post = runner.post().clone();
    assert_unharmed(&runner, &artifacts);

    let archive = shipped(&artifacts);
    let names = archive.names();
    for name in ["test_shop.py::test_checkout", "transform", "deploy", "migrate"] {
        assert!(names.iter().any(|known| known.contains(name)), "{name} is not in {names:?}");
    }
    let trace = &traceparent[3..35];
    assert!(archive.each().iter().all(|span| span["traceId"] == trace));
    assert_eq!(archive.report_paths(), ["units.xml"]);
    assert!(archive.report(0).contains("rounds half to even"));
    let manifest = &archive.manifest;
    for (name, value) in [
        ("schema", json!(1)),
        ("repository", json!(REPO)),
        ("repository_id", json!("1296269")),
        ("run_id", json!("5001")),
        ("run_attempt", json!(1)),
        ("job", json!("test")),
        ("check_run_id", json!("500101")),
        ("head_sha", json!(sha("a head"))),
        ("trace_id", json!(trace)),
        ("job_span_id", json!(&traceparent[36..52])),
        ("runner_name", json!("GitHub Actions 1")),
        ("matrix", json!({ "os": "ubuntu", "node": [18, 20] })),
        ("service_name", json!("shop")),
        ("caches", json!({ "cargo": "hit", "npm": "miss" })),
        ("dropped", json!({ "spans": 0, "bytes": 0, "reports": ["nothing/*.xml: no such file"] })),
    ] {
        assert_eq!(manifest[name], value, "{name}");
    }
    assert_eq!(manifest["runner"]["host.image.name"], "ubuntu24");
    // Markdown characters in names are escaped.
    assert!(post.summary.contains("transform") && post.summary.contains("nothing/"), "{}", post.summary);
}

/// A disturbed job and its expected result.
struct Case {
    name: &'static str,
    job: fn(Job) -> Job,
    steps: fn(&mut Runner),
    /// A part of the action's warning, empty when no warning is expected.
    warns: &'static str,
    /// Spans in the artifact, `None` when no artifact is expected.
    spans: Option<usize>,
}

const CASES: &[Case] = &[
    Case {
        name: "a step is cut off with its child processes",
        job: |job| job,
        steps: |runner| {
            let script = format!("{}\necho ready; sleep 600", curl(2, 10));
            runner.run_cut_off("Run tests", &script, "ready");
        },
        warns: "",
        spans: Some(2),
    },
    Case {
        name: "the receiver is killed",
        job: |job| job,
        steps: |runner| {
            runner.run("Run tests", &curl(3, 10));
            assert_eq!(runner.end().len(), 1, "one process runs beside the steps");
            assert_ne!(runner.run("Run more tests", &curl(1, 10)).code, Some(0), "nothing listens");
        },
        warns: "receiver",
        spans: Some(3),
    },
    Case {
        name: "main cannot listen",
        job: |job| job.with("listen", "203.0.113.1"),
        steps: |runner| {
            assert_eq!(runner.exported("OTEL_EXPORTER_OTLP_ENDPOINT"), None, "nothing to send to");
            runner.run("Run tests", &node_program());
        },
        warns: "203.0.113.1",
        // Without spans, the archive still has reports and facts about the runner.
        spans: Some(0),
    },
    Case {
        name: "more is sent than is kept",
        job: |job| job.with("max-size", "4KiB"),
        steps: |runner| {
            let step = runner.run("Run tests", &curl(6, 1000));
            assert_eq!(step.code, Some(0), "a sender is answered with success: {}", step.text());
        },
        warns: "max-size",
        spans: Some(3),
    },
    Case {
        name: "switched off",
        job: |job| job.with("capture", "false"),
        steps: |runner| {
            assert_eq!(runner.exported("TRACEPARENT"), None);
            assert!(runner.steps[0].text().contains("capture"), "{}", runner.steps[0].text());
        },
        warns: "",
        spans: None,
    },
    Case {
        name: "an invalid input",
        job: |job| job.with("max-size", "a lot").with("server-url", "ftp://example.com"),
        steps: |runner| {
            runner.run("Run tests", &curl(1, 10));
        },
        warns: "max-size",
        spans: Some(1),
    },
    Case {
        name: "an unreachable server",
        job: |job| job.with("server-url", "http://127.0.0.1:9").with("token", "pgi_an_ingest_token"),
        steps: |runner| {
            runner.run("Run tests", &curl(1, 10));
        },
        warns: "127.0.0.1:9",
        spans: Some(1),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_ends_as_without_action_despite_failures() {
    for case in CASES {
        let artifacts = ArtifactService::start().await;
        let mut job = (case.job)(job());
        job.secrets.extend(job.with.get("token").cloned());
        let mut runner = runner(job, &artifacts);
        runner.main();
        (case.steps)(&mut runner);
        runner.post();
        assert_unharmed(&runner, &artifacts);
        let warnings: Vec<&str> = runner.steps.iter().flat_map(|step| step.warnings()).collect();
        let said = warnings.iter().any(|warning| warning.contains(case.warns));
        assert_eq!(
            (warnings.is_empty(), said),
            (case.warns.is_empty(), !case.warns.is_empty()),
            "{}: {warnings:?}",
            case.name
        );
        match case.spans {
            None => assert_eq!(artifacts.artifacts().len(), 0, "{}", case.name),
            Some(spans) => assert_eq!(shipped(&artifacts).names().len(), spans, "{}", case.name),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn post_step_without_main_succeeds_and_ships_nothing() {
    let artifacts = ArtifactService::start().await;
    let mut runner = runner(job(), &artifacts);
    runner.post();
    assert_unharmed(&runner, &artifacts);
    assert!(artifacts.artifacts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_use_in_job_warns_and_does_nothing() {
    let artifacts = ArtifactService::start().await;
    let mut runner = runner(job(), &artifacts);
    runner.main();
    let endpoint = runner.exported("OTEL_EXPORTER_OTLP_ENDPOINT").map(str::to_owned);
    assert!(!runner.main().warnings().is_empty());
    assert_eq!(runner.exported("OTEL_EXPORTER_OTLP_ENDPOINT").map(str::to_owned), endpoint);
    runner.run("Run tests", &curl(1, 10));
    runner.post();
    assert_unharmed(&runner, &artifacts);
    assert_eq!(shipped(&artifacts).names(), ["by hand 10"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_or_silent_server_causes_only_a_warning() {
    for behaviour in [
        endpoint::Behaviour::Answers(axum::http::StatusCode::INTERNAL_SERVER_ERROR),
        endpoint::Behaviour::Hangs,
    ] {
        let (artifacts, server) = (ArtifactService::start().await, Endpoint::start(behaviour).await);
        let mut job = job().with("server-url", server.url()).with("token", "an ingest token");
        job.secrets.push("an ingest token".to_owned());
        let mut runner = runner(job, &artifacts);
        runner.main();
        runner.run("Run tests", &curl(1, 10));
        let post = runner.post();
        assert!(post.warnings().iter().any(|warning| warning.contains("not sent")), "{}", post.text());
        assert_unharmed(&runner, &artifacts);
        assert_eq!(shipped(&artifacts).names().len(), 1);
        assert!(server.request_count() >= 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifact_refused_by_github_causes_only_a_warning() {
    let artifacts = ArtifactService::start().await;
    artifacts.set(Behaviour::Answers(403));
    let mut runner = runner(job(), &artifacts);
    runner.main();
    runner.run("Run tests", &curl(1, 10));
    let post = runner.post();
    assert_eq!(post.warnings().len(), 1, "{}", post.text());
    assert_unharmed(&runner, &artifacts);
}
