//! The input classes that every backend is judged on.

use crate::random::Random;
use himuon::reference::Matrix;
use himuon::templates::Element;

/// A class of matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// Independent standard normal elements.
    Gaussian,
    /// A product of Gaussian factors of rank r = max(1, T/8), T the smaller edge of the tile, plus 1e-3 of
    /// its own size of Gaussian noise: full rank, with a gap.
    NearLowRank,
    /// The product alone: rank r, up to the rounding of its elements to storage.
    LowRank,
    /// Gaussian rows scaled from 1 down to 1e-4.
    IllConditioned,
    /// All zero.
    Zero,
    /// The outer product of two Gaussian vectors.
    RankOne,
    /// Gaussian, as large as the storage type takes without an infinity: times 1e20 (f16: 6e4 with
    /// random signs and magnitudes from 0.5 to 1).
    Huge,
    /// Gaussian times 1e-25 (f16: multiples of its smallest number, 6e-8).
    Tiny,
}

impl Input {
    /// Every class.
    pub const ALL: [Input; 8] = [
        Input::Gaussian,
        Input::NearLowRank,
        Input::LowRank,
        Input::IllConditioned,
        Input::Zero,
        Input::RankOne,
        Input::Huge,
        Input::Tiny,
    ];

    /// The rank of a tile of smaller edge `edge`, if it is smaller than the edge.
    pub fn rank(self, edge: usize) -> Option<usize> {
        match self {
            Input::LowRank => Some((edge / 8).max(1)),
            Input::RankOne => Some(1),
            Input::Zero => Some(0),
            _ => None,
        }
        .filter(|rank| *rank < edge)
    }

    /// A `rows` x `columns` matrix of the class, as exact numbers of `element`. `edge`: the smaller edge of
    /// the tile that it is meant for.
    pub fn matrix(
        self,
        rows: usize,
        columns: usize,
        edge: usize,
        element: Element,
        seed: u64,
    ) -> Matrix {
        let mut random = Random::new(seed);
        let matrix = match self {
            Input::Zero => Matrix::zeros(rows, columns),
            Input::Gaussian => gaussian(rows, columns, &mut random),
            Input::LowRank => product(rows, columns, (edge / 8).max(1), &mut random),
            Input::RankOne => product(rows, columns, 1, &mut random),
            Input::NearLowRank => {
                let rank = (edge / 8).max(1);
                let low = product(rows, columns, rank, &mut random);
                low.combined(1.0, 1e-3, &gaussian(rows, columns, &mut random))
            }
            Input::IllConditioned => {
                let normal = gaussian(rows, columns, &mut random);
                let last = (edge.max(2) - 1) as f64;
                Matrix::from_fn(rows, columns, |row, column| {
                    let depth = (row % edge.max(1)) as f64 / last;
                    normal.get(row, column) * 10f64.powf(-4.0 * depth)
                })
            }
            Input::Huge => extreme(rows, columns, element, &mut random, 1e20, 6e4),
            Input::Tiny => extreme(rows, columns, element, &mut random, 1e-25, 6e-8),
        };
        rounded(&matrix, element)
    }
}

/// Independent standard normal elements.
pub fn gaussian(rows: usize, columns: usize, random: &mut Random) -> Matrix {
    Matrix::from_fn(rows, columns, |_, _| random.normal())
}

/// g(rows, rank) g(rank, columns) / sqrt(rank), g standard normal.
pub fn product(rows: usize, columns: usize, rank: usize, random: &mut Random) -> Matrix {
    let left = gaussian(rows, rank, random);
    let right = gaussian(rank, columns, random);
    left.product(&right).scaled(1.0 / (rank as f64).sqrt())
}

fn extreme(
    rows: usize,
    columns: usize,
    element: Element,
    random: &mut Random,
    factor: f64,
    half: f64,
) -> Matrix {
    match element {
        Element::F32 | Element::Bf16 => gaussian(rows, columns, random).scaled(factor),
        Element::F16 if half > 1.0 => Matrix::from_fn(rows, columns, |_, _| {
            let sign = if random.bits() & 1 == 0 { 1.0 } else { -1.0 };
            sign * half * (0.5 + 0.5 * random.uniform())
        }),
        Element::F16 => {
            Matrix::from_fn(rows, columns, |_, _| half * (4.0 * random.normal()).round())
        }
    }
}

/// Each element rounded to the storage type.
pub fn rounded(matrix: &Matrix, element: Element) -> Matrix {
    matrix.map(|value| match element {
        Element::F32 => f64::from(value as f32),
        Element::Bf16 => half::bf16::from_f64(value).to_f64(),
        Element::F16 => half::f16::from_f64(value).to_f64(),
    })
}
