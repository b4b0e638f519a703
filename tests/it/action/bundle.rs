//! The action's built bundle in the stand-in runner: where it is, the steps that tests let a job
//! run, and what every job is held to at its end.

use std::path::{Path, PathBuf};

use super::artifact_service::ArtifactService;
use super::runner::{Job, Runner};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The action's folder.
pub(super) fn folder() -> PathBuf {
    root().join("action")
}

/// A runner for a job that uses the action, with an artifact service.
pub(super) fn runner(mut job: Job, artifacts: &ArtifactService) -> Runner {
    job.results = Some(artifacts.access(job.run_id, &job.key));
    Runner::new(&folder(), job)
}

/// A step: pytest with pytest-opentelemetry, whose cases take so many seconds.
pub(super) fn pytest(cart: f64, checkout: f64) -> String {
    format!(
        "export SHOP=cart={cart},checkout={checkout},refund=0.3\n\
         {0}/target/clients/python/pytest/bin/python -B -W ignore -m pytest -q -p no:cacheprovider \\\n\
           --rootdir={0}/tests/clients/python {0}/tests/clients/python/test_shop.py",
        root().display()
    )
}

/// A step: a program on the SDK of Node.
pub(super) fn node_program() -> String {
    format!("node {}/tests/clients/node/bundle.mjs", root().display())
}

/// A step: commands as spans, one within the other. As every part here that is judged, it takes longer
/// than a second: GitHub's clock tells shorter steps not apart.
pub(super) fn exec() -> String {
    let pacegate = env!("CARGO_BIN_EXE_pacegate");
    format!("{pacegate} exec --name deploy -- {pacegate} exec --name migrate -- sleep 1.2")
}

/// A step: unit tests of Node's own runner, which leaves a JUnit report and knows no tracer.
pub(super) fn junit() -> String {
    let script = root().join("tests/clients/node/units.test.mjs");
    format!("node --test --test-reporter=junit --test-reporter-destination=units.xml {}", script.display())
}

/// A step: so many spans over HTTP, one each, with a text of so many bytes.
pub(super) fn curl(spans: u32, bytes: usize) -> String {
    let padding = "x".repeat(bytes);
    let span = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"$trace","spanId":"00000000000000'$n'","parentSpanId":"$span","name":"by hand $n","kind":1,"startTimeUnixNano":"$now","endTimeUnixNano":"$now","attributes":[{{"key":"text","value":{{"stringValue":"{padding}"}}}}]}}]}}]}}]}}"#
    );
    // Quoted so that the shell fills in what begins with a dollar.
    let span = span.replace("'$n'", "$n").replace('"', "\\\"");
    format!(
        "trace=${{TRACEPARENT:3:32}} span=${{TRACEPARENT:36:16}} now=$(date +%s%N)\n\
         for n in $(seq 10 {}); do\n\
           curl --silent --show-error --fail --max-time 10 --header 'Content-Type: application/json' \\\n\
             --data \"{span}\" $OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces\n\
         done",
        9 + spans
    )
}

/// Ends a job, and holds it to what every job with the action has to keep: no step of the action
/// fails, holds the job up or leaves something behind, and no secret can be read anywhere.
pub(super) fn ended_unharmed(runner: &Runner, artifacts: &ArtifactService) {
    let (running, left) = (runner.end(), runner.left_behind());
    assert!(running.is_empty() && left.is_empty(), "left running: {running:?}, left behind: {left:?}");
    let own = runner.steps.iter().filter(|step| step.name.contains("pacegate/action"));
    for step in own {
        assert_eq!((step.code, step.output_held), (Some(0), false), "{}:\n{}", step.name, step.text());
        let errors = step.annotations.iter().filter(|annotation| annotation.level == "error").count();
        assert_eq!(errors, 0, "an error marks the job as failed where people look:\n{}", step.text());
    }
    no_secret(runner, artifacts, &runner.visible());
}

/// Holds a text to have none of the job's secrets.
pub(super) fn no_secret(runner: &Runner, artifacts: &ArtifactService, text: &str) {
    let access = [&runner.job.results, &runner.job.id_tokens].into_iter().flatten();
    let tokens = access.map(|access| access.token.clone()).chain(runner.job.secrets.clone());
    for secret in tokens.chain(artifacts.signatures()) {
        assert!(!text.contains(&secret), "{secret:?} can be read:\n{text}");
    }
    // Those the action was given while it ran: an OIDC token, a grant.
    for beginning in ["eyJ", "pgg_"] {
        assert!(!text.contains(beginning), "a secret that begins with {beginning} can be read:\n{text}");
    }
}
