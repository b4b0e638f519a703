//! Tests of parents, clock shifts, and the property that GitHub's spans never change.

use proptest::prelude::*;

use super::super::fixture::SpanBuilder;
use super::*;
use pacegate_engine::gate::measure::extract::extract;
use pacegate_engine::gate::measure::stage_state::CACHE_KEYS;

use pacegate_engine::model::span::{SpanKind, SpanStatus};
use pacegate_engine::model::stage::StageSample;
use pacegate_engine::model::trace::Trace;

const SECOND: i64 = 1_000_000_000;
const JOB: u32 = 10;

/// A run with two jobs. The job `test` runs from 20 s to 100 s. Its steps are `setup` to 22 s, `tests` to
/// 90 s, a step of the runner for one second, and `post` from 95 s.
fn api() -> Vec<Span> {
    let of_job = |id: u32, parent: u32, name: &str, from: i64, to: i64| {
        SpanBuilder::new(id, name)
            .parent(parent)
            .ms(from * 1_000, to * 1_000)
            .attributes(&[("github.job.name", "x")])
    };
    let step = |id: u32, name: &str, from: i64, to: i64| {
        let named = [("cicd.pipeline.task.name", name), ("cicd.pipeline.task.run.result", "success")];
        of_job(id, JOB, name, from, to).attributes(&named).int("github.step.number", i64::from(id))
    };
    let queue = [("pacegate.stage.kind", "queue")];
    let skipped = [("cicd.pipeline.task.run.result", "skip")];
    vec![
        SpanBuilder::new(1, "RUN CI").ms(0, 130_000).attributes(&[("cicd.pipeline.name", "CI")]).build(),
        of_job(JOB, 1, "test", 0, 100).attributes(&[("cicd.worker.name", "GitHub Actions 7")]).build(),
        of_job(11, JOB, "queue-test", 0, 20).attributes(&queue).build(),
        step(12, "setup", 20, 22).build(),
        step(13, "tests", 22, 90).build(),
        of_job(14, JOB, "never", 50, 50).int("github.step.number", 9).attributes(&skipped).build(),
        step(16, "Post Run actions/checkout", 90, 91).build(),
        step(15, "post", 95, 100).build(),
        of_job(20, 1, "lint", 0, 120).attributes(&[("cicd.worker.name", "GitHub Actions 8")]).build(),
        of_job(21, 20, "queue-lint", 0, 110).attributes(&queue).build(),
    ]
}

fn span(id: u32, name: &str, from_ms: i64, to_ms: i64) -> SpanBuilder {
    SpanBuilder::new(id, name).ms(from_ms, to_ms)
}

fn id(n: u32) -> SpanId {
    SpanBuilder::new(n, "").build().span_id
}

fn of_job(spans: Vec<Span>) -> JobSpans {
    JobSpans {
        job: JobClaim::Span(id(JOB)),
        spans,
        recorded: Some((21 * SECOND, 99 * SECOND)),
        facts: Vec::new(),
    }
}

fn stages(merged: &Merged) -> Vec<StageSample> {
    extract(&Trace::build(merged.spans.clone()).expect("a trace")).stages
}

/// Paths of the stages of sent spans.
fn sent_paths(merged: &Merged) -> Vec<String> {
    let of_github: Vec<String> =
        stages(&merge(api(), Vec::new())).iter().map(|s| s.path.join(" / ")).collect();
    let paths = stages(merged).iter().map(|s| s.path.join(" / ")).collect::<Vec<_>>();
    paths.into_iter().filter(|path| !of_github.contains(path)).collect()
}

#[test]
fn span_is_placed_below_the_overlapping_step() {
    for (what, sent, expected) in [
        ("in a step", vec![span(50, "a", 30_000, 40_000)], "CI / test / tests / a"),
        ("below the job's", vec![span(50, "a", 30_000, 40_000).parent(JOB)], "CI / test / tests / a"),
        ("below an unknown span", vec![span(50, "a", 30_000, 40_000).parent(99)], "CI / test / tests / a"),
        ("across a boundary", vec![span(50, "a", 20_500, 40_000)], "CI / test / tests / a"),
        ("in a second shared by two steps", vec![span(50, "a", 22_100, 22_200)], "CI / test / tests / a"),
        ("in a step's last second", vec![span(50, "a", 90_300, 90_800)], "CI / test / tests / a"),
        ("without duration", vec![span(50, "a", 96_000, 96_000)], "CI / test / post / a"),
        ("between two steps", vec![span(50, "a", 92_000, 94_000)], "CI / test / a"),
        ("with a step as parent", vec![span(50, "a", 30_000, 31_000).parent(12)], "CI / test / setup / a"),
        ("not below a skipped step", vec![span(50, "a", 50_000, 50_000)], "CI / test / tests / a"),
        (
            "with its descendants at any time",
            vec![span(50, "a", 30_000, 89_000), span(51, "b", 90_500, 96_000).parent(50)],
            "CI / test / tests / a|CI / test / tests / a / b",
        ),
        (
            "in a cycle the earliest",
            vec![span(51, "b", 31_000, 32_000).parent(50), span(50, "a", 30_000, 40_000).parent(51)],
            "CI / test / tests / a|CI / test / tests / a / b",
        ),
    ] {
        let merged = merge(api(), vec![of_job(sent.into_iter().map(SpanBuilder::build).collect())]);
        assert_eq!(sent_paths(&merged).join("|"), expected, "{what}: {:?}", merged.notes);
        assert!(merged.notes.is_empty(), "{what}: {:?}", merged.notes);
        // Pages build the trace again from the stored raw trace.
        let trace = Trace::build(merged.spans).expect("a trace");
        assert_eq!(trace.repairs().notes(), Vec::<Note>::new(), "{what}");
    }
}

#[test]
fn job_is_found_by_runner_or_time() {
    let sent = || vec![span(50, "a", 30_000, 40_000).build()];
    let runner = |name: &str| JobClaim::Runner(name.to_owned(), id(77));
    for (claim, expected) in [
        (runner("GitHub Actions 7"), "CI / test / tests / a"),
        (runner("GitHub Actions 8"), ""),
        (runner("another"), ""),
        (JobClaim::Span(id(99)), ""),
        (JobClaim::Unknown, "CI / test / tests / a"),
    ] {
        let merged = merge(api(), vec![JobSpans { job: claim.clone(), ..of_job(sent()) }]);
        assert_eq!(sent_paths(&merged).join("|"), expected, "{claim:?}");
        let is_noted = merged.notes == [Note::JobSpansLeftOut { why: JobSpanProblem::NoJob, spans: 1 }];
        assert_eq!(is_noted, expected.is_empty(), "{:?}", merged.notes);
    }
}

#[test]
fn clock_offset_is_corrected_and_impossible_times_refused() {
    for (what, times_ms, recorded_s, expected) in [
        ("right", (30_000, 40_000), Some((21, 99)), Ok(30)),
        ("a little early", (18_500, 19_500), Some((21, 99)), Ok(18)),
        ("five minutes ahead", (330_000, 340_000), Some((321, 399)), Ok(30)),
        ("five minutes behind", (-270_000, -260_000), Some((-279, -201)), Ok(30)),
        ("forged", (330_000, 340_000), Some((21, 99)), Err(())),
        ("before the job", (5_000, 15_000), Some((21, 99)), Err(())),
        ("longer than the job", (0, 130_000), Some((21, 99)), Err(())),
        ("an hour off", (3_630_000, 3_640_000), Some((3_621, 3_699)), Err(())),
        ("a few seconds off, no recording", (15_000, 80_000), None, Ok(19)),
        ("an hour off, no recording", (3_630_000, 3_640_000), None, Err(())),
    ] {
        let sent = vec![span(50, "a", times_ms.0, times_ms.1).build()];
        let recorded = recorded_s.map(|(from, to)| (from * SECOND, to * SECOND));
        let merged = merge(api(), vec![JobSpans { recorded, ..of_job(sent) }]);
        let begins = merged.spans.iter().find(|span| span.name == "a").map(|span| span.start_ns / SECOND);
        assert_eq!(begins, expected.ok(), "{what}: {:?}", merged.notes);
        let contradicts = merged.notes.iter().any(Note::contradicts_github);
        assert_eq!(contradicts, expected.is_err(), "{what}: {:?}", merged.notes);
    }
}

#[test]
fn sent_span_cannot_replace_one_of_github() {
    let merged = merge(
        api(),
        vec![of_job(vec![
            span(13, "tests", 23_000, 24_000).status(SpanStatus::Error("forged".into())).build(),
            span(50, "tests", 92_000, 93_000).status(SpanStatus::Error("forged".into())).build(),
            span(51, "queue-tests", 30_000, 80_000).parent(JOB).build(),
            span(52, "wait", 30_000, 80_000)
                .attributes(&[("cicd.pipeline.task.run.state", "pending")])
                .build(),
        ])],
    );
    assert_eq!(sent_paths(&merged), ["CI / test / tests / queue-tests", "CI / test / tests / wait"]);
    for why in [JobSpanProblem::TakenId, JobSpanProblem::NoStep] {
        assert!(merged.notes.contains(&Note::JobSpansLeftOut { why, spans: 1 }), "{:?}", merged.notes);
    }
    // In parallel to the last second of a wait, in a job without steps.
    let early = JobSpans {
        job: JobClaim::Unknown,
        ..of_job(vec![span(60, "early", 109_500, 111_000).parent(20).build()])
    };
    let merged = merge(api(), vec![early]);
    assert_eq!(sent_paths(&merged), Vec::<String>::new(), "{:?}", merged.notes);
}

#[test]
fn facts_become_attributes_of_the_job() {
    let fact = |key: &str, value: &str| (key.to_owned(), AttributeValue::String(value.to_owned()));
    let sent = |facts| JobSpans { facts, ..of_job(Vec::new()) };
    let merged = merge(
        api(),
        vec![
            sent(vec![
                fact("host.cpu.model.name", "EPYC"),
                fact("host.arch", "amd64"),
                fact("github.job.name", "y"),
            ]),
            sent(vec![fact("host.cpu.model.name", "EPYC"), fact("host.arch", "arm64")]),
        ],
    );
    let job = &merged.spans[1].attributes;
    let facts = ["host.cpu.model.name", "host.arch", "github.job.name"].map(|key| job.text(key));
    assert_eq!(
        facts,
        [Some("EPYC".to_owned()), None, Some("x".to_owned())],
        "disputed facts are dropped, GitHub's stay"
    );
    assert_eq!(merged.notes, [Note::DisputedFacts { job: "test".into(), facts: 1 }]);
}

fn any_span() -> impl Strategy<Value = Span> {
    let name = prop_oneof![
        Just("tests".to_owned()),
        Just("queue-test".to_owned()),
        Just("test".to_owned()),
        "[a-c]{1}"
    ];
    let key = prop_oneof![
        Just("pacegate.stage.kind"),
        Just("cicd.pipeline.task.name"),
        Just("cicd.pipeline.run.queue.duration"),
        Just(CACHE_KEYS[0]),
        Just("test.case.name"),
        Just("cicd.pipeline.task.run.result"),
        Just("cicd.pipeline.name")
    ];
    let value = prop_oneof![Just("queue"), Just("tests"), Just("miss"), Just("failure"), Just("setup")];
    let parent = prop_oneof![
        Just(None),
        Just(Some(JOB)),
        Just(Some(1)),
        Just(Some(13)),
        Just(Some(11)),
        (1_u32..60).prop_map(Some)
    ];
    (1_u32..60, name, parent, 15_i64..105, 0_i64..60, key, value, 0_u8..4).prop_map(
        |(id, name, parent, from, length, key, value, kind)| {
            let kinds = [SpanKind::Internal, SpanKind::Consumer, SpanKind::Producer, SpanKind::Client];
            let built = span(id, &name, from * 1_000, (from + length) * 1_000)
                .attributes(&[(key, value)])
                .kind(kinds[usize::from(kind)])
                .status(if length % 2 == 0 { SpanStatus::Unset } else { SpanStatus::Error("no".into()) });
            parent.map_or_else(
                || span(id, &name, from * 1_000, (from + length) * 1_000).build(),
                |p| built.parent(p).build(),
            )
        },
    )
}

proptest! {
    #[test]
    fn github_s_stages_never_change(sent in prop::collection::vec(any_span(), 0..12), unclaimed in any::<bool>()) {
        let claim = if unclaimed { JobClaim::Unknown } else { JobClaim::Span(id(JOB)) };
        let merged = merge(api(), vec![JobSpans { job: claim, ..of_job(sent) }]);
        let all = stages(&merged);
        for own in stages(&merge(api(), Vec::new())) {
            prop_assert_eq!(all.iter().find(|stage| stage.key == own.key), Some(&own));
        }
    }

    #[test]
    fn order_and_repetition_change_nothing(sent in prop::collection::vec(any_span(), 0..12), at in 0_usize..12) {
        let (first, second) = sent.split_at(at.min(sent.len()));
        let whole = merge(api(), vec![of_job(sent.clone())]);
        let turned = merge(api(), vec![of_job(second.to_vec()), of_job(first.to_vec())]);
        prop_assert_eq!(&turned.spans, &whole.spans);
        let repeated = merge(api(), vec![of_job(sent.clone()), of_job(sent.into_iter().rev().collect())]);
        prop_assert_eq!(&repeated.spans, &whole.spans);
        let own: Vec<Span> = whole.spans[api().len()..].to_vec();
        prop_assert_eq!(&merge(api(), vec![of_job(own)]).spans, &whole.spans, "merged again");
    }
}

#[test]
fn step_named_like_a_wait_stays_work() {
    let mut spans = api();
    let warm = spans.iter_mut().find(|span| span.span_id == id(13)).expect("a step");
    "queue-warm".clone_into(&mut warm.name);
    // `api_trace` marks such a step the same way.
    let kind = AttributeValue::String("work".to_owned());
    warm.attributes.0.push(("pacegate.stage.kind".to_owned(), kind));
    let before = stages(&merge(spans.clone(), Vec::new()));
    let after = stages(&merge(spans, vec![of_job(vec![span(50, "warm", 92_000, 94_000).build()])]));
    for stage in &before {
        let same = after.iter().find(|other| other.key == stage.key).expect("it is there");
        assert_eq!((same.kind, same.duration_ns), (stage.kind, stage.duration_ns), "{:?}", stage.path);
    }
}
