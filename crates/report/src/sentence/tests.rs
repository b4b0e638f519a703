//! Reasons as sentences, for each kind of fact.

use super::*;
use crate::tests::{error, stage};
use pacegate_engine::model::comparison::StageVerdict;
use pacegate_engine::model::environment::RunnerClass;
use pacegate_engine::model::stage::StageKey;
use pacegate_engine::model::time::Timestamp;

fn summary(confirmation: Confirmation) -> FindingSummary {
    FindingSummary { samples: 2, confirmation, runner_factor: 1.0, slow_mode: None }
}

fn reason(facts: Vec<StageFact>) -> String {
    let mut stage = stage(&["CI", "test"], StageVerdict::Regressed, 60.0, 1.5);
    stage.reason = facts;
    stage_reason(&stage)
}

#[test]
fn finding_says_how_much_and_how_sure() {
    for (confirmation, expected) in [
        (Confirmation::Confirmed, "seen in 2 runs of this change; by chance once in 500 pull requests"),
        (
            Confirmation::NeedsHistory(25),
            "seen in 2 runs; 25 comparable runs are needed to confirm it; by chance once in 500 pull \
             requests",
        ),
        (
            Confirmation::NeedsSamples(2),
            "seen in 2 runs so far, 2 runs judged together may confirm it; by chance once in 500 pull \
             requests",
        ),
        (Confirmation::Unchanged, "within its usual range"),
    ] {
        let made = reason(vec![StageFact::Judged(summary(confirmation))]);
        assert_eq!(made, format!("1.50x the expected time (60 comparable runs), +30.0 s; {expected}"));
    }
}

#[test]
fn slow_mode_and_runner_are_named() {
    let slow_mode = Some(SlowModeSummary { share: 0.18, increase_s: 60.0 });
    let of = |confirmation| {
        reason(vec![StageFact::Judged(FindingSummary {
            slow_mode,
            runner_factor: 1.2,
            ..summary(confirmation)
        })])
    };
    let passed = of(Confirmation::Unchanged);
    assert!(passed.contains("18% of its runs are slow by +1 min 00 s, like this one"), "{passed}");
    assert!(passed.ends_with("(corrected for a runner factor of 1.20x)"), "{passed}");
    assert!(of(Confirmation::Confirmed).contains("and the verdict accounts for that"));
}

#[test]
fn facts_are_joined_in_their_order() {
    let runner = RunnerClass { os: Some("linux".into()), arch: Some("arm64".into()), labels: vec![] };
    for (facts, expected) in [
        (vec![], ""),
        (vec![StageFact::Text("as it was stored".into())], "as it was stored"),
        (
            vec![StageFact::NotInBaseline, StageFact::Renamed { from: "lint".into() }],
            "not in the baseline yet: it is judged when it has a history; it looks like lint under a new name",
        ),
        (
            vec![StageFact::ShortHistory { runs: 9, needed: 10, is_large: true }],
            "a large change (1.50x their median, +30.0 s), but 9 comparable runs so far, 10 are needed",
        ),
        (
            vec![StageFact::OverBudget { took_s: 22.0, budget_s: 10.0, samples: 1 }],
            "took 22.0 s, its budget is 10.0 s; seen in 1 run",
        ),
        (
            vec![StageFact::OtherRunner { runner }],
            "it ran on another kind of runner (linux arm64) than the baseline",
        ),
        (vec![StageFact::Incomplete { result: RunResult::Timeout }], "it timed out"),
    ] {
        assert_eq!(reason(facts), expected);
    }
}

#[test]
fn error_reasons_have_their_counts() {
    use ErrorReason::{MoreOften, NoHistory, OftenSeenOnce, SeenBefore, ShortHistory, Unseen};
    use ErrorVerdict::{Flaky, Known, New, Suspect};

    let of = |verdict, here, before, history, reason| {
        let counts = ErrorComparison {
            candidate_runs: here,
            baseline_runs_with: before,
            baseline_runs: history,
            reason: Some(reason),
            ..error(&["CI"], verdict)
        };
        error_reason(&counts).expect("a reason")
    };
    for (made, expected) in [
        (of(New, 2, 0, 143, Unseen), "never in 143 runs of the base branch, in 2 runs of this change"),
        (
            of(Suspect, 2, 0, 9, ShortHistory { needed: 10 }),
            "never in 9 runs of the base branch, in 2 runs of this change; it takes 10 to call an error new",
        ),
        (
            of(Suspect, 1, 0, 0, NoHistory),
            "in 1 run of this change; no run of the base branch to compare with",
        ),
        (
            of(Suspect, 1, 0, 143, OftenSeenOnce { share: 1.0 }),
            "never in 143 runs of the base branch, in 1 run of this change; that alone is weak evidence: of the base \
             branch's own errors, 100% occurred only once",
        ),
        (of(Flaky, 1, 6, 143, SeenBefore), "flaky: in 6 of 143 runs of the base branch"),
        (of(Known, 2, 60, 143, SeenBefore), "known: in 60 of 143 runs of the base branch"),
        (
            of(Suspect, 3, 6, 143, MoreOften { of: 3, probability: 1.0 / 7_357.0 }),
            "6 of 143 runs before, 3 of 3 here: far more often than chance (once in 7,400)",
        ),
    ] {
        assert_eq!(made, expected);
    }
    let stored_without = ErrorComparison { reason: None, ..error(&["CI"], Known) };
    assert_eq!(error_reason(&stored_without), None);
}

#[test]
fn repetition_separates_more_work_from_slower() {
    use EachTime::{AsBefore, Longer, Shorter};

    let of = |count, each_s, each| {
        repetition(&Repetition { count, usual_count: 4.0, each_s, usual_each_s: 2.0, each })
    };
    let ending =
        |count, each_s, each| of(count, each_s, each).rsplit(": ").next().unwrap_or_default().to_owned();
    for (count, each_s, each, expected) in [
        (9, 3.0, Longer, "more work, and slower work"),
        (8, 1.0, Shorter, "the same work in more parts"),
        (8, 0.5, Shorter, "more parts, and shorter ones"),
        (2, 2.0, AsBefore, "less work, not faster work"),
        (2, 4.0, Longer, "the same work in fewer parts"),
        (2, 8.0, Longer, "fewer parts, and longer ones"),
        (2, 1.0, Shorter, "less work, and faster work"),
    ] {
        assert_eq!(ending(count, each_s, each), expected, "{count} x {each_s}");
    }
    assert_eq!(
        of(9, 2.1, AsBefore),
        "ran 9 times, usually 4; 2.1 s each, as before (2.25x the count, 1.05x the time each, 2.36x in all): more \
         work, not slower work"
    );
}

#[test]
fn exclusions_and_evidence_have_their_numbers() {
    let runner = RunnerClass { os: Some("linux".into()), arch: None, labels: vec!["gpu".into()] };
    for (reason, expected) in [
        (ExclusionReason::TooOld { days: 90 }, "older than 90 days"),
        (ExclusionReason::BeyondNewest { runs: 3 }, "beyond the newest 3"),
        (ExclusionReason::OtherRunner { runner }, "on another kind of runner (linux gpu)"),
        (ExclusionReason::Text("as it was stored".into()), "as it was stored"),
    ] {
        assert_eq!(exclusion(&reason), expected);
    }
    for (evidence, expected) in [
        (RenameEvidence::SharedParts { share: 0.75 }, "75% of their parts have the same names"),
        (RenameEvidence::SameTime { took_s: 10.5, usual_s: 10.2 }, "it takes 10.5 s, usually 10.2 s"),
        (RenameEvidence::SimilarNames { similarity: 0.6 }, "the names are 60% alike"),
    ] {
        assert_eq!(rename_evidence(&evidence), expected);
    }
}

#[test]
fn lasting_change_says_where_and_since_when() {
    let path = vec!["ci".to_owned(), "build".to_owned()];
    let step = HistoryChange {
        stage: StageKey::from_path(&path),
        path,
        kind: ChangeKind::Step,
        ratio: 1.31,
        before_s: 100.0,
        after_s: 131.0,
        from_sha: "0000040".parse().expect("a commit"),
        to_sha: "0000041".parse().expect("a commit"),
        since: Timestamp(0),
        runs: 34,
        p: 1e-9,
        explained_by: None,
    };
    assert_eq!(
        history_change(&step),
        "build got 1.31x slower (+31.0 s) between 0000040 and 0000041, 34 runs ago"
    );
    let drift = HistoryChange { kind: ChangeKind::Drift, ratio: 0.5, after_s: 50.0, runs: 1, ..step };
    assert_eq!(
        history_change(&drift),
        "build drifted 2.00x faster (-50.0 s) from 0000040 to 0000041, over 1 run"
    );
}
