//! What a job uploaded, made ready to be kept. Pure. In a run that GitHub tells of, every span hangs
//! below the job and none is the run, the job or a root; where nobody tells of the run, its span and the
//! job's are made from the manifest, so that a run comes of it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::web::error::WebError;
use crate::web::ingest::{Outcome, Prepared, STORED_LIMIT, prepared_trace};
use pacegate_engine::gate::measure::identity::repository_claim;
use pacegate_engine::gate::measure::job_spans::manifest_root::{
    MADE_OF_MANIFEST, OF_JOB, OF_RUN, OF_SILENT_JOB, RUN_RESULT,
};
use pacegate_engine::model::ids::{CommitSha, RepoName, SpanId};
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource, Span, SpanKind, SpanStatus};
use pacegate_engine::model::stage::CacheState;
use pacegate_github::actions_trace::ids;
use pacegate_ingest::job_archive::{JobArchive, Manifest};
use pacegate_ingest::redact::{Redactor, redacted};
use pacegate_ingest::{Rejected, otlp};

/// Notes of an archive that are told.
const NOTES: usize = 5;

/// Who tells of the run that an upload is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunToldBy {
    /// GitHub, by its API. The job's number, where it is known.
    GitHub(Option<i64>),
    /// Nobody but the manifest.
    Manifest,
}

/// Cleans a job's spans and puts them below their job.
pub(super) fn prepare(
    archive: JobArchive,
    repository: &RepoName,
    told_by: RunToldBy,
    redactor: &Redactor,
    forwards: bool,
) -> Result<Prepared, WebError> {
    let JobArchive { manifest, mut spans, notes } = archive;
    let job = match told_by {
        RunToldBy::GitHub(Some(number)) => ids::job_span_id(number),
        RunToldBy::GitHub(None) | RunToldBy::Manifest => manifest.job_span_id,
    };
    let attempt = u32::try_from(manifest.run_attempt).unwrap_or(u32::MAX);
    let run = ids::root_span_id(manifest.run_id, attempt);
    let mut rejected = Rejected::default();
    spans.retain_mut(|span| {
        if span.span_id == run || span.span_id == job {
            rejected.add(|| {
                "a span says that it is the run or the job itself, of which only GitHub tells".to_owned()
            });
            return false;
        }
        if let Some(claim) =
            repository_claim(span).filter(|claim| !claim.eq_ignore_ascii_case(&repository.to_string()))
        {
            rejected.add(|| format!("it names the repository {claim}, but the job is of {repository}"));
            return false;
        }
        if span.parent_span_id.is_none_or(|parent| parent == manifest.job_span_id) {
            span.parent_span_id = Some(job);
        }
        true
    });
    let accepted = spans.len();
    if told_by == RunToldBy::Manifest {
        let said = if spans.is_empty() {
            Said::Nothing
        } else if failed(&spans, job) {
            Said::Failed
        } else {
            Said::NoFailure
        };
        spans.extend(made(&manifest, repository, run, said));
    }
    redactor.redact(&mut spans);
    let plain = if spans.is_empty() { Vec::new() } else { otlp::encode_protobuf(&spans) };
    if plain.len() > STORED_LIMIT {
        let limit = STORED_LIMIT >> 20;
        return Err(WebError::BadRequest(format!(
            "the job's spans take more than {limit} MiB: lower the action's max-size"
        )));
    }
    let told = notes.into_iter().take(NOTES).map(redacted);
    let message: Vec<String> = rejected.message().into_iter().chain(told).collect();
    let outcome =
        Outcome { rejected: rejected.count, message: (!message.is_empty()).then(|| message.join("; ")) };
    // Of a run that GitHub tells of, the check waits by itself; the commit a trace is of is not the upload's to say.
    let is_whole = told_by == RunToldBy::Manifest;
    let head_sha = manifest.head_sha.parse::<CommitSha>().ok().filter(|_| is_whole);
    let trace = (manifest.trace_id, spans.len(), is_whole, head_sha);
    Ok(prepared_trace(plain, trace, accepted, outcome, forwards))
}

/// What a job's spans say of how it ended. Its own end comes after the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// There are none.
    Nothing,
    NoFailure,
    Failed,
}

/// Whether a job failed by what its spans say: one right below it failed, or a test or a command
/// anywhere did. A test that passed when it was tried again did not fail. Other operations fail within
/// a job that is green: a request that is tried again, an error that is expected.
fn failed(spans: &[Span], job: SpanId) -> bool {
    let test_failed = |span: &Span| {
        span.failed() || span.attributes.text(TEST_RESULT).is_some_and(|result| result == "fail")
    };
    let mut passed: HashMap<(Option<SpanId>, &str), i64> = HashMap::new();
    for span in spans.iter().filter(|span| span.attributes.get(TEST).is_some() && !test_failed(span)) {
        let last = passed.entry((span.parent_span_id, &span.name)).or_insert(i64::MIN);
        *last = span.start_ns.max(*last);
    }
    spans.iter().any(|span| {
        if span.attributes.get(TEST).is_some() {
            let again = passed.get(&(span.parent_span_id, span.name.as_str()));
            return test_failed(span) && again.is_none_or(|start| *start < span.start_ns);
        }
        let is_command = COMMAND_ENDS.iter().any(|key| span.attributes.get(key).is_some());
        span.failed() && (is_command || span.parent_span_id == Some(job))
    })
}

/// On a test.
const TEST: &str = "test.case.name";
const TEST_RESULT: &str = "test.case.result.status";
/// On a command: one of both.
const COMMAND_ENDS: [&str; 2] = ["process.exit.code", "process.exit.signal"];

/// The spans of the run and of the job as the manifest tells them. Each job of a run makes the run's
/// span, and they become one when the run is collected.
fn made(manifest: &Manifest, repository: &RepoName, run: SpanId, said: Said) -> [Span; 2] {
    let text = |text: &str| AttributeValue::String(text.to_owned());
    let git_ref = manifest.git_ref.as_str();
    let change = git_ref.strip_prefix("refs/pull/").and_then(|rest| rest.split('/').next());
    let workflow = if manifest.workflow.is_empty() { "workflow" } else { &manifest.workflow };
    let mut of_resource = vec![("vcs.repository.name".to_owned(), text(&repository.to_string()))];
    of_resource.extend(manifest.service_name.as_deref().map(|name| ("service.name".to_owned(), text(name))));
    of_resource.extend(manifest.runner_attributes());
    let resource = Arc::new(Resource { attributes: Attributes(of_resource), dropped_attributes: 0 });
    let failure = (said == Said::Failed).then(|| text("failure"));
    let of_run = [
        ("cicd.pipeline.name", Some(text(workflow))),
        ("cicd.pipeline.run.id", Some(text(&manifest.run_id.to_string()))),
        ("cicd.pipeline.run.attempt", Some(AttributeValue::Int(manifest.run_attempt))),
        ("vcs.ref.head.revision", Some(text(&manifest.head_sha))),
        ("vcs.ref.head.name", git_ref.strip_prefix("refs/heads/").map(text)),
        ("vcs.change.id", change.map(text)),
        (MADE_OF_MANIFEST, Some(text(OF_RUN))),
        (RUN_RESULT, failure.clone()),
    ];
    let caches = manifest.caches();
    let cache = caches
        .iter()
        .map(|(_, state)| *state)
        .reduce(|one, next| if one == next { one } else { CacheState::Miss });
    let of_job = [
        ("cicd.pipeline.task.name", Some(text(&job_name(manifest)))),
        ("cicd.pipeline.task.run.result", failure),
        (MADE_OF_MANIFEST, Some(text(if said == Said::Nothing { OF_SILENT_JOB } else { OF_JOB }))),
        ("pacegate.cache", cache.map(|state| text(state.as_str()))),
    ];
    let span =
        |span_id, parent_span_id, kind, name: String, said: Vec<(&str, Option<AttributeValue>)>| Span {
            trace_id: manifest.trace_id,
            span_id,
            parent_span_id,
            name,
            kind,
            start_ns: manifest.started_at_unix_nano,
            end_ns: manifest.ended_at_unix_nano,
            status: SpanStatus::Unset,
            attributes: Attributes(
                said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect(),
            ),
            events: Vec::new(),
            links: Vec::new(),
            dropped: pacegate_engine::model::span::Dropped::default(),
            trace_state: String::new(),
            scope: Arc::default(),
            resource: resource.clone(),
        };
    [
        span(run, None, SpanKind::Server, format!("RUN {workflow}"), of_run.into()),
        span(manifest.job_span_id, Some(run), SpanKind::Internal, job_name(manifest), of_job.into()),
    ]
}

/// As GitHub calls the jobs of a matrix: `test (ubuntu, 18)`.
fn job_name(manifest: &Manifest) -> String {
    let values: Vec<String> =
        manifest.matrix_attributes().into_iter().filter_map(|(_, value)| value.to_text()).collect();
    if values.is_empty() { manifest.job.clone() } else { format!("{} ({})", manifest.job, values.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacegate_ingest::{Limits, span_batch};

    const SHA: &str = "e83c5163316f89bfbde7d9ab23ca2e25604af290";

    fn manifest() -> Manifest {
        let manifest = serde_json::json!({
            "schema": 1, "repository": "acme/app", "repository_id": "7", "run_id": "5", "run_attempt": 1, "job": "test",
            "head_sha": SHA, "workflow": "CI", "ref": "refs/pull/7/merge", "trace_id": ids::trace_id(5, 1),
            "job_span_id": "00000000000000aa", "matrix": {},
            "started_at_unix_nano": "1000", "ended_at_unix_nano": "9000", "runner": { "os.type": "linux" },
            "caches": { "cargo": "hit", "npm": "miss" }, "files": [],
        });
        // Written as GitHub does: in the workflow's order.
        let text = manifest.to_string().replace(r#""matrix":{}"#, r#""matrix":{"os":"linux","node":18}"#);
        serde_json::from_str(&text).expect("a manifest")
    }

    fn span(id: u8, parent: Option<SpanId>, name: &str) -> Span {
        let manifest = manifest();
        let [_, mut span] = made(&manifest, &repository(), ids::root_span_id(5, 1), Said::NoFailure);
        span.span_id = SpanId::from_bytes(&[id; 8]).expect("an id");
        (span.parent_span_id, span.name) = (parent, name.to_owned());
        (span.attributes, span.resource) = (Attributes(Vec::new()), Arc::default());
        span
    }

    fn repository() -> RepoName {
        "acme/app".parse().expect("a name")
    }

    fn prepared(spans: Vec<Span>, told_by: RunToldBy) -> (Vec<Span>, Prepared) {
        let archive = JobArchive { manifest: manifest(), spans, notes: vec!["a note".to_owned()] };
        let prepared = prepare(archive, &repository(), told_by, &Redactor::default(), false).expect("spans");
        let [batch] = prepared.batches.as_slice() else { panic!("one trace") };
        let plain = span_batch::plain(&batch.stored).expect("what was stored");
        let spans = otlp::decode(&plain, Limits::default()).expect("OTLP").spans;
        (spans, prepared)
    }

    #[test]
    fn in_a_run_that_github_tells_of_nothing_is_a_root() {
        let job = manifest().job_span_id;
        let other = SpanId::from_bytes(&[9; 8]).expect("an id");
        let mut secret = span(1, None, "no parent");
        secret.attributes.0.push(("db.password".to_owned(), AttributeValue::String("hunter2".to_owned())));
        let mut run = span(4, None, "the run");
        run.span_id = ids::root_span_id(5, 1);
        let mut itself = span(5, Some(other), "the job");
        itself.span_id = ids::job_span_id(61);
        let sent =
            vec![secret, span(2, Some(job), "of the job"), span(3, Some(other), "deeper"), run, itself];
        let (spans, prepared) = prepared(sent, RunToldBy::GitHub(Some(61)));
        let of_github = ids::job_span_id(61);
        let parents: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.parent_span_id)).collect();
        let expected = [("no parent", of_github), ("of the job", of_github), ("deeper", other)];
        assert_eq!(parents, expected.map(|(name, parent)| (name, Some(parent))));
        assert_eq!(spans[0].attributes.text("db.password").as_deref(), Some("[redacted]"));
        let batch = &prepared.batches[0];
        assert!(!batch.has_root && batch.head_sha.is_none() && batch.trace == ids::trace_id(5, 1));
        assert_eq!((prepared.accepted, prepared.outcome.rejected), (3, 2));
        assert!(prepared.outcome.message.expect("a sentence").ends_with("; a note"));
    }

    #[test]
    fn where_nobody_tells_of_the_run_the_manifest_makes_it() {
        let other = SpanId::from_bytes(&[9; 8]).expect("an id");
        let ended = |id, parent, start_ns, attribute: &str, failed: bool| {
            let mut span = span(id, Some(parent), "a name");
            (span.start_ns, span.status) =
                (start_ns, if failed { SpanStatus::Error(String::new()) } else { SpanStatus::Unset });
            span.attributes.0.push((attribute.to_owned(), AttributeValue::String("1".to_owned())));
            span
        };
        let failing_test = ended(2, other, 2_000, TEST, true);
        for (sent, result) in [
            (Vec::new(), None),
            (vec![ended(2, manifest().job_span_id, 0, "http.route", true)], Some("failure")),
            (vec![ended(2, other, 0, "http.route", true)], None),
            (vec![ended(2, other, 0, "process.exit.code", true)], Some("failure")),
            (vec![failing_test.clone()], Some("failure")),
            (vec![failing_test.clone(), ended(3, other, 1_000, TEST, false)], Some("failure")),
            (vec![failing_test, ended(3, other, 3_000, TEST, false)], None),
        ] {
            let count = sent.len();
            let (spans, prepared) = prepared(sent, RunToldBy::Manifest);
            let [run, job] = &spans[count..] else { panic!("the run and the job") };
            assert_eq!((run.parent_span_id, job.parent_span_id), (None, Some(run.span_id)));
            assert_eq!((run.name.as_str(), job.name.as_str()), ("RUN CI", "test (linux, 18)"));
            assert_eq!(run.text(&["vcs.change.id"]).as_deref(), Some("7"));
            assert_eq!(run.text(&["cicd.pipeline.result"]).as_deref(), result);
            assert_eq!(job.text(&["cicd.pipeline.task.run.result"]).as_deref(), result);
            let as_what = if count == 0 { OF_SILENT_JOB } else { OF_JOB };
            assert_eq!(job.text(&[MADE_OF_MANIFEST]).as_deref(), Some(as_what));
            assert_eq!(
                (run.text(&["os.type"]).as_deref(), job.text(&["pacegate.cache"]).as_deref()),
                (Some("linux"), Some("miss"))
            );
            assert_eq!((run.start_ns, run.end_ns), (1_000, 9_000));
            let batch = &prepared.batches[0];
            assert!(batch.has_root && batch.head_sha.as_ref().is_some_and(|sha| sha.as_str() == SHA));
            assert_eq!(prepared.accepted, count, "what was made is not counted");
        }
    }
}
