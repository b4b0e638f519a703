//! Properties of the decision that hold for all data: order, units and unrelated stages change nothing,
//! and a larger slowdown is never less severe.

use proptest::prelude::*;

use crate::gate::baseline::Baseline;
use crate::gate::duration_model::ablation::Ablation;
use crate::gate::duration_model::fit::fit;
use crate::gate::duration_model::runner_speed::ReferenceStages;
use crate::gate::duration_model::{Direction, DurationModel, NewRun, Observations};
use crate::gate::tests::fixture::{Lcg, pipeline, stage};
use crate::gate::verdict::compare::compare;

use crate::model::comparison::{RunComparison, StageVerdict};
use crate::model::policy::GatePolicy;
use crate::model::run::MeasuredRun;
use crate::stats::matrix::Matrix;

fn judged(past: Vec<MeasuredRun>, candidate: &[MeasuredRun]) -> RunComparison {
    let policy = GatePolicy::default();
    let fitted = fit(&Baseline::of_files(past), &policy);
    compare(&fitted, candidate, &"acme/my-app".parse().expect("a name"), &policy).expect("has runs")
}

/// A baseline of `runs` runs, and two runs of a change that slows `build-compile`.
fn history(seed: u64, runs: u32, slowdown: f64) -> (Vec<MeasuredRun>, Vec<MeasuredRun>) {
    let mut rng = Lcg::new(seed);
    let past = (0..runs).map(|n| pipeline(n, &mut rng, 1.0, &[])).collect();
    let slow: &[(&str, f64)] = &[("build-compile", slowdown)];
    (past, (0..2).map(|n| pipeline(90 + n, &mut rng, 1.0, slow)).collect())
}

fn verdict(comparison: &RunComparison, end: &str) -> StageVerdict {
    let found = comparison.stages.iter().find(|s| s.path.join(" / ").ends_with(end));
    found.expect("the stage").verdict
}

fn severity(verdict: StageVerdict) -> u8 {
    match verdict {
        StageVerdict::Regressed => 2,
        StageVerdict::Suspect => 1,
        _ => 0,
    }
}

fn shuffle<T>(list: &mut [T], rng: &mut Lcg) {
    for i in (1..list.len()).rev() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position")]
        list.swap(i, (rng.uniform() * crate::stats::count(i)).round() as usize);
    }
}

/// Results for five leaves over 30 runs and two runs with a leaf 30% slower, in another `unit`.
fn evidence_in(unit: f64, seed: u64) -> Vec<f64> {
    let mut rng = Lcg::new(seed);
    let mut row = || (0..5).map(|i| f64::from(3 + i) + 0.1 * rng.normal() + unit.ln()).collect::<Vec<f64>>();
    let mut logs = Matrix::filled(30, 5, 0.0);
    (0..30).for_each(|run| logs.row_mut(run).copy_from_slice(&row()));
    let within: Vec<Vec<usize>> = (0..5).map(|i| vec![i]).collect();
    let (clock_s, rare_state) = (vec![0.001; 5], vec![None; 5]);
    let reference_stages = ReferenceStages::new(&[true; 5], &[None; 5], &within);
    let model = DurationModel::fit(&Observations {
        logs,
        clock_s,
        rare_state,
        reference_stages,
        ablation: Ablation::ALL,
    });
    let mut new = |_| {
        let mut logs = row();
        logs[2] += 0.3;
        NewRun { logs, rare_state: vec![f64::NAN; 5] }
    };
    let deviations = model.deviations(&[0, 1].map(&mut new));
    let mut numbers: Vec<f64> = deviations.iter().flat_map(|run| run.of_stages.clone()).collect();
    for column in 0..5 {
        let samples: Vec<f64> = deviations.iter().map(|run| run.of_stages[column]).collect();
        numbers.push(model.evidence(column, &samples, Direction::Slower).ln_ratio);
    }
    numbers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_changes_nothing(seed in 0_u64..1000, slowdown in 1.0_f64..3.0) {
        let (mut past, mut candidate) = history(seed, 30, slowdown);
        let before = judged(past.clone(), &candidate);
        let mut rng = Lcg::new(seed + 1);
        shuffle(&mut past, &mut rng);
        past.iter_mut().chain(&mut candidate).for_each(|run| shuffle(&mut run.stages, &mut rng));
        prop_assert_eq!(before, judged(past, &candidate));
    }

    #[test]
    fn unit_of_time_changes_nothing(seed in 0_u64..1000, unit in 0.5_f64..1000.0) {
        for (a, b) in evidence_in(1.0, seed).iter().zip(evidence_in(unit, seed)) {
            prop_assert!((a - b).abs() < 1e-9, "{} is not {}", a, b);
        }
    }

    #[test]
    fn larger_slowdown_is_never_less_severe(seed in 0_u64..1000, less in 1.0_f64..4.0, more in 1.0_f64..100.0) {
        let severity = |slowdown: f64| {
            let (past, candidate) = history(seed, 30, slowdown);
            severity(verdict(&judged(past, &candidate), "build-compile"))
        };
        let (a, b) = (severity(less), severity(less * more));
        prop_assert!(a <= b, "{} turns into {}", a, b);
    }

    #[test]
    fn unrelated_stage_changes_no_clear_verdict(seed in 0_u64..1000, seconds in 1.0_f64..100.0) {
        let (mut past, mut candidate) = history(seed, 30, 4.0);
        let before = judged(past.clone(), &candidate);
        let mut rng = Lcg::new(seed + 1);
        for run in past.iter_mut().chain(&mut candidate) {
            run.stages.push(stage("ci / docs", 0.0, seconds * (0.3 * rng.normal()).exp()));
        }
        let after = judged(past, &candidate);
        for comparison in [&before, &after] {
            prop_assert_eq!(verdict(comparison, "build-compile"), StageVerdict::Regressed);
        }
        let clear = before.stages.iter().filter(|s| s.verdict == StageVerdict::Pass && s.probability > Some(0.5));
        for stage in clear {
            prop_assert_eq!(verdict(&after, &stage.path.join(" / ")), StageVerdict::Pass);
        }
    }
}
