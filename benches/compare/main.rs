//! Measures the time of one decision: fitting a baseline, learning the tails, judging two runs. It does
//! so on measured runs, as in the service, and on the bare table of numbers.
//!
//! `cargo bench --profile release --bench compare` uses the build that is shipped; the profile `bench`
//! keeps calls between files that it inlines. It prints Markdown tables: medians of repeated runs on
//! one core, with the fastest and the slowest in brackets. `-- 500x200` measures that size only. The
//! timings are printed and not tested.

#[path = "../detection/generator.rs"]
#[allow(dead_code, reason = "the other benchmark's histories, of which this uses a part")]
mod generator;
#[path = "../detection/ours.rs"]
#[allow(dead_code, reason = "the other benchmark's runs, of which this uses a part")]
mod ours;

use std::hint::black_box;
use std::time::{Duration, Instant};

use pacegate_engine::gate::duration_model::ablation::Ablation;
use pacegate_engine::gate::duration_model::fit::fit;
use pacegate_engine::gate::duration_model::multiple_testing::HypothesisFamily;
use pacegate_engine::gate::duration_model::runner_speed::ReferenceStages;
use pacegate_engine::gate::duration_model::{Direction, DurationModel, NewRun, Observations};
use pacegate_engine::gate::verdict::compare::compare;
use pacegate_engine::model::ids::RepoName;
use pacegate_engine::model::policy::GatePolicy;
use pacegate_engine::stats::matrix::Matrix;

use generator::{History, Rng, Setting};
use ours::Runs;

/// Limits on the repetitions of a cell.
const LONG_ENOUGH: Duration = Duration::from_secs(2);
const AT_LEAST: usize = 5;
const AT_MOST: usize = 200;

/// Sizes as (stages, runs).
const ALL_SIZES: [(usize, usize); 9] = [
    (5, 200),
    (50, 200),
    (500, 200),
    (5_000, 200),
    (500, 25),
    (500, 60),
    (500, 100),
    (500, 500),
    (500, 1_000),
];

/// Milliseconds of each repetition of several steps.
struct Times(Vec<Vec<f64>>);

impl Times {
    /// Repeats `once`, which returns the milliseconds of each of its steps.
    fn of(mut once: impl FnMut() -> Vec<f64>) -> Self {
        let (begin, mut all) = (now(), Vec::new());
        once(); // the first repetition fills caches and buffers
        while all.len() < AT_LEAST || (begin.elapsed() < LONG_ENOUGH && all.len() < AT_MOST) {
            all.push(once());
        }
        Self(all)
    }

    /// Median, fastest and slowest of each step, then of their sum.
    fn cells(&self) -> Vec<String> {
        let steps = self.0.first().map_or(0, Vec::len);
        let of_step = |step: usize| cell(self.0.iter().map(|times| times[step]).collect());
        let sum = cell(self.0.iter().map(|times| times.iter().sum()).collect());
        (0..steps).map(of_step).chain([sum]).collect()
    }
}

fn cell(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let middle = times[times.len() / 2];
    let digits = if middle < 10.0 { 2 } else { 0 };
    format!("{middle:.digits$} ({:.digits$}-{:.digits$})", times[0], times[times.len() - 1])
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

fn milliseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

fn setting(stages: usize, baseline: usize) -> Setting {
    Setting { baseline, stages, ..Setting::USUAL }
}

/// Fit, the first comparison, which learns the tails, and a further one.
fn on_runs(stages: usize, baseline: usize) -> Vec<String> {
    let setting = setting(stages, baseline);
    let history = History::new(&mut Rng::new(1), &setting);
    let runs = Runs::new(&history, &setting);
    let (baseline, mut pushes) = (runs.baseline(), runs.pushes(None));
    pushes.truncate(2);
    let policy = GatePolicy::default();
    let repo: RepoName = "acme/my-app".parse().expect("a repository");
    let times = Times::of(|| {
        let begin = now();
        let fitted = fit(black_box(&baseline), &policy);
        let fit_ms = milliseconds(begin);
        let compared = || {
            let begin = now();
            black_box(compare(&fitted, black_box(&pushes), &repo, &policy));
            milliseconds(begin)
        };
        vec![fit_ms, compared(), compared()]
    });
    times.cells()
}

/// Fit, the tails for one and for two samples, and the two samples' deviations and evidence.
fn on_the_table(stages: usize, baseline: usize) -> Vec<String> {
    let setting = setting(stages, baseline);
    let history = History::new(&mut Rng::new(1), &setting);
    let mut logs = Matrix::filled(baseline, stages, 0.0);
    for run in 0..baseline {
        for (stage, log) in logs.row_mut(run).iter_mut().enumerate() {
            *log = history.seconds(run, stage, 1.0).ln();
        }
    }
    let state = |stage| (0..baseline).map(|run| f64::from(u8::from(history.missed(run, stage)))).collect();
    let within: Vec<Vec<usize>> = (0..stages).map(|stage| vec![stage]).collect();
    let observations = Observations {
        logs,
        clock_s: vec![1.0; stages],
        rare_state: (0..stages).map(|stage| Some(state(stage))).collect(),
        reference_stages: ReferenceStages::new(&vec![true; stages], &vec![None; stages], &within),
        ablation: Ablation::ALL,
    };
    let new_run = |push: usize| NewRun {
        logs: (0..stages).map(|stage| history.seconds(baseline + push, stage, 1.0).ln()).collect(),
        rare_state: (0..stages)
            .map(|stage| f64::from(u8::from(history.missed(baseline + push, stage))))
            .collect(),
    };
    let pushes = [new_run(0), new_run(1)];
    let times = Times::of(|| {
        let begin = now();
        let model = DurationModel::fit(black_box(&observations));
        let family = HypothesisFamily::new(&model, (0..stages).collect());
        let fit_ms = milliseconds(begin);
        // A tail is learned at first use.
        let learned = |size: usize| {
            let begin = now();
            black_box(family.judge(&model, 0, &vec![0.1; size], Direction::Slower));
            milliseconds(begin)
        };
        let (single_ms, joint_ms) = (learned(1), learned(2));
        let begin = now();
        for size in [1, 2] {
            let block = model.deviations(&pushes[2 - size..]);
            for stage in 0..stages {
                let deviations: Vec<f64> =
                    block.iter().map(|run| run.of_stages[stage]).filter(|d| d.is_finite()).collect();
                black_box(family.judge(&model, stage, &deviations, Direction::Slower));
            }
        }
        vec![fit_ms, single_ms, joint_ms, milliseconds(begin)]
    });
    times.cells()
}

#[expect(clippy::print_stdout, reason = "tables are what this prints")]
fn table(title: &str, head: &[&str], sizes: &[(usize, usize)], cells: fn(usize, usize) -> Vec<String>) {
    println!("\n{title}\n\n| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for (stages, runs) in sizes {
        println!("| {stages} x {runs} | {} |", cells(*stages, *runs).join(" | "));
    }
}

/// The sizes of the arguments, such as `500x200`; all sizes without arguments.
fn sizes() -> Vec<(usize, usize)> {
    let size = |argument: String| {
        let (stages, runs) = argument.split_once('x')?;
        Some((stages.parse().ok()?, runs.parse().ok()?))
    };
    let wanted: Vec<(usize, usize)> = std::env::args().filter_map(size).collect();
    if wanted.is_empty() { ALL_SIZES.to_vec() } else { wanted }
}

fn main() {
    let sizes = sizes();
    table(
        "Two runs against a baseline, as measured runs, milliseconds",
        &[
            "stages x runs",
            "`fit`",
            "first `compare`, which learns the tails",
            "a further `compare`",
            "all three",
        ],
        &sizes,
        on_runs,
    );
    table(
        "The same on the bare table of numbers, milliseconds",
        &["stages x runs", "fit", "tail, one sample", "tail, two samples", "two samples judged", "sum"],
        &sizes,
        on_the_table,
    );
}
