//! Collects the data that the jobs of a workflow run sent: artifacts of the action, and spans pushed
//! into the run's trace. Compares it with GitHub's data on the run and redacts it. Unusable data is
//! left out with a note, and the run is measured without it.

use tokio::sync::OwnedSemaphorePermit;

use super::collect_workflow_run::CollectWorkflowRun;
use super::stored_spans::{StoredSpans, reserve_memory};
use crate::tasks::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_engine::model::note::{JobSpanProblem, Note};
use pacegate_engine::model::span::{AttributeValue, Span};
use pacegate_engine::model::time::Timestamp;
use pacegate_engine::model::workflow_run::{JobsOfAttempt, WorkflowRun};
use pacegate_github::artifacts::{Artifact, DownloadError, select_artifacts};
use pacegate_github::{GitHubError, RepoClient, RetryClass};
use pacegate_ingest::ci_job::archive::{ARCHIVE_BYTES, Expected, JobArchive, Manifest};
use pacegate_ingest::ci_job::ids::{job_span_id, trace_id};
use pacegate_ingest::ci_job::placement::{JobClaim, JobSpans};
use pacegate_store::{ArtifactQuota, RepositoryRow, SentArtifact, Tx};

/// Most bytes of all artifacts of one attempt.
const ARTIFACT_BYTES: u64 = 128 << 20;
/// An artifact and its decoded spans take at least this many times the artifact's size.
const GROWTH: u64 = 4;
/// Most spans that the jobs of one attempt add.
const SPANS: usize = 200_000;
/// Most values of these spans.
const VALUES: usize = 4_000_000;
/// Daily quota of one fork.
const FORK_QUOTA: ArtifactQuota = ArtifactQuota { artifacts: 200, bytes: 256 << 20 };
/// A trace can belong to a run that changed within this time.
const RECENT: std::time::Duration = std::time::Duration::from_hours(7 * 24);
/// Most notes on the jobs' data.
const NOTES: usize = 20;

/// The data that the jobs of an attempt sent.
pub(super) struct JobUploads {
    pub(super) jobs: Vec<JobSpans>,
    pub(super) notes: Vec<Note>,
    /// Number of batches of pushed spans.
    pub(super) batches_read: i64,
    /// Reserved memory. The caller holds it until the run is written.
    pub(super) held: Option<OwnedSemaphorePermit>,
}

/// Fetches the data that the jobs of one attempt sent.
pub(super) struct AttemptFetcher<'a> {
    pub(super) context: &'a WorkerContext,
    pub(super) repository: &'a RepositoryRow,
    pub(super) actions: &'a RepoClient,
    pub(super) run: &'a WorkflowRun,
    pub(super) attempt: u32,
    pub(super) listed: &'a JobsOfAttempt,
    /// Whether a failed request may fail the task, so that it is tried again. Otherwise the data is left
    /// out.
    pub(super) may_retry: bool,
}

impl AttemptFetcher<'_> {
    /// Returns `None` if the attempt was collected before and its stored batches were deleted since.
    pub(super) async fn fetch(&self) -> Result<Option<JobUploads>, TaskError> {
        let trace = trace_id(self.run.id, self.attempt);
        let mut tx = self.context.db.read().await?;
        let open = tx.open_trace(self.repository.id, trace).await?;
        let is_swept = open.is_some_and(|open| open.swept_at.is_some());
        if is_swept && tx.run_of_trace(self.repository.id, trace).await?.is_some() {
            return Ok(None);
        }
        drop(tx);
        let mut uploads = JobUploads { jobs: Vec::new(), notes: Vec::new(), batches_read: 0, held: None };
        let artifacts = self.artifacts(&mut uploads.notes).await?;
        let pushed = open.map_or(0, |open| open.bytes);
        let bytes = artifacts.iter().fold(0, |sum, artifact| sum + artifact.size_in_bytes * GROWTH);
        if pushed == 0 && artifacts.is_empty() {
            return Ok(Some(uploads));
        }
        let bytes = pushed.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        uploads.held = Some(reserve_memory(self.context, bytes).await?);
        let mut jobs = BoundedJobs::default();
        if pushed > 0 {
            let batches = self.context.db.read().await?.span_batches(self.repository.id, trace).await?;
            uploads.batches_read = i64::try_from(batches.len()).unwrap_or(i64::MAX);
            let read = tokio::task::spawn_blocking(move || StoredSpans::read(&batches)).await??;
            uploads.notes.extend(read.note);
            jobs.add(JobSpans { spans: read.spans, ..JobSpans::default() });
        }
        for artifact in artifacts {
            match self.archive(&artifact, trace).await? {
                Ok(archive) => {
                    let job = &archive.manifest.job;
                    let note =
                        |problem: &String| Note::JobArchive { job: job.clone(), problem: problem.clone() };
                    uploads.notes.extend(archive.notes.iter().map(note));
                    jobs.add(of_archive(archive));
                }
                Err(reason) => {
                    tracing::warn!(repo = %self.repository.name, run = self.run.id, artifact = artifact.id, reason,
                        "an artifact is not used");
                    uploads.notes.push(Note::ArtifactLeftOut { artifact: artifact.name, problem: reason });
                }
            }
        }
        if jobs.left_out > 0 {
            let spans = jobs.left_out;
            uploads.notes.push(Note::JobSpansLeftOut { why: JobSpanProblem::TooMany, spans });
        }
        uploads.jobs = jobs.jobs;
        let more = uploads.notes.len().saturating_sub(NOTES);
        if more > 0 {
            uploads.notes.truncate(NOTES);
            uploads.notes.push(Note::MoreJobNotes { notes: more });
        }
        Ok(Some(uploads))
    }

    /// Lists the artifacts of the attempt that belong to it and fit into the limits.
    async fn artifacts(&self, notes: &mut Vec<Note>) -> Result<Vec<Artifact>, TaskError> {
        let listed = match self.actions.artifacts_of_run(self.run.id).await {
            Ok(listed) => listed,
            Err(error) if self.should_retry(&error) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(repo = %self.repository.name, run = self.run.id, error = %error, "artifacts can't be listed");
                notes.push(Note::ArtifactsUnreadable { problem: error.to_string() });
                return Ok(Vec::new());
            }
        };
        let selection = select_artifacts(listed, self.run, self.attempt);
        for reason in selection.refused {
            tracing::warn!(repo = %self.repository.name, run = self.run.id, reason, "an artifact is not used");
        }
        let (mut chosen, mut remaining) = (Vec::new(), ARTIFACT_BYTES);
        for artifact in selection.chosen {
            let refused = if artifact.size_in_bytes > remaining {
                Some("the artifacts of this run are too large together")
            } else if !self.has_quota(&artifact).await? {
                Some("the daily quota of its fork is used up")
            } else {
                None
            };
            if let Some(reason) = refused {
                tracing::warn!(repo = %self.repository.name, run = self.run.id, artifact = artifact.id, reason,
                    "an artifact is not used");
                notes.push(Note::ArtifactLeftOut { artifact: artifact.name, problem: reason.to_owned() });
                continue;
            }
            remaining -= artifact.size_in_bytes;
            chosen.push(artifact);
        }
        Ok(chosen)
    }

    /// Anyone can open a pull request from a fork, so a fork has a daily quota.
    async fn has_quota(&self, artifact: &Artifact) -> Result<bool, TaskError> {
        if self.run.is_of_own_branch() {
            return Ok(true);
        }
        let head = self.run.head_repository.as_ref().map_or(0, |head| head.id);
        let key = (head, day(self.context.clock.now()));
        let bytes = i64::try_from(artifact.size_in_bytes).unwrap_or(i64::MAX);
        let artifact = SentArtifact { id: artifact.id, bytes };
        let mut tx = self.context.db.write().await?;
        let is_left = tx.take_artifact_quota(self.repository.id, key, artifact, FORK_QUOTA).await?;
        tx.commit().await?;
        Ok(is_left)
    }

    /// Downloads and reads one artifact. The inner error is the reason why it is not used.
    async fn archive(
        &self,
        artifact: &Artifact,
        trace: TraceId,
    ) -> Result<Result<JobArchive, String>, TaskError> {
        let bytes = match self.actions.artifact_zip(artifact, ARCHIVE_BYTES).await {
            Ok(bytes) => bytes,
            Err(DownloadError::GitHub(error)) if self.should_retry(&error) => return Err(error.into()),
            Err(error) => return Ok(Err(error.to_string())),
        };
        // The spans are redacted once, with all others of the run.
        let archive = match tokio::task::spawn_blocking(move || JobArchive::from_zip(&bytes)).await? {
            Ok(archive) => archive,
            Err(error) => return Ok(Err(error.to_string())),
        };
        // On other events GITHUB_SHA differs from the run's head commit.
        let has_head_sha =
            matches!(self.run.event.as_str(), "push" | "pull_request" | "schedule" | "workflow_dispatch");
        let contradiction = archive.manifest.contradiction(&Expected {
            repository_id: Some(self.run.repository.id),
            run_id: self.run.id,
            run_attempt: i64::from(self.attempt),
            check_run_id: None,
            head_sha: has_head_sha.then(|| self.run.head_sha.as_str()),
            trace_id: trace,
        });
        let unknown_job = |manifest: &Manifest| {
            let job = manifest.check_run_id.filter(|id| !self.listed.jobs.iter().any(|job| job.id == *id))?;
            Some(format!("it names job {job}, which this run does not have"))
        };
        Ok(match contradiction.or_else(|| unknown_job(&archive.manifest)) {
            Some(reason) => Err(reason),
            None => Ok(archive),
        })
    }

    fn should_retry(&self, error: &GitHubError) -> bool {
        match error.retry_class() {
            RetryClass::After(_) | RetryClass::At(_) => true,
            RetryClass::Outage | RetryClass::Backoff => self.may_retry,
            RetryClass::Never => false,
        }
    }
}

/// The jobs' data, limited to [`SPANS`] and [`VALUES`] together.
#[derive(Default)]
struct BoundedJobs {
    jobs: Vec<JobSpans>,
    spans: usize,
    values: usize,
    /// Spans beyond the limits.
    left_out: usize,
}

impl BoundedJobs {
    fn add(&mut self, mut sent: JobSpans) {
        let values = sent.spans.iter().map(Span::values).sum::<usize>();
        if self.spans + sent.spans.len() > SPANS || self.values + values > VALUES {
            self.left_out += sent.spans.len();
            sent.spans.clear();
        } else {
            self.spans += sent.spans.len();
            self.values += values;
        }
        self.jobs.push(sent);
    }
}

fn of_archive(archive: JobArchive) -> JobSpans {
    let manifest = archive.manifest;
    let job = match manifest.check_run_id {
        Some(id) => JobClaim::Span(job_span_id(id)),
        None => JobClaim::Runner(manifest.runner_name.clone(), manifest.job_span_id),
    };
    let recorded = Some((manifest.started_at_unix_nano, manifest.ended_at_unix_nano));
    JobSpans { job, spans: archive.spans, recorded, facts: facts(&manifest) }
}

/// Attributes of the job's span from the manifest: facts about the job and its runner. None of them may
/// name a stage or set a result.
fn facts(manifest: &Manifest) -> Vec<(String, AttributeValue)> {
    const OF_RUNNERS: [&str; 3] = ["host.", "os.", "runner."];
    let mut facts = manifest.runner_attributes();
    facts.retain(|(key, _)| OF_RUNNERS.iter().any(|prefix| key.starts_with(prefix)));
    if !manifest.job.is_empty() {
        facts.push(("github.job".to_owned(), AttributeValue::String(manifest.job.clone())));
    }
    let of_matrix = manifest.matrix_attributes().into_iter();
    facts.extend(of_matrix.map(|(key, value)| (format!("github.matrix.{key}"), value)));
    // The state of each cache has an attribute of its own and never sets the job's cache state. Otherwise a
    // job could claim a cache miss, which would explain any slowdown in it.
    let named = manifest.caches().into_iter().map(|(name, state)| {
        (format!("pacegate.cache.{name}"), AttributeValue::String(state.as_str().to_owned()))
    });
    facts.extend(named);
    if let Some(calibration) = manifest.calibration {
        let int = |key: &str, ns: i64| (format!("pacegate.calibration.{key}_ns"), AttributeValue::Int(ns));
        facts.extend([int("integer", calibration.integer_ns), int("memory", calibration.memory_ns)]);
    }
    facts
}

/// The day in days since the epoch.
pub(in crate::tasks) fn day(now: Timestamp) -> i64 {
    now.as_secs().div_euclid(86_400)
}

/// Finds the recent workflow run and attempt of a trace.
pub(super) async fn attempt_of_trace(
    tx: &mut Tx,
    repo: RepoId,
    trace: TraceId,
    now: Timestamp,
) -> Result<Option<(i64, u32)>, TaskError> {
    Ok(tx.attempt_of_trace(repo, trace, now.before(RECENT), trace_id).await?)
}

/// Requests that a collected attempt is collected again, because its jobs sent more. An attempt that is
/// still running is collected at its end.
pub(super) async fn read_again(
    context: &WorkerContext,
    repo: RepoId,
    (run_id, attempt): (i64, u32),
) -> Result<(), TaskError> {
    let mut tx = context.db.write().await?;
    let row = tx.workflow_run(repo, run_id).await?;
    if row.is_some_and(|row| row.collected_attempt >= i64::from(attempt)) {
        let again = CollectWorkflowRun { repo, run_id, attempt };
        again.push_again(&mut tx, &context.rng, context.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}
