//! The replay's text for people, from made-up figures.

use super::*;
use pacegate_engine::gate::replay::Settings;
use pacegate_engine::gate::replay::outlook::StageOutlook;
use pacegate_engine::gate::replay::summary::{Change, Matched};
use pacegate_engine::gate::replay::trial::Finding;
use pacegate_engine::model::history::{ChangeKind, HistoryChange};
use pacegate_engine::model::ids::RunId;
use pacegate_engine::model::stage::StageKey;
use pacegate_engine::model::time::Timestamp;

/// A modification of a replay.
type Changed = fn(&mut Replay);

fn path(text: &str) -> Vec<String> {
    text.split(" / ").map(str::to_owned).collect()
}

fn performance(single: f64, confirmed: f64, recall: [f64; SIZES.len()]) -> Performance {
    Performance {
        alarms: Rates { single: Some(single), confirmed: Some(confirmed) },
        recall: recall.map(|r| Rates { single: Some((1.2 * r).min(1.0)), confirmed: Some(r) }),
    }
}

fn replay() -> Replay {
    let recall = [0.1, 0.2, 0.4, 0.8, 1.0];
    let matched = |rule| Matched { rule, scale: 2.0, alarms: Some(0.011), recall: [Some(0.01); SIZES.len()] };
    let change = |name: &str, ratio| Change {
        finding: Finding {
            key: StageKey::from_path(&path(name)),
            path: path(name),
            push: 9,
            ratio,
            increase_s: 40.0 * ratio,
        },
        at: Timestamp(1_790_000_000_000_000),
        run: RunId("run \u{1b}[31m9".to_owned()),
        commit: "abcdef01".parse().expect("a commit"),
        pull_requests: 3,
    };
    let stage = |name: &str, median_s, ratio: Option<f64>| StageOutlook {
        key: StageKey::from_path(&path(name)),
        path: path(name),
        median_s,
        runs: 2_993,
        detectable_ratio: ratio,
        detectable_increase_s: ratio.map(|r| median_s * (r - 1.0)),
    };
    Replay {
        settings: Settings::default(),
        runs: 2_993,
        possible: 2_965,
        replayed: 2_900,
        skipped: 65,
        missing_runs: 0,
        slowed: 2_880,
        independent: 742,
        alarm_interval: (0.005, 0.022),
        ours: performance(0.042, 0.011, recall),
        incumbents: [
            (Rule::TLimit99, performance(0.39, 0.2, recall)),
            (Rule::Percent25, performance(0.83, 0.6, recall)),
            (Rule::Ratio200, performance(0.55, 0.0, [0.0; SIZES.len()])),
        ],
        matched: Rule::ALL.map(matched),
        changes: vec![change("ci / test / unit", 1.9), change("ci / build", 1.3)],
        history: vec![HistoryChange {
            stage: StageKey::from_path(&path("ci / build")),
            path: path("ci / build"),
            kind: ChangeKind::Step,
            ratio: 1.31,
            before_s: 134.0,
            after_s: 176.0,
            from_sha: "a".repeat(40).parse().expect("a commit"),
            to_sha: "b".repeat(40).parse().expect("a commit"),
            since: Timestamp(1_790_000_000_000_000),
            runs: 34,
            p: 1e-6,
            explained_by: None,
        }],
        stages: vec![stage("ci / test / unit", 410.0, Some(1.18)), stage("ci / deploy", 9.5, None)],
    }
}

#[test]
fn text_has_all_parts() {
    insta::assert_snapshot!(text("my-app", &replay()), @r#"
    Replay of my-app: 2,993 runs

    On this history Pacegate would have raised a confirmed alarm on 1.1% of 2,900 unchanged pull requests; the rule "25% above the mean", which one run can break, would have alarmed on 83%.

    Each pull request consists of 4 runs in a row, compared with the history before them.
    This history has no labels: a real slowdown counts as an alarm here, for every rule.
    Neighbouring pull requests share runs. The 742 that do not put Pacegate's rate between 0.5% and 2.2% (95%).
    65 pull requests were left out: fewer than 25 comparable runs are before them, within the days that the policy allows.

    ALARMS: the share of unchanged pull requests. +10% and so on: of 2,880 in which one stage was made slower by this much, the share in which it was found.
    RULE                            ALARMS  +10%  +20%  +30%  +50%  +100%
    confirmed by a second run
      Pacegate                        1.1%   10%   20%   40%   80%   100%
      t limit of 99%, last 64 runs     20%   10%   20%   40%   80%   100%
      25% above the mean of 64         60%   10%   20%   40%   80%   100%
      twice the last run                0%    0%    0%    0%    0%     0%
    confirmed, tuned to alarm as rarely as Pacegate
      t limit of 99%, last 64 runs    1.1%  1.0%  1.0%  1.0%  1.0%   1.0%
      25% above the mean of 64        1.1%  1.0%  1.0%  1.0%  1.0%   1.0%
      twice the last run              1.1%  1.0%  1.0%  1.0%  1.0%   1.0%
    seen in one run
      Pacegate                        4.2%   12%   24%   48%   96%   100%
      t limit of 99%, last 64 runs     39%   12%   24%   48%   96%   100%
      25% above the mean of 64         83%   12%   24%   48%   96%   100%
      twice the last run               55%    0%    0%    0%    0%     0%

    What raised confirmed alarms (2 places): was it real?
    STAGE             SLOWER           BY          CONFIRMED AT        RUN  PULL REQUESTS
    ci / test / unit   1.90x  +1 min 16 s  2026-09-21T14:13:20Z  run [31m9              3
    ci / build         1.30x      +52.0 s  2026-09-21T14:13:20Z  run [31m9              3

    Lasting changes on this branch (1 change)
      build got 1.31x slower (+42.0 s) between aaaaaaa and bbbbbbb, 34 runs ago

    The smallest slowdown that two usual runs would confirm today (2 stages; -: none up to 10x)
    STAGE                 MEDIAN   RUNS  FOUND FROM      THAT IS
    ci / test / unit  6 min 50 s  2,993       1.18x  +1 min 14 s
    ci / deploy            9.5 s  2,993           -            -

    Advice
    - `mode: gate` is sound here: 1.1% of unchanged pull requests would have been blocked.
    - A stage that takes 50% longer is found in 80% of cases. More pushes find smaller slowdowns: `--commits` shows how much.
    "#);
}

#[test]
fn text_explains_every_kind_of_history() {
    let with = |change: Changed| {
        let mut replay = replay();
        change(&mut replay);
        text("my-app", &replay)
    };
    let cases: [(Changed, &str); 12] = [
        (
            |r| (r.replayed, r.runs, r.missing_runs) = (0, 20, 9),
            "29 runs are needed (25 as a baseline and 4 as a pull request), 9 are missing.",
        ),
        (|r| (r.replayed, r.missing_runs) = (0, 1), ", 1 is missing."),
        (|r| r.replayed = 0, "no run of this history has 25 comparable runs before it"),
        (
            |r| r.ours.alarms.confirmed = Some(0.0),
            "would have raised no confirmed alarm on any of 2,900 unchanged",
        ),
        (
            |r| r.ours.alarms.confirmed = Some(0.04),
            "Begin with `mode: advisory` and look at the alarms above: 4.0%",
        ),
        (|r| r.ours.alarms.confirmed = Some(0.2), "Stay with `mode: advisory`: 20% of pull requests"),
        (|r| r.alarm_interval.1 = 0.3, "742 independent pull requests can't distinguish 1.1% from 30%"),
        (|r| r.independent = 2_900, "These pull requests put Pacegate's rate between 0.5% and 2.2% (95%)."),
        (|r| r.possible = 9_000, "2,965 pull requests were tried of 9,000 that are possible"),
        (|r| r.settings.commits = 1, "One run never confirms anything"),
        (|r| r.slowed = 0, "no stage could be slowed to measure what is found"),
        (
            |r| r.ours.recall = [Rates::default(); SIZES.len()],
            "Few slowdowns are found here: 0% of stages that take twice as long",
        ),
    ];
    for (change, expected) in cases {
        let text = with(change);
        assert!(text.contains(expected), "{expected}\n{text}");
        assert!(!text.contains('\u{1b}'), "names have no control characters");
    }
    assert!(with(|r| r.changes.clear()).contains("Nothing raised a confirmed alarm."));
}

#[test]
fn json_has_null_for_missing_counts() {
    let mut empty = replay();
    (empty.replayed, empty.ours) = (0, Performance::default());
    let json = json::ReplayJson::of(&[("a".into(), empty), ("b".into(), replay())]).expect("two");
    let value: serde_json::Value = serde_json::from_str(&json.to_text().expect("text")).expect("JSON");
    assert!(value["alarms"]["confirmed"].is_null() && value["alarms_95"][0].is_null());
    assert_eq!(value["other_pipelines"][0]["alarms"]["confirmed"], 0.011);
    assert_eq!(value["other_pipelines"][0]["recall"]["2.0"]["confirmed"], 1.0);
    assert!(value["stages"][1]["detectable_ratio"].is_null());
    assert_eq!(json::ReplayJson::of(&[]), None);
}
