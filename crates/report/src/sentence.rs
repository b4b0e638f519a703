//! The facts behind a verdict as sentences without a full stop: how much slower, against which baseline,
//! in how many runs, and how often by chance. Names are not escaped.

use pacegate_engine::model::comparison::{ErrorComparison, ErrorVerdict, StageComparison};
use pacegate_engine::model::history::{ChangeKind, HistoryChange};
use pacegate_engine::model::reason::{
    Confirmation, ErrorReason, ExclusionReason, FindingSummary, SlowModeSummary, StageFact,
};
use pacegate_engine::model::run::RunResult;
use pacegate_engine::model::structure::{EachTime, RenameEvidence, Repetition};

use super::number_format::{change, counted, duration, number, once_in, ratio};

/// Differences of the runner's speed up to this share are not mentioned.
const RUNNER: f64 = 0.05;

/// Why a stage has its verdict; empty for a stage that was stored without a reason.
#[must_use]
pub fn stage_reason(stage: &StageComparison) -> String {
    stage.reason.iter().map(|fact| stage_fact(stage, fact)).collect::<Vec<_>>().join("; ")
}

fn stage_fact(stage: &StageComparison, fact: &StageFact) -> String {
    match fact {
        StageFact::Judged(summary) => finding(stage, summary),
        StageFact::NotInBaseline => "not in the baseline yet: it is judged when it has a history".to_owned(),
        StageFact::ShortHistory { runs, needed, is_large } => {
            let short = format!("{} so far, {needed} are needed", counted(*runs, "comparable run"));
            if *is_large {
                let (ratio, by) = (number_or_unknown(stage.ratio), stage.increase_s.unwrap_or(f64::NAN));
                format!("a large change ({ratio} their median, {}), but {short}", change(by))
            } else {
                short
            }
        }
        StageFact::TooManyStages => "not judged: the pipeline has too many different stages".to_owned(),
        StageFact::RareCacheState => {
            "its cache was in a state that is too rare in the baseline to compare with".to_owned()
        }
        StageFact::OverBudget { took_s, budget_s, samples } => format!(
            "took {}, its budget is {}; seen in {}",
            duration(*took_s),
            duration(*budget_s),
            counted(*samples, "run")
        ),
        StageFact::OtherRunner { runner } => {
            format!("it ran on another kind of runner ({}) than the baseline", runner.describe())
        }
        StageFact::Incomplete { result } => match result {
            RunResult::Success => "it succeeded",
            RunResult::Failure | RunResult::Error => "it failed, and a failed stage stops early",
            RunResult::Timeout => "it timed out",
            RunResult::Cancellation => "it was cancelled",
            RunResult::Skip => "it was skipped",
        }
        .to_owned(),
        StageFact::Absent => "in the baseline, not in this change".to_owned(),
        StageFact::NotReached => "it was not reached: the run did not succeed".to_owned(),
        StageFact::Waiting => "waiting for a runner is not caused by this change".to_owned(),
        StageFact::Renamed { from } => format!("it looks like {from} under a new name"),
        StageFact::Repeated(repeated) => format!("it {}", repetition(repeated)),
        StageFact::Text(text) => text.clone(),
    }
}

fn number_or_unknown(value: Option<f64>) -> String {
    ratio(value.unwrap_or(f64::NAN))
}

fn finding(stage: &StageComparison, summary: &FindingSummary) -> String {
    let past = counted(stage.baseline_samples, "comparable run");
    let by = change(stage.increase_s.unwrap_or(f64::NAN));
    let mut parts = vec![format!("{} the expected time ({past}), {by}", number_or_unknown(stage.ratio))];
    parts.push(seen(summary));
    let is_finding = summary.confirmation != Confirmation::Unchanged;
    if let Some(probability) = stage.probability.filter(|_| is_finding) {
        parts.push(format!("by chance {} pull requests", once_in(probability)));
    }
    parts.extend(summary.slow_mode.map(|slow| slow_mode(slow, is_finding)));
    let runner = if (summary.runner_factor - 1.0).abs() > RUNNER {
        format!(" (corrected for a runner factor of {})", ratio(summary.runner_factor))
    } else {
        String::new()
    };
    format!("{}{runner}", parts.join("; "))
}

fn seen(summary: &FindingSummary) -> String {
    let seen = counted(summary.samples, "run");
    match summary.confirmation {
        Confirmation::Confirmed => format!("seen in {seen} of this change"),
        Confirmation::NeedsHistory(runs) => {
            format!("seen in {seen}; {runs} comparable runs are needed to confirm it")
        }
        Confirmation::NeedsSamples(runs) => {
            format!("seen in {seen} so far, {} judged together may confirm it", counted(runs, "run"))
        }
        Confirmation::Unchanged => "within its usual range".to_owned(),
    }
}

fn slow_mode(slow: SlowModeSummary, is_finding: bool) -> String {
    let share = format!("{:.0}%", (100.0 * slow.share).max(1.0));
    let end = if is_finding { ", and the verdict accounts for that" } else { ", like this one" };
    format!("{share} of its runs are slow by {}{end}", change(slow.increase_s))
}

/// Why an error has its verdict; none for an error that was stored without a reason.
#[must_use]
pub fn error_reason(error: &ErrorComparison) -> Option<String> {
    let reason = error.reason.as_ref()?;
    let history = counted(error.baseline_runs, "run");
    let before = number(error.baseline_runs_with);
    let here = format!("in {} of this change", counted(error.candidate_runs, "run"));
    let never = format!("never in {history} of the base branch, {here}");
    Some(match reason {
        ErrorReason::SeenBefore => {
            let how = if error.verdict == ErrorVerdict::Known { "known" } else { "flaky" };
            format!("{how}: in {before} of {history} of the base branch")
        }
        ErrorReason::MoreOften { of, probability } => format!(
            "{before} of {history} before, {} of {} here: far more often than chance ({})",
            number(error.candidate_runs),
            number(*of),
            rarity(*probability)
        ),
        ErrorReason::Unseen => never,
        ErrorReason::ShortHistory { needed } => {
            format!("{never}; it takes {} to call an error new", number(*needed))
        }
        ErrorReason::OftenSeenOnce { share } => format!(
            "{never}; that alone is weak evidence: of the base branch's own errors, {:.0}% occurred only once",
            share * 100.0
        ),
        ErrorReason::NoHistory => format!("{here}; no run of the base branch to compare with"),
        ErrorReason::Text(text) => text.clone(),
    })
}

/// How many runs of the baseline had an error: `0 of 143 runs`.
#[must_use]
pub fn seen_before(error: &ErrorComparison) -> String {
    format!("{} of {} runs", error.baseline_runs_with, error.baseline_runs)
}

/// `once in 7,400`: two digits, and at most a million, beyond which no model is reliable.
fn rarity(p: f64) -> String {
    let times = if p > 0.0 { (1.0 / p).min(1e6) } else { 1e6 };
    if times >= 1e6 {
        return "less than once in a million".to_owned();
    }
    let unit = 10_f64.powf(times.log10().floor() - 1.0).max(1.0);
    let rounded = format!("{:.0}", (times / unit).round() * unit);
    format!("once in {}", rounded.parse().map_or(rounded, number))
}

/// Why runs could not be a baseline.
#[must_use]
pub fn exclusion(reason: &ExclusionReason) -> String {
    match reason {
        ExclusionReason::Rerun => "a rerun (attempt 2 or later)".to_owned(),
        ExclusionReason::BeyondNewest { runs } => format!("beyond the newest {runs}"),
        ExclusionReason::Cancelled => "cancelled".to_owned(),
        ExclusionReason::Failed => "failed".to_owned(),
        ExclusionReason::LaterThanChange => "later than the change".to_owned(),
        ExclusionReason::NoBranch => "named no branch (set vcs.ref.head.name)".to_owned(),
        ExclusionReason::OfPullRequest => "of a pull request".to_owned(),
        ExclusionReason::OtherPipeline => "of another pipeline".to_owned(),
        ExclusionReason::JudgedCommit => "of the commit that is judged".to_owned(),
        ExclusionReason::TooOld { days } => format!("older than {}", counted(*days as usize, "day")),
        ExclusionReason::OtherBranch => "on another branch".to_owned(),
        ExclusionReason::OtherRunner { runner } => {
            format!("on another kind of runner ({})", runner.describe())
        }
        ExclusionReason::Skipped => "skipped".to_owned(),
        ExclusionReason::TimedOut => "timed out".to_owned(),
        ExclusionReason::Text(text) => text.clone(),
    }
}

/// A difference of both ratios from 1 below this is the same work.
const SAME_WORK: f64 = 0.1;

/// A repetition as the end of a sentence about its stage: `ran 9 times, usually 4; ...: more work, not
/// slower work`.
#[must_use]
pub fn repetition(repetition: &Repetition) -> String {
    let Repetition { count, usual_count, each_s, usual_each_s, each } = *repetition;
    let (counts, times) = (repetition.count_ratio(), repetition.time_ratio());
    let is_the_same = (counts * times - 1.0).abs() < SAME_WORK;
    let means = match (counts > 1.0, each) {
        (true, EachTime::AsBefore) => "more work, not slower work",
        (true, EachTime::Longer) => "more work, and slower work",
        (true, EachTime::Shorter) if is_the_same => "the same work in more parts",
        (true, EachTime::Shorter) => "more parts, and shorter ones",
        (false, EachTime::AsBefore) => "less work, not faster work",
        (false, EachTime::Longer) if is_the_same => "the same work in fewer parts",
        (false, EachTime::Longer) => "fewer parts, and longer ones",
        (false, EachTime::Shorter) => "less work, and faster work",
    };
    let usually = if (usual_count - usual_count.round()).abs() < 0.05 {
        format!("{usual_count:.0}")
    } else {
        format!("{usual_count:.1}")
    };
    let often = match count {
        1 => "once".to_owned(),
        n => format!("{} times", number(n as usize)),
    };
    let time = match each {
        EachTime::AsBefore => format!("{} each, as before", duration(each_s)),
        _ => format!("{} each, usually {}", duration(each_s), duration(usual_each_s)),
    };
    format!(
        "ran {often}, usually {usually}; {time} ({} the count, {} the time each, {} in all): {means}",
        ratio(counts),
        ratio(times),
        ratio(counts * times)
    )
}

/// Why two stages are taken for the same work.
#[must_use]
pub fn rename_evidence(evidence: &RenameEvidence) -> String {
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    match evidence {
        RenameEvidence::SamePlace => "at the same place".to_owned(),
        RenameEvidence::SharedParts { share } => {
            format!("{} of their parts have the same names", percent(*share))
        }
        RenameEvidence::SameTime { took_s, usual_s } => {
            format!("it takes {}, usually {}", duration(*took_s), duration(*usual_s))
        }
        RenameEvidence::SimilarNames { similarity } => {
            format!("the names are {} alike", percent(*similarity))
        }
        RenameEvidence::Text(text) => text.clone(),
    }
}

/// A lasting change of a branch.
#[must_use]
pub fn history_change(change: &HistoryChange) -> String {
    let name = match &change.path[..] {
        [_, parts @ ..] if !parts.is_empty() => parts.join(" / "),
        path => path.join(" / "),
    };
    let (factor, direction) =
        if change.ratio < 1.0 { (1.0 / change.ratio, "faster") } else { (change.ratio, "slower") };
    let (factor, seconds) = (ratio(factor), self::change(change.increase_s()));
    let (from, to) = (change.from_sha.short(), change.to_sha.short());
    let runs = counted(change.runs, "run");
    match change.kind {
        ChangeKind::Step => {
            format!("{name} got {factor} {direction} ({seconds}) between {from} and {to}, {runs} ago")
        }
        ChangeKind::Drift => {
            format!("{name} drifted {factor} {direction} ({seconds}) from {from} to {to}, over {runs}")
        }
    }
}

#[cfg(test)]
mod tests;
