//! How a matrix is cut.

use super::matrix::Matrix;
use himuon_templates::Tile;

/// Where a tile lies in its matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileBounds {
    /// First row.
    pub row: usize,
    /// First column.
    pub column: usize,
    /// Rows h: fewer than the tile's at the bottom edge.
    pub rows: usize,
    /// Columns w: fewer than the tile's at the right edge.
    pub columns: usize,
}

/// The tiles of a `rows` x `columns` matrix, row by row from the top left.
pub fn tiles(tile: Tile, rows: usize, columns: usize) -> Vec<TileBounds> {
    let (height, width) = tile.effective(rows, columns);
    let mut bounds = Vec::new();
    for row in (0..rows).step_by(height.max(1)) {
        for column in (0..columns).step_by(width.max(1)) {
            bounds.push(TileBounds {
                row,
                column,
                rows: height.min(rows - row),
                columns: width.min(columns - column),
            });
        }
    }
    bounds
}

impl Matrix {
    /// The tile at `bounds`, without padding: a kernel's zero padding is exact, since the padded rows and
    /// columns of X, of A = X X^T and of every product stay zero.
    pub fn cut(&self, bounds: &TileBounds) -> Matrix {
        Matrix::from_fn(bounds.rows, bounds.columns, |row, column| {
            self.get(bounds.row + row, bounds.column + column)
        })
    }

    /// Writes `tile` back at `bounds`.
    pub fn paste(&mut self, bounds: &TileBounds, tile: &Matrix) {
        for row in 0..bounds.rows {
            for column in 0..bounds.columns {
                let value = tile.get(row, column);
                self.set(bounds.row + row, bounds.column + column, value);
            }
        }
    }
}
