//! Numbers as a developer reads them: durations, ratios, counts. The only place of the gate
//! that rounds for people.

/// `0.4 ms`, `350 ms`, `1.2 s`, `31 s`, `4 min 05 s`, `1 h 12 min`. Negative values keep their
/// sign.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let sign = if seconds < 0.0 { "-" } else { "" };
    let s = seconds.abs();
    if s < 0.000_95 {
        return format!("{sign}{:.1} ms", s * 1e3);
    }
    if s < 0.999_5 {
        return format!("{sign}{:.0} ms", s * 1e3);
    }
    if s < 9.95 {
        return format!("{sign}{s:.1} s");
    }
    let whole = s.round();
    if whole < 60.0 {
        return format!("{sign}{whole:.0} s");
    }
    if whole < 3_600.0 {
        return format!("{sign}{:.0} min {:02.0} s", (whole / 60.0).floor(), whole % 60.0);
    }
    let minutes = (s / 60.0).round();
    format!("{sign}{:.0} h {:02.0} min", (minutes / 60.0).floor(), minutes % 60.0)
}

/// A duration with its sign: `+31 s`, `-1.2 s`.
#[must_use]
pub fn change(seconds: f64) -> String {
    if seconds < 0.0 { duration(seconds) } else { format!("+{}", duration(seconds)) }
}

/// `1.52x`; from 10 on one decimal, from 100 on none.
#[must_use]
pub fn ratio(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$}x")
}

/// `1 run`, `60 runs`.
#[must_use]
pub fn counted(n: usize, singular: &str) -> String {
    format!("{n} {singular}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_digits_that_matter() {
        for (seconds, expected) in [
            (0.0, "0.0 ms"),
            (0.000_4, "0.4 ms"),
            (0.35, "350 ms"),
            (0.999_9, "1.0 s"),
            (1.234, "1.2 s"),
            (9.96, "10 s"),
            (31.1, "31 s"),
            (59.7, "1 min 00 s"),
            (245.0, "4 min 05 s"),
            (3_599.6, "1 h 00 min"),
            (4_320.0, "1 h 12 min"),
            (-2.5, "-2.5 s"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
        assert_eq!((change(31.0).as_str(), change(-31.0).as_str()), ("+31 s", "-31 s"));
        assert_eq!([ratio(1.519), ratio(12.34), ratio(250.4)], ["1.52x", "12.3x", "250x"]);
        assert_eq!([counted(1, "run"), counted(2, "run")], ["1 run", "2 runs"]);
    }
}
