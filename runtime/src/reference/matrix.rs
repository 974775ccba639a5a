//! A dense matrix of `f64`.

use crate::tensor::TensorRef;

/// A dense row-major `rows` x `columns` matrix of `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// All zero.
    pub fn zeros(rows: usize, columns: usize) -> Matrix {
        Matrix {
            rows,
            columns,
            values: vec![0.0; rows * columns],
        }
    }

    /// The matrix whose element (i, j) is `element(i, j)`; called row by row.
    pub fn from_fn(
        rows: usize,
        columns: usize,
        mut element: impl FnMut(usize, usize) -> f64,
    ) -> Matrix {
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                values.push(element(row, column));
            }
        }
        Matrix {
            rows,
            columns,
            values,
        }
    }

    /// The first `rows * columns` of `values`, row by row; absent ones are zero.
    pub fn from_f32(rows: usize, columns: usize, values: &[f32]) -> Matrix {
        Matrix::from_tensor(TensorRef::F32(values), rows, columns, columns)
    }

    /// A tensor of any storage type whose row `i` starts at `i * leading`; absent elements are zero.
    pub fn from_tensor(
        tensor: TensorRef<'_>,
        rows: usize,
        columns: usize,
        leading: usize,
    ) -> Matrix {
        Matrix::from_fn(rows, columns, |row, column| {
            let index = row * leading + column;
            match tensor {
                TensorRef::F32(values) => values.get(index).map_or(0.0, |v| f64::from(*v)),
                TensorRef::Bf16(values) => values.get(index).map_or(0.0, |v| v.to_f64()),
                TensorRef::F16(values) => values.get(index).map_or(0.0, |v| v.to_f64()),
            }
        })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// (rows, columns).
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// min(rows, columns).
    pub fn min_dimension(&self) -> usize {
        self.rows.min(self.columns)
    }

    /// All elements, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All elements, row by row.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// All elements rounded to `f32`, row by row.
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.iter().map(|v| *v as f32).collect()
    }

    /// Element (row, column); 0 outside.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        if column >= self.columns {
            return 0.0;
        }
        self.values
            .get(row * self.columns + column)
            .copied()
            .unwrap_or(0.0)
    }

    /// Sets element (row, column); outside nothing happens.
    pub fn set(&mut self, row: usize, column: usize, value: f64) {
        if column < self.columns
            && let Some(place) = self.values.get_mut(row * self.columns + column)
        {
            *place = value;
        }
    }

    /// Row `row`; empty outside.
    pub fn row(&self, row: usize) -> &[f64] {
        let start = row * self.columns;
        self.values
            .get(start..start + self.columns)
            .unwrap_or_default()
    }

    /// The transpose.
    pub fn transpose(&self) -> Matrix {
        Matrix::from_fn(self.columns, self.rows, |row, column| self.get(column, row))
    }

    /// Each element mapped.
    pub fn map(&self, change: impl Fn(f64) -> f64) -> Matrix {
        Matrix {
            rows: self.rows,
            columns: self.columns,
            values: self.values.iter().map(|v| change(*v)).collect(),
        }
    }

    /// factor * self.
    pub fn scaled(&self, factor: f64) -> Matrix {
        self.map(|v| factor * v)
    }

    /// factor * self + other_factor * other, for two matrices of one shape.
    pub fn combined(&self, factor: f64, other_factor: f64, other: &Matrix) -> Matrix {
        Matrix {
            rows: self.rows,
            columns: self.columns,
            values: self
                .values
                .iter()
                .zip(&other.values)
                .map(|(a, b)| factor * a + other_factor * b)
                .collect(),
        }
    }

    /// self + factor * I.
    pub fn plus_identity(&self, factor: f64) -> Matrix {
        let mut sum = self.clone();
        for i in 0..self.min_dimension() {
            sum.values[i * self.columns + i] += factor;
        }
        sum
    }

    /// self * other; self.columns must be other.rows.
    pub fn product(&self, other: &Matrix) -> Matrix {
        let mut result = Matrix::zeros(self.rows, other.columns);
        let width = other.columns;
        for row in 0..self.rows {
            let out = &mut result.values[row * width..(row + 1) * width];
            // Four rows of `other` at a time: one pass over `out` for four products.
            for (four, factors) in self.row(row).chunks(4).enumerate() {
                let of = |k: usize| other.row(4 * four + k);
                if let [a, b, c, d] = *factors {
                    let rows = of(0).iter().zip(of(1)).zip(of(2).iter().zip(of(3)));
                    for (o, ((r0, r1), (r2, r3))) in out.iter_mut().zip(rows) {
                        *o += a * r0 + b * r1 + c * r2 + d * r3;
                    }
                } else {
                    for (k, factor) in factors.iter().enumerate() {
                        for (o, r) in out.iter_mut().zip(of(k)) {
                            *o += factor * r;
                        }
                    }
                }
            }
        }
        result
    }

    /// self * self^T.
    pub fn gram(&self) -> Matrix {
        self.product(&self.transpose())
    }

    /// <self, other>, the sum of the element-wise products.
    pub fn inner_product(&self, other: &Matrix) -> f64 {
        let pairs = self.values.iter().zip(&other.values);
        pairs.map(|(a, b)| a * b).sum()
    }

    /// ||self||_F^2.
    pub fn norm_squared(&self) -> f64 {
        self.inner_product(self)
    }

    /// ||self||_F.
    pub fn norm(&self) -> f64 {
        self.norm_squared().sqrt()
    }

    /// Whether no element is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|v| v.is_finite())
    }

    /// Rows and columns exchanged if there are more rows than columns.
    pub(crate) fn oriented(&self) -> Matrix {
        if self.rows > self.columns {
            self.transpose()
        } else {
            self.clone()
        }
    }

    /// Undoes `oriented` for a result of an `original`-shaped input.
    pub(crate) fn oriented_back(self, original: &Matrix) -> Matrix {
        if original.rows > original.columns {
            self.transpose()
        } else {
            self
        }
    }
}
