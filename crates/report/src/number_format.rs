//! Numbers and times as text: durations, ratios, counts. The only place where a number becomes
//! text, so that a verdict's reason, a comment and a page never round differently. It knows no
//! Markdown and no HTML.

use pacegate_engine::model::time::Timestamp;

/// A duration in seconds: `850 ms`, `12.4 s`, `3 min 05 s`, `2 h 07 min`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let s = seconds.abs();
    // The bounds are where rounding would show the next unit's first value.
    if s < 0.0005 {
        "0 s".to_owned()
    } else if s < 0.9995 {
        format!("{sign}{:.0} ms", s * 1e3)
    } else if s < 59.95 {
        format!("{sign}{s:.1} s")
    } else if s < 3599.5 {
        let whole = s.round();
        format!("{sign}{:.0} min {:02.0} s", (whole / 60.0).floor(), whole % 60.0)
    } else {
        let minutes = (s / 60.0).round();
        format!("{sign}{:.0} h {:02.0} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// A change in seconds with its sign: `+12.4 s`, `-850 ms`.
#[must_use]
pub fn change(seconds: f64) -> String {
    let text = duration(seconds);
    if seconds > 0.0 && text != "0 s" { format!("+{text}") } else { text }
}

/// A ratio in a column: `1.50x`, always two decimals below ten.
#[must_use]
pub fn ratio(ratio: f64) -> String {
    match ratio {
        r if !r.is_finite() => "unknown".to_owned(),
        r if r < 9.995 => format!("{r:.2}x"),
        r if r < 99.95 => format!("{r:.1}x"),
        r => format!("{r:.0}x"),
    }
}

/// Rarer probabilities are extrapolated, not observed.
const RAREST: f64 = 100_000.0;

/// A probability: `once in 4,000`, `less than once in 100,000`. Two digits, because
/// the estimate is not more precise.
#[must_use]
pub fn once_in(probability: f64) -> String {
    let times = 1.0 / probability.clamp(f64::MIN_POSITIVE, 1.0);
    // Values that would be rounded up to it are included.
    if times >= 0.995 * RAREST {
        return "less than once in 100,000".to_owned();
    }
    let unit = 10_f64.powf(times.log10().floor().max(1.0) - 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 100,000")]
    let rounded = ((times / unit).round() * unit) as usize;
    format!("once in {}", number(rounded))
}

/// A number of things with its unit: `1 run`, `5,000 runs`.
#[must_use]
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", number(n), if n == 1 { one } else { many })
}

/// As [`count`], with a plural that adds an `s`.
#[must_use]
pub fn counted(n: usize, one: &str) -> String {
    count(n, one, &format!("{one}s"))
}

/// A whole number with commas at the thousands.
#[must_use]
pub fn number(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration in nanoseconds, as [`duration`].
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn duration_ns(nanoseconds: i64) -> String {
    duration(nanoseconds as f64 / 1e9)
}

/// A ratio in a sentence: as [`ratio`], without closing zeros: `1.5x`, `2x`.
#[must_use]
pub fn short_ratio(value: f64) -> String {
    let text = ratio(value);
    match text.strip_suffix('x').and_then(|t| t.contains('.').then_some(t)) {
        Some(digits) => format!("{}x", digits.trim_end_matches('0').trim_end_matches('.')),
        None => text,
    }
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

/// The end of a text that is too wide, after a `…`. The end of a path is the more specific part.
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
    fn durations_change_their_unit_where_rounding_does() {
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
    fn ratios_and_counts() {
        assert_eq!([1.5, 9.999, 23.46, 140.2].map(ratio), ["1.50x", "10.0x", "23.5x", "140x"]);
        assert_eq!([1.5, 2.0, 1.52, 10.0, 140.0].map(short_ratio), ["1.5x", "2x", "1.52x", "10x", "140x"]);
        assert_eq!([0, 999, 5_000, 1_234_567].map(number), ["0", "999", "5,000", "1,234,567"]);
        assert_eq!(count(1, "run", "runs"), "1 run");
        assert_eq!(or_dash(None, ratio), "-");
        assert_eq!((tail("CI / test", 9), tail("CI / tests", 9)), ("CI / test".into(), "… / tests".into()));
    }

    #[test]
    fn probabilities_have_two_digits_and_a_limit() {
        for (probability, expected) in [
            (1.0, "once in 1"),
            (0.02, "once in 50"),
            (0.000_253, "once in 4,000"),
            (1.0 / 1_234.0, "once in 1,200"),
            (1e-5, "less than once in 100,000"),
            (0.0, "less than once in 100,000"),
        ] {
            assert_eq!(once_in(probability), expected);
        }
    }

    #[test]
    fn counts_have_their_unit() {
        assert_eq!([counted(1, "run"), counted(2, "run")], ["1 run", "2 runs"]);
        assert_eq!(counted(5_000, "run"), "5,000 runs");
    }
}
