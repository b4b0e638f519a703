//! Places one job's uploaded spans below the job. If GitHub reports the run, no uploaded span may
//! be the run, a job or a root. Otherwise the manifest also becomes a [`JobRecord`].

use pacegate_engine::gate::measure::identity::repository_claim;
use pacegate_engine::model::ids::RepoName;
use pacegate_engine::model::span::Span;

use super::archive::JobArchive;
use super::ids;
use super::manifest_run::JobRecord;
use crate::Rejected;
use crate::redact::{Redactor, redacted};

/// Most archive notes in the answer to the sender.
const NOTES: usize = 5;

/// The source of the run's own span and its jobs' spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunSource {
    /// GitHub's API, with the job's number if it is known.
    Api(Option<i64>),
    /// Only the manifest.
    Manifest,
}

/// An upload after redaction.
#[derive(Debug)]
pub struct JobUpload {
    pub spans: Vec<Span>,
    /// Only where the manifest is the run's source.
    pub record: Option<JobRecord>,
    pub rejected: Rejected,
    /// For the sender: data that was rejected or left out.
    pub notes: Vec<String>,
}

impl JobUpload {
    /// Redacts the archive's spans. Spans without a parent become children of the job.
    #[must_use]
    pub fn new(archive: JobArchive, repository: &RepoName, source: RunSource, redactor: &Redactor) -> Self {
        let JobArchive { manifest, mut spans, notes } = archive;
        let job = match source {
            RunSource::Api(Some(number)) => ids::job_span_id(number),
            RunSource::Api(None) | RunSource::Manifest => manifest.job_span_id,
        };
        let attempt = u32::try_from(manifest.run_attempt).unwrap_or(u32::MAX);
        let run = ids::root_span_id(manifest.run_id, attempt);
        let mut rejected = Rejected::default();
        spans.retain_mut(|span| {
            if span.span_id == run || span.span_id == job {
                rejected.add(|| {
                    "a span has the id of the run or of the job; only GitHub describes those".to_owned()
                });
                return false;
            }
            if let Some(claim) =
                repository_claim(span).filter(|claim| !claim.eq_ignore_ascii_case(&repository.to_string()))
            {
                rejected
                    .add(|| format!("it names the repository {claim}, but the job belongs to {repository}"));
                return false;
            }
            if span.parent_span_id.is_none_or(|parent| parent == manifest.job_span_id) {
                span.parent_span_id = Some(job);
            }
            true
        });
        let record = (source == RunSource::Manifest)
            .then(|| JobRecord::new(&manifest, repository, run, &spans).redacted(redactor));
        redactor.redact(&mut spans);
        let notes =
            rejected.message().into_iter().chain(notes.into_iter().take(NOTES).map(redacted)).collect();
        Self { spans, record, rejected, notes }
    }
}

#[cfg(test)]
mod tests {
    use pacegate_engine::model::span::AttributeValue;

    use super::super::archive::Manifest;
    use super::super::fixture::{SpanBuilder, span_id};
    use super::*;

    fn manifest() -> Manifest {
        let manifest = serde_json::json!({
            "schema": 1, "repository": "acme/app", "repository_id": "7", "run_id": "5", "run_attempt": 1,
            "job": "test", "head_sha": "e83c516", "trace_id": ids::trace_id(5, 1), "job_span_id": span_id(10),
            "started_at_unix_nano": "1000", "ended_at_unix_nano": "9000", "files": [],
        });
        serde_json::from_value(manifest).expect("a manifest")
    }

    fn uploaded(spans: Vec<Span>, source: RunSource) -> JobUpload {
        let archive = JobArchive { manifest: manifest(), spans, notes: vec!["a note".to_owned()] };
        let repository = "acme/app".parse().expect("a name");
        JobUpload::new(archive, &repository, source, &Redactor::default())
    }

    #[test]
    fn api_run_takes_no_uploaded_root() {
        let secret = SpanBuilder::new(1, "no parent").attributes(&[("db.password", "hunter2")]).build();
        let run = Span { span_id: ids::root_span_id(5, 1), ..SpanBuilder::new(4, "the run").build() };
        let job = Span { span_id: ids::job_span_id(61), ..SpanBuilder::new(5, "the job").parent(9).build() };
        let sent = vec![
            secret,
            SpanBuilder::new(2, "of the job").parent(10).build(),
            SpanBuilder::new(3, "deeper").parent(9).build(),
            run,
            job,
        ];
        let upload = uploaded(sent, RunSource::Api(Some(61)));
        let parents: Vec<_> =
            upload.spans.iter().map(|span| (span.name.as_str(), span.parent_span_id)).collect();
        let of_job = ids::job_span_id(61);
        let expected = [("no parent", of_job), ("of the job", of_job), ("deeper", span_id(9))];
        assert_eq!(parents, expected.map(|(name, parent)| (name, Some(parent))));
        let masked = AttributeValue::String("[redacted]".to_owned());
        assert_eq!(upload.spans[0].attributes.get("db.password"), Some(&masked));
        assert_eq!((upload.record, upload.rejected.count), (None, 2));
        assert!(upload.notes.last().is_some_and(|note| note == "a note"), "{:?}", upload.notes);
    }

    #[test]
    fn manifest_run_keeps_a_record_beside_spans() {
        let upload = uploaded(vec![SpanBuilder::new(2, "sent").build()], RunSource::Manifest);
        assert_eq!(upload.spans.len(), 1);
        assert_eq!(upload.spans[0].parent_span_id, Some(span_id(10)));
        let record = upload.record.expect("a record");
        assert_eq!((record.job.span_id, record.sent_spans), (span_id(10), true));
        assert!(!uploaded(Vec::new(), RunSource::Manifest).record.expect("a record").sent_spans);
    }

    #[test]
    fn span_of_another_repository_is_rejected() {
        let elsewhere = SpanBuilder::new(2, "x").attributes(&[("vcs.repository.name", "acme/other")]).build();
        let upload = uploaded(vec![elsewhere], RunSource::Manifest);
        assert_eq!((upload.spans.len(), upload.rejected.count), (0, 1));
    }
}
