//! A replay as text for people: the main result, the gate beside other rules, the smallest slowdowns that
//! would be found, the places that raised alarms, and advice. `json` is for scripts.

mod advice;
pub mod json;
#[cfg(test)]
mod tests;

use super::sentence::history_change;
use super::{escape, number_format};
use pacegate_engine::gate::replay::incumbents::Rule;
use pacegate_engine::gate::replay::outlook::MAX_RATIO;
use pacegate_engine::gate::replay::summary::{Performance, Rates, Replay};
use pacegate_engine::gate::replay::{SIZES, WARM_UP};

/// Stages that are listed at most.
const STAGES_SHOWN: usize = 20;
/// Alarms that are listed at most.
const ALARMS_SHOWN: usize = 10;
/// Lasting changes that are listed at most.
const CHANGES_SHOWN: usize = 15;
/// Longest name that is shown, characters. Of a longer one, the end is shown.
const NAME_WIDTH: usize = 50;

/// The name of a stage as in a policy and in a history file.
#[must_use]
pub fn stage_name(path: &[String]) -> String {
    path.join(" / ")
}

/// The replay of one pipeline as lines of text, with a closing newline.
#[must_use]
pub fn text(pipeline: &str, replay: &Replay) -> String {
    let mut blocks = Vec::new();
    if replay.replayed == 0 {
        blocks.push(too_short(replay));
    } else {
        blocks.push(headline(replay));
        blocks.push(caveats(replay));
        blocks.push(rules(replay));
        blocks.push(alarms(replay));
    }
    blocks.extend(history(replay));
    blocks.extend(stages(replay));
    if replay.replayed > 0 {
        blocks.push(format!("Advice\n{}", advice::advice(replay).join("\n")));
    }
    let title = escape::readable(pipeline);
    format!(
        "Replay of {title}: {}\n\n{}\n",
        number_format::count(replay.runs, "run", "runs"),
        blocks.join("\n\n")
    )
}

/// A share in percent, with a decimal below ten.
fn percent(share: Option<f64>) -> String {
    match share {
        None => "-".to_owned(),
        Some(s) if s > 0.0 && s < 0.0995 => format!("{:.1}%", s * 100.0),
        Some(s) => format!("{:.0}%", s * 100.0),
    }
}

fn too_short(replay: &Replay) -> String {
    if replay.missing_runs > 0 {
        let enough = WARM_UP + replay.settings.commits;
        return format!(
            "There is too little history to replay: {enough} runs are needed ({WARM_UP} as a baseline and {} as a \
             pull request), {} missing.",
            replay.settings.commits,
            match replay.missing_runs {
                1 => "1 is".to_owned(),
                n => format!("{} are", number_format::number(n)),
            },
        );
    }
    format!(
        "There is nothing to replay: no run of this history has {WARM_UP} comparable runs before it, within the days that \
         the policy allows (green first attempts on one kind of runner; `baseline` in the policy)."
    )
}

fn headline(replay: &Replay) -> String {
    let (ours, percent_25) = (replay.ours.alarms, replay.incumbents[1].1.alarms);
    let confirmed = match ours.confirmed {
        Some(share) if share > 0.0 => format!("a confirmed alarm on {}", percent(ours.confirmed)),
        _ => "no confirmed alarm on any".to_owned(),
    };
    format!(
        "On this history Pacegate would have raised {confirmed} of {}; the rule \"25% above the mean\", which one run can \
         break, would have alarmed on {}.",
        number_format::count(replay.replayed, "unchanged pull request", "unchanged pull requests"),
        percent(percent_25.single),
    )
}

fn caveats(replay: &Replay) -> String {
    let (low, high) = replay.alarm_interval;
    let range = format!("between {} and {} (95%)", percent(Some(low)), percent(Some(high)));
    let mut lines = vec![
        format!(
            "Each pull request consists of {} in a row, compared with the history before them.",
            number_format::count(replay.settings.commits, "run", "runs")
        ),
        "This history has no labels: a real slowdown counts as an alarm here, for every rule.".to_owned(),
        if replay.independent < replay.replayed {
            format!(
                "Neighbouring pull requests share runs. The {} that do not put Pacegate's rate {range}.",
                number_format::number(replay.independent)
            )
        } else {
            format!("These pull requests put Pacegate's rate {range}.")
        },
    ];
    let tried = replay.replayed + replay.skipped;
    if tried < replay.possible {
        lines.push(format!(
            "{} pull requests were tried of {} that are possible, evenly spread (`--limit`).",
            number_format::number(tried),
            number_format::number(replay.possible)
        ));
    }
    if replay.skipped > 0 {
        lines.push(format!(
            "{} left out: fewer than {WARM_UP} comparable runs are before them, within the days that the policy allows.",
            number_format::count(replay.skipped, "pull request was", "pull requests were"),
        ));
    }
    if replay.settings.commits < 2 {
        lines.push("One run never confirms anything: `--commits 2` or more shows what two would.".into());
    }
    lines.join("\n")
}

fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::TLimit99 => "t limit of 99%, last 64 runs",
        Rule::Percent25 => "25% above the mean of 64",
        Rule::Ratio200 => "twice the last run",
    }
}

/// The gate beside other rules: confirmed, tuned to the same rate of alarms, and seen in one run.
fn rules(replay: &Replay) -> String {
    let row = |name: &str, alarms: Option<f64>, recall: [Option<f64>; SIZES.len()]| {
        let mut cells = vec![format!("  {name}"), percent(alarms)];
        cells.extend(recall.map(percent));
        cells
    };
    let block = |of: fn(&Rates) -> Option<f64>| {
        let performance = |name: &str, p: &Performance| row(name, of(&p.alarms), p.recall.map(|r| of(&r)));
        let mut rows = vec![performance("Pacegate", &replay.ours)];
        rows.extend(replay.incumbents.iter().map(|(rule, p)| performance(rule_name(*rule), p)));
        rows
    };
    let mut header = vec!["RULE".to_owned(), "ALARMS".to_owned()];
    header.extend(SIZES.map(|size| format!("+{:.0}%", (size - 1.0) * 100.0)));
    let mut rows = vec![header, vec!["confirmed by a second run".to_owned()]];
    rows.extend(block(|r| r.confirmed));
    rows.push(vec!["confirmed, tuned to alarm as rarely as Pacegate".to_owned()]);
    rows.extend(replay.matched.iter().map(|m| row(rule_name(m.rule), m.alarms, m.recall)));
    rows.push(vec!["seen in one run".to_owned()]);
    rows.extend(block(|r| r.single));
    format!(
        "ALARMS: the share of unchanged pull requests. +10% and so on: of {} in which one stage was made slower \
         by this much, the share in which it was found.\n{}",
        number_format::number(replay.slowed),
        table(&rows)
    )
}

fn alarms(replay: &Replay) -> String {
    if replay.changes.is_empty() {
        return "Nothing raised a confirmed alarm.".to_owned();
    }
    let mut rows =
        vec![["STAGE", "SLOWER", "BY", "CONFIRMED AT", "RUN", "PULL REQUESTS"].map(str::to_owned).to_vec()];
    rows.extend(replay.changes.iter().take(ALARMS_SHOWN).map(|change| {
        vec![
            number_format::tail(&escape::readable(&stage_name(&change.finding.path)), NAME_WIDTH),
            number_format::ratio(change.finding.ratio),
            number_format::change(change.finding.increase_s),
            change.at.to_rfc3339(),
            number_format::tail(&escape::readable(&change.run.0), 24),
            number_format::number(change.pull_requests),
        ]
    }));
    let shown = if replay.changes.len() > ALARMS_SHOWN {
        format!("; the {ALARMS_SHOWN} strongest")
    } else {
        String::new()
    };
    format!(
        "What raised confirmed alarms ({}{shown}): was it real?\n{}",
        number_format::count(replay.changes.len(), "place", "places"),
        table(&rows)
    )
}

/// The lasting changes on the branch itself.
fn history(replay: &Replay) -> Option<String> {
    if replay.history.is_empty() {
        return None;
    }
    let lines: Vec<String> = replay
        .history
        .iter()
        .take(CHANGES_SHOWN)
        .map(|change| format!("  {}", escape::readable(&history_change(change))))
        .collect();
    let shown = if replay.history.len() > CHANGES_SHOWN {
        format!("; the newest {CHANGES_SHOWN}")
    } else {
        String::new()
    };
    Some(format!(
        "Lasting changes on this branch ({}{shown})\n{}",
        number_format::count(replay.history.len(), "change", "changes"),
        lines.join("\n")
    ))
}

fn stages(replay: &Replay) -> Option<String> {
    if replay.stages.is_empty() {
        return None;
    }
    let mut rows = vec![["STAGE", "MEDIAN", "RUNS", "FOUND FROM", "THAT IS"].map(str::to_owned).to_vec()];
    rows.extend(replay.stages.iter().take(STAGES_SHOWN).map(|stage| {
        vec![
            number_format::tail(&escape::readable(&stage_name(&stage.path)), NAME_WIDTH),
            number_format::duration(stage.median_s),
            number_format::number(stage.runs),
            number_format::or_dash(stage.detectable_ratio, number_format::ratio),
            number_format::or_dash(stage.detectable_increase_s, number_format::change),
        ]
    }));
    let shown = if replay.stages.len() > STAGES_SHOWN {
        format!("the {STAGES_SHOWN} longest of {} stages", number_format::number(replay.stages.len()))
    } else {
        number_format::count(replay.stages.len(), "stage", "stages")
    };
    Some(format!(
        "The smallest slowdown that two usual runs would confirm today ({shown}; -: none up to {MAX_RATIO:.0}x)\n{}",
        table(&rows)
    ))
}

/// Aligns the first column to the left and the others to the right. A row of one cell is a heading.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() > 1).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| match i {
            0 if row.len() == 1 => cell.clone(),
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
