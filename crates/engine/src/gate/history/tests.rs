//! Tests of a branch's history: which changes are found, where, and which stage is responsible.

use super::*;
use crate::model::time::Timestamp;

/// Commit `n` of the simulated branch: its first seven digits are the number.
fn run(n: usize) -> HistoryRun {
    let hour = i64::try_from(n).expect("a small number");
    HistoryRun {
        commit: format!("{n:07x}{:033x}", 0).parse().expect("a commit"),
        started_at: Timestamp(1_790_000_000_000_000 + hour * 3_600_000_000),
    }
}

fn runs(n: usize) -> Vec<HistoryRun> {
    (0..n).map(run).collect()
}

/// A stage of `usual_s` whose ln(ratio) at each run is `level` plus a little scatter.
fn stage(text: &str, usual_s: f64, runs: usize, level: impl Fn(usize) -> f64) -> StageSeries {
    const SAW: [f64; 5] = [0.0, 0.02, -0.01, 0.01, -0.02];
    let path: Vec<String> = text.split(" / ").map(str::to_owned).collect();
    let point = |run: usize| SeriesPoint { run, residual: level(run) + SAW[(run * 3 + text.len()) % 5] };
    StageSeries {
        key: StageKey::from_path(&path),
        parent: (path.len() > 1).then(|| StageKey::from_path(&path[..path.len() - 1])),
        path,
        usual_s,
        points: (0..runs).map(point).collect(),
    }
}

/// A factor from a run on.
fn from(run: usize, factor: f64) -> impl Fn(usize) -> f64 {
    move |at| if at < run { 0.0 } else { factor.ln() }
}

/// Stage, kind, ratio, seconds, commits and runs of each change in a line.
fn lines(changes: &[HistoryChange]) -> Vec<String> {
    let line = |c: &HistoryChange| {
        format!(
            "{} {:?} {:.2}x {:+.1} s {}..{} {}",
            c.path.join(" / "),
            c.kind,
            c.ratio,
            c.increase_s(),
            c.from_sha.short(),
            c.to_sha.short(),
            c.runs
        )
    };
    changes.iter().map(line).collect()
}

fn key(text: &str) -> StageKey {
    StageKey::from_path(&text.split(" / ").map(str::to_owned).collect::<Vec<_>>())
}

#[test]
fn step_has_size_commits_and_time() {
    let found = changes(&[stage("ci / build", 100.0, 100, from(65, 1.31))], &runs(100), &[]);
    // 100 * .31
    assert_eq!(lines(&found), ["ci / build Step 1.31x +31.0 s 0000040..0000041 34"]);
    let change = &found[0];
    assert_eq!((change.kind, change.since), (ChangeKind::Step, run(65).started_at));
    assert!((change.before_s - 100.0).abs() < 1.1 && change.p < 1e-9, "{change:?}");
    let faster = changes(&[stage("ci", 100.0, 60, from(30, 0.5))], &runs(60), &[]);
    assert_eq!(lines(&faster), ["ci Step 0.50x -50.0 s 000001d..000001e 29"]);
}

#[test]
fn step_is_found_from_fifth_run_on() {
    for (newer, expected) in [(4, 0), (5, 1)] {
        let n = 60 + newer;
        assert_eq!(changes(&[stage("ci", 100.0, n, from(60, 1.5))], &runs(n), &[]).len(), expected);
    }
}

#[test]
fn many_small_steps_are_drift() {
    let slope = |run: usize| 0.0012 * f64::from(u32::try_from(run).expect("a small number"));
    let found = changes(&[stage("ci / lint", 50.0, 100, slope)], &runs(100), &[]);
    // The medians of runs 80 to 99 and 0 to 19 lie 80 runs apart: exp(.0012 * 80)
    assert_eq!(lines(&found), ["ci / lint Drift 1.10x +5.1 s 0000000..0000063 99"]);
    assert_eq!(changes(&[stage("ci / lint", 50.0, 60, slope)], &runs(60), &[]), []);
}

#[test]
fn missing_runs_and_stray_points_are_ignored() {
    let mut build = stage("ci / build", 100.0, 100, from(50, 1.5));
    build.points.retain(|p| !(45..=55).contains(&p.run) && p.run % 3 != 0);
    build.points.push(SeriesPoint { run: 100, residual: 9.0 });
    build.points.push(SeriesPoint { run: 70, residual: f64::NAN });
    build.points.reverse();
    let found = changes(&[build], &runs(100), &[]);
    assert_eq!(lines(&found), ["ci / build Step 1.50x +50.0 s 000002c..0000038 43"]);
    assert_eq!(changes(&[stage("ci", 1.0, 50, from(25, 2.0))], &[], &[]), []);
}

#[test]
fn deepest_stage_is_responsible() {
    let series = [
        stage("ci", 200.0, 100, from(61, 1.2)),
        stage("ci / test", 100.0, 100, from(60, 1.4)),
        stage("ci / test / unit", 80.0, 100, from(60, 1.5)),
        stage("ci / test / other", 20.0, 100, |_| 0.0),
    ];
    let by = |c: &HistoryChange| (c.path.len(), c.explained_by.clone());
    let found = changes(&series, &runs(100), &[]);
    let unit = Some(key("ci / test / unit"));
    let mut explained: Vec<_> = found.iter().map(by).collect();
    explained.sort();
    assert_eq!(explained, [(1, unit.clone()), (2, unit), (3, None)]);
}

#[test]
fn change_is_explained_when_parts_make_most() {
    for (why, part, explained) in [
        ("too small a part", stage("ci / a", 20.0, 100, from(60, 1.5)), false),
        ("another place", stage("ci / a", 80.0, 100, from(40, 1.5)), false),
        ("the other direction", stage("ci / a", 80.0, 100, from(60, 0.5)), false),
        ("60% of the seconds", stage("ci / a", 52.0, 100, from(60, 1.5)), true),
        ("no parent in between", stage("ci / x / a", 80.0, 100, from(60, 1.5)), false),
    ] {
        let found = changes(&[stage("ci", 200.0, 100, from(60, 1.2)), part], &runs(100), &[]);
        let whole = found.iter().find(|c| c.path.len() == 1).expect("a change of the whole");
        assert_eq!((found.len(), whole.explained_by.is_some()), (2, explained), "{why}");
    }
}

#[test]
fn accepted_change_is_not_reported_again() {
    let series = [
        stage("ci", 200.0, 120, from(60, 1.2)),
        stage("ci / a", 80.0, 120, |at| from(60, 1.5)(at) + from(90, 1.3)(at)),
        stage("ci / b", 80.0, 120, from(60, 1.5)),
    ];
    let accepted = |n| AcceptedChange { stage: key("ci / a"), since: run(n).started_at };
    let found = changes(&series, &runs(120), &[accepted(60)]);
    let reported: Vec<(&str, usize)> =
        found.iter().map(|c| (c.path.last().expect("a name").as_str(), c.runs)).collect();
    assert_eq!(reported, [("a", 29), ("b", 59)]);
    // Later than every run, or of an unknown stage: nothing to divide.
    let unknown = AcceptedChange { stage: key("ci / z"), since: run(60).started_at };
    assert_eq!(changes(&series, &runs(120), &[accepted(500), unknown]).len(), 4);
}

#[test]
fn segments_shift_past_to_present_level() {
    let slow = SlowShare::PRIOR;
    let series = stage("ci", 100.0, 120, |at| from(40, 1.2)(at) + from(80, 1.5)(at));
    let near = |found: &[Segment], expected: &[(usize, f64)]| {
        let close = |(s, e): (&Segment, &(usize, f64))| s.first_run == e.0 && (s.shift - e.1).abs() < 0.011;
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(close), "{found:?}");
    };
    // np.log(1.2 * 1.5), np.log(1.5)
    near(&segments(&series.points, slow, &[]), &[(0, 0.588), (40, 0.405), (80, 0.0)]);
    near(&[newest_segment(&series.points, slow, &[]).expect("a change")], &[(80, 0.405)]);
    // Accepted after one run: its level counts at once.
    let fresh = stage("ci", 100.0, 61, from(60, 1.5));
    near(&segments(&fresh.points, slow, &[60]), &[(0, 0.405), (60, 0.0)]);
    near(&segments(&fresh.points, slow, &[0, 61, 60, 60]), &[(0, 0.405), (60, 0.0)]);
    near(&segments(&fresh.points[..60], slow, &[]), &[(0, 0.0)]);
    assert_eq!(newest_segment(&fresh.points, slow, &[]), None);
    assert_eq!(segments(&[], slow, &[3]), []);
}
