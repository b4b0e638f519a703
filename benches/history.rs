//! Measures recall and false alarms for changes of the default branch: steps and drifts in simulated
//! histories with heavy tails, slow wander and runners of three speeds. `cargo bench --bench history`
//! prints Markdown tables with Wilson's 95% intervals. Seeds are fixed: the same build prints the same
//! tables.

use pacegate_engine::stats::change_point::{ChangePoint, Settings, change_points};
use pacegate_engine::stats::count;
use pacegate_engine::stats::drift::{Drift, drift};
use pacegate_engine::stats::level_shift::SlowShare;
use pacegate_engine::stats::robust::median_of;

/// Stages in all the pipelines of a cell.
const ALL_STAGES: usize = 2000;
/// Default number of stages of a pipeline.
const STAGES: usize = 100;
const RUNS: usize = 200;
/// The run at which a change begins.
const PLACE: usize = 120;
/// A step counts as found when it is placed at most this many runs off.
const CLOSE: usize = 5;

/// A linear congruential generator with Knuth's MMIX constants: the same numbers on every platform.
struct Lcg(u64);

impl Lcg {
    fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1));
        (0..8).for_each(|_| {
            rng.uniform();
        });
        rng
    }

    /// Uniform in 0..1, both ends excluded.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (f64::from(u32::try_from(self.0 >> 32).expect("32 bits")) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Student's t with 4 degrees of freedom, scaled to variance 1.
    fn heavy(&mut self) -> f64 {
        let square: f64 = (0..4).map(|_| self.normal().powi(2)).sum();
        self.normal() / (square / 4.0).sqrt() / 2.0_f64.sqrt()
    }
}

/// Residuals by stage: as measured, and without the runner's speed.
struct History {
    measured: Vec<Vec<f64>>,
    without_speed: Vec<Vec<f64>>,
}

/// Stages that scatter by 6% (2% to 25%). Seven in ten depend fully on the runner's speed, the rest by a
/// fifth. Runners are slower by 0, 12 or 32%. `slow` is the slow wander's share of a stage's own
/// variance (a first-order autoregression, .9), or [`DIFFERING`].
fn history(rng: &mut Lcg, stages: usize, slow: f64) -> History {
    let scatter: Vec<f64> =
        (0..stages).map(|_| (0.06_f64.ln() + 0.5 * rng.normal()).exp().clamp(0.02, 0.25)).collect();
    let exposure: Vec<f64> = (0..stages).map(|_| if rng.uniform() < 0.7 { 1.0 } else { 0.2 }).collect();
    let runner: Vec<f64> = (0..RUNS)
        .map(|_| {
            let kind = match rng.uniform() {
                u if u < 0.5 => 0.0,
                u if u < 0.8 => 0.12,
                _ => 0.32,
            };
            kind + 0.04 * rng.normal()
        })
        .collect();
    let mut measured = Vec::with_capacity(stages);
    for stage in 0..stages {
        let slow = if slow <= DIFFERING { 0.6 * rng.uniform() } else { slow };
        let mut wander = rng.normal();
        let series: Vec<f64> = runner
            .iter()
            .map(|speed| {
                wander = 0.9 * wander + (1.0 - 0.81_f64).sqrt() * rng.normal();
                let own = slow.sqrt() * wander + (1.0 - slow).sqrt() * rng.heavy();
                scatter[stage] * own + exposure[stage] * speed
            })
            .collect();
        let usual = median_of(series.iter().copied()).unwrap_or(0.0);
        measured.push(series.into_iter().map(|y| y - usual).collect::<Vec<f64>>());
    }
    let mut without_speed = measured.clone();
    for run in 0..RUNS {
        let references: Vec<(f64, f64)> = (0..stages)
            .map(|s| (measured[s][run] / exposure[s].max(0.3), (exposure[s] / scatter[s]).powi(2)))
            .collect();
        let speed = weighted_median(&references).unwrap_or(0.0);
        for (series, exposure) in without_speed.iter_mut().zip(&exposure) {
            series[run] -= exposure * speed;
        }
    }
    History { measured, without_speed }
}

/// Correction for serial correlation.
#[derive(Clone, Copy)]
enum Allowance {
    /// As in the product: learned from all stages, larger for a stage that wanders more.
    Learned,
    /// Learned from all stages.
    Pooled,
    /// No correction, as in Otava's test.
    None,
}

impl Allowance {
    fn of_all(self, stages: &[Vec<f64>]) -> SlowShare {
        match self {
            Self::None => SlowShare::new(0.0),
            Self::Learned | Self::Pooled => SlowShare::pooled(stages.iter().map(Vec::as_slice)),
        }
    }

    fn steps(self, series: &[f64], of_all: SlowShare, settings: &Settings) -> Vec<ChangePoint> {
        let slow = match self {
            Self::Learned => of_all.or_more_for(series),
            Self::None | Self::Pooled => of_all,
        };
        change_points(series, slow, settings)
    }
}

fn steps(series: &[f64], of_all: SlowShare) -> Vec<ChangePoint> {
    Allowance::Learned.steps(series, of_all, &Settings::default())
}

fn drifts(series: &[f64], steps: &[ChangePoint], of_all: SlowShare) -> Option<Drift> {
    drift(&series[steps.last().map_or(0, |step| step.at)..], of_all, 1.1_f64.ln())
}

/// A change of a series from [`PLACE`] on.
#[derive(Clone, Copy)]
enum Change {
    /// One factor for all runs.
    Step(f64),
    /// A factor for each run, over this number of runs.
    Slope(f64, u32),
}

impl Change {
    /// The series with the change, up to `after` runs past its last step.
    fn on(self, series: &[f64], after: usize) -> Vec<f64> {
        let (last, shift): (usize, Box<dyn Fn(usize) -> f64>) = match self {
            Self::Step(factor) => (0, Box::new(move |_| factor.ln())),
            Self::Slope(factor, steps) => {
                let steps = steps as usize;
                (steps, Box::new(move |i| factor.ln() * count((i + 1).min(steps))))
            }
        };
        // The series ends `after` runs past the change; its beginning is the same for each row.
        let end = (PLACE + last + after).min(series.len());
        let mut changed = series[..end].to_vec();
        changed[PLACE..].iter_mut().enumerate().for_each(|(i, x)| *x += shift(i));
        changed
    }

    fn is_found(self, series: &[f64], slow: SlowShare) -> bool {
        let points = steps(series, slow);
        match self {
            Self::Step(_) => points.iter().any(|p| p.at.abs_diff(PLACE) <= CLOSE && p.shift() > 0.0),
            Self::Slope(..) => {
                points.iter().any(|p| p.at + CLOSE >= PLACE && p.shift() > 0.0)
                    || drifts(series, &points, slow).is_some_and(|d| d.newest > d.anchor)
            }
        }
    }
}

/// `hits` of `n` in percent, with Wilson's 95% interval.
fn percent(hits: usize, n: usize) -> String {
    let (n, p, z) = (count(n), count(hits) / count(n), 1.959_964_f64);
    let middle = p + z * z / (2.0 * n);
    let reach = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 100.0 / (1.0 + z * z / n);
    let digits = usize::from(p < 0.1);
    format!(
        "{:.digits$} ({:.digits$}-{:.digits$})",
        100.0 * p,
        (scale * (middle - reach)).max(0.0),
        scale * (middle + reach)
    )
}

#[expect(clippy::print_stdout, reason = "tables are what this prints")]
fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

#[expect(clippy::print_stdout, reason = "tables are what this prints")]
fn table(title: &str, head: &[&str]) {
    println!("\n{title}\n");
    row(&head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    println!("|{}", "---|".repeat(head.len()));
}

const SLOW: [(&str, f64); 4] = [("none", 0.0), ("20%", 0.2), ("50%", 0.5), ("0 to 60%", DIFFERING)];
/// Each stage has its own share, up to 60%.
const DIFFERING: f64 = -1.0;

fn histories(stages: usize, slow: f64) -> impl Iterator<Item = History> {
    (0..ALL_STAGES / stages).zip(0..).map(move |(_, seed)| history(&mut Lcg::new(seed), stages, slow))
}

fn false_alarms() {
    table(
        "Unchanged stages of 200 runs with a change, percent",
        &["slow wander", "stages", "runner's speed", "a step", "a drift"],
    );
    for (name, slow) in SLOW {
        for stages in [8, 40, STAGES] {
            let histories: Vec<History> = histories(stages, slow).collect();
            for (speed, of) in views() {
                let (mut with_step, mut with_drift, mut all) = (0, 0, 0);
                for stages in histories.iter().map(of) {
                    let slow = Allowance::Learned.of_all(stages);
                    for series in stages {
                        let points = steps(series, slow);
                        with_step += usize::from(!points.is_empty());
                        with_drift += usize::from(drifts(series, &points, slow).is_some());
                        all += 1;
                    }
                }
                row(&[
                    name.into(),
                    stages.to_string(),
                    speed.into(),
                    percent(with_step, all),
                    percent(with_drift, all),
                ]);
            }
        }
    }
}

type View = fn(&History) -> &[Vec<f64>];

fn views() -> [(&'static str, View); 2] {
    [("removed", |h| &h.without_speed), ("left in", |h| &h.measured)]
}

fn found() {
    table(
        "Changed stages in which the change is found so many runs after it (a slope: after its end), percent",
        &["slow wander", "runner's speed", "change", "5 runs", "10 runs", "20 runs"],
    );
    let changes = [
        ("+5%", Change::Step(1.05)),
        ("+10%", Change::Step(1.1)),
        ("+20%", Change::Step(1.2)),
        ("+50%", Change::Step(1.5)),
        ("20 times +1%", Change::Slope(1.01, 20)),
        ("60 times +0.3%", Change::Slope(1.003, 60)),
    ];
    for (name, slow) in SLOW {
        let histories: Vec<History> = histories(STAGES, slow).collect();
        for (speed, of) in views() {
            for (what, change) in changes {
                let mut cells = vec![name.to_owned(), speed.to_owned(), what.to_owned()];
                for after in [5, 10, 20] {
                    let (mut hits, mut all) = (0, 0);
                    for stages in histories.iter().map(of) {
                        let slow = Allowance::Learned.of_all(stages);
                        for series in stages {
                            hits += usize::from(change.is_found(&change.on(series, after), slow));
                            all += 1;
                        }
                    }
                    cells.push(percent(hits, all));
                }
                row(&cells);
            }
        }
    }
}

/// Distance of found steps from their true place.
fn places() {
    table(
        "How far off a found step is placed, 20 runs after it, slow wander 20%, speed removed, percent",
        &["change", "0 runs", "at most 1", "at most 2", "at most 5"],
    );
    for (what, factor) in [("+10%", 1.1), ("+20%", 1.2), ("+50%", 1.5)] {
        let mut off = Vec::new();
        for history in histories(STAGES, 0.2) {
            let slow = Allowance::Learned.of_all(&history.without_speed);
            for series in &history.without_speed {
                let series = Change::Step(factor).on(series, 20);
                let points = steps(&series, slow);
                off.extend(points.iter().map(|p| p.at.abs_diff(PLACE)).filter(|off| *off <= 4 * CLOSE).min());
            }
        }
        let within = |most: usize| percent(off.iter().filter(|o| **o <= most).count(), off.len());
        row(&[what.into(), within(0), within(1), within(2), within(5)]);
    }
}

/// Effect of window, p and correction: the choice behind `Settings::default`.
fn tried() {
    table(
        "Variants: unchanged stages of 200 runs with a step, and +10% / +20% found 10 runs after it, percent, speed taken out",
        &[
            "window",
            "p",
            "serial correlation",
            "none",
            "20%",
            "50%",
            "0 to 60%",
            "+10% at 20%",
            "+20% at 20%",
        ],
    );
    let tries = [
        (50, 1e-3, Allowance::None),
        (50, 1e-4, Allowance::None),
        (50, 1e-3, Allowance::Pooled),
        (50, 3e-4, Allowance::Pooled),
        (50, 1e-3, Allowance::Learned),
        (50, 5e-4, Allowance::Learned),
        (50, 3e-4, Allowance::Learned),
        (50, 1e-4, Allowance::Learned),
        (30, 5e-4, Allowance::Learned),
        (100, 5e-4, Allowance::Learned),
    ];
    let all_histories: Vec<Vec<History>> =
        SLOW.iter().map(|(_, slow)| histories(STAGES, *slow).collect()).collect();
    for (window, max_p, allowance) in tries {
        let settings = Settings { window, max_p, ..Settings::default() };
        let share_with = |histories: &[History], factor: f64, after: usize| {
            let (mut hits, mut all) = (0, 0);
            for history in histories {
                let slow = allowance.of_all(&history.without_speed);
                for series in &history.without_speed {
                    all += 1;
                    let changed =
                        if factor > 1.0 { Change::Step(factor).on(series, after) } else { series.clone() };
                    let points = allowance.steps(&changed, slow, &settings);
                    hits += usize::from(
                        points
                            .iter()
                            .any(|p| factor <= 1.0 || (p.at.abs_diff(PLACE) <= CLOSE && p.shift() > 0.0)),
                    );
                }
            }
            percent(hits, all)
        };
        let learned = match allowance {
            Allowance::Learned => "of all stages, or its own",
            Allowance::Pooled => "of all stages",
            Allowance::None => "not allowed for",
        };
        let mut cells = vec![window.to_string(), format!("{max_p:e}"), learned.to_owned()];
        cells.extend(all_histories.iter().map(|histories| share_with(histories, 1.0, 0)));
        cells.extend([1.1, 1.2].map(|factor| share_with(&all_histories[1], factor, 10)));
        row(&cells);
    }
}

fn main() {
    false_alarms();
    found();
    places();
    tried();
}

/// The smallest value at which the weights of it and all smaller ones reach half of the total.
fn weighted_median(pairs: &[(f64, f64)]) -> Option<f64> {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = sorted.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut reached = 0.0;
    sorted.iter().find_map(|(value, weight)| {
        reached += weight;
        (reached >= half).then_some(*value)
    })
}
