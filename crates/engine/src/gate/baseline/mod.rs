//! Selects the past runs that are comparable with a candidate, with the reason for each run that is
//! not. Only successful first attempts of the base branch are selected, never runs of a pull request.

pub(crate) mod columns;
pub(crate) mod rebase_level;

use crate::model::comparison::{BaselineSummary, Exclusion};
use crate::model::history::AcceptedChange;
use crate::model::ids::CommitSha;
use crate::model::note::Note;
use crate::model::policy::GatePolicy;
use crate::model::reason::ExclusionReason;
use crate::model::run::{Lineage, MeasuredRun, PipelineRun, RunResult};
use crate::model::time::Timestamp;

/// Newest runs of a pull request, with reruns, that are compared. Durations are judged by at most the
/// newest `MAX_SAMPLES` of them, errors by all.
pub const CANDIDATE_RUNS: usize = 8;

/// Runs of the base branch that are read in addition to the policy's number, because some are not
/// comparable: failed runs, reruns.
pub const EXTRA_RUNS: u32 = 100;

#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// Comparable runs, oldest first.
    pub runs: Vec<MeasuredRun>,
    /// Further runs whose errors count as known, although their durations are not comparable: a
    /// failed run of the base branch proves that its error is old.
    pub error_history: Vec<MeasuredRun>,
    /// Slowdowns that were accepted. Samples from before them are used for scatter, not for level.
    pub accepted: Vec<AcceptedChange>,
    /// Runs that could not be a baseline, the most frequent reason first.
    pub excluded: Vec<Exclusion>,
}

impl Baseline {
    /// The baseline of a comparison of files. Every run was given as baseline, so branch, age and kind
    /// of runner are not checked. Failed runs and later attempts are still left out. The runs are of
    /// one pipeline, in any order.
    #[must_use]
    pub fn of_files(runs: Vec<MeasuredRun>) -> Self {
        let mut sorting = Sorting::default();
        for run in runs {
            match unfinished(&run.run) {
                None => sorting.baseline.runs.push(run),
                Some(reason) => sorting.exclude(reason, Some(run)),
            }
        }
        sorting.finish(usize::MAX)
    }

    /// The run to show as the baseline: the newest of the base commit, else the newest of all.
    #[must_use]
    pub fn standing_for(&self, base_sha: Option<&CommitSha>) -> Option<&PipelineRun> {
        let newest_first = || self.runs.iter().rev().map(|measured| &measured.run);
        newest_first().find(|run| Some(&run.head_sha) == base_sha).or_else(|| newest_first().next())
    }

    /// The note that the base commit of a change was not measured. The newest comparable run before
    /// the change is used instead.
    #[must_use]
    pub fn stand_in(&self, base_sha: &CommitSha) -> Option<Note> {
        let newest = self.runs.last()?;
        let is_measured = self.runs.iter().any(|run| run.run.head_sha == *base_sha);
        (!is_measured).then(|| Note::BaseCommitUnmeasured {
            base: base_sha.clone(),
            newest: newest.run.head_sha.clone(),
        })
    }

    #[must_use]
    pub fn summary(&self) -> BaselineSummary {
        let sha = |run: Option<&MeasuredRun>| run.map(|r| r.run.head_sha.clone());
        BaselineSummary {
            runs: self.runs.len(),
            from_sha: sha(self.runs.first()),
            to_sha: sha(self.runs.last()),
            excluded: self.excluded.clone(),
        }
    }
}

/// Chooses a candidate's baseline from `history`: the newest of these runs, as many as the policy
/// says:
/// - successful first attempts of the same pipeline,
/// - on the same kind of runner,
/// - on `base_branch`, or on `main` or `master` when it isn't known,
/// - of another commit than the candidate's,
/// - started no later than `as_of` and within the policy's days.
#[must_use]
pub fn choose(
    history: Vec<MeasuredRun>,
    candidate: &PipelineRun,
    base_branch: Option<&str>,
    policy: &GatePolicy,
    as_of: Timestamp,
) -> Baseline {
    let rule = policy.baseline();
    let oldest = as_of.before(rule.age());
    let mut sorting = Sorting::default();
    for run in history {
        let past = &run.run;
        if past.id == candidate.id {
            continue;
        }
        let elsewhere = not_of_the_base(past, candidate, base_branch, as_of)
            .or_else(|| (past.started_at < oldest).then_some(ExclusionReason::TooOld { days: rule.days }));
        if let Some(reason) = elsewhere {
            sorting.exclude(reason, None);
        } else if let Some(reason) = unfinished(past) {
            sorting.exclude(reason, Some(run));
        } else if past.runner != candidate.runner {
            let runner = past.runner.clone();
            sorting.exclude(ExclusionReason::OtherRunner { runner }, Some(run));
        } else {
            sorting.baseline.runs.push(run);
        }
    }
    sorting.finish(rule.runs as usize)
}

/// Why a run is not part of the base branch's past, not even its errors.
fn not_of_the_base(
    past: &PipelineRun,
    candidate: &PipelineRun,
    base_branch: Option<&str>,
    as_of: Timestamp,
) -> Option<ExclusionReason> {
    let on_base = |name: &str| match base_branch {
        Some(base) => name == base,
        None => matches!(name, "main" | "master"),
    };
    if past.pipeline != candidate.pipeline {
        return Some(ExclusionReason::OtherPipeline);
    }
    if past.head_sha == candidate.head_sha {
        return Some(ExclusionReason::JudgedCommit);
    }
    match &past.lineage {
        Lineage::PullRequest { .. } => Some(ExclusionReason::OfPullRequest),
        Lineage::Unknown => Some(ExclusionReason::NoBranch),
        Lineage::Branch { name } if !on_base(name) => Some(ExclusionReason::OtherBranch),
        Lineage::Branch { .. } => (past.started_at > as_of).then_some(ExclusionReason::LaterThanChange),
    }
}

/// Why a run is not a complete first attempt.
fn unfinished(run: &PipelineRun) -> Option<ExclusionReason> {
    match run.result {
        RunResult::Success => (run.attempt > 1).then_some(ExclusionReason::Rerun),
        RunResult::Failure | RunResult::Error => Some(ExclusionReason::Failed),
        RunResult::Timeout => Some(ExclusionReason::TimedOut),
        RunResult::Cancellation => Some(ExclusionReason::Cancelled),
        RunResult::Skip => Some(ExclusionReason::Skipped),
    }
}

#[derive(Default)]
struct Sorting {
    baseline: Baseline,
}

impl Sorting {
    fn exclude(&mut self, reason: ExclusionReason, still_for_errors: Option<MeasuredRun>) {
        let excluded = &mut self.baseline.excluded;
        match excluded.iter_mut().find(|e| e.reason == reason) {
            Some(exclusion) => exclusion.runs += 1,
            None => excluded.push(Exclusion { reason, runs: 1 }),
        }
        self.baseline.error_history.extend(still_for_errors);
    }

    fn finish(mut self, limit: usize) -> Baseline {
        // The id breaks ties, so that the order of loading never matters.
        self.baseline.runs.sort_by(|a, b| (a.run.started_at, &a.run.id).cmp(&(b.run.started_at, &b.run.id)));
        let surplus = self.baseline.runs.len().saturating_sub(limit);
        for run in self.baseline.runs.drain(..surplus).collect::<Vec<_>>() {
            self.exclude(ExclusionReason::BeyondNewest { runs: limit }, Some(run));
        }
        self.baseline.excluded.sort_by(|a, b| (b.runs, &a.reason).cmp(&(a.runs, &b.reason)));
        self.baseline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::fixture::{run, stage};
    use crate::model::environment::RunnerClass;
    use crate::model::ids::PrNumber;

    const CANDIDATE: u32 = 5_000;

    type Change = Box<dyn FnOnce(&mut PipelineRun)>;

    fn past(n: u32, change: impl FnOnce(&mut PipelineRun)) -> MeasuredRun {
        let mut measured = run(n, vec![stage("ci", 0.0, 1.0)]);
        change(&mut measured.run);
        measured
    }

    fn chosen(history: Vec<MeasuredRun>, base: Option<&str>, policy: &str) -> Baseline {
        let candidate = past(CANDIDATE, |r| r.lineage = Lineage::PullRequest { number: PrNumber(1) }).run;
        let policy = GatePolicy::from_yaml(policy).expect("a policy");
        choose(history, &candidate, base, &policy, candidate.started_at)
    }

    #[test]
    fn excluded_run_has_reason() {
        let branch = |name: &str| Lineage::Branch { name: name.to_owned() };
        let arm = RunnerClass { os: Some("linux".into()), arch: Some("arm64".into()), labels: vec![] };
        let runner = arm.clone();
        let cases: Vec<(ExclusionReason, Change)> = vec![
            (ExclusionReason::Failed, Box::new(|r| r.result = RunResult::Failure)),
            (ExclusionReason::TimedOut, Box::new(|r| r.result = RunResult::Timeout)),
            (ExclusionReason::Cancelled, Box::new(|r| r.result = RunResult::Cancellation)),
            (ExclusionReason::Rerun, Box::new(|r| r.attempt = 2)),
            (ExclusionReason::OtherBranch, Box::new(move |r| r.lineage = branch("feature"))),
            (
                ExclusionReason::OfPullRequest,
                Box::new(|r| r.lineage = Lineage::PullRequest { number: PrNumber(3) }),
            ),
            (ExclusionReason::NoBranch, Box::new(|r| r.lineage = Lineage::Unknown)),
            (ExclusionReason::OtherRunner { runner: arm.clone() }, Box::new(|r| r.runner = runner)),
            (ExclusionReason::OtherPipeline, Box::new(|r| r.pipeline = "other".into())),
            (ExclusionReason::JudgedCommit, Box::new(|r| r.head_sha = past(CANDIDATE, |_| {}).run.head_sha)),
            (ExclusionReason::LaterThanChange, Box::new(|r| r.started_at = Timestamp(i64::MAX))),
            (ExclusionReason::TooOld { days: 90 }, Box::new(|r| r.started_at = Timestamp(0))),
        ];
        for (reason, change) in cases {
            let baseline = chosen(vec![past(4_000, |_| {}), past(4_001, change)], Some("main"), "");
            assert_eq!(baseline.runs.len(), 1, "{reason:?}");
            assert_eq!(baseline.excluded, [Exclusion { reason, runs: 1 }]);
        }
    }

    #[test]
    fn newest_runs_are_kept_oldest_first() {
        let history = [4_003, 4_001, 4_004, 4_002].map(|n| past(n, |_| {})).to_vec();
        let baseline = chosen(history, Some("main"), "baseline: {runs: 3, days: 90}");
        let ids: Vec<&str> = baseline.runs.iter().map(|r| r.run.id.0.as_str()).collect();
        assert_eq!(ids, ["run-04002", "run-04003", "run-04004"]);
        assert_eq!(
            baseline.excluded,
            [Exclusion { reason: ExclusionReason::BeyondNewest { runs: 3 }, runs: 1 }]
        );
        let summary = baseline.summary();
        assert_eq!((summary.runs, summary.to_sha), (3, Some(past(4_004, |_| {}).run.head_sha)));
    }

    #[test]
    fn unknown_base_branch_means_main_or_master() {
        let on = |n, name: &str| past(n, |r| r.lineage = Lineage::Branch { name: name.to_owned() });
        let history = || vec![on(4_000, "main"), on(4_001, "master"), on(4_002, "develop")];
        assert_eq!(chosen(history(), None, "").runs.len(), 2);
        assert_eq!(chosen(history(), Some("develop"), "").runs.len(), 1);
    }

    #[test]
    fn only_base_runs_contribute_error_history() {
        let history = vec![
            past(4_000, |r| r.result = RunResult::Failure),
            past(4_001, |r| r.lineage = Lineage::PullRequest { number: PrNumber(2) }),
        ];
        let baseline = chosen(history, None, "");
        assert_eq!((baseline.runs.len(), baseline.error_history.len()), (0, 1));
    }

    #[test]
    fn unmeasured_base_commit_gets_named_stand_in() {
        let baseline = chosen(vec![past(4_000, |_| {}), past(4_001, |_| {})], Some("main"), "");
        let measured = baseline.runs[0].run.head_sha.clone();
        assert_eq!(baseline.stand_in(&measured), None);
        let elsewhere = "f".repeat(40).parse().expect("a commit");
        let newest = baseline.runs[1].run.head_sha.clone();
        assert_eq!(
            baseline.stand_in(&elsewhere),
            Some(Note::BaseCommitUnmeasured { base: elsewhere.clone(), newest })
        );
        assert_eq!(Baseline::default().stand_in(&elsewhere), None, "there is none at all");
    }

    #[test]
    fn files_are_accepted_from_any_branch() {
        let files =
            vec![past(2, |r| r.lineage = Lineage::Unknown), past(1, |_| {}), past(3, |r| r.attempt = 2)];
        let baseline = Baseline::of_files(files);
        assert_eq!(
            baseline.runs.iter().map(|r| r.run.id.0.as_str()).collect::<Vec<_>>(),
            ["run-00001", "run-00002"]
        );
    }
}
