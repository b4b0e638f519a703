//! Tests of the stages of a trace: names, repeated siblings, waiting, caches and limits.

use super::*;
use crate::gate::tests::fixture::{SpanBuilder, trace};
use crate::model::note::Note;
use crate::model::span::SpanStatus;

fn keys(extraction: &Extraction) -> Vec<String> {
    extraction.stages.iter().map(|s| s.path.join(" / ")).collect()
}

#[test]
fn stage_paths_begin_with_the_pipeline() {
    let extraction = extract(&trace(vec![
        SpanBuilder::new(1, "pipeline-execution-9")
            .ms(0, 900)
            .attributes(&[("pipeline.name", "my-app")])
            .build(),
        SpanBuilder::new(2, "checkout-stage")
            .parent(1)
            .ms(10, 300)
            .attributes(&[("stage.name", "checkout")])
            .build(),
        SpanBuilder::new(3, "git-clone").parent(2).ms(10, 200).build(),
    ]));
    assert_eq!(keys(&extraction), ["my-app", "my-app / checkout", "my-app / checkout / git-clone"]);
    let clone = &extraction.stages[2];
    assert_eq!(
        (clone.duration_ns, clone.start_offset_ns, clone.end_offset_ns),
        (190_000_000, 10_000_000, 200_000_000)
    );
    assert_eq!(clone.parent.as_ref(), Some(&extraction.stages[1].key));
}

#[test]
fn repeated_siblings_merge_with_worst_result() {
    let failed = SpanStatus::Error("no".into());
    let extraction = extract(&trace(vec![
        SpanBuilder::new(1, "ci").ms(0, 900).build(),
        SpanBuilder::new(2, "retry-1").parent(1).ms(100, 200).build(),
        SpanBuilder::new(3, "retry-2").parent(1).ms(50, 250).status(failed).build(),
        SpanBuilder::new(4, "step").parent(2).ms(100, 130).build(),
        SpanBuilder::new(5, "step").parent(3).ms(60, 80).build(),
    ]));
    assert_eq!(keys(&extraction), ["ci", "ci / retry-{n}", "ci / retry-{n} / step"]);
    let retry = &extraction.stages[1];
    assert_eq!((retry.count, retry.duration_ns), (2, 300_000_000));
    assert_eq!((retry.start_offset_ns, retry.end_offset_ns), (50_000_000, 250_000_000));
    assert_eq!(retry.result, RunResult::Failure);
    assert_eq!(extraction.stages[0].result, RunResult::Success, "the root's own status counts");
    assert_eq!(extraction.stages[2].count, 2);
}

#[test]
fn work_started_by_message_is_asynchronous() {
    let extraction = extract(&trace(vec![
        SpanBuilder::new(1, "ci").build(),
        SpanBuilder::new(2, "send").parent(1).kind(SpanKind::Producer).build(),
        SpanBuilder::new(3, "process").parent(2).kind(SpanKind::Consumer).build(),
        SpanBuilder::new(4, "inner").parent(3).build(),
        SpanBuilder::new(5, "receive").parent(1).kind(SpanKind::Consumer).build(),
    ]));
    let asynchronous: Vec<&str> = extraction
        .stages
        .iter()
        .filter(|s| s.asynchronous)
        .filter_map(|s| s.path.last())
        .map(String::as_str)
        .collect();
    assert_eq!(asynchronous, ["receive", "process", "inner"]);
}

#[test]
fn result_attributes_win_over_status() {
    let extraction = extract(&trace(vec![
        SpanBuilder::new(1, "ci").build(),
        SpanBuilder::new(2, "a").parent(1).attributes(&[("cicd.pipeline.task.run.result", "skip")]).build(),
        SpanBuilder::new(3, "b").parent(1).attributes(&[("test.case.result.status", "fail")]).build(),
    ]));
    assert_eq!(extraction.stages[1].result, RunResult::Skip);
    assert_eq!(extraction.stages[2].result, RunResult::Failure);
}

#[test]
fn deepest_stages_beyond_limit_are_dropped() {
    let letters = |n: u32| -> String {
        (0..4)
            .scan(n, |n, _| {
                let c = char::from(b'g' + u8::try_from(*n % 20).expect("small"));
                *n /= 20;
                Some(c)
            })
            .collect()
    };
    let mut spans = vec![SpanBuilder::new(1, "ci").build()];
    for i in 2..=6_000 {
        spans.push(SpanBuilder::new(i, &letters(i)).parent(if i % 2 == 0 { 1 } else { i - 1 }).build());
    }
    let extraction = extract(&trace(spans));
    assert_eq!(extraction.stages.len(), MAX_STAGES);
    assert_eq!(extraction.notes, [Note::StagesLeftOut { spans: 1_000 }]);
    assert_eq!(
        extraction.stages.iter().filter(|s| s.path.len() == 2).count(),
        3_000,
        "all stages of the upper level"
    );
}

#[test]
fn bytes_of_all_keys_are_bounded() {
    let name =
        |i: u32| format!("{}{}", "n".repeat(100), char::from(b'a' + u8::try_from(i % 26).expect("small")));
    let mut spans = vec![SpanBuilder::new(1, "ci").build()];
    for i in 2..=2_000 {
        // Chains of sixty.
        let parent = if i % 60 == 2 { 1 } else { i - 1 };
        spans.push(SpanBuilder::new(i, &format!("{} {i}", name(i))).parent(parent).build());
    }
    let extraction = extract(&trace(spans));
    let bytes: usize = extraction.stages.iter().map(|s| s.key.as_str().len()).sum();
    assert!(bytes <= MAX_KEY_BYTES + 1_000, "{bytes}");
    assert!(matches!(extraction.notes[..], [Note::StagesLeftOut { .. }]), "{:?}", extraction.notes);
}

#[test]
fn queue_is_a_stage_without_adding_time() {
    use StageKind::{Queue, Work};
    let extraction = extract(&trace(vec![
        SpanBuilder::new(1, "ci").ms(0, 160_000).build(),
        SpanBuilder::new(2, "test").parent(1).ms(0, 160_000).build(),
        SpanBuilder::new(3, "queue-test").parent(2).ms(0, 60_000).build(),
        SpanBuilder::new(4, "unit").parent(2).ms(60_000, 160_000).build(),
    ]));
    let stages: Vec<(&str, StageKind, i64, i64)> = extraction
        .stages
        .iter()
        .map(|s| (s.path.last().map_or("", String::as_str), s.kind, s.duration_ns, s.end_offset_ns))
        .map(|(name, kind, took, end)| (name, kind, took / 1_000_000_000, end / 1_000_000_000))
        .collect();
    assert_eq!(
        stages,
        [
            ("ci", Work, 100, 160),
            ("test", Work, 100, 160),
            ("queue-test", Queue, 60, 60),
            ("unit", Work, 100, 160)
        ]
    );
}

#[test]
fn cache_state_comes_from_stage_or_parts() {
    use crate::model::stage::CacheState::{Hit, Miss};
    let cached = |id, parent, name: &str, state: &str| {
        SpanBuilder::new(id, name).parent(parent).attributes(&[("pacegate.cache", state)]).build()
    };
    let extraction = extract(&trace(vec![
        SpanBuilder::new(1, "ci").build(),
        SpanBuilder::new(2, "build").parent(1).build(),
        cached(3, 2, "restore", "hit"),
        SpanBuilder::new(4, "compile").parent(2).build(),
        SpanBuilder::new(5, "test").parent(1).build(),
        cached(6, 5, "restore packages", "hit"),
        cached(7, 5, "restore images", "miss"),
        cached(8, 1, "docs", "miss"),
        cached(9, 8, "restore", "hit"),
    ]));
    let caches: Vec<_> = extraction.stages.iter().map(|s| (s.path.join(" / "), s.cache)).collect();
    let of = |path: &str| caches.iter().find(|(p, _)| p == path).map(|(_, cache)| *cache);
    for (path, expected) in [
        ("ci", Some(Miss)),
        ("ci / build", Some(Hit)),
        ("ci / build / restore", Some(Hit)),
        ("ci / build / compile", None),
        ("ci / test", None),
        ("ci / docs", Some(Miss)),
    ] {
        assert_eq!(of(path), Some(expected), "{path}");
    }
}

#[test]
fn extreme_times_saturate() {
    let mut span = SpanBuilder::new(1, "ci").build();
    (span.start_ns, span.end_ns) = (i64::MIN, i64::MAX);
    let extraction = extract(&trace(vec![span.clone(), {
        let mut s = SpanBuilder::new(2, "x").parent(1).build();
        s.end_ns = i64::MAX;
        s
    }]));
    assert_eq!(extraction.stages[0].duration_ns, i64::MAX);
}
