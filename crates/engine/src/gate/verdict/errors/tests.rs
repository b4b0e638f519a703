//! The verdict on an error, by how often the base branch and the change had it.

use super::*;
use crate::gate::tests::fixture::{path, run, stage};

fn with_error(n: u32, text: &str, message: &str) -> MeasuredRun {
    let mut measured = run(n, vec![stage("ci", 0.0, 1.0)]);
    let path = path(text);
    let stage = StageKey::from_path(&path);
    let signature = signature(&stage, "E", message);
    measured.errors.push(StageError {
        stage,
        path,
        signature,
        error_type: "E".into(),
        message: message.into(),
        frame: None,
    });
    measured
}

fn verdicts(of_twenty: u32, candidate: &[MeasuredRun], policy: &str) -> Vec<(ErrorVerdict, usize)> {
    let policy = GatePolicy::from_yaml(policy).expect("a policy");
    let past = (0..20)
        .map(|n| if n < of_twenty { with_error(n, "ci / unit", "port 1 busy") } else { run(n, vec![]) });
    let baseline = Baseline { error_history: past.collect(), ..Baseline::default() };
    let candidate: Vec<&MeasuredRun> = candidate.iter().collect();
    let judged = judge_errors(&ErrorHistory::of(&baseline, &policy), &candidate, &policy);
    judged.into_iter().map(|e| (e.verdict, e.candidate_runs)).collect()
}

#[test]
fn new_error_needs_two_runs_and_history() {
    let one = || with_error(90, "ci / unit", "port 80 busy");
    assert_eq!(verdicts(0, &[one()], ""), [(ErrorVerdict::Suspect, 1)]);
    assert_eq!(verdicts(0, &[one(), one()], ""), [(ErrorVerdict::New, 2)]);
    assert_eq!(verdicts(4, &[one(), one()], ""), [(ErrorVerdict::Flaky, 2)], "20% is not more than 20%");
    assert_eq!(verdicts(5, &[one(), one()], ""), [(ErrorVerdict::Known, 2)]);
    let short = ErrorHistory::default();
    let runs = [one(), one()];
    let judged = judge_errors(&short, &runs.iter().collect::<Vec<_>>(), &GatePolicy::default());
    assert_eq!(
        (judged[0].verdict, &judged[0].reason),
        (ErrorVerdict::Suspect, &Some(ErrorReason::NoHistory))
    );
}

/// The result for an error in the marked candidate runs. `with` of the `history` runs had it, and
/// `alone` of them had a different error each.
fn reason(history: u32, with: u32, alone: u32, of_candidate: &[bool]) -> (ErrorVerdict, ErrorReason) {
    let past = (0..history).map(|n| {
        let mut run = if n < with { with_error(n, "ci / unit", "port 1 busy") } else { run(n, vec![]) };
        if n < alone {
            let letter = char::from(b'a' + u8::try_from(n).expect("a letter"));
            run.errors.extend(with_error(n, "ci / unit", &format!("odd {letter}{letter}")).errors);
        }
        run
    });
    let baseline = Baseline { error_history: past.collect(), ..Baseline::default() };
    let candidate: Vec<MeasuredRun> = (200..)
        .zip(of_candidate)
        .map(|(n, has)| if *has { with_error(n, "ci / unit", "port 9 busy") } else { run(n, vec![]) })
        .collect();
    let policy = GatePolicy::default();
    let judged =
        judge_errors(&ErrorHistory::of(&baseline, &policy), &candidate.iter().collect::<Vec<_>>(), &policy);
    (judged[0].verdict, judged[0].reason.clone().expect("a reason"))
}

#[test]
fn verdicts_have_reasons() {
    use ErrorReason::{MoreOften, NoHistory, OftenSeenOnce, SeenBefore, ShortHistory, Unseen};
    use ErrorVerdict::{Flaky, Known, New, Suspect};
    for (made, verdict, expected) in [
        (reason(143, 0, 0, &[true]), Suspect, Unseen),
        (reason(143, 0, 0, &[true, true]), New, Unseen),
        (reason(9, 0, 0, &[true, true]), Suspect, ShortHistory { needed: 10 }),
        (reason(0, 0, 0, &[true]), Suspect, NoHistory),
        // 6 of 6 + 0 sightings on the base branch occurred once
        (reason(143, 0, 6, &[true]), Suspect, OftenSeenOnce { share: 1.0 }),
        (reason(143, 6, 0, &[true]), Flaky, SeenBefore),
        (reason(143, 60, 0, &[true, true]), Known, SeenBefore),
        // betabinom.pmf(range(2, 5), 4, 6.5, 137.5).sum() = 0.0128
        (reason(143, 6, 0, &[true, false, true, false, true][1..]), Flaky, SeenBefore),
    ] {
        assert_eq!(made, (verdict, expected));
    }
    // betabinom.pmf(range(3, 4), 3, 6.5, 137.5).sum() = 1 / 7357
    let (verdict, often) = reason(143, 6, 0, &[true, true, true]);
    let MoreOften { of: 3, probability } = often else { panic!("{often:?}") };
    assert_eq!((verdict, (1.0 / probability).round()), (Suspect, 7_357.0));
}

#[test]
fn more_errors_need_smaller_probability() {
    // betabinom.pmf(range(2, 3), 2, 6.5, 137.5).sum() = 0.0023: under 0.01 alone, not with four others
    assert_eq!(reason(143, 6, 0, &[true, true]).0, ErrorVerdict::Suspect);
    let words = ["one", "two", "three", "four", "five"];
    let all = |n: u32| {
        let mut run = run(n, vec![]);
        run.errors = words.iter().flat_map(|w| with_error(n, "ci / unit", w).errors).collect();
        run
    };
    let past = (0..143).map(|n| if n < 6 { all(n) } else { run(n, vec![]) });
    let baseline = Baseline { error_history: past.collect(), ..Baseline::default() };
    let history = ErrorHistory::of(&baseline, &GatePolicy::default());
    let candidate = [all(200), all(201)];
    let judged = judge_errors(&history, &candidate.iter().collect::<Vec<_>>(), &GatePolicy::default());
    assert!(judged.iter().all(|e| e.verdict == ErrorVerdict::Flaky), "{judged:?}");
}

#[test]
fn frame_separates_errors_and_absence_does_not() {
    let frame = |path: &str| Some(Frame { path: path.into(), function: "f".into(), line: Some(3) });
    let at = |n: u32, frame: Option<Frame>| {
        let mut measured = with_error(n, "ci / unit", "port 80 busy");
        measured.errors[0].frame = frame;
        // As in a row without frames, or of an older template.
        measured.errors[0].signature = "stale".into();
        measured
    };
    for (before, now, seen) in [
        (frame("a.py"), frame("a.py"), 20),
        (frame("a.py"), frame("b.py"), 0),
        (None, frame("a.py"), 20),
        (frame("a.py"), None, 20),
    ] {
        let past = (0..20).map(|n| at(n, before.clone())).collect();
        let baseline = Baseline { error_history: past, ..Baseline::default() };
        let policy = GatePolicy::default();
        let judged = judge_errors(&ErrorHistory::of(&baseline, &policy), &[&at(90, now.clone())], &policy);
        assert_eq!(judged[0].baseline_runs_with, seen, "{before:?} {now:?}");
        assert_eq!(judged[0].location, now.and_then(|f| f.location()));
    }
}

#[test]
fn error_absent_from_newest_head_is_fixed() {
    let had = |n| with_error(n, "ci / unit", "port 80 busy");
    assert!(verdicts(0, &[had(90), had(91), run(92, vec![])], "").is_empty());
    let mut rerun = run(91, vec![]);
    rerun.run.attempt = 2;
    assert_eq!(verdicts(0, &[had(91), rerun], ""), [(ErrorVerdict::Suspect, 1)], "a rerun of the same head");
}

#[test]
fn ignored_messages_are_left_out() {
    let candidate = [with_error(90, "ci / unit", "connection reset by peer: 7")];
    assert!(verdicts(0, &candidate, "errors: {gate: true, ignore: [\"reset by peer\"]}").is_empty());
}

#[test]
fn renamed_stage_keeps_errors() {
    let candidate = [with_error(90, "ci / test", "port 2 busy"), with_error(91, "ci / test", "port 3 busy")];
    let policy = "aliases: [{from: \"ci / unit\", to: \"ci / test\"}]";
    assert_eq!(verdicts(20, &candidate, policy), [(ErrorVerdict::Known, 2)]);
}
