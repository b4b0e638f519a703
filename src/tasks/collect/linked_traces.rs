//! Selects the traces that are collected together: traces of one pipeline run that links connect.
//! Refuses to join different runs, commits, branches, pull requests or repositories, and limits the
//! size of a group.

use std::collections::BTreeSet;

use crate::tasks::TaskError;
use pacegate_engine::gate::measure::identity::RunIdentity;
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_engine::model::linked_traces::{connected, linked};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::trace::Trace;
use pacegate_store::{OpenTrace, PipelineTrace, Tx};

/// Most traces of one run.
const MAX_TRACES: usize = 50;
/// Most spans of one run. All of them are in memory at once.
const MAX_SPANS: i64 = 200_000;
/// Most stored bytes of these spans.
const MAX_BYTES: i64 = 128 << 20;

/// The run that a trace names, and its links.
#[derive(Debug, Clone, Default)]
pub(super) struct Statement {
    /// `None` if it names no run. Then the trace is a run of its own.
    pub(super) of_run: Option<PipelineTrace>,
    /// The traces that its links name.
    pub(super) linked: Vec<TraceId>,
}

impl Statement {
    pub(super) fn of(trace: &Trace, identity: &RunIdentity) -> Self {
        let of_run = identity.run_key().map(|run_key| PipelineTrace {
            trace: trace.id(),
            run_key,
            head_sha: identity.head_sha.clone(),
            lineage: identity.lineage(),
            started_ns: trace.span(trace.root()).start_ns,
        });
        Self { of_run, linked: linked(trace.spans()) }
    }
}

/// A trace and its state when it was read.
pub(super) type Member = (TraceId, OpenTrace);

/// The traces of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// The traces that form the run, earliest first.
    pub(super) members: Vec<Member>,
    /// Traces beyond the limits.
    pub(super) left_out: Vec<Member>,
}

impl Group {
    /// Finds the traces that are collected together with `own`.
    pub(super) async fn of(
        tx: &mut Tx,
        repo: RepoId,
        own: Member,
        statement: &Statement,
    ) -> Result<Self, TaskError> {
        let Some(own_run) = &statement.of_run else {
            return Ok(Self { members: vec![own], left_out: Vec::new() });
        };
        let mut links = tx.links_of_run(repo, &own_run.run_key).await?;
        links.extend(statement.linked.iter().map(|other| (own.0, *other)));
        if !links.iter().any(|(from, to)| *from == own.0 || *to == own.0) {
            return Ok(Self { members: vec![own], left_out: Vec::new() });
        }
        let mut known = tx.pipeline_traces(repo, &own_run.run_key).await?;
        known.retain(|(other, _)| other.trace != own.0 && fit(own_run, other));
        known.push((own_run.clone(), own.1));
        retain_connected(&mut known, own.0, &mut links);
        retain_unanimous(&mut known, own_run);
        // A dropped trace must not connect the others.
        retain_connected(&mut known, own.0, &mut links);
        known.sort_by_key(|(trace, _)| (trace.started_ns, trace.trace));
        Ok(Self::within_limits(known.into_iter().map(|(trace, open)| (trace.trace, open)).collect()))
    }

    fn within_limits(all: Vec<Member>) -> Self {
        let (mut spans, mut bytes) = (0_i64, 0_i64);
        let mut group = Self { members: Vec::new(), left_out: Vec::new() };
        for member in all {
            let more = (spans.saturating_add(member.1.spans), bytes.saturating_add(member.1.bytes));
            let fits = group.members.is_empty()
                || (group.members.len() < MAX_TRACES && more.0 <= MAX_SPANS && more.1 <= MAX_BYTES);
            if fits {
                (spans, bytes) = more;
                group.members.push(member);
            } else {
                group.left_out.push(member);
            }
        }
        group
    }

    /// All traces, sorted by id. Senders lock the rows in the same order, which prevents deadlocks.
    pub(super) fn all(&self) -> Vec<Member> {
        let mut all: Vec<Member> = self.members.iter().chain(&self.left_out).copied().collect();
        all.sort_by_key(|(trace, _)| *trace);
        all
    }

    /// Whether both groups have the same traces, regardless of their states.
    pub(super) fn has_same_traces(&self, other: &Self) -> bool {
        let ids = |members: &[Member]| members.iter().map(|(trace, _)| *trace).collect::<Vec<_>>();
        ids(&self.members) == ids(&other.members) && ids(&self.left_out) == ids(&other.left_out)
    }

    /// A note on the run if traces were left out.
    pub(super) fn note(&self) -> Option<Note> {
        (!self.left_out.is_empty()).then_some(Note::LinkedTracesLeftOut {
            traces: self.left_out.len(),
            max_traces: MAX_TRACES,
            max_spans: MAX_SPANS,
        })
    }
}

type Known = (PipelineTrace, OpenTrace);

fn retain_connected(known: &mut Vec<Known>, with: TraceId, links: &mut Vec<(TraceId, TraceId)>) {
    let of_run: BTreeSet<TraceId> = known.iter().map(|(trace, _)| trace.trace).collect();
    links.retain(|(from, to)| of_run.contains(from) && of_run.contains(to));
    let connected = connected(with, links);
    known.retain(|(trace, _)| connected.contains(&trace.trace));
}

/// Keeps traces of one commit and one line of development. A trace that names neither can connect
/// traces that differ. In this case the own trace decides, then traces that name a commit, then the
/// earliest.
fn retain_unanimous(known: &mut Vec<Known>, own: &PipelineTrace) {
    known.sort_by_key(|(trace, _)| {
        (trace.trace != own.trace, trace.head_sha.is_none(), trace.started_ns, trace.trace)
    });
    let mut whole = own.clone();
    known.retain(|(trace, _)| {
        let fits = fit(&whole, trace);
        if fits {
            whole.head_sha = whole.head_sha.take().or_else(|| trace.head_sha.clone());
            if whole.lineage == Lineage::Unknown {
                whole.lineage = trace.lineage.clone();
            }
        }
        fits
    });
}

/// Whether two traces can have the same commit and line of development. Consumers of messages often
/// know neither, so unknown values fit. A branch and a pull request differ, even if the branch is the
/// pull request's head.
fn fit(one: &PipelineTrace, other: &PipelineTrace) -> bool {
    let is_unknown = |trace: &PipelineTrace| trace.lineage == Lineage::Unknown;
    one.head_sha.as_ref().zip(other.head_sha.as_ref()).is_none_or(|(one, other)| one == other)
        && (is_unknown(one) || is_unknown(other) || one.lineage == other.lineage)
}
