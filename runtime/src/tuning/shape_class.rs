//! Launches for which one choice holds.

use std::fmt;
use std::str::FromStr;

use himuon_templates::Tile;
use serde::{Deserialize, Serialize};

use super::error::TuningError;

/// How much a launch holds, coarse enough that one measurement serves many models: the number of tiles in
/// powers of four, and for whole-matrix tiles the size of the matrix that costs most, in powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShapeClass {
    /// Logarithm to base 4 of the number of tiles, rounded down.
    tiles: u32,
    /// Logarithms to base 2 of rows and columns, rounded to the nearest.
    edges: Option<(u32, u32)>,
}

impl ShapeClass {
    /// The class of a launch of matrices of these shapes (rows, columns).
    ///
    /// ```
    /// use himuon::{Tile, tuning::ShapeClass};
    ///
    /// let attention = ShapeClass::of(Tile::square(64), [(768, 768), (768, 2304)]);
    /// assert_eq!(attention.to_string(), "tiles>=256");
    /// let whole = ShapeClass::of(Tile::Full, [(1000, 3000)]);
    /// assert_eq!(whole.to_string(), "tiles>=1 of 1024x4096");
    /// ```
    pub fn of(tile: Tile, shapes: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut tiles: u64 = 0;
        let mut largest = (0, (1, 1));
        for (rows, columns) in shapes {
            let (height, width) = tile.effective(rows, columns);
            let count = rows.div_ceil(height.max(1)) * columns.div_ceil(width.max(1));
            tiles = tiles.saturating_add(count as u64);
            let cost = (rows * columns).saturating_mul(rows.min(columns));
            largest = largest.max((cost, (rows, columns)));
        }
        let (rows, columns) = largest.1;
        ShapeClass {
            tiles: tiles.max(1).ilog2() / 2,
            edges: (tile == Tile::Full).then(|| (nearest_log2(rows), nearest_log2(columns))),
        }
    }

    /// How far a measurement of another class is from this one; `None`: of another kind of tile.
    pub(super) fn distance(&self, other: &ShapeClass) -> Option<u32> {
        let edges = match (self.edges, other.edges) {
            (None, None) => 0,
            (Some(a), Some(b)) => 2 * (a.0.abs_diff(b.0) + a.1.abs_diff(b.1)),
            _ => return None,
        };
        Some(self.tiles.abs_diff(other.tiles) + edges)
    }
}

fn nearest_log2(value: usize) -> u32 {
    (value.max(1) as f64).log2().round() as u32
}

impl fmt::Display for ShapeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tiles>={}", 1u64 << (2 * self.tiles).min(62))?;
        match self.edges {
            Some((rows, columns)) => write!(f, " of {}x{}", 1u64 << rows, 1u64 << columns),
            None => Ok(()),
        }
    }
}

impl FromStr for ShapeClass {
    type Err = TuningError;

    fn from_str(text: &str) -> Result<Self, TuningError> {
        let read = || {
            let rest = text.strip_prefix("tiles>=")?;
            let (tiles, edges) = match rest.split_once(" of ") {
                None => (rest, None),
                Some((tiles, edges)) => {
                    let (rows, columns) = edges.split_once('x')?;
                    (tiles, Some((exact_log2(rows)?, exact_log2(columns)?)))
                }
            };
            let tiles = exact_log2(tiles)?;
            tiles.is_multiple_of(2).then_some(ShapeClass {
                tiles: tiles / 2,
                edges,
            })
        };
        read().ok_or_else(|| TuningError::Word {
            what: "shape class",
            found: text.to_owned(),
            accepted: "tiles>=N or tiles>=N of RxC, N a power of 4, R and C powers of 2",
        })
    }
}

fn exact_log2(text: &str) -> Option<u32> {
    let value: u64 = text.parse().ok()?;
    value.is_power_of_two().then(|| value.ilog2())
}

impl TryFrom<String> for ShapeClass {
    type Error = TuningError;

    fn try_from(text: String) -> Result<Self, TuningError> {
        text.parse()
    }
}

impl From<ShapeClass> for String {
    fn from(class: ShapeClass) -> String {
        class.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_read_back_and_the_nearest_is_the_nearest() {
        let class = |edge: usize| ShapeClass::of(Tile::square(16), [(edge, edge)]);
        for edge in [1, 16, 17, 64, 4096] {
            let class = class(edge);
            assert_eq!(class.to_string().parse::<ShapeClass>().unwrap(), class);
        }
        assert_eq!(class(64), class(96));
        assert_eq!(class(64).distance(&class(256)), Some(2));
        let full = |rows, columns| ShapeClass::of(Tile::Full, [(rows, columns)]);
        assert_eq!(
            full(768, 768).to_string().parse::<ShapeClass>().unwrap(),
            full(768, 768)
        );
        assert_eq!(class(64).distance(&full(64, 64)), None);
        assert!(full(64, 64).distance(&full(64, 128)) < full(64, 64).distance(&full(64, 512)));
        for bad in [
            "",
            "tiles>=3",
            "tiles>=8",
            "tiles>=4 of 3x4",
            "tiles>=4 of 4",
        ] {
            assert!(bad.parse::<ShapeClass>().is_err(), "{bad}");
        }
    }
}
