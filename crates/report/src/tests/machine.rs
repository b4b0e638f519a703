//! The terminal's text and the JSON of the API.

use insta::assert_snapshot;

use super::*;
use crate::json::VerdictJson;
use crate::terminal::Colour;

#[test]
fn terminal_text_is_aligned_and_plain() {
    assert_snapshot!(report(comparison()).terminal(Colour::Never), @"
    REGRESSED  Integration tests 1.6x slower (+12.4 s), confirmed; 1 new error; 1 stage seen slower once

    The pipeline took 2 min 32 s, usually 2 min 11 s.
    The runner was 1.04x slower than usual; the ratios are corrected for it.
    2 candidate runs against 60 baseline runs; left out: 3 (failed), 1 (another kind of runner).

    STAGE                          BEFORE     NOW  RATIO   CHANGE  HOW SURE
    CI / test / Integration tests  20.7 s  33.1 s  1.60x  +12.4 s  confirmed in 2 runs, by chance once in 500, critical path
    CI / lint / Run clippy         31.0 s  40.3 s  1.30x   +9.3 s  seen once, by chance once in 500
    CI / build                     40.0 s  32.0 s  0.80x   -8.0 s  confirmed in 2 runs, by chance once in 500

    Errors
      java.net.ConnectException: Connection refused: db:5432
        in CI / test / Integration tests, src/orders.py:88
        never in 143 runs of the base branch, in 2 runs of this change

    Also seen, as before: 1 flaky error.

    7 stages: 2 slower, 1 seen slower once, 1 faster, 1 as usual, 1 new, 1 not comparable

    note: The base commit has no run; its nearest measured ancestor was used.
    ");
    assert_snapshot!(report(fine()).terminal(Colour::Never), @"
    PASS  No slowdown in 2 stages

    The pipeline took 2 min 32 s, usually 2 min 11 s.
    2 candidate runs against 60 baseline runs; left out: 3 (failed), 1 (another kind of runner).

    2 stages: 2 as usual
    ");
}

#[test]
fn terminal_has_no_unrequested_control_characters() {
    assert!(report(comparison()).terminal(Colour::Always).contains("\u{1b}[31m"));
    let mut comparison = adversarial();
    comparison.stages[2].path = vec!["\u{1b}[2J\u{1b}]0;x\u{7}".into()];
    let text = report(comparison).terminal(Colour::Never);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one document")]
fn json_matches_the_api() {
    let mut comparison = comparison();
    comparison.stages = vec![comparison.stages.remove(2), comparison.stages.remove(4)];
    comparison.errors.remove(0);
    let json = VerdictJson::from(&comparison);
    assert_snapshot!(json.to_text().expect("serializes"), @r#"
    {
      "schema": 1,
      "verdict": "regressed",
      "repo": "acme/shop",
      "head_sha": "abc1234def5678",
      "baseline": {
        "runs": 60,
        "from_sha": "1111111aaaa",
        "to_sha": "2222222bbbb",
        "excluded": [
          {
            "reason": "failed",
            "runs": 3
          },
          {
            "reason": "another kind of runner",
            "runs": 1
          }
        ]
      },
      "runner_factor": 1.04,
      "wall_clock": {
        "candidate_s": 152.0,
        "baseline_median_s": 131.0,
        "critical_path": [
          "v1|CI",
          "v1|CI / test",
          "v1|CI / test / Integration tests"
        ]
      },
      "stages": [
        {
          "key": "v1|CI / test / Integration tests",
          "path": [
            "CI",
            "test",
            "Integration tests"
          ],
          "verdict": "regressed",
          "candidate_s": 33.12,
          "baseline_median_s": 20.7,
          "ratio": 1.6,
          "increase_s": 12.42,
          "score": 7.1,
          "threshold": 4.2,
          "probability": 0.002,
          "workings": null,
          "samples": 2,
          "baseline_samples": 60,
          "critical": true,
          "explained_by": null,
          "decision": null,
          "reason": "Both runs of this change were slower than 60 of 60 earlier runs.",
          "location": {
            "path": ".github/workflows/ci.yml",
            "line": 41
          }
        },
        {
          "key": "v1|CI / deploy",
          "path": [
            "CI",
            "deploy"
          ],
          "verdict": "not_comparable",
          "candidate_s": 9.0,
          "baseline_median_s": 9.0,
          "ratio": 1.0,
          "increase_s": 0.0,
          "score": 7.1,
          "threshold": 4.2,
          "probability": 0.002,
          "workings": null,
          "samples": 2,
          "baseline_samples": 60,
          "critical": false,
          "explained_by": null,
          "decision": null,
          "reason": "it was skipped",
          "location": null
        }
      ],
      "errors": [
        {
          "stage": "v1|CI / test / Integration tests",
          "signature": "CI/test/Integration tests refused",
          "type": "java.net.ConnectException",
          "message": "Connection refused: db:5432",
          "verdict": "new",
          "seen": "0 of 143 runs",
          "decision": null,
          "reason": "never in 143 runs of the base branch, in 2 runs of this change",
          "location": {
            "path": "src/orders.py",
            "line": 88
          }
        }
      ],
      "structure": [],
      "notes": [
        "The base commit has no run; its nearest measured ancestor was used."
      ]
    }
    "#);
    let back: VerdictJson = serde_json::from_str(&json.to_text().expect("serializes")).expect("reads");
    assert_eq!(back, json);
}

#[test]
fn json_has_null_for_infinite_numbers() {
    let mut comparison = comparison();
    comparison.stages[0].ratio = Some(f64::INFINITY);
    comparison.wall_clock.candidate_s = f64::NAN;
    let json = VerdictJson::from(&comparison);
    assert_eq!((json.stages[0].ratio, json.wall_clock.candidate_s), (None, None));
}
