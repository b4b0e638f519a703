//! Tests of structural changes on generated pipelines before and after a change.

use proptest::prelude::*;

use super::*;
use crate::gate::baseline::Baseline;
use crate::gate::duration_model::fit::{FittedBaseline, fit};
use crate::gate::tests::fixture::{LEAVES, Lcg, lay_out, run, stage};
use crate::gate::verdict::compare::compare;
use crate::model::structure::{EachTime, RenameEvidence};

fn policy(yaml: &str) -> GatePolicy {
    GatePolicy::from_yaml(yaml).expect("a policy")
}

fn at_work(text: &str, start_s: f64, seconds: f64, count: u32) -> StageSample {
    StageSample { count, ..stage(text, start_s, seconds) }
}

/// Stages as (path, start, seconds, count). The duration varies slightly between runs.
type Shape = [(&'static str, f64, f64, u32)];

fn built(n: u32, shape: &Shape) -> MeasuredRun {
    let speed = 1.0 + f64::from(n % 5) / 100.0;
    run(
        n,
        shape.iter().map(|(path, start, s, times)| at_work(path, start * speed, s * speed, *times)).collect(),
    )
}

fn compared(before: &Shape, now: &Shape, yaml: &str) -> RunComparison {
    let past = (0..40).map(|n| built(n, before)).collect();
    let policy = policy(yaml);
    let fitted = fit(&Baseline::of_files(past), &policy);
    let candidate = [built(90, now), built(91, now)];
    compare(&fitted, &candidate, &"acme/my-app".parse().expect("a name"), &policy).expect("has runs")
}

/// One line for each change.
fn summary(comparison: &RunComparison) -> Vec<String> {
    let describe = |change: &StructuralChange| {
        let path = change.path.join(" / ");
        match &change.change {
            Change::Added { within, .. } => format!("added {path} with {within}"),
            Change::Removed { within, .. } => format!("removed {path} with {within}"),
            Change::Renamed { from, .. } => format!("renamed {} to {path}", from.join(" / ")),
            Change::Reordered { sibling, now, .. } => format!("{path} {now:?} {}", sibling.join(" / ")),
            Change::Repeated(r) => format!("{path} {} of {} {:?}", r.count, r.usual_count, r.each),
        }
    };
    comparison.structure.iter().map(describe).collect()
}

const BEFORE: &Shape = &[
    ("ci", 0.0, 100.0, 1),
    ("ci / lint", 0.0, 10.0, 1),
    ("ci / build", 10.0, 40.0, 1),
    ("ci / build / compile", 10.0, 30.0, 1),
    ("ci / build / package", 40.0, 10.0, 1),
    ("ci / unit", 50.0, 30.0, 1),
    ("ci / unit / fast", 50.0, 10.0, 1),
    ("ci / unit / slow", 60.0, 20.0, 1),
    ("ci / shard", 80.0, 20.0, 4),
];

/// `BEFORE` without some stages and with others in addition.
fn shape(
    without: &[&'static str],
    with: &[(&'static str, f64, f64, u32)],
) -> Vec<(&'static str, f64, f64, u32)> {
    BEFORE.iter().filter(|s| !without.contains(&s.0)).chain(with).copied().collect()
}

#[test]
fn each_change_is_reported_once() {
    let unit = &["ci / unit", "ci / unit / fast", "ci / unit / slow"];
    for (case, now, expected) in [
        ("nothing", shape(&[], &[]), &[][..]),
        (
            "added with its parts",
            shape(&[], &[("ci / scan", 0.0, 9.0, 1), ("ci / scan / deps", 0.0, 4.0, 1)]),
            &["added ci / scan with 1"],
        ),
        (
            "added inside",
            shape(&[], &[("ci / build / sign", 50.0, 1.0, 1)]),
            &["added ci / build / sign with 0"],
        ),
        ("removed with its parts", shape(unit, &[]), &["removed ci / unit with 2"]),
        (
            "renamed by its parts",
            shape(
                unit,
                &[
                    ("ci / test", 50.0, 30.0, 1),
                    ("ci / test / fast", 50.0, 10.0, 1),
                    ("ci / test / slow", 60.0, 20.0, 1),
                ],
            ),
            &["renamed ci / unit to ci / test"],
        ),
        (
            "renamed, and something in it is new",
            shape(
                unit,
                &[
                    ("ci / unit tests", 50.0, 30.0, 1),
                    ("ci / unit tests / fast", 50.0, 10.0, 1),
                    ("ci / unit tests / slow", 60.0, 20.0, 1),
                    ("ci / unit tests / report", 80.0, 1.0, 1),
                ],
            ),
            &["renamed ci / unit to ci / unit tests", "added ci / unit tests / report with 0"],
        ),
        (
            "a leaf renamed by name, place and time",
            shape(&["ci / lint"], &[("ci / lint-all", 0.0, 10.4, 1)]),
            &["renamed ci / lint to ci / lint-all"],
        ),
        (
            "a look-alike at the same place that takes another time",
            shape(&["ci / lint"], &[("ci / lint-all", 0.0, 3.0, 1)]),
            &["added ci / lint-all with 0", "removed ci / lint with 0"],
        ),
        (
            "the same place and time under an unrelated name",
            shape(&["ci / lint"], &[("ci / audit", 0.0, 10.0, 1)]),
            &["added ci / audit with 0", "removed ci / lint with 0"],
        ),
        (
            "nearly the same name with other parts",
            shape(unit, &[("ci / units", 50.0, 30.0, 1), ("ci / units / convert", 50.0, 29.0, 1)]),
            &["added ci / units with 1", "removed ci / unit with 2"],
        ),
        (
            "more often, each as before",
            shape(&["ci / shard"], &[("ci / shard", 80.0, 45.0, 9)]),
            &["ci / shard 9 of 4 AsBefore"],
        ),
        (
            "more often, each longer",
            shape(&["ci / shard"], &[("ci / shard", 80.0, 90.0, 9)]),
            &["ci / shard 9 of 4 Longer"],
        ),
        (
            "moved behind",
            shape(&["ci / lint"], &[("ci / lint", 102.0, 10.0, 1)]),
            &["ci / lint After ci / shard"],
        ),
        ("moved beside: no order", shape(&["ci / lint"], &[("ci / lint", 20.0, 75.0, 1)]), &[]),
    ] {
        assert_eq!(summary(&compared(BEFORE, &now, "")), expected, "{case}");
    }
}

#[test]
fn rename_has_evidence_and_alias() {
    let now = shape(&["ci / lint"], &[("ci / lint-all", 0.0, 10.4, 1)]);
    let comparison = compared(BEFORE, &now, "");
    let Change::Renamed { evidence, alias, .. } = &comparison.structure[0].change else { panic!("renamed") };
    // 2 * |{li, in, nt}| / (3 + 7): lint, "lint all"
    assert_eq!(
        evidence.iter().map(std::mem::discriminant).collect::<Vec<_>>(),
        [
            RenameEvidence::SamePlace,
            RenameEvidence::SameTime { took_s: 0.0, usual_s: 0.0 },
            RenameEvidence::SimilarNames { similarity: 0.0 }
        ]
        .each_ref()
        .map(std::mem::discriminant)
    );
    assert_eq!(evidence[2], RenameEvidence::SimilarNames { similarity: 0.6 });
    let alias = alias.as_ref().expect("names that a policy can express");
    let yaml = format!("aliases: [{{from: \"{}\", to: \"{}\"}}]", alias.from, alias.to);
    let kept = compared(BEFORE, &now, &yaml);
    assert_eq!(summary(&kept), [""; 0], "the alias resolves the rename");
    let new = comparison.stages.iter().find(|s| s.path.join(" / ") == "ci / lint-all").expect("is there");
    assert_eq!(new.reason, [StageFact::NotInBaseline, StageFact::Renamed { from: "lint".into() }]);
    assert_eq!(alias_of("a / b", "c"), None, "a name with the separator in it");
}

fn alias_of(from: &str, to: &str) -> Option<Alias> {
    alias(&[from.to_owned()], &[to.to_owned()])
}

#[test]
fn ambiguous_renames_are_not_proposed() {
    let before = &[("ci", 0.0, 40.0, 1), ("ci / test (a)", 0.0, 20.0, 1), ("ci / test (b)", 0.0, 20.0, 1)];
    let now = &[("ci", 0.0, 40.0, 1), ("ci / test (c)", 0.0, 20.0, 1), ("ci / test (d)", 0.0, 20.0, 1)];
    let comparison = compared(before, now, "");
    assert!(summary(&comparison).iter().all(|t| !t.starts_with("renamed")), "{:?}", summary(&comparison));
    assert_eq!(comparison.structure.len(), 4);
}

#[test]
fn order_of_matrix_jobs_is_ignored() {
    let matrix = |n: u32, more: bool| {
        let mut rng = Lcg::new(u64::from(n));
        let mut stages = vec![stage("ci", 0.0, 60.0)];
        let versions = ["18", "20", "22", "24"];
        for version in &versions[..if more { 4 } else { 3 }] {
            let path = format!("ci / test (node {version})");
            let start = 5.0 * rng.uniform();
            stages.push(stage(&path, start, 30.0 + rng.uniform()));
            stages.push(stage(&format!("{path} / unit"), start, 20.0 + rng.uniform()));
        }
        run(n, stages)
    };
    let fitted = fit(&Baseline::of_files((0..40).map(|n| matrix(n, false)).collect()), &policy(""));
    let name = "acme/my-app".parse().expect("a name");
    for n in 90..110 {
        let comparison = compare(&fitted, &[matrix(n, true)], &name, &policy("")).expect("has a run");
        assert_eq!(summary(&comparison), ["added ci / test (node 24) with 1"]);
    }
}

#[test]
fn reason_of_flagged_stage_names_more_work() {
    let runs = |n: u32, rng: &mut Lcg, times: u32| {
        let seconds: Vec<f64> = LEAVES.iter().map(|(_, s)| s * (1.0 + 0.03 * rng.normal())).collect();
        let mut stages = lay_out(&seconds);
        let each = 2.0 * (1.0 + 0.02 * rng.normal());
        stages.push(at_work("ci / case", 0.0, each * f64::from(times), times));
        run(n, stages)
    };
    let mut rng = Lcg::new(3);
    let past = (0..40).map(|n| runs(n, &mut rng, 10)).collect();
    let fitted = fit(&Baseline::of_files(past), &policy(""));
    let candidate = [runs(90, &mut rng, 22), runs(91, &mut rng, 22)];
    let name = "acme/my-app".parse().expect("a name");
    let comparison = compare(&fitted, &candidate, &name, &policy("")).expect("has runs");
    let case = comparison.stages.iter().find(|s| s.path.join(" / ") == "ci / case").expect("is there");
    assert_eq!(case.verdict, StageVerdict::Regressed, "more work takes longer all the same");
    let [StageFact::Judged(_), StageFact::Repeated(repetition)] = &case.reason[..] else {
        panic!("{case:?}")
    };
    assert_eq!((repetition.count, repetition.each), (22, EachTime::AsBefore));
    assert!((repetition.usual_count - 10.0).abs() < 1e-12, "{repetition:?}");
}

#[test]
fn short_history_or_failed_run_limits_changes() {
    let now = shape(&["ci / unit"], &[("ci / scan", 0.0, 9.0, 1)]);
    let few = |n| fit(&Baseline::of_files((0..n).map(|n| built(n, BEFORE)).collect()), &policy(""));
    let name = "acme/my-app".parse().expect("a name");
    let of = |fitted: &FittedBaseline, run: MeasuredRun| {
        summary(&compare(fitted, &[run], &name, &policy("")).expect("has a run"))
    };
    assert_eq!(of(&few(2), built(90, &now)), [""; 0]);
    let mut failed = built(90, &now);
    failed.run.result = RunResult::Failure;
    assert_eq!(of(&few(40), failed), ["added ci / scan with 0"]);
    let ignored = "stages: [{match: \"ci / scan\", ignore: true}]";
    assert!(!summary(&compared(BEFORE, &now, ignored)).iter().any(|t| t.contains("scan")));
}

/// A comparison with one wait for a runner in all baseline runs and another in the newest.
fn queued(usual_s: f64, now_s: f64) -> RunComparison {
    let waited = |n: u32, wait: f64| {
        let mut stages = vec![stage("ci", 0.0, 50.0), stage("ci / test", 0.0, 50.0)];
        stages.push(StageSample { kind: StageKind::Queue, ..stage("ci / test / queue-test", 0.0, wait) });
        stages.push(stage("ci / test / unit", wait, 50.0 + f64::from(n % 3)));
        run(n, stages)
    };
    let past = (0..40).map(|n| waited(n, usual_s)).collect();
    let fitted = fit(&Baseline::of_files(past), &policy(""));
    let name = "acme/my-app".parse().expect("a name");
    compare(&fitted, &[waited(90, now_s), waited(91, now_s)], &name, &policy("")).expect("has runs")
}

#[test]
fn wait_for_runner_is_only_noted() {
    let comparison = queued(12.0, 190.0);
    assert_eq!(comparison.verdict, crate::model::comparison::RunVerdict::Pass);
    let wait = comparison.stages.iter().find(|s| s.path.ends_with(&["queue-test".into()])).expect("is there");
    assert_eq!(wait.verdict.as_str(), "not_comparable");
    assert_eq!(wait.reason, [StageFact::Waiting]);
    assert_eq!(
        (wait.candidate_s, wait.baseline_median_s, wait.baseline_samples),
        (Some(190.0), Some(12.0), 40)
    );
    assert_eq!(
        comparison.notes,
        [Note::LongWait { stage: "test / queue-test".into(), took_s: 190.0, usual_s: 12.0, more: 0 }]
    );
    assert_eq!(summary(&comparison), [""; 0]);
    for (usual, now) in [(12.0, 41.0), (300.0, 500.0)] {
        assert_eq!(queued(usual, now).notes, [], "{now} after {usual} is not reported");
    }
}

#[test]
fn huge_numbers_of_stages_are_bounded() {
    // Work in the product of both sides would be 25 million comparisons of names.
    let wide = |n: u32, kind: &str| {
        let mut stages = vec![stage("ci", 0.0, 5_000.0)];
        stages
            .extend((0..4_999).map(|i| stage(&format!("ci / {kind} stage {i} of many"), f64::from(i), 1.0)));
        run(n, stages)
    };
    let fitted = fit(&Baseline::of_files((0..5).map(|n| wide(n, "old")).collect()), &policy(""));
    let name = "acme/my-app".parse().expect("a name");
    let comparison = compare(&fitted, &[wide(90, "new")], &name, &policy("")).expect("has a run");
    assert_eq!(comparison.structure.len(), MAX_CHANGES);
    assert!(matches!(comparison.notes[..], [Note::MoreChanges { .. }]), "{:?}", comparison.notes);
    let mut reversed = wide(91, "old");
    for (at, stage) in reversed.stages.iter_mut().rev().enumerate() {
        stage.start_offset_ns = i64::try_from(at).expect("small") * 1_000_000_000;
        stage.end_offset_ns = stage.start_offset_ns + 1_000_000_000;
    }
    let comparison = compare(&fitted, &[reversed], &name, &policy("")).expect("has a run");
    assert_eq!(comparison.structure.len(), MAX_CHANGES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn listing_order_of_stages_changes_nothing(
        shuffled in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
        gone in prop::sample::subsequence((1..9_usize).collect::<Vec<_>>(), 0..4),
        moved in 1..9_usize,
        more in 0..3_u32,
    ) {
        let mut now: Vec<_> = BEFORE.to_vec();
        now[moved].1 = 200.0;
        now[8].3 += more * 2;
        let mut now: Vec<_> = now.into_iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, s)| s).collect();
        now.push(("ci / unit test", 50.0, 30.0, 1));
        now.push(("ci / lint-all", 0.0, 10.0, 1));
        let place = |i: usize| shuffled.get(i).copied().unwrap_or(i);
        let mut other: Vec<_> = now.iter().copied().enumerate().collect();
        other.sort_by_key(|(i, _)| place(*i));
        let other: Vec<_> = other.into_iter().map(|(_, s)| s).collect();
        let mut before = BEFORE.to_vec();
        before.reverse();
        prop_assert_eq!(compared(BEFORE, &now, "").structure, compared(&before, &other, "").structure);
    }
}
