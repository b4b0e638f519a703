//! The sentence with the outcome, and the phrases that all media share. Callers pass names that are
//! escaped for their medium.

use pacegate_engine::model::comparison::{
    BaselineSummary, ErrorComparison, ErrorVerdict, RunVerdict, StageComparison, StageVerdict,
};

use pacegate_engine::model::decision::Decision;

use super::{Report, number_format, sentence};

/// The stage's own name: the last part of its path.
#[must_use]
pub fn leaf(stage: &StageComparison) -> &str {
    stage.path.last().map_or_else(|| unversioned(stage.key.as_str()), String::as_str)
}

/// The path without its last part, pipeline first. None for the pipeline itself.
#[must_use]
pub fn parents(path: &[String]) -> Option<String> {
    match path {
        [] | [_] => None,
        [parents @ .., _] => Some(parents.join(" / ")),
    }
}

/// The path in a stage key: the key without its version.
#[must_use]
pub fn unversioned(key: &str) -> &str {
    key.strip_prefix(pacegate_engine::model::stage::StageKey::VERSION).unwrap_or(key)
}

/// The certainty of a finding: `confirmed in 2 runs, by chance once in 4,000`, `seen once`.
#[must_use]
pub fn certainty(stage: &StageComparison) -> String {
    let (seen, chance) = seen_and_probability(stage);
    chance.map_or_else(|| seen.clone(), |chance| format!("{seen}, {chance}"))
}

/// The two parts of [`certainty`]. The second is missing if the probability is not small.
#[must_use]
pub fn seen_and_probability(stage: &StageComparison) -> (String, Option<String>) {
    let seen = match (stage.verdict, stage.samples) {
        (StageVerdict::Regressed | StageVerdict::Improved, 2..) => {
            format!("confirmed in {} runs", number_format::number(stage.samples))
        }
        (StageVerdict::Regressed | StageVerdict::Improved, _) => "confirmed".to_owned(),
        _ => match (judged_together(stage), stage.samples) {
            (judged @ 2.., _) => format!("seen in {} runs, not confirmed", number_format::number(judged)),
            (_, all @ 2..) => format!("seen in the newest of {} runs", number_format::number(all)),
            _ => "seen once".to_owned(),
        },
    };
    let chance = stage.probability.filter(|probability| *probability < RARE);
    (seen, chance.map(|probability| format!("by chance {}", number_format::once_in(probability))))
}

/// Number of samples that the verdict is based on; 0 if it is not known.
fn judged_together(stage: &StageComparison) -> usize {
    stage.workings.as_ref().map_or(0, |workings| workings.deviations.len())
}

/// Higher probabilities are not shown.
const RARE: f64 = 0.1;

/// The reason why an error is a suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// In one run of the change, never in the baseline.
    SeenOnce,
    /// In more runs, never in the baseline, which is short.
    Unseen,
    /// In the baseline, and now far more frequent.
    MoreOften,
}

/// The reason for a suspected error.
#[must_use]
pub fn suspicion(error: &ErrorComparison) -> Suspicion {
    match (error.is_unseen(), error.candidate_runs) {
        (false, _) => Suspicion::MoreOften,
        (true, 0 | 1) => Suspicion::SeenOnce,
        (true, _) => Suspicion::Unseen,
    }
}

/// How often the error was seen in the change and in the baseline. Older stored comparisons have no
/// reason; for them the text is made from the counts.
#[must_use]
pub fn error_reason(error: &ErrorComparison) -> String {
    sentence::error_reason(error).unwrap_or_else(|| {
        let here = match error.candidate_runs {
            0 | 1 => "seen once".to_owned(),
            n => format!("in {} runs of this change", number_format::number(n)),
        };
        format!("{here}, before in {}", sentence::seen_before(error))
    })
}

/// The verdict on one stage, in one to four words.
#[must_use]
pub fn outcome(stage: &StageComparison) -> &'static str {
    match stage.verdict {
        StageVerdict::Pass => "as usual",
        StageVerdict::Suspect if stage.ratio.is_none() => "over its budget, seen once",
        StageVerdict::Regressed if stage.ratio.is_none() => "over its budget",
        StageVerdict::Suspect if judged_together(stage) > 1 => "slower, not confirmed",
        StageVerdict::Suspect => "slower, seen once",
        StageVerdict::Regressed => "slower",
        StageVerdict::Improved => "faster",
        StageVerdict::New => "new",
        StageVerdict::Removed => "gone",
        StageVerdict::Inconclusive => "can't say",
        StageVerdict::NotComparable => "not comparable",
    }
}

/// The verdict of a comparison, in one to three words, for a badge.
#[must_use]
pub fn badge(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Pass => "no slowdown",
        RunVerdict::Improved => "faster",
        RunVerdict::Inconclusive => "can't say yet",
        RunVerdict::Suspect => "suspect",
        RunVerdict::Regressed => "slower",
    }
}

/// A sentence about the runner's speed. `factor`: how many times as long as usual everything took. None
/// for differences below 1.5%.
#[must_use]
pub fn runner(factor: Option<f64>) -> Option<String> {
    let factor = factor.filter(|f| f.is_finite() && *f > 0.0)?;
    let is_notable = !(0.985..1.015).contains(&factor);
    is_notable.then(|| {
        let (times, direction) = if factor > 1.0 { (factor, "slower") } else { (1.0 / factor, "faster") };
        format!(
            "The runner was {} {direction} than usual; the ratios are corrected for it.",
            number_format::ratio(times)
        )
    })
}

/// A decision with its person, time, end and reason. `name` and `text` escape a login and a reason for
/// the medium.
#[must_use]
pub fn decided(decision: &Decision, name: fn(&str) -> String, text: fn(&str) -> String) -> String {
    let (what, by) = (decision.kind.as_str(), name(&decision.by));
    let until =
        decision.until.map_or_else(String::new, |until| format!(", until {}", number_format::minute(until)));
    let why = match decision.reason.trim() {
        "" => String::new(),
        reason => format!(": {}", text(reason)),
    };
    format!("{what} by {by} on {}{until}{why}", number_format::minute(decision.at))
}

/// The baseline in a sentence. `sha` formats a commit for the medium.
#[must_use]
pub fn baseline(baseline: &BaselineSummary, sha: fn(&str) -> String) -> String {
    let runs = number_format::count(baseline.runs, "comparable run", "comparable runs");
    match (baseline.runs, &baseline.from_sha, &baseline.to_sha) {
        (0, _, _) => "There is no comparable earlier run.".to_owned(),
        (_, Some(from), Some(to)) => {
            format!("{runs} of the base branch, from {} to {}.", sha(from.short()), sha(to.short()))
        }
        _ => format!("{runs} of the base branch."),
    }
}

/// The outcome in one sentence without a full stop. `name` escapes a stage's name for the medium.
#[must_use]
pub fn headline(report: &Report, name: fn(&str) -> String) -> String {
    let mut parts = slower_parts(report, name);
    if parts.is_empty() {
        parts.push(quiet(report, name));
    }
    let decided = report.decided().count() + report.decided_errors().count();
    if decided > 0 {
        parts.push(format!("{} accepted or muted", number_format::number(decided)));
    }
    parts.join("; ")
}

fn slower_parts(report: &Report, name: fn(&str) -> String) -> Vec<String> {
    let mut parts = Vec::new();
    let new_errors = report.errors(ErrorVerdict::New).count();
    let mut suspects = report.suspect();
    let mut regressed = report.regressed();
    if let Some(worst) = regressed.next() {
        parts.push(format!("{}, confirmed", change(worst, name)));
        let (slower, over): (Vec<_>, Vec<_>) = regressed.clone().partition(|stage| stage.ratio.is_some());
        for (stages, what) in [(slower, "slower"), (over, "over budget")] {
            if !stages.is_empty() {
                parts.push(format!(
                    "{} {what}",
                    number_format::count(stages.len(), "more stage", "more stages")
                ));
            }
        }
    }
    if new_errors > 0 {
        parts.push(number_format::count(new_errors, "new error", "new errors"));
    }
    if regressed.len() == 0
        && report.regressed().len() == 0
        && let Some(first) = suspects.next()
    {
        let seen = if judged_together(first) > 1 { "not confirmed" } else { "seen once" };
        parts.push(format!("{}, {seen}", change(first, name)));
        if suspects.len() > 0 {
            parts.push(format!(
                "{} seen slower once",
                number_format::count(suspects.len(), "more stage", "more stages")
            ));
        }
    } else if suspects.len() > 0 {
        parts.push(format!("{} seen slower once", number_format::count(suspects.len(), "stage", "stages")));
    }
    for (suspicion, one, many, after) in [
        (Suspicion::SeenOnce, "unknown error", "unknown errors", " seen once"),
        (Suspicion::Unseen, "unknown error", "unknown errors", ""),
        (Suspicion::MoreOften, "known error", "known errors", " far more often than before"),
    ] {
        let n = report.errors(ErrorVerdict::Suspect).filter(|e| self::suspicion(e) == suspicion).count();
        if n > 0 {
            parts.push(format!("{}{after}", number_format::count(n, one, many)));
        }
    }
    parts
}

fn change(stage: &StageComparison, name: fn(&str) -> String) -> String {
    let name = name(leaf(stage));
    let by = stage.increase_s.filter(|s| s.is_finite());
    match (stage.ratio.filter(|r| r.is_finite()), by, stage.candidate_s) {
        (Some(ratio), by, _) if ratio >= 1.005 => {
            let by = by.map_or_else(String::new, |s| format!(" ({})", number_format::change(s)));
            format!("{name} {} slower{by}", number_format::short_ratio(ratio))
        }
        (Some(ratio), by, _) if ratio > 0.0 && stage.verdict == StageVerdict::Improved => {
            let by = by.map_or_else(String::new, |s| format!(" ({})", number_format::change(s)));
            format!("{name} {} faster{by}", number_format::short_ratio(1.0 / ratio))
        }
        // Slow by the policy's budget, not by its history.
        (_, _, Some(took)) => format!("{name} took {}, over its budget", number_format::duration(took)),
        _ => format!("{name} slower"),
    }
}

fn quiet(report: &Report, name: fn(&str) -> String) -> String {
    let comparison = report.comparison();
    let runs = comparison.baseline.runs;
    let passed = comparison.stages.iter().filter(|s| s.verdict == StageVerdict::Pass).count();
    // Pipelines without a history, when another pipeline of the commit has a history.
    let is_new = |s: &&StageComparison| {
        s.parent.is_none() && matches!(s.verdict, StageVerdict::New | StageVerdict::Inconclusive)
    };
    let waiting: Vec<&StageComparison> = comparison.stages.iter().filter(is_new).collect();
    match comparison.verdict {
        RunVerdict::Pass => match passed {
            0 => "No slowdown found".to_owned(),
            n => format!("No slowdown in {}", number_format::count(n, "stage", "stages")),
        },
        RunVerdict::Improved => {
            let mut improved = report.improved();
            let first = improved.next().map_or_else(|| "Faster than usual".to_owned(), |s| change(s, name));
            match improved.len() {
                0 => first,
                n => format!("{first}; {} faster", number_format::count(n, "more stage", "more stages")),
            }
        }
        RunVerdict::Inconclusive if comparison.contradicts_github() => {
            "Can't say: spans from a job contradict GitHub's times".to_owned()
        }
        RunVerdict::Inconclusive if runs == 0 => "Nothing to compare with yet".to_owned(),
        RunVerdict::Inconclusive if passed > 0 && !waiting.is_empty() => {
            let more = match waiting.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            let judged = number_format::count(passed, "stage", "stages");
            format!("No slowdown in {judged}; can't say yet about {}{more}", name(leaf(waiting[0])))
        }
        RunVerdict::Inconclusive => {
            format!("Can't say yet: compared with {}", number_format::count(runs, "run", "runs"))
        }
        // Only an older stored comparison can have one of these verdicts without a finding.
        RunVerdict::Suspect => "A stage was slower, seen once".to_owned(),
        RunVerdict::Regressed => "Slower than usual".to_owned(),
    }
}
