//! A request's spans made ready to be kept: decoded, cleaned, held against the repository they
//! were pushed for, and grouped by trace. Pure: nothing here knows the database or the sender.

use std::collections::BTreeMap;

use super::Outcome;
use crate::gate::identity::{SHA_KEYS, repository_claim};
use crate::ingest::otlp::encode_protobuf;
use crate::ingest::redact::redact;
use crate::ingest::{Decoded, Format, IngestError, Limits};
use crate::model::ids::{CommitSha, RepoName, TraceId};
use crate::model::span::Span;
use crate::web::error::WebError;

/// The most a request may take in the store: a resource is kept with each of its traces.
const STORED_LIMIT: usize = 128 << 20;

/// Spans of one trace that came in one request.
pub(super) struct Batch {
    pub(super) trace: TraceId,
    pub(super) body: Vec<u8>,
    pub(super) spans: i64,
    pub(super) has_root: bool,
    pub(super) head_sha: Option<CommitSha>,
}

/// What is to be kept of a request.
pub(super) struct Prepared {
    pub(super) batches: Vec<Batch>,
    pub(super) accepted: usize,
    pub(super) outcome: Outcome,
}

/// Decodes, checks, cleans and groups a request's spans. Pure, and off the async threads.
pub(super) fn prepare(body: &[u8], format: Format, repository: &RepoName) -> Result<Prepared, WebError> {
    let Decoded { mut spans, mut rejected } = format
        .decode(body, Limits::default())
        .map_err(|e: IngestError| WebError::BadRequest(e.to_string()))?;
    // Before anything else looks at them: from here on every text is short, and what spans
    // share they still share.
    redact(&mut spans);
    let mut by_trace: BTreeMap<TraceId, Vec<Span>> = BTreeMap::new();
    for span in spans {
        // The token says whose these are. A payload that names another repository is a
        // mistake that would spoil a baseline: refused, not guessed.
        match repository_claim(&span).filter(|claim| !claim.eq_ignore_ascii_case(&repository.to_string())) {
            Some(claim) => {
                rejected
                    .add(|| format!("it names the repository {claim}, but the token is for {repository}"));
            }
            None => by_trace.entry(span.trace_id).or_default().push(span),
        }
    }
    let (mut accepted, mut bytes, mut nameless) = (0, 0, false);
    let mut batches = Vec::with_capacity(by_trace.len());
    for (trace, spans) in by_trace {
        accepted += spans.len();
        let has_root = spans.iter().any(|span| span.parent_span_id.is_none());
        let named = spans.iter().find_map(|span| span.text(&SHA_KEYS));
        nameless |= has_root && named.is_none();
        let body = encode_protobuf(&spans);
        bytes += body.len();
        if bytes > STORED_LIMIT {
            // Each trace keeps its resource: many small traces can take more than they came in.
            let limit = STORED_LIMIT >> 20;
            let sentence = format!("the request's traces take more than {limit} MiB; send smaller batches");
            return Err(WebError::BadRequest(sentence));
        }
        let head_sha = named.and_then(|text| text.parse().ok());
        let spans = i64::try_from(spans.len()).unwrap_or(i64::MAX);
        batches.push(Batch { trace, body, spans, has_root, head_sha });
    }
    let warning = nameless.then(|| {
        "accepted, but no span names the commit (resource attribute vcs.ref.head.revision): without it the run \
         can't be measured"
            .to_owned()
    });
    let outcome = Outcome { rejected: rejected.count, message: rejected.message().or(warning) };
    Ok(Prepared { batches, accepted, outcome })
}
