//! Replays a real history with the library's back-test, with pull requests of two and of four pushes.
//! The history is unlabelled: a real change counts as an alarm too.

use std::path::Path;

use pacegate_engine::gate::replay::summary::{Performance, Rates, Replay};
use pacegate_engine::gate::replay::{Plan, Settings};
use pacegate_engine::model::policy::GatePolicy;
use pacegate_ingest::history_csv::{BRANCH, CsvLimits, read};
use rayon::prelude::*;

use crate::table::{begin_table, interval, print_row};
use crate::trials::progress;

/// Prints the table of one file.
pub(crate) fn replay(file: &Path) -> Result<(), String> {
    let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let repo = "local/history".parse().map_err(|e| format!("{e}"))?;
    let name = file.file_stem().map_or("history".into(), |name| name.to_string_lossy().into_owned());
    let runs =
        read(&bytes, &repo, &name, CsvLimits::default()).map_err(|e| format!("{}: {e}", file.display()))?;
    let policy = GatePolicy::default();
    begin_table(
        &format!("Replay of {name}, {} runs", runs.len()),
        &[
            "rule",
            "pushes",
            "alarms %, one sample",
            "confirmed (95%)",
            "found, confirmed, +10 / +20 / +30 / +50 / +100%",
        ],
    );
    for commits in [2, 4] {
        let plan =
            Plan::new(runs.clone(), Some(BRANCH), &policy, Settings { commits, ..Settings::default() });
        progress(&format!("{name}: pull requests of {commits} pushes"));
        let trials: Vec<_> = plan.positions().par_iter().map(|position| plan.trial(*position)).collect();
        print(commits, &plan.summary(&trials, Vec::new()));
    }
    Ok(())
}

fn print(commits: usize, replay: &Replay) {
    let performance_row = |rule: &str, performance: &Performance| {
        let Rates { single, confirmed } = performance.alarms;
        print_row([
            rule.to_owned(),
            commits.to_string(),
            whole(single),
            interval(confirmed.unwrap_or(0.0), replay.independent),
            recall(performance.recall.iter().map(|rates| rates.confirmed)),
        ]);
    };
    performance_row("**Pacegate**", &replay.ours);
    for (rule, performance) in &replay.incumbents {
        performance_row(rule.as_str(), performance);
    }
    for matched in &replay.matched {
        print_row([
            format!("{}, its allowance times {:.1}", matched.rule.as_str(), matched.scale),
            commits.to_string(),
            String::new(),
            interval(matched.alarms.unwrap_or(0.0), replay.independent),
            recall(matched.recall.iter().copied()),
        ]);
    }
}

fn whole(share: Option<f64>) -> String {
    share.map_or_else(|| "none".to_owned(), |share| format!("{:.0}", 100.0 * share))
}

fn recall(shares: impl Iterator<Item = Option<f64>>) -> String {
    shares.map(whole).collect::<Vec<_>>().join(" / ")
}
