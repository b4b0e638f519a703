//! Replays of simulated pipelines: baselines, slowed stages, aggregates.

use super::incumbents::Rule;
use super::inject::slowed;
use super::outlook::StageOutlook;
use super::trial::{Finding, Flags, Slowed, Strength, Trial};
use super::*;
use crate::gate::tests::fixture::{Lcg, path, pipeline, run, stage};
use crate::model::run::RunResult;

/// `n` runs of the fixture's pipeline.
fn history(n: u32) -> Vec<MeasuredRun> {
    let mut rng = Lcg::new(11);
    (0..n).map(|i| pipeline(i, &mut rng, 1.0, &[])).collect()
}

fn settings(commits: usize, limit: usize) -> Settings {
    Settings { commits, limit, ..Settings::default() }
}

fn key(text: &str) -> StageKey {
    StageKey::from_path(&path(text))
}

#[test]
fn positions_follow_warm_up_evenly() {
    let policy = GatePolicy::default();
    for (runs, commits, limit, expected, missing) in [
        (28, 4, 9, vec![], 1),
        (29, 4, 9, vec![25], 0),
        (32, 4, 9, vec![25, 26, 27, 28], 0),
        (45, 1, 4, vec![25, 30, 35, 40], 0),
        (0, 4, 9, vec![], 29),
    ] {
        let plan = Plan::new(history(runs), Some("main"), &policy, settings(commits, limit));
        assert_eq!((plan.positions(), plan.missing_runs()), (expected, missing), "{runs} runs");
    }
}

#[test]
fn pull_request_baseline_has_only_earlier_runs() {
    let policy = GatePolicy::default();
    let whole = Plan::new(history(60), Some("main"), &policy, Settings::default());
    let cut = Plan::new(history(44), Some("main"), &policy, Settings::default());
    let trial = whole.trial(40).expect("enough of a past");
    assert_eq!(Some(&trial), cut.trial(40).as_ref());
    assert_eq!(cut.trial(41), None, "too few runs follow");
    let baseline = whole.baseline_before(40, &whole.runs[40].run);
    assert_eq!((baseline.runs.len(), &baseline.runs[39].run.id), (40, &whole.runs[39].run.id));
    // With fewer than 25 green runs nothing can be confirmed.
    let mut failed = history(60);
    failed[..20].iter_mut().for_each(|m| m.run.result = RunResult::Failure);
    assert_eq!(Plan::new(failed, Some("main"), &policy, Settings::default()).trial(40), None);
}

#[test]
fn large_slowdown_is_found_in_seeded_stage() {
    let policy = GatePolicy::default();
    let slowed_by = |seed| {
        let plan = Plan::new(history(60), Some("main"), &policy, Settings { seed, ..Settings::default() });
        (30..50).map(|at| plan.trial(at).expect("a trial").slowed.expect("long stages")).collect::<Vec<_>>()
    };
    let (one, two) = (slowed_by(1), slowed_by(2));
    assert_eq!(one, slowed_by(1), "the same seed, the same replay");
    let keys = |all: &[Slowed]| all.iter().map(|s| s.key.clone()).collect::<Vec<_>>();
    assert_ne!(keys(&one), keys(&two));
    // Leaves of 5 s and more: `code-validation` takes 4 s, the others hold stages.
    let chosen: HashSet<StageKey> = keys(&one).into_iter().chain(keys(&two)).collect();
    let leaf = |key: &StageKey| key.as_str().matches(" / ").count() == 2;
    assert!(chosen.len() > 3 && chosen.iter().all(leaf), "{chosen:?}");
    assert!(!chosen.contains(&key("ci / checkout / code-validation")));
    let found = one.iter().filter(|s| s.ours[4].confirmed).count();
    assert!(found > 15, "twice as long and 8% of noise: {found} of 20 found");
    assert!(one.iter().all(|s| s.ours.iter().all(|f| f.single || !f.confirmed)));
}

#[test]
fn ignored_stages_are_not_slowed_or_flagged() {
    let policy = GatePolicy::from_yaml("stages: [{match: \"**\", ignore: true}]").expect("a policy");
    let plan = Plan::new(history(40), Some("main"), &policy, Settings::default());
    let trial = plan.trial(30).expect("a trial");
    assert_eq!((trial.slowed, trial.ours), (None, Flags::default()));
    assert!(trial.incumbents.iter().all(|s| s.single.is_infinite()), "{:?}", trial.incumbents);
}

#[test]
fn old_names_are_replayed_as_new_ones() {
    let policy = GatePolicy::from_yaml("aliases: [{from: ci / old, to: ci / new}]").expect("a policy");
    let runs = vec![run(1, vec![stage("ci / old / a", 0.0, 5.0)])];
    let plan = Plan::new(runs, Some("main"), &policy, Settings::default());
    let sample = &plan.runs[0].stages[0];
    assert_eq!((&sample.key, &sample.parent), (&key("ci / new / a"), &Some(key("ci / new"))));
}

#[test]
fn parents_of_slowed_stage_take_longer_too() {
    let before = run(
        1,
        vec![
            stage("ci", 0.0, 30.0),
            stage("ci / a", 0.0, 20.0),
            stage("ci / a / b", 0.0, 10.0),
            stage("ci / c", 20.0, 10.0),
        ],
    );
    let after = slowed(&before, &key("ci / a / b"), 1.5);
    let seconds: Vec<f64> = after.stages.iter().map(StageSample::seconds).collect();
    assert_eq!(seconds, [35.0, 25.0, 15.0, 10.0]);
    assert_eq!(after.run.duration_ns, 35_000_000_000);
    assert_eq!(slowed(&before, &key("elsewhere"), 2.0), before);
    // The walk up ends at a parent that the run does not have, and in a cycle.
    let mut odd = run(1, vec![stage("x", 0.0, 1.0), stage("x / y", 0.0, 1.0)]);
    odd.stages[0].parent = Some(key("x / y"));
    let grown = slowed(&odd, &key("x / y"), 2.0);
    assert_eq!(grown.stages.iter().map(StageSample::seconds).collect::<Vec<_>>(), [2.0, 2.0]);
}

/// A trial whose every strength is `s` of each rule, slowed ones ten times that.
fn trial(position: usize, ours: (bool, bool), s: f64, findings: Vec<Finding>) -> Trial {
    let flags = |(single, confirmed)| Flags { single, confirmed };
    let strength = |s| Strength { single: 2.0 * s, confirmed: s };
    Trial {
        position,
        ours: flags(ours),
        findings,
        incumbents: [strength(s); Rule::ALL.len()],
        slowed: Some(Slowed {
            key: key("ci"),
            ours: [flags((true, ours.1)); SIZES.len()],
            incumbents: [[strength(10.0 * s); Rule::ALL.len()]; SIZES.len()],
        }),
    }
}

#[test]
fn trials_are_aggregated() {
    let policy = GatePolicy::default();
    let plan = Plan::new(history(40), Some("main"), &policy, Settings::default());
    let finding = |push, ratio| Finding { key: key("ci"), path: path("ci"), push, ratio, increase_s: 9.0 };
    let trials: Vec<Option<Trial>> = vec![
        Some(trial(25, (true, true), 0.2, vec![finding(27, 1.3)])),
        Some(trial(26, (true, true), 0.8, vec![finding(27, 1.4)])),
        Some(trial(27, (true, false), 1.2, vec![])),
        Some(trial(28, (false, false), 0.6, vec![])),
        Some(trial(34, (true, true), 0.05, vec![finding(36, 1.2)])),
        None,
    ];
    let stages: Vec<StageOutlook> = Vec::new();
    let replay = plan.summary(&trials, stages);
    assert_eq!((replay.runs, replay.possible, replay.replayed, replay.skipped), (40, 12, 5, 1));
    assert_eq!((replay.slowed, replay.independent), (5, 3));
    let alarms = replay.ours.alarms;
    assert_eq!((alarms.single, alarms.confirmed), (Some(0.8), Some(0.6)));
    assert_eq!((replay.ours.recall[0].single, replay.ours.recall[4].confirmed), (Some(1.0), Some(0.6)));
    // p, n, z = .6, 3, scipy.stats.norm.ppf(.975); w = 1 + z*z/n
    // (p + z*z/(2*n)) / w - z/w * (p*(1-p)/n + z*z/(4*n*n))**.5
    assert!((replay.alarm_interval.0 - 0.172_485).abs() < 1e-6, "{:?}", replay.alarm_interval);
    let (rule, as_it_comes) = replay.incumbents[0];
    assert_eq!(rule, Rule::TLimit99);
    assert_eq!((as_it_comes.alarms.single, as_it_comes.alarms.confirmed), (Some(0.6), Some(0.2)));
    assert_eq!(as_it_comes.recall[0].confirmed, Some(0.8));
    // Three may alarm: the limit goes to the fourth highest, .2, and 10 times each but .05 is above.
    let tuned = &replay.matched[0];
    assert_eq!((tuned.scale, tuned.alarms, tuned.recall[0]), (0.2, Some(0.6), Some(1.0)));
    // Two neighbours show one change, at its strongest.
    let changes: Vec<(f64, usize, &str)> =
        replay.changes.iter().map(|c| (c.finding.ratio, c.pull_requests, c.run.0.as_str())).collect();
    assert_eq!(changes, [(1.4, 2, "run-00027"), (1.2, 1, "run-00036")]);
}

#[test]
fn empty_replay_has_no_rates() {
    let policy = GatePolicy::default();
    let plan = Plan::new(Vec::new(), None, &policy, Settings::default());
    let replay = plan.summary(&[], Vec::new());
    assert_eq!((replay.ours.alarms.confirmed, replay.matched[0].recall[0]), (None, None));
    assert_eq!((replay.missing_runs, replay.alarm_interval), (29, (0.0, 1.0)));
    assert!(plan.outlook().is_none());
}

#[test]
fn outlook_has_detectable_ratios_longest_stage_first() {
    let policy = GatePolicy::default();
    let plan = Plan::new(history(60), Some("main"), &policy, Settings::default());
    let outlook = plan.outlook().expect("runs");
    let stages: Vec<StageOutlook> = (0..outlook.stages()).filter_map(|i| outlook.stage(i)).collect();
    assert_eq!((stages.len(), stages[0].key.clone(), stages[0].runs), (13, key("ci"), 60));
    assert!(stages.is_sorted_by(|a, b| a.median_s >= b.median_s));
    let unit = stages.iter().find(|s| s.key == key("ci / test / test-unit")).expect("the stage");
    let ratio = unit.detectable_ratio.expect("8% of noise");
    assert!((1.1..2.0).contains(&ratio), "{ratio}");
    assert!((unit.detectable_increase_s.expect("seconds") / unit.median_s - (ratio - 1.0)).abs() < 0.1);
    // No slowdown reaches this floor.
    let deaf = GatePolicy::from_yaml("defaults: {min_ratio: 20, min_increase: 2s}").expect("a policy");
    let plan = Plan::new(history(60), Some("main"), &deaf, Settings::default());
    assert_eq!(plan.outlook().expect("runs").stage(0).expect("a stage").detectable_ratio, None);
}
