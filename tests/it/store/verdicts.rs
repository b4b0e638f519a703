//! Comparisons, and the checks and comments that show them on GitHub.

use pacegate_engine::model::comparison::{
    BaselineSummary, ErrorComparison, ErrorVerdict, Exclusion, Location, RunComparison, RunVerdict,
    StageComparison, StageVerdict, WallClock,
};
use pacegate_engine::model::ids::{ComparisonId, PrNumber, RepoId, RunId};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::policy::{CommentRule, Mistake, Mode, PolicyFacts, PolicySource, UnusablePolicy};
use pacegate_engine::model::reason::{ErrorReason, ExclusionReason, StageFact};
use pacegate_engine::model::stage::StageKey;
use pacegate_engine::model::structure::{Change, EachTime, Repetition, StructuralChange};
use pacegate_store::{CheckRow, ComparisonRow, NewComparison, StoreError, Tx};

use super::{Outcome, Store, at, repo_name, sha, store_test};

fn stage(name: &str, verdict: StageVerdict) -> StageComparison {
    let path = vec!["build".to_owned(), name.to_owned()];
    StageComparison {
        key: StageKey::from_path(&path),
        parent: Some(StageKey::from_path(&path[..1])),
        path,
        verdict,
        candidate_s: Some(0.1 + 0.2),
        baseline_median_s: Some(1.0 / 3.0),
        ratio: Some(f64::MIN_POSITIVE),
        increase_s: Some(-1e-9),
        score: None,
        threshold: Some(1e300),
        probability: None,
        workings: None,
        samples: 2,
        baseline_samples: 30,
        critical: true,
        explained_by: None,
        decision: None,
        reason: vec![StageFact::Renamed { from: "a \"stage\"".into() }],
        location: Some(Location { path: ".github/workflows/ci.yml".into(), line: 12 }),
        history_s: vec![0.1, 0.2, 0.3],
        history_candidates: 1,
    }
}

/// A comparison of a head with a stage of every verdict.
pub(super) fn comparison(head: char) -> RunComparison {
    let verdicts = [
        StageVerdict::Pass,
        StageVerdict::Suspect,
        StageVerdict::Regressed,
        StageVerdict::Improved,
        StageVerdict::New,
        StageVerdict::Removed,
        StageVerdict::Inconclusive,
        StageVerdict::NotComparable,
    ];
    RunComparison {
        verdict: RunVerdict::Pass,
        repo: repo_name("acme/app"),
        head_sha: sha(head),
        candidate_runs: 1,
        baseline: BaselineSummary {
            runs: 30,
            from_sha: Some(sha('0')),
            to_sha: None,
            excluded: vec![Exclusion { reason: ExclusionReason::Failed, runs: 2 }],
        },
        runner_factor: Some(1.02),
        wall_clock: WallClock { candidate_s: 61.5, baseline_median_s: None, critical_path: Vec::new() },
        stages: verdicts.into_iter().map(|verdict| stage(verdict.as_str(), verdict)).collect(),
        errors: vec![ErrorComparison {
            stage: StageKey::from_path(&["build".into()]),
            path: vec!["build".into()],
            signature: "s".into(),
            error_type: "E".into(),
            message: "it's 🐢".into(),
            verdict: ErrorVerdict::Flaky,
            candidate_runs: 1,
            baseline_runs_with: 2,
            baseline_runs: 30,
            reason: Some(ErrorReason::SeenBefore),
            decision: None,
            location: None,
        }],
        structure: vec![StructuralChange {
            key: StageKey::from_path(&["ci".into(), "test".into()]),
            path: vec!["ci".into(), "test".into()],
            change: Change::Repeated(Repetition {
                count: 9,
                usual_count: 4.0,
                each_s: 2.1,
                usual_each_s: 2.0,
                each: EachTime::AsBefore,
            }),
        }],
        policy: PolicyFacts {
            mode: Mode::Gate,
            comment: CommentRule::Never,
            source: PolicySource::File { path: ".github/pacegate.yml".into(), branch: "main".into() },
            unusable: Some(UnusablePolicy {
                path: ".github/pacegate.yml".into(),
                branch: Some("main".into()),
                mistakes: vec![Mistake { line: 2, column: 1, text: "unknown field `moed`".into() }],
            }),
            unusable_edit: None,
        },
        notes: vec![Note::FilesWithheld],
    }
}

/// Stores a comparison of these inputs and returns its identifier.
pub(super) async fn keep_one(
    tx: &mut Tx,
    repo: RepoId,
    id: &str,
    evaluation: i64,
    inputs: &str,
    comparison: &RunComparison,
) -> Result<ComparisonId, StoreError> {
    let run = RunId(format!("run of {id}"));
    let baseline_run = RunId("a run of the baseline".into());
    let new = NewComparison {
        head_sha: &comparison.head_sha,
        evaluation,
        inputs_digest: inputs,
        run: &run,
        baseline_run: Some(&baseline_run),
        pull_request: Some(PrNumber(5)),
        comparison,
    };
    tx.record_comparison(repo, &ComparisonId(id.to_owned()), &new, at(9)).await
}

/// Stores a comparison of a head.
pub(super) async fn keep(
    tx: &mut Tx,
    repo: RepoId,
    id: &str,
    head: char,
    evaluation: i64,
    inputs: &str,
) -> Result<ComparisonId, StoreError> {
    keep_one(tx, repo, id, evaluation, inputs, &comparison(head)).await
}

fn id(text: &str) -> ComparisonId {
    ComparisonId(text.to_owned())
}

store_test!(comparison_is_read_as_written, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.repository("acme/other").await?.id;
    let mut tx = store.write().await?;
    assert_eq!(keep(&mut tx, repo, "c1", 'a', 1, "inputs").await?, id("c1"));
    let expected = ComparisonRow {
        id: id("c1"),
        evaluation: 1,
        run: RunId("run of c1".into()),
        trace: None,
        baseline_run: Some(RunId("a run of the baseline".into())),
        pull_request: Some(PrNumber(5)),
        comparison: comparison('a'),
        created_at: at(9),
    };
    assert_eq!(tx.comparison(repo, &id("c1")).await?.as_ref(), Some(&expected));
    assert_eq!(tx.newest_comparison(repo, &sha('a')).await?, Some(expected));
    assert_eq!(tx.repository_of_comparison(&id("c1")).await?, Some(repo));
    assert_eq!(tx.comparison(other, &id("c1")).await?, None, "another repository's");
    assert_eq!(tx.repository_of_comparison(&id("c2")).await?, None);
    assert_eq!(tx.newest_comparison(repo, &sha('b')).await?, None);
    tx.commit().await
});

store_test!(same_inputs_are_one_comparison, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.write().await?;
    assert_eq!(keep(&mut tx, repo, "c1", 'a', 1, "x").await?, id("c1"));
    assert_eq!(keep(&mut tx, repo, "c2", 'a', 1, "x").await?, id("c1"));
    assert_eq!(tx.comparison(repo, &id("c2")).await?, None);
    // Other inputs, another head or another evaluation: another comparison.
    assert_eq!(keep(&mut tx, repo, "c3", 'a', 1, "y").await?, id("c3"));
    assert_eq!(keep(&mut tx, repo, "c4", 'b', 1, "x").await?, id("c4"));
    assert_eq!(keep(&mut tx, repo, "c5", 'a', 2, "x").await?, id("c5"));
    assert_eq!(keep(&mut tx, repo, "c6", 'a', 1, "z").await?, id("c6"));
    let newest = tx.newest_comparison(repo, &sha('a')).await?.map(|row| row.id);
    assert_eq!(newest, Some(id("c5")), "of the newest evaluation");
    let listed = tx.comparisons_of_runs(repo, 3).await?;
    let ids: Vec<_> = listed.iter().map(|(_, id, verdict)| (id.0.as_str(), verdict.as_str())).collect();
    assert_eq!(ids, [("c6", "pass"), ("c5", "pass"), ("c4", "pass")]);
    tx.commit().await
});

store_test!(evaluation_begins_and_concludes_once, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let head = sha('a');
    let begun = |evaluation, begun_at| CheckRow {
        evaluation,
        begun_at: at(begun_at),
        github_check_run_id: None,
        concluded_at: None,
        comparison: None,
        shown_digest: None,
    };
    let mut tx = store.write().await?;
    assert_eq!(tx.newest_check(repo, &head).await?, None);
    assert!(tx.begin_check(repo, &head, 1, at(1)).await?);
    assert!(!tx.begin_check(repo, &head, 1, at(2)).await?);
    assert_eq!(tx.newest_check(repo, &head).await?, Some(begun(1, 1)));
    tx.record_check_run(repo, &head, 1, 900).await?;
    tx.conclude_check(repo, &head, 1, Some(&id("c1")), at(3)).await?;
    let concluded = CheckRow {
        evaluation: 1,
        begun_at: at(1),
        github_check_run_id: Some(900),
        concluded_at: Some(at(3)),
        comparison: Some(id("c1")),
        shown_digest: None,
    };
    assert_eq!(tx.check(repo, &head, 1).await?, Some(concluded.clone()));
    // The next evaluation has its own check run; the first stays as it was.
    assert!(tx.begin_check(repo, &head, 2, at(4)).await?);
    tx.conclude_check(repo, &head, 2, None, at(5)).await?;
    assert_eq!(
        tx.newest_check(repo, &head).await?,
        Some(CheckRow { concluded_at: Some(at(5)), ..begun(2, 4) })
    );
    assert_eq!(tx.check(repo, &head, 1).await?, Some(concluded));
    assert!(!tx.begin_check(repo, &head, 1, at(6)).await?);
    assert_eq!(tx.check(repo, &head, 3).await?, None);
    assert_eq!(tx.newest_check(repo, &sha('b')).await?, None);
    tx.commit().await
});

store_test!(pull_request_has_one_comment, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.write().await?;
    assert_eq!(tx.comment(repo, PrNumber(5)).await?, None);
    tx.record_comment(repo, PrNumber(5), 77, &id("c1")).await?;
    tx.record_comment(repo, PrNumber(6), 78, &id("c1")).await?;
    tx.record_comment(repo, PrNumber(5), 79, &id("c2")).await?;
    assert_eq!(tx.comment(repo, PrNumber(5)).await?, Some((79, id("c2"))));
    assert_eq!(tx.comment(repo, PrNumber(6)).await?, Some((78, id("c1"))));
    tx.commit().await
});
