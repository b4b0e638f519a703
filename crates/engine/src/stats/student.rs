//! Student's t as a model of noise: its tails are heavier than the normal's, so that one outlier
//! neither moves a scale nor proves a change. Density, scale by EM, and shrinkage of many scales
//! towards each other. It does not know the model that the residuals come from.

use super::matrix::Matrix;
use super::robust::{MAD_TO_DEVIATION, median_in_place};

/// The factors of this many rows are multiplied before a logarithm is taken. Each is at most about
/// 1e15 for the residual of any `f64`'s logarithm, so that the product can't overflow.
const ROWS_PER_LOGARITHM: usize = 16;

/// Degrees of freedom ν, from very heavy tails to nearly normal. A pipeline has too little data to
/// distinguish more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Degrees {
    Three,
    Four,
    Six,
    Ten,
    Thirty,
}

impl Degrees {
    pub const ALL: [Self; 5] = [Self::Three, Self::Four, Self::Six, Self::Ten, Self::Thirty];

    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::Three => 3.0,
            Self::Four => 4.0,
            Self::Six => 6.0,
            Self::Ten => 10.0,
            Self::Thirty => 30.0,
        }
    }

    /// `q^(-(ν+1)/2)`, the density without its constant, for `q = 1 + z²/ν` or a product of such.
    /// The power is half of a whole number, so that squares and one square root suffice.
    #[must_use]
    pub fn kernel(self, q: f64) -> f64 {
        let squared = q * q;
        match self {
            Self::Three => squared.recip(),
            Self::Four => (squared * q.sqrt()).recip(),
            Self::Six => (squared * q * q.sqrt()).recip(),
            Self::Ten => (squared * squared * q * q.sqrt()).recip(),
            Self::Thirty => (q.powi(15) * q.sqrt()).recip(),
        }
    }

    /// ln of the density's constant: lnΓ((ν+1)/2) - lnΓ(ν/2) - ln(νπ)/2.
    #[must_use]
    pub fn ln_constant(self) -> f64 {
        use statrs::function::gamma::ln_gamma;
        let nu = self.value();
        ln_gamma(0.5 * (nu + 1.0)) - ln_gamma(0.5 * nu) - 0.5 * (nu * std::f64::consts::PI).ln()
    }
}

/// The weight of an observation at `z²` when the noise is Student's t with 4 degrees of freedom:
/// (ν + 1) / (ν + z²). ν is fixed, so that weights don't jump while the noise's ν is chosen.
#[must_use]
pub fn robust_weight(squared: f64) -> f64 {
    5.0 / (4.0 + squared)
}

/// The number of observed values of each column.
#[must_use]
pub fn observed(residuals: &Matrix) -> Vec<f64> {
    let mut observed = vec![0.0; residuals.columns()];
    for row in 0..residuals.rows() {
        for (n, u) in observed.iter_mut().zip(residuals.row(row)) {
            *n += if u.is_nan() { 0.0 } else { 1.0 };
        }
    }
    observed
}

/// Improves the scale of each column by `steps` of EM for Student's t around zero, never below the
/// column's floor. A column without values falls to its floor.
/// Lange, Little and Taylor, "Robust statistical modeling using the t distribution", JASA 84 (1989)
/// 881-896.
pub fn improve_scales(
    scales: &mut [f64],
    residuals: &Matrix,
    degrees: Degrees,
    floors: &[f64],
    steps: usize,
) {
    let nu = degrees.value();
    let observed = observed(residuals);
    let mut squared: Vec<f64> = scales.iter().map(|s| s * s).collect();
    let mut sums = vec![0.0; scales.len()];
    for _ in 0..steps {
        sums.fill(0.0);
        for row in 0..residuals.rows() {
            for ((sum, u), s2) in sums.iter_mut().zip(residuals.row(row)).zip(&squared) {
                let u2 = if u.is_nan() { 0.0 } else { u * u };
                *sum += u2 / (nu * s2 + u2);
            }
        }
        for (((s2, sum), n), floor) in squared.iter_mut().zip(&sums).zip(&observed).zip(floors) {
            *s2 = ((nu + 1.0) * sum * *s2 / f64::max(*n, 1.0)).max(floor * floor);
        }
    }
    for (scale, squared) in scales.iter_mut().zip(&squared) {
        *scale = squared.sqrt();
    }
}

/// ln likelihood of all observed values under Student's t with these scales.
#[must_use]
pub fn ln_likelihood(residuals: &Matrix, degrees: Degrees, scales: &[f64]) -> f64 {
    let nu = degrees.value();
    let precision: Vec<f64> = scales.iter().map(|s| 1.0 / (nu * s * s)).collect();
    let observed = observed(residuals);
    let mut products = vec![1.0; scales.len()];
    let mut logarithms = 0.0;
    for row in 0..residuals.rows() {
        for ((product, u), precision) in products.iter_mut().zip(residuals.row(row)).zip(&precision) {
            let u2 = if u.is_nan() { 0.0 } else { u * u };
            *product *= 1.0 + u2 * precision;
        }
        if row % ROWS_PER_LOGARITHM == ROWS_PER_LOGARITHM - 1 || row + 1 == residuals.rows() {
            for product in &mut products {
                logarithms += product.min(f64::MAX).ln();
                *product = 1.0;
            }
        }
    }
    let constants: f64 = observed.iter().zip(scales).map(|(n, s)| n * (degrees.ln_constant() - s.ln())).sum();
    constants - 0.5 * (nu + 1.0) * logarithms
}

/// The scales of many columns, shrunk towards each other, with their uncertainty.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    pub scales: Vec<f64>,
    /// Standard deviation of ln scale.
    pub ln_deviation: Vec<f64>,
}

/// Lower bound of the variance of ln variance between columns: stages do differ.
const LEAST_SPREAD: f64 = 0.05;

/// Shrinks scales by empirical Bayes on the logarithm of the variance. That logarithm has sampling
/// variance 2(ν+3)/(νn) when the scale is estimated from `n` samples of Student's t. The spread
/// between columns beyond that is real.
/// After Smyth, "Linear models and empirical Bayes methods for assessing differential expression",
/// Stat. Appl. Genet. Mol. Biol. 3 (2004) article 3, with medians in place of means.
#[must_use]
pub fn shrink(scales: &[f64], observed: &[f64], degrees: Degrees) -> Shrunk {
    let nu = degrees.value();
    let ln_variance: Vec<f64> = scales.iter().map(|s| 2.0 * s.ln()).collect();
    let sampling: Vec<f64> = observed.iter().map(|n| 2.0 * (nu + 3.0) / (nu * n.max(1.0))).collect();
    let centre = median_in_place(&mut ln_variance.clone()).unwrap_or(0.0);
    let mut away: Vec<f64> = ln_variance.iter().map(|l| (l - centre).abs()).collect();
    let spread = MAD_TO_DEVIATION * median_in_place(&mut away).unwrap_or(0.0);
    let from_sampling = median_in_place(&mut sampling.clone()).unwrap_or(0.0);
    let real = (spread * spread - from_sampling).max(LEAST_SPREAD);
    let share = |v: &f64| real / (real + v);
    let towards = |(l, v): (&f64, &f64)| (0.5 * (centre + share(v) * (l - centre))).exp();
    Shrunk {
        scales: ln_variance.iter().zip(&sampling).map(towards).collect(),
        ln_deviation: sampling.iter().map(|v| 0.5 * (share(v) * v).sqrt()).collect(),
    }
}

/// A first estimate of each column's scale: the median deviation from zero, at least its floor.
#[must_use]
pub fn first_scales(residuals: &Matrix, floors: &[f64]) -> Vec<f64> {
    let mut column = Vec::with_capacity(residuals.rows());
    (0..residuals.columns())
        .map(|i| {
            residuals.observed(i, &mut column);
            for u in &mut column {
                *u = u.abs();
            }
            (MAD_TO_DEVIATION * median_in_place(&mut column).unwrap_or(0.0)).max(floors[i])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(values: &[f64]) -> Matrix {
        let mut matrix = Matrix::filled(values.len(), 1, 0.0);
        values.iter().enumerate().for_each(|(row, v)| matrix.set(row, 0, *v));
        matrix
    }

    #[test]
    fn densities_agree_with_scipy() {
        // scipy.stats.t(nu).logpdf(1.7) for nu in (3, 4, 6, 10, 30)
        let expected = [
            -2.350_176_267_614_281_2,
            -2.340_271_062_775_917_3,
            -2.336_504_786_793_752,
            -2.340_164_333_914_729,
            -2.352_825_142_730_406_3,
        ];
        for (degrees, expected) in Degrees::ALL.into_iter().zip(expected) {
            let q = 1.0 + 1.7 * 1.7 / degrees.value();
            let ln_density = degrees.ln_constant() + degrees.kernel(q).ln();
            assert!((ln_density - expected).abs() < 1e-12, "{degrees:?}: {ln_density}");
            let likelihood = ln_likelihood(&column(&[1.7, f64::NAN]), degrees, &[1.0]);
            assert!((likelihood - expected).abs() < 1e-12, "a missing value adds nothing: {likelihood}");
        }
    }

    #[test]
    fn em_finds_scale_of_largest_likelihood() {
        // x = np.array([.3, -.1, .2, -.4, 2.5, .05, -.2])
        // scipy.optimize.minimize_scalar(lambda s: -scipy.stats.t.logpdf(x, 4, 0, s).sum(),
        //     bounds=(1e-3, 5), method="bounded", options={"xatol": 1e-12}).x
        let x = column(&[0.3, -0.1, 0.2, -0.4, 2.5, 0.05, -0.2]);
        let mut scales = first_scales(&x, &[1e-6]);
        improve_scales(&mut scales, &x, Degrees::Four, &[1e-6], 200);
        assert!((scales[0] - 0.386_875_117).abs() < 1e-7, "{}", scales[0]);
    }

    #[test]
    fn equal_or_missing_values_give_floor() {
        for values in [[0.0; 5], [f64::NAN; 5]] {
            let x = column(&values);
            let mut scales = first_scales(&x, &[0.01]);
            improve_scales(&mut scales, &x, Degrees::Six, &[0.01], 12);
            assert!((scales[0] - 0.01).abs() < 1e-15);
        }
    }

    #[test]
    fn shrinkage_agrees_with_numpy() {
        // s = np.array([.05, .1, .2, .8]); n = np.array([60, 60, 30, 5]); l = 2 * np.log(s); v = 2 * 7 / (4 * n)
        // mu = np.median(l); real = max((1.4826 * np.median(abs(l - mu)))**2 - np.median(v), .05)
        // w = real / (real + v); np.exp((mu + w * (l - mu)) / 2), np.sqrt(w * v) / 2
        let scales = [
            0.050_728_109_483_986_91,
            0.100_483_069_008_425_95,
            0.198_107_819_597_877_85,
            0.622_551_660_647_933_2,
        ];
        let deviations = [
            0.119_918_947_711_744_01,
            0.119_918_947_711_744_01,
            0.168_424_087_401_896_1,
            0.386_876_658_899_807_1,
        ];
        let shrunk = shrink(&[0.05, 0.1, 0.2, 0.8], &[60.0, 60.0, 30.0, 5.0], Degrees::Four);
        for i in 0..4 {
            assert!((shrunk.scales[i] - scales[i]).abs() < 1e-14, "{shrunk:?}");
            assert!((shrunk.ln_deviation[i] - deviations[i]).abs() < 1e-14, "{shrunk:?}");
        }
    }

    #[test]
    fn column_with_few_samples_shrinks_more() {
        let shrunk = shrink(&[0.1, 0.1, 0.1, 0.9], &[100.0, 100.0, 100.0, 5.0], Degrees::Four);
        assert!((shrunk.scales[0] - 0.1).abs() < 1e-12);
        assert!((0.1..0.3).contains(&shrunk.scales[3]), "{:?}", shrunk.scales);
        assert!(shrunk.ln_deviation[3] > shrunk.ln_deviation[0]);
    }

    proptest! {
        #[test]
        fn scales_follow_the_unit(x in prop::collection::vec(-3.0_f64..3.0, 4..40), unit in 0.01_f64..100.0) {
            let moved: Vec<f64> = x.iter().map(|v| v * unit).collect();
            let fit = |values: &[f64], floor: f64| {
                let x = column(values);
                let mut scales = first_scales(&x, &[floor]);
                improve_scales(&mut scales, &x, Degrees::Four, &[floor], 12);
                scales[0]
            };
            prop_assert!((fit(&moved, 1e-3 * unit) / (fit(&x, 1e-3) * unit) - 1.0).abs() < 1e-9);
        }
    }
}
