//! The run and job spans where no GitHub App reports the run. Each uploaded manifest describes its
//! job and its run. These records are stored beside the spans. When the run is collected, they are
//! combined here: earliest start, latest end, worst result.

#[cfg(test)]
mod tests;

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
/// Version 0.1.0 stored the two spans among the job's own spans and marked them with this attribute.
const LEGACY_MARK: &str = "pacegate.manifest";
/// The mark of the run's span.
const LEGACY_RUN: &str = "run";
/// The mark of the span of a job that sent spans.
const LEGACY_JOB: &str = "job";
/// The mark of the span of a job that sent no spans.
const LEGACY_SILENT_JOB: &str = "silent job";

/// One job's manifest as two spans.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// The run as this job describes it. Its times are the job's.
    pub(super) run: Span,
    /// Child of `run`.
    pub(super) job: Span,
    /// Without spans the job's result is unknown.
    pub(super) sent_spans: bool,
}

/// Counts of the jobs whose manifests describe a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ManifestJobs {
    pub count: usize,
    /// Jobs without spans. Their result is unknown and counts as success.
    pub silent: usize,
}

impl ManifestJobs {
    /// A note on the run: jobs without spans count as green although they may have failed.
    #[must_use]
    pub fn note(self) -> Option<Note> {
        (self.silent > 0).then_some(Note::SilentJobs { silent: self.silent, jobs: self.count })
    }
}

impl JobRecord {
    /// Spans of a record.
    pub const SPANS: usize = 2;

    /// `sent` are the spans of this job, `run_span` is the id of the run's span.
    #[must_use]
    pub(super) fn new(manifest: &Manifest, repository: &RepoName, run_span: SpanId, sent: &[Span]) -> Self {
        let failed = failed(sent, manifest.job_span_id);
        let [run, job] = stated(manifest, repository, run_span, failed);
        Self { run, job, sent_spans: !sent.is_empty() }
    }

    /// Redacts secrets in the spans and in their resource.
    #[must_use]
    pub(super) fn redacted(self, redactor: &Redactor) -> Self {
        let mut spans = [self.run, self.job];
        redactor.redact(&mut spans);
        let [run, job] = spans;
        Self { run, job, sent_spans: self.sent_spans }
    }

    /// The record for storage: OTLP protobuf.
    #[must_use]
    pub fn to_otlp(&self) -> Vec<u8> {
        otlp::encode_protobuf(&[self.run.clone(), self.job.clone()])
    }

    /// Attributes of the two spans and of their resource.
    #[must_use]
    pub fn values(&self) -> usize {
        self.run.values() + self.job.values() + self.run.resource.attributes.values()
    }

    /// The two spans.
    pub fn spans_mut(&mut self) -> [&mut Span; 2] {
        [&mut self.run, &mut self.job]
    }

    /// Reverses [`Self::to_otlp`]. `None` if the run or the job is missing.
    fn from_otlp(bytes: &[u8], sent_spans: bool, values: usize) -> Result<Option<Self>, IngestError> {
        let limits = Limits { values, ..Limits::default() };
        let spans = otlp::decode_protobuf(bytes, limits)?.spans;
        let (mut runs, mut jobs): (Vec<Span>, Vec<Span>) =
            spans.into_iter().partition(|span| span.parent_span_id.is_none());
        Ok(runs.pop().zip(jobs.pop()).map(|(run, job)| Self { run, job, sent_spans }))
    }

    /// Removes the two marked spans from a batch that version 0.1.0 stored, and returns them. They
    /// were the last of the batch, and only the run had no parent.
    pub fn take_legacy(spans: &mut Vec<Span>) -> Option<Self> {
        let mark = |span: &Span| span.attributes.text(LEGACY_MARK);
        let run_at = spans
            .iter()
            .rposition(|span| span.parent_span_id.is_none() && mark(span).as_deref() == Some(LEGACY_RUN))?;
        let run = Some(spans[run_at].span_id);
        let job_at = spans.iter().rposition(|span| {
            span.parent_span_id == run
                && matches!(mark(span).as_deref(), Some(LEGACY_JOB | LEGACY_SILENT_JOB))
        })?;
        let sent_spans = mark(&spans[job_at]).as_deref() == Some(LEGACY_JOB);
        let mut take = |at: usize| {
            let mut span = spans.remove(at);
            span.attributes.0.retain(|(key, _)| key != LEGACY_MARK);
            span
        };
        let (run, job) = if run_at < job_at {
            let job = take(job_at);
            (take(run_at), job)
        } else {
            (take(run_at), take(job_at))
        };
        Some(Self { run, job, sent_spans })
    }
}

/// Adds the runs and jobs of the records to the spans that jobs sent. A sent span with the id of
/// such a run is dropped.
#[must_use]
pub fn add_stated(mut spans: Vec<Span>, records: Vec<JobRecord>) -> (Vec<Span>, ManifestJobs) {
    let mut silent: HashMap<(TraceId, SpanId), bool> = HashMap::new();
    let mut runs: BTreeMap<(TraceId, SpanId), StatedRun> = BTreeMap::new();
    let ids: HashSet<(TraceId, SpanId)> = records.iter().map(|record| id(&record.run)).collect();
    spans.retain(|span| !ids.contains(&id(span)));
    for JobRecord { run, job, sent_spans } in records {
        *silent.entry(id(&job)).or_insert(true) &= !sent_spans;
        runs.entry(id(&run)).and_modify(|stated| stated.add(&run)).or_insert_with(|| StatedRun::of(&run));
        // A manifest can give its job the id of the run. The run's own span counts.
        if !ids.contains(&id(&job)) {
            spans.push(job);
        }
    }
    spans.extend(runs.into_values().map(StatedRun::into_span));
    let jobs = ManifestJobs { count: silent.len(), silent: silent.values().filter(|s| **s).count() };
    (spans, jobs)
}

fn id(span: &Span) -> (TraceId, SpanId) {
    (span.trace_id, span.span_id)
}

struct StatedRun {
    /// The record of the job that began first. Its attributes become the run's.
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

/// Sort key of the records of one run, independent of their order of arrival.
fn rank(span: &Span) -> (i64, i64, Vec<u8>) {
    (span.start_ns, span.end_ns, otlp::encode_protobuf(std::slice::from_ref(span)))
}

/// Whether a job failed according to its spans: a direct child failed, or a test or command at any
/// depth failed. A test that passed on retry did not fail. Other operations also fail in green
/// jobs, for example a retried request or an expected error.
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
/// A command's span has one of these attributes.
const COMMAND_ENDS: [&str; 2] = ["process.exit.code", "process.exit.signal"];

/// Returns the run's span and the job's span.
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

/// The name as GitHub shows it. A matrix job's name has its values: `test (ubuntu, 18)`.
fn job_name(manifest: &Manifest) -> String {
    let values: Vec<String> =
        manifest.matrix_attributes().into_iter().filter_map(|(_, value)| value.to_text()).collect();
    if values.is_empty() { manifest.job.clone() } else { format!("{} ({})", manifest.job, values.join(", ")) }
}

/// Reads a stored record: compressed [`JobRecord::to_otlp`]. `None` if the run or the job is missing.
///
/// # Errors
/// [`RecordError`] for damaged bytes, and for a record with more than this many values.
pub fn stored_record(
    stored: &[u8],
    sent_spans: bool,
    values: usize,
) -> Result<Option<JobRecord>, RecordError> {
    Ok(JobRecord::from_otlp(&span_batch::plain(stored)?, sent_spans, values)?)
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Compression(#[from] span_batch::SpanBatchError),
    #[error("a stored manifest can't be read: the database is damaged, restore it from a backup")]
    Otlp(#[from] IngestError),
}
