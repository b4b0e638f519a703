//! Adds the spans that jobs sent to the trace from GitHub's API. Each tree of spans becomes a child
//! of the step during which it ran. Pure, and independent of the order of its input.
//! GitHub's spans never change: a sent span cannot replace the span of a run, a job or a step,
//! lengthen it, fail it, or mark it as a wait.

mod api;
mod clock;
mod placing;
mod statements;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use self::api::ApiTrace;
use self::clock::Fit;
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::note::{JobSpanProblem, Note};
use pacegate_engine::model::span::{AttributeValue, Span};

/// Most spans that jobs add to one run.
const MAX_SPANS: usize = 200_000;

/// The spans and facts that one job sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobSpans {
    pub job: JobClaim,
    /// In the run's trace. A parent is another sent span, the job, or missing.
    pub spans: Vec<Span>,
    /// Start and end of the recording by the runner's clock, nanoseconds since the epoch.
    pub recorded: Option<(i64, i64)>,
    /// Attributes for the job's span: facts about the runner and the job.
    pub facts: Vec<(String, AttributeValue)>,
}

/// How to find the job that sent spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum JobClaim {
    /// By the parent span id that its steps received.
    Span(SpanId),
    /// By the runner's name: of its jobs, the one with the largest overlap in time. The id is the parent
    /// span id that the steps received.
    Runner(String, SpanId),
    /// For each span by its ancestors, else by its time.
    #[default]
    Unknown,
}

/// A run's spans with those of its jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    /// The API's spans in their order, then the added spans.
    pub spans: Vec<Span>,
    /// Data that was left out or shifted.
    pub notes: Vec<Note>,
}

/// Adds sent spans to the API's spans. All must be spans of one trace.
#[must_use]
pub fn merge(api: Vec<Span>, sent: Vec<JobSpans>) -> Merged {
    let api = ApiTrace::of(api);
    let mut assignment = Assignment::default();
    for job_spans in sent {
        assignment.add(&api, job_spans);
    }
    assignment.finish(api)
}

/// All data that was sent for one job.
#[derive(Default)]
struct JobData {
    spans: Vec<Span>,
    recorded: Option<(i64, i64)>,
    facts: BTreeMap<String, AttributeValue>,
    /// Keys of facts that were sent with different values.
    disputed: HashSet<String>,
}

/// The assignment of sent spans to the API's jobs.
#[derive(Default)]
struct Assignment {
    by_job: BTreeMap<usize, JobData>,
    /// Spans without a job.
    without_job: usize,
    /// Spans with the id of one of GitHub's spans.
    protected: usize,
}

impl Assignment {
    /// Assigns spans that were sent together to one job.
    fn add(&mut self, api: &ApiTrace, mut sent: JobSpans) {
        let before = sent.spans.len();
        sent.spans.retain(|span| !api.is_known(span.span_id));
        self.protected += before - sent.spans.len();
        let job = match &sent.job {
            JobClaim::Span(id) => api.job_of_span(*id),
            JobClaim::Runner(name, _) => {
                api.job_on_runner(name, sent.recorded.or_else(|| extent(&sent.spans)))
            }
            JobClaim::Unknown => return self.add_each(api, sent.spans),
        };
        let Some(job) = job else {
            self.without_job += sent.spans.len();
            return;
        };
        let data = self.by_job.entry(job).or_default();
        data.spans.extend(sent.spans);
        data.recorded = match (data.recorded, sent.recorded) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        for (key, value) in sent.facts {
            match data.facts.get(&key) {
                Some(known) if *known != value => {
                    data.disputed.insert(key);
                }
                Some(_) => {}
                None => {
                    data.facts.insert(key, value);
                }
            }
        }
    }

    /// Assigns spans whose job is not known, tree by tree.
    fn add_each(&mut self, api: &ApiTrace, spans: Vec<Span>) {
        let parents: HashMap<SpanId, SpanId> =
            spans.iter().filter_map(|span| Some((span.span_id, span.parent_span_id?))).collect();
        let mut known: HashMap<SpanId, Option<usize>> = HashMap::new();
        let mut of_root: HashMap<SpanId, (i64, i64)> = HashMap::new();
        let root_of = topmost(&spans, &parents);
        let roots: Vec<SpanId> = spans.iter().map(|span| root_of[&span.span_id]).collect();
        for (span, root) in spans.iter().zip(&roots) {
            let times = of_root.entry(*root).or_insert((i64::MAX, i64::MIN));
            *times = (times.0.min(span.start_ns), times.1.max(span.end_ns));
        }
        for (span, root) in spans.into_iter().zip(roots) {
            let job = *known.entry(root).or_insert_with(|| {
                api.job_of_span(root).or_else(|| api.only_job_around(*of_root.get(&root)?))
            });
            match job {
                Some(job) => self.by_job.entry(job).or_default().spans.push(span),
                None => self.without_job += 1,
            }
        }
    }

    fn finish(self, mut api: ApiTrace) -> Merged {
        let mut notes = Vec::new();
        let mut added = Vec::new();
        let (mut over_limit, mut unplaced, mut job_level) = (0, 0, placing::MAX_JOB_LEVEL_SPANS);
        for (at, data) in self.by_job {
            let JobData { mut spans, recorded, mut facts, disputed } = data;
            put_in_order(&mut spans);
            let job = &api.jobs[at];
            let shift = match clock::fit(job, &spans, recorded) {
                Fit::Within(shift) => shift,
                Fit::Contradiction => {
                    notes.push(Note::ContradictsGitHub { job: job.name.clone(), spans: spans.len() });
                    continue;
                }
            };
            if shift != 0 {
                notes.push(Note::JobClockShifted { job: job.name.clone(), behind_ns: shift });
                for span in &mut spans {
                    clock::shift(span, shift);
                }
            }
            let remaining = MAX_SPANS.saturating_sub(added.len());
            over_limit += spans.len().saturating_sub(remaining);
            spans.truncate(remaining);
            unplaced += placing::place(job, &mut spans, &mut job_level);
            facts.retain(|key, _| !disputed.contains(key));
            if !disputed.is_empty() {
                notes.push(Note::DisputedFacts { job: job.name.clone(), facts: disputed.len() });
            }
            api.add_facts(at, facts);
            added.extend(spans);
        }
        for (spans, why) in [
            (self.without_job, JobSpanProblem::NoJob),
            (self.protected, JobSpanProblem::TakenId),
            (over_limit, JobSpanProblem::TooMany),
            (unplaced, JobSpanProblem::NoStep),
        ] {
            if spans > 0 {
                notes.push(Note::JobSpansLeftOut { why, spans });
            }
        }
        let mut spans = api.spans;
        spans.extend(added);
        Merged { spans, notes }
    }
}

/// Removes copies of a span and sorts by start. Of two copies the one with more attributes, events and
/// links is kept. Ties depend only on the content.
fn put_in_order(spans: &mut Vec<Span>) {
    let weight = |span: &Span| (span.attributes.0.len(), span.events.len(), span.links.len());
    spans.sort_by(|a, b| {
        (a.span_id, weight(b), b.end_ns, b.start_ns, &a.name).cmp(&(
            b.span_id,
            weight(a),
            a.end_ns,
            a.start_ns,
            &b.name,
        ))
    });
    spans.dedup_by_key(|span| span.span_id);
    spans.sort_by_key(|span| (span.start_ns, span.span_id));
}

/// The root of each span: its nearest ancestor that was not sent with these spans, or the topmost
/// sent one. In a cycle it is the smallest id of the cycle. Takes linear time.
fn topmost(spans: &[Span], parents: &HashMap<SpanId, SpanId>) -> HashMap<SpanId, SpanId> {
    let mut root_of: HashMap<SpanId, SpanId> = HashMap::with_capacity(spans.len());
    for span in spans {
        let (mut path, mut on_path) = (Vec::new(), HashMap::new());
        let mut at = span.span_id;
        let root = loop {
            if let Some(known) = root_of.get(&at) {
                break *known;
            }
            if let Some(from) = on_path.insert(at, path.len()) {
                let cycle: &[SpanId] = &path[from..];
                break cycle.iter().copied().min().unwrap_or(at);
            }
            path.push(at);
            match parents.get(&at) {
                Some(parent) => at = *parent,
                None => break at,
            }
        };
        root_of.extend(path.into_iter().map(|id| (id, root)));
    }
    root_of
}

/// Earliest start and latest end.
fn extent(spans: &[Span]) -> Option<(i64, i64)> {
    let first = spans.iter().map(|span| span.start_ns).min()?;
    Some((first, spans.iter().map(|span| span.end_ns.max(span.start_ns)).max()?))
}
