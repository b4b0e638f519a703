//! Collections: spans become a run, samples and a comparison, and late spans make the run again.

use pacegate_engine::model::run::{Lineage, RunResult};
use pacegate_engine::model::span::SpanEvent;
use pacegate_store::{RunFilter, StoredRun};

use super::*;
use crate::store::{repo_name, sha};

async fn runs(store: &Store, repo: RepoId) -> Result<Vec<StoredRun>, StoreError> {
    store.read().await?.list_runs(repo, &repo_name("acme/app"), &RunFilter::All, 100).await
}

async fn stages(store: &Store, repo: RepoId, run: &StoredRun) -> Result<Vec<String>, StoreError> {
    let samples = store.read().await?.samples(repo, &run.run.id).await?;
    Ok(samples.iter().map(|sample| sample.path.join(" / ")).collect())
}

store_test!(spans_become_run_samples_and_comparison, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    let mut spans = whole(trace(1));
    let rest = spans.split_off(1);
    bench.push(repo, rest).await?;
    bench.push(repo, spans).await?;
    assert!(runs(store, repo).await?.is_empty(), "it is not quiet yet");
    bench.pass(SETTLE);
    bench.drained().await?;
    let collected = runs(store, repo).await?;
    assert_eq!(collected.len(), 1);
    let run = &collected[0];
    assert_eq!((run.collections, run.run.trace_id, run.run.result), (1, Some(trace(1)), RunResult::Success));
    assert_eq!((run.run.pipeline.as_str(), &run.run.head_sha), ("build", &sha('a')));
    assert_eq!(run.run.lineage, Lineage::Branch { name: "main".into() });
    assert_eq!(stages(store, repo, run).await?, ["build", "build / compile", "build / test"]);
    let comparison = store.read().await?.newest_comparison(repo, &sha('a')).await?.expect("a comparison");
    assert_eq!((comparison.run, comparison.evaluation), (run.run.id.clone(), 1));
    assert!(bench.work.traces.get(repo, trace(1)).await?.is_some(), "the raw trace is kept");
    worker.stop().await;
    assert_eq!(bench.ended("collect_run", "done"), 1);
    drop(bench.traces);
    Ok(())
});

store_test!(late_spans_update_the_same_run, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    bench.push(repo, whole(trace(1))).await?;
    bench.pass(SETTLE);
    bench.drained().await?;
    let first = runs(store, repo).await?;
    let said = store.read().await?.newest_comparison(repo, &sha('a')).await?.expect("a comparison");
    bench.pass(seconds(3_600));
    bench.push(repo, vec![span(trace(1), 4, 1, "deploy")]).await?;
    bench.pass(SETTLE);
    bench.drained().await?;
    let again = runs(store, repo).await?;
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0].run.id, again[0].collections), (&first[0].run.id, 2));
    let expected = ["build", "build / compile", "build / test", "build / deploy"];
    assert_eq!(stages(store, repo, &again[0]).await?, expected);
    let newest = store.read().await?.newest_comparison(repo, &sha('a')).await?.expect("a comparison");
    assert_ne!(newest.id, said.id, "other inputs are another comparison");
    assert_eq!(newest.comparison.stages.len(), said.comparison.stages.len() + 1);
    worker.stop().await;
    Ok(())
});

store_test!(growing_trace_is_waited_for, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    bench.push(repo, whole(trace(1))).await?;
    bench.pass(seconds(20));
    bench.push(repo, vec![span(trace(1), 4, 1, "deploy")]).await?;
    // The task is due, but the trace is not quiet: the task is postponed.
    bench.pass(seconds(10));
    eventually("the task to be postponed", DEADLINE, || async {
        (bench.ended("collect_run", "postponed") == 1).then_some(())
    })
    .await;
    assert!(runs(store, repo).await?.is_empty());
    bench.pass(seconds(20));
    bench.drained().await?;
    let collected = runs(store, repo).await?;
    assert_eq!((collected.len(), collected[0].collections), (1, 1));
    assert_eq!(stages(store, repo, &collected[0]).await?.len(), 4);
    worker.stop().await;
    Ok(())
});

store_test!(trace_without_root_is_not_collected, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    bench.push(repo, whole(trace(1)).split_off(1)).await?;
    bench.push(repo, whole(trace(2))).await?;
    bench.pass(seconds(3_600));
    bench.drained().await?;
    let collected = runs(store, repo).await?;
    assert_eq!(collected.iter().map(|run| run.run.trace_id).collect::<Vec<_>>(), [Some(trace(2))]);
    let waiting = store.read().await?.open_trace(repo, trace(1)).await?.expect("it still waits");
    assert_eq!((waiting.collections, waiting.has_root), (0, 0));
    worker.stop().await;
    Ok(())
});

store_test!(trace_without_commit_is_not_a_run, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    let nameless = Span { resource: Arc::default(), ..span(trace(1), 1, 0, "build") };
    bench.push(repo, vec![nameless]).await?;
    bench.pass(SETTLE);
    bench.drained().await?;
    assert!(runs(store, repo).await?.is_empty());
    worker.stop().await;
    Ok(())
});

// PostgreSQL's texts can't hold a zero byte, and a producer may send one anywhere.
store_test!(zero_bytes_in_spans_are_accepted, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    let mut spans = whole(trace(1));
    let resource = [
        ("vcs.ref.head.revision", sha('a').as_str().to_owned()),
        ("vcs.ref.head.name", "ma\0in".to_owned()),
        ("cicd.pipeline.name", "bu\0ild".to_owned()),
        ("cicd.pipeline.run.id", "7\0".to_owned()),
        ("os.type", "li\0nux".to_owned()),
    ];
    let resource = resource.each_ref().map(|(key, value)| (*key, value.as_str()));
    spans[0].resource = Arc::new(Resource { attributes: texts(&resource), dropped_attributes: 0 });
    spans[1].name = "com\0pile".to_owned();
    spans[2].status = SpanStatus::Error("fai\0led".to_owned());
    spans[2].events = vec![SpanEvent {
        dropped_attributes: 0,
        name: "exception".to_owned(),
        time_ns: at(0).0 * 1_000,
        attributes: texts(&[("exception.type", "Err\0or"), ("exception.message", "at \0 byte")]),
    }];
    bench.push(repo, spans).await?;
    bench.pass(SETTLE);
    eventually("a run", DEADLINE, || async {
        assert_eq!(bench.ended("collect_run", "retried"), 0, "the database refused it");
        (bench.ended("collect_run", "done") == 1).then_some(())
    })
    .await;
    let collected = runs(store, repo).await?;
    assert_eq!(stages(store, repo, &collected[0]).await?.len(), 3);
    assert_eq!(store.read().await?.errors(repo, &collected[0].run.id).await?.len(), 1);
    worker.stop().await;
    Ok(())
});
