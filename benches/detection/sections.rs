//! The tables of the benchmark: their histories and their columns.

use pacegate_engine::gate::duration_model::ablation::Ablation;
use pacegate_engine::gate::replay::incumbents::{Rule, StudentLimits};

use crate::generator::{Disturbance, PUSHES, Setting};
use crate::incumbents::{FALSE_DISCOVERIES, Incumbents};
use crate::ours::{Gate, Runs};
use crate::table::{FACTORS, Score, Tally, begin_table, print_row};
use crate::trials::{Trials, by_rule, progress, rare_enough, scores_of};

/// First seed of the histories that are measured and never used for tuning.
const FROZEN: u64 = 1_000_000;
/// Distance between the seeds of two rows.
const APART: u64 = 100_000;
const HEAD: [&str; 4] = ["history", "alarms % (95%)", RECALL, "the same, alarms matched at 2%"];
const RECALL: &str = "recall % at +10 / +20 / +30 / +50 / +100%";
const USUAL: Setting = Setting::USUAL;
const UNKNOWN: Setting = Setting { states_known: false, ..USUAL };
const RUNNERS: Setting = Setting { runners: 2, jobs_known: true, ..USUAL };

/// The seeds of one row of one section.
fn row_of(section: u64, row: usize, number: usize) -> Trials {
    Trials { number, first_seed: FROZEN * section + APART * row as u64 }
}

fn states(setting: &Setting) -> &'static str {
    if setting.states_known { "known" } else { "unknown" }
}

/// Required against measured recall.
pub(crate) fn bar(trials: usize) {
    let rows: [(&str, Setting, [f64; 4]); 6] = [
        ("40 stages, 60 runs, states known", USUAL, [0.45, 0.72, 0.90, 0.99]),
        ("40 stages, 60 runs, states unknown", UNKNOWN, [0.35, 0.60, 0.78, 0.88]),
        ("40 stages, 25 runs, states known", Setting { baseline: 25, ..USUAL }, [0.38, 0.66, 0.89, 0.98]),
        ("10 stages, 60 runs, states known", Setting { stages: 10, ..USUAL }, [0.52, 0.74, 0.92, 0.99]),
        ("100 stages, 60 runs, states known", Setting { stages: 100, ..USUAL }, [0.38, 0.64, 0.86, 0.97]),
        ("500 stages, 60 runs, states known", Setting { stages: 500, ..USUAL }, [0.25, 0.50, 0.78, 0.95]),
    ];
    begin_table(
        &format!(
            "Bar against measured: two samples together, {trials} pull requests of four pushes, through `fit`"
        ),
        &[
            "history",
            "alarms % (95%), bar 2.0",
            "+20%: bar, measured",
            "+30%",
            "+50%",
            "+100%",
            "matched at 2%: nominal probability",
            "matched at 2%: recall, +10% first",
        ],
    );
    for (row, (name, setting, bar)) in rows.into_iter().enumerate() {
        for tally in row_of(1, row, trials).ours(&setting, &[2], Ablation::ALL) {
            let recall = tally.recall();
            let quiet = if tally.is_quiet() { "" } else { " **missed**" };
            let mut cells = vec![name.to_owned(), format!("{}{quiet}", tally.alarms_cell())];
            cells.extend(bar.iter().zip(&recall[1..]).map(|(bar, found)| {
                let missed = if found < bar { " **missed**" } else { "" };
                format!("{:.0}, {:.1}{missed}", 100.0 * bar, 100.0 * found)
            }));
            print_row(cells.into_iter().chain(tally.matched_level()));
        }
    }
}

/// The gate and the rules of other tools on the same histories.
pub(crate) fn incumbents(trials: usize) {
    const SIZES: [usize; 4] = [1, 2, 3, 4];
    let limits = StudentLimits::new();
    for (row, setting) in [USUAL, UNKNOWN].into_iter().enumerate() {
        begin_table(
            &format!(
                "40 stages, 60 runs, states {}: {trials} pull requests of four pushes; the gate through `fit`",
                states(&setting)
            ),
            &["rule", "alarms % (95%)", RECALL, "matched: alarms %", "matched: recall"],
        );
        progress("incumbents");
        let scores = row_of(2, row, trials).run(&setting, |history, stage| {
            let runs = Runs::new(history, &setting);
            let gate = Gate::new(&runs, &runs.baseline(), Ablation::ALL);
            let mut scores = scores_of(&gate, &runs, stage, &SIZES);
            let others = Incumbents::new(history, &limits);
            let found =
                |finds: &dyn Fn(usize, f64) -> f64| stage.map(|stage| FACTORS.map(|f| finds(stage, f)));
            for (rule, size) in Rule::ALL.into_iter().flat_map(|rule| [(rule, 1), (rule, 2)]) {
                scores.push(Score {
                    alarm: others.limit_alarm(rule, size),
                    found: found(&|stage, factor| others.limit_finds(rule, stage, factor, size)),
                });
            }
            for size in [1, 2] {
                scores.push(Score {
                    alarm: others.rank_alarm(size),
                    found: found(&|stage, factor| others.rank_finds(stage, factor, size)),
                });
            }
            scores
        });
        let names = [
            "Pacegate, one sample (suspect)",
            "**Pacegate, two samples together**",
            "Pacegate, three samples together",
            "Pacegate, four samples together",
            "t limit .99, one sample",
            "t limit .99, two samples in a row",
            "+25% of the mean, one sample",
            "+25% of the mean, two samples in a row",
            "200% of the last value, one sample",
            "200% of the last value, two samples in a row",
            "Mann-Whitney, Benjamini-Hochberg .05, one sample",
            "Mann-Whitney, Benjamini-Hochberg .05, two samples together",
        ];
        let threshold = |rule| match rule {
            0..=3 => rare_enough(),
            4..=9 => 1.0,
            _ => -FALSE_DISCOVERIES.ln(),
        };
        for (name, tally) in names.iter().zip(by_rule(&scores, threshold)) {
            let [alarms, recall] = tally.matched_cells();
            print_row([(*name).to_owned(), tally.alarms_cell(), tally.recall_cell(), alarms, recall]);
        }
    }
}

fn grid(section: u64, title: &str, rows: Vec<(String, Setting)>, trials: usize) {
    let title =
        format!("{title}: two samples together, {trials} pull requests of four pushes, through `fit`");
    begin_table(&title, &HEAD);
    for (row, (name, setting)) in rows.into_iter().enumerate() {
        for tally in row_of(section, row, trials).ours(&setting, &[2], Ablation::ALL) {
            print_row([name.clone()].into_iter().chain(tally.cells()));
        }
    }
}

/// Each setting with known and with unknown cache states.
fn both(name: &str, setting: Setting) -> [(String, Setting); 2] {
    [true, false].map(|states_known| {
        let setting = Setting { states_known, ..setting };
        (format!("{name}, states {}", states(&setting)), setting)
    })
}

/// Longer and shorter baselines, more and fewer stages.
pub(crate) fn sizes(trials: usize) {
    let runs = [12, 25, 60, 200].into_iter().flat_map(|baseline| {
        // The gate never confirms a finding on so short a baseline.
        let note = if baseline < 25 { " (suspect at most)" } else { "" };
        both(&format!("40 stages, {baseline} runs{note}"), Setting { baseline, ..USUAL })
    });
    let stages = [10, 100, 500]
        .into_iter()
        .flat_map(|stages| both(&format!("{stages} stages, 60 runs"), Setting { stages, ..USUAL }));
    grid(3, "Runs and stages", runs.chain(stages).collect(), trials);
}

/// Other noise, several runners, baselines that changed.
pub(crate) fn noise(trials: usize) {
    let kinds = Disturbance::ALL
        .into_iter()
        .flat_map(|(disturbance, name)| both(name, Setting { disturbance, ..USUAL }));
    let runners = [(true, "known"), (false, "unknown")].into_iter().flat_map(|(jobs_known, jobs)| {
        both(&format!("two runners, jobs {jobs}"), Setting { runners: 2, jobs_known, ..USUAL })
    });
    grid(4, "Noise and disturbances, 40 stages, 60 runs", kinds.chain(runners).collect(), trials);
}

/// The method without each of its parts.
pub(crate) fn ablation(trials: usize) {
    type Without = fn(&mut Ablation);
    let ablation: [(&str, Without); 13] = [
        ("nothing", |_| {}),
        ("runner_speed", |p| p.runner_speed = false),
        ("jobs", |p| p.jobs = false),
        ("exposure", |p| p.exposure = false),
        ("cache_state", |p| p.cache_state = false),
        ("slow_mode", |p| p.slow_mode = false),
        ("level", |p| p.level = false),
        ("segments", |p| p.segments = false),
        ("shrinkage", |p| p.shrinkage = false),
        ("uncertainty", |p| p.uncertainty = false),
        ("optimism", |p| p.optimism = false),
        ("rates", |p| p.rates = false),
        ("allocation", |p| p.allocation = false),
    ];
    let settings = [
        ("states known", USUAL),
        ("states unknown", UNKNOWN),
        ("two runners, jobs known", RUNNERS),
        ("level shift, recent", Setting { disturbance: Disturbance::RecentShift, ..USUAL }),
    ];
    for (row, (name, setting)) in settings.into_iter().enumerate() {
        begin_table(
            &format!(
                "Ablation, 40 stages, 60 runs, {name}: two samples together, {trials} pull requests, through `fit`"
            ),
            &["without", HEAD[1], HEAD[2], HEAD[3]],
        );
        for (without, switch) in ablation {
            let mut ablation = Ablation::ALL;
            switch(&mut ablation);
            // All variants of the method get the same histories.
            for tally in row_of(5, row, trials).ours(&setting, &[2], ablation) {
                print_row([without.to_owned()].into_iter().chain(tally.cells()));
            }
        }
    }
}

/// The service's decisions: at each push, all blocks of the newest samples.
pub(crate) fn blocks(trials: usize) {
    begin_table(
        &format!(
            "As the service decides (\"regressed\" at any of four pushes), {trials} pull requests, through `fit` and `compare`"
        ),
        &[
            "history",
            "alarms % (95%)",
            "recall by the second push, +10 / +20 / +30 / +50 / +100%",
            "third",
            "fourth",
        ],
    );
    let settings = [
        ("40 stages, 60 runs, states known", USUAL),
        ("40 stages, 60 runs, states unknown", UNKNOWN),
        ("40 stages, 25 runs, states known", Setting { baseline: 25, ..USUAL }),
        ("40 stages, 200 runs, states known", Setting { baseline: 200, ..USUAL }),
        ("100 stages, 60 runs, states known", Setting { stages: 100, ..USUAL }),
        ("two runners, jobs known", RUNNERS),
        ("level shift, recent", Setting { disturbance: Disturbance::RecentShift, ..USUAL }),
    ];
    for (row, (name, setting)) in settings.into_iter().enumerate() {
        progress(name);
        let scores = row_of(6, row, trials).run(&setting, |history, stage| {
            let runs = Runs::new(history, &setting);
            let gate = Gate::new(&runs, &runs.baseline(), Ablation::ALL);
            let alarm = gate.first_confirmed(&runs.pushes(None), None);
            let first = stage.map(|stage| {
                FACTORS.map(|factor| gate.first_confirmed(&runs.pushes(Some((stage, factor))), Some(stage)))
            });
            let by = |last: usize| {
                let by_then =
                    |push: Option<usize>| f64::from(u8::from(push.is_some_and(|push| push <= last)));
                Score { alarm: by_then(alarm), found: first.map(|first| first.map(by_then)) }
            };
            (2..=PUSHES).map(by).collect()
        });
        let tallies: Vec<Tally> = by_rule(&scores, |_| 0.5);
        let alarms = tallies.last().map_or_else(String::new, Tally::alarms_cell);
        let recall = tallies.iter().map(Tally::recall_cell);
        print_row([name.to_owned(), alarms].into_iter().chain(recall));
    }
}
