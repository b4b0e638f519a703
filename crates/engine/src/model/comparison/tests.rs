//! Reading comparisons that earlier versions stored.

use serde_json::{Value, json};

use super::*;

/// A comparison as it was stored before reasons and notes were facts.
fn stored() -> Value {
    let stage = |verdict: Value, reason: &str| {
        let mut stage = json!({
            "key": "v1|CI", "path": ["CI"], "parent": null, "candidate_s": 2.0, "baseline_median_s": 1.0,
            "ratio": 2.0, "increase_s": 1.0, "score": 9.0, "threshold": 4.0, "probability": 0.001,
            "samples": 2, "baseline_samples": 9, "critical": true, "explained_by": null, "reason": reason,
            "location": null, "history_s": [1.0], "history_candidates": 0,
        });
        let fields = verdict.as_object().expect("fields").clone();
        stage.as_object_mut().expect("fields").extend(fields);
        stage
    };
    let error = |reason: &str| {
        json!({
            "stage": "v1|CI", "path": ["CI"], "signature": "s", "error_type": "E", "message": "m",
            "verdict": "flaky", "candidate_runs": 1, "baseline_runs_with": 2, "baseline_runs": 9,
            "reason": reason, "location": null,
        })
    };
    json!({
        "verdict": "suspect", "repo": "acme/my-app", "head_sha": "a".repeat(40), "candidate_runs": 2,
        "baseline": {
            "runs": 9, "from_sha": null, "to_sha": null, "excluded": [{ "reason": "timed out", "runs": 2 }],
        },
        "runner_factor": 1.0,
        "wall_clock": { "candidate_s": 1.0, "baseline_median_s": 1.0, "critical_path": [] },
        "stages": [
            stage(json!({ "verdict": "regressed" }), "2.00x the expected time"),
            stage(json!({ "verdict": "pass" }), ""),
            stage(json!({ "verdict": "inconclusive", "why": "3 so far" }), "3 so far"),
            stage(json!({ "verdict": "not_comparable", "why": "it failed" }), "it failed"),
        ],
        "errors": [error("flaky: in 2 of 9 runs of the base branch"), error("")],
        "structure": [{
            "key": "v1|CI / b", "path": ["CI", "b"], "change": "renamed", "from": ["CI", "a"],
            "evidence": ["at the same place"], "alias": null,
        }],
        "notes": ["What was sent contradicts GitHub: what job test sent"],
    })
}

#[test]
fn stored_text_is_kept_as_reason() {
    let read: RunComparison = serde_json::from_value(stored()).expect("an old row");
    let text = |text: &str| vec![StageFact::Text(text.to_owned())];
    let stages: Vec<_> = read.stages.iter().map(|s| (s.verdict, s.reason.clone())).collect();
    assert_eq!(
        stages,
        [
            (StageVerdict::Regressed, text("2.00x the expected time")),
            (StageVerdict::Pass, Vec::new()),
            (StageVerdict::Inconclusive, text("3 so far")),
            (StageVerdict::NotComparable, text("it failed")),
        ]
    );
    let flaky = ErrorReason::Text("flaky: in 2 of 9 runs of the base branch".into());
    assert_eq!([&read.errors[0].reason, &read.errors[1].reason], [&Some(flaky), &None]);
    assert_eq!(read.baseline.excluded[0].reason, ExclusionReason::Text("timed out".into()));
    assert!(read.contradicts_github());
}

#[test]
fn missing_error_reason_is_none() {
    let mut row = stored();
    row["errors"][0].as_object_mut().expect("fields").remove("reason");
    let read: RunComparison = serde_json::from_value(row).expect("an older row");
    assert_eq!(read.errors[0].reason, None);
}

#[test]
fn comparison_survives_being_stored() {
    let mut comparison: RunComparison = serde_json::from_value(stored()).expect("an old row");
    comparison.stages[0].reason = vec![StageFact::Absent, StageFact::Renamed { from: "a".into() }];
    comparison.errors[0].reason = Some(ErrorReason::SeenBefore);
    comparison.baseline.excluded[0].reason = ExclusionReason::TooOld { days: 90 };
    let text = serde_json::to_string(&comparison).expect("JSON");
    assert_eq!(serde_json::from_str::<RunComparison>(&text).expect("a row"), comparison);
}
