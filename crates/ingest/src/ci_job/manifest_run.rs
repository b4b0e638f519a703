//! The run and job spans where no GitHub App reports the run. Each uploaded manifest states its
//! job and its run. The statements of all jobs are kept beside their spans and combined here when
//! the run is collected: earliest start, latest end, worst result.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use pacegate_engine::gate::measure::extract::severity;
use pacegate_engine::gate::measure::identity::root_result;
use pacegate_engine::model::ids::{RepoName, SpanId, TraceId};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::span::{AttributeValue, Attributes, Resource, Span, SpanKind};
use pacegate_engine::model::stage::CacheState;

use super::archive::Manifest;
use crate::redact::Redactor;
use crate::{IngestError, Limits, otlp, span_batch};

const RUN_RESULT: &str = "cicd.pipeline.result";
/// Version 0.1.0 stored the two spans among those the job sent, with this attribute.
const LEGACY_MARK: &str = "pacegate.manifest";

/// What one job's manifest states, as the two spans it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// The run, as this job knows it: its times are the job's.
    pub run: Span,
    /// The job, below the run.
    pub job: Span,
    /// Whether the job sent spans. Without any, nothing says whether it failed.
    pub sent_spans: bool,
}

/// How many jobs stated the run, and how many of them sent no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ManifestJobs {
    pub count: usize,
    /// Jobs without spans. Their result is unknown and counts as success.
    pub silent: usize,
}

impl ManifestJobs {
    /// The note that a green run may not be green.
    #[must_use]
    pub fn note(self) -> Option<Note> {
        (self.silent > 0).then_some(Note::SilentJobs { silent: self.silent, jobs: self.count })
    }
}

impl JobRecord {
    /// The record of a manifest whose job sent these spans, below `run_span`.
    #[must_use]
    pub fn new(manifest: &Manifest, repository: &RepoName, run_span: SpanId, sent: &[Span]) -> Self {
        let failed = failed(sent, manifest.job_span_id);
        let [run, job] = stated(manifest, repository, run_span, failed);
        Self { run, job, sent_spans: !sent.is_empty() }
    }

    /// The record without secrets, in the spans and in their resource.
    #[must_use]
    pub fn redacted(self, redactor: &Redactor) -> Self {
        let mut spans = [self.run, self.job];
        redactor.redact(&mut spans);
        let [run, job] = spans;
        Self { run, job, sent_spans: self.sent_spans }
    }

    /// The two spans as OTLP protobuf.
    #[must_use]
    pub fn to_otlp(&self) -> Vec<u8> {
        otlp::encode_protobuf(&[self.run.clone(), self.job.clone()])
    }

    /// Reads what was stored of [`Self::to_otlp`]. `None`: it does not hold a run and its job.
    ///
    /// # Errors
    /// [`IngestError`] for bytes that are not OTLP.
    pub fn from_otlp(bytes: &[u8], sent_spans: bool) -> Result<Option<Self>, IngestError> {
        let spans = otlp::decode_protobuf(bytes, Limits::default())?.spans;
        let (mut runs, mut jobs): (Vec<Span>, Vec<Span>) =
            spans.into_iter().partition(|span| span.parent_span_id.is_none());
        Ok(runs.pop().zip(jobs.pop()).map(|(run, job)| Self { run, job, sent_spans }))
    }

    /// Takes the two marked spans out of a batch that version 0.1.0 stored.
    pub fn take_legacy(spans: &mut Vec<Span>) -> Option<Self> {
        let marked = |span: &Span| span.attributes.get(LEGACY_MARK).is_some();
        if spans.iter().filter(|span| marked(span)).count() != 2 {
            return None;
        }
        let (mut stated, sent): (Vec<Span>, Vec<Span>) = std::mem::take(spans).into_iter().partition(marked);
        *spans = sent;
        for span in &mut stated {
            span.attributes.0.retain(|(key, _)| key != LEGACY_MARK);
        }
        stated.sort_by_key(|span| span.parent_span_id.is_some());
        let job = stated.pop()?;
        Some(Self { run: stated.pop()?, job, sent_spans: !spans.is_empty() })
    }
}

/// Adds the runs and jobs that the records state to the spans that jobs sent. A span that was
/// sent with the id of such a run is dropped.
#[must_use]
pub fn add_stated(mut spans: Vec<Span>, records: Vec<JobRecord>) -> (Vec<Span>, ManifestJobs) {
    let mut silent: HashMap<(TraceId, SpanId), bool> = HashMap::new();
    let mut runs: BTreeMap<(TraceId, SpanId), StatedRun> = BTreeMap::new();
    let ids: HashSet<(TraceId, SpanId)> = records.iter().map(|record| id(&record.run)).collect();
    spans.retain(|span| !ids.contains(&id(span)));
    for JobRecord { run, job, sent_spans } in records {
        *silent.entry(id(&job)).or_insert(true) &= !sent_spans;
        runs.entry(id(&run)).and_modify(|stated| stated.add(&run)).or_insert_with(|| StatedRun::of(&run));
        spans.push(job);
    }
    spans.extend(runs.into_values().map(StatedRun::into_span));
    let jobs = ManifestJobs { count: silent.len(), silent: silent.values().filter(|s| **s).count() };
    (spans, jobs)
}

fn id(span: &Span) -> (TraceId, SpanId) {
    (span.trace_id, span.span_id)
}

struct StatedRun {
    /// The statement of the job that began first: its attributes are the run's.
    first: Span,
    start_ns: i64,
    end_ns: i64,
    result: RunResult,
}

impl StatedRun {
    fn of(span: &Span) -> Self {
        Self { start_ns: span.start_ns, end_ns: span.end_ns, result: root_result(span), first: span.clone() }
    }

    fn add(&mut self, span: &Span) {
        self.start_ns = self.start_ns.min(span.start_ns);
        self.end_ns = self.end_ns.max(span.end_ns);
        let result = root_result(span);
        if severity(result) > severity(self.result) {
            self.result = result;
        }
        if rank(span) < rank(&self.first) {
            self.first = span.clone();
        }
    }

    fn into_span(self) -> Span {
        let mut span = self.first;
        (span.start_ns, span.end_ns) = (self.start_ns, self.end_ns);
        span.attributes.0.retain(|(key, _)| key != RUN_RESULT);
        if self.result != RunResult::Success {
            let result = AttributeValue::String(self.result.as_str().to_owned());
            span.attributes.0.push((RUN_RESULT.to_owned(), result));
        }
        span
    }
}

/// Orders statements of one run so that the choice does not depend on their order of arrival.
fn rank(span: &Span) -> (i64, i64, Vec<u8>) {
    (span.start_ns, span.end_ns, otlp::encode_protobuf(std::slice::from_ref(span)))
}

/// Whether a job failed as far as its spans show: a span right below it failed, or a test or a
/// command anywhere did. A test that passed when it was retried did not fail. Other operations
/// fail within a green job too: a retried request, an expected error.
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
            let retried = passed.get(&(span.parent_span_id, span.name.as_str()));
            return test_failed(span) && retried.is_none_or(|start| *start < span.start_ns);
        }
        let is_command = COMMAND_ENDS.iter().any(|key| span.attributes.get(key).is_some());
        span.failed() && (is_command || span.parent_span_id == Some(job))
    })
}

const TEST: &str = "test.case.name";
const TEST_RESULT: &str = "test.case.result.status";
/// A command's span has one of these.
const COMMAND_ENDS: [&str; 2] = ["process.exit.code", "process.exit.signal"];

/// The run's span and the job's span.
fn stated(manifest: &Manifest, repository: &RepoName, run: SpanId, failed: bool) -> [Span; 2] {
    let text = |text: &str| AttributeValue::String(text.to_owned());
    let git_ref = manifest.git_ref.as_str();
    let change = git_ref.strip_prefix("refs/pull/").and_then(|rest| rest.split('/').next());
    let workflow = if manifest.workflow.is_empty() { "workflow" } else { &manifest.workflow };
    let mut of_resource = vec![("vcs.repository.name".to_owned(), text(&repository.to_string()))];
    of_resource.extend(manifest.service_name.as_deref().map(|name| ("service.name".to_owned(), text(name))));
    of_resource.extend(manifest.runner_attributes());
    let resource = Arc::new(Resource { attributes: Attributes(of_resource), dropped_attributes: 0 });
    let failure = failed.then(|| text("failure"));
    let of_run = vec![
        ("cicd.pipeline.name", Some(text(workflow))),
        ("cicd.pipeline.run.id", Some(text(&manifest.run_id.to_string()))),
        ("cicd.pipeline.run.attempt", Some(AttributeValue::Int(manifest.run_attempt))),
        ("vcs.ref.head.revision", Some(text(&manifest.head_sha))),
        ("vcs.ref.head.name", git_ref.strip_prefix("refs/heads/").map(text)),
        ("vcs.change.id", change.map(text)),
        (RUN_RESULT, failure.clone()),
    ];
    let states = manifest.caches().into_iter().map(|(_, state)| state);
    let cache = states.reduce(|one, next| if one == next { one } else { CacheState::Miss });
    let of_job = vec![
        ("cicd.pipeline.task.name", Some(text(&job_name(manifest)))),
        ("cicd.pipeline.task.run.result", failure),
        ("pacegate.cache", cache.map(|state| text(state.as_str()))),
    ];
    let times = (manifest.started_at_unix_nano, manifest.ended_at_unix_nano);
    let span = |id, name: String, attributes: Vec<(&str, Option<AttributeValue>)>| Span {
        attributes: Attributes(
            attributes.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect(),
        ),
        resource: resource.clone(),
        ..Span::new(manifest.trace_id, id, name, times)
    };
    [
        Span { kind: SpanKind::Server, ..span(run, format!("RUN {workflow}"), of_run) },
        Span { parent_span_id: Some(run), ..span(manifest.job_span_id, job_name(manifest), of_job) },
    ]
}

/// GitHub's name for a job of a matrix: `test (ubuntu, 18)`.
fn job_name(manifest: &Manifest) -> String {
    let values: Vec<String> =
        manifest.matrix_attributes().into_iter().filter_map(|(_, value)| value.to_text()).collect();
    if values.is_empty() { manifest.job.clone() } else { format!("{} ({})", manifest.job, values.join(", ")) }
}

/// Reads a stored record; see [`JobRecord::from_otlp`].
///
/// # Errors
/// [`IngestError`] for bytes that are not OTLP.
pub fn stored_record(stored: &[u8], sent_spans: bool) -> Result<Option<JobRecord>, RecordError> {
    Ok(JobRecord::from_otlp(&span_batch::plain(stored)?, sent_spans)?)
}

/// Why a stored record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Compression(#[from] span_batch::SpanBatchError),
    #[error("a stored manifest can't be read: the database is damaged, restore it from a backup")]
    Otlp(#[from] IngestError),
}

#[cfg(test)]
mod tests {
    use pacegate_engine::model::span::SpanStatus;
    use pacegate_engine::model::trace::Trace;

    use super::super::fixture::SpanBuilder;
    use super::super::ids;
    use super::*;

    const SHA: &str = "e83c5163316f89bfbde7d9ab23ca2e25604af290";

    fn manifest() -> Manifest {
        let manifest = serde_json::json!({
            "schema": 1, "repository": "acme/app", "repository_id": "7", "run_id": "5", "run_attempt": 1,
            "job": "test", "head_sha": SHA, "workflow": "CI", "ref": "refs/pull/7/merge",
            "trace_id": ids::trace_id(5, 1), "job_span_id": "00000000000000aa", "matrix": {},
            "started_at_unix_nano": "1000", "ended_at_unix_nano": "9000",
            "runner": { "os.type": "linux", "api.key": "hunter2" },
            "caches": { "cargo": "hit", "npm": "miss" }, "files": [],
        });
        // GitHub writes a matrix in the workflow's order, which is not the alphabet's.
        let text = manifest.to_string().replace(r#""matrix":{}"#, r#""matrix":{"os":"linux","node":18}"#);
        serde_json::from_str(&text).expect("a manifest")
    }

    fn record(sent: &[Span]) -> JobRecord {
        let repository = "acme/app".parse().expect("a name");
        JobRecord::new(&manifest(), &repository, ids::root_span_id(5, 1), sent)
    }

    fn stating(
        job: u32,
        (start_ns, end_ns): (i64, i64),
        result: Option<&str>,
        sent_spans: bool,
    ) -> JobRecord {
        let timed = |mut span: Span| {
            (span.start_ns, span.end_ns) = (start_ns, end_ns);
            span
        };
        let mut run = timed(SpanBuilder::new(1, "RUN").build());
        let result = result.map(|text| (RUN_RESULT.to_owned(), AttributeValue::String(text.to_owned())));
        run.attributes.0.extend(result);
        JobRecord { run, job: timed(SpanBuilder::new(job, "job").parent(1).build()), sent_spans }
    }

    #[test]
    fn run_combines_all_jobs_in_any_order() {
        let records = [
            stating(2, (100, 200), Some("failure"), true),
            stating(3, (300, 500), None, false),
            stating(4, (150, 250), None, true),
        ];
        let mut reversed = records.to_vec();
        reversed.reverse();
        let mut roots = Vec::new();
        for records in [records.to_vec(), reversed] {
            let sent_as_the_run = SpanBuilder::new(1, "sent").ms(0, 9).build();
            let (spans, jobs) = add_stated(vec![sent_as_the_run], records);
            assert_eq!(jobs, ManifestJobs { count: 3, silent: 1 });
            let trace = Trace::build(spans).expect("a trace");
            let root = trace.span(trace.root());
            assert_eq!((root.start_ns, root.end_ns), (100, 500));
            assert_eq!(root_result(root), RunResult::Failure, "a later green job does not make it green");
            assert_eq!(trace.spans().len(), 4, "the run and its three jobs");
            roots.push(root.clone());
        }
        assert_eq!(roots[0], roots[1]);
    }

    #[test]
    fn spans_without_records_stay_unchanged() {
        let spans = vec![SpanBuilder::new(1, "a").build(), SpanBuilder::new(2, "b").parent(1).build()];
        assert_eq!(add_stated(spans.clone(), Vec::new()), (spans, ManifestJobs::default()));
    }

    #[test]
    fn one_job_uploaded_twice_counts_once() {
        let twice = [stating(2, (0, 9), None, false), stating(2, (0, 9), None, true)];
        let (_, jobs) = add_stated(Vec::new(), twice.to_vec());
        assert_eq!(jobs, ManifestJobs { count: 1, silent: 0 });
    }

    #[test]
    fn manifest_becomes_run_and_job() {
        let JobRecord { run, job, sent_spans } = record(&[]);
        assert_eq!((run.parent_span_id, job.parent_span_id), (None, Some(run.span_id)));
        assert_eq!((run.name.as_str(), job.name.as_str()), ("RUN CI", "test (linux, 18)"));
        assert_eq!(run.text(&["vcs.change.id"]).as_deref(), Some("7"));
        assert_eq!(run.text(&["vcs.ref.head.revision"]).as_deref(), Some(SHA));
        assert_eq!(job.text(&["pacegate.cache"]).as_deref(), Some("miss"), "the worst of its caches");
        assert_eq!(run.text(&["os.type"]).as_deref(), Some("linux"));
        assert_eq!((run.start_ns, run.end_ns), (1_000, 9_000));
        assert!(!sent_spans);
    }

    #[test]
    fn job_fails_by_its_tests_commands_and_children() {
        let ended = |parent: u32, start_ns: i64, attribute: &str, failed: bool| {
            let status = if failed { SpanStatus::Error(String::new()) } else { SpanStatus::Unset };
            let built = SpanBuilder::new(9, "name").parent(parent).status(status);
            Span { start_ns, ..built.attributes(&[(attribute, "1")]).build() }
        };
        let below = |span: Span| Span { parent_span_id: Some(manifest().job_span_id), ..span };
        let failing_test = ended(7, 2_000, TEST, true);
        for (sent, result) in [
            (Vec::new(), None),
            (vec![below(ended(7, 0, "http.route", true))], Some("failure")),
            (vec![ended(7, 0, "http.route", true)], None),
            (vec![ended(7, 0, "process.exit.code", true)], Some("failure")),
            (vec![failing_test.clone()], Some("failure")),
            (vec![failing_test.clone(), ended(7, 1_000, TEST, false)], Some("failure")),
            (vec![failing_test, ended(7, 3_000, TEST, false)], None),
        ] {
            let JobRecord { run, job, .. } = record(&sent);
            assert_eq!(run.text(&[RUN_RESULT]).as_deref(), result);
            assert_eq!(job.text(&["cicd.pipeline.task.run.result"]).as_deref(), result);
        }
    }

    #[test]
    fn stored_record_is_redacted_and_read_back() {
        let record = record(&[SpanBuilder::new(3, "sent").build()]).redacted(&Redactor::default());
        assert_eq!(record.run.text(&["api.key"]).as_deref(), Some("[redacted]"));
        let stored = span_batch::compress(&record.to_otlp());
        assert_eq!(stored_record(&stored, true).expect("readable"), Some(record));
        assert!(stored_record(b"not OTLP", true).is_err());
        assert_eq!(stored_record(b"", true).expect("readable"), None);
    }

    #[test]
    fn batch_of_version_0_1_0_yields_its_record() {
        let JobRecord { mut run, mut job, .. } = record(&[]);
        let (plain_run, plain_job) = (run.clone(), job.clone());
        let mark = |text: &str| (LEGACY_MARK.to_owned(), AttributeValue::String(text.to_owned()));
        run.attributes.0.push(mark("run"));
        job.attributes.0.push(mark("silent job"));
        let mut batch = vec![run, job];
        let expected = JobRecord { run: plain_run, job: plain_job, sent_spans: false };
        assert_eq!(JobRecord::take_legacy(&mut batch), Some(expected));
        assert!(batch.is_empty());
        let mut unmarked = vec![SpanBuilder::new(3, "sent").build()];
        assert_eq!(JobRecord::take_legacy(&mut unmarked), None);
        assert_eq!(unmarked.len(), 1);
    }
}
