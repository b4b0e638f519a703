//! The whole decision on realistic pipelines: slowed stages are found, unchanged ones are not, and no
//! data makes it fail.

use proptest::prelude::*;
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::gate::baseline::Baseline;
use crate::gate::duration_model::fit::{FittedBaseline, fit};
use crate::gate::duration_model::multiple_testing::ALPHA;
use crate::gate::tests::fixture::{LEAVES, Lcg, lay_out, pipeline, run, stage};
use crate::gate::verdict::aggregate::aggregate;
use crate::gate::verdict::compare::compare;
use crate::model::comparison::{RunComparison, RunVerdict, StageComparison, StageVerdict};
use crate::model::environment::RunnerClass;
use crate::model::note::Note;
use crate::model::policy::GatePolicy;
use crate::model::reason::{Confirmation, StageFact};
use crate::model::run::{MeasuredRun, RunResult};
use crate::model::stage::StageKey;
use crate::stats::robust::median_of;

fn baseline(runs: u32, rng: &mut Lcg) -> Baseline {
    Baseline::of_files((0..runs).map(|n| pipeline(n, rng, 1.0, &[])).collect())
}

fn fitted(runs: u32, rng: &mut Lcg) -> FittedBaseline {
    fit(&baseline(runs, rng), &GatePolicy::default())
}

fn judged(fitted: &FittedBaseline, candidate: &[MeasuredRun], policy: &str) -> RunComparison {
    let policy = GatePolicy::from_yaml(policy).expect("a policy");
    compare(fitted, candidate, &"acme/my-app".parse().expect("a name"), &policy).expect("has runs")
}

/// The first stage whose path ends with `end`.
fn find<'a>(comparison: &'a RunComparison, end: &str) -> &'a StageComparison {
    comparison.stages.iter().find(|s| s.path.join(" / ").ends_with(end)).expect(end)
}

const SLOW: &[(&str, f64)] = &[("test-integration", 1.6)];

#[test]
fn confirmed_slowdown_is_one_finding() {
    let mut rng = Lcg::new(1);
    let fitted = fitted(40, &mut rng);
    let candidate = [pipeline(90, &mut rng, 1.0, SLOW), pipeline(91, &mut rng, 1.0, SLOW)];
    let comparison = judged(&fitted, &candidate, "");
    assert_eq!(comparison.verdict, RunVerdict::Regressed);
    let culprit = &comparison.stages[0];
    assert_eq!(culprit.path.join(" / "), "ci / test / test-integration", "findings come first");
    assert_eq!((&culprit.verdict, culprit.samples, culprit.critical), (&StageVerdict::Regressed, 2, true));
    assert!((1.35..1.9).contains(&culprit.ratio.expect("judged")), "{culprit:?}");
    assert!(culprit.score > culprit.threshold);
    let [StageFact::Judged(summary)] = &culprit.reason[..] else { panic!("{culprit:?}") };
    assert_eq!((culprit.baseline_samples, summary.samples), (40, 2));
    assert_eq!(summary.confirmation, Confirmation::Confirmed);
    assert_eq!((culprit.history_s.len(), culprit.history_candidates), (42, 2));
    assert_eq!(find(&comparison, "ci / test").explained_by.as_ref(), Some(&culprit.key));
    let findings =
        comparison.stages.iter().filter(|s| s.verdict == StageVerdict::Regressed && s.explained_by.is_none());
    assert_eq!(findings.count(), 1);
}

#[test]
fn parents_are_explained_by_responsible_stage() {
    let mut rng = Lcg::new(11);
    let fitted = fitted(40, &mut rng);
    let slow: &[(&str, f64)] = &[("test-integration", 2.5)];
    let candidate = [pipeline(90, &mut rng, 1.0, slow), pipeline(91, &mut rng, 1.0, slow)];
    let comparison = judged(&fitted, &candidate, "");
    let regressed: Vec<(String, Option<&str>)> = comparison
        .stages
        .iter()
        .filter(|s| s.verdict == StageVerdict::Regressed)
        .map(|s| (s.path.join(" / "), s.explained_by.as_ref().map(StageKey::as_str)))
        .collect();
    let culprit = Some("v1|ci / test / test-integration");
    let expected = [("ci / test / test-integration", None), ("ci", culprit), ("ci / test", culprit)];
    assert_eq!(regressed, expected.map(|(path, by)| (path.to_owned(), by)));
}

#[test]
fn one_sample_is_suspect_until_next_normal() {
    let mut rng = Lcg::new(2);
    let fitted = fitted(40, &mut rng);
    let normal = |rng: &mut Lcg, n| pipeline(n, rng, 1.0, &[]);
    let once = [normal(&mut rng, 90), pipeline(91, &mut rng, 1.0, SLOW)];
    let comparison = judged(&fitted, &once, "");
    assert_eq!(comparison.verdict, RunVerdict::Suspect);
    assert_eq!(find(&comparison, "test-integration").verdict, StageVerdict::Suspect);
    let answered = [pipeline(92, &mut rng, 1.0, SLOW), normal(&mut rng, 93)];
    assert_eq!(
        judged(&fitted, &answered, "").verdict,
        RunVerdict::Pass,
        "a normal run contradicts the suspicion"
    );
    let three = "confirm: {samples: 3, rerun: false}";
    let twice = [pipeline(94, &mut rng, 1.0, SLOW), pipeline(95, &mut rng, 1.0, SLOW)];
    assert_eq!(judged(&fitted, &twice, three).verdict, RunVerdict::Suspect);
}

#[test]
fn slow_runner_makes_no_slow_stage() {
    let slow_everywhere = |seed: u64| {
        let fitted = fitted(40, &mut Lcg::new(seed));
        let mut rng = Lcg::new(100 + seed);
        let mut steady = |n| {
            let seconds: Vec<f64> =
                LEAVES.iter().map(|(_, s)| s * 1.3 * (0.08 * rng.normal()).exp()).collect();
            run(n, lay_out(&seconds))
        };
        judged(&fitted, &[steady(90), steady(91)], "")
    };
    let comparisons: Vec<RunComparison> = (0..60).map(slow_everywhere).collect();
    let with = |verdict| comparisons.iter().filter(|c| c.verdict == verdict).count();
    // About one in forty may be confirmed by chance, and a few more suspect.
    assert!(with(RunVerdict::Regressed) <= 3, "{}", with(RunVerdict::Regressed));
    assert!(with(RunVerdict::Pass) >= 54, "{}", with(RunVerdict::Pass));
    let factor = median_of(comparisons.iter().filter_map(|c| c.runner_factor)).expect("has a baseline");
    assert!((1.26..1.34).contains(&factor), "{factor}");
}

#[test]
fn short_history_suspects_without_confirming() {
    for (runs, expected) in [(24, StageVerdict::Suspect), (25, StageVerdict::Regressed)] {
        let mut rng = Lcg::new(5);
        let fitted = fitted(runs, &mut rng);
        let slow: &[(&str, f64)] = &[("test-integration", 2.5)];
        let candidate = [pipeline(90, &mut rng, 1.0, slow), pipeline(91, &mut rng, 1.0, slow)];
        let comparison = judged(&fitted, &candidate, "");
        let culprit = find(&comparison, "test-integration");
        assert_eq!(culprit.verdict, expected, "{runs} runs: {:?}", culprit.reason);
    }
}

#[test]
fn too_little_history_is_inconclusive_with_reason() {
    let mut rng = Lcg::new(4);
    for runs in [0, 5, 9] {
        let fitted = fitted(runs, &mut rng);
        let candidate = [pipeline(90, &mut rng, 1.0, SLOW), pipeline(91, &mut rng, 1.0, SLOW)];
        let comparison = judged(&fitted, &candidate, "");
        assert_eq!(comparison.verdict, RunVerdict::Inconclusive);
        let stage = find(&comparison, "test-integration");
        let [StageFact::ShortHistory { runs: counted, needed: 10, .. }] = stage.reason[..] else {
            panic!("{stage:?}")
        };
        assert_eq!((stage.verdict, counted), (StageVerdict::Inconclusive, runs as usize));
        assert_eq!(stage.ratio.is_some(), runs > 0, "the ratio is shown all the same");
    }
}

/// How many unchanged pull requests of two runs have a confirmed alarm, and how many have any.
fn alarms(requests: u64, runs: u32) -> (usize, usize) {
    let mut counts = (0, 0);
    for seed in 0..requests {
        let mut rng = Lcg::new(seed);
        let fitted = fitted(runs, &mut rng);
        let candidate = [pipeline(900, &mut rng, 1.0, &[]), pipeline(901, &mut rng, 1.0, &[])];
        match judged(&fitted, &candidate, "").verdict {
            RunVerdict::Regressed => counts = (counts.0 + 1, counts.1 + 1),
            RunVerdict::Suspect => counts.1 += 1,
            _ => {}
        }
    }
    counts
}

/// Nominal: the decisions of a pull request share `ALPHA`, and one on two samples together gets a third
/// of it. The number of alarms of independent pull requests is binomial. Measured: 0 of 200, where 0 to
/// 7 are within the interval.
#[test]
fn unchanged_pull_requests_rarely_alarm() {
    let (confirmed, any) = alarms(200, 40);
    let nominal = Binomial::new(ALPHA / 3.0, 200).expect("a probability");
    let interval = nominal.inverse_cdf(0.0005)..=nominal.inverse_cdf(0.9995);
    assert!(interval.contains(&(confirmed as u64)), "{confirmed} of 200, nominally {interval:?}");
    assert!(any <= 30, "{any} of 200");
}

#[test]
fn improvement_is_reported_when_confirmed() {
    let mut rng = Lcg::new(6);
    let fitted = fitted(40, &mut rng);
    let fast: &[(&str, f64)] = &[("test-integration", 0.5)];
    let one = [pipeline(90, &mut rng, 1.0, fast)];
    assert_eq!(judged(&fitted, &one, "").verdict, RunVerdict::Pass);
    let two = [pipeline(90, &mut rng, 1.0, fast), pipeline(91, &mut rng, 1.0, fast)];
    let comparison = judged(&fitted, &two, "");
    assert_eq!(comparison.verdict, RunVerdict::Improved);
    assert_eq!(find(&comparison, "test-integration").verdict, StageVerdict::Improved);
}

#[test]
fn order_of_stages_and_runs_changes_nothing() {
    let mut rng = Lcg::new(7);
    let mut past = baseline(40, &mut rng).runs;
    let mut candidate = vec![pipeline(90, &mut rng, 1.0, SLOW), pipeline(91, &mut rng, 1.0, SLOW)];
    let before = judged(&fit(&Baseline::of_files(past.clone()), &GatePolicy::default()), &candidate, "");
    past.reverse();
    past.iter_mut().chain(&mut candidate).for_each(|r| r.stages.reverse());
    let after = judged(&fit(&Baseline::of_files(past), &GatePolicy::default()), &candidate, "");
    let essence = |c: &RunComparison| -> Vec<(String, StageVerdict, Option<String>, String)> {
        let by = |s: &StageComparison| s.explained_by.as_ref().map(ToString::to_string);
        c.stages
            .iter()
            .map(|s| (s.key.to_string(), s.verdict, by(s), format!("{:.3?} {:.3?}", s.ratio, s.reason)))
            .collect()
    };
    assert_eq!(essence(&before), essence(&after));
    assert_eq!(before.wall_clock, after.wall_clock);
}

#[test]
fn larger_slowdown_never_passes_again() {
    for seed in 0..10 {
        let mut rng = Lcg::new(50 + seed);
        let fitted = fitted(40, &mut rng);
        let rank = |factor: f64| {
            let mut rng = Lcg::new(7_000 + seed);
            let slow: &[(&str, f64)] = &[("build-compile", factor)];
            let candidate = [pipeline(90, &mut rng, 1.0, slow), pipeline(91, &mut rng, 1.0, slow)];
            match find(&judged(&fitted, &candidate, ""), "build-compile").verdict {
                StageVerdict::Regressed => 2,
                StageVerdict::Suspect => 1,
                _ => 0,
            }
        };
        let ranks: Vec<i32> = [1.0, 1.1, 1.2, 1.4, 1.7, 2.0, 3.0, 10.0, 1e3, 1e6].map(rank).to_vec();
        assert!(ranks.windows(2).all(|w| w[0] <= w[1]), "seed {seed}: {ranks:?}");
        assert_eq!(ranks.last(), Some(&2));
    }
}

#[test]
fn incomparable_stages_are_not_judged() {
    let mut rng = Lcg::new(8);
    let mut past = baseline(40, &mut rng).runs;
    let fitted_past = fit(&Baseline::of_files(past.clone()), &GatePolicy::default());
    let mut failing = pipeline(90, &mut rng, 1.0, SLOW);
    failing.run.result = RunResult::Failure;
    failing.stages.retain(|s| !s.path.join(" / ").contains("deploy"));
    for stage in failing.stages.iter_mut().filter(|s| s.path.join(" / ").ends_with("test-integration")) {
        stage.result = RunResult::Failure;
    }
    failing.stages.push(stage("ci / test / brand-new", 0.0, 50.0));
    let comparison = judged(&fitted_past, &[failing.clone()], "");
    let verdict = |end: &str| find(&comparison, end).verdict.as_str();
    assert_eq!(
        [verdict("test-integration"), verdict("ci / deploy"), verdict("brand-new")],
        ["not_comparable", "not_comparable", "new"]
    );
    failing.run.result = RunResult::Success;
    assert_eq!(find(&judged(&fitted_past, &[failing], ""), "ci / deploy").verdict, StageVerdict::Removed);
    for r in &mut past {
        r.run.runner = RunnerClass { os: Some("linux".into()), ..RunnerClass::default() };
    }
    let elsewhere = judged(
        &fit(&Baseline::of_files(past), &GatePolicy::default()),
        &[pipeline(95, &mut rng, 1.0, SLOW)],
        "",
    );
    assert_eq!(elsewhere.verdict, RunVerdict::Inconclusive);
    assert!(
        elsewhere
            .stages
            .iter()
            .filter(|s| s.candidate_s.is_some())
            .all(|s| s.verdict.as_str() == "not_comparable")
    );
}

#[test]
fn policy_sets_ignored_stages_budgets_and_floors() {
    let mut rng = Lcg::new(9);
    let fitted = fitted(40, &mut rng);
    let slow = [pipeline(90, &mut rng, 1.0, SLOW), pipeline(91, &mut rng, 1.0, SLOW)];
    let ignored = judged(
        &fitted,
        &slow,
        "stages: [{match: \"ci\", ignore: true}, {match: \"ci / test\", ignore: true}, {match: \"ci / test / **\", ignore: true}]",
    );
    assert_eq!(ignored.verdict, RunVerdict::Pass);
    assert!(matches!(ignored.notes[..], [Note::StagesIgnored { .. }]), "{:?}", ignored.notes);
    let floors = judged(&fitted, &slow, "defaults: {min_ratio: 3.0}");
    assert_eq!(floors.verdict, RunVerdict::Pass);
    let normal = [pipeline(92, &mut rng, 1.0, &[]), pipeline(93, &mut rng, 1.0, &[])];
    let budget = "stages: [{match: \"ci / build / build-compile\", budget: 10s}]";
    let over = judged(&fitted, &normal, budget);
    assert_eq!(over.verdict, RunVerdict::Regressed);
    let [StageFact::OverBudget { budget_s, samples, .. }] = over.stages[0].reason[..] else {
        panic!("{:?}", over.stages[0].reason)
    };
    assert_eq!((budget_s, samples), (10.0, 2));
    assert_eq!(judged(&fitted, &normal[1..], budget).verdict, RunVerdict::Suspect);
    let without_history = judged(
        &crate::gate::duration_model::fit::fit(&Baseline::default(), &GatePolicy::default()),
        &normal,
        budget,
    );
    assert_eq!(without_history.verdict, RunVerdict::Regressed, "a budget needs no history");
}

#[test]
fn equal_samples_neither_hide_nor_inflate() {
    let seconds: Vec<f64> = LEAVES.iter().map(|(_, s)| *s).collect();
    let past = (0..30).map(|n| run(n, lay_out(&seconds))).collect();
    let fitted = fit(&Baseline::of_files(past), &GatePolicy::default());
    let with = |factor: f64| {
        let mut changed = seconds.clone();
        changed[5] *= factor;
        judged(&fitted, &[run(90, lay_out(&changed)), run(91, lay_out(&changed))], "").verdict
    };
    assert_eq!(
        (with(1.0), with(1.05), with(1.3)),
        (RunVerdict::Pass, RunVerdict::Pass, RunVerdict::Regressed)
    );
}

#[test]
fn largest_runs_are_judged_quickly() {
    // Work that grew with the square of the stages would be 10^11 steps here.
    let large = |n: u32| {
        let mut stages = vec![stage("ci", 0.0, 5_000.0)];
        stages
            .extend((0..4_999).map(|i| stage(&format!("ci / job {} / step {i}", i % 50), f64::from(i), 1.0)));
        run(n, stages)
    };
    let fitted = fit(&Baseline::of_files((0..20).map(large).collect()), &GatePolicy::default());
    assert_eq!(judged(&fitted, &[large(90), large(91)], "").stages.len(), 5_000);
}

#[test]
fn pipelines_of_one_commit_are_aggregated() {
    let mut rng = Lcg::new(10);
    let fitted = fitted(40, &mut rng);
    let slow = judged(&fitted, &[pipeline(90, &mut rng, 1.0, SLOW), pipeline(91, &mut rng, 1.0, SLOW)], "");
    let empty = fit(&Baseline::default(), &GatePolicy::default());
    let mut other = run(92, vec![stage("docs", 0.0, 3.0)]);
    other.run.notes.push(Note::TailSampled);
    let unknown = judged(&empty, &[other], "");
    let joined = aggregate(vec![unknown.clone(), slow.clone()]).expect("has some");
    assert_eq!((joined.verdict, joined.baseline.runs), (RunVerdict::Regressed, 40));
    assert_eq!(joined.stages.len(), slow.stages.len() + 1);
    assert_eq!(joined.stages[0].key, slow.stages[0].key);
    assert_eq!(joined.wall_clock, slow.wall_clock);
    assert_eq!(joined.notes, [Note::TailSampled]);
    assert_eq!(aggregate(vec![]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn extreme_numbers_are_survived(
        past in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0_i64), Just(1), Just(1_000_000_000), Just(i64::MAX), Just(1_000_000_000_000_000), any::<i64>()], 4), 0..30),
        now in prop::collection::vec(prop_oneof![Just(0_i64), Just(i64::MAX), any::<i64>()], 4),
    ) {
        let measured = |n: u32, durations: &[i64]| {
            let names = ["ci", "ci / a", "ci / a / b", "ci / c"];
            let stages = names.iter().zip(durations).map(|(name, d)| {
                let mut sample = stage(name, 0.0, 1.0);
                (sample.duration_ns, sample.end_offset_ns) = (*d, *d);
                sample
            });
            run(n, stages.collect())
        };
        let runs = past.iter().zip(0..).map(|(d, n)| measured(n, d)).collect();
        let fitted = fit(&Baseline::of_files(runs), &GatePolicy::default());
        let comparison = judged(&fitted, &[measured(90, &now), measured(91, &now)], "");
        for stage in &comparison.stages {
            for value in [stage.ratio, stage.increase_s, stage.score, stage.threshold, stage.candidate_s].into_iter().flatten() {
                prop_assert!(value.is_finite(), "{stage:?}");
            }
        }
    }
}

/// A base branch whose compiler step took 1.5 times as long for its last eight runs.
fn after_a_lasting_change(rng: &mut Lcg) -> Vec<MeasuredRun> {
    let slow: &[(&str, f64)] = &[("build-compile", 1.5)];
    (0..40).map(|n| pipeline(n, rng, 1.0, if n < 32 { &[] } else { slow })).collect()
}

#[test]
fn baseline_follows_lasting_change_of_base_branch() {
    let verdict_at = |seed: u64, factor: f64| {
        let mut rng = Lcg::new(seed);
        let fitted = fit(&Baseline::of_files(after_a_lasting_change(&mut rng)), &GatePolicy::default());
        let slow: &[(&str, f64)] = &[("build-compile", factor)];
        let candidate = [pipeline(90, &mut rng, 1.0, slow), pipeline(91, &mut rng, 1.0, slow)];
        find(&judged(&fitted, &candidate, ""), "build-compile").verdict
    };
    let of_twenty =
        |factor, verdict| (0..20).filter(|seed| verdict_at(200 + seed, factor) == verdict).count();
    assert!(of_twenty(1.5, StageVerdict::Regressed) <= 1, "unchanged against its present level");
    assert!(of_twenty(1.5 * 1.6, StageVerdict::Regressed) >= 17);
}
