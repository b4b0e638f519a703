//! A type whose values are sorted, finite and at least one, so that a statistic need not check.

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    #[error("a sample needs at least one value")]
    Empty,
    /// The value at this position is NaN or infinite.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_or_not_finite_values_are_refused() {
        assert_eq!(Sample::new(vec![]), Err(SampleError::Empty));
        assert_eq!(Sample::new(vec![1.0, f64::NAN]), Err(SampleError::NotFinite(1)));
        assert_eq!(Sample::new(vec![f64::NEG_INFINITY]), Err(SampleError::NotFinite(0)));
        assert_eq!(Sample::new(vec![3.0, -1.0]).map(|s| s.values().to_vec()), Ok(vec![-1.0, 3.0]));
    }
}
