//! Prepares a request's spans for storage: decodes, redacts, checks the repository that they name,
//! and groups them by trace. Pure: knows neither the database nor the sender.

use std::collections::BTreeMap;

use axum::body::Bytes;

use super::Outcome;
use crate::web::error::WebError;
use pacegate_engine::gate::measure::identity::{SHA_KEYS, claim_in, repository_claim};
use pacegate_engine::model::ids::{CommitSha, RepoName, TraceId};
use pacegate_ingest::ci_job::archive::Manifest;
use pacegate_ingest::ci_job::manifest_run::JobRecord;
use pacegate_ingest::ci_job::upload::JobUpload;
use pacegate_ingest::otlp::{self, Form, ScannedRequest, TraceBatch};
use pacegate_ingest::redact::{Redactor, redacted};
use pacegate_ingest::{Format, IngestError, Limits, span_batch};

/// The largest stored size of a request. It can exceed the body, because a resource is stored with
/// each of its traces.
const STORED_LIMIT: usize = 64 << 20;

/// The spans of one trace in one request.
pub(in crate::web) struct Batch {
    pub(in crate::web) trace: TraceId,
    /// Compressed, as in the store.
    pub(in crate::web) stored: Box<[u8]>,
    /// The record of the job's manifest, compressed as in the store.
    pub(in crate::web) manifest: Option<Box<[u8]>>,
    /// OTLP protobuf, if spans are forwarded.
    pub(in crate::web) forwarded: Option<Bytes>,
    /// Size of the OTLP protobuf.
    pub(in crate::web) bytes: i64,
    pub(in crate::web) spans: i64,
    pub(in crate::web) has_root: bool,
    pub(in crate::web) head_sha: Option<CommitSha>,
}

/// The stored part of a request.
pub(in crate::web) struct Prepared {
    pub(in crate::web) batches: Vec<Batch>,
    pub(in crate::web) accepted: usize,
    /// Bytes of all batches.
    pub(in crate::web) bytes: usize,
    pub(in crate::web) outcome: Outcome,
}

/// A trace, the number of its spans, whether they include the root, and the commit that they name.
type BatchFacts = (TraceId, usize, bool, Option<CommitSha>);

impl Batch {
    fn new(plain: Vec<u8>, (trace, spans, has_root, head_sha): BatchFacts, forwarded: bool) -> Self {
        Self {
            trace,
            stored: span_batch::compress(&plain),
            manifest: None,
            bytes: i64::try_from(plain.len()).unwrap_or(i64::MAX),
            forwarded: forwarded.then(|| plain.into()),
            spans: i64::try_from(spans).unwrap_or(i64::MAX),
            has_root,
            head_sha,
        }
    }
}

impl Prepared {
    /// Prepares the upload of one job, whose spans are redacted already. Spans larger than
    /// `STORED_LIMIT` are a [`WebError::BadRequest`].
    pub(in crate::web) fn of_job(
        upload: &JobUpload,
        manifest: &Manifest,
        forwards: bool,
    ) -> Result<Self, WebError> {
        let spans = &upload.spans;
        let plain = if spans.is_empty() { Vec::new() } else { otlp::encode_protobuf(spans) };
        let record = upload.record.as_ref().map(JobRecord::to_otlp);
        let bytes = plain.len() + record.as_ref().map_or(0, Vec::len);
        if bytes > STORED_LIMIT {
            let limit = STORED_LIMIT >> 20;
            return Err(WebError::BadRequest(format!(
                "the job's spans take more than {limit} MiB: lower the action's max-size"
            )));
        }
        let message = (!upload.notes.is_empty()).then(|| upload.notes.join("; "));
        let outcome = Outcome { rejected: upload.rejected.count, message };
        let mut batches = Vec::new();
        if !spans.is_empty() || record.is_some() {
            // Where GitHub's API describes the run, the upload does not decide its commit.
            let head_sha = manifest.head_sha.parse().ok().filter(|_| record.is_some());
            // The run and the job count too, so that an upload without spans is bounded and, when its
            // trace is full, rejected with a reason.
            let stored = spans.len() + if record.is_some() { JobRecord::SPANS } else { 0 };
            let facts = (manifest.trace_id, stored, record.is_some(), head_sha);
            // Two concatenated protobuf messages are one message with the fields of both.
            let forwarded =
                forwards.then(|| [plain.as_slice(), record.as_deref().unwrap_or_default()].concat().into());
            batches.push(Batch {
                forwarded,
                manifest: record.map(|record| span_batch::compress(&record)),
                bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
                ..Batch::new(plain, facts, false)
            });
        }
        Ok(Self { batches, accepted: spans.len(), bytes, outcome })
    }
}

/// The repository and the commit that a group or a span names.
struct Claims {
    /// None if it is the repository of the token.
    other_repository: Option<String>,
    commit: Option<String>,
}

impl Claims {
    fn new(repository: Option<String>, commit: Option<String>, pushed_for: &str) -> Self {
        let other = repository.filter(|claim| !claim.eq_ignore_ascii_case(pushed_for));
        Self { other_repository: other, commit }
    }
}

#[derive(Default)]
struct OfTrace<'a> {
    spans: TraceBatch<'a>,
    has_root: bool,
    commit: Option<String>,
}

/// Decodes, checks, redacts and groups a request's spans. Call it off the async threads. `reserve`
/// gets the size of all batches in bytes before they are built. `forwarded` keeps a second,
/// uncompressed copy of each batch.
pub(super) fn prepare(
    body: &[u8],
    format: Format,
    repository: &RepoName,
    redactor: &Redactor,
    forwarded: bool,
    reserve: impl FnOnce(usize) -> Result<(), WebError>,
) -> Result<Prepared, WebError> {
    let ScannedRequest { groups, spans, read, mut rejected } = format
        .scan(body, Limits::default(), redactor)
        .map_err(|e: IngestError| WebError::BadRequest(redacted(e.to_string())))?;
    let pushed_for = repository.to_string();
    let of_groups: Vec<Claims> = groups
        .iter()
        .map(|group| &group.origin.resource.attributes)
        .map(|resource| Claims::new(claim_in(resource), resource.first_text(&SHA_KEYS), &pushed_for))
        .collect();
    let mut by_trace: BTreeMap<TraceId, OfTrace<'_>> = BTreeMap::new();
    for span in spans {
        let own = match &span.form {
            Form::AsSent(_) => None,
            Form::Read(at) => {
                let read = &read[*at];
                Some(Claims::new(repository_claim(read), read.text(&SHA_KEYS), &pushed_for))
            }
        };
        let claims = own.as_ref().unwrap_or(&of_groups[span.group]);
        // The token decides the repository. A payload that names another one is a mistake that
        // would spoil a baseline.
        if let Some(claim) = &claims.other_repository {
            rejected.add(|| format!("it names the repository {claim}, but the token is for {repository}"));
            continue;
        }
        let of_trace = by_trace.entry(span.trace_id).or_default();
        of_trace.has_root |= span.is_root;
        if of_trace.commit.is_none() {
            of_trace.commit.clone_from(&claims.commit);
        }
        of_trace.spans.push(&span, &read);
    }
    // A resource is stored with each trace, and many small traces together can exceed the body's size.
    let bytes: usize = by_trace.values().map(|of_trace| of_trace.spans.size(&groups)).sum();
    if bytes > STORED_LIMIT {
        let limit = STORED_LIMIT >> 20;
        let message = format!("the request's traces take more than {limit} MiB; send smaller batches");
        return Err(WebError::BadRequest(message));
    }
    reserve(bytes)?;
    let (mut accepted, mut lacks_commit) = (0, false);
    let mut batches = Vec::with_capacity(by_trace.len());
    for (trace, OfTrace { spans, has_root, commit }) in by_trace {
        accepted += spans.len();
        lacks_commit |= has_root && commit.is_none();
        let head_sha = commit.and_then(|text| text.parse().ok());
        let batch = Batch::new(spans.write(&groups), (trace, spans.len(), has_root, head_sha), forwarded);
        batches.push(batch);
    }
    let warning = lacks_commit.then(|| {
        "accepted, but no span names the commit (resource attribute vcs.ref.head.revision): without it the run \
         can't be measured"
            .to_owned()
    });
    let outcome = Outcome { rejected: rejected.count, message: rejected.message().or(warning) };
    Ok(Prepared { batches, accepted, bytes, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacegate_ingest::ci_job::archive::JobArchive;
    use pacegate_ingest::ci_job::upload::RunSource;

    #[test]
    fn upload_without_spans_counts_its_run_and_job() {
        let manifest: Manifest = serde_json::from_value(serde_json::json!({
            "schema": 1, "repository": "acme/app", "repository_id": "7", "run_id": "5", "run_attempt": 1,
            "job": "test", "head_sha": "e83c516", "trace_id": "1".repeat(32), "job_span_id": "2".repeat(16),
            "started_at_unix_nano": "1000", "ended_at_unix_nano": "9000", "files": [],
        }))
        .expect("a manifest");
        let repository = "acme/app".parse().expect("a name");
        for (source, batches) in [(RunSource::Manifest, vec![2]), (RunSource::Api(None), Vec::new())] {
            let archive = JobArchive { manifest: manifest.clone(), spans: Vec::new(), notes: Vec::new() };
            let upload = JobUpload::new(archive, &repository, source, &Redactor::default());
            let prepared = Prepared::of_job(&upload, &manifest, false).expect("an upload");
            assert_eq!(prepared.accepted, 0);
            assert_eq!(prepared.batches.iter().map(|batch| batch.spans).collect::<Vec<_>>(), batches);
        }
    }
}
