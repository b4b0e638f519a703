//! Compares a candidate with a fitted baseline: the verdict of every stage and error, and of the run.
//! It joins the results of `judge`, `errors` and `attribute`.

use std::collections::{BTreeMap, HashSet};

use super::aggregate::{run_verdict, sort_stages};
use super::attribute::{critical_path, explain};
use super::errors::judge_errors;
use super::judge::{Judgement, Observed, judge};
use super::queue::{long_waits, waiting};
use crate::gate::baseline::columns::seconds;
use crate::gate::duration_model::Deviations;
use crate::gate::duration_model::fit::{FittedBaseline, FittedStage};
use crate::gate::duration_model::multiple_testing::MAX_SAMPLES;
use crate::gate::structure;
use crate::model::comparison::{RunComparison, RunVerdict, StageComparison, StageVerdict, WallClock};
use crate::model::ids::RepoName;
use crate::model::note::Note;
use crate::model::policy::{GatePolicy, PolicyFacts};
use crate::model::reason::StageFact;
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::{StageKey, StageKind, StageSample};
use crate::stats::evidence::MAX_BLOCK;

/// Judges the runs of one change, oldest first, all of one pipeline. The newest run determines the
/// stages; older runs are further samples. None without runs.
#[must_use]
pub fn compare(
    fitted: &FittedBaseline,
    candidate: &[MeasuredRun],
    repo: &RepoName,
    policy: &GatePolicy,
) -> Option<RunComparison> {
    let newest = candidate.last()?;
    let mut notes = newest.run.notes.clone();
    let same_runner =
        |run: &&MeasuredRun| fitted.runner.as_ref().is_none_or(|class| *class == run.run.runner);
    let comparable: Vec<&MeasuredRun> = candidate.iter().filter(same_runner).collect();
    if comparable.len() < candidate.len() {
        notes.push(Note::OtherRunner { runs: candidate.len() - comparable.len() });
    }
    let context = ComparisonContext {
        fitted,
        policy,
        newest,
        newest_is_comparable: same_runner(&newest),
        newest_runs: newest_runs(fitted, &comparable, policy),
        samples: by_stage(&comparable),
        comparable: comparable.len(),
    };
    let mut judged = context.present_stages(&mut notes);
    notes.extend(long_waits(&newest.stages, &fitted.structure));
    judged.extend(context.absent_stages());
    let (mut stages, own_finding): (Vec<StageComparison>, Vec<bool>) = judged.into_iter().unzip();
    explain(&mut stages, &own_finding);
    let critical = critical_path(&newest.stages);
    let on_path: HashSet<&StageKey> = critical.iter().collect();
    for s in &mut stages {
        s.critical = on_path.contains(&s.key) && s.verdict != StageVerdict::Removed;
    }
    sort_stages(&mut stages);
    let errors = judge_errors(&fitted.errors, &candidate.iter().collect::<Vec<_>>(), policy);
    let runner_factor = context.newest_runs.first().and_then(|block| block.first());
    let runner_factor = runner_factor.filter(|_| context.newest_is_comparable && fitted.model.stages() > 0);
    let mut comparison = RunComparison {
        verdict: RunVerdict::Pass,
        repo: repo.clone(),
        head_sha: newest.run.head_sha.clone(),
        candidate_runs: candidate.len(),
        baseline: fitted.summary.clone(),
        runner_factor: runner_factor.map(|run| run.runner_speed.exp()),
        wall_clock: WallClock {
            candidate_s: seconds(newest.run.duration_ns),
            baseline_median_s: fitted.wall_median_s,
            critical_path: critical,
        },
        stages,
        errors,
        structure: Vec::new(),
        notes,
        policy: PolicyFacts { mode: policy.mode(), comment: policy.comment(), ..PolicyFacts::default() },
    };
    structure::add_changes(&mut comparison, &fitted.structure, newest, policy);
    comparison.verdict = run_verdict(&comparison, policy.errors().gate);
    Some(comparison)
}

/// The inputs of one comparison.
struct ComparisonContext<'a> {
    fitted: &'a FittedBaseline,
    policy: &'a GatePolicy,
    newest: &'a MeasuredRun,
    newest_is_comparable: bool,
    /// By block size minus one: the deviations of the newest comparable runs, oldest first.
    newest_runs: Vec<Vec<Deviations>>,
    /// Number of comparable runs of the change.
    comparable: usize,
    /// By stage: positions among the comparable runs, with the samples.
    samples: BTreeMap<&'a StageKey, Vec<(usize, &'a StageSample)>>,
}

fn by_stage<'a>(runs: &[&'a MeasuredRun]) -> BTreeMap<&'a StageKey, Vec<(usize, &'a StageSample)>> {
    let mut samples: BTreeMap<&StageKey, Vec<(usize, &StageSample)>> = BTreeMap::new();
    for (at, run) in runs.iter().enumerate() {
        for stage in &run.stages {
            samples.entry(&stage.key).or_default().push((at, stage));
        }
    }
    samples
}

/// The newest runs of a change as blocks of 1, 2, … runs. Each block follows the baseline directly.
fn newest_runs(fitted: &FittedBaseline, runs: &[&MeasuredRun], policy: &GatePolicy) -> Vec<Vec<Deviations>> {
    let most = MAX_SAMPLES.max(policy.confirm().samples as usize).min(MAX_BLOCK).min(runs.len());
    (1..=most).map(|size| fitted.deviations(&runs[runs.len() - size..])).collect()
}

impl ComparisonContext<'_> {
    /// The deviations of the comparable run at position `at` of `of`, by block size; NaN where the
    /// block of the newest runs does not contain it.
    fn deviations(&self, at: usize, of: usize, column: Option<usize>) -> Vec<f64> {
        let from_the_end = of - at;
        let in_block = |block: &Vec<Deviations>| {
            let place = block.len().checked_sub(from_the_end)?;
            Some(block[place].of_stages[column?])
        };
        self.newest_runs.iter().map(|block| in_block(block).unwrap_or(f64::NAN)).collect()
    }

    /// How many times slower than usual the runner of the comparable run at `at` was; 1 where it is not
    /// known.
    fn runner_factor(&self, at: usize) -> f64 {
        let largest = self.newest_runs.last();
        let place = largest.and_then(|block| (at + block.len()).checked_sub(self.comparable));
        largest
            .zip(place)
            .and_then(|(block, place)| block.get(place))
            .map_or(1.0, |run| run.runner_speed.exp())
    }

    fn present_stages(&self, notes: &mut Vec<Note>) -> Vec<(StageComparison, bool)> {
        let mut ignored = 0;
        let mut judged = Vec::with_capacity(self.newest.stages.len());
        for stage in &self.newest.stages {
            if self.policy.stage(&stage.path).ignore {
                ignored += 1;
            } else if stage.kind == StageKind::Queue {
                judged.push((waiting(stage, &self.fitted.structure), false));
            } else {
                judged.push(self.present(stage));
            }
        }
        if ignored > 0 {
            notes.push(Note::StagesIgnored { stages: ignored });
        }
        judged
    }

    fn present(&self, sample: &StageSample) -> (StageComparison, bool) {
        let fitted = self.fitted.stages.get(&sample.key);
        let column = fitted.and_then(|stage| stage.column).map(|column| column.at);
        let observed: Vec<Observed> = self
            .samples
            .get(&sample.key)
            .into_iter()
            .flatten()
            .filter(|(_, s)| s.result == RunResult::Success)
            .map(|(at, s)| Observed {
                seconds: s.seconds(),
                deviations: self.deviations(*at, self.comparable, column),
                runner_factor: self.runner_factor(*at),
            })
            .collect();
        let refused = if self.newest_is_comparable {
            incomplete(sample.result)
        } else {
            Some(StageFact::OtherRunner { runner: self.newest.run.runner.clone() })
        };
        let mut comparison = blank(&sample.key, &sample.path, sample.parent.as_ref(), fitted);
        comparison.samples = observed.len();
        comparison.history_candidates = observed.len();
        comparison.history_s.extend(observed.iter().map(|s| s.seconds));
        comparison.candidate_s = Some(sample.seconds());
        if let Some(why) = refused {
            comparison.reason.push(why);
            comparison.verdict = StageVerdict::NotComparable;
            return (comparison, false);
        }
        let judgement = judge(self.fitted, fitted, &observed, self.policy, self.policy.stage(&sample.path));
        let over_budget = judgement.over_budget;
        (apply(comparison, judgement), over_budget)
    }

    fn absent_stages(&self) -> Vec<(StageComparison, bool)> {
        let here: HashSet<&StageKey> = self.newest.stages.iter().map(|s| &s.key).collect();
        let missing = |(key, stage): &(&StageKey, &FittedStage)| {
            !here.contains(key) && stage.expected && !self.policy.stage(&stage.path).ignore
        };
        let absent = |(key, stage): (&StageKey, &FittedStage)| {
            let mut comparison = blank(key, &stage.path, stage.parent.as_ref(), Some(stage));
            if self.newest.run.result == RunResult::Success {
                comparison.verdict = StageVerdict::Removed;
                comparison.reason.push(StageFact::Absent);
            } else {
                comparison.verdict = StageVerdict::NotComparable;
                comparison.reason.push(StageFact::NotReached);
            }
            (comparison, false)
        };
        self.fitted.stages.iter().filter(missing).map(absent).collect()
    }
}

/// A comparison without a judgement.
pub(crate) fn blank(
    key: &StageKey,
    path: &[String],
    parent: Option<&StageKey>,
    fitted: Option<&FittedStage>,
) -> StageComparison {
    StageComparison {
        key: key.clone(),
        path: path.to_vec(),
        parent: parent.cloned(),
        verdict: StageVerdict::Pass,
        candidate_s: None,
        baseline_median_s: fitted.filter(|f| f.samples > 0).map(|f| f.median_s),
        ratio: None,
        increase_s: None,
        score: None,
        threshold: None,
        probability: None,
        workings: None,
        samples: 0,
        baseline_samples: fitted.map_or(0, |f| f.samples),
        critical: false,
        explained_by: None,
        decision: None,
        reason: Vec::new(),
        location: None,
        history_s: fitted.map(|f| f.history_s.clone()).unwrap_or_default(),
        history_candidates: 0,
    }
}

fn apply(mut comparison: StageComparison, judgement: Judgement) -> StageComparison {
    comparison.verdict = judgement.verdict;
    comparison.reason = judgement.reason;
    comparison.candidate_s = Some(judgement.candidate_s);
    comparison.ratio = judgement.ratio;
    comparison.increase_s = judgement.increase_s;
    comparison.score = judgement.finding.map(|finding| finding.evidence.ln_ratio);
    comparison.threshold = judgement.finding.map(|finding| finding.threshold);
    comparison.workings = judgement.workings.map(Box::new);
    comparison.probability = judgement.finding.map(|finding| finding.probability);
    comparison
}

/// Why a stage's duration is not that of a successful stage.
fn incomplete(result: RunResult) -> Option<StageFact> {
    (result != RunResult::Success).then_some(StageFact::Incomplete { result })
}
