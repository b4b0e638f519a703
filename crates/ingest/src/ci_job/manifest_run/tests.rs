//! Tests of records from manifests and of the runs that are combined from them.

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
    // GitHub writes a matrix in the workflow's order, not alphabetically.
    let text = manifest.to_string().replace(r#""matrix":{}"#, r#""matrix":{"os":"linux","node":18}"#);
    serde_json::from_str(&text).expect("a manifest")
}

fn record(sent: &[Span]) -> JobRecord {
    let repository = "acme/app".parse().expect("a name");
    JobRecord::new(&manifest(), &repository, ids::root_span_id(5, 1), sent)
}

fn stating(job: u32, (start_ns, end_ns): (i64, i64), result: Option<&str>, sent_spans: bool) -> JobRecord {
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
fn job_with_run_id_does_not_replace_run() {
    let mut colliding = stating(1, (100, 200), None, true);
    colliding
        .run
        .attributes
        .0
        .push(("cicd.pipeline.name".to_owned(), AttributeValue::String("CI".to_owned())));
    let (spans, jobs) = add_stated(Vec::new(), vec![colliding.clone(), stating(2, (150, 250), None, true)]);
    assert_eq!(jobs.count, 2);
    let trace = Trace::build(spans).expect("a trace");
    assert_eq!((trace.spans().len(), trace.repairs().notes()), (2, Vec::new()));
    assert_eq!(trace.span(trace.root()).text(&["cicd.pipeline.name"]).as_deref(), Some("CI"));
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
    assert_eq!(stored_record(&stored, true, usize::MAX).expect("readable"), Some(record.clone()));
    assert!(matches!(
        stored_record(&stored, true, record.values() - 1),
        Err(RecordError::Otlp(IngestError::TooManyValues { .. }))
    ));
    assert!(stored_record(b"not OTLP", true, usize::MAX).is_err());
    assert_eq!(stored_record(b"", true, usize::MAX).expect("readable"), None);
}

/// A run and a job as version 0.1.0 stored them.
fn marked(run_mark: &str, job_mark: &str) -> Vec<Span> {
    let JobRecord { mut run, mut job, .. } = record(&[]);
    let mark = |text: &str| (LEGACY_MARK.to_owned(), AttributeValue::String(text.to_owned()));
    run.attributes.0.push(mark(run_mark));
    job.attributes.0.push(mark(job_mark));
    vec![run, job]
}

#[test]
fn legacy_batch_yields_its_record() {
    for (job_mark, sent_spans) in [("silent job", false), ("job", true)] {
        let mut batch = marked("run", job_mark);
        let expected = JobRecord { sent_spans, ..record(&[]) };
        assert_eq!(JobRecord::take_legacy(&mut batch), Some(expected));
        assert!(batch.is_empty());
    }
}

#[test]
fn marked_sent_spans_make_no_record() {
    let sent = |id: u32| SpanBuilder::new(id, "sent").parent(9).attributes(&[(LEGACY_MARK, "job")]).build();
    let unmarked = vec![SpanBuilder::new(3, "sent").build()];
    let same_mark = marked("job", "job");
    let [mut orphan_run, orphan_job]: [Span; 2] = marked("run", "job").try_into().expect("two");
    orphan_run.span_id = SpanId::from_bytes(&[3; 8]).expect("not zero");
    for spans in [unmarked, vec![sent(3), sent(4)], same_mark, vec![orphan_run, orphan_job]] {
        let mut left = spans.clone();
        assert_eq!(JobRecord::take_legacy(&mut left), None);
        assert_eq!(left, spans);
    }
    // A job of version 0.1.0 that sent marked spans itself.
    let mut batch = vec![sent(3), sent(4)];
    batch.extend(marked("run", "job"));
    assert_eq!(JobRecord::take_legacy(&mut batch), Some(JobRecord { sent_spans: true, ..record(&[]) }));
    assert_eq!(batch, [sent(3), sent(4)]);
}
