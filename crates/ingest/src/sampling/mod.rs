//! Decides which raw traces are kept beyond the first days, by the Collector's tail sampling policies
//! and the pipeline's priority. The decision depends only on the spans, so every process decides
//! alike. Nothing here knows when a trace is dropped or touches measured durations, which are kept.

mod file;

use std::collections::BTreeSet;
use std::time::Duration;

use pacegate_engine::model::ids::TraceId;
use pacegate_engine::model::policy::PolicyError;
use pacegate_engine::model::span::{AttributeValue, Span, SpanStatus};

/// Attributes with the priority of a pipeline.
const PRIORITY_KEYS: [&str; 2] = ["pipeline.priority", "cicd.pipeline.priority"];
/// The reason stored with both runs of a reported comparison, whose traces are always kept. No policy
/// can have this name.
const REPORTED: &str = "reported";

/// Policies in order. The first policy that keeps a trace is reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    policies: Vec<Policy>,
}

#[derive(Debug, Clone, PartialEq)]
struct Policy {
    name: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    AlwaysSample,
    /// From the earliest start to the latest end of the trace.
    Latency {
        at_least: Duration,
        at_most: Option<Duration>,
    },
    /// Matches the status of any span.
    StatusCode(BTreeSet<StatusCode>),
    /// Matches an attribute of any span or its resource.
    StringAttribute {
        key: String,
        values: BTreeSet<String>,
        invert_match: bool,
    },
    Probabilistic(Percentage),
    PipelinePriority {
        critical: Percentage,
        high: Percentage,
        normal: Percentage,
        low: Percentage,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StatusCode {
    Unset,
    Ok,
    Error,
}

/// 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Percentage(f64);

impl Percentage {
    /// `true` if a trace is within the share. This is OpenTelemetry's consistent probability sampling
    /// (specification, "`TraceState`: Probability Sampling"). The last 56 bits of the trace id are its
    /// randomness; a trace is kept when they reach the rejection threshold. A larger share keeps every
    /// trace of a smaller one.
    fn holds(self, trace: TraceId) -> bool {
        let digits = trace.to_string();
        let randomness = u64::from_str_radix(&digits[digits.len() - 14..], 16).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "56 bits: the last ones don't matter")]
        let share = randomness as f64 / (1_u64 << 56) as f64;
        share >= 1.0 - self.0 / 100.0
    }
}

impl Default for Sampling {
    /// Keeps by priority: all critical and high traces, 10% of normal ones, 1% of low ones. Traces without
    /// a priority are normal.
    fn default() -> Self {
        let [critical, high, normal, low] = [100.0, 100.0, 10.0, 1.0].map(Percentage);
        let rule = Rule::PipelinePriority { critical, high, normal, low };
        Self { policies: vec![Policy { name: "pipeline-priority".to_owned(), rule }] }
    }
}

impl Sampling {
    /// Reads a file of policies.
    ///
    /// # Errors
    /// [`PolicyError`] with the line and column of each mistake.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        file::read(text)
    }

    /// The name of the policy that keeps a trace, or `None` if no policy does.
    #[must_use]
    pub fn decide(&self, spans: &[Span]) -> Option<&str> {
        let policy = self.policies.iter().find(|policy| policy.rule.keeps(spans))?;
        Some(&policy.name)
    }
}

impl Rule {
    fn keeps(&self, spans: &[Span]) -> bool {
        let Some(trace) = spans.first().map(|span| span.trace_id) else { return false };
        match self {
            Self::AlwaysSample => true,
            Self::Latency { at_least, at_most } => {
                let took = latency(spans);
                took >= *at_least && at_most.is_none_or(|most| took <= most)
            }
            Self::StatusCode(codes) => spans.iter().any(|span| {
                codes.contains(&match span.status {
                    SpanStatus::Unset => StatusCode::Unset,
                    SpanStatus::Ok => StatusCode::Ok,
                    SpanStatus::Error(_) => StatusCode::Error,
                })
            }),
            Self::StringAttribute { key, values, invert_match } => {
                let matches = |value: Option<&AttributeValue>| {
                    value.and_then(AttributeValue::to_text).is_some_and(|text| values.contains(&text))
                };
                let found = spans.iter().any(|span| {
                    matches(span.attributes.get(key)) || matches(span.resource.attributes.get(key))
                });
                found != *invert_match
            }
            Self::Probabilistic(percentage) => percentage.holds(trace),
            Self::PipelinePriority { critical, high, normal, low } => {
                let roots = spans.iter().filter(|span| span.parent_span_id.is_none());
                let priority = roots.chain(spans).find_map(|span| span.text(&PRIORITY_KEYS));
                let share = match priority.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                    "critical" => critical,
                    "high" => high,
                    "low" => low,
                    _ => normal,
                };
                share.holds(trace)
            }
        }
    }
}

fn latency(spans: &[Span]) -> Duration {
    let began = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
    let ended = spans.iter().map(|span| span.end_ns).max().unwrap_or(0);
    Duration::from_nanos(u64::try_from(ended.saturating_sub(began)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use pacegate_engine::model::ids::SpanId;
    use pacegate_engine::model::span::{Attributes, Dropped, Resource, SpanKind};

    fn trace_id(n: u64) -> TraceId {
        // Knuth's multiplier spreads the numbers over the 56 random bits.
        let low = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        TraceId::from_bytes(&((u128::from(n + 1) << 64) | u128::from(low)).to_be_bytes()).expect("not zero")
    }

    fn texts(pairs: &[(&str, &str)]) -> Attributes {
        let pair =
            |(key, value): &(&str, &str)| ((*key).to_owned(), AttributeValue::String((*value).to_owned()));
        Attributes(pairs.iter().map(pair).collect())
    }

    fn span(
        trace: TraceId,
        seconds: i64,
        status: SpanStatus,
        own: &[(&str, &str)],
        shared: &[(&str, &str)],
    ) -> Span {
        Span {
            trace_id: trace,
            span_id: SpanId::from_bytes(&[1; 8]).expect("not zero"),
            parent_span_id: None,
            name: "build".to_owned(),
            kind: SpanKind::Internal,
            start_ns: 0,
            end_ns: seconds * 1_000_000_000,
            status,
            attributes: texts(own),
            events: Vec::new(),
            links: Vec::new(),
            dropped: Dropped::default(),
            trace_state: String::new(),
            scope: Arc::default(),
            resource: Arc::new(Resource { attributes: texts(shared), dropped_attributes: 0 }),
        }
    }

    const COLLECTORS: &str = "
policies:
  - {name: slow, type: latency, latency: {threshold_ms: 600000, upper_threshold_ms: 900000}}
  - name: failed
    type: status_code
    status_code: {status_codes: [ERROR]}
  - {name: production, type: string_attribute, string_attribute: {key: environment, values: [production, staging]}}
  - {name: others, type: probabilistic, probabilistic: {sampling_percentage: 0}}
";

    #[test]
    fn first_policy_that_keeps_is_reported() {
        let sampling = Sampling::from_yaml(COLLECTORS).expect("the Collector's names");
        let decide = |seconds, status: SpanStatus, own: &[(&str, &str)], shared: &[(&str, &str)]| {
            let all = [
                span(trace_id(1), 1, SpanStatus::Ok, &[], &[]),
                span(trace_id(1), seconds, status, own, shared),
            ];
            sampling.decide(&all).map(str::to_owned)
        };
        let failed = || SpanStatus::Error(String::new());
        let production = [("environment", "production")];
        for (seconds, status, own, shared, expected) in [
            (600, failed(), &production[..], &[][..], Some("slow")),
            (901, failed(), &production[..], &[][..], Some("failed")),
            (599, SpanStatus::Unset, &production[..], &[][..], Some("production")),
            (1, SpanStatus::Unset, &[][..], &[("environment", "staging")][..], Some("production")),
            (1, SpanStatus::Ok, &[("environment", "test")][..], &[][..], None),
        ] {
            assert_eq!(
                decide(seconds, status, own, shared).as_deref(),
                expected,
                "{seconds} s {own:?} {shared:?}"
            );
        }
        assert_eq!(sampling.decide(&[]), None);
    }

    #[test]
    fn larger_share_contains_smaller_one() {
        let kept = |percent: f64| {
            (0..20_000).filter(|n| Percentage(percent).holds(trace_id(*n))).collect::<BTreeSet<_>>()
        };
        let (none, one, ten, all) = (kept(0.0), kept(1.0), kept(10.0), kept(100.0));
        assert_eq!((none.len(), all.len()), (0, 20_000));
        // Four standard deviations of a binomial: sqrt(20000 * 0.1 * 0.9) = 42, sqrt(20000 * 0.01 * 0.99) = 14.
        assert!(
            ten.len().abs_diff(2_000) < 170 && one.len().abs_diff(200) < 57,
            "{} {}",
            ten.len(),
            one.len()
        );
        assert!(one.is_subset(&ten));
        // The threshold of 10% is 0xe6666666666666 of 56 bits.
        for (digits, is_kept) in
            [("e6666666667000", true), ("e6666666666000", false), ("ffffffffffffff", true)]
        {
            let trace: TraceId = format!("{}{digits}", "0".repeat(18)).parse().expect("an id");
            assert_eq!(Percentage(10.0).holds(trace), is_kept, "{digits}");
        }
    }

    #[test]
    fn default_policy_follows_the_priority() {
        let sampling = Sampling::default();
        let share = |priority: Option<&str>| {
            let pairs: Vec<(&str, &str)> =
                priority.map(|value| ("pipeline.priority", value)).into_iter().collect();
            let kept =
                |n: &u64| sampling.decide(&[span(trace_id(*n), 1, SpanStatus::Ok, &pairs, &[])]).is_some();
            (0..2_000).filter(kept).count()
        };
        for (priority, least, most) in [
            (Some("critical"), 2_000, 2_000),
            (Some("High"), 2_000, 2_000),
            (Some("normal"), 140, 260),
            (Some("?"), 140, 260),
            (None, 140, 260),
            (Some("low"), 5, 40),
        ] {
            assert!((least..=most).contains(&share(priority)), "{priority:?}: {}", share(priority));
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, part) in [
            ("policy: []", "line 1, column 1: unknown field `policy`"),
            (
                "policies:\n  - {name: a, type: latency, latency: {treshold_ms: 1}}",
                "line 2, column 40: unknown field `treshold_ms`",
            ),
            ("policies:\n  - {name: a, type: latency}", "line 2, column 21: policies[0].latency"),
            (
                "policies: [{name: a, type: rate_limiting}]",
                "line 1, column 28: unknown variant `rate_limiting`",
            ),
            (
                "policies: [{name: a, type: probabilistic, probabilistic: {sampling_percentage: 101}}]",
                "0 to 100",
            ),
            ("policies: [{name: reported, type: always_sample}]", "line 1, column 19: policies[0].name"),
            (
                "policies: [{name: a, type: always_sample}, {name: a, type: always_sample}]",
                "policies[1].name: `a` is the name",
            ),
            (
                "policies: [{name: a, type: string_attribute, string_attribute: {key: k, values: []}}]",
                "values",
            ),
            (
                "policies: [{name: a, type: string_attribute, string_attribute: {key: k, values: [x], enabled_regex_matching: true}}]",
                "enabled_regex",
            ),
            (
                "policies: [{name: a, type: pipeline_priority, pipeline_priority: {urgent: 3}}]",
                "unknown field `urgent`",
            ),
        ] {
            let error = Sampling::from_yaml(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(Sampling::from_yaml("policies: []").map(|s| s.policies.len()), Ok(0), "no trace is kept");
        assert_eq!(Sampling::from_yaml("# nothing\n"), Ok(Sampling::default()));
    }
}
