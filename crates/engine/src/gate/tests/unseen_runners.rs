//! Runners that are faster or slower than all of the baseline's.

use crate::gate::baseline::Baseline;
use crate::gate::duration_model::fit::fit;
use crate::gate::tests::fixture::{LEAVES, Lcg, lay_out, run, stage};
use crate::gate::verdict::compare::compare;
use crate::model::comparison::{RunVerdict, StageVerdict};
use crate::model::policy::GatePolicy;
use crate::model::run::MeasuredRun;

#[test]
fn unseen_runner_makes_no_slow_stage() {
    let confirmed = |factor: f64| {
        let judged_on_it = |seed: u64| {
            let mut rng = Lcg::new(400 + seed);
            // Runners that hardly vary give no information about the stages' exposure.
            let mut steady = |n: u32, factor: f64| {
                let speed = factor * (0.02 * rng.normal()).exp();
                let seconds: Vec<f64> =
                    LEAVES.iter().map(|(_, s)| s * speed * (0.06 * rng.normal()).exp()).collect();
                run(n, lay_out(&seconds))
            };
            let past = (0..60).map(|n| steady(n, 1.0)).collect();
            let candidate = [steady(90, factor), steady(91, factor)];
            let fitted = fit(&Baseline::of_files(past), &GatePolicy::default());
            let repo = "acme/my-app".parse().expect("a name");
            let comparison = compare(&fitted, &candidate, &repo, &GatePolicy::default());
            comparison.expect("has runs").verdict == RunVerdict::Regressed
        };
        (0..20).filter(|seed| judged_on_it(*seed)).count()
    };
    for factor in [0.3, 0.6, 1.5, 3.0] {
        assert!(confirmed(factor) <= 2, "x{factor}: {} of 20", confirmed(factor));
    }
}

#[test]
fn slow_stage_among_few_makes_none_fast() {
    let false_gains = |seed: u64| {
        let mut rng = Lcg::new(900 + seed);
        let mut three = |n: u32, slow: f64| {
            let runner_speed = (0.05 * rng.normal()).exp();
            let usual = [30.0 * slow, 60.0, 40.0];
            let seconds: Vec<f64> =
                usual.iter().map(|s| s * runner_speed * (0.04 * rng.normal()).exp()).collect();
            run(n, lay_out(&seconds))
        };
        let past = (0..30).map(|n| three(n, 1.0)).collect();
        let candidate = [three(90, 1.5), three(91, 1.5)];
        let fitted = fit(&Baseline::of_files(past), &GatePolicy::default());
        let repo = "acme/my-app".parse().expect("a name");
        let comparison = compare(&fitted, &candidate, &repo, &GatePolicy::default()).expect("has runs");
        comparison.stages.iter().filter(|stage| stage.verdict == StageVerdict::Improved).count()
    };
    let found: usize = (0..20).map(false_gains).sum();
    assert_eq!(found, 0, "of 20 pull requests that made one stage slower and none faster");
}

/// A run of a workflow with five steps. Two of them have thirty test cases each, all slower by the
/// factor `slow`.
fn with_cases(n: u32, rng: &mut Lcg, slow: f64) -> MeasuredRun {
    let runner_speed = (0.05 * rng.normal()).exp();
    let mut time = |usual: f64| usual * runner_speed * (0.04 * rng.normal()).exp();
    let (mut stages, mut at) = (Vec::new(), 0.0);
    for (step, usual, has_cases) in [
        ("checkout", 5.0, false),
        ("build", 60.0, false),
        ("lint", 20.0, false),
        ("unit", 40.0, true),
        ("integration", 50.0, true),
    ] {
        let path = format!("ci / test / {step}");
        let mut seconds = time(usual);
        if has_cases {
            let cases: Vec<f64> = (0..30).map(|_| time(usual / 30.0) * slow).collect();
            seconds = cases.iter().sum();
            let named = |(n, case): (usize, &f64)| stage(&format!("{path} / case {n}"), at, *case);
            stages.extend(cases.iter().enumerate().map(named));
        }
        stages.push(stage(&path, at, seconds));
        at += seconds;
    }
    stages.extend([stage("ci", 0.0, at), stage("ci / test", 0.0, at)]);
    let mut run = run(n, stages);
    run.run.workflow_path = Some(".github/workflows/ci.yml".to_owned());
    run
}

#[test]
fn parts_of_steps_do_not_set_runner_speed() {
    let found = |seed: u64| {
        let mut rng = Lcg::new(1_300 + seed);
        let past = (0..40).map(|n| with_cases(n, &mut rng, 1.0)).collect();
        let candidate = [with_cases(90, &mut rng, 1.5), with_cases(91, &mut rng, 1.5)];
        let fitted = fit(&Baseline::of_files(past), &GatePolicy::default());
        let repo = "acme/my-app".parse().expect("a name");
        let comparison = compare(&fitted, &candidate, &repo, &GatePolicy::default()).expect("has runs");
        let slow = |step: &str| {
            comparison.stages.iter().any(|stage| {
                stage.path.get(2).is_some_and(|name| name == step) && stage.verdict == StageVerdict::Regressed
            })
        };
        comparison.verdict == RunVerdict::Regressed && slow("unit") && slow("integration")
    };
    assert!((0..10).all(found), "both steps, and all of their cases, took half as much again");
}
