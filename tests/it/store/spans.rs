//! Open traces: batches come from several processes at once, and a collection sees all of them or
//! is refused.

use pacegate_clock::Randomness;
use pacegate_engine::model::ids::RepoId;
use pacegate_engine::model::time::Timestamp;
use pacegate_store::{Db, OpenTrace, SpanBatch, StoreError, StoredBatch, TraceBounds, Tx};
use sqlx::{Connection, PgConnection};

use super::runs::trace;
use super::{Outcome, Store, at, seconds, store_test};
use crate::postgres::fresh_database;
use crate::time::eventually;

async fn add(
    store: &Store,
    db: &Db,
    repo: RepoId,
    batch: SpanBatch<'_>,
    now: Timestamp,
) -> Result<OpenTrace, StoreError> {
    let mut tx = db.write().await?;
    let open = keep(&mut tx, SpanBatch { repo, ..batch }, &store.rng, now).await?;
    tx.commit().await?;
    Ok(open)
}

const BOUNDS: TraceBounds = TraceBounds { spans: 1_000, bytes: 1 << 20 };

async fn keep(
    tx: &mut Tx,
    batch: SpanBatch<'_>,
    rng: &Randomness,
    now: Timestamp,
) -> Result<OpenTrace, StoreError> {
    let mut kept = tx.add_span_batches(&[batch], BOUNDS, rng, now).await?;
    Ok(kept.pop().flatten().expect("a trace that takes it"))
}

fn bodies_of(batches: Vec<StoredBatch>) -> Vec<Vec<u8>> {
    batches.into_iter().map(|batch| batch.body).collect()
}

/// A batch of the first trace of the first repository.
fn batch(body: &[u8], has_root: bool) -> SpanBatch<'_> {
    SpanBatch {
        repo: RepoId(1),
        trace: trace(1),
        body,
        bytes: i64::try_from(body.len()).expect("small"),
        spans: 3,
        has_root,
        head_sha: None,
        manifest: None,
    }
}

store_test!(open_trace_counts_its_batches, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.repository("acme/other").await?.id;
    assert_eq!(store.read().await?.open_trace(repo, trace(1)).await?, None);
    let mut known = add(store, &store.db, repo, batch(b"first \0 bytes", false), at(1)).await?;
    assert_eq!(
        known,
        OpenTrace {
            last_at: at(1).0,
            batches: 1,
            spans: 3,
            bytes: known.bytes,
            has_root: 0,
            collections: 0,
            swept_at: None,
        }
    );
    add(store, &store.db, repo, batch(b"second", true), at(2)).await?;
    known = add(store, &store.db, repo, batch(b"third", false), at(3)).await?;
    assert_eq!(
        known,
        OpenTrace {
            last_at: at(3).0,
            batches: 3,
            spans: 9,
            bytes: known.bytes,
            has_root: 1,
            collections: 0,
            swept_at: None,
        }
    );
    let mut tx = store.read().await?;
    assert_eq!(tx.open_trace(repo, trace(1)).await?, Some(known));
    let bodies: [&[u8]; 3] = [b"first \0 bytes", b"second", b"third"];
    assert_eq!(bodies_of(tx.span_batches(repo, trace(1)).await?), bodies);
    assert_eq!(tx.open_trace(other, trace(1)).await?, None, "another repository's trace");
    assert!(tx.span_batches(repo, trace(2)).await?.is_empty());
    Ok(())
});

store_test!(late_writer_does_not_move_time_back, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    add(store, &store.db, repo, batch(b"a", true), at(10)).await?;
    // The clocks of two processes differ, or one waited for the other's transaction.
    let open = add(store, &store.db, repo, batch(b"b", true), at(4)).await?;
    assert_eq!((open.last_at, open.batches), (at(10).0, 2));
    Ok(())
});

store_test!(concurrent_batches_are_all_kept, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.again().await?;
    let bodies: Vec<Vec<u8>> = (0..24_u8).map(|n| vec![n]).collect();
    let mut adding = Vec::new();
    for (n, body) in bodies.iter().enumerate() {
        let db = if n % 2 == 0 { &store.db } else { &other };
        adding.push(add(store, db, repo, batch(body, n == 7), at(1)));
    }
    let mut counts = Vec::new();
    for state in concurrently(adding).await {
        counts.push(state?.batches);
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=24).collect::<Vec<i64>>(), "each saw another state");
    let mut tx = store.read().await?;
    let open = tx.open_trace(repo, trace(1)).await?.expect("a trace");
    assert_eq!((open.batches, open.spans, open.has_root), (24, 72, 1));
    let mut kept = bodies_of(tx.span_batches(repo, trace(1)).await?);
    kept.sort_unstable();
    assert_eq!(kept, bodies);
    Ok(())
});

/// Polls all futures concurrently within this task.
async fn concurrently<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut waiting {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

store_test!(batches_of_many_traces_are_kept_together, async |store: &Store| -> Outcome {
    let (repo, other) = (store.repository("acme/app").await?.id, store.repository("acme/other").await?.id);
    let of = |repo, n, body| SpanBatch { repo, trace: trace(n), ..batch(body, n == 2) };
    // The first trace comes three times, the second in two repositories.
    let batches =
        [of(repo, 1, b"a"), of(repo, 2, b"b"), of(repo, 1, b"c"), of(other, 2, b"d"), of(repo, 1, b"e")];
    let mut tx = store.write().await?;
    let states = tx.add_span_batches(&batches, BOUNDS, &store.rng, at(1)).await?;
    let seen: Vec<_> = states.iter().map(|state| state.map(|s| (s.batches, s.spans, s.has_root))).collect();
    assert_eq!(seen, [(1, 3, 0), (1, 3, 1), (2, 6, 0), (1, 3, 1), (3, 9, 0)].map(Some));
    let bodies: [&[u8]; 3] = [b"a", b"c", b"e"];
    let mut kept = bodies_of(tx.span_batches(repo, trace(1)).await?);
    kept.sort_unstable();
    assert_eq!(kept, bodies);
    assert_eq!(bodies_of(tx.span_batches(other, trace(2)).await?), [b"d"]);
    assert_eq!(tx.count_open_traces(repo, 10).await?, 2);
    assert_eq!(tx.count_open_traces(repo, 1).await?, 1, "counted up to the bound");
    tx.commit().await
});

store_test!(batch_beyond_bounds_is_not_kept, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let small = TraceBounds { spans: 7, bytes: 10 };
    let of = |n, body| SpanBatch { repo, trace: trace(n), ..batch(body, false) };
    let mut tx = store.write().await?;
    let batches =
        [of(1, &b"a"[..]), of(1, b"b"), of(1, b"c"), of(2, b"12345678"), of(2, b"901"), of(2, b"9")];
    let states = tx.add_span_batches(&batches, small, &store.rng, at(1)).await?;
    let seen: Vec<_> = states.iter().map(|state| state.map(|s| (s.spans, s.bytes))).collect();
    // Nine spans are too many, and so are eleven bytes. A later batch that fits is kept.
    assert_eq!(seen, [Some((3, 1)), Some((6, 2)), None, Some((3, 8)), None, Some((6, 9))]);
    assert_eq!(tx.span_batches(repo, trace(1)).await?.len(), 2);
    assert_eq!(tx.span_batches(repo, trace(2)).await?.len(), 2);
    tx.commit().await
});

store_test!(changed_trace_is_not_marked_collected, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let read = add(store, &store.db, repo, batch(b"a", true), at(1)).await?;
    let mut tx = store.write().await?;
    assert_eq!(tx.mark_member_collected(repo, trace(1), read).await?, Some(1));
    assert_eq!(tx.mark_member_collected(repo, trace(1), read).await?, None, "collected meanwhile");
    let marked = tx.open_trace(repo, trace(1)).await?.expect("a trace");
    assert_eq!(marked, OpenTrace { collections: 1, ..read });
    tx.commit().await?;
    add(store, &store.db, repo, batch(b"b", false), at(2)).await?;
    let mut tx = store.write().await?;
    assert_eq!(tx.mark_member_collected(repo, trace(1), marked).await?, None, "more came meanwhile");
    assert_eq!(tx.mark_member_collected(repo, trace(2), marked).await?, None, "no such trace");
    tx.commit().await
});

store_test!(uncommitted_batch_refuses_the_collection, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.again().await?;
    let read = add(store, &store.db, repo, batch(b"a", true), at(1)).await?;
    // The batch is written but not committed when the collection is marked.
    let mut adding = store.write().await?;
    keep(&mut adding, SpanBatch { repo, ..batch(b"b", false) }, &store.rng, at(2)).await?;
    let marking = tokio::spawn(async move {
        let mut tx = other.write().await?;
        let marked = tx.mark_member_collected(repo, trace(1), read).await?;
        tx.commit().await?;
        Ok::<Option<i64>, StoreError>(marked)
    });
    tokio::task::yield_now().await;
    adding.commit().await?;
    assert_eq!(marking.await.expect("no panic")?, None, "a batch was not read");
    Ok(())
});

store_test!(batch_after_collection_reopens_the_trace, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let other = store.again().await?;
    let read = add(store, &store.db, repo, batch(b"a", true), at(1)).await?;
    let mut marking = store.write().await?;
    assert_eq!(marking.mark_member_collected(repo, trace(1), read).await?, Some(1));
    let rng = store.rng.clone();
    let adding = tokio::spawn(async move {
        let mut tx = other.write().await?;
        let open = keep(&mut tx, SpanBatch { repo, ..batch(b"b", false) }, &rng, at(2)).await?;
        tx.commit().await?;
        Ok::<OpenTrace, StoreError>(open)
    });
    tokio::task::yield_now().await;
    marking.commit().await?;
    let open = adding.await.expect("no panic")?;
    assert_eq!((open.batches, open.collections), (2, 1), "its task differs from the first");
    Ok(())
});

store_test!(sweep_drops_only_collected_and_rootless, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.write().await?;
    let traces =
        [(1, true, at(1)), (2, true, at(2)), (3, false, at(3)), (4, false, at(30)), (5, true, at(90))];
    for (n, has_root, now) in traces {
        let batch = SpanBatch { repo, trace: trace(n), ..batch(b"x", has_root) };
        keep(&mut tx, batch, &store.rng, now).await?;
    }
    let open = tx.open_trace(repo, trace(1)).await?.expect("it is there");
    assert_eq!(tx.mark_member_collected(repo, trace(1), open).await?, Some(1));
    // Quiet since 50, rootless since 20, forgotten since 10.
    let rootless = tx.sweep_open_traces(at(50), at(20), at(10), at(100)).await?;
    assert_eq!(rootless, 1, "the third waited long enough for its root, the fourth did not");
    let mut left = Vec::new();
    for n in 1..=5 {
        left.push(tx.span_batches(repo, trace(n)).await?.len());
    }
    assert_eq!(left, [0, 1, 0, 1, 1], "a trace that waits for its collection stays");
    let swept = tx.open_trace(repo, trace(1)).await?.expect("remembered");
    assert_eq!(swept.swept_at, Some(at(100).0), "late spans are recognized");
    tx.sweep_open_traces(at(50), at(20), at(101), at(102)).await?;
    assert!(tx.open_trace(repo, trace(1)).await?.is_none(), "its row is deleted in the end");
    tx.commit().await
});

/// SQLite has one writer, so this can happen only on PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batch_during_sweep_keeps_trace_whole() {
    let url = fresh_database().await;
    let mut watcher = PgConnection::connect(&url).await.expect("the database answers");
    Store::open(&url, None)
        .await
        .run(async |store| {
            let repo = store.repository("acme/app").await?.id;
            add(store, &store.db, repo, batch(b"a", true), at(1)).await?;
            let mut late = store.write().await?;
            keep(&mut late, SpanBatch { repo, ..batch(b"b", false) }, &store.rng, at(100)).await?;
            let db = store.db.clone();
            let sweeping = tokio::spawn(async move {
                let mut tx = db.write().await?;
                tx.sweep_open_traces(at(50), at(50), at(0), at(60)).await?;
                tx.commit().await
            });
            let watcher = tokio::sync::Mutex::new(&mut watcher);
            eventually("the sweep to meet the late batch", seconds(20), || async {
                let waiting = sqlx::query_scalar::<_, i64>(
                    "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'",
                );
                let waiting = waiting.fetch_one(&mut **watcher.lock().await).await.expect("an answer");
                (waiting > 0).then_some(())
            })
            .await;
            late.commit().await?;
            sweeping.await.expect("no panic")?;
            let mut tx = store.read().await?;
            assert!(tx.open_trace(repo, trace(1)).await?.is_some());
            assert_eq!(tx.span_batches(repo, trace(1)).await?.len(), 2, "not only the late one");
            Ok(())
        })
        .await;
}

store_test!(manifest_is_kept_beside_its_batch, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.db.write().await?;
    let with = SpanBatch { repo, manifest: Some(b"m"), ..batch(b"", true) };
    keep(&mut tx, with, &store.rng, at(1)).await?;
    keep(&mut tx, SpanBatch { repo, ..batch(b"b", false) }, &store.rng, at(2)).await?;
    let kept = tx.span_batches(repo, trace(1)).await?;
    let expected = [(&b""[..], Some(&b"m"[..])), (b"b", None)]
        .map(|(body, manifest)| StoredBatch { body: body.to_vec(), manifest: manifest.map(<[u8]>::to_vec) });
    assert_eq!(kept, expected);
    Ok(())
});
