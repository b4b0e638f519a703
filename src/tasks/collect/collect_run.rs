//! Builds a run from pushed spans, once the root span has arrived and the trace has been quiet. Later
//! spans and linked traces rebuild the run from all spans. Refuses traces without a commit, and
//! spans that come too late or too often.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job_spans::{attempt_of_trace, read_again};
use super::linked_traces::{Group, Member, Statement};
use super::recording::{raw, record};
use super::stored_spans::{StoredSpans, reserve_memory};
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::gate::measure::identity::{RunIdentity, names_commit, names_pipeline};
use pacegate_engine::gate::measure::{Provenance, measure};
use pacegate_engine::model::ids::{RepoId, RunId, TraceId};
use pacegate_engine::model::linked_traces::principal;
use pacegate_engine::model::note::Note;
use pacegate_engine::model::run::{Lineage, MeasuredRun, RunResult};
use pacegate_engine::model::time::Timestamp;
use pacegate_engine::model::trace::Trace;
use pacegate_ingest::ci_job::manifest_run::{ManifestJobs, add_stated};
use pacegate_ingest::sampling::Sampling;
use pacegate_store::{OpenTrace, RepositoryRow, StoredBatch, Tx};

/// A run may begin at most this long after the present, by this service's clock.
const MAX_CLOCK_LEAD: Duration = Duration::from_hours(1);
/// Late spans rebuild a run at most this often.
const COLLECTIONS: i64 = 20;
/// Each further job that only a manifest describes may rebuild its run once more. The limit is the size
/// of GitHub's largest matrix.
const JOBS: i64 = 256;
/// Linked traces are awaited at most this many times the settling time, even if they are never quiet.
const LINKED_WAIT: u32 = 10;
/// Delay before the next try if more spans arrived during the collection.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Collects a pushed trace as a run. Late spans collect it again.
#[derive(Debug, Serialize, Deserialize)]
pub struct CollectRun {
    /// The repository of the pushed spans.
    pub repo: RepoId,
    /// The trace to collect.
    pub trace: TraceId,
    /// Earlier collections of this trace.
    pub collections: i64,
}

impl Task for CollectRun {
    const KIND: &'static str = "collect_run";

    fn repo(&self) -> Option<RepoId> {
        Some(self.repo)
    }

    fn dedupe_key(&self) -> String {
        format!("{}:{}:{}", self.repo.0, self.trace, self.collections)
    }

    async fn run(self, context: &WorkerContext) -> Result<(), TaskError> {
        collect_run(context, self.repo, self.trace).await
    }
}

async fn collect_run(context: &WorkerContext, repo: RepoId, trace_id: TraceId) -> Result<(), TaskError> {
    let mut tx = context.db.read().await?;
    let (Some(open), Some(repository)) = (tx.open_trace(repo, trace_id).await?, tx.repository(repo).await?)
    else {
        return Ok(()); // swept, or the repository was removed
    };
    if open.swept_at.is_some() || tx.is_collected(repo, trace_id).await? {
        return Ok(()); // collected with another trace, or by this task before a crash
    }
    not_before(context, quiet_at(context, &open))?;
    if open.collections >= COLLECTIONS + JOBS {
        drop(tx);
        return leave_out(context, repo, (trace_id, open)).await;
    }
    if repository.installation.is_some()
        && let Some(attempt) = attempt_of_trace(&mut tx, repo, trace_id, context.clock.now()).await?
    {
        // The trace belongs to a workflow run from GitHub's API, so it is not a run of its own.
        drop(tx);
        return read_again(context, repo, attempt).await;
    }
    if open.has_root == 0 && tx.run_of_trace(repo, trace_id).await?.is_some() {
        // The spans belong to the trace of a run that was measured from GitHub's API.
        drop(tx);
        return pass_over(context, repo, (trace_id, open)).await;
    }
    // Held until the run is written, because a few large traces at once would fill the memory.
    drop(tx);
    let mut held = reserve_memory(context, open.bytes).await?;
    let mut tx = context.db.read().await?;
    let batches = tx.span_batches(repo, trace_id).await?;
    drop(tx);
    let sampling = context.trace_settings.sampling.clone();
    let read = tokio::task::spawn_blocking({
        let sampling = sampling.clone();
        move || ReadTrace::alone(&batches, &sampling)
    });
    let Some(alone) = read.await?? else { return Ok(()) };
    let own = (trace_id, open);
    if open.collections >= most_collections(alone.jobs) {
        return leave_out(context, repo, own).await;
    }
    let enough = quiet_at(context, &open).after(context.settle.saturating_mul(LINKED_WAIT));
    let mut tx = context.db.read().await?;
    let group = Group::of(&mut tx, repo, own, &alone.statement).await?;
    if group.all().iter().any(|(_, member)| member.swept_at.is_some()) {
        // The spans of the run were deleted, so it cannot be rebuilt with the new ones.
        drop(tx);
        return leave_out(context, repo, own).await;
    }
    let read = if group.members.len() == 1 && group.members[0].0 == trace_id {
        drop(tx);
        Some(alone)
    } else {
        drop(tx);
        drop(held);
        held = reserve_memory(context, group.members.iter().map(|(_, member)| member.bytes).sum()).await?;
        let mut tx = context.db.read().await?;
        let mut batches = Vec::new();
        for (trace, member) in &group.members {
            not_before(context, quiet_at(context, member).min(enough))?;
            batches.extend(tx.span_batches(repo, *trace).await?);
        }
        drop(tx);
        let statement = alone.statement;
        tokio::task::spawn_blocking(move || ReadTrace::linked(&batches, statement, &sampling)).await??
    };
    let done = match read {
        Some(read) => {
            let waited_enough = context.clock.now() >= enough;
            Collection { context, repository: &repository, own, group, waited_enough }.finish(read).await
        }
        None => Ok(()),
    };
    drop(held);
    done
}

/// How often a run with these jobs may be collected. The first job does not add to the limit.
fn most_collections(jobs: ManifestJobs) -> i64 {
    COLLECTIONS + i64::try_from(jobs.count.saturating_sub(1)).unwrap_or(JOBS).min(JOBS)
}

fn quiet_at(context: &WorkerContext, open: &OpenTrace) -> Timestamp {
    Timestamp(open.last_at).after(context.settle)
}

fn not_before(context: &WorkerContext, time: Timestamp) -> Result<(), TaskError> {
    let now = context.clock.now();
    if now < time { Err(TaskError::TooEarly(time.since(now))) } else { Ok(()) }
}

/// A trace and the facts that its spans state.
struct ReadTrace {
    trace: Trace,
    identity: RunIdentity,
    /// The statement of the collected trace without its linked traces.
    statement: Statement,
    /// The sampling policy that keeps its raw trace.
    kept_by: Option<String>,
    /// Set when spans were left out.
    note: Option<Note>,
    /// Jobs that only their manifests describe.
    jobs: ManifestJobs,
}

impl ReadTrace {
    fn alone(batches: &[StoredBatch], sampling: &Sampling) -> Result<Option<Self>, TaskError> {
        let StoredSpans { spans, records, note } = StoredSpans::read(batches)?;
        let (spans, jobs) = add_stated(spans, records);
        let Some(trace) = Trace::build(spans) else { return Ok(None) };
        let identity = RunIdentity::of(&trace);
        let statement = Statement::of(&trace, &identity);
        Ok(Some(Self { note, jobs, ..Self::new(trace, identity, statement, sampling) }))
    }

    fn linked(
        batches: &[StoredBatch],
        statement: Statement,
        sampling: &Sampling,
    ) -> Result<Option<Self>, TaskError> {
        let StoredSpans { spans, records, note } = StoredSpans::read(batches)?;
        let (spans, jobs) = add_stated(spans, records);
        let trace =
            principal(&spans, names_commit).and_then(|principal| Trace::build_linked(spans, principal));
        let Some(trace) = trace else { return Ok(None) };
        let identity = RunIdentity::of(&trace);
        Ok(Some(Self { note, jobs, ..Self::new(trace, identity, statement, sampling) }))
    }

    fn new(trace: Trace, identity: RunIdentity, statement: Statement, sampling: &Sampling) -> Self {
        let kept_by = sampling.decide(trace.spans()).map(str::to_owned);
        Self { trace, identity, statement, kept_by, note: None, jobs: ManifestJobs::default() }
    }
}

/// The collection of a group of traces as one run.
struct Collection<'a> {
    context: &'a WorkerContext,
    repository: &'a RepositoryRow,
    /// The trace of this task.
    own: Member,
    group: Group,
    /// If true, other traces may have received more spans since they were read. Their own tasks add these.
    waited_enough: bool,
}

impl Collection<'_> {
    async fn finish(self, read: ReadTrace) -> Result<(), TaskError> {
        let (context, repo) = (self.context, self.repository.id);
        let ReadTrace { trace, identity, statement, kept_by, note, jobs } = read;
        let principal = trace.id();
        let is_incomplete =
            self.group.members.iter().any(|(id, open)| *id == principal && open.has_root == 0);
        let reason = if identity.head_sha.is_none() {
            Some("it names no commit: set vcs.ref.head.revision in OTEL_RESOURCE_ATTRIBUTES")
        } else if is_incomplete && !names_pipeline(&trace) {
            Some("its root span did not arrive, and no other span names the pipeline")
        } else {
            None
        };
        let (Some(head_sha), None) = (identity.head_sha.clone(), reason) else {
            tracing::warn!(repo = %self.repository.name, trace = %principal, reason, "a trace is not measured");
            let mut tx = context.db.write().await?;
            self.mark(&mut tx, &statement).await?;
            tx.commit().await?;
            return Ok(());
        };
        let now = context.clock.now();
        let (id, lineage) = (RunId(context.rng.ulid(now)), identity.lineage());
        let provenance = Provenance { id, repo: self.repository.name.clone(), head_sha, lineage };
        let (mut measured, raw) = tokio::task::spawn_blocking(move || {
            let raw = raw(trace.spans())?;
            Ok::<_, TaskError>((measure(trace, identity, provenance), raw))
        })
        .await??;
        if is_incomplete {
            measured.run.result = RunResult::Error;
            measured.run.notes.insert(0, Note::RootMissing);
        }
        measured.run.notes.extend(self.group.note());
        measured.run.notes.extend(note.into_iter().chain(jobs.note()));
        if measured.run.started_at > now.after(MAX_CLOCK_LEAD) {
            // A run in the future would stay the newest run of its branch.
            measured.run.started_at = now;
            measured.run.notes.push(Note::ClockAhead);
        }
        // The raw trace must exist before a run refers to it.
        context.traces.put(repo, principal, raw).await?;
        let merged = self.write(&mut measured, &statement, kept_by.as_deref()).await?;
        for part in merged {
            context.traces.delete(repo, part).await?;
        }
        Ok(())
    }

    /// Replaces the runs of the single traces with the joint run, in one transaction. Returns the traces of
    /// the replaced runs.
    async fn write(
        &self,
        measured: &mut MeasuredRun,
        statement: &Statement,
        kept_by: Option<&str>,
    ) -> Result<Vec<TraceId>, TaskError> {
        let (context, repo) = (self.context, self.repository.id);
        let mut tx = context.db.write().await?;
        // Without the lock, this run and a pull request or linked trace recorded at the same time could
        // miss each other.
        tx.lock_repository(repo).await?;
        let collections = self.mark(&mut tx, statement).await?;
        let recorded = record(&mut tx, repo, measured, collections).await?;
        tx.record_trace(repo, &recorded.id, kept_by, context.clock.now()).await?;
        let mut merged = Vec::new();
        for (part, _) in self.group.all().into_iter().filter(|(id, _)| Some(*id) != measured.run.trace_id) {
            if let Some(run) = tx.run_of_trace(repo, part).await? {
                tx.merge_run(repo, &run, &recorded.id).await?;
                merged.push(part);
            }
        }
        if measured.run.lineage == Lineage::Unknown {
            tracing::warn!(
                repo = %self.repository.name, trace = %self.own.0,
                "a run names no branch (vcs.ref.head.name): it is measured, but it is not part of a baseline"
            );
        }
        recorded.evaluate_heads(context, &mut tx, repo, &collections.to_string()).await?;
        tx.commit().await?;
        Ok(merged)
    }

    /// Marks all traces as collected and stores the statement of this task's trace. Returns the sum of
    /// their collections. Fails with [`TaskError::TooEarly`] if a trace changed since it was read.
    /// Changes of other traces are accepted after the waiting time.
    async fn mark(&self, tx: &mut Tx, statement: &Statement) -> Result<i64, TaskError> {
        let repo = self.repository.id;
        tx.lock_repository(repo).await?;
        let now = Group::of(tx, repo, self.own, statement).await?;
        if now != self.group && !(self.waited_enough && now.has_same_traces(&self.group)) {
            return Err(TaskError::TooEarly(RETRY_DELAY));
        }
        let mut collections = 0_i64;
        for (trace, open) in self.group.all() {
            let times = match tx.mark_member_collected(repo, trace, open).await? {
                Some(times) => times,
                None if self.waited_enough && trace != self.own.0 => open.collections,
                None => return Err(TaskError::TooEarly(RETRY_DELAY)),
            };
            collections = collections.saturating_add(times);
        }
        if let Some(of_run) = &statement.of_run {
            tx.record_pipeline_trace(repo, of_run, &statement.linked, self.context.clock.now()).await?;
        }
        Ok(collections)
    }
}

/// Marks spans as collected that are not part of any run.
async fn pass_over(context: &WorkerContext, repo: RepoId, (trace, open): Member) -> Result<(), TaskError> {
    let mut tx = context.db.write().await?;
    tx.mark_member_collected(repo, trace, open).await?.ok_or(TaskError::TooEarly(RETRY_DELAY))?;
    tx.commit().await?;
    Ok(())
}

/// Leaves late spans out, and adds a note to their run.
async fn leave_out(context: &WorkerContext, repo: RepoId, own: Member) -> Result<(), TaskError> {
    tracing::warn!(repo = %repo.0, trace = %own.0, "late spans are no longer added to this run");
    let mut tx = context.db.write().await?;
    tx.mark_member_collected(repo, own.0, own.1).await?.ok_or(TaskError::TooEarly(RETRY_DELAY))?;
    let mut traces = vec![own.0];
    if let Some(key) = tx.run_key_of(repo, own.0).await? {
        let of_run = tx.pipeline_traces(repo, &key).await?.into_iter();
        let of_run = of_run.map(|(known, _)| known).find(|known| known.trace == own.0);
        let group = Group::of(&mut tx, repo, own, &Statement { of_run, linked: Vec::new() }).await?;
        traces.extend(group.members.into_iter().map(|(trace, _)| trace));
    }
    for trace in traces {
        tx.add_run_note(repo, trace, &Note::LateSpansLeftOut).await?;
    }
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_further_job_adds_one_bounded_collection() {
        let most = |count| most_collections(ManifestJobs { count, silent: 0 });
        assert_eq!([0, 1, 2, 30, 257, 100_000].map(most), [20, 20, 21, 49, 276, 276]);
    }
}
