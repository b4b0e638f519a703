//! Decodes the stored batches of a trace. All collections of a process share one memory limit, and one
//! run holds a limited number of values. Batches beyond it are left out.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::tasks::worker_context::COLLECTING_MIB;
use crate::tasks::{TaskError, WorkerContext};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::span::{Resource, Span};
use pacegate_ingest::ci_job::manifest_run::{JobRecord, RecordError, stored_record};
use pacegate_ingest::{IngestError, Limits, otlp, span_batch};
use pacegate_store::StoredBatch;

/// Most attributes, events, links and nested values of one run. A small value takes ten times its
/// encoded size in memory, and the limits of each request do not bound their sum.
const VALUES: usize = 4_000_000;

/// Reserves memory for this many stored bytes, at most the whole limit. Waits until it is free.
pub(super) async fn reserve_memory(
    context: &WorkerContext,
    bytes: i64,
) -> Result<OwnedSemaphorePermit, TaskError> {
    let mebibytes = u32::try_from(bytes >> 20).unwrap_or(u32::MAX).saturating_add(1).min(COLLECTING_MIB);
    let permit = context.collecting.clone().acquire_many_owned(mebibytes).await;
    permit.map_err(|e| TaskError::Unreadable(Box::new(e)))
}

/// The spans of one run.
#[derive(Debug, Default)]
pub(super) struct StoredSpans {
    pub(super) spans: Vec<Span>,
    /// Records of jobs whose run no GitHub App reports.
    pub(super) records: Vec<JobRecord>,
    /// Set when batches were left out.
    pub(super) note: Option<Note>,
}

impl StoredSpans {
    /// Reads batches in their order. A batch that would exceed the limit is left out.
    pub(super) fn read(batches: &[StoredBatch]) -> Result<Self, TaskError> {
        Self::within(batches, VALUES)
    }

    fn within(batches: &[StoredBatch], values: usize) -> Result<Self, TaskError> {
        let (mut read, mut resources, mut left, mut left_out) =
            (Self::default(), Resources::default(), values, 0);
        for batch in batches {
            let plain = span_batch::plain(&batch.body).map_err(|e| TaskError::Unreadable(Box::new(e)))?;
            // The number of spans was limited when they were accepted.
            let limits = Limits { spans: usize::MAX, values: left };
            let mut decoded = match otlp::decode(&plain, limits) {
                Ok(decoded) => decoded,
                Err(IngestError::TooManyValues { .. }) => {
                    left_out += 1;
                    continue;
                }
                Err(error) => return Err(TaskError::Unreadable(Box::new(error))),
            };
            let sent: usize = decoded.spans.iter().map(Span::values).sum();
            let manifest = batch.manifest.as_deref();
            let stated =
                manifest.map(|m| stored_record(m, !decoded.spans.is_empty(), left.saturating_sub(sent)));
            let stated = match stated.transpose() {
                Ok(stated) => stated.flatten(),
                Err(RecordError::Otlp(IngestError::TooManyValues { .. })) => {
                    left_out += 1;
                    continue;
                }
                Err(error) => return Err(TaskError::Unreadable(Box::new(error))),
            };
            left = left.saturating_sub(sent);
            resources.share(&mut decoded.spans);
            match stated {
                Some(mut record) => {
                    left = left.saturating_sub(record.values());
                    resources.share(record.spans_mut());
                    read.records.push(record);
                }
                None => read.records.extend(JobRecord::take_legacy(&mut decoded.spans)),
            }
            read.spans.extend(decoded.spans);
        }
        let (requests, of) = (left_out, batches.len());
        read.note = (left_out > 0).then_some(Note::RequestsLeftOut { values, requests, of });
        Ok(read)
    }
}

/// Deduplicates the resources of one trace's batches, because most of them are equal.
#[derive(Default)]
struct Resources(Vec<Arc<Resource>>);

/// A new resource is compared with at most this many.
const RESOURCES: usize = 64;

impl Resources {
    fn share<'a>(&mut self, spans: impl IntoIterator<Item = &'a mut Span>) {
        let mut last: Option<(Arc<Resource>, Arc<Resource>)> = None;
        for span in spans {
            if let Some((from, to)) = &last
                && Arc::ptr_eq(from, &span.resource)
            {
                span.resource = to.clone();
                continue;
            }
            let known = self.0.iter().rev().take(RESOURCES).find(|known| ***known == *span.resource).cloned();
            let shared = known.unwrap_or_else(|| {
                self.0.push(span.resource.clone());
                span.resource.clone()
            });
            last = Some((std::mem::replace(&mut span.resource, shared.clone()), shared));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacegate_ingest::ci_job::archive::JobArchive;
    use pacegate_ingest::ci_job::upload::{JobUpload, RunSource};
    use pacegate_ingest::redact::Redactor;
    use pacegate_ingest::span_batch::compress;

    /// A batch with one span that has this many attributes.
    fn batch(attributes: usize) -> StoredBatch {
        let pairs = vec![r#"{"key":"k","value":{"intValue":"1"}}"#; attributes].join(",");
        let span = format!(
            r#"{{"traceId":"{:032x}","spanId":"{attributes:016x}","name":"s","attributes":[{pairs}]}}"#,
            1
        );
        let request = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
        let decoded = otlp::decode(request.as_bytes(), Limits::default()).expect("a request");
        let body = compress(&otlp::encode_protobuf(&decoded.spans)).into_vec();
        StoredBatch { body, manifest: None }
    }

    /// A batch of a job that sent only a manifest with this many facts about its runner.
    fn silent_job(facts: usize) -> StoredBatch {
        let runner: serde_json::Map<_, _> = (0..facts).map(|n| (format!("os.{n}"), true.into())).collect();
        let manifest = serde_json::json!({
            "schema": 1, "repository": "acme/app", "repository_id": "7", "run_id": "5", "run_attempt": 1,
            "job": "test", "head_sha": "e83c516", "trace_id": "1".repeat(32), "job_span_id": "2".repeat(16),
            "started_at_unix_nano": "1000", "ended_at_unix_nano": "9000", "runner": runner, "files": [],
        });
        let manifest = serde_json::from_value(manifest).expect("a manifest");
        let archive = JobArchive { manifest, spans: Vec::new(), notes: Vec::new() };
        let repository = "acme/app".parse().expect("a name");
        let upload = JobUpload::new(archive, &repository, RunSource::Manifest, &Redactor::default());
        let manifest = compress(&upload.record.expect("a record").to_otlp()).into_vec();
        StoredBatch { body: compress(&[]).into_vec(), manifest: Some(manifest) }
    }

    #[test]
    fn manifests_count_towards_the_bound_and_share_resources() {
        let batches = [silent_job(20), silent_job(20), silent_job(20)];
        let all = StoredSpans::within(&batches, 1_000).expect("readable");
        assert_eq!((all.records.len(), all.note), (3, None));
        let mut records = all.records;
        let resources: Vec<_> =
            records.iter_mut().flat_map(JobRecord::spans_mut).map(|span| span.resource.clone()).collect();
        assert!(resources.iter().all(|resource| Arc::ptr_eq(resource, &resources[0])));
        let some = StoredSpans::within(&batches, 70).expect("readable");
        assert_eq!(some.records.len(), 2);
        assert!(
            matches!(some.note, Some(Note::RequestsLeftOut { requests: 1, of: 3, .. })),
            "{:?}",
            some.note
        );
    }

    #[test]
    fn batches_beyond_the_bound_are_left_out() {
        let batches = [batch(5), batch(6), batch(5)];
        // A request holds two more values than attributes: a group and a scope.
        let all = StoredSpans::within(&batches, 20).expect("readable");
        assert_eq!((all.spans.len(), all.note), (3, None));
        let some = StoredSpans::within(&batches, 12).expect("readable");
        assert_eq!(some.spans.iter().map(|span| span.attributes.0.len()).collect::<Vec<_>>(), [5, 5]);
        assert!(
            matches!(some.note, Some(Note::RequestsLeftOut { requests: 1, of: 3, .. })),
            "{:?}",
            some.note
        );
    }
}
