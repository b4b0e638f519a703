//! A request's spans made ready to be kept: decoded, cleaned, held against the repository they
//! were pushed for, and grouped by trace. Pure: nothing here knows the database or the sender.

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

/// The most a request may take in the store: a resource is kept with each of its traces.
pub(in crate::web) const STORED_LIMIT: usize = 64 << 20;

/// Spans of one trace that came in one request.
pub(in crate::web) struct Batch {
    pub(in crate::web) trace: TraceId,
    /// As it is stored.
    pub(in crate::web) stored: Box<[u8]>,
    /// What the manifest of its job states, as it is stored.
    pub(in crate::web) manifest: Option<Box<[u8]>>,
    /// OTLP protobuf, if it goes on to somewhere else.
    pub(in crate::web) forwarded: Option<Bytes>,
    /// Of the OTLP protobuf.
    pub(in crate::web) bytes: i64,
    pub(in crate::web) spans: i64,
    pub(in crate::web) has_root: bool,
    pub(in crate::web) head_sha: Option<CommitSha>,
}

/// What is to be kept of a request.
pub(in crate::web) struct Prepared {
    pub(in crate::web) batches: Vec<Batch>,
    pub(in crate::web) accepted: usize,
    /// Bytes of all batches.
    pub(in crate::web) bytes: usize,
    pub(in crate::web) outcome: Outcome,
}

/// A trace, how many spans of it, whether its root is one of them, and the commit one of them names.
type OfBatch = (TraceId, usize, bool, Option<CommitSha>);

impl Batch {
    fn new(plain: Vec<u8>, (trace, spans, has_root, head_sha): OfBatch, forwarded: bool) -> Self {
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
    /// The upload of one job. Its spans are redacted.
    ///
    /// # Errors
    /// [`WebError::BadRequest`] for spans that take too much.
    pub(in crate::web) fn of_job(
        upload: &JobUpload,
        manifest: &Manifest,
        forwards: bool,
    ) -> Result<Self, WebError> {
        let spans = &upload.spans;
        let plain = if spans.is_empty() { Vec::new() } else { otlp::encode_protobuf(spans) };
        let stated = upload.record.as_ref().map(JobRecord::to_otlp);
        let bytes = plain.len() + stated.as_ref().map_or(0, Vec::len);
        if bytes > STORED_LIMIT {
            let limit = STORED_LIMIT >> 20;
            return Err(WebError::BadRequest(format!(
                "the job's spans take more than {limit} MiB: lower the action's max-size"
            )));
        }
        let message = (!upload.notes.is_empty()).then(|| upload.notes.join("; "));
        let outcome = Outcome { rejected: upload.rejected.count, message };
        let mut batches = Vec::new();
        if !spans.is_empty() || stated.is_some() {
            // Where GitHub's API describes the run, the upload does not decide its commit.
            let head_sha = manifest.head_sha.parse().ok().filter(|_| stated.is_some());
            let of_batch = (manifest.trace_id, spans.len(), stated.is_some(), head_sha);
            // Protobuf messages that follow each other are one message with the fields of both.
            let sent_on = [plain.as_slice(), stated.as_deref().unwrap_or_default()].concat();
            batches.push(Batch {
                forwarded: forwards.then(|| sent_on.into()),
                manifest: stated.map(|stated| span_batch::compress(&stated)),
                bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
                ..Batch::new(plain, of_batch, false)
            });
        }
        Ok(Self { batches, accepted: spans.len(), bytes, outcome })
    }
}

/// What a group or a span says of whose run it is: the repository, if it is not the one that
/// was pushed for, and the commit.
struct Claims {
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

/// Decodes, checks, cleans and groups a request's spans. Pure, and off the async threads. `hold`
/// is told how many bytes the batches will take, before they do; they are kept twice, as they are
/// stored and as they were, if they are `forwarded`.
pub(super) fn prepare(
    body: &[u8],
    format: Format,
    repository: &RepoName,
    redactor: &Redactor,
    forwarded: bool,
    hold: impl FnOnce(usize) -> Result<(), WebError>,
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
        // The token says whose these are. A payload that names another repository is a
        // mistake that would spoil a baseline: refused, not guessed.
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
    // Each trace keeps its resource: many small traces can take more than they came in.
    let bytes: usize = by_trace.values().map(|of_trace| of_trace.spans.size(&groups)).sum();
    if bytes > STORED_LIMIT {
        let limit = STORED_LIMIT >> 20;
        let sentence = format!("the request's traces take more than {limit} MiB; send smaller batches");
        return Err(WebError::BadRequest(sentence));
    }
    hold(bytes)?;
    let (mut accepted, mut nameless) = (0, false);
    let mut batches = Vec::with_capacity(by_trace.len());
    for (trace, OfTrace { spans, has_root, commit }) in by_trace {
        accepted += spans.len();
        nameless |= has_root && commit.is_none();
        let head_sha = commit.and_then(|text| text.parse().ok());
        let batch = Batch::new(spans.write(&groups), (trace, spans.len(), has_root, head_sha), forwarded);
        batches.push(batch);
    }
    let warning = nameless.then(|| {
        "accepted, but no span names the commit (resource attribute vcs.ref.head.revision): without it the run \
         can't be measured"
            .to_owned()
    });
    let outcome = Outcome { rejected: rejected.count, message: rejected.message().or(warning) };
    Ok(Prepared { batches, accepted, bytes, outcome })
}
