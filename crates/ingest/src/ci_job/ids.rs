//! Identifiers of traces and spans: the ones that the OpenTelemetry Collector's GitHub receiver
//! gives, so that traces of other tools join without a change.

use sha2::{Digest, Sha256};

use pacegate_engine::model::ids::{SpanId, TraceId};

/// The trace of one attempt of a run.
#[must_use]
pub fn trace_id(run: i64, attempt: u32) -> TraceId {
    let digest = Sha256::digest(format!("{run}{attempt}t"));
    // 128 bits of SHA-256 that are all zero: nobody will see that.
    TraceId::from_bytes(&digest[..16]).unwrap_or_else(|_| trace_id(run.wrapping_add(1), attempt))
}

/// The run's span.
#[must_use]
pub fn root_span_id(run: i64, attempt: u32) -> SpanId {
    span_id(&format!("{run}{attempt}s"))
}

/// A job's span; the number is its check run's too.
#[must_use]
pub fn job_span_id(job: i64) -> SpanId {
    span_id(&format!("{job}-j"))
}

/// The span of a job's wait for a runner.
#[must_use]
pub fn queue_span_id(job: i64) -> SpanId {
    span_id(&format!("{job}-q"))
}

/// A step's span, by a name that is unique within its job.
#[must_use]
pub fn step_span_id(job: i64, name: &str) -> SpanId {
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
    fn they_are_those_of_the_collector_s_receiver() {
        assert_eq!(trace_id(29_679_449, 1).to_string(), "57ad0e5b5ab9637b07920f96b3520fe2");
        assert_eq!(root_span_id(29_679_449, 1).to_string(), "af25f139d1b6b31b");
        assert_eq!(job_span_id(399_444_496).to_string(), "e3075317eec20623");
        assert_eq!(queue_span_id(399_444_496).to_string(), "725e3ead9f8460eb");
        assert_eq!(step_span_id(399_444_496, "Set up job").to_string(), "6e4399f9143fc4a3");
    }
}
