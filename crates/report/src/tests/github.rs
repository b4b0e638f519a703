//! The check: its texts, their size, and its annotations.

use std::time::Duration;

use insta::assert_snapshot;

use super::*;
use crate::annotations::{LIMIT, Level};
use crate::check::{NotJudged, TITLE_CAP, WaitedRun, WaitedState, Waiting, gave_up, pending};
use crate::markdown::SIZE_BUDGET;
use pacegate_engine::model::policy::{Mistake, UnusablePolicy};
use pacegate_engine::model::time::Timestamp;

#[test]
fn check_lists_findings() {
    let check = report(comparison()).check();
    assert_eq!(check.conclusion, Conclusion::Neutral);
    assert_snapshot!(check.title, @"Integration tests 1.6x slower (+12.4 s), confirmed; 1 new error; 1 stage seen slower once");
    assert_snapshot!(check.summary, @"
    The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs. The runner was 1.04x slower than usual; the ratios are corrected for it.

    | Stage | Before → now | Ratio | How sure | Critical path |
    |:--|--:|--:|:--|:--|
    | **`Integration tests`**<br><sub>`CI / test`</sub> | 20.7 s → 33.1 s | **1.60x** (+12.4 s) | confirmed in 2 runs<br><sub>by chance once in 500</sub> | yes |
    | **`Run clippy`**<br><sub>`CI / lint`</sub> | 31.0 s → 40.3 s | **1.30x** (+9.3 s) | seen once<br><sub>by chance once in 500</sub> | no |

    **Where**

    - `Integration tests`: `.github/workflows/ci.yml` line 41

    **New errors**

    - `java.net.ConnectException` in `Integration tests`, `src/orders.py` line 88: `Connection refused: db:5432`<br><sub>never in 143 runs of the base branch, in 2 runs of this change</sub>

    [Full report](https://gate.example/comparisons/01J)
    ");
    assert_snapshot!(check.text, @"
    ### `Integration tests`: slower

    Both runs of this change were slower than 60 of 60 earlier runs.

    - in `CI / test`
    - 20.7 s before, 33.1 s now
    - 1.60x (+12.4 s), corrected for runner speed
    - confirmed in 2 runs, by chance once in 500, against 60 runs of the baseline
    - evidence 7.1, a finding needs 4.2
    - on the critical path: it makes the pipeline end later
    - `.github/workflows/ci.yml` line 41

    ### `Run clippy`: slower, seen once

    - in `CI / lint`
    - 31.0 s before, 40.3 s now
    - 1.30x (+9.3 s), corrected for runner speed
    - seen once, by chance once in 500, against 60 runs of the baseline
    - evidence 7.1, a finding needs 4.2

    ### `build`: faster

    - in `CI`
    - 40.0 s before, 32.0 s now
    - 0.80x (-8.0 s), corrected for runner speed
    - confirmed in 2 runs, by chance once in 500, against 60 runs of the baseline
    - evidence 7.1, a finding needs 4.2

    ### All stages

    | Stage | Outcome | Before | Now | Ratio | Runs |
    |:--|:--|--:|--:|--:|--:|
    | `Run clippy`<br><sub>`CI / lint`</sub> | slower, seen once | 31.0 s | 40.3 s | 1.30x | 1 of 60 |
    | `test`<br><sub>`CI`</sub> | slower, because of `Integration tests` | 1 min 35 s | 1 min 47 s | 1.13x | 2 of 60 |
    | `Integration tests`<br><sub>`CI / test`</sub> | slower | 20.7 s | 33.1 s | 1.60x | 2 of 60 |
    | `build`<br><sub>`CI`</sub> | faster | 40.0 s | 32.0 s | 0.80x | 2 of 60 |
    | `Compile`<br><sub>`CI / build`</sub> | as usual | 21.0 s | 21.2 s | 1.01x | 2 of 60 |
    | `deploy`<br><sub>`CI`</sub> | not comparable: it was skipped | 9.0 s | 9.0 s | 1.00x | 2 of 60 |
    | `Upload report`<br><sub>`CI / test`</sub> | new | - | 1.2 s | - | 2 of 0 |

    ### Known errors

    Also seen, as before: 1 flaky error.

    - `java.net.ConnectException` in `Run clippy`: flaky: in 6 of 143 runs of the base branch

    ### Baseline

    60 comparable runs of the base branch, from `1111111` to `2222222`.

    Left out:

    - 3 runs: failed
    - 1 run: another kind of runner

    Policy: `.github/pacegate.yml` on `main`, advisory mode.

    ### Notes

    - The base commit has no run; its nearest measured ancestor was used.
    ");
    assert_eq!(check.annotations.len(), 2);
    assert_eq!(check.annotations[0].level, Level::Warning);
    assert_snapshot!(check.annotations[0].title, @"Integration tests: 1.6x slower");
    assert_snapshot!(check.annotations[0].message, @"20.7 s before, 33.1 s now; Both runs of this change were slower than 60 of 60 earlier runs.");
    let of_error = &check.annotations[1];
    assert_eq!((of_error.path.as_str(), of_error.start_line), ("src/orders.py", 88));
    assert_snapshot!(of_error.title, @"New error: java.net.ConnectException");
    assert_snapshot!(of_error.message, @"Connection refused: db:5432 (in Integration tests; never in 143 runs of the base branch, in 2 runs of this change)");
}

#[test]
fn check_without_findings_is_short() {
    let check = report(fine()).check();
    assert_eq!((check.title.as_str(), check.conclusion), ("No slowdown in 2 stages", Conclusion::Success));
    assert_snapshot!(check.summary, @"
    The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs.

    [Full report](https://gate.example/comparisons/01J)
    ");
    assert!(check.annotations.is_empty());
}

fn waited(name: &str, state: WaitedState) -> WaitedRun {
    WaitedRun { name: name.into(), state }
}

#[test]
fn pending_check_before_any_run_is_known() {
    let pending = pending(&comparison().head_sha, &Waiting::default());
    assert_snapshot!(pending.title, @"Waiting for the trace of abc1234");
    assert_snapshot!(pending.summary, @"The comparison starts when the pipeline of `abc1234` has ended and its trace has arrived. If none arrives, this check ends neutral and says so.");
}

#[test]
fn pending_check_names_runs_and_time_limit() {
    let waiting = Waiting {
        runs: vec![waited("CI", WaitedState::InProgress), waited("Lint", WaitedState::Queued)],
        collected: vec!["Docs".into()],
        until: Some(Timestamp(1_790_000_000_000_000)),
        details_url: Some("https://gate.example/acme/shop".into()),
    };
    let head = comparison().head_sha;
    let shown = pending(&head, &waiting);
    assert_eq!(shown.details_url, waiting.details_url);
    assert_snapshot!(shown.title, @"Waiting for CI and Lint (1 of 3 read)");
    assert_snapshot!(shown.summary, @"
    The runs of `abc1234`:

    - `CI` is running
    - `Lint` waits for a runner
    - `Docs` is read

    The comparison is made when all of them have ended and are read. If one is still missing at 2026-09-21 14:13 UTC, this check ends neutral and says so.
    ");
    let titles = [1, 2, 3, 40].map(|n| {
        let runs = (1..=n).map(|i| waited(&format!("w{i}"), WaitedState::NotRead)).collect();
        pending(&head, &Waiting { runs, ..Waiting::default() }).title
    });
    assert_eq!(
        titles,
        [
            "Waiting for w1 (0 of 1 read)",
            "Waiting for w1 and w2 (0 of 2 read)",
            "Waiting for w1, w2 and 1 more (0 of 3 read)",
            "Waiting for w1, w2 and 38 more (0 of 40 read)",
        ]
    );
    let all_read = Waiting { collected: vec!["CI".into(); 2], ..Waiting::default() };
    assert_eq!(pending(&head, &all_read).title, "Comparing: 2 workflow runs read");
    let many = Waiting { runs: vec![waited("x", WaitedState::Queued); 2_000], ..Waiting::default() };
    assert!(pending(&head, &many).summary.contains("_Left out here: 1,980 runs._"));
}

#[test]
fn not_judged_check_says_what_to_do() {
    let within = Duration::from_hours(6);
    let reasons = [
        NotJudged::NoTrace { within },
        NotJudged::StillRunning { runs: vec!["CI".into(), "Lint".into()], within },
        NotJudged::NothingRan,
        NotJudged::GitHubUnavailable { within },
        NotJudged::NoPermission { permission: "actions: read" },
        NotJudged::Superseded { by: "2222222bbbb".parse().expect("a commit") },
    ];
    let shown: Vec<String> = reasons
        .iter()
        .map(|why| {
            let check = gave_up(&comparison().head_sha, why);
            assert_eq!(check.conclusion, Conclusion::Neutral);
            let buttons: Vec<&str> = check.actions.iter().map(|action| action.label).collect();
            format!("{} {buttons:?}\n{}", check.title, check.summary)
        })
        .collect();
    assert_snapshot!(shown.join("\n---\n"), @r#"
    Not judged: no trace of abc1234 arrived ["Re-evaluate"]
    No complete trace of this commit arrived within 6 h 00 min. Does its pipeline send spans here, with `vcs.ref.head.revision` set to this commit?

    This blocks nothing. Re-run the check, or push again, for another try.
    ---
    Not judged: 2 workflow runs of abc1234 did not end in time ["Re-evaluate"]
    After 6 h 00 min, `CI` and `Lint` have not ended.

    This blocks nothing. Re-run the check, or push again, for another try.
    ---
    Not judged: no workflow ran for abc1234 ["Re-evaluate"]
    GitHub lists no workflow run of this commit, and no trace of it arrived. Its changes may touch no path that a workflow listens to.

    This blocks nothing. Re-run the check, or push again, for another try.
    ---
    Not judged: GitHub did not answer ["Re-evaluate"]
    GitHub did not answer for 6 h 00 min, so the runs of this commit could not be read.

    This blocks nothing. Re-run the check, or push again, for another try.
    ---
    Not judged: the App lacks the permission actions: read ["Re-evaluate"]
    The runs of this commit can't be read without the permission `actions: read`. An owner grants it where the App is installed, under "Review request".

    This blocks nothing. Re-run the check, or push again, for another try.
    ---
    Superseded by 2222222 []
    The pull request has a newer commit, `2222222`. The verdict is on the check of that commit.

    This blocks nothing.
    "#);
}

#[test]
fn only_effective_buttons_are_shown() {
    let labels = |comparison| {
        report(comparison).check().actions.into_iter().map(|action| action.label).collect::<Vec<_>>()
    };
    let mut suspect = comparison();
    suspect.stages.truncate(1);
    suspect.errors.clear();
    assert_eq!(labels(comparison()), ["Accept change", "Re-evaluate", "Mute 7 days"]);
    assert_eq!(labels(suspect), ["Re-evaluate", "Mute 7 days"]);
    assert_eq!(labels(fine()), ["Re-evaluate"]);
}

#[test]
fn oversized_check_fits_and_names_omissions() {
    let check = report(overflowing()).check();
    assert!(check.title.chars().count() <= TITLE_CAP, "{}", check.title);
    assert!(check.summary.len() <= SIZE_BUDGET && check.text.len() <= SIZE_BUDGET);
    assert!(
        check.summary.contains("_Left out here: 4,800 annotations, the least important._"),
        "{}",
        check.summary
    );
    assert!(check.text.contains("Left out here: the evidence of "), "{}", check.text);
    assert_eq!(check.annotations.len(), LIMIT);
}

#[test]
fn names_in_check_are_inert() {
    let check = report(adversarial()).check();
    let annotations: Vec<&str> =
        check.annotations.iter().flat_map(|a| [a.title.as_str(), a.message.as_str()]).collect();
    let annotations = annotations.join("\n");
    for text in [&check.title, &check.summary, &check.text, &annotations] {
        for active in ["<img", "@octocat", " #1", "http://e", "\u{202e}", "<!--", "\n# h"] {
            assert!(!text.contains(active), "{active:?} in {text}");
        }
    }
    assert!(check.annotations.iter().all(|a| !a.path.contains("..") && a.start_line > 0));
}

#[test]
fn title_of_mentions_respects_the_limit() {
    let mut comparison = comparison();
    comparison.stages[2].path = vec!["@#".repeat(200)];
    assert!(report(comparison).check().title.chars().count() <= TITLE_CAP);
}

#[test]
fn unusable_policy_is_reported_and_annotated() {
    let mistake = |line, text: &str| Mistake { line, column: 3, text: text.into() };
    let policy = PolicyFacts {
        unusable: Some(UnusablePolicy {
            path: ".github/pacegate.yml".into(),
            branch: Some("rel`ease".into()),
            mistakes: vec![mistake(2, "unknown field `<!-- @acme [x](http://y) -->`")],
        }),
        unusable_edit: Some(UnusablePolicy {
            path: ".github/pacegate.yml".into(),
            branch: None,
            mistakes: (1..=300).map(|line| mistake(line, &"mode: |wrong| ".repeat(400))).collect(),
        }),
        ..PolicyFacts::default()
    };
    let report = report(RunComparison { policy, ..comparison() });
    let check = report.check();
    assert!(check.summary.starts_with("⚠️ **The policy `.github/pacegate.yml` on "), "{}", check.summary);
    assert!(check.summary.contains("- line 2, column 3: unknown field"), "{}", check.summary);
    assert!(!check.summary.contains("<!--") && !check.summary.contains("](http://y"), "{}", check.summary);
    assert!(check.summary.contains("more mistakes"), "the list is cut: {}", check.summary);
    for text in [&check.summary, &check.text, &report.comment_body()] {
        assert!(text.len() <= SIZE_BUDGET);
    }
    assert_eq!(check.annotations.len(), LIMIT);
    let first = &check.annotations[0];
    assert_eq!((first.path.as_str(), first.start_line), (".github/pacegate.yml", 1));
    assert_eq!(first.level, Level::Warning);
    assert!(first.message.starts_with("line 1, column 3: mode: "), "{}", first.message);
}
