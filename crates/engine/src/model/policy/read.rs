//! Reads the policy file's text and returns a policy or all its mistakes. The text is not trusted: its
//! size, depth, aliases and number of rules are bounded.

use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use serde_saphyr::MessageFormatter;

use super::file::{PolicyFile, StageRuleFile, Written};
use super::placed::{Mistake, Placed, place};
use super::{
    BaselineRule, ConfirmRule, ErrorRule, Floors, GatePolicy, MAX_CONFIRM, PolicyError, StageRule, glob_text,
};
use crate::model::duration;

/// Largest policy file, bytes.
const MAX_BYTES: usize = 128 << 10;
/// Largest number of rules, and of aliases.
const MAX_RULES: usize = 500;
/// Longest pattern, in characters.
const MAX_PATTERN_CHARS: usize = 1_000;
/// Mistakes that are reported. A file with more is probably not a policy file.
const MAX_MISTAKES: usize = 20;

pub(super) fn read(text: &str) -> Result<GatePolicy, PolicyError> {
    let whole = |text: String| PolicyError { mistakes: vec![Mistake { line: 1, column: 1, text }] };
    if text.len() > MAX_BYTES {
        return Err(whole(format!("the file is larger than {} KiB", MAX_BYTES >> 10)));
    }
    // A file with only comments is empty.
    let is_empty =
        text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'));
    let file = if is_empty {
        PolicyFile::default()
    } else {
        parse(text).map_err(|m| PolicyError { mistakes: vec![m] })?
    };
    let mut checker = Checker::default();
    let policy = checker.policy(file);
    if checker.mistakes.is_empty() {
        return Ok(policy);
    }
    checker.mistakes.truncate(MAX_MISTAKES);
    Err(PolicyError { mistakes: checker.mistakes })
}

fn parse(text: &str) -> Result<PolicyFile, Mistake> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 32, max_aliases: 100, max_anchors: 100, max_nodes: 20_000 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), place);
        let formatter = serde_saphyr::UserMessageFormatter;
        let text = formatter.format_message(error.without_snippet()).chars().take(500).collect();
        Mistake { line, column, text }
    })
}

/// Checks values and collects the mistakes.
#[derive(Default)]
struct Checker {
    mistakes: Vec<Mistake>,
}

impl Checker {
    fn check<T>(&mut self, placed: &Placed<T>, is_good: bool, key: &str, expectation: &str) {
        if !is_good {
            self.mistakes.push(placed.mistake(key, expectation));
        }
    }

    fn policy(&mut self, file: PolicyFile) -> GatePolicy {
        let version = file.version.value;
        let knows = format!("this Pacegate knows version 1, not {version}");
        self.check(&file.version, version == 1, "version", &knows);
        let baseline = BaselineRule { runs: file.baseline.runs.value, days: file.baseline.days.value };
        self.check(&file.baseline.runs, baseline.runs > 0, "baseline.runs", "1 or more is expected");
        self.check(&file.baseline.days, baseline.days > 0, "baseline.days", "1 or more is expected");
        let floors = Floors {
            min_ratio: self.ratio(&file.defaults.min_ratio, "defaults.min_ratio"),
            min_increase: self.duration(&file.defaults.min_increase, "defaults.min_increase"),
        };
        let most = format!("at most {MAX_RULES} are read");
        self.check(&file.stages, file.stages.value.len() <= MAX_RULES, "stages", &most);
        self.check(&file.aliases, file.aliases.value.len() <= MAX_RULES, "aliases", &most);
        let rules = file.stages.value.iter().take(MAX_RULES).enumerate();
        let stages = rules.filter_map(|(i, rule)| self.rule(i, rule)).collect();
        let samples = file.confirm.samples.value;
        let samples_are = match samples {
            ..2 => "one sample never proves a regression; 2 or more is expected".to_owned(),
            _ => format!("at most {MAX_CONFIRM} samples are judged together; 2 to {MAX_CONFIRM} is expected"),
        };
        let is_good = (2..=MAX_CONFIRM).contains(&samples);
        self.check(&file.confirm.samples, is_good, "confirm.samples", &samples_are);
        let reruns = file.confirm.reruns_a_day.value;
        let expectation = "0 to 1000 is expected";
        self.check(&file.confirm.reruns_a_day, reruns <= 1_000, "confirm.reruns_a_day", expectation);
        GatePolicy {
            mode: file.mode,
            baseline,
            floors,
            stages,
            aliases: file.aliases.value,
            errors: ErrorRule { gate: file.errors.gate, ignore: file.errors.ignore },
            confirm: ConfirmRule {
                samples,
                rerun: file.confirm.rerun,
                reruns_a_day: file.confirm.reruns_a_day.value,
            },
            comment: file.comment,
        }
    }

    fn rule(&mut self, i: usize, rule: &StageRuleFile) -> Option<StageRule> {
        let key = |name: &str| format!("stages[{i}].{name}");
        let min_ratio = rule.min_ratio.as_ref().map(|ratio| self.ratio(ratio, &key("min_ratio")));
        let min_increase = rule.min_increase.as_ref().map(|d| self.duration(d, &key("min_increase")));
        let budget = rule.budget.as_ref().map(|d| self.duration(d, &key("budget")));
        match matcher(&rule.pattern.value) {
            Ok(matcher) => Some(StageRule { matcher, ignore: rule.ignore, min_ratio, min_increase, budget }),
            Err(why) => {
                self.mistakes.push(rule.pattern.mistake(&key("match"), &why));
                None
            }
        }
    }

    fn ratio(&mut self, ratio: &Placed<f64>, key: &str) -> f64 {
        let is_good = ratio.value.is_finite() && ratio.value >= 1.0;
        self.check(ratio, is_good, key, "a number of at least 1.0 is expected");
        ratio.value
    }

    fn duration(&mut self, written: &Placed<Written>, key: &str) -> Duration {
        let read = match &written.value {
            Written::Text(text) => duration::parse(text),
            Written::Seconds(seconds) => Duration::try_from_secs_f64(*seconds)
                .map_err(|_| format!("`{seconds}` is not a duration: write 500ms, 2s, 10m or 1h")),
        };
        read.unwrap_or_else(|why| {
            self.mistakes.push(written.mistake(key, &why));
            Duration::ZERO
        })
    }
}

fn matcher(pattern: &str) -> Result<GlobMatcher, String> {
    if pattern.chars().nth(MAX_PATTERN_CHARS).is_some() {
        return Err(format!("at most {MAX_PATTERN_CHARS} characters are read"));
    }
    GlobBuilder::new(&glob_text(pattern.split(" / ")))
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|e| format!("`{pattern}` is not a pattern: {}", e.kind()))
}
