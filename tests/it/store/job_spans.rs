//! Spans that jobs of workflow runs send: the collection of their traces, and the daily quota of a
//! fork.

use pacegate_engine::model::ids::TraceId;
use pacegate_store::{ArtifactQuota, CollectedTrace, SentArtifact, SpanBatch, TraceBounds};

use super::{Outcome, Store, at, store_test};

const BOUNDS: TraceBounds = TraceBounds { spans: 100, bytes: 1_000 };

store_test!(collected_run_accepts_later_spans_of_jobs, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let mut tx = store.write().await?;
    for (n, sent_before) in [(1_u8, 0_usize), (2, 2)] {
        let trace = TraceId::from_bytes(&[n; 16]).expect("an id");
        let batch = SpanBatch {
            repo,
            trace,
            body: b"spans",
            bytes: 5,
            spans: 1,
            has_root: false,
            head_sha: None,
            manifest: None,
        };
        tx.add_span_batches(&vec![batch; sent_before], BOUNDS, &store.rng, at(1)).await?;
        let read = i64::try_from(sent_before).expect("small");
        let told = tx.mark_api_trace_collected(repo, trace, read, at(2)).await?;
        assert_eq!(told, CollectedTrace { collections: 1, has_more: false });
        assert!(tx.is_collected(repo, trace).await?);
        let later = tx.add_span_batches(&[batch], BOUNDS, &store.rng, at(3)).await?;
        assert_eq!(later[0].map(|open| open.has_root), Some(1), "what comes later is collected soon");
        assert!(!tx.is_collected(repo, trace).await?);
        let told = tx.mark_api_trace_collected(repo, trace, read, at(4)).await?;
        assert_eq!(told, CollectedTrace { collections: 2, has_more: true }, "it came while others were read");
        let told = tx.mark_api_trace_collected(repo, trace, read + 1, at(5)).await?;
        assert_eq!(told, CollectedTrace { collections: 3, has_more: false });
    }
    assert_eq!(tx.sweep_open_traces(at(9), at(0), at(0), at(10)).await?, 0, "none of them lacks a root");
    tx.commit().await
});

store_test!(artifacts_of_fork_are_limited_per_day, async |store: &Store| -> Outcome {
    let repo = store.repository("acme/app").await?.id;
    let most = ArtifactQuota { artifacts: 3, bytes: 100 };
    let mut tx = store.write().await?;
    for (fork, day, id, bytes, expected) in [
        (7, 1, 1, 60, true),
        (7, 1, 2, 60, false),
        (7, 1, 1, 60, true), // read again
        (7, 1, 2, 60, false),
        (7, 1, 3, 40, true),
        (7, 1, 4, 0, true),
        (7, 1, 5, 0, false),
        (8, 1, 6, 101, false),
        (8, 1, 7, 100, true),
        (7, 2, 8, 100, true),
        (7, 2, 3, 40, true), // of yesterday
    ] {
        let artifact = SentArtifact { id, bytes };
        let is_left = tx.take_artifact_quota(repo, (fork, day), artifact, most).await?;
        assert_eq!(is_left, expected, "artifact {id}, {bytes} bytes of {fork} on day {day}");
    }
    tx.sweep_artifact_quotas(2).await?;
    let of_other_day = SentArtifact { id: 1, bytes: 100 };
    assert!(tx.take_artifact_quota(repo, (7, 1), of_other_day, most).await?, "forgotten");
    let one_more = SentArtifact { id: 9, bytes: 1 };
    assert!(!tx.take_artifact_quota(repo, (7, 2), one_more, most).await?, "of today");
    tx.commit().await
});
