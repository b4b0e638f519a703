//! Numbers as a developer reads them: durations, ratios, counts. The one place where a number
//! becomes text.

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

/// Rarer than this was never seen, only extrapolated.
const RAREST: f64 = 100_000.0;

/// How rare a chance is: `once in 4,000`, `less than once in 100,000`. Two digits: more would
/// claim to know more.
#[must_use]
pub fn once_in(probability: f64) -> String {
    let times = 1.0 / probability.clamp(f64::MIN_POSITIVE, 1.0);
    // What would be rounded up to it is that rare too.
    if times >= 0.995 * RAREST {
        return "less than once in 100,000".to_owned();
    }
    let unit = 10_f64.powf(times.log10().floor().max(1.0) - 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 100,000")]
    let rounded = ((times / unit).round() * unit) as usize;
    format!("once in {}", number(rounded))
}

/// `1 run`, `60 runs`, `5,000 runs`.
#[must_use]
pub fn counted(n: usize, singular: &str) -> String {
    format!("{} {singular}{}", number(n), if n == 1 { "" } else { "s" })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_have_two_digits_and_an_end() {
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
