//! Reads the file with the sampling policies. It has the names of the Collector's `tail_sampling`, so
//! that policies can be copied. Unknown keys and impossible values are errors with line and column.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::{MessageFormatter, Spanned};

use super::{Percentage, Policy, REPORTED, Rule, Sampling, StatusCode};
use pacegate_engine::model::policy::{Mistake, PolicyError};

/// Largest file, bytes.
const MAX_BYTES: usize = 128 << 10;
/// Most policies, and most values of one policy.
const MAX_POLICIES: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    policies: Vec<PolicyFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    name: Spanned<String>,
    #[serde(rename = "type")]
    kind: Spanned<Kind>,
    latency: Option<LatencyFile>,
    status_code: Option<StatusCodeFile>,
    string_attribute: Option<StringAttributeFile>,
    probabilistic: Option<ProbabilisticFile>,
    pipeline_priority: Option<PriorityFile>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    AlwaysSample,
    Latency,
    StatusCode,
    StringAttribute,
    Probabilistic,
    PipelinePriority,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LatencyFile {
    threshold_ms: u64,
    upper_threshold_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusCodeFile {
    status_codes: Vec<CodeFile>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum CodeFile {
    Unset,
    Ok,
    Error,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StringAttributeFile {
    key: String,
    values: Spanned<Vec<String>>,
    #[serde(default)]
    invert_match: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbabilisticFile {
    sampling_percentage: Spanned<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriorityFile {
    critical: Option<Spanned<f64>>,
    high: Option<Spanned<f64>>,
    normal: Option<Spanned<f64>>,
    low: Option<Spanned<f64>>,
}

pub(super) fn read(text: &str) -> Result<Sampling, PolicyError> {
    let whole = |text: String| PolicyError { mistakes: vec![Mistake { line: 1, column: 1, text }] };
    if text.len() > MAX_BYTES {
        return Err(whole(format!("the file is larger than {} KiB", MAX_BYTES >> 10)));
    }
    let is_empty =
        text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'));
    if is_empty {
        return Ok(Sampling::default());
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 32, max_aliases: 100, max_anchors: 100, max_nodes: 20_000 },
        with_snippet: false,
    };
    let file: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let formatter = serde_saphyr::UserMessageFormatter;
        let text = formatter.format_message(error.without_snippet()).chars().take(500).collect();
        let mistake =
            error.location().map_or(Mistake { line: 1, column: 1, text: String::new() }, |at| placed(at, ""));
        PolicyError { mistakes: vec![Mistake { text, ..mistake }] }
    })?;
    if file.policies.len() > MAX_POLICIES {
        return Err(whole(format!("policies: at most {MAX_POLICIES} are allowed")));
    }
    let mut checker = Checker::default();
    let policies =
        file.policies.into_iter().enumerate().filter_map(|(i, policy)| checker.policy(i, policy)).collect();
    if checker.mistakes.is_empty() {
        Ok(Sampling { policies })
    } else {
        Err(PolicyError { mistakes: checker.mistakes })
    }
}

fn placed(at: serde_saphyr::Location, text: &str) -> Mistake {
    let bounded = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Mistake { line: bounded(at.line()), column: bounded(at.column()), text: text.to_owned() }
}

/// Converts policies and collects the mistakes in them.
#[derive(Default)]
struct Checker {
    names: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

impl Checker {
    fn mistake<T>(&mut self, place: &Spanned<T>, text: &str) {
        self.mistakes.push(placed(place.referenced, text));
    }

    fn policy(&mut self, i: usize, file: PolicyFile) -> Option<Policy> {
        let key = |name: &str| format!("policies[{i}].{name}");
        let name = file.name.value.clone();
        if name.trim().is_empty() || name == REPORTED || name.chars().count() > 100 {
            let text = format!("{}: 1 to 100 characters are expected; `{REPORTED}` is reserved", key("name"));
            self.mistake(&file.name, &text);
        } else if !self.names.insert(name.clone()) {
            self.mistake(&file.name, &format!("{}: `{name}` is the name of another policy", key("name")));
        }
        let rule = match file.kind.value {
            Kind::AlwaysSample => Some(Rule::AlwaysSample),
            Kind::Latency => file.latency.as_ref().map(|latency| Rule::Latency {
                at_least: Duration::from_millis(latency.threshold_ms),
                at_most: latency.upper_threshold_ms.filter(|ms| *ms > 0).map(Duration::from_millis),
            }),
            Kind::StatusCode => file.status_code.as_ref().map(|codes| {
                Rule::StatusCode(
                    codes
                        .status_codes
                        .iter()
                        .map(|code| match code {
                            CodeFile::Unset => StatusCode::Unset,
                            CodeFile::Ok => StatusCode::Ok,
                            CodeFile::Error => StatusCode::Error,
                        })
                        .collect(),
                )
            }),
            Kind::StringAttribute => file.string_attribute.map(|attribute| {
                let count = attribute.values.value.len();
                if count == 0 || count > MAX_POLICIES {
                    let text = format!(
                        "{}: 1 to {MAX_POLICIES} values are expected",
                        key("string_attribute.values")
                    );
                    self.mistake(&attribute.values, &text);
                }
                Rule::StringAttribute {
                    key: attribute.key,
                    values: attribute.values.value.into_iter().collect(),
                    invert_match: attribute.invert_match,
                }
            }),
            Kind::Probabilistic => file.probabilistic.map(|share| {
                Rule::Probabilistic(
                    self.percentage(&share.sampling_percentage, &key("probabilistic.sampling_percentage")),
                )
            }),
            Kind::PipelinePriority => file.pipeline_priority.map(|shares| {
                let mut share = |written: Option<Spanned<f64>>, name: &str, unwritten: f64| {
                    written.map_or(Percentage(unwritten), |share| {
                        self.percentage(&share, &key(&format!("pipeline_priority.{name}")))
                    })
                };
                Rule::PipelinePriority {
                    critical: share(shares.critical, "critical", 100.0),
                    high: share(shares.high, "high", 100.0),
                    normal: share(shares.normal, "normal", 10.0),
                    low: share(shares.low, "low", 1.0),
                }
            }),
        };
        let Some(rule) = rule else {
            let section = match file.kind.value {
                Kind::AlwaysSample => "always_sample",
                Kind::Latency => "latency",
                Kind::StatusCode => "status_code",
                Kind::StringAttribute => "string_attribute",
                Kind::Probabilistic => "probabilistic",
                Kind::PipelinePriority => "pipeline_priority",
            };
            self.mistake(&file.kind, &format!("{}: a policy of this type needs this section", key(section)));
            return None;
        };
        Some(Policy { name, rule })
    }

    fn percentage(&mut self, written: &Spanned<f64>, key: &str) -> Percentage {
        if !(0.0..=100.0).contains(&written.value) {
            self.mistake(written, &format!("{key}: 0 to 100 is expected"));
        }
        Percentage(written.value)
    }
}
