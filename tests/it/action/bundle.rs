//! The action's built bundle in the stand-in runner: its folder, the steps of the tests' jobs, and
//! the checks at the end of every job.

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

/// A step: pytest with pytest-opentelemetry. `cart` and `checkout` are seconds of its two test
/// cases.
pub(super) fn pytest(cart: f64, checkout: f64) -> String {
    format!(
        "export SHOP=cart={cart},checkout={checkout},refund=0.3\n\
         {0}/target/clients/python/pytest/bin/python -B -W ignore -m pytest -q -p no:cacheprovider \\\n\
           --rootdir={0}/tests/clients/python {0}/tests/clients/python/test_shop.py",
        root().display()
    )
}

/// A step: a program with Node's SDK.
pub(super) fn node_program() -> String {
    format!("node {}/tests/clients/node/bundle.mjs", root().display())
}

/// A step: nested commands as spans. Like every judged part, it takes longer than a second, because
/// GitHub's times are whole seconds.
pub(super) fn exec() -> String {
    let pacegate = env!("CARGO_BIN_EXE_pacegate");
    format!("{pacegate} exec --name deploy -- {pacegate} exec --name migrate -- sleep 1.2")
}

/// A step: unit tests with Node's own runner. It writes a JUnit report and has no tracer.
pub(super) fn junit() -> String {
    let script = root().join("tests/clients/node/units.test.mjs");
    format!("node --test --test-reporter=junit --test-reporter-destination=units.xml {}", script.display())
}

/// A step that posts `spans` requests over HTTP. Each holds one span with a text of `bytes` bytes.
pub(super) fn curl(spans: u32, bytes: usize) -> String {
    let padding = "x".repeat(bytes);
    let span = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"$trace","spanId":"00000000000000'$n'","parentSpanId":"$span","name":"by hand $n","kind":1,"startTimeUnixNano":"$now","endTimeUnixNano":"$now","attributes":[{{"key":"text","value":{{"stringValue":"{padding}"}}}}]}}]}}]}}]}}"#
    );
    // Quoted so that the shell expands variables.
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

/// Ends a job and checks what every job with the action has to keep:
/// - no step of the action fails,
/// - nothing delays the job or stays behind,
/// - no secret is readable anywhere.
pub(super) fn assert_unharmed(runner: &Runner, artifacts: &ArtifactService) {
    let (running, left) = (runner.end(), runner.left_behind());
    assert!(running.is_empty() && left.is_empty(), "left running: {running:?}, left behind: {left:?}");
    let own = runner.steps.iter().filter(|step| step.name.contains("pacegate/action"));
    for step in own {
        assert_eq!((step.code, step.output_held), (Some(0), false), "{}:\n{}", step.name, step.text());
        let errors = step.annotations.iter().filter(|annotation| annotation.level == "error").count();
        assert_eq!(errors, 0, "an error marks the job as failed in GitHub's pages:\n{}", step.text());
    }
    assert_no_secret(runner, artifacts, &runner.visible());
}

/// Fails if a text contains one of the job's secrets.
pub(super) fn assert_no_secret(runner: &Runner, artifacts: &ArtifactService, text: &str) {
    let access = [&runner.job.results, &runner.job.id_tokens].into_iter().flatten();
    let tokens = access.map(|access| access.token.clone()).chain(runner.job.secrets.clone());
    for secret in tokens.chain(artifacts.signatures()) {
        assert!(!text.contains(&secret), "{secret:?} can be read:\n{text}");
    }
    // The prefixes of secrets that the action received while it ran: an OIDC token, a grant.
    for beginning in ["eyJ", "pgg_"] {
        assert!(!text.contains(beginning), "a secret that begins with {beginning} can be read:\n{text}");
    }
}
