//! The confidence interval of a share that was counted in independent cases. The caller must count
//! dependent cases once.

/// Φ⁻¹(.975): two-sided 95%.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's score interval at 95% for a share `p` (0 to 1) of `n` independent cases (Wilson 1927,
/// "Probable inference", J. Am. Stat. Assoc. 22). Without cases it is 0 to 1.
#[must_use]
pub fn wilson(p: f64, n: f64) -> (f64, f64) {
    if !p.is_finite() || n.is_nan() || n <= 0.0 {
        return (0.0, 1.0);
    }
    let widened = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / widened;
    let half = Z / widened * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).max(0.0).sqrt();
    ((middle - half).clamp(0.0, 1.0), (middle + half).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(.95, "wilson")
        for (k, n, low, high) in [
            (0.0, 50.0, 0.0, 0.071_347_599_133),
            (3.0, 40.0, 0.025_836_025_775, 0.198_642_335_243),
            (7.0, 7.0, 0.645_669_564_933, 1.0),
            (11.0, 725.0, 0.008_492_787_612, 0.026_962_740_484),
        ] {
            let (l, h) = wilson(k / n, n);
            assert!((l - low).abs() < 1e-9 && (h - high).abs() < 1e-9, "{k} of {n}: {l} {h}");
        }
        assert_eq!(wilson(0.3, 0.0), (0.0, 1.0));
        assert_eq!(wilson(f64::NAN, 5.0), (0.0, 1.0));
    }
}
