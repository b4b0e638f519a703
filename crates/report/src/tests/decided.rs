//! Findings that were accepted or muted: shown, and without an effect on the verdict.

use insta::assert_snapshot;

use super::*;
use crate::check::CheckAction;
use crate::comment::Comment;
use crate::json::VerdictJson;
use pacegate_engine::model::decision::{Decision, DecisionKind};
use pacegate_engine::model::time::Timestamp;

pub(super) fn accepted(by: &str, reason: &str) -> Decision {
    let (kind, at) = (DecisionKind::Accepted, Timestamp(1_790_000_000_000_000));
    Decision { kind, by: by.into(), at, until: None, reason: reason.into() }
}

fn muted(by: &str) -> Decision {
    let until = Some(Timestamp(1_790_604_800_000_000));
    Decision { kind: DecisionKind::Muted, until, ..accepted(by, "") }
}

/// The confirmed slowdown accepted, the suspected one and the error muted.
fn all_decided() -> RunComparison {
    let mut comparison = comparison();
    comparison.stages[2].decision = Some(accepted("octocat", "The new suite needs it."));
    comparison.stages[0].decision = Some(muted("hubot"));
    comparison.errors[1].decision = Some(muted("hubot"));
    comparison.verdict = RunVerdict::Improved;
    comparison
}

#[test]
fn decided_findings_stay_visible_without_effect() {
    let report = report(all_decided());
    assert!(!report.has_findings());
    let check = report.check();
    assert_eq!((check.conclusion, check.annotations.len()), (Conclusion::Success, 0));
    assert_eq!(check.actions, [CheckAction::REEVALUATE]);
    assert_snapshot!(check.title, @"build 1.25x faster (-8.0 s); 3 accepted or muted");
    assert!(check.summary.contains("Accepted or muted: 3 findings, listed below."), "{}", check.summary);
    let Comment::ResolveOnly(text) = report.comment() else { panic!("nothing is open") };
    assert_snapshot!(text, @"
    <!-- pacegate:comment:v1 -->
    ### 🟢 Nothing is open: the remaining findings were accepted or muted

    `build` 1.25x faster (-8.0 s); 3 accepted or muted at `abc1234`. The pipeline took **2 min 32 s**, usually 2 min 11 s. Compared 2 runs of this change with 60 earlier runs. The runner was 1.04x slower than usual; the ratios are corrected for it.

    <details><summary>Accepted or muted (3)</summary>

    - `Integration tests` **1.60x** (+12.4 s): accepted by `octocat` on 2026-09-21 14:13 UTC: The new suite needs it.
    - `Run clippy` **1.30x** (+9.3 s): muted by `hubot` on 2026-09-21 14:13 UTC, until 2026-09-28 14:13 UTC
    - `java.net.ConnectException` in `Integration tests`: muted by `hubot` on 2026-09-21 14:13 UTC, until 2026-09-28 14:13 UTC

    </details>

    <sub>[Full report](https://gate.example/comparisons/01J) · commit `abc1234` · Pacegate</sub>
    ");
    for line in text.lines().filter(|line| line.starts_with("- ")) {
        assert!(check.text.contains(line), "{line} in {}", check.text);
    }
    let json = VerdictJson::from(&all_decided());
    let shown = json.stages[2].decision.as_ref().expect("a decision");
    assert_eq!((shown.kind.as_str(), shown.at.as_str()), ("accepted", "2026-09-21T14:13:20Z"));
    assert!(json.errors[1].decision.is_some() && json.stages[1].decision.is_none());
}

#[test]
fn one_decision_leaves_other_findings_open() {
    let mut comparison = comparison();
    comparison.stages[2].decision = Some(accepted("octocat", ""));
    comparison.verdict = RunVerdict::Suspect;
    let report = report(comparison);
    let open: Vec<&str> = report.slower().map(headline::leaf).collect();
    assert_eq!(open, ["Run clippy"], "the accepted step still explains its job");
    let Comment::Post(text) = report.comment() else { panic!("a suspicion is open") };
    let heading = text.lines().nth(1).expect("a heading");
    assert_snapshot!(heading, @"### 🟡 1 new error; `Run clippy` 1.3x slower (+9.3 s), seen once; 1 accepted or muted");
}
