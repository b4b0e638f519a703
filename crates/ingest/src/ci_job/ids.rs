//! Identifiers of traces and spans, derived as in the OpenTelemetry Collector's GitHub receiver.
//! Spans that other tools send under these ids join the trace without a change.

use sha2::{Digest, Sha256};

use pacegate_engine::model::ids::{SpanId, TraceId};

#[must_use]
pub fn trace_id(run: i64, attempt: u32) -> TraceId {
    let digest = Sha256::digest(format!("{run}{attempt}t"));
    // An all-zero id is invalid. 128 zero bits of SHA-256 do not occur in practice.
    TraceId::from_bytes(&digest[..16]).unwrap_or_else(|_| trace_id(run.wrapping_add(1), attempt))
}

#[must_use]
pub fn root_span_id(run: i64, attempt: u32) -> SpanId {
    span_id(&format!("{run}{attempt}s"))
}

/// `job` is the job's number in GitHub's API, which is also its check run's.
#[must_use]
pub fn job_span_id(job: i64) -> SpanId {
    span_id(&format!("{job}-j"))
}

/// The span of a job's wait for a runner.
#[must_use]
pub(super) fn queue_span_id(job: i64) -> SpanId {
    span_id(&format!("{job}-q"))
}

/// `name` must be unique within the job.
#[must_use]
pub(super) fn step_span_id(job: i64, name: &str) -> SpanId {
    span_id(&format!("{job}-{name}-s"))
}

/// Hexadecimal digits 16 to 32 of the hash, as the receiver cuts them.
fn span_id(text: &str) -> SpanId {
    let digest = Sha256::digest(text);
    SpanId::from_bytes(&digest[8..16]).unwrap_or_else(|_| span_id(&format!("{text} ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: `printf 296794491t | sha256sum | cut -c1-32` and, for spans, `cut -c17-32`.
    #[test]
    fn ids_equal_the_collector_receiver_s() {
        assert_eq!(trace_id(29_679_449, 1).to_string(), "57ad0e5b5ab9637b07920f96b3520fe2");
        assert_eq!(root_span_id(29_679_449, 1).to_string(), "af25f139d1b6b31b");
        assert_eq!(job_span_id(399_444_496).to_string(), "e3075317eec20623");
        assert_eq!(queue_span_id(399_444_496).to_string(), "725e3ead9f8460eb");
        assert_eq!(step_span_id(399_444_496, "Set up job").to_string(), "6e4399f9143fc4a3");
    }
}
