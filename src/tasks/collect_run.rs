//! Spans that were pushed become a run: once the root is there and the trace has been quiet.
//! Spans that come later make the run again from all of them, and so do linked traces.

use std::time::Duration;

use super::job_spans::{attempt_of_trace, read_again};
use super::linked_traces::{Group, Member, Statement};
use super::recording::{raw, record};
use super::stored_spans::{StoredSpans, room};
use super::{TaskError, WorkerContext};
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

/// A run may begin so much later than now by this machine's clock.
const CLOCKS_DIFFER: Duration = Duration::from_hours(1);
/// Late spans make a run again at most so often.
const COLLECTIONS: i64 = 20;
/// Each further job of which only its manifest tells makes its run again, as many jobs as a matrix of
/// GitHub's may have.
const JOBS: i64 = 256;
/// Linked traces that are never quiet are waited for so many times as long as a trace has to be.
const OTHERS_WAIT: u32 = 10;
/// When it is tried again if more came while a run was made.
const AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn collect_run(
    work: &WorkerContext,
    repo: RepoId,
    trace_id: TraceId,
) -> Result<(), TaskError> {
    let mut tx = work.db.read().await?;
    let (Some(open), Some(repository)) = (tx.open_trace(repo, trace_id).await?, tx.repository(repo).await?)
    else {
        return Ok(()); // swept, or the repository was removed
    };
    if open.swept_at.is_some() || tx.is_collected(repo, trace_id).await? {
        return Ok(()); // with another trace, or by this job before it was ended
    }
    not_before(work, quiet_at(work, &open))?;
    if open.collections >= COLLECTIONS + JOBS {
        drop(tx);
        return leave_out(work, repo, (trace_id, open)).await;
    }
    if repository.installation.is_some()
        && let Some(attempt) = attempt_of_trace(&mut tx, repo, trace_id, work.clock.now()).await?
    {
        // A part of a run that GitHub tells of: never one of its own.
        drop(tx);
        return read_again(work, repo, attempt).await;
    }
    if open.has_root == 0 && tx.run_of_trace(repo, trace_id).await?.is_some() {
        // A run that GitHub told of, of whose trace these are a part.
        drop(tx);
        return pass_over(work, repo, (trace_id, open)).await;
    }
    // Kept until the run is written: a few large traces at once would fill the memory.
    drop(tx);
    let mut held = room(work, open.bytes).await?;
    let mut tx = work.db.read().await?;
    let batches = tx.span_batches(repo, trace_id).await?;
    drop(tx);
    let sampling = work.trace_settings.sampling.clone();
    let read = tokio::task::spawn_blocking({
        let sampling = sampling.clone();
        move || Read::alone(&batches, &sampling)
    });
    let Some(alone) = read.await?? else { return Ok(()) };
    let own = (trace_id, open);
    if open.collections >= most_collections(alone.jobs) {
        return leave_out(work, repo, own).await;
    }
    let enough = quiet_at(work, &open).after(work.settle.saturating_mul(OTHERS_WAIT));
    let mut tx = work.db.read().await?;
    let group = Group::of(&mut tx, repo, own, &alone.statement).await?;
    if group.all().iter().any(|(_, member)| member.swept_at.is_some()) {
        // What the run was made of is gone: it can't be made again with this.
        drop(tx);
        return leave_out(work, repo, own).await;
    }
    let read = if group.members.len() == 1 && group.members[0].0 == trace_id {
        drop(tx);
        Some(alone)
    } else {
        drop(tx);
        drop(held);
        held = room(work, group.members.iter().map(|(_, member)| member.bytes).sum()).await?;
        let mut tx = work.db.read().await?;
        let mut batches = Vec::new();
        for (trace, member) in &group.members {
            not_before(work, quiet_at(work, member).min(enough))?;
            batches.extend(tx.span_batches(repo, *trace).await?);
        }
        drop(tx);
        let statement = alone.statement;
        tokio::task::spawn_blocking(move || Read::linked(&batches, statement, &sampling)).await??
    };
    let done = match read {
        Some(read) => {
            let waited_enough = work.clock.now() >= enough;
            Collection { work, repository: &repository, own, group, waited_enough }.finish(read).await
        }
        None => Ok(()),
    };
    drop(held);
    done
}

/// How often a run with such jobs is made. The first of them is one of the usual times.
fn most_collections(jobs: ManifestJobs) -> i64 {
    COLLECTIONS + i64::try_from(jobs.count.saturating_sub(1)).unwrap_or(JOBS).min(JOBS)
}

fn quiet_at(work: &WorkerContext, open: &OpenTrace) -> Timestamp {
    Timestamp(open.last_at).after(work.settle)
}

fn not_before(work: &WorkerContext, time: Timestamp) -> Result<(), TaskError> {
    let now = work.clock.now();
    if now < time { Err(TaskError::TooEarly(time.since(now))) } else { Ok(()) }
}

/// Spans as a tree, and what they say.
struct Read {
    trace: Trace,
    identity: RunIdentity,
    /// Of the trace whose turn it is, by itself.
    statement: Statement,
    /// The policy that keeps its raw trace.
    kept_by: Option<String>,
    /// What was left out.
    note: Option<Note>,
    /// Those of which only their manifests tell.
    jobs: ManifestJobs,
}

impl Read {
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

/// Traces that are about to be a run.
struct Collection<'a> {
    work: &'a WorkerContext,
    repository: &'a RepositoryRow,
    /// The one whose turn it is.
    own: Member,
    group: Group,
    /// Others may have got more since they were read: their own jobs add it.
    waited_enough: bool,
}

impl Collection<'_> {
    async fn finish(self, read: Read) -> Result<(), TaskError> {
        let (work, repo) = (self.work, self.repository.id);
        let Read { trace, identity, statement, kept_by, note, jobs } = read;
        let principal = trace.id();
        let is_incomplete =
            self.group.members.iter().any(|(id, open)| *id == principal && open.has_root == 0);
        let reason = if identity.head_sha.is_none() {
            Some("it names no commit: set vcs.ref.head.revision in OTEL_RESOURCE_ATTRIBUTES")
        } else if is_incomplete && !names_pipeline(&trace) {
            Some("its root span never came, and no other names the pipeline")
        } else {
            None
        };
        let (Some(head_sha), None) = (identity.head_sha.clone(), reason) else {
            tracing::warn!(repo = %self.repository.name, trace = %principal, reason, "a trace is not measured");
            let mut tx = work.db.write().await?;
            self.mark(&mut tx, &statement).await?;
            tx.commit().await?;
            return Ok(());
        };
        let now = work.clock.now();
        let (id, lineage) = (RunId(work.rng.ulid(now)), identity.lineage());
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
        if measured.run.started_at > now.after(CLOCKS_DIFFER) {
            // A run of the future would be the newest for ever.
            measured.run.started_at = now;
            measured.run.notes.push(Note::ClockAhead);
        }
        // Before the run that refers to it.
        work.traces.put(repo, principal, raw).await?;
        let merged = self.write(&mut measured, &statement, kept_by.as_deref()).await?;
        for part in merged {
            work.traces.delete(repo, part).await?;
        }
        Ok(())
    }

    /// One transaction: the run, instead of those that its parts were. Returns the traces of
    /// those.
    async fn write(
        &self,
        measured: &mut MeasuredRun,
        statement: &Statement,
        kept_by: Option<&str>,
    ) -> Result<Vec<TraceId>, TaskError> {
        let (work, repo) = (self.work, self.repository.id);
        let mut tx = work.db.write().await?;
        // A pull request, or a linked trace, that becomes known meanwhile either sees this run or
        // is seen by it.
        tx.lock_repository(repo).await?;
        let collections = self.mark(&mut tx, statement).await?;
        let recorded = record(&mut tx, repo, measured, collections).await?;
        tx.record_trace(repo, &recorded.id, kept_by, work.clock.now()).await?;
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
                "a run names no branch (vcs.ref.head.name): it is measured, but is no baseline"
            );
        }
        recorded.judge(work, &mut tx, repo, &collections.to_string()).await?;
        tx.commit().await?;
        Ok(merged)
    }

    /// Marks every trace as collected and keeps what this one said; returns how often they were
    /// collected altogether. Too early when anything changed since they were read, unless the others
    /// were waited for long enough.
    async fn mark(&self, tx: &mut Tx, statement: &Statement) -> Result<i64, TaskError> {
        let repo = self.repository.id;
        tx.lock_repository(repo).await?;
        let now = Group::of(tx, repo, self.own, statement).await?;
        if now != self.group && !(self.waited_enough && now.is_of_the_same(&self.group)) {
            return Err(TaskError::TooEarly(AGAIN));
        }
        let mut collections = 0_i64;
        for (trace, open) in self.group.all() {
            let times = match tx.mark_member_collected(repo, trace, open).await? {
                Some(times) => times,
                None if self.waited_enough && trace != self.own.0 => open.collections,
                None => return Err(TaskError::TooEarly(AGAIN)),
            };
            collections = collections.saturating_add(times);
        }
        if let Some(said) = &statement.of_run {
            tx.record_pipeline_trace(repo, said, &statement.linked, self.work.clock.now()).await?;
        }
        Ok(collections)
    }
}

/// What came is no part of any run.
async fn pass_over(work: &WorkerContext, repo: RepoId, (trace, open): Member) -> Result<(), TaskError> {
    let mut tx = work.db.write().await?;
    tx.mark_member_collected(repo, trace, open).await?.ok_or(TaskError::TooEarly(AGAIN))?;
    tx.commit().await?;
    Ok(())
}

/// What came is no longer added to its run, which says so.
async fn leave_out(work: &WorkerContext, repo: RepoId, own: Member) -> Result<(), TaskError> {
    tracing::warn!(repo = %repo.0, trace = %own.0, "late spans are no longer added to this run");
    let mut tx = work.db.write().await?;
    tx.mark_member_collected(repo, own.0, own.1).await?.ok_or(TaskError::TooEarly(AGAIN))?;
    let mut traces = vec![own.0];
    if let Some(key) = tx.run_key_of(repo, own.0).await? {
        let of_run = tx.pipeline_traces(repo, &key).await?.into_iter();
        let said = of_run.map(|(said, _)| said).find(|said| said.trace == own.0);
        let group = Group::of(&mut tx, repo, own, &Statement { of_run: said, linked: Vec::new() }).await?;
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
    fn a_further_job_makes_its_run_once_more_and_not_for_ever() {
        let most = |count| most_collections(ManifestJobs { count, silent: 0 });
        assert_eq!([0, 1, 2, 30, 257, 100_000].map(most), [20, 20, 21, 49, 276, 276]);
    }
}
