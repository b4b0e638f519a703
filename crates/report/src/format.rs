//! Numbers and times in tables and sentences. Numbers are formatted by the engine's `number_format`, so
//! that a verdict's reason, a comment and a page round alike. Contains no Markdown and no HTML.

pub use pacegate_engine::gate::verdict::number_format::{change, duration, number, once_in, ratio};
use pacegate_engine::model::time::Timestamp;

/// A duration in nanoseconds, as [`duration`].
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn duration_ns(nanoseconds: i64) -> String {
    duration(nanoseconds as f64 / 1e9)
}

/// [`ratio`] without trailing zeros, for sentences: `1.5x`, `2x`.
#[must_use]
pub fn short_ratio(value: f64) -> String {
    let text = ratio(value);
    match text.strip_suffix('x').and_then(|t| t.contains('.').then_some(t)) {
        Some(digits) => format!("{}x", digits.trim_end_matches('0').trim_end_matches('.')),
        None => text,
    }
}

/// A number of things with its unit: `1 run`, `5,000 runs`.
#[must_use]
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// A time to the minute: `2026-11-22 12:05 UTC`.
#[must_use]
pub fn minute(time: Timestamp) -> String {
    let text = time.to_rfc3339();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text,
    }
}

/// A value that may be missing, in a table: `-` when it is.
#[must_use]
pub fn or_dash(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// Cuts the beginning of a text that is too wide and puts `…` there. The end of a path says more than
/// its beginning.
#[must_use]
pub fn tail(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(length + 1 - width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_change_units_after_rounding() {
        let cases = [
            (0.0, "0 s"),
            (0.0004, "0 s"),
            (0.85, "850 ms"),
            (0.9994, "999 ms"),
            (0.9996, "1.0 s"),
            (12.44, "12.4 s"),
            (59.94, "59.9 s"),
            (59.96, "1 min 00 s"),
            (185.4, "3 min 05 s"),
            (3599.6, "1 h 00 min"),
            (7620.0, "2 h 07 min"),
            (-12.4, "-12.4 s"),
            (f64::NAN, "unknown"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
        assert_eq!(
            (change(3.0), change(-0.5), change(0.0)),
            ("+3.0 s".into(), "-500 ms".into(), "0 s".into())
        );
        assert_eq!(duration_ns(1_500_000_000), "1.5 s");
    }

    #[test]
    fn ratios_counts_and_tails() {
        assert_eq!([1.5, 9.999, 23.46, 140.2].map(ratio), ["1.50x", "10.0x", "23.5x", "140x"]);
        assert_eq!([1.5, 2.0, 1.52, 10.0, 140.0].map(short_ratio), ["1.5x", "2x", "1.52x", "10x", "140x"]);
        assert_eq!([0, 999, 5_000, 1_234_567].map(number), ["0", "999", "5,000", "1,234,567"]);
        assert_eq!(count(1, "run", "runs"), "1 run");
        assert_eq!(or_dash(None, ratio), "-");
        assert_eq!((tail("CI / test", 9), tail("CI / tests", 9)), ("CI / test".into(), "… / tests".into()));
    }
}
