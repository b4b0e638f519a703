//! Holds that each input of a comparison is part of its digest.

use super::*;
use pacegate_engine::model::decision::DecisionKind;
use pacegate_engine::model::environment::RunnerClass;
use pacegate_engine::model::stage::StageError;
use pacegate_engine::model::time::Timestamp;

fn key(name: &str) -> StageKey {
    StageKey::from_path(&["ci".to_owned(), name.to_owned()])
}

fn run() -> MeasuredRun {
    let run = PipelineRun {
        id: RunId("01J0000000000000000000000A".to_owned()),
        repo: "acme/app".parse().expect("a repository"),
        pipeline: "ci".to_owned(),
        external_id: None,
        trace_id: None,
        attempt: 1,
        head_sha: "00112233445566778899aabbccddeeff00112233".parse().expect("a commit"),
        lineage: Lineage::Branch { name: "main".to_owned() },
        result: RunResult::Success,
        runner: RunnerClass::default(),
        started_at: Timestamp(0),
        duration_ns: 60_000_000_000,
        workflow_path: None,
        notes: Vec::new(),
    };
    let stage = StageSample {
        key: key("test"),
        parent: None,
        path: vec!["ci".to_owned(), "test".to_owned()],
        duration_ns: 50_000_000_000,
        count: 1,
        start_offset_ns: 0,
        end_offset_ns: 50_000_000_000,
        result: RunResult::Success,
        asynchronous: false,
        kind: StageKind::Work,
        cache: None,
    };
    MeasuredRun { run, stages: vec![stage], errors: Vec::new() }
}

fn decision(ratio: f64) -> StandingDecision {
    let decision = Decision {
        kind: DecisionKind::Muted,
        by: "octocat".to_owned(),
        at: Timestamp(0),
        until: None,
        reason: String::new(),
    };
    let extent = Some(Extent::Slower { ratio, increase_s: 2.0 });
    StandingDecision { decision, stage: key("test"), signature: None, extent, pull_request: None }
}

fn of(run: MeasuredRun, evaluation: i64, branch: Option<&str>, policy: &str, ratio: f64) -> String {
    let pipelines = [PipelineInputs { candidate: vec![run], history: Vec::new() }];
    let decisions = Decisions { standing: vec![decision(ratio)], accepted: Vec::new() };
    digest(&pipelines, evaluation, branch, policy, &decisions).expect("writable")
}

fn changed(change: impl FnOnce(&mut MeasuredRun)) -> String {
    let mut run = run();
    change(&mut run);
    of(run, 1, Some("main"), "policy", 1.5)
}

#[test]
fn digest_depends_on_every_input() {
    let error = StageError {
        stage: key("test"),
        path: Vec::new(),
        signature: "s".to_owned(),
        error_type: "error".to_owned(),
        message: String::new(),
        frame: None,
    };
    let mut digests = vec![
        changed(|_| {}),
        of(run(), 2, Some("main"), "policy", 1.5),
        of(run(), 1, None, "policy", 1.5),
        of(run(), 1, Some("main"), "other", 1.5),
        of(run(), 1, Some("main"), "policy", 1.6),
        changed(|run| run.run.id.0.push('B')),
        changed(|run| run.run.lineage = Lineage::Unknown),
        changed(|run| run.run.result = RunResult::Failure),
        changed(|run| run.run.duration_ns += 1),
        changed(|run| run.stages[0].key = key("build")),
        changed(|run| run.stages[0].duration_ns += 1),
        changed(|run| run.stages[0].count += 1),
        changed(|run| run.stages[0].start_offset_ns += 1),
        changed(|run| run.stages[0].end_offset_ns += 1),
        changed(|run| run.stages[0].result = RunResult::Skip),
        changed(|run| run.stages[0].kind = StageKind::Queue),
        changed(|run| run.stages[0].cache = Some(CacheState::Hit)),
        changed(|run| run.errors.push(error)),
    ];
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
    // The serialization defines the digest. Changing it evaluates equal heads once more.
    assert_eq!(changed(|_| {}), "650a169bd2ee62e295361fba0c3d8e9cd154ee067b4327500f39fd1ae29b82d6");
}
