//! The check: its texts, its size, its annotations.

use insta::assert_snapshot;

use super::*;
use crate::model::policy::{Mistake, UnusablePolicy};
use crate::report::annotations::{LIMIT, Level};
use crate::report::check::{TITLE_CAP, gave_up, pending};
use crate::report::markdown::SIZE_BUDGET;

#[test]
fn findings_are_told() {
    let check = report(comparison()).check();
    assert_eq!(check.conclusion, Conclusion::Neutral);
    assert_snapshot!(check.title, @"Integration tests 1.6x slower (+12.4 s), confirmed; 1 new error; 1 stage seen slower once");
    assert_snapshot!(check.summary, @"
    The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs. On this runner everything took 1.04x as long as usual; the ratios leave that out.

    | Stage | Before | Now | Ratio | How sure | Critical path |
    |:--|--:|--:|--:|:--|:--|
    | **`Integration tests`**<br><sub>`CI / test`</sub> | 20.7 s | 33.1 s | **1.60x** (+12.4 s) | confirmed in 2 runs, by chance once in 500 | yes |
    | **`Run clippy`**<br><sub>`CI / lint`</sub> | 31.0 s | 40.3 s | **1.30x** (+9.3 s) | seen once, by chance once in 500 | no |

    **New errors**

    - `java.net.ConnectException` in `Integration tests`, `src/orders.py` line 88: `Connection refused: db:5432`<br><sub>never in 143 runs of the base branch, in 2 runs of this change</sub>

    [Full report](https://gate.example/comparisons/01J)
    ");
    assert_snapshot!(check.text, @"
    ### `Integration tests`: slower

    Both runs of this change were slower than 60 of 60 earlier runs.

    - in `CI / test`
    - 20.7 s before, 33.1 s now
    - 1.60x (+12.4 s) once the runner's speed is taken out
    - confirmed in 2 runs, by chance once in 500, against 60 runs of the baseline
    - evidence 7.1, at least 4.2 is needed
    - on the critical path: the pipeline ends later by it
    - `.github/workflows/ci.yml` line 41

    ### `Run clippy`: slower, seen once

    - in `CI / lint`
    - 31.0 s before, 40.3 s now
    - 1.30x (+9.3 s) once the runner's speed is taken out
    - seen once, by chance once in 500, against 60 runs of the baseline
    - evidence 7.1, at least 4.2 is needed

    ### `build`: faster

    - in `CI`
    - 40.0 s before, 32.0 s now
    - 0.80x (-8.0 s) once the runner's speed is taken out
    - confirmed in 2 runs, by chance once in 500, against 60 runs of the baseline
    - evidence 7.1, at least 4.2 is needed

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
fn a_quiet_check_is_short() {
    let check = report(fine()).check();
    assert_eq!((check.title.as_str(), check.conclusion), ("No slowdown in 2 stages", Conclusion::Success));
    assert_snapshot!(check.summary, @"
    The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs.

    [Full report](https://gate.example/comparisons/01J)
    ");
    assert!(check.annotations.is_empty());
}

#[test]
fn waiting_and_giving_up() {
    let head = comparison().head_sha;
    assert_snapshot!(pending(&head).title, @"Waiting for the trace of abc1234");
    assert_snapshot!(pending(&head).summary, @"The comparison starts when the pipeline of `abc1234` has ended and its trace has arrived. If none arrives, this check ends neutral and says so.");
    let given_up = gave_up(&head, "No trace arrived within 6 hours.");
    assert_eq!(given_up.conclusion, Conclusion::Neutral);
    assert_snapshot!(given_up.title, @"Not judged: no comparison for abc1234");
    assert_snapshot!(given_up.summary, @"
    No trace arrived within 6 hours.

    This blocks nothing. Re-run the check, or push again, for another try.
    ");
}

#[test]
fn a_flood_fits_and_says_what_is_left_out() {
    let check = report(overflowing()).check();
    assert!(check.title.chars().count() <= TITLE_CAP, "{}", check.title);
    assert!(check.summary.len() <= SIZE_BUDGET && check.text.len() <= SIZE_BUDGET);
    assert!(
        check.summary.contains("4,950 annotations more than GitHub takes are left out."),
        "{}",
        check.summary
    );
    assert!(check.text.contains("Left out here: the evidence of "), "{}", check.text);
    assert_eq!(check.annotations.len(), LIMIT);
}

#[test]
fn nothing_in_a_name_acts() {
    let check = report(hostile()).check();
    let annotations: Vec<&str> =
        check.annotations.iter().flat_map(|a| [a.title.as_str(), a.message.as_str()]).collect();
    let annotations = annotations.join(
        "
",
    );
    for text in [&check.title, &check.summary, &check.text, &annotations] {
        for active in ["<img", "@octocat", " #1", "http://e", "\u{202e}", "<!--", "\n# h"] {
            assert!(!text.contains(active), "{active:?} in {text}");
        }
    }
    assert!(check.annotations.iter().all(|a| !a.path.contains("..") && a.start_line > 0));
    let reason = gave_up(&comparison().head_sha, HOSTILE).summary;
    assert!(!reason.contains("<img") && !reason.contains("@octocat"), "{reason}");
}

#[test]
fn a_title_of_mentions_stays_within_the_limit() {
    let mut comparison = comparison();
    comparison.stages[2].path = vec!["@#".repeat(200)];
    assert!(report(comparison).check().title.chars().count() <= TITLE_CAP);
}

#[test]
fn a_policy_that_can_t_be_used_is_told_and_its_edit_is_annotated() {
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
            mistakes: (1..=60).map(|line| mistake(line, &"mode: |wrong| ".repeat(400))).collect(),
        }),
        ..PolicyFacts::default()
    };
    let report = report(RunComparison { policy, ..comparison() });
    let check = report.check();
    assert!(check.summary.starts_with("⚠️ **The policy `.github/pacegate.yml` on "), "{}", check.summary);
    assert!(check.summary.contains("- line 2, column 3: unknown field"), "{}", check.summary);
    assert!(!check.summary.contains("<!--") && !check.summary.contains("](http"), "{}", check.summary);
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
