//! The gate on a simulated history. `fit` gets the runs. Decisions on single blocks come from the
//! fitted model with the rules of `judge` on top; the service's own decision comes from `compare`.

use pacegate_engine::gate::baseline::Baseline;
use pacegate_engine::gate::duration_model::ablation::Ablation;
use pacegate_engine::gate::duration_model::fit::{FittedBaseline, fit_with};
use pacegate_engine::gate::duration_model::{Deviations, Direction};
use pacegate_engine::gate::verdict::compare::compare;
use pacegate_engine::model::comparison::StageVerdict;
use pacegate_engine::model::environment::RunnerClass;
use pacegate_engine::model::ids::{RepoName, RunId};
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::{Lineage, MeasuredRun, PipelineRun, RunResult};
use pacegate_engine::model::stage::{CacheState, StageKey, StageKind, StageSample};
use pacegate_engine::model::time::Timestamp;

use crate::generator::{History, PUSHES, Setting};

/// The default floors of a policy.
const MIN_RATIO: f64 = 1.1;
const MIN_INCREASE_S: f64 = 2.0;
/// Samples that are needed to confirm.
const CONFIRM: usize = 2;

/// A slowed stage with its factor.
pub(crate) type Slowed = Option<(usize, f64)>;

/// A history as measured runs.
pub(crate) struct Runs<'a> {
    history: &'a History,
    states_known: bool,
    paths: Vec<Vec<String>>,
    keys: Vec<StageKey>,
    repo: RepoName,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(history: &'a History, setting: &Setting) -> Self {
        let path = |i: usize| {
            let job = setting.jobs_known.then(|| format!("job-{}", history.runner[i]));
            ["ci".to_owned()].into_iter().chain(job).chain([format!("stage-{i:05}")]).collect()
        };
        let paths: Vec<Vec<String>> = (0..history.stages).map(path).collect();
        Self {
            history,
            states_known: setting.states_known,
            keys: paths.iter().map(|path| StageKey::from_path(path)).collect(),
            paths,
            repo: "acme/my-app".parse().expect("a repository"),
        }
    }

    /// One run, with a stage slowed.
    pub(crate) fn run(&self, run: usize, slowed: Slowed) -> MeasuredRun {
        let stage = |i: usize| {
            let factor = slowed.filter(|(stage, _)| *stage == i).map_or(1.0, |(_, factor)| factor);
            #[expect(clippy::cast_possible_truncation, reason = "hours at most")]
            let duration_ns = (self.history.seconds(run, i, factor) * 1e9) as i64;
            let state = if self.history.missed(run, i) { CacheState::Miss } else { CacheState::Hit };
            StageSample {
                key: self.keys[i].clone(),
                parent: None,
                path: self.paths[i].clone(),
                duration_ns,
                count: 1,
                start_offset_ns: 0,
                end_offset_ns: duration_ns,
                result: RunResult::Success,
                asynchronous: false,
                kind: StageKind::Work,
                cache: self.states_known.then_some(state),
            }
        };
        MeasuredRun {
            run: PipelineRun {
                id: RunId(format!("run-{run:05}")),
                repo: self.repo.clone(),
                pipeline: "ci".to_owned(),
                external_id: None,
                trace_id: None,
                attempt: 1,
                head_sha: format!("{:040x}", run + 1).parse().expect("a commit"),
                lineage: Lineage::Branch { name: "main".to_owned() },
                result: RunResult::Success,
                runner: RunnerClass::default(),
                started_at: Timestamp(
                    1_790_000_000_000_000 + 3_600_000_000 * i64::try_from(run).unwrap_or(0),
                ),
                duration_ns: 0,
                workflow_path: None,
                notes: vec![],
            },
            stages: (0..self.history.stages).map(stage).collect(),
            errors: vec![],
        }
    }

    pub(crate) fn baseline(&self) -> Baseline {
        Baseline {
            runs: (0..self.history.baseline).map(|run| self.run(run, None)).collect(),
            ..Baseline::default()
        }
    }

    /// The pull request's runs.
    pub(crate) fn pushes(&self, slowed: Slowed) -> Vec<MeasuredRun> {
        (0..PUSHES).map(|push| self.run(self.history.baseline + push, slowed)).collect()
    }
}

/// The gate, fitted to one history.
pub(crate) struct Gate<'a> {
    runs: &'a Runs<'a>,
    fitted: FittedBaseline,
    policy: GatePolicy,
    /// By stage: its column of the model.
    columns: Vec<usize>,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(runs: &'a Runs<'a>, baseline: &Baseline, ablation: Ablation) -> Self {
        let policy = GatePolicy::default();
        let fitted = fit_with(baseline, &policy, ablation);
        let column = |key: &StageKey| fitted.stages[key].column.expect("enough samples").at;
        let columns = runs.keys.iter().map(column).collect();
        Self { runs, fitted, policy, columns }
    }

    /// Minus ln of the smallest probability of any stage's block of `size` consecutive pushes; 0 without
    /// a finding.
    pub(crate) fn alarm(&self, pushes: &[MeasuredRun], size: usize) -> f64 {
        let blocks = pushes.windows(size).map(|block| {
            let deviations = self.deviations(block);
            (0..self.columns.len()).map(|stage| self.score(&deviations, stage)).fold(0.0, f64::max)
        });
        blocks.fold(0.0, f64::max)
    }

    /// The same for one stage in the first `size` pushes.
    pub(crate) fn finds(&self, pushes: &[MeasuredRun], stage: usize, size: usize) -> f64 {
        self.score(&self.deviations(&pushes[..size]), stage)
    }

    fn deviations(&self, block: &[MeasuredRun]) -> Vec<Deviations> {
        self.fitted.deviations(&block.iter().collect::<Vec<_>>())
    }

    fn score(&self, block: &[Deviations], stage: usize) -> f64 {
        let column = self.columns[stage];
        let deviations: Vec<f64> =
            block.iter().map(|run| run.of_stages[column]).filter(|deviation| deviation.is_finite()).collect();
        if deviations.len() < block.len() {
            return 0.0;
        }
        let model = &self.fitted.model;
        let Some(finding) = self.fitted.hypotheses.judge(model, column, &deviations, Direction::Slower)
        else {
            return 0.0;
        };
        let shift = finding.evidence.shift;
        let shows_it = |deviation: &&f64| **deviation >= 0.5 * shift;
        let agrees = deviations.last().is_some_and(|newest| shows_it(&newest))
            && deviations.iter().filter(shows_it).count() >= CONFIRM.min(deviations.len());
        let is_relevant =
            shift.exp() >= MIN_RATIO && model.predicted_s(column) * shift.exp_m1() >= MIN_INCREASE_S;
        if agrees && is_relevant { -finding.probability.ln() } else { 0.0 }
    }

    /// The first push, counted from 1, at which the service's verdict on any stage is "regressed". With
    /// `stage`, only that stage counts.
    pub(crate) fn first_confirmed(&self, pushes: &[MeasuredRun], stage: Option<usize>) -> Option<usize> {
        let key = stage.map(|stage| &self.runs.keys[stage]);
        (CONFIRM..=pushes.len()).find(|push| {
            let comparison = compare(&self.fitted, &pushes[..*push], &self.runs.repo, &self.policy);
            let mut stages = comparison.into_iter().flat_map(|comparison| comparison.stages);
            stages.any(|s| s.verdict == StageVerdict::Regressed && key.is_none_or(|key| *key == s.key))
        })
    }
}
