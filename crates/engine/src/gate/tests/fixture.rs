//! Spans, runs and whole pipelines for the tests of this module: small, deterministic, and built from
//! the same types as real ones. Compiled for tests only.

use std::sync::Arc;

use crate::model::environment::RunnerClass;
use crate::model::ids::{RunId, SpanId, TraceId};
use crate::model::run::{Lineage, MeasuredRun, PipelineRun, RunResult};
use crate::model::span::{
    AttributeValue, Attributes, Dropped, Resource, Span, SpanEvent, SpanKind, SpanStatus,
};
use crate::model::stage::{StageKey, StageKind, StageSample};
use crate::model::time::Timestamp;
use crate::model::trace::Trace;

/// Builds a span. The default is a root span of one second.
pub(crate) struct SpanBuilder(Span);

fn attribute_list(pairs: &[(&str, &str)]) -> Vec<(String, AttributeValue)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), AttributeValue::String((*v).to_owned()))).collect()
}

fn span_id(n: u32) -> SpanId {
    SpanId::from_bytes(&u64::from(n).to_be_bytes()).expect("not zero")
}

impl SpanBuilder {
    pub(crate) fn new(id: u32, name: &str) -> Self {
        Self(Span {
            trace_id: TraceId::from_bytes(&[7; 16]).expect("not zero"),
            span_id: span_id(id),
            parent_span_id: None,
            name: name.to_owned(),
            kind: SpanKind::Internal,
            start_ns: 0,
            end_ns: 1_000_000_000,
            status: SpanStatus::Unset,
            attributes: Attributes::default(),
            events: vec![],
            links: vec![],
            dropped: Dropped::default(),
            trace_state: String::new(),
            scope: Arc::default(),
            resource: Arc::default(),
        })
    }

    pub(crate) fn parent(mut self, id: u32) -> Self {
        self.0.parent_span_id = Some(span_id(id));
        self
    }

    /// Start and end, milliseconds.
    pub(crate) fn ms(mut self, from: i64, to: i64) -> Self {
        (self.0.start_ns, self.0.end_ns) = (from * 1_000_000, to * 1_000_000);
        self
    }

    pub(crate) fn kind(mut self, kind: SpanKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn status(mut self, status: SpanStatus) -> Self {
        self.0.status = status;
        self
    }

    pub(crate) fn attributes(mut self, pairs: &[(&str, &str)]) -> Self {
        self.0.attributes.0.extend(attribute_list(pairs));
        self
    }

    pub(crate) fn int(mut self, key: &str, value: i64) -> Self {
        self.0.attributes.0.push((key.to_owned(), AttributeValue::Int(value)));
        self
    }

    pub(crate) fn resource(mut self, pairs: &[(&str, &str)]) -> Self {
        self.0.resource =
            Arc::new(Resource { attributes: Attributes(attribute_list(pairs)), dropped_attributes: 0 });
        self
    }

    pub(crate) fn exception(mut self, error_type: &str, message: &str) -> Self {
        let pairs = [("exception.type", error_type), ("exception.message", message)];
        self.0.events.push(SpanEvent {
            dropped_attributes: 0,
            name: "exception".to_owned(),
            time_ns: self.0.end_ns,
            attributes: Attributes(attribute_list(&pairs)),
        });
        self
    }

    /// Adds it to the exception that was added last.
    pub(crate) fn stack_trace(mut self, text: &str) -> Self {
        let event = self.0.events.last_mut().expect("an exception");
        event.attributes.0.extend(attribute_list(&[("exception.stacktrace", text)]));
        self
    }

    pub(crate) fn build(self) -> Span {
        self.0
    }
}

pub(crate) fn trace(spans: Vec<Span>) -> Trace {
    Trace::build(spans).expect("has spans")
}

pub(crate) fn path(text: &str) -> Vec<String> {
    text.split(" / ").map(str::to_owned).collect()
}

/// One successful stage of `seconds` that begins at `start_s`.
pub(crate) fn stage(text: &str, start_s: f64, seconds: f64) -> StageSample {
    let path = path(text);
    let nanos = |s: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as the tests need")]
        let nanos = (s * 1e9).round() as i64;
        nanos
    };
    StageSample {
        key: StageKey::from_path(&path),
        parent: (path.len() > 1).then(|| StageKey::from_path(&path[..path.len() - 1])),
        path,
        duration_ns: nanos(seconds),
        count: 1,
        start_offset_ns: nanos(start_s),
        end_offset_ns: nanos(start_s + seconds),
        result: RunResult::Success,
        asynchronous: false,
        kind: StageKind::Work,
        cache: None,
    }
}

/// The successful run number `n` on `main`, one an hour, with these stages.
pub(crate) fn run(n: u32, stages: Vec<StageSample>) -> MeasuredRun {
    MeasuredRun {
        run: PipelineRun {
            id: RunId(format!("run-{n:05}")),
            repo: "acme/my-app".parse().expect("a repository"),
            pipeline: "ci".to_owned(),
            external_id: None,
            trace_id: None,
            attempt: 1,
            head_sha: format!("{:040x}", u64::from(n) + 1).parse().expect("a commit"),
            lineage: Lineage::Branch { name: "main".to_owned() },
            result: RunResult::Success,
            runner: RunnerClass::default(),
            started_at: Timestamp(1_790_000_000_000_000 + i64::from(n) * 3_600_000_000),
            duration_ns: stages.iter().find(|s| s.parent.is_none()).map_or(0, |s| s.duration_ns),
            workflow_path: None,
            notes: vec![],
        },
        stages,
        errors: vec![],
    }
}

/// The leaves of a typical pipeline with their seconds.
pub(crate) const LEAVES: [(&str, f64); 8] = [
    ("checkout / git-clone", 12.0),
    ("checkout / code-validation", 4.0),
    ("build / build-compile", 50.0),
    ("build / build-package", 30.0),
    ("test / test-unit", 40.0),
    ("test / test-integration", 60.0),
    ("deploy / environment-setup", 10.0),
    ("deploy / deployment", 30.0),
];

/// A linear congruential generator with Knuth's MMIX constants: the same numbers on every platform.
pub(crate) struct Lcg(u64);

impl Lcg {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1));
        (0..8).for_each(|_| {
            rng.uniform();
        });
        rng
    }

    /// Uniform in 0..1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).expect("32 bits")) / f64::from(u32::MAX)
    }

    /// Close to a standard normal: the sum of twelve uniforms less six.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// The pipeline with its stages in sequence. Each leaf's time has 8% of noise, and the runner's speed
/// varies by 12%. `slow` has leaves with their factors.
pub(crate) fn pipeline(n: u32, rng: &mut Lcg, runner: f64, slow: &[(&str, f64)]) -> MeasuredRun {
    let speed = runner * (0.12 * rng.normal()).exp();
    let seconds: Vec<f64> = LEAVES
        .iter()
        .map(|(name, base)| {
            let factor = slow.iter().find(|(s, _)| name.ends_with(s)).map_or(1.0, |(_, f)| *f);
            base * speed * factor * (0.08 * rng.normal()).exp()
        })
        .collect();
    run(n, lay_out(&seconds))
}

/// The stages of leaves with these seconds.
pub(crate) fn lay_out(seconds: &[f64]) -> Vec<StageSample> {
    let mut stages = vec![stage("ci", 0.0, seconds.iter().sum())];
    let mut at = 0.0;
    for group in ["checkout", "build", "test", "deploy"] {
        let mine: Vec<(&str, f64)> = LEAVES
            .iter()
            .zip(seconds)
            .filter(|((name, _), _)| name.starts_with(group))
            .map(|((name, _), s)| (*name, *s))
            .collect();
        stages.push(stage(&format!("ci / {group}"), at, mine.iter().map(|(_, s)| s).sum()));
        for (name, s) in mine {
            stages.push(stage(&format!("ci / {name}"), at, s));
            at += s;
        }
    }
    stages
}
