//! The default rules of other benchmark tools: one value against a limit from the last values, without
//! runner speed, floors or correction for multiple stages. The result is a strength, above 1 over the
//! limit, so that a rule can be tuned by scaling it.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::stats::count;

/// Past values from which a limit is calculated.
pub const WINDOW: usize = 64;
/// One-sided level of the t limit.
const LEVEL: f64 = 0.99;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Bencher's t-test threshold: the mean of the last 64 and the upper 99% prediction limit
    /// for one further value, mean + t(.99, n - 1) sd sqrt(1 + 1/n).
    TLimit99,
    /// Bencher's percentage threshold: 25% above the mean of the last 64.
    Percent25,
    /// The default of github-action-benchmark: twice the last value.
    Ratio200,
}

impl Rule {
    pub const ALL: [Self; 3] = [Self::TLimit99, Self::Percent25, Self::Ratio200];

    /// Key in the replay JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TLimit99 => "t_limit_99",
            Self::Percent25 => "percent_25",
            Self::Ratio200 => "ratio_200",
        }
    }

    /// The excess of a value as a multiple of the rule's allowance: more than 1 is an alarm. None when
    /// the past is too short for the rule.
    #[must_use]
    pub fn strength(self, past: &Past, value: f64, student: &StudentLimits) -> Option<f64> {
        let over = |excess: f64, allowed: f64| match excess.partial_cmp(&0.0) {
            _ if allowed > 0.0 => excess / allowed,
            // Without an allowance any excess is too much.
            Some(std::cmp::Ordering::Greater) => f64::INFINITY,
            _ => 0.0,
        };
        match self {
            Self::TLimit99 => {
                let limit = student.quantile(past.size.checked_sub(1)?)?;
                let spread = past.deviation * (1.0 + 1.0 / count(past.size)).sqrt();
                Some(over(value - past.mean, limit * spread))
            }
            Self::Percent25 => Some(over(value - past.mean, 0.25 * past.mean)),
            Self::Ratio200 => Some(over(value, 2.0 * past.last)),
        }
    }
}

/// Statistics of the last values of one stage, at most [`WINDOW`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Past {
    size: usize,
    mean: f64,
    /// Sample standard deviation, with n - 1.
    deviation: f64,
    last: f64,
}

impl Past {
    /// From values oldest first; none without values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let window = &values[values.len().saturating_sub(WINDOW)..];
        let last = *window.last()?;
        let n = count(window.len());
        let mean = window.iter().sum::<f64>() / n;
        let squares: f64 = window.iter().map(|v| (v - mean).powi(2)).sum();
        let deviation = if window.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
        Some(Self { size: window.len(), mean, deviation, last })
    }
}

/// The quantiles of Student's t that the window needs, calculated once.
#[derive(Debug, Clone)]
pub struct StudentLimits(Vec<f64>);

impl StudentLimits {
    /// Quantiles for 1 to 63 degrees of freedom.
    #[must_use]
    pub fn new() -> Self {
        let quantile = |freedom: usize| {
            StudentsT::new(0.0, 1.0, count(freedom)).map_or(f64::INFINITY, |t| t.inverse_cdf(LEVEL))
        };
        Self((1..WINDOW).map(quantile).collect())
    }

    /// t(.99) with this number of degrees of freedom; none outside of 1 to 63.
    #[must_use]
    pub fn quantile(&self, freedom: usize) -> Option<f64> {
        self.0.get(freedom.checked_sub(1)?).copied()
    }
}

impl Default for StudentLimits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_scipy() {
        // scipy.stats.t.ppf(.99, df)
        let student = StudentLimits::new();
        for (freedom, expected) in [
            (1, 31.820_515_953_773_935),
            (2, 6.964_556_734_283_271_5),
            (9, 2.821_437_925_025_809),
            (63, 2.387_007_863_469_796_7),
        ] {
            let found = student.quantile(freedom).expect("in the window");
            assert!((found - expected).abs() < 1e-9, "{freedom}: {found}");
        }
        assert_eq!((student.quantile(0), student.quantile(64)), (None, None));
    }

    #[test]
    fn strengths_agree_with_numpy() {
        // x = np.array([10., 12, 11, 13, 9])
        // (14 - x.mean()) / (x.std(ddof=1) * np.sqrt(1 + 1/5) * scipy.stats.t.ppf(.99, 4))
        // (14 / x.mean() - 1) / .25, 14 / x[-1] / 2
        let past = Past::of(&[10.0, 12.0, 11.0, 13.0, 9.0]).expect("values");
        let expected = [0.462_256_505_956_174_46, 1.090_909_090_909_090_8, 0.777_777_777_777_777_7];
        let student = StudentLimits::new();
        for (rule, expected) in Rule::ALL.into_iter().zip(expected) {
            let found = rule.strength(&past, 14.0, &student).expect("enough values");
            assert!((found - expected).abs() < 1e-9, "{rule:?}: {found}");
        }
    }

    #[test]
    fn only_window_counts_and_ends_are_survived() {
        let student = StudentLimits::new();
        let mut long = vec![1e6; 10];
        long.extend([5.0; WINDOW]);
        assert_eq!(Past::of(&long), Past::of(&[5.0; WINDOW]));
        assert_eq!(Past::of(&[]), None);
        let (one, equal) = (Past::of(&[5.0]).expect("one"), Past::of(&[5.0; 9]).expect("nine"));
        assert_eq!(Rule::TLimit99.strength(&one, 9.0, &student), None);
        assert_eq!(Rule::TLimit99.strength(&equal, 5.1, &student), Some(f64::INFINITY));
        assert_eq!(Rule::TLimit99.strength(&equal, 5.0, &student), Some(0.0));
    }
}
