//! What a span says of its stage besides its name: that it is waiting for a runner, that a cache
//! had what it needed. Only a span's own attributes are asked; those of the resource are the
//! whole run's. Measures nothing.

use std::collections::HashSet;

use crate::model::span::Span;
use crate::model::stage::{CacheState, StageKind};
use crate::model::trace::{Node, Trace};

/// How a span of the OpenTelemetry Collector's GitHub receiver begins that stands for a job's
/// wait for a runner; the job's name follows.
pub const QUEUE_PREFIX: &str = "queue-";
/// What the same receiver writes on such a span, in whatever name.
pub const QUEUE_DURATION: &str = "cicd.pipeline.run.queue.duration";
/// Attributes that say what a span's time was spent on, the plainest one first, with the word
/// that stands for waiting. `pending` is what the semantic conventions call the time until a
/// run begins.
pub const QUEUE_WORDS: [(&str, &[&str]); 3] = [
    ("cicd.pipeline.run.state", &["pending"]),
    ("cicd.pipeline.task.run.state", &["pending"]),
    ("cicd.pipeline.task.type", &["queue", "pending"]),
];
/// Attributes that say whether a cache had it.
pub const CACHE_KEYS: [&str; 3] = ["pacegate.cache", "cache.hit", "cache-hit"];

/// Tells which spans of a trace stand for waiting for a runner.
pub(crate) struct Queues<'a> {
    trace: &'a Trace,
    /// Names of siblings, by what holds them; empty when no span's name begins like a queue's.
    names: HashSet<(Option<Node>, &'a str)>,
}

impl<'a> Queues<'a> {
    /// Of a trace. Linear in its spans.
    #[must_use]
    pub(crate) fn of(trace: &'a Trace) -> Self {
        let asked = trace.spans().iter().any(|span| span.name.starts_with(QUEUE_PREFIX));
        let names = if asked {
            trace.nodes().map(|node| (trace.parent(node), trace.span(node).name.as_str())).collect()
        } else {
            HashSet::new()
        };
        Self { trace, names }
    }

    /// What a span's time was spent on. `pacegate.stage.kind` is the last word. A name alone
    /// makes a queue of `queue-NAME` only in or beside a span called `NAME`: a job may well be
    /// called `queue-tests`. The root is always work.
    #[must_use]
    pub(crate) fn kind(&self, node: Node) -> StageKind {
        let span = self.trace.span(node);
        let Some(parent) = self.trace.parent(node) else { return StageKind::Work };
        if let Some(kind) = span.attributes.text("pacegate.stage.kind").and_then(|w| StageKind::parse(&w)) {
            return kind;
        }
        let says = |(key, words): &(&str, &[&str])| {
            let said = span.attributes.text(key);
            said.is_some_and(|said| words.iter().any(|word| said.eq_ignore_ascii_case(word)))
        };
        let named = || {
            let job = span.name.strip_prefix(QUEUE_PREFIX);
            job.is_some_and(|job| {
                self.trace.span(parent).name == job || self.names.contains(&(Some(parent), job))
            })
        };
        let waits = span.attributes.get(QUEUE_DURATION).is_some() || QUEUE_WORDS.iter().any(says) || named();
        if waits { StageKind::Queue } else { StageKind::Work }
    }
}

/// What was said of a stage's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum CacheStatement {
    /// Nothing.
    #[default]
    Silent,
    /// The same by all who said something.
    Said(CacheState),
    /// Both: of several, some hit and some missed.
    Mixed,
}

impl CacheStatement {
    /// What a span says by itself.
    #[must_use]
    pub(crate) fn of(span: &Span) -> Self {
        let said = CACHE_KEYS.iter().find_map(|key| CacheState::parse(&span.attributes.text(key)?));
        said.map_or(Self::Silent, Self::Said)
    }

    /// Together with what another one said.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Silent, said) | (said, Self::Silent) => said,
            (a, b) if a == b => a,
            _ => Self::Mixed,
        }
    }

    /// A stage's state: its own statement, else what all its direct parts that said something
    /// agree on. None when nobody said anything, or not the same.
    #[must_use]
    pub(crate) fn settle(own: Self, parts: Self) -> Option<CacheState> {
        match (own, parts) {
            (Self::Said(state), _) | (Self::Silent, Self::Said(state)) => Some(state),
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
    fn waiting_for_a_runner_is_recognised() {
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
    fn caches_say_whether_they_had_it() {
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
            assert_eq!(CacheStatement::settle(CacheStatement::of(&span), CacheStatement::Silent), expected);
        }
    }

    #[test]
    fn statements_agree_or_are_none() {
        use CacheState::{Hit, Miss};
        use CacheStatement::{Mixed, Said, Silent};
        assert_eq!(
            [Silent.and(Said(Hit)), Said(Hit).and(Said(Hit)), Said(Hit).and(Said(Miss))],
            [Said(Hit), Said(Hit), Mixed]
        );
        assert_eq!(Mixed.and(Said(Hit)), Mixed);
        let settled = [(Said(Miss), Said(Hit)), (Silent, Said(Hit)), (Mixed, Said(Hit)), (Silent, Mixed)]
            .map(|(own, parts)| CacheStatement::settle(own, parts));
        assert_eq!(settled, [Some(Miss), Some(Hit), None, None]);
    }
}
