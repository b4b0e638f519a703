//! Extreme inputs: every comparison has a verdict with finite numbers, for any durations.

use crate::gate::baseline::Baseline;
use crate::gate::duration_model::ablation::Ablation;
use crate::gate::duration_model::fit::fit;
use crate::gate::duration_model::multiple_testing::HypothesisFamily;
use crate::gate::duration_model::runner_speed::ReferenceStages;
use crate::gate::duration_model::{Direction, DurationModel, NewRun, Observations};
use crate::gate::tests::fixture::{Lcg, pipeline, run, stage};
use crate::gate::verdict::compare::compare;

use crate::model::comparison::{RunComparison, StageComparison, StageVerdict};
use crate::model::policy::GatePolicy;
use crate::model::run::MeasuredRun;
use crate::model::stage::CacheState;
use crate::stats::evidence::MAX_BLOCK;
use crate::stats::matrix::Matrix;

const SECOND: i64 = 1_000_000_000;
const NAMES: [&str; 7] = ["ci", "ci / a", "ci / a / 1", "ci / a / 2", "ci / a / 3", "ci / a / 4", "ci / b"];

/// A run whose stages take these nanoseconds.
fn measured(n: u32, names: &[&str], nanos: impl Fn(i64) -> i64) -> MeasuredRun {
    let sample = |(name, i): (&&str, i64)| {
        let mut sample = stage(name, 0.0, 1.0);
        (sample.duration_ns, sample.end_offset_ns) = (nanos(i), nanos(i));
        sample
    };
    run(n, names.iter().zip(0..).map(sample).collect())
}

/// JSON has no NaN and no infinity: such a value is written as null and read back as another value, or
/// not at all.
fn only_numbers(comparison: &RunComparison, what: &str) {
    let json = serde_json::to_value(comparison).expect("JSON");
    let back: RunComparison = serde_json::from_value(json).unwrap_or_else(|why| panic!("{what}: {why}"));
    assert_eq!(&back, comparison, "{what}");
}

fn judged(past: &Baseline, candidate: &[MeasuredRun], policy: &str) -> Option<RunComparison> {
    let policy = GatePolicy::from_yaml(policy).expect("a policy");
    compare(&fit(past, &policy), candidate, &"acme/my-app".parse().expect("a name"), &policy)
}

#[test]
fn extreme_durations_give_finite_verdict() {
    /// Nanoseconds by run and stage. Runs from 90 on are the candidate's.
    type Nanos = fn(i64, i64) -> i64;
    let table: [(&str, Nanos); 11] = [
        ("zero", |_, _| 0),
        ("all equal", |_, _| 10 * SECOND),
        ("negative", |run, i| -SECOND * (run + i)),
        ("a clock of seconds", |run, i| SECOND * (1 + (run * 7 + i) % 2)),
        ("10^6 times", |run, i| {
            (SECOND + run * 1_000_003) * (i + 1) * if run >= 90 && i == 2 { 1_000_000 } else { 1 }
        }),
        ("10^12 times", |run, i| {
            (1_000_000 + run * 1009) * if run >= 90 && i == 2 { 1_000_000_000_000 } else { 1 }
        }),
        ("10^12 times in the past", |run, i| {
            (1_000_000 + run * 1009) * if run == 5 && i == 2 { 1_000_000_000_000 } else { 1 }
        }),
        ("the longest", |_, _| i64::MAX),
        ("the shortest", |_, _| i64::MIN),
        ("the longest or nothing", |run, i| if (run + i) % 2 == 0 { i64::MAX } else { 0 }),
        ("nothing, then the longest", |run, _| if run >= 90 { i64::MAX } else { 0 }),
    ];
    for (name, nanos) in table {
        for names in [&NAMES[..], &NAMES[..1]] {
            for runs in [0, 1, 3, 10, 26] {
                let past = (0..runs).map(|n| measured(n, names, |i| nanos(i64::from(n), i))).collect();
                let past = Baseline::of_files(past);
                for (candidates, confirm) in [(1, 2), (2, 2), (3, 8), (50, 2), (50, 8)] {
                    let candidate: Vec<MeasuredRun> = (90..90 + candidates)
                        .map(|n| measured(n, names, |i| nanos(i64::from(n), i)))
                        .collect();
                    let policy = format!("confirm: {{samples: {confirm}}}");
                    let what = format!("{name}, {} stages, {runs} runs, {candidates}, {policy}", names.len());
                    only_numbers(&judged(&past, &candidate, &policy).expect("has runs"), &what);
                }
            }
        }
    }
    assert!(judged(&Baseline::default(), &[], "").is_none(), "no run, no verdict");
}

#[test]
fn unseen_cache_state_is_not_comparable() {
    let mut rng = Lcg::new(1);
    let mut with = |n: u32, state| {
        let mut run = pipeline(n, &mut rng, 1.0, &[]);
        run.stages.iter_mut().for_each(|stage| stage.cache = Some(state));
        run
    };
    let past = Baseline::of_files((0..30).map(|n| with(n, CacheState::Hit)).collect());
    let candidate = [with(90, CacheState::Miss), with(91, CacheState::Miss)];
    let comparison = judged(&past, &candidate, "").expect("has runs");
    only_numbers(&comparison, "misses");
    let refused = |s: &StageComparison| s.verdict == StageVerdict::NotComparable;
    assert!(comparison.stages.iter().all(refused), "{:?}", comparison.stages[0]);
    let hits = judged(&past, &[with(92, CacheState::Hit)], "").expect("has runs");
    assert!(!hits.stages.iter().any(refused));
}

#[test]
fn five_thousand_stages_give_finite_verdict() {
    let large = |n: u32| {
        let name = |i: i64| format!("ci / job {} / step {i}", i % 50);
        let mut stages = vec![stage("ci", 0.0, 5_000.0)];
        stages.extend((0..4_999).map(|i| stage(&name(i), 0.0, 1.0 + 0.01 * f64::from(n * 7 % 5))));
        run(n, stages)
    };
    let past = Baseline::of_files((0..12).map(large).collect());
    only_numbers(&judged(&past, &[large(90), large(91)], "").expect("has runs"), "5,000 stages");
}

fn model(logs: Matrix) -> DurationModel {
    let n = logs.columns();
    let within: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
    let reference_stages = ReferenceStages::new(&vec![true; n], &vec![None; n], &within);
    DurationModel::fit(&Observations {
        logs,
        clock_s: vec![0.001; n],
        rare_state: vec![None; n],
        reference_stages,
        ablation: Ablation::ALL,
    })
}

/// All results for new runs in which every stage takes `new`.
fn results(model: &DurationModel, new: f64) -> Vec<f64> {
    let stages = model.stages();
    let run = NewRun { logs: vec![new; stages], rare_state: vec![f64::NAN; stages] };
    let deviations = model.deviations(&vec![run; MAX_BLOCK]);
    let family = HypothesisFamily::new(model, (0..stages).collect());
    let mut results: Vec<f64> = deviations.iter().map(|run| run.runner_speed).collect();
    for column in 0..stages {
        for block in [1, 2, 4, MAX_BLOCK] {
            let all = deviations[..block].iter().map(|run| run.of_stages[column]);
            let samples: Vec<f64> = all.filter(|sample| sample.is_finite()).collect();
            for direction in [Direction::Slower, Direction::Faster] {
                if let Some(found) = family.judge(model, column, &samples, direction) {
                    let evidence = found.evidence;
                    results.extend([evidence.ln_ratio, evidence.shift, found.probability, found.threshold]);
                }
            }
        }
    }
    results
}

#[test]
fn extreme_table_gives_finite_results() {
    type Log = fn(usize, usize) -> f64;
    let noise: Log = |run, stage| 3.0 + 0.01 * f64::from(u32::try_from(run * 7 % 11 + stage).unwrap_or(0));
    let table: [(&str, Log); 9] = [
        ("nothing", |_, _| f64::NAN),
        ("equal", |_, _| 2.0),
        ("usual", noise),
        ("one value", |run, stage| if run == 2 && stage == 1 { 3.0 } else { f64::NAN }),
        ("half is missing", |run, stage| if (run + stage).is_multiple_of(2) { f64::NAN } else { 3.0 }),
        ("far apart", |run, stage| if (run + stage).is_multiple_of(3) { 43.0 } else { -20.0 }),
        ("one infinite", |run, stage| if run == 7 && stage == 0 { f64::INFINITY } else { 1.0 }),
        ("one of no time", |run, stage| if run == 7 && stage == 0 { f64::NEG_INFINITY } else { 1.0 }),
        ("one far away", |run, stage| if run == 7 && stage == 0 { 43.0 } else { 1.0 }),
    ];
    for (name, log) in table {
        for (runs, stages) in [(0, 0), (0, 3), (1, 1), (5, 3), (12, 20), (40, 1), (40, 5)] {
            let mut logs = Matrix::filled(runs, stages, 0.0);
            for run in 0..runs {
                (0..stages).for_each(|stage| logs.set(run, stage, log(run, stage)));
            }
            let model = model(logs);
            for new in [0.0, 3.0, 43.0, -20.0, 700.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let numbers = results(&model, new);
                assert!(
                    numbers.iter().all(|n| n.is_finite()),
                    "{name}, {runs} x {stages}, {new}: {numbers:?}"
                );
            }
        }
    }
}

#[test]
fn hundred_thousand_samples_give_finite_threshold() {
    let mut rng = Lcg::new(5);
    let mut logs = Matrix::filled(100_000, 1, 0.0);
    (0..100_000).for_each(|run| logs.set(run, 0, 4.0 + 0.1 * rng.normal()));
    let model = model(logs);
    let family = HypothesisFamily::new(&model, vec![0]);
    let found = family.judge(&model, 0, &[0.6, 0.7], Direction::Slower).expect("a member");
    assert!(found.is_rare() && found.threshold.is_finite(), "{found:?}");
}
