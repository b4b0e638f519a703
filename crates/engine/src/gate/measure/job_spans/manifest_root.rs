//! Where only manifests tell of a run, each of its jobs brings a copy of the run's span. Here they are
//! made one, which says of the run what all of them say together, in whatever order they came.
//! Pure. Spans that no manifest made are left as they are.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{HashMap, HashSet};

use crate::gate::measure::extract::severity;
use crate::gate::measure::identity::root_result;
use crate::gate::verdict::number_format::counted;
use crate::model::ids::{SpanId, TraceId};
use crate::model::run::RunResult;
use crate::model::span::{AttributeValue, Span};

/// On a span that was made of a manifest: which one.
pub const MADE_OF_MANIFEST: &str = "pacegate.manifest";
/// The value of a run's span.
pub const OF_RUN: &str = "run";
/// The value of a job's span.
pub const OF_JOB: &str = "job";
/// The value of a job's span beside which it sent none.
pub const OF_SILENT_JOB: &str = "silent job";
/// How a run ended.
pub const RUN_RESULT: &str = "cicd.pipeline.result";

/// How many jobs told of the run, and how many of those told nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ManifestJobs {
    /// All of them.
    pub count: usize,
    /// Sent no span: whether they failed is not known.
    pub silent: usize,
}

impl ManifestJobs {
    /// Counts the jobs that have a span made of a manifest.
    #[must_use]
    pub fn of(spans: &[Span]) -> Self {
        let mut jobs: HashMap<(TraceId, SpanId), bool> = HashMap::new();
        for span in spans {
            let is_silent = match made_as(span).as_deref() {
                Some(OF_JOB) => false,
                Some(OF_SILENT_JOB) => true,
                _ => continue,
            };
            *jobs.entry((span.trace_id, span.span_id)).or_insert(true) &= is_silent;
        }
        Self { count: jobs.len(), silent: jobs.values().filter(|is_silent| **is_silent).count() }
    }

    /// For people: that a green run may be none.
    #[must_use]
    pub fn note(self) -> Option<String> {
        (self.silent > 0).then(|| {
            format!(
                "{} of {} sent no span, so nobody told whether it failed: it counts as green",
                self.silent,
                counted(self.count, "job")
            )
        })
    }
}

/// The spans with one copy of each run's span that was made of manifests: it begins with the first
/// of them, ends with the last, and ended as badly as the worst.
#[must_use]
pub fn one_root(spans: Vec<Span>) -> Vec<Span> {
    let mut roots: BTreeMap<(TraceId, SpanId), Root> = BTreeMap::new();
    let mut others = Vec::with_capacity(spans.len());
    for span in spans {
        if span.parent_span_id.is_some() || made_as(&span).as_deref() != Some(OF_RUN) {
            others.push(span);
            continue;
        }
        match roots.entry((span.trace_id, span.span_id)) {
            Entry::Vacant(free) => {
                free.insert(Root::of(span));
            }
            Entry::Occupied(mut taken) => taken.get_mut().add(span),
        }
    }
    // A copy of it that no manifest made is left out: it would count before what all say.
    let known: HashSet<(TraceId, SpanId)> = roots.keys().copied().collect();
    others.retain(|span| !known.contains(&(span.trace_id, span.span_id)));
    others.extend(roots.into_values().map(Root::into_span));
    others
}

fn made_as(span: &Span) -> Option<String> {
    span.attributes.text(MADE_OF_MANIFEST)
}

struct Root {
    /// The copy whose other statements count: that of the job that began first.
    first: Span,
    start_ns: i64,
    end_ns: i64,
    result: RunResult,
}

impl Root {
    fn of(span: Span) -> Self {
        Self { start_ns: span.start_ns, end_ns: span.end_ns, result: root_result(&span), first: span }
    }

    fn add(&mut self, span: Span) {
        let rank = |span: &Span| (span.start_ns, span.end_ns, format!("{:?}", span.resource));
        self.start_ns = self.start_ns.min(span.start_ns);
        self.end_ns = self.end_ns.max(span.end_ns);
        let result = root_result(&span);
        if severity(result) > severity(self.result) {
            self.result = result;
        }
        if rank(&span) < rank(&self.first) {
            self.first = span;
        }
    }

    fn into_span(self) -> Span {
        let mut span = self.first;
        (span.start_ns, span.end_ns) = (self.start_ns, self.end_ns);
        span.attributes.0.retain(|(key, _)| key != RUN_RESULT);
        if self.result != RunResult::Success {
            let result = AttributeValue::String(self.result.as_str().to_owned());
            span.attributes.0.push((RUN_RESULT.to_owned(), result));
        }
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::SpanBuilder;
    use crate::model::trace::Trace;

    fn span(id: u32, parent: Option<u32>, start_ns: i64, end_ns: i64) -> Span {
        let builder = SpanBuilder::new(id, &format!("span {id}"));
        let mut span = match parent {
            Some(parent) => builder.parent(parent).build(),
            None => builder.build(),
        };
        (span.start_ns, span.end_ns) = (start_ns, end_ns);
        span
    }

    fn made(mut span: Span, as_what: &str, result: Option<&str>) -> Span {
        let text = |text: &str| AttributeValue::String(text.to_owned());
        span.attributes.0.push((MADE_OF_MANIFEST.to_owned(), text(as_what)));
        span.attributes.0.extend(result.map(|result| (RUN_RESULT.to_owned(), text(result))));
        span
    }

    #[test]
    fn the_runs_span_is_what_all_jobs_say_whatever_comes_first() {
        let spans = [
            made(span(1, None, 100, 200), OF_RUN, Some("failure")),
            made(span(2, Some(1), 100, 200), OF_JOB, None),
            made(span(1, None, 300, 500), OF_RUN, None),
            made(span(3, Some(1), 300, 500), OF_SILENT_JOB, None),
            made(span(1, None, 150, 250), OF_RUN, None),
        ];
        let mut turned = spans.to_vec();
        turned.reverse();
        for spans in [spans.to_vec(), turned] {
            assert_eq!(ManifestJobs::of(&spans), ManifestJobs { count: 2, silent: 1 });
            let trace = Trace::build(one_root(spans)).expect("a trace");
            let root = trace.span(trace.root());
            assert_eq!((root.start_ns, root.end_ns), (100, 500));
            assert_eq!(root_result(root), RunResult::Failure, "a later green job does not make it green");
            assert_eq!((trace.spans().len(), trace.repairs().notes()), (3, Vec::<String>::new()));
        }
    }

    #[test]
    fn what_no_manifest_made_is_left_as_it_is() {
        let spans = vec![span(1, None, 0, 10), span(1, None, 0, 20), span(2, Some(1), 3, 4)];
        assert_eq!(one_root(spans.clone()), spans);
        assert_eq!(ManifestJobs::of(&spans).note(), None);
        let silent = [made(span(3, Some(1), 0, 1), OF_SILENT_JOB, None)];
        let note = ManifestJobs::of(&silent).note().expect("a sentence");
        assert!(note.starts_with("1 of 1 job sent no span"), "{note}");
    }
}
