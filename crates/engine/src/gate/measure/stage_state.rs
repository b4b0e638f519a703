//! Reads a stage's state from its spans: whether it waited for a runner, and whether a cache had the
//! needed content. Only a span's own attributes count, because those of the resource describe the whole
//! run. It measures nothing.

use std::collections::HashSet;

use crate::model::span::Span;
use crate::model::stage::{CacheState, StageKind};
use crate::model::trace::{Node, Trace};

/// Prefix of a span's name in the OpenTelemetry Collector's GitHub receiver. Such a span is a job's wait
/// for a runner, and the job's name follows.
pub const QUEUE_PREFIX: &str = "queue-";
/// Attribute of the same receiver on such a span, independent of its name.
pub const QUEUE_DURATION: &str = "cicd.pipeline.run.queue.duration";
/// Attributes with the kind of a span's time, the clearest first, and their values for waiting. The
/// semantic conventions call the time until a run begins `pending`.
pub const QUEUE_VALUES: [(&str, &[&str]); 3] = [
    ("cicd.pipeline.run.state", &["pending"]),
    ("cicd.pipeline.task.run.state", &["pending"]),
    ("cicd.pipeline.task.type", &["queue", "pending"]),
];
/// Attributes with the state of a cache.
pub const CACHE_KEYS: [&str; 3] = ["pacegate.cache", "cache.hit", "cache-hit"];

/// Finds the spans of a trace that are a wait for a runner.
pub(crate) struct Queues<'a> {
    trace: &'a Trace,
    /// Parents with the names of their children. Empty when no name begins with the queue's prefix.
    names: HashSet<(Option<Node>, &'a str)>,
}

impl<'a> Queues<'a> {
    /// Linear in the spans.
    #[must_use]
    pub(crate) fn of(trace: &'a Trace) -> Self {
        let is_needed = trace.spans().iter().any(|span| span.name.starts_with(QUEUE_PREFIX));
        let names = if is_needed {
            trace.nodes().map(|node| (trace.parent(node), trace.span(node).name.as_str())).collect()
        } else {
            HashSet::new()
        };
        Self { trace, names }
    }

    /// The kind of a span's time. `pacegate.stage.kind` takes precedence. By its name alone, `queue-NAME`
    /// is a queue only below or beside a span called `NAME`, because a job may be called
    /// `queue-tests`. The root is always work.
    #[must_use]
    pub(crate) fn kind(&self, node: Node) -> StageKind {
        let span = self.trace.span(node);
        let Some(parent) = self.trace.parent(node) else { return StageKind::Work };
        if let Some(kind) =
            span.attributes.text("pacegate.stage.kind").and_then(|kind| StageKind::parse(&kind))
        {
            return kind;
        }
        let has_value = |(key, values): &(&str, &[&str])| {
            let found = span.attributes.text(key);
            found.is_some_and(|found| values.iter().any(|value| found.eq_ignore_ascii_case(value)))
        };
        let has_name = || {
            let job = span.name.strip_prefix(QUEUE_PREFIX);
            job.is_some_and(|job| {
                self.trace.span(parent).name == job || self.names.contains(&(Some(parent), job))
            })
        };
        let waits =
            span.attributes.get(QUEUE_DURATION).is_some() || QUEUE_VALUES.iter().any(has_value) || has_name();
        if waits { StageKind::Queue } else { StageKind::Work }
    }
}

/// The reports of one or more spans about a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CacheReport {
    /// No span has a report.
    #[default]
    Missing,
    /// All spans with a report agree.
    Reported(CacheState),
    /// Some hit and some missed.
    Mixed,
}

impl CacheReport {
    #[must_use]
    pub(crate) fn of(span: &Span) -> Self {
        let state = CACHE_KEYS.iter().find_map(|key| CacheState::parse(&span.attributes.text(key)?));
        state.map_or(Self::Missing, Self::Reported)
    }

    #[must_use]
    pub(crate) fn combine(self, other: Self) -> Self {
        match (self, other) {
            (Self::Missing, report) | (report, Self::Missing) => report,
            (a, b) if a == b => a,
            _ => Self::Mixed,
        }
    }

    /// A stage's state: its own report, else that of its direct parts. None without a report, or when
    /// reports differ.
    #[must_use]
    pub(crate) fn resolve(own: Self, parts: Self) -> Option<CacheState> {
        match (own, parts) {
            (Self::Reported(state), _) | (Self::Missing, Self::Reported(state)) => Some(state),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::{SpanBuilder, trace};

    fn kind(name: &str, attributes: &[(&str, &str)]) -> StageKind {
        let trace = trace(vec![
            SpanBuilder::new(1, "run ci").attributes(&[("cicd.pipeline.run.state", "pending")]).build(),
            SpanBuilder::new(2, "test").parent(1).build(),
            SpanBuilder::new(3, name).parent(2).attributes(attributes).build(),
            SpanBuilder::new(4, "lint").parent(2).build(),
        ]);
        let queues = Queues::of(&trace);
        assert_eq!(queues.kind(trace.root()), StageKind::Work, "a run is more than its wait");
        let node = trace.nodes().find(|n| trace.span(*n).name == name).expect("is there");
        queues.kind(node)
    }

    #[test]
    fn wait_for_runner_is_recognised() {
        use StageKind::{Queue, Work};
        for (name, attributes, expected) in [
            ("queue-test", &[][..], Queue),
            ("queue-lint", &[], Queue),
            ("queue-worker", &[], Work),
            ("queue-", &[], Work),
            ("step", &[("cicd.pipeline.run.queue.duration", "12")], Queue),
            ("step", &[("cicd.pipeline.run.state", "pending")], Queue),
            ("step", &[("cicd.pipeline.run.state", "executing")], Work),
            ("step", &[("cicd.pipeline.task.type", "queue")], Queue),
            ("step", &[("cicd.pipeline.task.type", "build")], Work),
            ("step", &[("pacegate.stage.kind", "Queue")], Queue),
            ("queue-test", &[("pacegate.stage.kind", "work")], Work),
            ("queue-test", &[("pacegate.stage.kind", "nonsense")], Queue),
        ] {
            assert_eq!(kind(name, attributes), expected, "{name} {attributes:?}");
        }
    }

    #[test]
    fn cache_attributes_are_read() {
        use CacheState::{Hit, Miss};
        for (key, value, expected) in [
            ("pacegate.cache", "hit", Some(Hit)),
            ("pacegate.cache", "MISS", Some(Miss)),
            ("cache.hit", "true", Some(Hit)),
            ("cache-hit", "false", Some(Miss)),
            ("cache-hit", "maybe", None),
            ("cache", "hit", None),
        ] {
            let span = SpanBuilder::new(1, "x").attributes(&[(key, value)]).build();
            assert_eq!(CacheReport::resolve(CacheReport::of(&span), CacheReport::Missing), expected);
        }
    }

    #[test]
    fn differing_cache_reports_are_no_state() {
        use CacheReport::{Missing, Mixed, Reported};
        use CacheState::{Hit, Miss};
        let (hit, miss) = (Reported(Hit), Reported(Miss));
        assert_eq!([Missing.combine(hit), hit.combine(hit), hit.combine(miss)], [hit, hit, Mixed]);
        assert_eq!(Mixed.combine(hit), Mixed);
        let states = [(miss, hit), (Missing, hit), (Mixed, hit), (Missing, Mixed)]
            .map(|(own, parts)| CacheReport::resolve(own, parts));
        assert_eq!(states, [Some(Miss), Some(Hit), None, None]);
    }
}
