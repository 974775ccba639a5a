//! Inputs on which kernels go wrong.

use std::fmt;

use super::samples::Gaussian;
use crate::reference::Matrix;

/// A kind of tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Independent normal numbers: what gradients look like to a kernel.
    Gaussian,
    /// Rows from 1 down to 1e-4: singular values over many orders.
    Graded,
    /// One element is NaN: the tile becomes zero or is not written, and its neighbours do not notice.
    NotFinite,
    /// Nothing at all: no norm to divide by.
    Zero,
    /// Rank one: all other singular values are rounding errors.
    RankOne,
    /// Squares underflow if they are taken carelessly.
    Tiny,
    /// Squares overflow the range of 16 bits, and of 32 if they are taken carelessly.
    Huge,
    /// Equal singular values on the diagonal.
    Diagonal,
}

impl Kind {
    /// The telling ones first.
    pub(super) const ALL: [Kind; 8] = [
        Kind::Gaussian,
        Kind::Graded,
        Kind::NotFinite,
        Kind::RankOne,
        Kind::Tiny,
        Kind::Huge,
        Kind::Zero,
        Kind::Diagonal,
    ];

    /// Whether tiny singular values stand beside large ones.
    pub(super) fn is_graded(self) -> bool {
        matches!(self, Kind::Graded | Kind::RankOne)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Gaussian => "a Gaussian",
            Kind::Graded => "a graded",
            Kind::NotFinite => "a NaN-holding",
            Kind::Zero => "a zero",
            Kind::RankOne => "a rank-one",
            Kind::Tiny => "a tiny",
            Kind::Huge => "a huge",
            Kind::Diagonal => "a diagonal",
        })
    }
}

/// A tile of a kind.
pub(super) fn fill(kind: Kind, rows: usize, columns: usize, gaussian: &mut Gaussian) -> Matrix {
    let noise = Matrix::from_f32(rows, columns, &gaussian.vector(rows * columns));
    match kind {
        Kind::Gaussian => noise,
        Kind::Graded => Matrix::from_fn(rows, columns, |row, column| {
            noise.get(row, column) * 10f64.powf(-4.0 * row as f64 / rows as f64)
        }),
        Kind::NotFinite => Matrix::from_fn(rows, columns, |row, column| {
            match (row, column) == (rows / 2, columns / 3) {
                true => f64::NAN,
                false => noise.get(row, column),
            }
        }),
        Kind::Zero => Matrix::zeros(rows, columns),
        Kind::RankOne => Matrix::from_fn(rows, columns, |row, column| {
            noise.get(row, 0) * noise.get(0, column)
        }),
        Kind::Tiny => noise.scaled(1e-15),
        Kind::Huge => noise.scaled(1e15),
        Kind::Diagonal => Matrix::from_fn(rows, columns, |row, column| {
            f64::from(u8::from(row == column))
        }),
    }
}
