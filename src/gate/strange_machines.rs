//! Machines such as no baseline saw, faster and slower: tests alone.

use super::baseline::Baseline;
use super::compare::compare;
use super::fit::fit;
use super::fixture::{LEAVES, Lcg, lay_out, run};
use crate::model::comparison::{RunVerdict, StageVerdict};
use crate::model::policy::GatePolicy;

#[test]
fn a_machine_such_as_the_baseline_never_saw_is_no_slow_stage() {
    let confirmed = |factor: f64| {
        let judged_on_it = |seed: u64| {
            let mut rng = Lcg::new(400 + seed);
            // Machines that hardly vary teach nothing of how each stage follows them.
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
fn where_few_stages_testify_a_slow_one_makes_no_other_fast() {
    let false_gains = |seed: u64| {
        let mut rng = Lcg::new(900 + seed);
        let mut three = |n: u32, slow: f64| {
            let machine = (0.05 * rng.normal()).exp();
            let usual = [30.0 * slow, 60.0, 40.0];
            let seconds: Vec<f64> = usual.iter().map(|s| s * machine * (0.04 * rng.normal()).exp()).collect();
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
