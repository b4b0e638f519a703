//! Generated requests of 512 spans, similar to those of instrumented build tools. A span has six or
//! seven attributes, every eighth span an event, and ids differ between requests. The same number
//! gives the same request. Nothing here reads a clock or a random source.

use std::sync::Arc;

use pacegate_engine::model::ids::{SpanId, TraceId};
use pacegate_engine::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Scope, Span, SpanEvent, SpanKind, SpanStatus,
};

pub(crate) const SPANS: usize = 512;
/// `MIXED` traces share a request, as in a Collector's batches. Each trace is spread over `SPREAD`
/// requests.
const MIXED: u64 = 8;
const SPREAD: u64 = 4;
/// One trace in this many has its root.
const ROOTED: u64 = 64;
/// 2026-11-20, in nanoseconds.
const BEGAN: i64 = 1_795_132_800_000_000_000;
const MILLISECOND: i64 = 1_000_000;
const STAGES: [&str; 4] = ["checkout", "build", "test", "deploy"];
const OPERATIONS: [&str; 5] = ["compile", "resolve-dependencies", "unit-test", "upload-artifact", "download"];

/// How the spans of a request are distributed over traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Eight traces, each spread over four requests. Roots are rare.
    Mixed,
    /// Part of one trace, which is in no other request. Roots are rare.
    Single,
    /// A whole trace with its root, from which a run can be made.
    Run,
}

impl Shape {
    pub(crate) const ALL: [Self; 3] = [Self::Mixed, Self::Single, Self::Run];

    /// The start of the file names.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Single => "single",
            Self::Run => "run",
        }
    }

    /// The trace of the span at `at` of request `number`, the span's position in that trace, and
    /// whether the trace has a root.
    fn place(self, number: u64, at: u64) -> (u64, u64, bool) {
        match self {
            Self::Mixed => {
                let trace = number / SPREAD * MIXED + at % MIXED;
                let part = (number % SPREAD) * (as_u64(SPANS) / MIXED);
                (trace, part + at / MIXED, trace.is_multiple_of(ROOTED))
            }
            Self::Single => (1 << 32 | number, at, number.is_multiple_of(ROOTED)),
            Self::Run => (2 << 32 | number, at, true),
        }
    }
}

#[must_use]
pub(crate) fn request(shape: Shape, number: u64) -> Vec<Span> {
    let resource = Arc::new(resource());
    let scope =
        Arc::new(Scope { name: "com.example.pipeline-engine".to_owned(), version: "2.4.1".to_owned() });
    (0..as_u64(SPANS))
        .map(|at| {
            let (trace, place, rooted) = shape.place(number, at);
            span(trace, place, rooted, (resource.clone(), scope.clone()))
        })
        .collect()
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).expect("64 bits")
}

/// Sebastiano Vigna's splitmix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn span_id(trace: u64, place: u64) -> SpanId {
    SpanId::from_bytes(&mixed(trace << 16 ^ place).to_be_bytes()).expect("not zero")
}

fn trace_id(trace: u64) -> TraceId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed(!trace).to_be_bytes());
    bytes[8..].copy_from_slice(&mixed(trace).to_be_bytes());
    TraceId::from_bytes(&bytes).expect("not zero")
}

fn attributes(pairs: &[(&str, AttributeValue)]) -> Attributes {
    Attributes(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::String(text.to_owned())
}

fn resource() -> Resource {
    let attributes = attributes(&[
        ("service.name", text("pipeline-engine")),
        ("service.version", text("2.4.1")),
        ("host.name", text("runner-17.ci.internal")),
        ("os.type", text("linux")),
        ("telemetry.sdk.language", text("java")),
        ("vcs.ref.head.revision", text("4f2c1d0e9b8a7f6e5d4c3b2a190817263544f2c1")),
    ]);
    Resource { attributes, dropped_attributes: 0 }
}

/// The first span is the root, or the child of a root that is never sent. The next four are stages,
/// the others are their operations.
fn span(trace: u64, place: u64, rooted: bool, (resource, scope): (Arc<Resource>, Arc<Scope>)) -> Span {
    let at = i64::try_from(place).expect("small");
    let name_of = |names: &[&'static str]| names[usize::try_from(place).expect("small") % names.len()];
    let (stage, operation) = (name_of(&STAGES), name_of(&OPERATIONS));
    let (name, parent, kind) = match place {
        0 => (format!("pipeline-execution-{trace}"), (!rooted).then_some(9_999), SpanKind::Server),
        1..=4 => (format!("stage-{stage}"), Some(0), SpanKind::Internal),
        _ => (format!("{operation}-module-{place}"), Some(1 + place % 4), SpanKind::Internal),
    };
    let mut own = attributes(&[
        ("stage.name", text(stage)),
        ("operation", text(operation)),
        ("module.path", text(&format!("services/module-{place}/src/main"))),
        ("http.response.status_code", AttributeValue::Int(200)),
        ("server.address", text("artifacts.example")),
        ("thread.id", AttributeValue::Int(17 + at % 8)),
    ]);
    if place == 0 {
        own.0.push(("pipeline.name".to_owned(), text("release-train")));
    }
    let start_ns = BEGAN + at * 20 * MILLISECOND;
    let event = || SpanEvent {
        name: "operation-completed".to_owned(),
        time_ns: start_ns + 17 * MILLISECOND,
        attributes: attributes(&[("artifact.bytes", AttributeValue::Int(48_123))]),
        dropped_attributes: 0,
    };
    Span {
        trace_id: trace_id(trace),
        span_id: span_id(trace, place),
        parent_span_id: parent.map(|parent| span_id(trace, parent)),
        name,
        kind,
        start_ns,
        end_ns: start_ns + if place == 0 { 11_000 * MILLISECOND } else { 18 * MILLISECOND },
        status: SpanStatus::Unset,
        attributes: own,
        events: if place % 8 == 3 { vec![event()] } else { Vec::new() },
        links: Vec::new(),
        dropped: Dropped::default(),
        trace_state: String::new(),
        scope,
        resource,
    }
}
