//! A table of numbers, runs by stages, in which a missing value is NaN. Rows lie in memory one
//! after the other, because most steps go over all stages of one run.

use super::robust::median_in_place;

/// Rows by columns; NaN is a value that was not observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// All values the same.
    #[must_use]
    pub fn filled(rows: usize, columns: usize, value: f64) -> Self {
        Self { rows, columns, values: vec![value; rows * columns] }
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// One row, to be changed.
    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// One value.
    #[must_use]
    pub fn get(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    /// Sets one value.
    pub fn set(&mut self, row: usize, column: usize, value: f64) {
        self.values[row * self.columns + column] = value;
    }

    /// The observed values of a column, oldest row first, into `into`, which is emptied before.
    pub fn observed(&self, column: usize, into: &mut Vec<f64>) {
        into.clear();
        if self.columns > 0 {
            let column = self.values.iter().skip(column).step_by(self.columns);
            into.extend(column.copied().filter(|value| value.is_finite()));
        }
    }

    /// Some of the columns.
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

    /// Value by value the difference to a table of the same size.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        debug_assert_eq!((self.rows, self.columns), (other.rows, other.columns));
        let values = self.values.iter().zip(&other.values).map(|(a, b)| a - b).collect();
        Self { values, ..*self }
    }

    /// Takes each column's number from all its values.
    pub fn subtract_from_rows(&mut self, by_column: &[f64]) {
        for row in 0..self.rows {
            for (value, subtracted) in self.row_mut(row).iter_mut().zip(by_column) {
                *value -= subtracted;
            }
        }
    }
}

/// Each column's median; 0 of a column without values.
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
