//! The spans that GitHub's API told of a run, and where its jobs and steps are among them.

use std::collections::{BTreeMap, HashMap, HashSet};

use pacegate_engine::gate::measure::stage_key::stage_name;
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::span::{AttributeValue, Span};

/// GitHub's times are whole seconds: an end may be so much later.
pub(crate) const GRAIN_NS: i64 = 1_000_000_000;

/// A step that ran.
#[derive(Debug)]
pub(crate) struct ApiStep {
    pub id: SpanId,
    pub start_ns: i64,
    /// As it is told, in whole seconds.
    pub end_ns: i64,
    /// Whether the runner added it: nothing of a workflow's own runs in it.
    pub is_the_runners: bool,
}

/// A job.
#[derive(Debug)]
pub(crate) struct ApiJob {
    pub id: SpanId,
    pub name: String,
    /// From when a runner had it.
    pub start_ns: i64,
    pub end_ns: i64,
    /// Until when it waited for that, by GitHub's word.
    pub waited_until_ns: i64,
    /// In their order.
    pub steps: Vec<ApiStep>,
    /// Names of the stages right below it, which are GitHub's.
    pub stage_names: HashSet<String>,
    runner: Option<String>,
    /// Where its span is.
    at: usize,
}

/// What GitHub told of a run.
#[derive(Debug, Default)]
pub(crate) struct ApiTrace {
    pub spans: Vec<Span>,
    pub jobs: Vec<ApiJob>,
    ids: HashSet<SpanId>,
    by_span: HashMap<SpanId, usize>,
}

impl ApiTrace {
    pub(crate) fn of(spans: Vec<Span>) -> Self {
        let ids: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
        let root = spans.iter().find(|span| span.parent_span_id.is_none()).map(|span| span.span_id);
        let mut jobs: Vec<ApiJob> = Vec::new();
        let mut by_span = HashMap::new();
        for (at, span) in
            spans.iter().enumerate().filter(|(_, span)| root.is_some() && span.parent_span_id == root)
        {
            by_span.insert(span.span_id, jobs.len());
            jobs.push(ApiJob {
                id: span.span_id,
                name: span.name.clone(),
                start_ns: span.start_ns,
                end_ns: span.end_ns,
                waited_until_ns: span.start_ns,
                steps: Vec::new(),
                stage_names: HashSet::new(),
                runner: span.attributes.text("cicd.worker.name"),
                at,
            });
        }
        for span in &spans {
            let Some(job) = span.parent_span_id.and_then(|parent| by_span.get(&parent).copied()) else {
                continue;
            };
            by_span.insert(span.span_id, job);
            let job = &mut jobs[job];
            job.stage_names.insert(stage_name(span));
            if span.attributes.get("github.step.number").is_none() {
                // Its wait for a runner, which it may have had for so much less.
                job.start_ns = job.start_ns.max(span.end_ns.saturating_sub(GRAIN_NS));
                job.waited_until_ns = job.waited_until_ns.max(span.end_ns);
            } else if span.attributes.text("cicd.pipeline.task.run.result").as_deref()
                != Some(RunResult::Skip.as_str())
            {
                job.steps.push(ApiStep {
                    id: span.span_id,
                    start_ns: span.start_ns,
                    end_ns: span.end_ns,
                    is_the_runners: is_the_runners(&span.name),
                });
            }
        }
        for job in &mut jobs {
            job.steps.sort_by_key(|step| (step.start_ns, step.end_ns, step.id));
        }
        Self { spans, jobs, ids, by_span }
    }

    /// Whether a span is one of GitHub's own.
    pub(crate) fn is_known(&self, id: SpanId) -> bool {
        self.ids.contains(&id)
    }

    /// The job that a span of GitHub's is, or is a part of.
    pub(crate) fn job_of_span(&self, id: SpanId) -> Option<usize> {
        self.by_span.get(&id).copied()
    }

    /// Of the jobs on a machine the one in whose time most of an interval lies.
    pub(crate) fn job_on_runner(&self, name: &str, interval: Option<(i64, i64)>) -> Option<usize> {
        let on_it = || self.jobs.iter().enumerate().filter(|(_, job)| job.runner.as_deref() == Some(name));
        match interval {
            Some(interval) => on_it()
                .map(|(at, job)| (overlap(interval, (job.start_ns, job.end_ns.saturating_add(GRAIN_NS))), at))
                .filter(|(shared, _)| *shared > 0)
                .max_by_key(|(shared, at)| (*shared, std::cmp::Reverse(*at)))
                .map(|(_, at)| at),
            None => on_it().map(|(at, _)| at).next().filter(|_| on_it().count() == 1),
        }
    }

    /// The job in whose time an interval lies, if it is the only one.
    pub(crate) fn only_job_around(&self, (from, to): (i64, i64)) -> Option<usize> {
        let mut around = self.jobs.iter().enumerate().filter(|(_, job)| {
            from >= job.start_ns.saturating_sub(GRAIN_NS) && to <= job.end_ns.saturating_add(2 * GRAIN_NS)
        });
        let first = around.next().map(|(at, _)| at);
        first.filter(|_| around.next().is_none())
    }

    /// Adds what is known of a job to its span. What GitHub said stays.
    pub(crate) fn add_facts(&mut self, job: usize, facts: BTreeMap<String, AttributeValue>) {
        let attributes = &mut self.spans[self.jobs[job].at].attributes;
        for (key, value) in facts {
            if attributes.get(&key).is_none() {
                attributes.0.push((key, value));
            }
        }
    }
}

/// GitHub's names for what it does around a workflow's own steps.
fn is_the_runners(name: &str) -> bool {
    matches!(name, "Set up job" | "Initialize containers" | "Stop containers" | "Complete job")
        || name.starts_with("Post ")
}

/// How much two intervals share.
pub(crate) fn overlap(a: (i64, i64), b: (i64, i64)) -> i64 {
    a.1.min(b.1).saturating_sub(a.0.max(b.0)).max(0)
}
