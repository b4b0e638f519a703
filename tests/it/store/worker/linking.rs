//! Linked traces of one pipeline run become one run in any order. Traces of other runs do not join.
//! Also traces without a root, and spans that come too often.

use std::sync::atomic::AtomicU8;

use pacegate_engine::model::note::Note;
use pacegate_engine::model::run::{Lineage, RunResult};
use pacegate_engine::model::span::SpanLink;
use pacegate_store::{RunFilter, StoredRun};

use super::*;
use crate::store::runs::run_of;
use crate::store::{repo_name, sha};

async fn runs(store: &Store, repo: RepoId) -> Result<Vec<StoredRun>, StoreError> {
    store.read().await?.list_runs(repo, &repo_name("acme/app"), &RunFilter::All, 100).await
}

/// A trace of this pipeline run. Its root is linked to a span of another trace.
fn of_run(n: u8, run: &str, linked_with: Option<u8>) -> Vec<Span> {
    let mut spans = whole(trace(n));
    for span in &mut spans {
        span.name = format!("{} of {n}", span.name);
        span.attributes = texts(&[("cicd.pipeline.run.id", run)]);
    }
    if let Some(other) = linked_with {
        let span_id = SpanId::from_bytes(&[0, 0, 0, 0, 0, 0, 0, 2]).expect("an id");
        spans[0].links =
            vec![SpanLink { trace_id: trace(other), span_id, attributes: Attributes::default() }];
    }
    spans
}

/// The trace without its commit, as a consumer sends it that does not know the commit.
fn without_commit(mut spans: Vec<Span>) -> Vec<Span> {
    for span in &mut spans {
        span.resource = Arc::default();
    }
    spans
}

store_test!(linked_traces_are_one_run_in_any_order, async |store: &Store| -> Outcome {
    let cases = [
        ("acme/one", [of_run(1, "7", None), of_run(2, "7", Some(1))]),
        ("acme/two", [of_run(2, "7", Some(1)), of_run(1, "7", None)]),
        ("acme/three", [without_commit(of_run(2, "7", Some(1))), of_run(1, "7", None)]),
    ];
    for (name, pushes) in cases {
        let repo = store.repository(name).await?.id;
        let bench = Bench::new(store);
        let worker = Loop::start(bench.work.clone(), 4);
        for spans in pushes {
            bench.push(repo, spans).await?;
            bench.pass(SETTLE);
            bench.drained().await?;
        }
        let runs = runs(store, repo).await?;
        assert_eq!(runs.len(), 1, "{name}");
        assert_eq!(
            runs[0].run.trace_id,
            Some(trace(1)),
            "{name}: the trace that was not started by the other"
        );
        let samples = store.read().await?.samples(repo, &runs[0].run.id).await?;
        let paths: Vec<(String, bool)> =
            samples.iter().map(|sample| (sample.path.join(" / "), sample.asynchronous)).collect();
        let linked = "build / compile of {n} / build of {n}";
        let expected = [
            ("build".to_owned(), false),
            ("build / compile of {n}".into(), false),
            ("build / test of {n}".into(), false),
            (linked.into(), true),
            (format!("{linked} / compile of {{n}}"), true),
            (format!("{linked} / test of {{n}}"), true),
        ];
        let names = |(path, by_message): &(String, bool)| {
            (path.replace(" of 1", " of {n}").replace(" of 2", " of {n}"), *by_message)
        };
        let found: std::collections::BTreeSet<_> = paths.iter().map(names).collect();
        assert_eq!(found, expected.into_iter().collect(), "{name}");
        let comparison = store.read().await?.newest_comparison(repo, &sha('a')).await?.expect("a comparison");
        assert_eq!(comparison.run, runs[0].run.id, "{name}");
        let raw = [1, 2].map(|n| bench.work.traces.get(repo, trace(n)));
        let [first, second] = raw;
        assert_eq!((first.await?.is_some(), second.await?.is_some()), (true, false), "{name}");
        worker.stop().await;
    }
    Ok(())
});

store_test!(comparison_of_part_refers_to_whole_run, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    bench.push(repo, of_run(2, "7", Some(1))).await?;
    bench.pass(SETTLE);
    bench.drained().await?;
    let said = store.read().await?.newest_comparison(repo, &sha('a')).await?.expect("a comparison");
    bench.push(repo, of_run(1, "7", None)).await?;
    bench.pass(SETTLE);
    bench.drained().await?;
    let whole = runs(store, repo).await?.remove(0).run.id;
    let kept = store.read().await?.comparison(repo, &said.id).await?.expect("it is kept");
    assert_ne!(said.run, whole);
    assert_eq!((kept.run, kept.comparison), (whole, said.comparison));
    worker.stop().await;
    Ok(())
});

store_test!(foreign_traces_and_dangling_links_join_nothing, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    let mut elsewhere = of_run(3, "7", Some(1));
    for span in &mut elsewhere {
        let commit = [("vcs.ref.head.revision", sha('b').as_str().to_owned())];
        let commit = commit.each_ref().map(|(key, value)| (*key, value.as_str()));
        span.resource = Arc::new(Resource { attributes: texts(&commit), dropped_attributes: 0 });
    }
    for spans in
        [of_run(1, "7", Some(99)), of_run(2, "8", Some(1)), elsewhere, of_run(4, "7", None), whole(trace(5))]
    {
        bench.push(repo, spans).await?;
        bench.pass(SETTLE);
        bench.drained().await?;
    }
    assert_eq!(runs(store, repo).await?.len(), 5, "another run, another commit, no link, no identifier");
    assert_eq!(bench.ended("collect_run", "done"), 5);
    worker.stop().await;
    Ok(())
});

/// A trace that names no commit, is linked by a child span and began before all others.
fn earlier_by_a_child(n: u8, said: &[(&str, &str)]) -> Vec<Span> {
    let mut spans = of_run(n, "7", Some(1));
    spans[1].links = std::mem::take(&mut spans[0].links);
    for span in &mut spans {
        span.start_ns -= 60_000_000_000;
        span.resource = Arc::new(Resource { attributes: texts(said), dropped_attributes: 0 });
    }
    spans
}

store_test!(trace_of_pull_request_leaves_run_of_branch, async |store: &Store| -> Outcome {
    let change = [("vcs.change.id", "12"), ("cicd.pipeline.name", "build")];
    let mut by_root = without_commit(of_run(2, "7", Some(1)));
    for span in &mut by_root {
        span.resource = Arc::new(Resource { attributes: texts(&change), dropped_attributes: 0 });
    }
    let mut with_commit = of_run(2, "7", Some(1));
    for span in &mut with_commit {
        span.attributes.0.extend(texts(&change).0);
    }
    // Name, spans and expected number of runs.
    let cases = [
        ("by-its-root", by_root, 1),
        ("by-a-child", earlier_by_a_child(2, &change), 1),
        ("by-a-child-of-another-branch", earlier_by_a_child(2, &[("vcs.ref.head.name", "feature")]), 1),
        ("of-the-same-commit", with_commit, 2),
    ];
    for (name, spans, count) in cases {
        let repo = store.repository(&format!("acme/{name}")).await?.id;
        let bench = Bench::new(store);
        let worker = Loop::start(bench.work.clone(), 4);
        // The first trace is collected again at the end, when the other's statements are known.
        for pushed in [of_run(1, "7", None), spans, vec![span(trace(1), 9, 1, "late")]] {
            bench.push(repo, pushed).await?;
            bench.pass(SETTLE);
            bench.drained().await?;
        }
        let runs = runs(store, repo).await?;
        assert_eq!(runs.len(), count, "{name}");
        let main = runs.iter().find(|stored| stored.run.trace_id == Some(trace(1)));
        let main = &main.expect("the branch's run").run;
        assert_eq!(main.lineage, Lineage::Branch { name: "main".into() }, "{name}");
        let samples = store.read().await?.samples(repo, &main.id).await?;
        assert_eq!(samples.iter().map(|sample| sample.count).sum::<u32>(), 4, "{name}: its own spans");
        worker.stop().await;
    }
    Ok(())
});

store_test!(trace_without_statements_joins_as_part, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    for spans in [of_run(1, "7", None), earlier_by_a_child(2, &[])] {
        bench.push(repo, spans).await?;
        bench.pass(SETTLE);
        bench.drained().await?;
    }
    // It names a pull request only after it was joined.
    let mut spans = vec![span(trace(2), 9, 1, "late"), span(trace(1), 9, 1, "late")];
    spans[0].resource =
        Arc::new(Resource { attributes: texts(&[("vcs.change.id", "12")]), dropped_attributes: 0 });
    for span in spans {
        let runs = runs(store, repo).await?;
        assert_eq!((runs.len(), runs[0].run.trace_id), (1, Some(trace(1))));
        assert_eq!(runs[0].run.lineage, Lineage::Branch { name: "main".into() });
        bench.push(repo, vec![span]).await?;
        bench.pass(SETTLE);
        bench.drained().await?;
    }
    let run = runs(store, repo).await?.remove(0).run;
    assert_eq!(run.lineage, Lineage::Branch { name: "main".into() });
    worker.stop().await;
    Ok(())
});

store_test!(busy_linked_trace_does_not_delay_run, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    for spans in [of_run(1, "7", None), without_commit(of_run(2, "7", Some(1)))] {
        bench.push(repo, spans).await?;
        bench.pass(SETTLE);
        bench.drained().await?;
    }
    bench.push(repo, vec![span(trace(1), 9, 1, "late")]).await?;
    let noise = AtomicU8::new(0);
    eventually("the late span", DEADLINE, || async {
        // It continues for as long as the run waits for it.
        let id = 10 + noise.load(Ordering::SeqCst);
        if id < u8::MAX {
            noise.fetch_add(1, Ordering::SeqCst);
            bench.push(repo, without_commit(vec![span(trace(2), id, 1, "noise")])).await.ok()?;
        }
        bench.pass(SETTLE.saturating_sub(seconds(1)));
        let mut tx = store.read().await.ok()?;
        let runs = tx.list_runs(repo, &repo_name("acme/app"), &RunFilter::All, 100).await.ok()?;
        let samples = tx.samples(repo, &runs[0].run.id).await.ok()?;
        samples.iter().any(|sample| sample.path.ends_with(&["late".to_owned()])).then_some(())
    })
    .await;
    eventually("all to be collected", DEADLINE, || async {
        bench.pass(SETTLE);
        let mut tx = store.read().await.ok()?;
        (tx.count_tasks().await.ok()?.open == 0).then_some(())
    })
    .await;
    let run = runs(store, repo).await?.remove(0).run;
    let samples = store.read().await?.samples(repo, &run.id).await?;
    assert_eq!(
        samples.iter().map(|sample| sample.count).sum::<u32>(),
        3 + 3 + 1 + u32::from(noise.into_inner()),
        "all spans are in the run"
    );
    worker.stop().await;
    Ok(())
});

store_test!(sixty_linked_traces_are_one_run_of_fifty, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    for n in 1..=60 {
        bench.push(repo, of_run(n, "7", (n > 1).then_some(1))).await?;
    }
    bench.pass(SETTLE);
    let worker = Loop::start(bench.work.clone(), 4);
    // Collections that conflict are tried again a moment later.
    eventually("one run", DEADLINE, || async {
        bench.pass(seconds(1));
        let open = store.read().await.ok()?.count_tasks().await.ok()?.open;
        (open == 0).then_some(())
    })
    .await;
    let runs = runs(store, repo).await?;
    assert_eq!(runs.len(), 1);
    assert!(
        matches!(runs[0].run.notes[..], [Note::LinkedTracesLeftOut { traces: 10, .. }]),
        "{:?}",
        runs[0].run
    );
    let samples = store.read().await?.samples(repo, &runs[0].run.id).await?;
    let spans: u32 = samples.iter().map(|sample| sample.count).sum();
    assert_eq!(spans, 150);
    worker.stop().await;
    Ok(())
});

store_test!(trace_without_root_becomes_incomplete_run, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let mut spans = whole(trace(1));
    let rest = spans.split_off(1);
    bench.push(repo, rest).await?;
    // Longer than a check waits. A worker begins with the sweep.
    bench.pass(Duration::from_hours(2));
    let worker = Loop::start(bench.work.clone(), 4);
    eventually("the incomplete run", DEADLINE, || async {
        (bench.ended("collect_run", "done") == 1).then_some(())
    })
    .await;
    let incomplete = runs(store, repo).await?.remove(0).run;
    assert_eq!((incomplete.pipeline.as_str(), incomplete.result), ("build", RunResult::Error));
    assert_eq!(incomplete.notes[0], Note::RootMissing);
    bench.push(repo, spans).await?;
    bench.pass(SETTLE);
    bench.drained().await?;
    let whole = runs(store, repo).await?;
    assert_eq!(whole.len(), 1);
    assert_eq!((&whole[0].run.id, whole[0].run.result), (&incomplete.id, RunResult::Success));
    assert_eq!(whole[0].run.notes, []);
    worker.stop().await;
    Ok(())
});

store_test!(spans_of_known_run_make_no_run, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let known = run_of("known", Some(trace(1)), sha('a'), at(0));
    let mut tx = store.write().await?;
    tx.record_run(repo, &known, 1).await?;
    tx.commit().await?;
    bench.push(repo, whole(trace(1)).split_off(1)).await?;
    bench.pass(Duration::from_hours(2));
    let worker = Loop::start(bench.work.clone(), 4);
    eventually("the collection", DEADLINE, || async {
        (bench.ended("collect_run", "done") == 1).then_some(())
    })
    .await;
    assert_eq!(runs(store, repo).await?.remove(0).run, known);
    worker.stop().await;
    Ok(())
});

store_test!(too_frequent_spans_are_noted_as_left_out, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let bench = Bench::new(store);
    let worker = Loop::start(bench.work.clone(), 4);
    bench.push(repo, whole(trace(1))).await?;
    for id in 10..32 {
        bench.pass(SETTLE);
        bench.drained().await?;
        bench.push(repo, vec![span(trace(1), id, 1, "deploy")]).await?;
    }
    bench.pass(SETTLE);
    bench.drained().await?;
    let run = runs(store, repo).await?.remove(0);
    assert_eq!(run.collections, 20);
    let notes = run.run.notes.iter().filter(|note| **note == Note::LateSpansLeftOut).count();
    assert_eq!(notes, 1, "{:?}", run.run.notes);
    worker.stop().await;
    Ok(())
});
