//! A table of numbers, runs by stages, in which NaN is a missing value. It is stored row by row,
//! because most steps go over all stages of one run.

use super::robust::median_in_place;

/// NaN is a value that was not observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    #[must_use]
    pub fn filled(rows: usize, columns: usize, value: f64) -> Self {
        Self { rows, columns, values: vec![value; rows * columns] }
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..(row + 1) * self.columns]
    }

    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    pub fn set(&mut self, row: usize, column: usize, value: f64) {
        self.values[row * self.columns + column] = value;
    }

    /// Replaces the content of `into` by the observed values of a column, oldest row first.
    pub fn observed(&self, column: usize, into: &mut Vec<f64>) {
        into.clear();
        if self.columns > 0 {
            let column = self.values.iter().skip(column).step_by(self.columns);
            into.extend(column.copied().filter(|value| value.is_finite()));
        }
    }

    /// A table of the chosen columns, in the given order.
    #[must_use]
    pub fn columns_at(&self, columns: &[usize]) -> Self {
        let mut picked = Self::filled(self.rows, columns.len(), 0.0);
        for row in 0..self.rows {
            let from = self.row(row);
            for (value, column) in picked.row_mut(row).iter_mut().zip(columns) {
                *value = from[*column];
            }
        }
        picked
    }

    /// The difference to a table of the same size, value by value.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        debug_assert_eq!((self.rows, self.columns), (other.rows, other.columns));
        let values = self.values.iter().zip(&other.values).map(|(a, b)| a - b).collect();
        Self { values, ..*self }
    }

    pub fn subtract_from_rows(&mut self, by_column: &[f64]) {
        for row in 0..self.rows {
            for (value, subtracted) in self.row_mut(row).iter_mut().zip(by_column) {
                *value -= subtracted;
            }
        }
    }
}

/// Each column's median over its observed values. A column without any has 0.
#[must_use]
pub fn medians(table: &Matrix) -> Vec<f64> {
    let mut column = Vec::with_capacity(table.rows());
    (0..table.columns())
        .map(|i| {
            table.observed(i, &mut column);
            median_in_place(&mut column).unwrap_or(0.0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[f64]]) -> Matrix {
        let mut table = Matrix::filled(rows.len(), rows[0].len(), 0.0);
        rows.iter().enumerate().for_each(|(at, row)| table.row_mut(at).copy_from_slice(row));
        table
    }

    #[test]
    fn medians_skip_missing_values_and_match_numpy() {
        // np.nanmedian([[1, 5, nan, nan], [nan, 2, nan, 8], [4, 9, nan, nan], [2, 1, nan, inf]], axis=0)
        // without the infinite value; 0 where numpy has NaN
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let x = table(&[
            &[1.0, 5.0, nan, nan],
            &[nan, 2.0, nan, 8.0],
            &[4.0, 9.0, nan, nan],
            &[2.0, 1.0, nan, inf],
        ]);
        assert_eq!(medians(&x), [2.0, 3.5, 0.0, 8.0]);
        assert!(medians(&Matrix::filled(3, 0, 0.0)).is_empty());
        assert_eq!(medians(&Matrix::filled(0, 2, 1.0)), [0.0, 0.0]);
    }

    #[test]
    fn columns_and_differences_are_extracted() {
        let x = table(&[&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]]);
        assert_eq!(x.columns_at(&[2, 0]), table(&[&[3.0, 1.0], &[6.0, 4.0]]));
        let mut y = x.clone();
        y.subtract_from_rows(&[1.0, 2.0, 3.0]);
        assert_eq!(y, table(&[&[0.0, 0.0, 0.0], &[3.0, 3.0, 3.0]]));
        assert_eq!(x.minus(&y), table(&[&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]]));
        let mut column = vec![9.0];
        x.observed(1, &mut column);
        assert_eq!(column, [2.0, 5.0]);
    }
}
