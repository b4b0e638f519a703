//! The pictures in `docs/statistics.md`: a simulated history with a fixed seed, fitted and compared
//! by the engine, drawn by [`HistoryChart`]. The committed files have to be equal byte by byte.
//! `UPDATE_PICTURES=1 cargo test -p pacegate-report --lib pictures` writes them.

use std::path::Path;

use pacegate_engine::gate::baseline::Baseline;
use pacegate_engine::gate::duration_model::fit::{FittedBaseline, fit, series_of};
use pacegate_engine::gate::verdict::compare::compare;
use pacegate_engine::model::comparison::{RunComparison, StageComparison, StageVerdict, Workings};
use pacegate_engine::model::environment::RunnerClass;
use pacegate_engine::model::ids::RunId;
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::model::run::{Lineage, MeasuredRun, PipelineRun, RunResult};
use pacegate_engine::model::stage::{StageKey, StageKind, StageSample};
use pacegate_engine::model::time::Timestamp;

use crate::history_chart::{HistoryChart, Prediction};
use crate::number_format::{duration, once_in, ratio};

const SEED: u64 = 7;
const RUNS: u32 = 60;
/// Leaves of the pipeline and their usual seconds.
const LEAVES: [(&str, f64); 9] = [
    ("checkout", 6.0),
    ("install", 25.0),
    ("lint", 18.0),
    ("compile", 80.0),
    ("package", 30.0),
    ("unit", 40.0),
    ("integration", 60.0),
    ("browser", 45.0),
    ("upload", 12.0),
];
/// The stage that is drawn.
const STAGE: &str = "integration";
/// Scatter of a stage's ln seconds, without the runner's speed.
const NOISE: f64 = 0.05;

/// A linear congruential generator with the constants of Knuth's MMIX.
struct Rng(u64);

impl Rng {
    /// Uniform in 0..=1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).expect("32 bits")) / f64::from(u32::MAX)
    }

    /// About standard normal: the sum of twelve uniform numbers less six.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn path(leaf: &str) -> Vec<String> {
    vec!["CI".to_owned(), leaf.to_owned()]
}

fn sample(path: Vec<String>, start_s: f64, seconds: f64) -> StageSample {
    #[expect(clippy::cast_possible_truncation, reason = "seconds to hours, far below 2^63 nanoseconds")]
    let nanoseconds = |s: f64| (s * 1e9).round() as i64;
    StageSample {
        key: StageKey::from_path(&path),
        parent: (path.len() > 1).then(|| StageKey::from_path(&path[..1])),
        path,
        duration_ns: nanoseconds(seconds),
        count: 1,
        start_offset_ns: nanoseconds(start_s),
        end_offset_ns: nanoseconds(start_s + seconds),
        result: RunResult::Success,
        asynchronous: false,
        kind: StageKind::Work,
        cache: None,
    }
}

/// Run number `n`, one an hour. Its runner takes `runner` times the usual time, and [`STAGE`]
/// takes another `slowdown` times as long.
fn run(n: u32, rng: &mut Rng, runner: f64, slowdown: f64) -> MeasuredRun {
    let mut at = 0.0;
    let mut stages = Vec::new();
    for (leaf, usual_s) in LEAVES {
        let factor = if leaf == STAGE { slowdown } else { 1.0 };
        let seconds = usual_s * runner * factor * (NOISE * rng.normal()).exp();
        stages.push(sample(path(leaf), at, seconds));
        at += seconds;
    }
    stages.push(sample(vec!["CI".to_owned()], 0.0, at));
    let run = PipelineRun {
        id: RunId(format!("run-{n:05}")),
        repo: "acme/shop".parse().expect("a repository"),
        pipeline: "CI".to_owned(),
        external_id: None,
        trace_id: None,
        attempt: 1,
        head_sha: format!("{:040x}", n + 1).parse().expect("a commit"),
        lineage: Lineage::Branch { name: "main".to_owned() },
        result: RunResult::Success,
        runner: RunnerClass::default(),
        started_at: Timestamp(1_790_000_000_000_000 + i64::from(n) * 3_600_000_000),
        duration_ns: stages.last().map_or(0, |root| root.duration_ns),
        workflow_path: None,
        notes: vec![],
    };
    MeasuredRun { run, stages, errors: vec![] }
}

/// A baseline and the changes that are compared with it.
struct Story {
    baseline: Baseline,
    fitted: FittedBaseline,
    policy: GatePolicy,
}

impl Story {
    fn new() -> Self {
        let mut rng = Rng(SEED);
        // Every third runner is of a slower kind; within a kind the speed varies by 5%.
        let runs = (0..RUNS).map(|n| {
            let kind = if rng.uniform() < 0.33 { 1.3 } else { 1.0 };
            let speed = kind * (0.05 * rng.normal()).exp();
            run(n, &mut rng, speed, 1.0)
        });
        let baseline = Baseline::of_files(runs.collect());
        let policy = GatePolicy::default();
        Self { fitted: fit(&baseline, &policy), baseline, policy }
    }

    fn compare(&self, change: &[MeasuredRun]) -> RunComparison {
        let repo = "acme/shop".parse().expect("a repository");
        compare(&self.fitted, change, &repo, &self.policy).expect("the change has runs")
    }

    /// The baseline's durations of the drawn stage without the runner's speed, seconds.
    fn without_runner_speed(&self) -> Vec<f64> {
        let series = series_of(&self.baseline, &self.policy);
        let stage = series.iter().find(|stage| stage.path == path(STAGE)).expect("the stage");
        stage.points.iter().map(|point| stage.usual_s * point.residual.exp()).collect()
    }
}

fn as_timed(runs: &[MeasuredRun]) -> Vec<f64> {
    let of_stage =
        |run: &MeasuredRun| run.stages.iter().find(|s| s.path == path(STAGE)).map(StageSample::seconds);
    runs.iter().filter_map(of_stage).collect()
}

fn drawn(comparison: &RunComparison) -> &StageComparison {
    comparison.stages.iter().find(|stage| stage.path == path(STAGE)).expect("the stage")
}

/// The band holds 95% of unchanged runs: Student's t, 2.5% on each side.
fn prediction(workings: &Workings) -> Prediction {
    let quantiles = [(3.0, 3.182), (4.0, 2.776), (6.0, 2.447), (10.0, 2.228), (30.0, 2.042)];
    let of_degrees = |(degrees, _): &&(f64, f64)| (degrees - workings.degrees_of_freedom).abs() < 0.5;
    let (_, quantile) = quantiles.iter().find(of_degrees).expect("degrees that the engine fits");
    let factor = (quantile * workings.scale).exp();
    let expected_s = workings.predicted_s;
    Prediction { expected_s, low_s: expected_s / factor, high_s: expected_s * factor }
}

/// Compares a picture with the committed file, or writes the file.
fn keep(name: &str, svg: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images").join(name);
    if std::env::var_os("UPDATE_PICTURES").is_some() {
        std::fs::write(&file, svg).expect("the picture is written");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == svg,
        "{} differs: run `UPDATE_PICTURES=1 cargo test -p pacegate-report --lib pictures`, look at it, and \
         check the figures beside it in docs/statistics.md",
        file.display()
    );
}

#[test]
fn pictures_of_the_documents_are_current() {
    let story = Story::new();
    let mut rng = Rng(SEED + 1);
    let corrected = story.without_runner_speed();

    // Two slowed runs on runners that are about as fast as usual.
    let slowed = [0.98, 0.95].map(|runner| run(RUNS, &mut rng, runner, 1.25));
    let comparison = story.compare(&slowed);
    let stage = drawn(&comparison);
    assert_eq!(stage.verdict, StageVerdict::Regressed);
    let workings = stage.workings.as_deref().expect("a slower stage has workings");
    let band = prediction(workings);
    let inside = corrected.iter().filter(|s| (band.low_s..=band.high_s).contains(*s)).count();
    assert!(inside * 10 >= corrected.len() * 9, "the band holds {inside} of {} runs", corrected.len());

    let history = HistoryChart {
        title: "integration, measured times",
        baseline_s: &as_timed(&story.baseline.runs),
        candidate_s: &[],
        candidate_as_timed_s: &as_timed(&slowed),
        prediction: None,
        legend: "dots: base branch, rings: pull request",
        verdict: "",
        is_slower: false,
    };
    keep("stage-history.svg", &history.to_svg());
    let predicted = HistoryChart {
        title: "integration, runner speed removed",
        baseline_s: &corrected,
        candidate_as_timed_s: &[],
        prediction: Some(band),
        legend: "line: prediction, band: 95% of runs",
        ..history
    };
    keep("prediction.svg", &predicted.to_svg());
    let slowed_s: Vec<f64> = workings.deviations.iter().map(|d| workings.predicted_s * d.exp()).collect();
    let ratio_slowed = ratio(stage.ratio.expect("a ratio"));
    let verdict = format!("regressed: {ratio_slowed}");
    let judged = HistoryChart { candidate_s: &slowed_s, verdict: &verdict, is_slower: true, ..predicted };
    keep("verdict.svg", &judged.to_svg());

    // The pipeline unchanged, on two slow runners.
    let slow = [1.42, 1.38].map(|runner| run(RUNS, &mut rng, runner, 1.0));
    let comparison = story.compare(&slow);
    for stage in &comparison.stages {
        assert_eq!(stage.verdict, StageVerdict::Pass, "{}", stage.key);
    }
    let alone = |run: &MeasuredRun| {
        let comparison = story.compare(std::slice::from_ref(run));
        workings.predicted_s * drawn(&comparison).ratio.expect("a ratio")
    };
    let slow_s: Vec<f64> = slow.iter().map(alone).collect();
    let factor = ratio(comparison.runner_factor.expect("a runner factor"));
    let verdict = format!("pass: everything took {factor} as long on this runner");
    let slow_runner = HistoryChart {
        title: "integration on slow runners",
        candidate_s: &slow_s,
        candidate_as_timed_s: &as_timed(&slow),
        legend: "rings: measured, dots: runner speed removed",
        verdict: &verdict,
        ..predicted
    };
    keep("slow-runner.svg", &slow_runner.to_svg());

    // The figures that the page repeats.
    let page = include_str!("../../../../docs/statistics.md");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let base = as_timed(&story.baseline.runs);
    let pull_request_s = as_timed(&slowed).into_iter().fold(0.0, f64::max);
    let longer = base.iter().filter(|s| **s > pull_request_s).count();
    let first = story.compare(&slowed[..1]);
    for figure in [
        format!("{longer} of {RUNS} runs"),
        once_in(stage.probability.expect("a probability")),
        format!("After the first of them alone the verdict was `{}`", drawn(&first).verdict.as_str()),
        format!("takes {ratio_slowed} as long"),
        format!("took {factor} as long"),
        duration(band.expected_s),
        duration(band.low_s),
        duration(band.high_s),
    ] {
        assert!(page.contains(&figure), "docs/statistics.md does not have `{figure}`");
    }
}
