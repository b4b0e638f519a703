//! Runs: one row for each trace, even if it is collected again, found by commit, pull request or
//! pipeline.

use pacegate_engine::model::environment::RunnerClass;
use pacegate_engine::model::ids::{CommitSha, PrNumber, RepoId, RunId, TraceId};
use pacegate_engine::model::note::Note;
use pacegate_engine::model::run::{Lineage, PipelineRun, RunResult};
use pacegate_engine::model::time::Timestamp;
use pacegate_store::PullRequestRow;
use pacegate_store::{RunFilter, StoreError, StoredRun, Tx};

use super::{Outcome, Store, at, repo_name, sha, store_test};

pub(super) fn trace(n: u8) -> TraceId {
    TraceId::from_bytes(&[n; 16]).expect("not zero")
}

/// A run of `acme/app` on its main branch.
pub(super) fn run_of(
    id: &str,
    trace: Option<TraceId>,
    head_sha: CommitSha,
    started_at: Timestamp,
) -> PipelineRun {
    PipelineRun {
        id: RunId(id.into()),
        repo: repo_name("acme/app"),
        pipeline: "build".into(),
        external_id: None,
        trace_id: trace,
        attempt: 1,
        head_sha,
        lineage: Lineage::Branch { name: "main".into() },
        result: RunResult::Success,
        runner: RunnerClass::default(),
        started_at,
        duration_ns: 1_000_000_000,
        workflow_path: None,
        notes: Vec::new(),
    }
}

async fn listed(
    tx: &mut Tx,
    repo: RepoId,
    filter: &RunFilter,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    let runs = tx.list_runs(repo, &repo_name("acme/app"), filter, limit).await?;
    Ok(runs.into_iter().map(|stored| stored.run.id.0).collect())
}

store_test!(run_is_read_as_written, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?;
    let lineages = [
        Lineage::Branch { name: "feature/ü".into() },
        Lineage::PullRequest { number: PrNumber(7) },
        Lineage::Unknown,
    ];
    let results = [RunResult::Success, RunResult::Timeout, RunResult::Cancellation];
    let mut tx = store.write().await?;
    for (n, (lineage, result)) in (1_u8..).zip(lineages.into_iter().zip(results)) {
        let run = PipelineRun {
            external_id: Some("run '7'".into()),
            attempt: u32::MAX,
            lineage,
            result,
            runner: RunnerClass {
                os: Some("linux".into()),
                arch: None,
                labels: vec!["a,b".into(), "\"c\"".into()],
            },
            duration_ns: i64::MAX,
            workflow_path: Some(".github/workflows/ci.yml".into()),
            notes: vec![
                Note::ContradictsGitHub { job: "a \"job\"\n\u{0}".into(), spans: 3 },
                Note::Text("ünïcödé 🐢".into()),
            ],
            ..run_of(&format!("r{n}"), Some(trace(n)), sha('a'), at(i64::from(n)))
        };
        assert_eq!(tx.record_run(repo.id, &run, 3).await?, run.id);
        let read = tx.run(repo.id, &repo.name, &run.id).await?;
        assert_eq!(read, Some(StoredRun { run, collections: 3 }));
    }
    assert_eq!(tx.run(repo.id, &repo.name, &RunId("nothing".into())).await?, None);
    tx.commit().await
});

store_test!(trace_collected_again_is_the_same_run, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?;
    let other = store.repository("acme/other").await?;
    let mut tx = store.write().await?;
    let first = run_of("r1", Some(trace(1)), sha('a'), at(1));
    assert_eq!(tx.record_run(repo.id, &first, 1).await?, RunId("r1".into()));
    let again = PipelineRun {
        pipeline: "deploy".into(),
        external_id: Some("9".into()),
        attempt: 2,
        lineage: Lineage::PullRequest { number: PrNumber(3) },
        result: RunResult::Failure,
        duration_ns: 2,
        notes: vec![Note::LateSpansLeftOut],
        ..run_of("r2", Some(trace(1)), sha('b'), at(2))
    };
    assert_eq!(tx.record_run(repo.id, &again, 2).await?, RunId("r1".into()));
    let read = tx.run(repo.id, &repo.name, &RunId("r1".into())).await?;
    let expected = PipelineRun { id: RunId("r1".into()), ..again };
    assert_eq!(read, Some(StoredRun { run: expected, collections: 2 }));
    // The same trace in another repository is another run. Runs without a trace are distinct.
    assert_eq!(tx.record_run(other.id, &first, 1).await?, RunId("r1".into()));
    for id in ["r3", "r4"] {
        assert_eq!(tx.record_run(repo.id, &run_of(id, None, sha('a'), at(1)), 1).await?.0, id);
    }
    assert_eq!(listed(&mut tx, repo.id, &RunFilter::All, 10).await?.len(), 3);
    tx.commit().await
});

store_test!(concurrent_collections_of_trace_make_one_run, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?;
    let other = store.again().await?;
    let record = async |db: &pacegate_store::Db, id: &str| {
        let mut tx = db.write().await?;
        let id = tx.record_run(repo.id, &run_of(id, Some(trace(1)), sha('a'), at(1)), 1).await?;
        tx.commit().await?;
        Ok::<RunId, StoreError>(id)
    };
    let (one, two) = tokio::join!(record(&store.db, "r1"), record(&other, "r2"));
    assert_eq!(one?, two?);
    Ok(())
});

store_test!(filters_find_runs_newest_first, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.repository("acme/other").await?.id;
    let mut tx = store.write().await?;
    let on_pull_request = Lineage::PullRequest { number: PrNumber(5) };
    let rows = [
        run_of("r1", None, sha('a'), at(10)),
        PipelineRun { lineage: on_pull_request.clone(), ..run_of("r2", None, sha('b'), at(30)) },
        PipelineRun { pipeline: "deploy".into(), ..run_of("r3", None, sha('a'), at(20)) },
        PipelineRun { lineage: on_pull_request, ..run_of("r4", None, sha('c'), at(20)) },
    ];
    for row in &rows {
        tx.record_run(repo, row, 1).await?;
    }
    tx.record_run(other, &run_of("r9", None, sha('a'), at(99)), 1).await?;
    assert_eq!(listed(&mut tx, repo, &RunFilter::All, 10).await?, ["r2", "r4", "r3", "r1"]);
    assert_eq!(listed(&mut tx, repo, &RunFilter::All, 2).await?, ["r2", "r4"]);
    assert_eq!(listed(&mut tx, repo, &RunFilter::Head(sha('a')), 10).await?, ["r3", "r1"]);
    assert_eq!(listed(&mut tx, repo, &RunFilter::PullRequest(PrNumber(5)), 10).await?, ["r2", "r4"]);
    assert!(listed(&mut tx, repo, &RunFilter::PullRequest(PrNumber(6)), 10).await?.is_empty());
    let until = |seconds| RunFilter::Pipeline("build".into(), at(seconds));
    assert_eq!(listed(&mut tx, repo, &until(20), 10).await?, ["r4", "r1"], "at the time itself too");
    assert_eq!(listed(&mut tx, repo, &until(19), 10).await?, ["r1"]);
    tx.commit().await
});

store_test!(runs_of_head_are_assigned_to_pull_request, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?;
    let mut tx = store.write().await?;
    // Pull request 4 had the head `c`. Its head `a` is only stated by the spans.
    let of_another = Lineage::PullRequest { number: PrNumber(4) };
    tx.record_head(repo.id, PrNumber(4), &sha('c'), at(1)).await?;
    let rows = [
        run_of("r1", None, sha('a'), at(1)),
        PipelineRun { lineage: Lineage::Unknown, ..run_of("r2", None, sha('a'), at(2)) },
        PipelineRun { lineage: of_another.clone(), ..run_of("r3", None, sha('a'), at(3)) },
        run_of("r4", None, sha('b'), at(4)),
        PipelineRun { lineage: of_another.clone(), ..run_of("r5", None, sha('c'), at(5)) },
    ];
    for row in &rows {
        tx.record_run(repo.id, row, 1).await?;
    }
    let into_main = PullRequestRow {
        number: PrNumber(6),
        is_open: true,
        head_sha: sha('b'),
        base_branch: "main".into(),
        base_sha: None,
        is_from_fork: false,
    };
    tx.record_pull_request(repo.id, &into_main, at(9)).await?;
    tx.assign_runs_to_pull_request(repo.id, &sha('a'), PrNumber(5), true).await?;
    // A commit of main that is to be merged into another branch stays a commit of main.
    tx.assign_runs_to_pull_request(repo.id, &sha('b'), PrNumber(6), false).await?;
    tx.assign_runs_to_pull_request(repo.id, &sha('c'), PrNumber(7), true).await?;
    let mut lineages = Vec::new();
    for row in &rows {
        lineages.extend(tx.run(repo.id, &repo.name, &row.id).await?.map(|stored| stored.run.lineage));
    }
    let of_this = Lineage::PullRequest { number: PrNumber(5) };
    let main = Lineage::Branch { name: "main".into() };
    assert_eq!(lineages, [of_this.clone(), of_this.clone(), of_this, main, of_another]);
    tx.commit().await
});
