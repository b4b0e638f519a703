//! Compares the engine with `tests/reference/method.py`, an independent implementation of the same
//! method with numpy. Both must give the same numbers on simulated histories.

mod simulate;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use pacegate_engine::gate::duration_model::ablation::Ablation;
use pacegate_engine::gate::duration_model::multiple_testing::HypothesisFamily;
use pacegate_engine::gate::duration_model::runner_speed::ReferenceStages;
use pacegate_engine::gate::duration_model::{Direction, DurationModel, NewRun, Observations};
use pacegate_engine::stats::matrix::Matrix;
use serde::Deserialize;
use simulate::{Kind, SimulatedCase};

/// The reference's results for a case.
#[derive(Deserialize)]
struct Answer {
    degrees: f64,
    dynamics: (f64, f64),
    scales: Vec<f64>,
    /// Shift, scale and share.
    slow_modes: Vec<Option<(f64, f64, f64)>>,
    predicted_s: Vec<f64>,
    deviations: Vec<Vec<Option<f64>>>,
    machine: Vec<f64>,
    findings: Vec<Findings>,
}

#[derive(Deserialize)]
struct Findings {
    size: usize,
    direction: String,
    /// By member; none where a sample is missing.
    stages: Vec<Option<Finding>>,
}

#[derive(Deserialize)]
struct Finding {
    evidence: f64,
    /// All shifts of largest likelihood: with two samples there may be two of them.
    shifts: Vec<f64>,
    probability_of_stage: f64,
    probability: f64,
    threshold: f64,
    is_rare: bool,
}

/// Runs the reference with the Python that `make setup-tests` installs.
fn ask(cases: &[SimulatedCase]) -> Vec<Answer> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(root.join("target/reference/bin/python"))
        .arg(root.join("tests/reference/method.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python with numpy is under target/reference: run `make setup-tests`");
    let question = serde_json::to_vec(cases).expect("cases are JSON");
    // Dropping the pipe after the write is the end of the input.
    python.stdin.take().expect("a pipe").write_all(&question).expect("the reference reads");
    let output = python.wait_with_output().expect("the reference ends");
    assert!(output.status.success(), "the reference failed: its error output is above");
    serde_json::from_slice(&output.stdout).expect("the reference's answer")
}

fn matrix(rows: &[Vec<f64>]) -> Matrix {
    let mut matrix = Matrix::filled(rows.len(), rows[0].len(), 0.0);
    rows.iter().enumerate().for_each(|(at, row)| matrix.row_mut(at).copy_from_slice(row));
    matrix
}

fn fit(case: &SimulatedCase) -> DurationModel {
    let logs = matrix(&case.logs);
    let reference_stages = ReferenceStages::choose(&case.is_reference, &case.job, &case.within, &logs);
    let (clock_s, rare_state) = (case.clock_s.clone(), case.rare_state.clone());
    DurationModel::fit(&Observations { logs, clock_s, rare_state, reference_stages, ablation: Ablation::ALL })
}

/// The differences of a case.
struct Differences<'a> {
    case: &'a str,
    compared: usize,
    found: Vec<String>,
}

impl Differences<'_> {
    fn number(&mut self, what: &str, at: usize, ours: f64, theirs: f64) {
        self.compared += 1;
        let near = (ours - theirs).abs() <= 1e-6 * theirs.abs() + 1e-9;
        let both_missing = ours.is_nan() && theirs.is_nan();
        if !(near || both_missing) {
            self.found.push(format!("{}: {what} {at}: {ours} is not {theirs}", self.case));
        }
    }

    fn numbers(&mut self, what: &str, ours: impl Iterator<Item = f64>, theirs: impl Iterator<Item = f64>) {
        let (ours, theirs): (Vec<f64>, Vec<f64>) = (ours.collect(), theirs.collect());
        assert_eq!(ours.len(), theirs.len(), "{}: {what}", self.case);
        for (at, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
            self.number(what, at, ours, theirs);
        }
    }
}

/// Compares a case. Returns the number of rare findings, so that the test can require some.
fn compare(case: &SimulatedCase, answer: &Answer, differences: &mut Differences) -> usize {
    let model = fit(case);
    let stages = || 0..model.stages();
    let (degrees, dynamics) = model.shape();
    let shape = [degrees.value(), dynamics.persistence, dynamics.gain];
    let (persistence, gain) = answer.dynamics;
    differences.numbers("shape", shape.into_iter(), [answer.degrees, persistence, gain].into_iter());
    differences.numbers("scale", stages().map(|i| model.noise(i).scale), answer.scales.iter().copied());
    differences.numbers(
        "predicted",
        stages().map(|i| model.predicted_s(i)),
        answer.predicted_s.iter().copied(),
    );
    let slow = |mode: Option<(f64, f64, f64)>| mode.map_or([f64::NAN; 3], |(a, b, c)| [a, b, c]);
    let ours = |i: usize| slow(model.noise(i).slow.map(|slow| (slow.shift, slow.scale, slow.share)));
    differences.numbers(
        "slow mode",
        stages().flat_map(ours),
        answer.slow_modes.iter().flat_map(|mode| slow(*mode)),
    );
    let new = case.new_logs.iter().zip(&case.new_rare_state);
    let new: Vec<NewRun> =
        new.map(|(logs, state)| NewRun { logs: logs.clone(), rare_state: state.clone() }).collect();
    let deviations = model.deviations(&new);
    differences.numbers(
        "machine",
        deviations.iter().map(|run| run.runner_speed),
        answer.machine.iter().copied(),
    );
    differences.numbers(
        "deviation",
        deviations.iter().flat_map(|run| run.of_stages.clone()),
        answer.deviations.iter().flatten().map(|deviation| deviation.unwrap_or(f64::NAN)),
    );
    let family = HypothesisFamily::new(&model, case.members.clone());
    let mut rare = 0;
    for findings in &answer.findings {
        let slower = findings.direction == "slower";
        let direction = if slower { Direction::Slower } else { Direction::Faster };
        let tail = model.null_tail(&case.members, findings.size, direction);
        for (place, (column, theirs)) in case.members.iter().zip(&findings.stages).enumerate() {
            let samples: Vec<f64> =
                deviations[..findings.size].iter().map(|run| run.of_stages[*column]).collect();
            let Some(theirs) = theirs else {
                assert!(samples.iter().any(|sample| sample.is_nan()), "{}: {column}", differences.case);
                continue;
            };
            let ours = family.judge(&model, *column, &samples, direction).expect("a member");
            let what = |name: &str| format!("{name} of {} {} at stage", findings.size, findings.direction);
            let evidence = ours.evidence.ln_ratio;
            differences.number(&what("evidence"), *column, evidence, theirs.evidence);
            let far = |shift: &f64| (shift - ours.evidence.shift).abs();
            let nearest = theirs.shifts.iter().copied().min_by(|a, b| far(a).total_cmp(&far(b)));
            differences.number(
                &what("shift"),
                *column,
                ours.evidence.shift,
                nearest.expect("there is always 0"),
            );
            let of_stage = tail.probability(place, evidence);
            differences.number(
                &what("probability of the stage"),
                *column,
                of_stage,
                theirs.probability_of_stage,
            );
            differences.number(&what("probability"), *column, ours.probability, theirs.probability);
            differences.number(&what("threshold"), *column, ours.threshold, theirs.threshold);
            let flag = |is_rare: bool| f64::from(u8::from(is_rare));
            differences.number(&what("flag"), *column, flag(ours.is_rare()), flag(theirs.is_rare));
            rare += usize::from(theirs.is_rare);
        }
    }
    rare
}

#[test]
fn engine_and_reference_agree() {
    let cases: Vec<SimulatedCase> = [
        (10, 12, Kind::SharedMachine),
        (10, 25, Kind::KnownCaches),
        (10, 60, Kind::OwnMachines),
        (10, 200, Kind::KnownCaches),
        (40, 12, Kind::KnownCaches),
        (40, 25, Kind::OwnMachines),
        (40, 60, Kind::KnownCaches),
        (40, 60, Kind::SharedMachine),
        (40, 200, Kind::OwnMachines),
        (100, 12, Kind::OwnMachines),
        (100, 25, Kind::SharedMachine),
        (100, 60, Kind::KnownCaches),
        (100, 200, Kind::OwnMachines),
    ]
    .into_iter()
    .zip(1..)
    .map(|((stages, runs, kind), seed)| SimulatedCase::new(stages, runs, kind, seed))
    .collect();
    let answers = ask(&cases);
    assert_eq!(answers.len(), cases.len());
    let (mut wrong, mut compared, mut rare) = (Vec::new(), 0, 0);
    for (case, answer) in cases.iter().zip(&answers) {
        let mut differences = Differences { case: &case.name, compared: 0, found: Vec::new() };
        rare += compare(case, answer, &mut differences);
        compared += differences.compared;
        wrong.append(&mut differences.found);
    }
    let some = wrong.iter().take(30).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {compared} numbers differ:\n{some}", wrong.len());
    assert!(rare > 100, "only {rare} of the findings are rare: the cases show too little");
}
