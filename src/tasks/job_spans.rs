//! What the jobs of a workflow run sent: artifacts that the action shipped and spans that were
//! pushed under the run's trace. Held against GitHub's word on the run and cleaned; what can't be
//! used is told and never loses the run.

use tokio::sync::OwnedSemaphorePermit;

use super::stored_spans::{StoredSpans, room};
use super::{Task, TaskError, WorkerContext};
use pacegate_engine::model::ids::{RepoId, TraceId};
use pacegate_engine::model::note::{JobSpanProblem, Note};
use pacegate_engine::model::span::{AttributeValue, Span};
use pacegate_engine::model::time::Timestamp;
use pacegate_engine::model::workflow_run::{JobsOfAttempt, WorkflowRun};
use pacegate_github::artifacts::{Artifact, DownloadError, of_attempt};
use pacegate_github::{GitHubError, RepoClient, RetryClass};
use pacegate_ingest::ci_job::archive::{ARCHIVE_BYTES, Expected, JobArchive, Manifest};
use pacegate_ingest::ci_job::ids::{job_span_id, trace_id};
use pacegate_ingest::ci_job::placement::{JobClaim, JobSpans};
use pacegate_ingest::redact::Redactor;
use pacegate_store::{ArtifactQuota, RepositoryRow, SentArtifact, Tx};

/// Bytes of all artifacts of one attempt.
const ARTIFACT_BYTES: u64 = 128 << 20;
/// What they and their spans take beside their own bytes, at least so many times.
const GROWTH: u64 = 4;
/// Spans of one attempt that its jobs sent, and their values.
const SPANS: usize = 200_000;
const VALUES: usize = 4_000_000;
/// What one fork may send in a day.
const OF_A_FORK: ArtifactQuota = ArtifactQuota { artifacts: 200, bytes: 256 << 20 };
/// Runs that a trace may be of began at most so long ago, and at most so many are looked at.
const RECENT: std::time::Duration = std::time::Duration::from_hours(7 * 24);
const RUNS: i64 = 5_000;
/// Attempts of one run that are looked at.
const ATTEMPTS: i64 = 20;
/// Notes on artifacts that are kept.
const NOTES: usize = 20;

/// What was sent.
pub(super) struct Sent {
    pub(super) jobs: Vec<JobSpans>,
    pub(super) notes: Vec<Note>,
    /// Of the spans that were pushed.
    pub(super) batches_read: i64,
    /// Memory, held until the run is written.
    pub(super) held: Option<OwnedSemaphorePermit>,
}

/// Who asks, and for which attempt.
pub(super) struct Asked<'a> {
    pub(super) work: &'a WorkerContext,
    pub(super) repository: &'a RepositoryRow,
    pub(super) actions: &'a RepoClient,
    pub(super) run: &'a WorkflowRun,
    pub(super) attempt: u32,
    pub(super) listed: &'a JobsOfAttempt,
    /// An answer that may be better soon is waited for.
    pub(super) patient: bool,
}

impl Asked<'_> {
    /// Everything that was sent of the attempt. None: it was read before, and what it was made of
    /// is gone.
    pub(super) async fn sent(&self) -> Result<Option<Sent>, TaskError> {
        let trace = trace_id(self.run.id, self.attempt);
        let mut tx = self.work.db.read().await?;
        let open = tx.open_trace(self.repository.id, trace).await?;
        let is_swept = open.is_some_and(|open| open.swept_at.is_some());
        if is_swept && tx.run_of_trace(self.repository.id, trace).await?.is_some() {
            return Ok(None);
        }
        drop(tx);
        let mut sent = Sent { jobs: Vec::new(), notes: Vec::new(), batches_read: 0, held: None };
        let artifacts = self.artifacts(&mut sent.notes).await?;
        let pushed = open.map_or(0, |open| open.bytes);
        let bytes = artifacts.iter().fold(0, |sum, artifact| sum + artifact.size_in_bytes * GROWTH);
        if pushed == 0 && artifacts.is_empty() {
            return Ok(Some(sent));
        }
        sent.held =
            Some(room(self.work, pushed.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX))).await?);
        let mut gathered = Gathered::default();
        if pushed > 0 {
            let batches = self.work.db.read().await?.span_batches(self.repository.id, trace).await?;
            sent.batches_read = i64::try_from(batches.len()).unwrap_or(i64::MAX);
            let read = tokio::task::spawn_blocking(move || StoredSpans::read(&batches)).await??;
            sent.notes.extend(read.note);
            gathered.add(JobSpans { spans: read.spans, ..JobSpans::default() });
        }
        for artifact in artifacts {
            match self.archive(&artifact, trace).await? {
                Ok(archive) => {
                    let job = &archive.manifest.job;
                    let note =
                        |problem: &String| Note::JobArchive { job: job.clone(), problem: problem.clone() };
                    sent.notes.extend(archive.notes.iter().map(note));
                    gathered.add(of_archive(archive));
                }
                Err(reason) => {
                    tracing::warn!(repo = %self.repository.name, run = self.run.id, artifact = artifact.id, reason,
                        "an artifact is not used");
                    sent.notes.push(Note::ArtifactLeftOut { artifact: artifact.name, problem: reason });
                }
            }
        }
        if gathered.left_out > 0 {
            let spans = gathered.left_out;
            sent.notes.push(Note::JobSpansLeftOut { why: JobSpanProblem::TooMany, spans });
        }
        sent.jobs = gathered.jobs;
        let more = sent.notes.len().saturating_sub(NOTES);
        if more > 0 {
            sent.notes.truncate(NOTES);
            sent.notes.push(Note::MoreJobNotes { notes: more });
        }
        Ok(Some(sent))
    }

    /// The artifacts that may be read.
    async fn artifacts(&self, notes: &mut Vec<Note>) -> Result<Vec<Artifact>, TaskError> {
        let listed = match self.actions.artifacts_of_run(self.run.id).await {
            Ok(listed) => listed,
            Err(error) if self.may_be_better_soon(&error) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(repo = %self.repository.name, run = self.run.id, error = %error, "artifacts can't be listed");
                notes.push(Note::ArtifactsUnreadable { problem: error.to_string() });
                return Ok(Vec::new());
            }
        };
        let selection = of_attempt(listed, self.run, self.attempt);
        for reason in selection.refused {
            tracing::warn!(repo = %self.repository.name, run = self.run.id, reason, "an artifact is not used");
        }
        let (mut chosen, mut room) = (Vec::new(), ARTIFACT_BYTES);
        for artifact in selection.chosen {
            let refused = if artifact.size_in_bytes > room {
                Some("the artifacts of this run are too large together")
            } else if !self.has_quota(&artifact).await? {
                Some("its fork has sent too much today")
            } else {
                None
            };
            if let Some(reason) = refused {
                tracing::warn!(repo = %self.repository.name, run = self.run.id, artifact = artifact.id, reason,
                    "an artifact is not used");
                notes.push(Note::ArtifactLeftOut { artifact: artifact.name, problem: reason.to_owned() });
                continue;
            }
            room -= artifact.size_in_bytes;
            chosen.push(artifact);
        }
        Ok(chosen)
    }

    /// Whoever opens a pull request may send: of a fork only so much is taken.
    async fn has_quota(&self, artifact: &Artifact) -> Result<bool, TaskError> {
        if self.run.is_of_own_branch() {
            return Ok(true);
        }
        let head = self.run.head_repository.as_ref().map_or(0, |head| head.id);
        let key = (head, day(self.work.clock.now()));
        let bytes = i64::try_from(artifact.size_in_bytes).unwrap_or(i64::MAX);
        let artifact = SentArtifact { id: artifact.id, bytes };
        let mut tx = self.work.db.write().await?;
        let is_left = tx.take_artifact_quota(self.repository.id, key, artifact, OF_A_FORK).await?;
        tx.commit().await?;
        Ok(is_left)
    }

    /// One artifact, or why it is not used.
    async fn archive(
        &self,
        artifact: &Artifact,
        trace: TraceId,
    ) -> Result<Result<JobArchive, String>, TaskError> {
        let bytes = match self.actions.artifact_zip(artifact, ARCHIVE_BYTES).await {
            Ok(bytes) => bytes,
            Err(DownloadError::GitHub(error)) if self.may_be_better_soon(&error) => return Err(error.into()),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let redactor = self.work.trace_settings.redactor.clone();
        let archive = match tokio::task::spawn_blocking(move || read(&bytes, &redactor)).await? {
            Ok(archive) => archive,
            Err(reason) => return Ok(Err(reason)),
        };
        // On other events GITHUB_SHA is another commit than the run is shown on.
        let is_its_commit =
            matches!(self.run.event.as_str(), "push" | "pull_request" | "schedule" | "workflow_dispatch");
        let contradiction = archive.manifest.contradiction(&Expected {
            repository_id: Some(self.run.repository.id),
            run_id: self.run.id,
            run_attempt: i64::from(self.attempt),
            check_run_id: None,
            head_sha: is_its_commit.then(|| self.run.head_sha.as_str()),
            trace_id: trace,
        });
        let of_no_job = |manifest: &Manifest| {
            let job = manifest.check_run_id.filter(|id| !self.listed.jobs.iter().any(|job| job.id == *id))?;
            Some(format!("it says that it is of job {job}, which this run does not have"))
        };
        Ok(match contradiction.or_else(|| of_no_job(&archive.manifest)) {
            Some(reason) => Err(reason),
            None => Ok(archive),
        })
    }

    fn may_be_better_soon(&self, error: &GitHubError) -> bool {
        match error.retry_class() {
            RetryClass::After(_) | RetryClass::At(_) => true,
            RetryClass::Outage | RetryClass::Backoff => self.patient,
            RetryClass::Never => false,
        }
    }
}

fn read(bytes: &[u8], redactor: &Redactor) -> Result<JobArchive, String> {
    let mut archive = JobArchive::from_zip(bytes).map_err(|error| error.to_string())?;
    redactor.redact(&mut archive.spans);
    Ok(archive)
}

/// What was sent so far, within bounds for all of it.
#[derive(Default)]
struct Gathered {
    jobs: Vec<JobSpans>,
    spans: usize,
    values: usize,
    left_out: usize,
}

impl Gathered {
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

/// What the manifest says of the job and its machine, as attributes of the job. Nothing that
/// would name a stage, or say how it ended.
fn facts(manifest: &Manifest) -> Vec<(String, AttributeValue)> {
    const OF_RUNNERS: [&str; 3] = ["host.", "os.", "runner."];
    let mut facts = manifest.runner_attributes();
    facts.retain(|(key, _)| OF_RUNNERS.iter().any(|prefix| key.starts_with(prefix)));
    if !manifest.job.is_empty() {
        facts.push(("github.job".to_owned(), AttributeValue::String(manifest.job.clone())));
    }
    let of_matrix = manifest.matrix_attributes().into_iter();
    facts.extend(of_matrix.map(|(key, value)| (format!("github.matrix.{key}"), value)));
    // Each by its name, and never as the job's own state: who could say for a job of GitHub's that its
    // cache missed could excuse whatever is slower in it.
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

/// Days since the epoch.
pub(super) fn day(now: Timestamp) -> i64 {
    now.as_secs().div_euclid(86_400)
}

/// The attempt of a workflow run whose trace this is, of those that GitHub told of lately.
pub(super) async fn attempt_of_trace(
    tx: &mut Tx,
    repo: RepoId,
    trace: TraceId,
    now: Timestamp,
) -> Result<Option<(i64, u32)>, TaskError> {
    let runs = tx.recent_workflow_runs(repo, now.before(RECENT), RUNS).await?;
    let attempts = runs.into_iter().flat_map(|(run, newest)| {
        let attempts = (newest - ATTEMPTS).max(0) + 1..=newest;
        attempts.rev().filter_map(move |attempt| Some((run, u32::try_from(attempt).ok()?)))
    });
    Ok(attempts.into_iter().find(|(run, attempt)| trace_id(*run, *attempt) == trace))
}

/// Has an attempt that was read before read again, because its jobs sent more. One that goes on
/// is read at its end.
pub(super) async fn read_again(
    work: &WorkerContext,
    repo: RepoId,
    (run_id, attempt): (i64, u32),
) -> Result<(), TaskError> {
    let mut tx = work.db.write().await?;
    let row = tx.workflow_run(repo, run_id).await?;
    if row.is_some_and(|row| row.collected_attempt >= i64::from(attempt)) {
        let again = Task::CollectWorkflowRun { repo, run_id, attempt };
        again.push_again(&mut tx, &work.rng, work.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}
