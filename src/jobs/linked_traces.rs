//! Which traces are collected together: those of one pipeline run that links connect. Never those
//! of different runs, commits or repositories, and only so many.

use std::collections::BTreeSet;

use super::JobError;
use crate::gate::identity::RunIdentity;
use crate::model::ids::{RepoId, TraceId};
use crate::model::linked_traces::{connected, linked};
use crate::model::trace::Trace;
use crate::store::{OpenTrace, PipelineTrace, Tx};

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
    ) -> Result<Self, JobError> {
        let Some(said) = &statement.of_run else {
            return Ok(Self { members: vec![own], left_out: Vec::new() });
        };
        let mut links = tx.links_of_run(repo, &said.run_key).await?;
        links.extend(statement.linked.iter().map(|other| (own.0, *other)));
        if !links.iter().any(|(from, to)| *from == own.0 || *to == own.0) {
            return Ok(Self { members: vec![own], left_out: Vec::new() });
        }
        let mut known = tx.pipeline_traces(repo, &said.run_key).await?;
        known.retain(|(other, _)| other.trace != own.0 && is_same_commit(said, other));
        known.push((said.clone(), own.1));
        let of_run: BTreeSet<TraceId> = known.iter().map(|(said, _)| said.trace).collect();
        links.retain(|(from, to)| of_run.contains(from) && of_run.contains(to));
        let connected = connected(own.0, &links);
        known.retain(|(said, _)| connected.contains(&said.trace));
        known.sort_by_key(|(said, _)| (said.started_ns, said.trace));
        // Of two commits that both are connected with a trace that names none, the earlier counts.
        if let Some(first) =
            known.iter().find(|(said, _)| said.head_sha.is_some()).map(|(said, _)| said.clone())
        {
            known.retain(|(said, _)| said.trace == own.0 || is_same_commit(said, &first));
        }
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

    /// A sentence if traces were too many.
    pub(super) fn note(&self) -> Option<String> {
        (!self.left_out.is_empty()).then(|| {
            format!(
                "{} more linked traces of this run were left out: a run is made of at most {MAX_TRACES} traces with \
                 {MAX_SPANS} spans",
                self.left_out.len()
            )
        })
    }
}

/// Whether two traces may be of one commit: a consumer often does not know it.
fn is_same_commit(one: &PipelineTrace, other: &PipelineTrace) -> bool {
    one.head_sha.as_ref().zip(other.head_sha.as_ref()).is_none_or(|(one, other)| one == other)
}
