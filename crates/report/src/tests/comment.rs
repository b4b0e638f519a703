//! The comment: its text, when it exists, and that untrusted text in it is inert.

use insta::assert_snapshot;

use super::*;
use crate::comment::{Comment, MARKER};

fn posted(comparison: RunComparison) -> String {
    match report(comparison).comment() {
        Comment::Post(text) => text,
        other => panic!("not posted: {other:?}"),
    }
}

#[test]
fn comment_lists_findings() {
    assert_snapshot!(posted(comparison()), @"
    <!-- pacegate:comment:v1 -->
    ### 🔴 `Integration tests` 1.6x slower (+12.4 s), confirmed; 1 new error; 1 stage seen slower once

    | Stage | Before → now | Ratio | How sure | Critical path |
    |:--|--:|--:|:--|:--|
    | **`Integration tests`**<br><sub>`CI / test`</sub> | 20.7 s → 33.1 s | **1.60x** (+12.4 s) | confirmed in 2 runs<br><sub>by chance once in 500</sub> | yes |
    | **`Run clippy`**<br><sub>`CI / lint`</sub> | 31.0 s → 40.3 s | **1.30x** (+9.3 s) | seen once<br><sub>by chance once in 500</sub> | no |

    **New errors**

    - `java.net.ConnectException` in `Integration tests`, `src/orders.py` line 88: `Connection refused: db:5432`<br><sub>never in 143 runs of the base branch, in 2 runs of this change</sub>

    The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs. The runner was 1.04x slower than usual; the ratios are corrected for it.

    Advisory mode: the check stays neutral.

    <details><summary>History and evidence</summary>

    **`Integration tests`** in `CI / test`<br>
    `▂▁▂▁▁▂▁▂▁▁▂▁▂▁▁▂▁▂▁▁▂▁▂▁▁▂▁▂▸██` from 20.7 s to 33.5 s; after ▸, 2 runs of this change<br>
    Both runs of this change were slower than 60 of 60 earlier runs.<br>
    `.github/workflows/ci.yml` line 41

    **`Run clippy`** in `CI / lint`<br>
    `▃▁▂▁▂▃▁▂▁▂▃▁▂▁▂▃▁▂▁▂▃▁▂▁▂▃▁▂▸██` from 31.0 s to 40.7 s; after ▸, 2 runs of this change

    </details>

    <details><summary>All 7 stages</summary>

    | Stage | Outcome | Before | Now | Ratio | Runs |
    |:--|:--|--:|--:|--:|--:|
    | `Run clippy`<br><sub>`CI / lint`</sub> | slower, seen once | 31.0 s | 40.3 s | 1.30x | 1 of 60 |
    | `test`<br><sub>`CI`</sub> | slower, because of `Integration tests` | 1 min 35 s | 1 min 47 s | 1.13x | 2 of 60 |
    | `Integration tests`<br><sub>`CI / test`</sub> | slower | 20.7 s | 33.1 s | 1.60x | 2 of 60 |
    | `build`<br><sub>`CI`</sub> | faster | 40.0 s | 32.0 s | 0.80x | 2 of 60 |
    | `Compile`<br><sub>`CI / build`</sub> | as usual | 21.0 s | 21.2 s | 1.01x | 2 of 60 |
    | `deploy`<br><sub>`CI`</sub> | not comparable: it was skipped | 9.0 s | 9.0 s | 1.00x | 2 of 60 |
    | `Upload report`<br><sub>`CI / test`</sub> | new | - | 1.2 s | - | 2 of 0 |

    Also seen, as before: 1 flaky error.

    </details>

    <details><summary>Baseline: 60 runs, and the policy</summary>

    60 comparable runs of the base branch, from `1111111` to `2222222`.

    Left out:

    - 3 runs: failed
    - 1 run: another kind of runner

    Policy: `.github/pacegate.yml` on `main`, advisory mode.

    </details>

    <details><summary>Notes (1)</summary>

    - The base commit has no run; its nearest measured ancestor was used.

    </details>

    <sub>[Full report](https://gate.example/comparisons/01J) · commit `abc1234` · Pacegate</sub>
    ");
}

#[test]
fn comment_without_findings_only_resolves() {
    let Comment::ResolveOnly(text) = report(fine()).comment() else { panic!("not quiet") };
    assert_snapshot!(text, @"
    <!-- pacegate:comment:v1 -->
    ### 🟢 Resolved: the earlier findings are gone

    No slowdown in 2 stages at `abc1234`. The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs.

    <sub>[Full report](https://gate.example/comparisons/01J) · commit `abc1234` · Pacegate</sub>
    ");
}

#[test]
fn inconclusive_is_not_called_resolved() {
    let comparison = RunComparison { verdict: RunVerdict::Inconclusive, ..fine() };
    let Comment::ResolveOnly(text) = report(comparison).comment() else { panic!("not quiet") };
    assert!(text.contains("could not be judged again") && !text.contains("Resolved"), "{text}");
}

#[test]
fn comment_follows_rule_and_pull_request() {
    let with = |comment, pull_request: Option<PrNumber>| {
        Report::new(fine(), ReportContext { comment, pull_request, ..ReportContext::default() }).comment()
    };
    assert!(matches!(with(CommentRule::Always, Some(PrNumber(1))), Comment::Post(_)));
    assert_eq!(with(CommentRule::Never, Some(PrNumber(1))), Comment::Silent);
    assert_eq!(with(CommentRule::Always, None), Comment::Silent);
}

#[test]
fn names_in_comment_are_inert() {
    let text = posted(adversarial());
    assert!(text.starts_with(MARKER));
    assert_eq!(text.matches("<!--").count(), 1, "only our marker");
    for active in ["<img", "@octocat", " #1", "http://e", "\u{202e}", "\n# h", "](http:"] {
        assert!(!text.contains(active), "{active:?} in {text}");
    }
    for table in text.split("\n\n").filter(|block| block.starts_with("| ")) {
        let cells: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert!(cells.iter().all(|n| *n == cells[0]), "each row has as many cells: {cells:?}");
    }
}

#[test]
fn oversized_comment_fits_and_names_omissions() {
    let text = posted(overflowing());
    assert!(text.len() <= 60_000, "{}", text.len());
    for said in [
        "4,996 more slower stages and 998 more errors",
        "slower stages._",
        "errors._",
        "notes._",
        "reasons._",
        "The list of 5,000 stages is left out",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
}

#[test]
fn many_ordinary_stages_are_partly_shown() {
    let mut comparison = comparison();
    comparison.stages.extend(
        (0..5_000).map(|i| {
            stage(&["CI", "test", &format!("shard {i} of the suite")], StageVerdict::Pass, 9.0, 1.0)
        }),
    );
    let text = posted(comparison);
    assert!(text.len() <= 60_000);
    assert!(text.contains("Left out here: ") && text.contains("shard 20 of"), "{text}");
}
