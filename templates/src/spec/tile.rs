//! The tile.

/// The block of a matrix that is mapped on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tile {
    /// Blocks of `rows` x `columns`, cut from the top left; the last row and column of tiles may be smaller.
    Sized {
        /// Height Th, at least 1.
        rows: u32,
        /// Width Tw, at least 1.
        columns: u32,
    },
    /// The whole matrix: Muon itself.
    Full,
}

impl Tile {
    /// A square tile of edge `edge`.
    pub const fn square(edge: u32) -> Self {
        Tile::Sized {
            rows: edge,
            columns: edge,
        }
    }

    /// The size (rows, columns) of one whole tile of a `rows` x `columns` matrix:
    /// no dimension is larger than the matrix's own.
    pub fn effective(self, rows: usize, columns: usize) -> (usize, usize) {
        match self {
            Tile::Full => (rows, columns),
            Tile::Sized {
                rows: height,
                columns: width,
            } => (rows.min(height as usize), columns.min(width as usize)),
        }
    }
}
