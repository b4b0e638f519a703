//! Which traces are collected together: those of one pipeline run that links connect. Never those
//! of different runs, commits, branches, pull requests or repositories, and only so many.

use std::collections::BTreeSet;

use super::TaskError;
use pacegate_engine::gate::measure::identity::RunIdentity;
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_engine::model::linked_traces::{connected, linked};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::run::Lineage;
use pacegate_engine::model::trace::Trace;
use pacegate_store::{OpenTrace, PipelineTrace, Tx};

/// Traces of one run that are collected together.
const MAX_TRACES: usize = 50;
/// And so many spans, and bytes of them: a run is made of all of them at once.
const MAX_SPANS: i64 = 200_000;
const MAX_BYTES: i64 = 128 << 20;

/// What a trace says of the run it is of.
#[derive(Debug, Clone, Default)]
pub(super) struct Statement {
    /// None when it names no run: then it is a run by itself.
    pub(super) of_run: Option<PipelineTrace>,
    /// The traces its links name.
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

/// A trace and the state it was read in.
pub(super) type Member = (TraceId, OpenTrace);

/// Traces that are one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Those it is made of, the earliest first.
    pub(super) members: Vec<Member>,
    /// Those that are too many.
    pub(super) left_out: Vec<Member>,
}

impl Group {
    /// The traces that are collected together with one.
    pub(super) async fn of(
        tx: &mut Tx,
        repo: RepoId,
        own: Member,
        statement: &Statement,
    ) -> Result<Self, TaskError> {
        let Some(said) = &statement.of_run else {
            return Ok(Self { members: vec![own], left_out: Vec::new() });
        };
        let mut links = tx.links_of_run(repo, &said.run_key).await?;
        links.extend(statement.linked.iter().map(|other| (own.0, *other)));
        if !links.iter().any(|(from, to)| *from == own.0 || *to == own.0) {
            return Ok(Self { members: vec![own], left_out: Vec::new() });
        }
        let mut known = tx.pipeline_traces(repo, &said.run_key).await?;
        known.retain(|(other, _)| other.trace != own.0 && fit(said, other));
        known.push((said.clone(), own.1));
        retain_connected(&mut known, own.0, &mut links);
        retain_unanimous(&mut known, said);
        // Not through one that was dropped.
        retain_connected(&mut known, own.0, &mut links);
        known.sort_by_key(|(said, _)| (said.started_ns, said.trace));
        Ok(Self::within_limits(known.into_iter().map(|(said, open)| (said.trace, open)).collect()))
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

    /// All of them, in the order in which their rows are locked: senders do it by trace too.
    pub(super) fn all(&self) -> Vec<Member> {
        let mut all: Vec<Member> = self.members.iter().chain(&self.left_out).copied().collect();
        all.sort_by_key(|(trace, _)| *trace);
        all
    }

    /// Whether it is of the same traces, in whatever state they are.
    pub(super) fn is_of_the_same(&self, other: &Self) -> bool {
        let ids = |members: &[Member]| members.iter().map(|(trace, _)| *trace).collect::<Vec<_>>();
        ids(&self.members) == ids(&other.members) && ids(&self.left_out) == ids(&other.left_out)
    }

    /// The note if traces were too many.
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
    let of_run: BTreeSet<TraceId> = known.iter().map(|(said, _)| said.trace).collect();
    links.retain(|(from, to)| of_run.contains(from) && of_run.contains(to));
    let connected = connected(with, links);
    known.retain(|(said, _)| connected.contains(&said.trace));
}

/// Of commits, or lines of development, that are connected through a trace that names none, one
/// counts: the trace's own, then that of those that name a commit, then the earliest.
fn retain_unanimous(known: &mut Vec<Known>, own: &PipelineTrace) {
    known.sort_by_key(|(said, _)| {
        (said.trace != own.trace, said.head_sha.is_none(), said.started_ns, said.trace)
    });
    let mut whole = own.clone();
    known.retain(|(said, _)| {
        let fits = fit(&whole, said);
        if fits {
            whole.head_sha = whole.head_sha.take().or_else(|| said.head_sha.clone());
            if whole.lineage == Lineage::Unknown {
                whole.lineage = said.lineage.clone();
            }
        }
        fits
    });
}

/// Whether two traces may be of one commit and one line of development: a consumer often knows
/// neither. A branch and a pull request are two, though it may be the pull request's branch.
fn fit(one: &PipelineTrace, other: &PipelineTrace) -> bool {
    let is_unknown = |said: &PipelineTrace| said.lineage == Lineage::Unknown;
    one.head_sha.as_ref().zip(other.head_sha.as_ref()).is_none_or(|(one, other)| one == other)
        && (is_unknown(one) || is_unknown(other) || one.lineage == other.lineage)
}
