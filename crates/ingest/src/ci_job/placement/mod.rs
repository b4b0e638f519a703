//! What the steps of jobs sent, made part of the trace that GitHub's API told of their run: each
//! part below the step in whose time it lies. GitHub's word stays what it is: nothing that was
//! sent takes the place of a run's, a job's or a step's span, lengthens it, fails it or says that
//! it waited. Pure, and the same in whatever order things come.

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

/// Most spans of one run that jobs add.
const MOST_SPANS: usize = 200_000;

/// What one job sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobSpans {
    /// The job, where it is known which: GitHub's own, or the one that its runner and times mean.
    pub job: JobClaim,
    /// Under the run's trace. Their parents are each other, the job or nobody.
    pub spans: Vec<Span>,
    /// When the machine says that it began and ended to record, nanoseconds since the epoch.
    pub recorded: Option<(i64, i64)>,
    /// What is known of the machine and the job, for the job's span.
    pub facts: Vec<(String, AttributeValue)>,
}

/// How a job that sent spans is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum JobClaim {
    /// By the span that its steps were told as their parent.
    Span(SpanId),
    /// By its machine's name: of those on it the one in whose time most of it lies. The other is
    /// what its steps were told as their parent.
    Runner(String, SpanId),
    /// Each span by its ancestors, else by its time.
    #[default]
    Unknown,
}

/// A run's spans with those of its jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    /// Those of the API first, in their order.
    pub spans: Vec<Span>,
    /// What was left out or shifted.
    pub notes: Vec<Note>,
}

/// Adds what jobs sent to the spans that the API's answers are. All are spans of one trace.
#[must_use]
pub fn merge(api: Vec<Span>, sent: Vec<JobSpans>) -> Merged {
    let api = ApiTrace::of(api);
    let mut gathered = Gathered::default();
    for of_job in sent {
        gathered.add(&api, of_job);
    }
    gathered.finish(api)
}

/// What one job sent, all of it.
#[derive(Default)]
struct OfJob {
    spans: Vec<Span>,
    recorded: Option<(i64, i64)>,
    facts: BTreeMap<String, AttributeValue>,
    /// Facts that were told in two ways.
    disputed: HashSet<String>,
}

#[derive(Default)]
struct Gathered {
    by_job: BTreeMap<usize, OfJob>,
    nowhere: usize,
    protected: usize,
}

impl Gathered {
    /// Finds the job of everything that was sent together.
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
            self.nowhere += sent.spans.len();
            return;
        };
        let of_job = self.by_job.entry(job).or_default();
        of_job.spans.extend(sent.spans);
        of_job.recorded = match (of_job.recorded, sent.recorded) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        for (key, value) in sent.facts {
            match of_job.facts.get(&key) {
                Some(known) if *known != value => {
                    of_job.disputed.insert(key);
                }
                Some(_) => {}
                None => {
                    of_job.facts.insert(key, value);
                }
            }
        }
    }

    /// Spans that were sent without a word on their job.
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
                None => self.nowhere += 1,
            }
        }
    }

    fn finish(self, mut api: ApiTrace) -> Merged {
        let mut notes = Vec::new();
        let mut added = Vec::new();
        let (mut crowded, mut homeless, mut beside) = (0, 0, placing::MOST_BESIDE_STEPS);
        for (at, of_job) in self.by_job {
            let OfJob { mut spans, recorded, mut facts, disputed } = of_job;
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
            let room = MOST_SPANS.saturating_sub(added.len());
            crowded += spans.len().saturating_sub(room);
            spans.truncate(room);
            homeless += placing::place(job, &mut spans, &mut beside);
            facts.retain(|key, _| !disputed.contains(key));
            if !disputed.is_empty() {
                notes.push(Note::DisputedFacts { job: job.name.clone(), facts: disputed.len() });
            }
            api.add_facts(at, facts);
            added.extend(spans);
        }
        for (spans, why) in [
            (self.nowhere, JobSpanProblem::NoJob),
            (self.protected, JobSpanProblem::TakenId),
            (crowded, JobSpanProblem::TooMany),
            (homeless, JobSpanProblem::NoStep),
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

/// Earliest first; of two copies of a span the one that says more. Ties are broken by what they are.
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

/// Of each span the first ancestor that was not sent with them, else the last one that was; in a
/// circle the smallest of it. Linear.
fn topmost(spans: &[Span], parents: &HashMap<SpanId, SpanId>) -> HashMap<SpanId, SpanId> {
    let mut root_of: HashMap<SpanId, SpanId> = HashMap::with_capacity(spans.len());
    for span in spans {
        let (mut way, mut on_it) = (Vec::new(), HashMap::new());
        let mut at = span.span_id;
        let root = loop {
            if let Some(known) = root_of.get(&at) {
                break *known;
            }
            if let Some(from) = on_it.insert(at, way.len()) {
                let circle: &[SpanId] = &way[from..];
                break circle.iter().copied().min().unwrap_or(at);
            }
            way.push(at);
            match parents.get(&at) {
                Some(parent) => at = *parent,
                None => break at,
            }
        };
        root_of.extend(way.into_iter().map(|id| (id, root)));
    }
    root_of
}

fn extent(spans: &[Span]) -> Option<(i64, i64)> {
    let first = spans.iter().map(|span| span.start_ns).min()?;
    Some((first, spans.iter().map(|span| span.end_ns.max(span.start_ns)).max()?))
}
