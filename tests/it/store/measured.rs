//! Errors, and runs with everything measured in them.

use pacegate_engine::model::ids::{PrNumber, RunId};
use pacegate_engine::model::run::{Lineage, MeasuredRun, PipelineRun};
use pacegate_engine::model::stage::{Frame, StageError, StageKey, StageSample};
use pacegate_store::RunFilter;

use super::runs::run_of;
use super::samples::sample;
use super::{Outcome, Store, at, repo_name, sha, store_test};

fn error(n: usize) -> StageError {
    let path = vec!["build".to_owned(), format!("test \"{n}\"")];
    StageError {
        stage: StageKey::from_path(&path),
        path,
        signature: format!("signature {n}"),
        error_type: "AssertionError".into(),
        message: format!("expected 1,\ngot '{n}' 🐢"),
        // With a line, with a frame without a line, and without a stack trace.
        frame: (n % 3 != 2).then(|| Frame {
            path: format!("tests/test_{n}.py"),
            function: String::new(),
            line: n.is_multiple_of(3).then_some(u32::MAX),
        }),
    }
}

/// The pipeline and a number of stages that no other run has.
fn wide(id: &str, stages: usize) -> Vec<StageSample> {
    let mut samples = vec![sample(&["build"], -1)];
    samples.extend((0_i64..).take(stages).map(|n| sample(&["build", &format!("{id} {n}")], n)));
    samples
}

store_test!(errors_are_kept_in_their_order_and_replaced, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let (one, two) = (RunId("r1".into()), RunId("r2".into()));
    // More than nine, to see that they are ordered by number and not by text.
    let many: Vec<StageError> = (0..12).rev().map(error).collect();
    let mut tx = store.write().await?;
    tx.record_errors(repo, &one, &many).await?;
    tx.record_errors(repo, &two, &many[..1]).await?;
    assert_eq!(tx.errors(repo, &one).await?, many);
    tx.record_errors(repo, &one, &many[3..5]).await?;
    assert_eq!(tx.errors(repo, &one).await?, many[3..5]);
    assert_eq!(tx.errors(repo, &two).await?, many[..1]);
    tx.record_errors(repo, &one, &[]).await?;
    assert!(tx.errors(repo, &one).await?.is_empty());
    tx.commit().await
});

store_test!(measured_runs_bring_their_own_stages_and_errors, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.repository("acme/other").await?.id;
    let on_pull_request = Lineage::PullRequest { number: PrNumber(5) };
    let measured = |id: &str, started, stages: usize, errors: usize| MeasuredRun {
        run: run_of(id, None, sha('a'), at(started)),
        stages: wide(id, stages),
        errors: (0..errors).map(error).collect(),
    };
    let mut written = vec![
        measured("r1", 10, 2, 1),
        // In time between the others, and left out by the filter.
        measured("r2", 20, 3, 2),
        measured("r3", 30, 0, 0),
        measured("r4", 30, 1, 3),
    ];
    written[1].run =
        PipelineRun { lineage: on_pull_request, pipeline: "deploy".into(), ..written[1].run.clone() };
    let mut tx = store.write().await?;
    for (repo, shift) in [(repo, 0), (other, 1)] {
        for m in &written {
            tx.record_run(repo, &m.run, 1).await?;
            tx.record_samples(repo, &m.run.id, &m.stages[shift..]).await?;
            tx.record_errors(repo, &m.run.id, &m.errors).await?;
        }
    }
    tx.commit().await?;
    let mut tx = store.read().await?;
    let name = repo_name("acme/app");
    let by_pipeline = RunFilter::Pipeline("build".into(), at(30));
    let read = tx.measured_runs(repo, &name, &by_pipeline, 10).await?;
    assert_eq!(read, [written[3].clone(), written[2].clone(), written[0].clone()]);
    let read = tx.measured_runs(repo, &name, &RunFilter::PullRequest(PrNumber(5)), 10).await?;
    assert_eq!(read, written[1..2]);
    assert_eq!(tx.measured_runs(repo, &name, &by_pipeline, 1).await?, written[3..]);
    assert!(tx.measured_runs(repo, &name, &RunFilter::Head(sha('f')), 10).await?.is_empty());
    Ok(())
});
