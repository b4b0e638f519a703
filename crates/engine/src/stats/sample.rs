//! A sample whose invariants are in its type: at least one value, all finite, sorted. Every
//! statistic takes one, so none has to ask again.

/// Why values are not a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// There is no value.
    #[error("a sample needs at least one value")]
    Empty,
    /// A value is NaN or infinite; its place is given.
    #[error("value {0} of the sample is not a finite number")]
    NotFinite(usize),
}

/// One or more finite values in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    /// Sorts the values.
    ///
    /// # Errors
    /// [`SampleError`] when there is none, or one is NaN or infinite.
    pub fn new(mut values: Vec<f64>) -> Result<Self, SampleError> {
        if values.is_empty() {
            return Err(SampleError::Empty);
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(SampleError::NotFinite(at));
        }
        values.sort_by(f64::total_cmp);
        Ok(Self { sorted: values })
    }

    /// The values, ascending.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.sorted
    }

    /// How many values, at least 1.
    #[must_use]
    pub fn size(&self) -> usize {
        self.sorted.len()
    }

    /// The largest value.
    #[must_use]
    pub fn largest(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// Arithmetic mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sorted.iter().sum::<f64>() / super::count(self.size())
    }

    /// Standard deviation with n - 1 in the denominator; 0 for a single value.
    #[must_use]
    pub fn standard_deviation(&self) -> f64 {
        if self.size() < 2 {
            return 0.0;
        }
        let mean = self.mean();
        let squares: f64 = self.sorted.iter().map(|v| (v - mean).powi(2)).sum();
        (squares / super::count(self.size() - 1)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_nothing_and_what_is_not_a_number() {
        assert_eq!(Sample::new(vec![]), Err(SampleError::Empty));
        assert_eq!(Sample::new(vec![1.0, f64::NAN]), Err(SampleError::NotFinite(1)));
        assert_eq!(Sample::new(vec![f64::NEG_INFINITY]), Err(SampleError::NotFinite(0)));
        assert_eq!(Sample::new(vec![3.0, -1.0]).map(|s| s.values().to_vec()), Ok(vec![-1.0, 3.0]));
    }

    #[test]
    fn moments_agree_with_numpy() {
        // x = [3.1, 2.7, 9.4, 2.9, 3.3]; np.mean(x), np.std(x, ddof=1)
        let sample = Sample::new(vec![3.1, 2.7, 9.4, 2.9, 3.3]).expect("finite");
        assert!((sample.mean() - 4.28).abs() < 1e-12);
        assert!((sample.standard_deviation() - 2.870_888_364_252_431).abs() < 1e-12);
        assert!(Sample::new(vec![7.0]).expect("finite").standard_deviation().abs() < f64::EPSILON);
    }
}
