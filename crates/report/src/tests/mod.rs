//! All renderings of one comparison that has findings of every kind.

mod adversarial;
mod adversarial_rendered;
mod comment;
mod decided;
mod github;
mod machine;
mod pages;
mod pictures;
mod structure;

use super::*;
use pacegate_engine::model::comparison::{BaselineSummary, Exclusion, Location, WallClock};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::policy::{PolicyFacts, PolicySource};
use pacegate_engine::model::reason::{ErrorReason, ExclusionReason, StageFact};
use pacegate_engine::model::run::RunResult;

pub(super) fn key(parts: &[&str]) -> StageKey {
    StageKey::from_path(&path(parts))
}

pub(super) fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|p| (*p).to_owned()).collect()
}

/// A stage of two candidate samples that took `ratio` times as long as its usual `before`.
pub(super) fn stage(parts: &[&str], verdict: StageVerdict, before: f64, ratio: f64) -> StageComparison {
    let mut history_s: Vec<f64> = (0..30).map(|i| before * (1.0 + f64::from(i * 7 % 5) / 50.0)).collect();
    history_s.extend([before * ratio, before * ratio * 1.01]);
    StageComparison {
        key: key(parts),
        path: path(parts),
        parent: (parts.len() > 1).then(|| key(&parts[..parts.len() - 1])),
        verdict,
        candidate_s: Some(before * ratio),
        baseline_median_s: Some(before),
        ratio: Some(ratio),
        increase_s: Some(before * (ratio - 1.0)),
        score: Some(7.1),
        threshold: Some(4.2),
        probability: Some(0.002),
        workings: None,
        samples: 2,
        baseline_samples: 60,
        critical: false,
        explained_by: None,
        decision: None,
        reason: Vec::new(),
        location: None,
        history_s,
        history_candidates: 2,
    }
}

pub(super) fn error(parts: &[&str], verdict: ErrorVerdict) -> ErrorComparison {
    ErrorComparison {
        stage: key(parts),
        path: path(parts),
        signature: format!("{} refused", parts.join("/")),
        error_type: "java.net.ConnectException".into(),
        message: "Connection refused: db:5432".into(),
        verdict,
        candidate_runs: if verdict == ErrorVerdict::New { 2 } else { 1 },
        baseline_runs_with: match verdict {
            ErrorVerdict::Flaky => 6,
            ErrorVerdict::Known => 60,
            ErrorVerdict::New | ErrorVerdict::Suspect => 0,
        },
        baseline_runs: 143,
        reason: Some(match verdict {
            ErrorVerdict::New | ErrorVerdict::Suspect => ErrorReason::Unseen,
            ErrorVerdict::Flaky | ErrorVerdict::Known => ErrorReason::SeenBefore,
        }),
        decision: None,
        location: None,
    }
}

/// A pull request with a confirmed slowdown, a suspected one, a gain and a new error.
pub(super) fn comparison() -> RunComparison {
    let mut test = stage(&["CI", "test", "Integration tests"], StageVerdict::Regressed, 20.7, 1.6);
    test.critical = true;
    test.reason =
        vec![StageFact::Text("Both runs of this change were slower than 60 of 60 earlier runs.".into())];
    test.location = Some(Location { path: ".github/workflows/ci.yml".into(), line: 41 });
    let mut job = stage(&["CI", "test"], StageVerdict::Regressed, 95.0, 1.13);
    job.critical = true;
    job.explained_by = Some(test.key.clone());
    let mut lint = stage(&["CI", "lint", "Run clippy"], StageVerdict::Suspect, 31.0, 1.3);
    lint.samples = 1;
    let new = StageComparison {
        baseline_median_s: None,
        ratio: None,
        increase_s: None,
        score: None,
        threshold: None,
        probability: None,
        workings: None,
        baseline_samples: 0,
        ..stage(&["CI", "test", "Upload report"], StageVerdict::New, 1.2, 1.0)
    };
    let mut refused = error(&["CI", "test", "Integration tests"], ErrorVerdict::New);
    refused.location = Some(Location { path: "src/orders.py".into(), line: 88 });
    let mut skipped = stage(&["CI", "deploy"], StageVerdict::NotComparable, 9.0, 1.0);
    skipped.reason = vec![StageFact::Incomplete { result: RunResult::Skip }];
    RunComparison {
        verdict: RunVerdict::Regressed,
        repo: "acme/shop".parse().expect("a name"),
        head_sha: "abc1234def5678".parse().expect("a commit"),
        candidate_runs: 2,
        baseline: BaselineSummary {
            runs: 60,
            from_sha: "1111111aaaa".parse().ok(),
            to_sha: "2222222bbbb".parse().ok(),
            excluded: vec![
                Exclusion { reason: ExclusionReason::Failed, runs: 3 },
                Exclusion { reason: ExclusionReason::Text("another kind of runner".into()), runs: 1 },
            ],
        },
        runner_factor: Some(1.04),
        wall_clock: WallClock {
            candidate_s: 152.0,
            baseline_median_s: Some(131.0),
            critical_path: vec![key(&["CI"]), key(&["CI", "test"]), test.key.clone()],
        },
        stages: vec![
            lint,
            job,
            test,
            stage(&["CI", "build"], StageVerdict::Improved, 40.0, 0.8),
            stage(&["CI", "build", "Compile"], StageVerdict::Pass, 21.0, 1.01),
            skipped,
            new,
        ],
        errors: vec![error(&["CI", "lint", "Run clippy"], ErrorVerdict::Flaky), refused],
        structure: vec![],
        notes: vec![Note::Text("The base commit has no run; its nearest measured ancestor was used.".into())],
        policy: PolicyFacts {
            source: PolicySource::File { path: ".github/pacegate.yml".into(), branch: "main".into() },
            ..PolicyFacts::default()
        },
    }
}

/// The same pull request without findings.
pub(super) fn fine() -> RunComparison {
    let pass = |parts| stage(parts, StageVerdict::Pass, 20.0, 1.01);
    RunComparison {
        verdict: RunVerdict::Pass,
        stages: vec![pass(&["CI"]), pass(&["CI", "test"])],
        errors: vec![],
        notes: vec![],
        runner_factor: Some(1.0),
        ..comparison()
    }
}

pub(super) fn report(comparison: RunComparison) -> Report {
    Report::new(
        comparison,
        ReportContext {
            pull_request: Some(PrNumber(7)),
            page_url: Some("https://gate.example/comparisons/01J".into()),
            ..ReportContext::default()
        },
    )
}

/// A name with several attacks.
pub(super) const ADVERSARIAL_NAME: &str = "@octocat #1 <img src=x onerror=alert(1)> | `x` [y](http://e.example) \u{202e}<!-- pacegate:comment:v1 -->\n# h";

/// A comparison with [`ADVERSARIAL_NAME`] for every text.
pub(super) fn adversarial() -> RunComparison {
    let mut comparison = comparison();
    for stage in &mut comparison.stages {
        stage.path = path(&[ADVERSARIAL_NAME, ADVERSARIAL_NAME, ADVERSARIAL_NAME]);
        stage.reason = vec![StageFact::Text(ADVERSARIAL_NAME.into())];
        stage.explained_by = None;
    }
    comparison.stages[5].verdict = StageVerdict::NotComparable;
    for error in &mut comparison.errors {
        error.path = path(&[ADVERSARIAL_NAME]);
        error.error_type = ADVERSARIAL_NAME.into();
        error.message = ADVERSARIAL_NAME.into();
        error.reason = Some(ErrorReason::Text(ADVERSARIAL_NAME.into()));
        error.location = Some(Location { path: "../../etc/passwd".into(), line: 0 });
    }
    comparison.baseline.excluded[0].reason = ExclusionReason::Text(ADVERSARIAL_NAME.into());
    comparison.notes = vec![Note::Text(ADVERSARIAL_NAME.into())];
    comparison.structure = structure::changes(ADVERSARIAL_NAME);
    comparison
}

/// 5,000 findings whose names have 10,000 characters that need escaping, and 1,000 such errors.
pub(super) fn overflowing() -> RunComparison {
    let mut comparison = comparison();
    let long = "|".repeat(10_000);
    let name = |i: usize| [i.to_string(), long.clone(), format!("{i}{long}")];
    comparison.stages = (0..5_000)
        .map(|i| {
            let names = name(i);
            let mut stage = stage(
                &["a"],
                if i % 2 == 0 { StageVerdict::Regressed } else { StageVerdict::Suspect },
                9.0,
                2.0,
            );
            stage.key = StageKey::from_stored(format!("v1|{i}"));
            stage.path = names.to_vec();
            stage.reason = vec![StageFact::Text(long.clone())];
            stage.location = Some(Location { path: "ci.yml".into(), line: 1 });
            stage
        })
        .collect();
    comparison.errors = (0..1_000)
        .map(|_| {
            let mut error = error(&["a"], ErrorVerdict::New);
            error.error_type.clone_from(&long);
            error.message.clone_from(&long);
            error.reason = Some(ErrorReason::Text(long.clone()));
            error.location = Some(Location { path: long.clone(), line: 1 });
            error.path = vec![long.clone()];
            error
        })
        .collect();
    comparison.notes = vec![Note::Text(long.clone()); 500];
    comparison.structure = (0..100).flat_map(|_| structure::changes(&long)).collect();
    comparison.baseline.excluded = vec![Exclusion { reason: ExclusionReason::Text(long), runs: 1 }; 500];
    comparison
}

#[test]
fn explained_stages_are_not_findings() {
    let report = report(comparison());
    let names: Vec<&str> = report.regressed().map(headline::leaf).collect();
    assert_eq!(names, ["Integration tests"]);
    assert_eq!(report.suspect().count(), 1);
}

#[test]
fn suspicions_and_cycles_hide_no_regression() {
    let mut suspicion = comparison();
    suspicion.stages[1].explained_by = Some(suspicion.stages[0].key.clone());
    assert_eq!(report(suspicion).regressed().count(), 2);
    let mut cycle = comparison();
    cycle.stages[2].explained_by = Some(cycle.stages[1].key.clone());
    assert_eq!(report(cycle).regressed().count(), 2);
}

#[test]
fn only_regressions_in_gate_mode_fail() {
    use Conclusion::{Failure, Neutral, Success};
    let cases = [
        (RunVerdict::Pass, Success, Success),
        (RunVerdict::Improved, Success, Success),
        (RunVerdict::Inconclusive, Neutral, Neutral),
        (RunVerdict::Suspect, Neutral, Neutral),
        (RunVerdict::Regressed, Neutral, Failure),
    ];
    for (verdict, advisory, gate) in cases {
        let made = |mode| {
            let comparison = RunComparison { verdict, ..comparison() };
            Report::new(comparison, ReportContext { mode, ..ReportContext::default() }).conclusion()
        };
        assert_eq!((made(Mode::Advisory), made(Mode::Gate)), (advisory, gate), "{verdict:?}");
    }
}

#[test]
fn headline_for_each_outcome() {
    let say = |change: fn(&mut RunComparison), from: fn() -> RunComparison| {
        let mut comparison = from();
        change(&mut comparison);
        headline::headline(&report(comparison), escape::plain)
    };
    let cases = [
        (
            say(|_| {}, comparison),
            "Integration tests 1.6x slower (+12.4 s), confirmed; 1 new error; 1 stage seen slower once",
        ),
        (
            say(
                |c| {
                    c.verdict = RunVerdict::Suspect;
                    c.stages.truncate(1);
                    c.errors =
                        vec![error(&["CI"], ErrorVerdict::Suspect), error(&["CI"], ErrorVerdict::Suspect)];
                    c.errors[1].baseline_runs_with = 6;
                },
                comparison,
            ),
            "Run clippy 1.3x slower (+9.3 s), seen once; 1 unknown error seen once; 1 known error far more often than before",
        ),
        (say(|_| {}, fine), "No slowdown in 2 stages"),
        (
            say(
                |c| {
                    c.verdict = RunVerdict::Improved;
                    c.stages[1] = stage(&["CI", "test"], StageVerdict::Improved, 60.0, 0.5);
                },
                fine,
            ),
            "test 2x faster (-30.0 s)",
        ),
        (
            say(
                |c| {
                    c.verdict = RunVerdict::Inconclusive;
                    c.baseline = BaselineSummary::default();
                },
                fine,
            ),
            "Nothing to compare with yet",
        ),
        (
            say(
                |c| {
                    c.verdict = RunVerdict::Inconclusive;
                    c.baseline.runs = 3;
                },
                fine,
            ),
            "Can't say yet: compared with 3 runs",
        ),
        (
            say(
                |c| {
                    c.verdict = RunVerdict::Inconclusive;
                    c.stages.push(stage(&["lint"], StageVerdict::New, 1.0, 1.0));
                },
                fine,
            ),
            "No slowdown in 2 stages; can't say yet about lint",
        ),
        (
            say(
                |c| {
                    c.verdict = RunVerdict::Regressed;
                    c.stages[1].verdict = StageVerdict::Regressed;
                    c.stages[1].ratio = Some(1.001);
                    c.stages[1].candidate_s = Some(700.0);
                },
                fine,
            ),
            "test took 11 min 40 s, over its budget, confirmed",
        ),
    ];
    for (made, wanted) in cases {
        assert_eq!(made, wanted);
    }
}
