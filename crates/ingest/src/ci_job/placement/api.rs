//! Index of the spans from GitHub's API: finds jobs by span, by runner and by time. Only adds facts to
//! a job's span, and never changes a value of GitHub's.

use std::collections::{BTreeMap, HashMap, HashSet};

use pacegate_engine::gate::measure::stage_key::stage_name;
use pacegate_engine::model::ids::SpanId;
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::span::{AttributeValue, Span};

/// GitHub's times are whole seconds: an actual end may be up to this much later.
pub(crate) const RESOLUTION_NS: i64 = 1_000_000_000;

/// A step that ran.
#[derive(Debug)]
pub(crate) struct ApiStep {
    pub id: SpanId,
    pub start_ns: i64,
    /// In whole seconds.
    pub end_ns: i64,
    /// Whether the runner added the step. No command of the workflow runs in it.
    pub is_runner_step: bool,
}

#[derive(Debug)]
pub(crate) struct ApiJob {
    pub id: SpanId,
    pub name: String,
    /// The earliest time at which a runner can have started it.
    pub start_ns: i64,
    pub end_ns: i64,
    /// The end of its wait for a runner, in whole seconds.
    pub waited_until_ns: i64,
    /// Steps that ran, in order of time.
    pub steps: Vec<ApiStep>,
    /// Names of the stages directly below it. Sent spans must not use them there.
    pub stage_names: HashSet<String>,
    runner: Option<String>,
    /// Index of its span.
    at: usize,
}

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
                // The wait for a runner. It may have ended up to a second earlier.
                job.start_ns = job.start_ns.max(span.end_ns.saturating_sub(RESOLUTION_NS));
                job.waited_until_ns = job.waited_until_ns.max(span.end_ns);
            } else if span.attributes.text("cicd.pipeline.task.run.result").as_deref()
                != Some(RunResult::Skip.as_str())
            {
                job.steps.push(ApiStep {
                    id: span.span_id,
                    start_ns: span.start_ns,
                    end_ns: span.end_ns,
                    is_runner_step: is_runner_step(&span.name),
                });
            }
        }
        for job in &mut jobs {
            job.steps.sort_by_key(|step| (step.start_ns, step.end_ns, step.id));
        }
        Self { spans, jobs, ids, by_span }
    }

    pub(crate) fn is_known(&self, id: SpanId) -> bool {
        self.ids.contains(&id)
    }

    /// The job of one of GitHub's spans: the span is the job, its wait or its step.
    pub(crate) fn job_of_span(&self, id: SpanId) -> Option<usize> {
        self.by_span.get(&id).copied()
    }

    /// The job on a runner with the largest overlap with an interval. Without an interval, the runner's
    /// only job.
    pub(crate) fn job_on_runner(&self, name: &str, interval: Option<(i64, i64)>) -> Option<usize> {
        let on_runner =
            || self.jobs.iter().enumerate().filter(|(_, job)| job.runner.as_deref() == Some(name));
        match interval {
            Some(interval) => on_runner()
                .map(|(at, job)| {
                    (overlap(interval, (job.start_ns, job.end_ns.saturating_add(RESOLUTION_NS))), at)
                })
                .filter(|(shared, _)| *shared > 0)
                .max_by_key(|(shared, at)| (*shared, std::cmp::Reverse(*at)))
                .map(|(_, at)| at),
            None => on_runner().map(|(at, _)| at).next().filter(|_| on_runner().count() == 1),
        }
    }

    /// The job whose time contains an interval, if there is exactly one.
    pub(crate) fn only_job_around(&self, (from, to): (i64, i64)) -> Option<usize> {
        let mut around = self.jobs.iter().enumerate().filter(|(_, job)| {
            from >= job.start_ns.saturating_sub(RESOLUTION_NS)
                && to <= job.end_ns.saturating_add(2 * RESOLUTION_NS)
        });
        let first = around.next().map(|(at, _)| at);
        first.filter(|_| around.next().is_none())
    }

    /// Adds facts to a job's span. Existing attributes stay unchanged.
    pub(crate) fn add_facts(&mut self, job: usize, facts: BTreeMap<String, AttributeValue>) {
        let attributes = &mut self.spans[self.jobs[job].at].attributes;
        for (key, value) in facts {
            if attributes.get(&key).is_none() {
                attributes.0.push((key, value));
            }
        }
    }
}

/// Matches GitHub's names of the steps that the runner adds around a workflow's steps.
fn is_runner_step(name: &str) -> bool {
    matches!(name, "Set up job" | "Initialize containers" | "Stop containers" | "Complete job")
        || name.starts_with("Post ")
}

/// Length of the intersection of two intervals.
pub(crate) fn overlap(a: (i64, i64), b: (i64, i64)) -> i64 {
    a.1.min(b.1).saturating_sub(a.0.max(b.0)).max(0)
}
