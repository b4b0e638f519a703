//! The output for an adversarial name, message, file and branch, as snapshots for reviewers. The
//! properties that hold for all names are in [`super::adversarial`].

use std::time::Duration;

use insta::assert_snapshot;

use super::*;
use crate::annotations::Annotation;
use crate::check::{NotJudged, WaitedRun, WaitedState, Waiting, gave_up, pending};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::reason::{ErrorReason, ExclusionReason, StageFact};

/// A mention, a reference, a comment, a table cell, a code span, a link and a direction mark.
const NAME: &str = "@octocat #1 <!-- | `x` [y](http://e.example) \u{202e}\n";

/// One finding of each kind, with [`NAME`] for every untrusted text.
fn adversarial_report() -> Report {
    let mut comparison = comparison();
    comparison.stages.truncate(3);
    for stage in &mut comparison.stages {
        stage.path = path(&[NAME, NAME]);
        stage.reason = vec![StageFact::Text(NAME.into())];
        stage.location = Some(Location { path: NAME.trim_end().into(), line: 3 });
    }
    comparison.stages[0].decision = Some(decided::accepted(NAME, NAME));
    comparison.errors.truncate(2);
    for error in &mut comparison.errors {
        error.path = path(&[NAME]);
        error.error_type = NAME.into();
        error.message = NAME.into();
        error.reason = Some(ErrorReason::Text(NAME.into()));
        error.location = Some(Location { path: NAME.trim_end().into(), line: 3 });
    }
    comparison.baseline.excluded.truncate(1);
    comparison.baseline.excluded[0].reason = ExclusionReason::Text(NAME.into());
    comparison.notes = vec![Note::Text(NAME.into())];
    comparison.policy.source = PolicySource::File { path: NAME.into(), branch: NAME.into() };
    report(comparison)
}

/// Replaces zero-width spaces, which stop mentions, by a visible character.
fn visible(text: &str) -> String {
    text.replace('\u{200b}', "◦")
}

fn waited(state: WaitedState) -> WaitedRun {
    WaitedRun { name: NAME.into(), state }
}

#[test]
fn comment_with_adversarial_names() {
    assert_snapshot!(visible(&adversarial_report().comment_body()), @r#"
    ### 🔴 <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> 1.6x slower (+12.4 s), confirmed; 1 new error; 1 accepted or muted

    | Stage | Before → now | Ratio | How sure | Critical path |
    |:--|--:|--:|:--|:--|
    | **<code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>**<br><sub><code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code></sub> | 20.7 s → 33.1 s | **1.60x** (+12.4 s) | confirmed in 2 runs<br><sub>by chance once in 500</sub> | yes |

    **New errors**

    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> in <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>, <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> line 3: <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br><sub>@◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)</sub>

    The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs. The runner was 1.04x slower than usual; the ratios are corrected for it.

    Advisory mode: the check stays neutral.

    <details><summary>History and evidence</summary>

    **<code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>** in <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br>
    `▂▁▂▁▁▂▁▂▁▁▂▁▂▁▁▂▁▂▁▁▂▁▂▁▁▂▁▂▸██` from 20.7 s to 33.5 s; after ▸, 2 runs of this change<br>
    @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)<br>
    <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> line 3

    </details>

    <details><summary>Accepted or muted (1)</summary>

    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> **1.30x** (+9.3 s): accepted by <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> on 2026-09-21 14:13 UTC: @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)

    </details>

    <details><summary>All 3 stages</summary>

    | Stage | Outcome | Before | Now | Ratio | Runs |
    |:--|:--|--:|--:|--:|--:|
    | <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br><sub><code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code></sub> | slower, seen once | 31.0 s | 40.3 s | 1.30x | 1 of 60 |
    | <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br><sub><code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code></sub> | slower, because of `Integration tests` | 1 min 35 s | 1 min 47 s | 1.13x | 2 of 60 |
    | <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br><sub><code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code></sub> | slower | 20.7 s | 33.1 s | 1.60x | 2 of 60 |

    Also seen, as before: 1 flaky error.

    </details>

    <details><summary>Baseline: 60 runs, and the policy</summary>

    60 comparable runs of the base branch, from `1111111` to `2222222`.

    Left out:

    - 3 runs: @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)

    Policy: <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> on <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>, advisory mode.

    </details>

    <details><summary>Notes (1)</summary>

    - @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)

    </details>

    <sub>[Full report](https://gate.example/comparisons/01J) · commit `abc1234` · Pacegate</sub>
    "#);
}

#[test]
fn check_with_adversarial_names() {
    let check = adversarial_report().check();
    assert_snapshot!(visible(&check.title), @"@◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example) 1.6x slower (+12.4 s), confirmed; 1 new error; 1 accepted or muted");
    assert_snapshot!(visible(&check.summary), @r#"
    The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs. The runner was 1.04x slower than usual; the ratios are corrected for it.

    | Stage | Before → now | Ratio | How sure | Critical path |
    |:--|--:|--:|:--|:--|
    | **<code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>**<br><sub><code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code></sub> | 20.7 s → 33.1 s | **1.60x** (+12.4 s) | confirmed in 2 runs<br><sub>by chance once in 500</sub> | yes |

    **Where**

    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>: <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> line 3

    **New errors**

    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> in <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>, <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> line 3: <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br><sub>@◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)</sub>

    Accepted or muted: 1 finding, listed below.

    [Full report](https://gate.example/comparisons/01J)
    "#);
    assert_snapshot!(visible(&check.text), @r#"
    ### <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>: slower

    @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)

    - in <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>
    - 20.7 s before, 33.1 s now
    - 1.60x (+12.4 s), corrected for runner speed
    - confirmed in 2 runs, by chance once in 500, against 60 runs of the baseline
    - evidence 7.1, a finding needs 4.2
    - on the critical path: it makes the pipeline end later
    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> line 3

    <details><summary>Accepted or muted</summary>

    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> **1.30x** (+9.3 s): accepted by <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> on 2026-09-21 14:13 UTC: @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)

    </details>

    ### All stages

    | Stage | Outcome | Before | Now | Ratio | Runs |
    |:--|:--|--:|--:|--:|--:|
    | <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br><sub><code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code></sub> | slower, seen once | 31.0 s | 40.3 s | 1.30x | 1 of 60 |
    | <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br><sub><code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code></sub> | slower, because of `Integration tests` | 1 min 35 s | 1 min 47 s | 1.13x | 2 of 60 |
    | <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code><br><sub><code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code></sub> | slower | 20.7 s | 33.1 s | 1.60x | 2 of 60 |

    ### Known errors

    Also seen, as before: 1 flaky error.

    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> in <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>: @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)

    ### Baseline

    60 comparable runs of the base branch, from `1111111` to `2222222`.

    Left out:

    - 3 runs: @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)

    Policy: <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> on <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code>, advisory mode.

    ### Notes

    - @◦octocat #◦1 &lt;\!-- &#124; \`x\` &#91;y&#93;(http:◦//e.example)
    "#);
}

#[test]
fn annotations_with_adversarial_names() {
    let line =
        |a: &Annotation| format!("{} {}\n{}\n{}", a.path.escape_debug(), a.start_line, a.title, a.message);
    let shown: Vec<String> = adversarial_report().check().annotations.iter().map(line).collect();
    assert_snapshot!(visible(&shown.join("\n\n")), @r#"
    @octocat #1 <!-- | `x` [y](http://e.example) \u{202e} 3
    @◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example): 1.6x slower
    20.7 s before, 33.1 s now; @◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example)

    @octocat #1 <!-- | `x` [y](http://e.example) \u{202e} 3
    New error: @◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example)
    @◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example) (in @◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example); @◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example))
    "#);
}

#[test]
fn pending_and_not_judged_with_adversarial_names() {
    let runs = vec![waited(WaitedState::Queued), waited(WaitedState::InProgress)];
    let waiting = Waiting { runs, collected: vec![NAME.into()], ..Waiting::default() };
    let head = adversarial_report().comparison().head_sha.clone();
    let shown = pending(&head, &waiting);
    assert_snapshot!(visible(&shown.title), @"Waiting for @◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example) and @◦octocat #◦1 ‹!-- | 'x' [y](http:◦//e.example) (1 of 3 read)");
    assert_snapshot!(visible(&shown.summary), @"
    The runs of `abc1234`:

    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> waits for a runner
    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> is running
    - <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> is read

    The comparison is made when all of them have ended and are read. If one never ends, this check ends neutral and says so.
    ");
    let why = NotJudged::StillRunning { runs: vec![NAME.into()], within: Duration::from_mins(5) };
    let shown = gave_up(&head, &why);
    assert_snapshot!(visible(&shown.title), @"Not judged: 1 workflow run of abc1234 did not end in time");
    assert_snapshot!(visible(&shown.summary), @"
    After 5 min 00 s, <code>&#64;◦octocat &#35;◦1 &lt;&#33;-- &#124; &#96;x&#96; &#91;y&#93;(http&#58;◦//e.example)</code> has not ended.

    This blocks nothing. Re-run the check, or push again, for another try.
    ");
}
